//! Bulkhead: fault isolation for mission-critical Linux hosts.
//!
//! ```text
//!     monitor ──Report──▶ analyze ──Fault──▶ decide ──Plan──▶ act ──Outcome──▶ state, subscribers
//!     (kernel)            (pure)             (pure)           (kernel)
//! ```
//!
//! analyze and decide live in `bulkhead-core`; everything that touches the
//! world lives here.

pub mod act;
pub mod api;
pub mod bootmask;
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod event;
pub mod host;
pub mod lines;
pub mod log;
pub mod monitor;
pub mod replay;
pub mod state;

//! The Varlink interface `io.bulkhead`: what it shows, server and client.
//!
//! Varlink (<https://varlink.org>) is JSON over a Unix stream socket: each
//! message is one object that ends with a NUL byte. The server is a poll loop of
//! its own rather than a library's threads, because none of its clients may hold
//! a thread or delay the daemon.

pub mod client;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod handler;
pub mod request;
#[cfg(test)]
pub(crate) mod samples;
pub mod server;
pub mod views;
pub mod wire;

pub use client::{Client, ClientError};
pub use error::ApiError;
pub use handler::{Answer, Backlog, Handler, Ticket};
pub use request::{ActRequest, ActTarget, Request, Resolution, TargetKind};
pub use server::Server;

/// Where the daemon listens.
pub const SOCKET: &str = "/run/bulkhead/io.bulkhead";

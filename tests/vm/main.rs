//! Tests on real kernels: stock Debian kernels in QEMU, with errors raised through machine-check banks and through a
//! test memory controller. `scripts/vm-setup` fetches the kernels.
//!
//! A test is a function from [`harness::Machine`] to a result. The machine is a description, with the kernel already
//! chosen: the test adds what it needs and boots it, as often as it likes. [`on_each_kernel`] makes tests of such
//! functions, `…::k6_12::name` and `…::k6_1::name`; a test on 6.1 that would show nothing new is for long runs.
//!
//! ```ignore
//! fn a_page_moves_with_its_data(machine: Machine) -> Result<()> {
//!     let vm = machine.arg("ras=cec_disable").boot()?;
//!     let mut held = vm.hold_pages(1)?;
//!     vm.memory_ce(held.addresses[0])?;
//!     …
//!     wait_until("the page is taken", LIMIT, || vm.is_poisoned(held.addresses[0]))?;
//!     held.release()
//! }
//! on_each_kernel!(a_page_moves_with_its_data);
//! ```

#[macro_use]
mod harness;

#[path = "../made_up_host/mod.rs"]
mod made_up_host;

mod bench;
mod bulkhead;
mod chain;
mod cpu;
mod demo;
mod firmware;
mod kernel_took;
mod last_boot;
mod lasting;
mod memory;
mod memory_config;
mod rasdaemon;
mod restore;
mod rows;
mod service;
mod smoke;
mod soak;
mod sources;
mod stall;
mod state;
mod storm;
mod stuck;
mod survey;
mod watchdog;

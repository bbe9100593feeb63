//! Boots machines and talks to them.

mod agent;
mod binaries;
mod boot;
mod boot_errors;
mod cpio;
mod crash;
mod disk;
mod errors;
mod initramfs;
mod kernel;
mod logs;
mod machine;
mod modules;
mod pages;
mod qemu;
mod qmp;
mod trace;
mod tree;
mod vm;
mod wait;

pub use agent::Process;
pub use binaries::{libraries, programs, stripped};
pub use boot_errors::BootErrors;
pub use disk::{file_of, Disk, Storage};
pub use kernel::Kernel;
pub use logs::run;
pub use machine::Machine;
pub use vm::Vm;
pub use wait::{wait_for, wait_until};

/// Status words and addresses of machine checks.
pub mod mce {
    pub use super::errors::{L1_DATA_CE, L2_DATA_CE, MEMORY_CE, PHYSICAL_ADDRESS};
}

/// Makes a test of each named function on each kernel.
///
/// Of those after `long on 6.1:` the one on 6.1 is ignored unless the run is a long one: they are about what Bulkhead
/// does, not about what a kernel answers, and one kernel in each run is enough for that. Of those after `only 6.12:`
/// there is none on 6.1. Attributes go to the tests: `#[ignore = "long"]`.
macro_rules! on_each_kernel {
    (
        $($(#[$attribute:meta])* $test:ident),* $(,)?
        $(; long on 6.1: $($long:ident),+ $(,)?)?
        $(; only 6.12: $($(#[$only:meta])* $once:ident),+ $(,)?)?
    ) => {
        mod k6_12 {
            on_kernel!(V6_12:
                $($(#[$attribute])* $test,)* $($($long,)+)? $($($(#[$only])* $once,)+)?
            );
        }
        mod k6_1 {
            on_kernel!(V6_1:
                $($(#[$attribute])* $test,)*
                $($(#[ignore = "long: each run has it on 6.12"] $long,)+)?
            );
        }
    };
}

macro_rules! on_kernel {
    ($kernel:ident: $($(#[$attribute:meta])* $test:ident,)*) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $test() -> anyhow::Result<()> {
                let name = concat!(module_path!(), "::", stringify!($test));
                $crate::harness::run(name, $crate::harness::Kernel::$kernel, super::$test)
            }
        )*
    };
}

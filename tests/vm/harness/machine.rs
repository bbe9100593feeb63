//! The description of a machine, and booting it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use super::boot;
use super::boot_errors::BootErrors;
use super::crash;
use super::disk::{Disk, Storage};
use super::initramfs;
use super::kernel::{cache, Kernel};
use super::logs::Logs;
use super::qemu::Qemu;
use super::vm::Vm;

/// From the start of QEMU to the guest's first word; many times what machines side by side need, since a machine that
/// builds something else at the same time was seen to need more than 90 s.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// What a crash kernel of Debian's, with the modules of the tests, boots and dumps in.
const CRASH_MEMORY_MIB: u32 = 256;

/// `tsc=unstable`: without it one boot in 25 of 6.12 dies in sched_clock_cpu. `panic=-1`: a panic ends the machine.
const ARGUMENTS: &str = "tsc=unstable console=ttyS0 panic=-1";

/// For Debian: what its daemons log as errors goes to the console too; more would slow them down.
const DEBIAN_ARGUMENTS: &str =
    "bulkhead.debian systemd.show_status=0 systemd.journald.forward_to_console=1 \
     systemd.journald.max_level_console=err";

/// What to boot. Four hardware threads in two cores, 1 GiB, an Intel processor, and a quarter of an hour to live.
#[derive(Clone)]
pub struct Machine {
    kernel: Kernel,
    logs: Arc<Logs>,
    cpu: &'static str,
    smp: String,
    memory_mib: u32,
    arguments: String,
    qemu: Vec<String>,
    disk: Option<PathBuf>,
    crash_kernel: bool,
    debian: bool,
    reboots: bool,
    limit: Duration,
}

impl Machine {
    pub(super) fn new(kernel: Kernel, logs: Arc<Logs>) -> Self {
        Self {
            kernel,
            logs,
            cpu: "Skylake-Server",
            smp: "4,sockets=1,cores=2,threads=2".to_owned(),
            memory_mib: 1024,
            arguments: ARGUMENTS.to_owned(),
            qemu: Vec::new(),
            disk: None,
            crash_kernel: false,
            debian: false,
            reboots: false,
            limit: Duration::from_secs(900),
        }
    }

    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// An AMD processor, without SMCA.
    pub fn amd(mut self) -> Self {
        self.cpu = "EPYC";
        self
    }

    /// Processors, in QEMU's words: `8,sockets=2,cores=2,threads=2`.
    pub fn smp(mut self, smp: &str) -> Self {
        smp.clone_into(&mut self.smp);
        self
    }

    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// One more argument for the kernel. A later one overrides an earlier one.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(' ');
        self.arguments.push_str(argument);
        self
    }

    /// More arguments for QEMU: `["-device", "i6300esb"]`.
    pub fn qemu(mut self, arguments: &[&str]) -> Self {
        self.qemu.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Mounts a disk on /var/lib/bulkhead, which otherwise is forgotten with the machine. With it goes a kernel that
    /// has its own memory in the same half at each boot: it must not happen to use a page that is remembered.
    pub fn disk(mut self, disk: &Disk) -> Self {
        self.disk = Some(disk.path().to_owned());
        self.arg("nokaslr movablecore=50%")
    }

    /// Loads a crash kernel at each boot, which saves what it finds on the disk and reboots; and the guest finds it in
    /// /var/crash, as kdump-tools would have put it there. tests/vm/crash/init takes arguments.
    pub fn crash_kernel(mut self) -> Self {
        self.crash_kernel = true;
        self.memory_mib += CRASH_MEMORY_MIB;
        self.arg(&format!("crashkernel={CRASH_MEMORY_MIB}M"))
    }

    /// Has the platform keep the kernel's last words, in pstore: ACPI's error record serialization.
    pub fn storage(self, storage: &Storage) -> Self {
        let path = storage.path().display();
        let size = Storage::SIZE;
        let object = format!("memory-backend-file,id=erst,mem-path={path},size={size},share=on");
        self.qemu(&["-object", &object, "-device", "acpi-erst,memdev=erst"])
    }

    /// Has firmware tell the kernel of errors of the boot before.
    pub fn boot_errors(self, errors: &BootErrors) -> Self {
        let (qemu, reserved) = errors.arguments();
        self.qemu(&qemu.each_ref().map(String::as_str)).arg(&reserved)
    }

    /// A small Debian with systemd as process 1, which starts bulkheadd by its unit. What it writes is forgotten at the
    /// next boot, but for the state directory, which is on the disk. A reboot ends the machine: boot it again. A QEMU
    /// that was reset boots several times more slowly than a new one.
    pub fn debian(mut self, disk: &Disk) -> Self {
        self.debian = true;
        self.disk(disk).arg(DEBIAN_ARGUMENTS)
    }

    /// Lets the guest reboot, where otherwise that ends the machine. See [`Vm::wait_reboot`].
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// The machine ends after so long, come what may.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Boots it, and returns when the guest takes commands.
    pub fn boot(&self) -> Result<Vm> {
        for attempt in 1.. {
            let qemu = self.start()?;
            match boot::wait(&qemu, BOOT_LIMIT) {
                Ok(()) => return Vm::new(qemu, self.disk.is_some() && !self.debian),
                Err(error) if attempt < boot::ATTEMPTS => {
                    let series = self.kernel.series();
                    boot::tell(&format!("{series} kernel, attempt {attempt}: {error:#}"));
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("{attempt} boots of the {} kernel died", self.kernel.series())
                    })
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    fn start(&self) -> Result<Qemu> {
        let files = self.kernel.files()?;
        let initramfs = if self.crash_kernel {
            crash::built(self.kernel, &files)?
        } else {
            initramfs::built(self.kernel, &files)?
        };
        let (console, own) = self.logs.next();
        let memory = self.memory_mib.to_string();
        let mut arguments: Vec<String> =
            ["-cpu", self.cpu, "-smp", &self.smp, "-m", &memory, "-append", &self.arguments]
                .map(str::to_owned)
                .into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("-kernel", files.unpacked().display().to_string());
        option("-initrd", initramfs.display().to_string());
        option("-serial", format!("file:{}", console.display()));
        if let Some(disk) = &self.disk {
            option("-drive", format!("file={},if=virtio,format=raw", disk.display()));
        }
        if self.debian {
            let image = cache().join("debian.ext4");
            ensure!(image.exists(), "no {}: run scripts/vm-setup", image.display());
            let image = image.display();
            option("-drive", format!("file={image},if=virtio,format=raw,readonly=on"));
        }
        arguments.extend(self.qemu.iter().cloned());
        if !self.reboots {
            arguments.push("-no-reboot".to_owned());
        }
        Qemu::start(&arguments, self.limit, console, &own, Arc::clone(&self.logs))
    }
}

//! Whether the kernel collects corrected memory errors itself, and takes pages
//! (CEC, drivers/ras/cec.c).

use super::{boot, cpuinfo, Root};
use bulkhead_core::model::Vendor;
use flate2::read::GzDecoder;
use std::io::Read;

/// The collector, as far as this kernel and this processor have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collector {
    /// It takes a page at so many corrected errors, where that is known, and
    /// keeps from EDAC what it takes in.
    On {
        /// Errors of one page, within some days: it halves its counts by time,
        /// not by a window.
        threshold: Option<u64>,
    },
    /// It runs, and gets no address that it could use: the memory errors of
    /// AMD's scalable MCA carry a normalized one.
    Inert,
    /// It does not run; a sentence says why.
    Off(&'static str),
    /// Nobody can say; a sentence tells what was tried.
    Unknown(String),
}

/// Its directory, and what is beside it in every kernel with CONFIG_RAS
/// (drivers/ras/debugfs.c).
const DEBUGFS: &str = "sys/kernel/debug/ras";

/// The threshold on Intel, since 6.1 (cec_init()); 1023 on all others.
const INTEL_THRESHOLD: u64 = 2;

/// The longest kernel configuration, unpacked; 6.12's of Debian has 290 KiB.
const LONGEST_CONFIG: u64 = 4 << 20;

/// Reads what the kernel tells of it.
pub fn collector(root: &Root) -> Collector {
    let text = root.read("proc/cpuinfo").unwrap_or_default();
    let info = cpuinfo::parse(&text);
    if info.vendor == Vendor::Other && !text.is_empty() {
        return Collector::Off("only the kernels of Intel's and AMD's processors have one");
    }
    match is_on(root) {
        Ok(None) if scalable(&text) && normalizes(root) => Collector::Inert,
        Ok(None) => {
            let built_in = (info.vendor == Vendor::Intel).then_some(INTEL_THRESHOLD);
            let file = format!("{DEBUGFS}/cec/action_threshold");
            let told = root.read(&file).ok().and_then(|text| number(text.trim()));
            Collector::On { threshold: told.or(built_in) }
        }
        Ok(Some(why)) => Collector::Off(why),
        Err(why) => Collector::Unknown(why),
    }
}

/// `None` for yes, or why it is off; an error for what nobody can say.
fn is_on(root: &Root) -> Result<Option<&'static str>, String> {
    let off = "it is switched off by ras=cec_disable";
    let command_line = root.read("proc/cmdline").unwrap_or_default();
    if command_line.split_ascii_whitespace().any(|word| word == "ras=cec_disable") {
        return Ok(Some(off));
    }
    let absent = "this kernel is built without it (CONFIG_RAS_CEC)";
    // With debugfs out of reach, or without CONFIG_RAS, this directory is empty.
    match root.list(DEBUGFS) {
        Ok(names) if names.iter().any(|name| name == "cec") => return Ok(None),
        Ok(names) if !names.is_empty() => return Ok(Some(absent)),
        _ => {}
    }
    let release = boot::kernel_release(root).unwrap_or_default();
    let config = configuration(root, &release).ok_or_else(|| {
        format!(
            "neither {} nor /boot/config-{release} nor /proc/config.gz can be read",
            root.path(DEBUGFS).display()
        )
    })?;
    let built = config.lines().any(|line| line == "CONFIG_RAS_CEC=y");
    Ok((!built).then_some(absent))
}

/// The kernel's build configuration: where Debian has it, Fedora, and the kernel
/// itself.
fn configuration(root: &Root, release: &str) -> Option<String> {
    let files = [format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
    let plain = files.iter().filter(|_| !release.is_empty()).find_map(|file| root.read(file).ok());
    plain.or_else(|| {
        let packed = root.read_bytes("proc/config.gz").ok()?;
        let mut text = String::new();
        let unpacked = GzDecoder::new(packed.as_slice()).take(LONGEST_CONFIG);
        { unpacked }.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// The processor has AMD's scalable MCA.
fn scalable(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_ascii_whitespace().any(|flag| flag == "smca"))
}

/// The kernel knows that such a processor's address is none of the system's:
/// amd_mce_usable_address() came with 6.6; before it any address was used.
fn normalizes(root: &Root) -> bool {
    let release = boot::kernel_release(root).unwrap_or_default();
    let mut parts = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 6)
}

/// As debugfs prints a number: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use std::io::Write;

    const INTEL: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu mce\n";
    const AMD: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu mce smca\n";

    fn host(cpuinfo: &str) -> Tree {
        let tree = Tree::new();
        tree.write("proc/cpuinfo", cpuinfo);
        tree.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz quiet\n");
        tree.write("proc/sys/kernel/osrelease", "6.12.1-amd64\n");
        tree
    }

    #[test]
    fn debugfs_tells_it_and_its_threshold() {
        let tree = host(INTEL);
        tree.write("sys/kernel/debug/ras/daemon_active", "0");
        assert!(matches!(collector(&tree.root), Collector::Off(why) if why.contains("built")));
        tree.write("sys/kernel/debug/ras/cec/action_threshold", "0x10\n");
        assert_eq!(collector(&tree.root), Collector::On { threshold: Some(16) });
    }

    #[test]
    fn the_configuration_tells_it_where_debugfs_does_not() {
        let tree = host(INTEL);
        tree.write("boot/config-6.12.1-amd64", "CONFIG_RAS=y\nCONFIG_RAS_CEC=y\n");
        assert_eq!(collector(&tree.root), Collector::On { threshold: Some(2) });
        tree.write("boot/config-6.12.1-amd64", "# CONFIG_RAS_CEC is not set\n");
        assert!(matches!(collector(&tree.root), Collector::Off(_)));
    }

    #[test]
    fn the_kernels_own_copy_of_it_serves_as_well() {
        let tree = host(INTEL);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"CONFIG_RAS_CEC=y\n").unwrap();
        tree.write("proc/config.gz", &packed.finish().unwrap());
        assert_eq!(collector(&tree.root), Collector::On { threshold: Some(2) });
        tree.write("proc/config.gz", "no gzip");
        assert!(matches!(collector(&tree.root), Collector::Unknown(_)));
    }

    #[test]
    fn the_command_line_switches_it_off() {
        let tree = host(INTEL);
        tree.write("boot/config-6.12.1-amd64", "CONFIG_RAS_CEC=y\n");
        tree.write("proc/cmdline", "quiet ras=cec_disable\n");
        assert!(matches!(collector(&tree.root), Collector::Off(why) if why.contains("disable")));
    }

    #[test]
    fn what_nobody_can_say_is_unknown() {
        let tree = host(INTEL);
        let Collector::Unknown(why) = collector(&tree.root) else { panic!("known") };
        assert!(why.contains("/boot/config-6.12.1-amd64"), "{why}");
    }

    #[test]
    fn on_scalable_mca_it_is_inert_since_the_kernel_knows_better() {
        let tree = host(AMD);
        tree.write("boot/config-6.12.1-amd64", "CONFIG_RAS_CEC=y\n");
        assert_eq!(collector(&tree.root), Collector::Inert);
        tree.write("proc/sys/kernel/osrelease", "6.5.0\n");
        tree.write("boot/config-6.5.0", "CONFIG_RAS_CEC=y\n");
        assert_eq!(collector(&tree.root), Collector::On { threshold: None });
    }

    #[test]
    fn other_processors_have_none() {
        let tree = host("processor\t: 0\nCPU implementer\t: 0x41\n");
        assert!(matches!(collector(&tree.root), Collector::Off(_)));
    }
}

//! Which memory is behind the host's addresses, as far as firmware tells:
//! SMBIOS, and the memory map that it handed to the kernel
//! (Documentation/ABI/testing/sysfs-firmware-memmap).

use super::{smbios, Root};
use bulkhead_core::model::{Dimm, MemoryConfig, MemoryRange, Module};

/// The kernel's copy of firmware's map. Unlike /proc/iomem it is not altered by
/// `memmap=` and `mem=` (e820_table_firmware in arch/x86/kernel/e820.c).
const MAP: &str = "sys/firmware/memmap";
/// SMBIOS type 0, as the kernel shows it (drivers/firmware/dmi-id.c).
const BIOS: [&str; 2] = ["sys/class/dmi/id/bios_version", "sys/class/dmi/id/bios_date"];

/// Entries of the map that are looked at; the largest hosts have some hundred.
const MOST_ENTRIES: usize = 4096;

/// Memory this near to other memory is one range with it, and what is smaller
/// is none. 64 MiB is less than what any DIMM, or any setting that maps one
/// elsewhere, adds or takes; and more than firmware keeps for itself in between.
const GAP: u64 = 64 << 20;

/// Ends of ranges are rounded up to this many bytes.
const GRAIN: u64 = 1 << 20;

/// The configuration, as far as it can be read. What cannot is left out.
pub fn read(root: &Root) -> MemoryConfig {
    let mut modules: Vec<Module> = smbios::dimms(root).into_iter().map(module).collect();
    modules.truncate(MemoryConfig::MOST_MODULES);
    MemoryConfig { bios: bios(root), modules, ranges: large(entries(root)) }
}

fn bios(root: &Root) -> Option<String> {
    let texts = BIOS.iter().filter_map(|file| smbios::clean(&root.read_bytes(file).ok()?));
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(" of "))
}

fn module(dimm: Dimm) -> Module {
    let Dimm { locator, bank_locator, serial, part, size_bytes, .. } = dimm;
    Module { locator, bank_locator, serial, part, size_bytes }
}

/// What holds data over some time, and is not firmware's own: "System RAM", or
/// memory that keeps its content.
///
/// Of the kinds that the kernel names (e820_type_to_string() in
/// arch/x86/kernel/e820.c), ACPI's tables and storage lie in RAM, and are
/// counted as it: how large they are, and with them where RAM begins again,
/// differs from boot to boot on some firmware. "Soft Reserved" is RAM that
/// `efi=nosoftreserve` names as such. What is "Reserved" may be a device, and
/// what is "Unusable" is none.
fn kind_of(kind: &str) -> Option<&'static str> {
    match kind {
        "System RAM" | "ACPI Tables" | "ACPI Non-volatile Storage" | "Soft Reserved" => {
            Some("System RAM")
        }
        "Persistent Memory" | "Persistent Memory (legacy)" => Some("Persistent Memory"),
        _ => None,
    }
}

/// The entries of the map that are memory, in any order.
fn entries(root: &Root) -> Vec<MemoryRange> {
    let names = root.list(MAP).unwrap_or_default();
    let numbered = names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    numbered.take(MOST_ENTRIES).filter_map(|name| entry(root, &format!("{MAP}/{name}"))).collect()
}

fn entry(root: &Root, dir: &str) -> Option<MemoryRange> {
    let text = |file: &str| root.read(&format!("{dir}/{file}")).ok();
    let kind = kind_of(text("type")?.trim())?.to_owned();
    let range = MemoryRange { start: number(&text("start")?)?, end: number(&text("end")?)?, kind };
    (range.start <= range.end).then_some(range)
}

/// "0x100000\n".
pub(super) fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The large ranges, in ascending order, without what changes from boot to boot
/// by itself.
///
/// UEFI firmware allocates its tables, its runtime services and what it starts
/// anew at each boot, out of RAM, in pages (UEFI specification, section 7.2): a
/// device plugged in, or a variable set, moves the borders in between. So
/// neighbours are one range, and ends are rounded. An end that still moves makes
/// lines stale that need not be: the safe side.
fn large(mut entries: Vec<MemoryRange>) -> Vec<MemoryRange> {
    entries.sort();
    let mut ranges: Vec<MemoryRange> = Vec::new();
    for entry in entries {
        match ranges.last_mut() {
            Some(last)
                if last.kind == entry.kind && entry.start <= last.end.saturating_add(GAP) =>
            {
                last.end = last.end.max(entry.end);
            }
            _ => ranges.push(entry),
        }
    }
    ranges.retain(|range| range.end - range.start >= GAP - 1);
    for range in &mut ranges {
        range.start -= range.start % GRAIN;
        range.end |= GRAIN - 1;
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::smbios::tests::{memory_device, table};
    use crate::host::testing::Tree;
    use proptest::prelude::*;

    /// A server of 2019 with 64 GiB, by UEFI: the kinds and sizes of entries
    /// that such machines have.
    const SERVER: &[(u64, u64, &str)] = &[
        (0x0, 0x9_ffff, "System RAM"),
        (0xa_0000, 0xf_ffff, "Reserved"),
        (0x10_0000, 0x5b15_3fff, "System RAM"),
        (0x5b15_4000, 0x5dc5_3fff, "Reserved"),
        (0x5dc5_4000, 0x5dd7_ffff, "ACPI Tables"),
        (0x5dd8_0000, 0x5e26_1fff, "ACPI Non-volatile Storage"),
        (0x5e26_2000, 0x5ff0_efff, "Reserved"),
        (0x5ff0_f000, 0x5fff_ffff, "System RAM"),
        (0x6000_0000, 0x8fff_ffff, "Reserved"),
        (0xfed2_0000, 0xfed4_4fff, "Reserved"),
        (0x1_0000_0000, 0x10_7fff_ffff, "System RAM"),
    ];

    /// What a virtual machine of 1 GiB has (SeaBIOS).
    const GUEST: &[(u64, u64, &str)] = &[
        (0x0, 0x9_fbff, "System RAM"),
        (0x9_fc00, 0x9_ffff, "Reserved"),
        (0xf_0000, 0xf_ffff, "Reserved"),
        (0x10_0000, 0x3ffd_bfff, "System RAM"),
        (0x3ffd_c000, 0x3fff_ffff, "Reserved"),
        (0xfffc_0000, 0xffff_ffff, "Reserved"),
    ];

    fn put(tree: &Tree, map: &[(u64, u64, &str)]) {
        tree.remove(MAP);
        for (number, (start, end, kind)) in map.iter().enumerate() {
            tree.write(&format!("{MAP}/{number}/start"), &format!("{start:#x}\n"));
            tree.write(&format!("{MAP}/{number}/end"), &format!("{end:#x}\n"));
            tree.write(&format!("{MAP}/{number}/type"), &format!("{kind}\n"));
        }
    }

    fn ranges(map: &[(u64, u64, &str)]) -> Vec<(u64, u64)> {
        let tree = Tree::new();
        put(&tree, map);
        read(&tree.root).ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn the_large_ranges_of_real_machines_are_few() {
        assert_eq!(
            ranges(SERVER),
            [(0, 0x5fff_ffff), (0x1_0000_0000, 0x10_7fff_ffff)],
            "what firmware keeps for itself in between is memory all the same"
        );
        assert_eq!(ranges(GUEST), [(0, 0x3fff_ffff)]);
    }

    #[test]
    fn what_firmware_allocates_anew_at_each_boot_does_not_count() {
        let mut next = SERVER.to_vec();
        // A larger ACPI table, and runtime services a few pages lower.
        next[2].1 -= 0x1_2000;
        next[3] = (0x5b14_2000, 0x5dc4_0fff, "Reserved");
        next[4] = (0x5dc4_1000, 0x5dd7_ffff, "ACPI Tables");
        // Some of what was RAM before the last reboot is not given back.
        next[7].0 += 0x3000;
        assert_eq!(ranges(&next), ranges(SERVER));
    }

    #[test]
    fn memory_more_or_less_counts() {
        let mut less = SERVER.to_vec();
        less[10].1 -= 0x2000_0000;
        assert_ne!(ranges(&less), ranges(SERVER));
        let mut hole = SERVER.to_vec();
        hole[7].1 -= 0x0800_0000;
        hole.truncate(10);
        assert_ne!(ranges(&hole), ranges(SERVER));
        assert_ne!(ranges(GUEST), ranges(SERVER));
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter() {
        let mut shuffled = SERVER.to_vec();
        shuffled.reverse();
        assert_eq!(ranges(&shuffled), ranges(SERVER));
    }

    #[test]
    fn the_dimms_and_the_bios_belong_to_it() {
        let tree = Tree::new();
        put(&tree, GUEST);
        let dimms = [memory_device(1, 1024, ["DIMM 0", "B0", "QEMU", "S1", "P1"])];
        tree.write("sys/firmware/dmi/tables/DMI", &table(&dimms));
        tree.write(BIOS[0], "1.2\n");
        tree.write(BIOS[1], "04/01/2014\n");
        let config = read(&tree.root);
        assert_eq!(config.bios.as_deref(), Some("1.2 of 04/01/2014"));
        let [module] = config.modules.as_slice() else { panic!("{config:?}") };
        assert_eq!((module.serial.as_deref(), module.size_bytes), (Some("S1"), 1 << 30));

        let other = [memory_device(1, 1024, ["DIMM 0", "B0", "QEMU", "S2", "P1"])];
        tree.write("sys/firmware/dmi/tables/DMI", &table(&other));
        assert_ne!(read(&tree.root).id(), config.id());
    }

    #[test]
    fn a_host_that_tells_nothing_has_no_configuration() {
        let tree = Tree::new();
        assert_eq!(read(&tree.root), MemoryConfig::default());
        tree.write(&format!("{MAP}/0/start"), "0x0\n");
        tree.write(&format!("{MAP}/x/type"), "System RAM\n");
        tree.write(&format!("{MAP}/1/start"), "0xffffffffffffffffff\n");
        assert_eq!(read(&tree.root), MemoryConfig::default());
    }

    proptest! {
        #[test]
        fn any_map_gives_ranges_in_order_and_apart(
            entries in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
        ) {
            let kind = || "System RAM".to_owned();
            let entries = entries.into_iter().map(|(a, b)| {
                MemoryRange { start: a.min(b), end: a.max(b), kind: kind() }
            });
            let ranges = large(entries.collect());
            for range in &ranges {
                prop_assert!(range.start < range.end);
            }
            for two in ranges.windows(2) {
                prop_assert!(two[0].end < two[1].start, "{ranges:?}");
            }
        }

        #[test]
        fn any_text_is_a_number_or_none(text in "\\PC{0,30}") {
            let _ = number(&text);
        }
    }
}

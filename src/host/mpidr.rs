//! Which ARM processor is which: MPIDR_EL1 of each CPU the kernel numbers.
//!
//! The kernel gives the numbers in the order of firmware's description, all but
//! the CPU it booted on, which is 0 wherever it stands in there
//! (arch/arm64/kernel/smp.c). The order alone does not tell; the links from each
//! CPU to its own description do.

use super::Root;
use bulkhead_core::analyze::MPIDR_AFFINITY;
use bulkhead_core::model::{ApicId, Bytes, CpuId};
use std::collections::BTreeMap;

/// The MADT's GIC CPU interfaces: ACPI processor UID to MPIDR. A UID that is
/// there twice names none.
#[derive(Debug, Default)]
pub struct Madt(BTreeMap<u32, Option<u64>>);

/// Header and fixed part of the MADT (ACPI 6.5 table 5.19).
const ENTRIES: usize = 44;
/// Type of a GIC CPU interface (GICC) structure (ACPI 6.5 table 5.21).
const GICC: u8 = 0x0b;
/// Bytes of one up to its MPIDR, at least (ACPI 5.1, table 5-60).
const GICC_LENGTH: usize = 76;

impl Madt {
    /// Reads `sys/firmware/acpi/tables/APIC`; empty where there is none or it
    /// makes no sense.
    pub fn read(root: &Root) -> Madt {
        let table = root.read_bytes("sys/firmware/acpi/tables/APIC");
        table.map_or_else(|_| Madt::default(), |bytes| Madt::parse(Bytes(bytes)))
    }

    pub(super) fn parse(table: Bytes) -> Madt {
        let mut uids = BTreeMap::new();
        let mut at = ENTRIES;
        while let (Some(kind), Some(length)) = (table.u8_at(at), table.u8_at(at + 1)) {
            let length = usize::from(length);
            if length < 2 {
                break;
            }
            if kind == GICC && length >= GICC_LENGTH {
                if let (Some(uid), Some(mpidr)) = (table.u32_at(at + 8), table.u64_at(at + 68)) {
                    uids.entry(uid).and_modify(|known| *known = None).or_insert(Some(mpidr));
                }
            }
            at += length;
        }
        Madt(uids)
    }
}

/// The MPIDR of `cpu`, its affinity fields only: by its node of the device
/// tree, else by its ACPI processor and the MADT.
pub fn of(root: &Root, madt: &Madt, cpu: CpuId) -> Option<ApicId> {
    let dir = format!("sys/devices/system/cpu/cpu{cpu}");
    let mpidr = match root.read_bytes(&format!("{dir}/of_node/reg")) {
        Ok(reg) => device_tree_reg(&reg)?,
        Err(_) => {
            let uid = root.read(&format!("{dir}/firmware_node/uid")).ok()?.trim().parse().ok()?;
            (*madt.0.get(&uid)?)?
        }
    };
    // Reserved bits are zero in both; another architecture's number may have them.
    (mpidr & !MPIDR_AFFINITY == 0).then_some(ApicId(mpidr))
}

/// `reg` of a processor: one or two big-endian cells, the first of two being
/// Aff3 (Documentation/devicetree/bindings/arm/cpus.yaml).
fn device_tree_reg(reg: &[u8]) -> Option<u64> {
    match reg.len() {
        4 => reg.try_into().ok().map(u32::from_be_bytes).map(u64::from),
        8 => reg.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    fn write(dir: &Path, file: &str, content: &[u8]) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn gicc(uid: u32, mpidr: u64) -> Vec<u8> {
        let mut gicc = vec![0; 80];
        gicc[..2].copy_from_slice(&[GICC, 80]);
        gicc[8..12].copy_from_slice(&uid.to_le_bytes());
        gicc[68..76].copy_from_slice(&mpidr.to_le_bytes());
        gicc
    }

    fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut table = b"APIC".to_vec();
        table.resize(ENTRIES, 0);
        table.extend(entries.concat());
        table
    }

    fn map(dir: &Path) -> Vec<Option<u64>> {
        let root = Root::new(dir);
        let madt = Madt::read(&root);
        (0..4).map(|cpu| of(&root, &madt, CpuId(cpu)).map(|id| id.0)).collect()
    }

    #[test]
    fn a_device_tree_tells_it_by_the_link_of_each_cpu() {
        let dir = tempfile::tempdir().unwrap();
        let cells: [&[u8]; 3] = [&[0, 0, 1, 0], &[0, 0, 0, 1, 0, 0, 2, 3], &[0, 0, 1]];
        for (cpu, reg) in cells.iter().enumerate() {
            write(dir.path(), &format!("proc/device-tree/cpus/cpu@{cpu}/reg"), reg);
            let link = format!("sys/devices/system/cpu/cpu{cpu}/of_node");
            fs::create_dir_all(dir.path().join(&link).parent().unwrap()).unwrap();
            let to = dir.path().join(format!("proc/device-tree/cpus/cpu@{cpu}"));
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        assert_eq!(map(dir.path()), [Some(0x100), Some(0x1_0000_0203), None, None]);
    }

    #[test]
    fn acpi_tells_it_by_the_uid_of_each_cpu() {
        let dir = tempfile::tempdir().unwrap();
        // The boot CPU is not the first of the table; a GIC distributor stands between.
        let distributor = [vec![0x0c, 24], vec![0xff; 22]].concat();
        let table = madt(&[gicc(7, 0x8_0000), distributor, gicc(5, 0x100), gicc(9, 1), gicc(9, 2)]);
        write(dir.path(), "sys/firmware/acpi/tables/APIC", &table);
        for (cpu, uid) in [(0, "5\n"), (1, "7\n"), (2, "9\n"), (3, "\\_SB.C003\n")] {
            let file = format!("sys/devices/system/cpu/cpu{cpu}/firmware_node/uid");
            write(dir.path(), &file, uid.as_bytes());
        }
        assert_eq!(map(dir.path()), [Some(0x100), Some(0x8_0000), None, None]);
    }

    #[test]
    fn nothing_is_known_where_firmware_does_not_say() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(map(dir.path()), [None; 4]);
        let file = "sys/devices/system/cpu/cpu0/of_node/reg";
        write(dir.path(), file, &0xffff_ffff_0000_0000u64.to_be_bytes());
        assert_eq!(map(dir.path()), [None; 4], "no number of an ARM processor's");
    }

    proptest! {
        #[test]
        fn any_table_is_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Madt::parse(Bytes(bytes));
        }

        #[test]
        fn a_table_that_is_cut_off_tells_of_those_before(cut in 0usize..80) {
            let mut table = madt(&[gicc(1, 0x100), gicc(2, 0x200)]);
            table.truncate(table.len() - cut);
            let Madt(uids) = Madt::parse(Bytes(table));
            prop_assert_eq!(uids.get(&1), Some(&Some(0x100)));
            prop_assert_eq!(uids.contains_key(&2), cut <= 4);
        }
    }
}

//! The DIMMs of the host: EDAC knows how errors name them, SMBIOS knows what is
//! printed beside the slot and on the part. Nothing but their names ties the
//! two together.

use super::{edac, smbios, Root};
use bulkhead_core::model::{Dimm, Vendor};

/// The most DIMMs that are kept of each kind; the largest hosts have some 400.
const MOST: usize = 1024;

/// All DIMMs, those of EDAC first. Where EDAC's label surely is SMBIOS's name
/// the two are one; the others stand apart. What cannot be read is left out.
pub fn read(root: &Root, vendor: Vendor) -> Vec<Dimm> {
    let mut dimms = edac::dimms(root, vendor);
    let mut devices = smbios::dimms(root);
    dimms.truncate(MOST);
    devices.truncate(MOST);
    join(dimms, devices)
}

fn join(mut dimms: Vec<Dimm>, devices: Vec<Dimm>) -> Vec<Dimm> {
    let mut apart = Vec::new();
    let pairs: Vec<Option<usize>> =
        devices.iter().map(|device| partner(device, &dimms, &devices)).collect();
    for (device, partner) in devices.into_iter().zip(pairs) {
        match partner.and_then(|at| dimms.get_mut(at)) {
            Some(dimm) => *dimm = merged(dimm, device),
            None => apart.push(device),
        }
    }
    dimms.extend(apart);
    dimms
}

/// The only DIMM of EDAC that bears a device's name, if the device is the only
/// one of that name, and of its size.
fn partner(device: &Dimm, dimms: &[Dimm], devices: &[Dimm]) -> Option<usize> {
    let mut found = dimms.iter().enumerate().filter(|(_, dimm)| is_named(&dimm.label, device));
    let (at, dimm) = found.next()?;
    let alone = found.next().is_none()
        && devices.iter().filter(|other| is_named(&dimm.label, other)).count() == 1;
    let sizes = [dimm.size_bytes, device.size_bytes];
    let fits = sizes.contains(&0) || dimm.size_bytes == device.size_bytes;
    (alone && fits).then_some(at)
}

/// Whether a label is a device's locator, alone or with its bank's, or has both
/// as words in it.
fn is_named(label: &str, device: &Dimm) -> bool {
    if device.is_at(label) {
        return true;
    }
    match (&device.bank_locator, &device.locator) {
        (Some(bank), Some(locator)) => has_word(label, bank) && has_word(label, locator),
        _ => false,
    }
}

/// Whether `words` stand in `text` with no letter or digit beside them.
fn has_word(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, found)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|text| text.chars().next());
        !before.into_iter().chain(after).any(char::is_alphanumeric)
    })
}

fn merged(dimm: &Dimm, device: Dimm) -> Dimm {
    Dimm {
        id: dimm.id,
        label: dimm.label.clone(),
        size_bytes: device.size_bytes.max(dimm.size_bytes),
        ..device
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::smbios::tests::{memory_device, table};
    use crate::host::testing::Tree;
    use bulkhead_core::model::DimmId;

    struct Host {
        tree: Tree,
    }

    impl Host {
        fn new() -> Host {
            Host { tree: Tree::new() }
        }

        /// One DIMM of EDAC, as sysfs has it.
        fn edac(&self, dimm: &str, label: &str, location: &str, mib: u64) {
            let dir = format!("sys/devices/system/edac/mc/{dimm}");
            self.tree.write(&format!("{dir}/dimm_label"), &format!("{label}\n"));
            self.tree.write(&format!("{dir}/dimm_location"), &format!("{location} \n"));
            self.tree.write(&format!("{dir}/size"), &format!("{mib}\n"));
        }

        fn smbios(&self, structures: &[Vec<u8>]) {
            self.tree.write("sys/firmware/dmi/tables/DMI", &table(structures));
        }

        fn dimms(&self, vendor: Vendor) -> Vec<Dimm> {
            read(&self.tree.root, vendor)
        }
    }

    fn id(controller: u16, channel: u16, slot: u16) -> Option<DimmId> {
        Some(DimmId {
            controller: Some(controller),
            channel: Some(channel),
            slot: Some(slot),
            ..DimmId::default()
        })
    }

    #[test]
    fn a_label_that_is_the_locator_is_the_same_dimm() {
        let host = Host::new();
        host.edac("mc1/dimm0", "A1", "channel 0 slot 0", 16 << 10);
        host.edac("mc1/dimm3", "A2", "channel 1 slot 1", 16 << 10);
        host.smbios(&[memory_device(
            0x1100,
            16 << 10,
            ["A2", "Not Specified", "Samsung", "77", "M393"],
        )]);
        let dimms = host.dimms(Vendor::Intel);
        assert_eq!(dimms.len(), 2);
        assert_eq!((dimms[0].id, &dimms[0].serial), (id(1, 0, 0), &None));
        assert_eq!((dimms[1].id, dimms[1].handle), (id(1, 1, 1), Some(0x1100)));
        assert_eq!(dimms[1].fru(), "DIMM A2 (serial 77, part M393)");
    }

    #[test]
    fn a_label_with_both_locators_in_it_is_the_same_dimm() {
        let host = Host::new();
        host.edac("mc0/dimm0", "P0 CHANNEL A DIMM 1", "memory 0", 8 << 10);
        host.edac("mc0/dimm1", "P0 CHANNEL A/DIMM 10", "memory 1", 8 << 10);
        host.smbios(&[
            memory_device(1, 8 << 10, ["DIMM 10", "P0 CHANNEL A", "", "b", ""]),
            memory_device(2, 8 << 10, ["DIMM 1", "P0 CHANNEL A", "", "a", ""]),
        ]);
        let dimms = host.dimms(Vendor::Intel);
        let found: Vec<_> = dimms.iter().map(|d| (d.handle, d.fru())).collect();
        assert_eq!(
            found,
            [
                (Some(2), "DIMM 1 of P0 CHANNEL A (serial a)".to_owned()),
                (Some(1), "DIMM 10 of P0 CHANNEL A (serial b)".to_owned()),
            ]
        );
    }

    #[test]
    fn a_doubtful_match_is_none() {
        let device = |handle, bank| memory_device(handle, 8 << 10, ["DIMM 0", bank, "", "", ""]);
        for (why, devices, mib) in [
            ("two devices of one name", vec![device(1, "A"), device(2, "B")], 8 << 10),
            ("another size", vec![device(1, "A")], 4 << 10),
            (
                "another name",
                vec![memory_device(1, 8 << 10, ["DIMM 01", "A", "", "", ""])],
                8 << 10,
            ),
            ("no name", vec![memory_device(1, 8 << 10, ["", "", "", "", ""])], 8 << 10),
        ] {
            let host = Host::new();
            host.edac("mc0/dimm0", "DIMM 0", "channel 0 slot 0", mib);
            host.smbios(&devices);
            let dimms = host.dimms(Vendor::Intel);
            assert_eq!(dimms.len(), 1 + devices.len(), "{why}");
            assert!(dimms.iter().all(|d| d.id.is_none() || d.locator.is_none()), "{why}");
        }
        let host = Host::new();
        host.edac("mc0/dimm0", "DIMM 0", "channel 0 slot 0", 8 << 10);
        host.edac("mc1/dimm0", "DIMM 0", "channel 0 slot 0", 8 << 10);
        host.smbios(&[device(1, "A")]);
        assert_eq!(host.dimms(Vendor::Intel).len(), 3, "two labels of one name");
    }

    #[test]
    fn the_ranks_of_amds_driver_are_dimms_of_two() {
        let host = Host::new();
        for rank in 0..4 {
            let location = format!("csrow {} channel {}", rank / 2, rank % 2);
            let label = format!("mc#0csrow#{}channel#{}", rank / 2, rank % 2);
            host.edac(&format!("mc0/rank{rank}"), &label, &location, 8 << 10);
        }
        let found: Vec<_> =
            host.dimms(Vendor::Amd).into_iter().map(|d| (d.id, d.size_bytes)).collect();
        assert_eq!(found, [(id(0, 0, 0), 16 << 30), (id(0, 1, 0), 16 << 30)]);
        assert_eq!(host.dimms(Vendor::Intel).len(), 4, "another driver's chip selects");
    }

    #[test]
    fn what_is_strange_or_missing_costs_no_more_than_itself() {
        let host = Host::new();
        assert_eq!(host.dimms(Vendor::Intel), []);
        host.edac("mc0/dimm0", "A1", "channel 0 slot 0", 1);
        host.edac("mc0/dimm1", "A2", "branch 0 channel 1 slot 0", 1);
        host.edac("mc0/dimm2", "A3", "channel x slot 99999999999999999999", 1);
        host.edac("mc0/dimm3", &"A\u{7}".repeat(1000), "", u64::MAX);
        host.edac("mc99999/dimm0", "A5", "channel 0 slot 0", 1);
        host.tree.write("sys/devices/system/edac/mc/mc0/dimm4/size", "1");
        host.tree.write("sys/devices/system/edac/mc/power/dimm0/dimm_location", "channel 0 slot 0");
        host.tree.write("sys/firmware/dmi/tables/DMI", &[17, 200, 0, 0, 1]);
        let found: Vec<_> =
            host.dimms(Vendor::Intel).into_iter().map(|d| (d.id, d.label)).collect();
        let nowhere = DimmId { controller: Some(0), ..DimmId::default() };
        let long = "A".repeat(64);
        assert_eq!(
            found,
            [
                (id(0, 0, 0), "A1".to_owned()),
                (None, "A2".to_owned()),
                (Some(nowhere), "A3".to_owned()),
                (None, long),
            ]
        );
    }
}

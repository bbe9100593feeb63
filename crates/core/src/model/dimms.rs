//! Finding the DIMM that a report names, and naming it to people.

use super::{Dimm, DimmId, Machine};

impl Machine {
    /// The DIMM that a report places at `id`; `None` where the host knows none
    /// or several there.
    ///
    /// A controller, a channel and a slot name one without the package, which
    /// not every report tells.
    pub fn dimm_by_id(&self, id: &DimmId) -> Option<&Dimm> {
        id.slot?;
        only(self.dimms.iter().filter(|dimm| {
            dimm.id.is_some_and(|own| {
                (own.space, own.controller, own.channel, own.slot)
                    == (id.space, id.controller, id.channel, id.slot)
            })
        }))
    }

    /// The DIMM of this EDAC label, or else of this SMBIOS locator, with its
    /// bank's before it or without, as ghes_edac labels DIMMs.
    pub fn dimm_by_label(&self, label: &str) -> Option<&Dimm> {
        if label.is_empty() {
            return None;
        }
        only(self.dimms.iter().filter(|dimm| dimm.label == label))
            .or_else(|| only(self.dimms.iter().filter(|dimm| dimm.is_at(label))))
    }

    /// The DIMM of this SMBIOS handle.
    pub fn dimm_by_handle(&self, handle: u16) -> Option<&Dimm> {
        only(self.dimms.iter().filter(|dimm| dimm.handle == Some(handle)))
    }
}

impl Dimm {
    /// Whether `text` is the DIMM's SMBIOS locator, alone or after its bank
    /// locator and a blank.
    pub fn is_at(&self, text: &str) -> bool {
        let Some(locator) = &self.locator else { return false };
        text == locator
            || self.bank_locator.as_ref().is_some_and(|bank| {
                text.strip_prefix(bank.as_str()).and_then(|rest| rest.strip_prefix(' '))
                    == Some(locator)
            })
    }

    /// What to replace, for people: "DIMM A1 (serial 1234, part M393…)". The
    /// name is what is printed beside the slot, with the bank where firmware
    /// gives one, since locators alone may repeat; or else EDAC's label.
    pub fn fru(&self) -> String {
        let mut name = part_name(self.locator.as_deref().unwrap_or(&self.label));
        if let (Some(bank), Some(_)) = (&self.bank_locator, &self.locator) {
            name = format!("{name} of {bank}");
        }
        let known = [("serial", &self.serial), ("part", &self.part)];
        let known: Vec<String> = known
            .iter()
            .filter_map(|(what, v)| v.as_ref().map(|v| format!("{what} {v}")))
            .collect();
        match known.is_empty() {
            true => name,
            false => format!("{name} ({})", known.join(", ")),
        }
    }
}

/// A DIMM's label or locator with the word that says what it is of.
pub(crate) fn part_name(label: &str) -> String {
    match label.to_ascii_uppercase().contains("DIMM") {
        true => label.to_owned(),
        false => format!("DIMM {label}"),
    }
}

/// The only one there is.
fn only<'d>(mut found: impl Iterator<Item = &'d Dimm>) -> Option<&'d Dimm> {
    let first = found.next();
    found.next().map_or(first, |_| None)
}

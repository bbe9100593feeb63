//! The dialect of ghes_edac: memory errors that firmware reports.

use super::fields::{index, most, number, pairs, Base};
use crate::model::{DimmSpace, DramPlace};

const START: &str = "APEI location:";

/// What a text after `APEI location:` says (ghes_edac_report_mem_error() in
/// drivers/edac/ghes_edac.c, in newer kernels with the names of
/// cper_mem_err_location() in drivers/firmware/efi/cper.c); `None` for another
/// driver's text.
///
/// Node, card and module are the firmware's socket, channel and slot (UEFI
/// specification, appendix N.2.5 "Memory Error Section"). `bank` is whole or,
/// where group and address are told apart as well, the two together.
pub fn place(detail: &str) -> Option<DramPlace> {
    let text = location(detail)?;
    // What follows is a DIMM's name as firmware gives it: any text.
    let text = text.split_once("DIMM location:").map_or(text, |(before, _)| before);
    let mut place = DramPlace::default();
    place.dimm.space = DimmSpace::Firmware;
    let mut bank_address = None;
    for (name, value) in pairs(text) {
        let decimal = Base::Decimal;
        match name {
            "node" => place.dimm.socket = index(value, decimal),
            "card" => place.dimm.channel = index(value, decimal),
            "module" => place.dimm.slot = index(value, decimal),
            "rank" => place.rank = number(value, decimal, most::RANK),
            "bank" => place.bank = number(value, decimal, most::BANK),
            "bank_group" => place.bank_group = number(value, decimal, most::BANK_GROUP),
            "bank_address" => bank_address = number(value, decimal, most::BANK),
            "device" => place.device = number(value, decimal, most::DEVICE),
            "row" => place.row = number(value, decimal, most::ROW),
            "col" | "column" => place.column = number(value, decimal, most::COLUMN),
            "chipID" | "chip_id" => place.sub_rank = number(value, decimal, most::SUB_RANK),
            _ => {}
        }
    }
    place.bank = bank_address.or(place.bank);
    Some(place)
}

/// The SMBIOS handle of the DIMM, which stands where firmware's tables have no
/// name for it.
pub fn handle(detail: &str) -> Option<u16> {
    pairs(location(detail)?)
        .find(|(name, _)| *name == "handle")
        .and_then(|(_, value)| value.starts_with("0x").then(|| index(value, Base::Hex)).flatten())
}

fn location(detail: &str) -> Option<&str> {
    detail.trim_start().strip_prefix(START)
}

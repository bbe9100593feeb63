//! The dialects of Intel's server drivers. Their layers are channel and slot.

use super::fields::{index, most, number, pairs, Base};
use super::retry_log;
use crate::model::DramPlace;

/// skx_edac, i10nm_edac: the firmware's decoding as ADXL names it
/// (`ProcessorSocketId:0x0 … Row:0x442a …`, skx_adxl_decode()), the driver's own
/// under the same names, and that of older kernels (`socket:0 imc:0 rank:0 bg:2
/// ba:2 row:0x8d49 col:0x210`; still older ones leave out the `0x`):
/// skx_mce_output_error() in drivers/edac/skx_common.c. `None`
/// for another driver's text.
///
/// In two-level memory the names without `Nm` are the far memory's; of an error
/// in the near one they say nothing.
pub fn skx(detail: &str) -> Option<DramPlace> {
    let (text, log) = retry_log::split(detail);
    let mut place = DramPlace::default();
    let mut is_skx = false;
    let mut dimm_rank = None;
    let mut near = false;
    for (name, value) in pairs(text) {
        match name {
            "err_code" => near = is_near_memory(value),
            "ProcessorSocketId" | "socket" => place.dimm.socket = index(value, Base::Decimal),
            "MemoryControllerId" | "imc" => is_skx = true,
            "PhysicalRankId" | "rank" => place.rank = number(value, Base::Decimal, most::RANK),
            "DimmRankId" => dimm_rank = number(value, Base::Decimal, most::RANK),
            "ChipId" | "SubRank" => place.sub_rank = number(value, Base::Decimal, most::SUB_RANK),
            "BankGroup" | "bg" => place.bank_group = number(value, Base::Decimal, most::BANK_GROUP),
            "Bank" | "ba" => place.bank = number(value, Base::Decimal, most::BANK),
            "Row" | "row" => place.row = number(value, Base::Hex, most::ROW),
            "Column" | "col" => place.column = number(value, Base::Hex, most::COLUMN),
            _ => {}
        }
    }
    if !is_skx {
        return None;
    }
    place.rank = place.rank.or(dimm_rank);
    if near {
        return Some(DramPlace { dimm: place.dimm, ..DramPlace::default() });
    }
    if let Some(log) = log.and_then(|log| retry_log::read(log, place.row)) {
        place.bits = Some(log.bits);
        place.device = log.device;
    }
    Some(place)
}

/// `err_code:0x<mscod>:0x<mcacod>`: whether MCACOD is `000F 0010 1MMM CCCC`,
/// memory used as a cache (SDM vol. 3B, "Compound Error Codes").
fn is_near_memory(err_code: &str) -> bool {
    err_code
        .split_once(':')
        .and_then(|(_, mcacod)| index(mcacod, Base::Hex))
        .is_some_and(|mcacod| mcacod & 0xef80 == 0x0280)
}

/// sb_edac (Sandy Bridge to Broadwell, Knights Landing): `area:DRAM err_code:…
/// socket:0 ha:0 channel_mask:4 rank:0`, in newer kernels with `row:0x… col:0x…
/// bank_addr:… bank_group:…` (sbridge_mce_output_error() and
/// sb_decode_ddr4() in drivers/edac/sb_edac.c). `None` for another driver's text.
pub fn sb(detail: &str) -> Option<DramPlace> {
    let mut place = DramPlace::default();
    let mut is_sb = false;
    for (name, value) in pairs(detail) {
        match name {
            "socket" => place.dimm.socket = index(value, Base::Decimal),
            "channel_mask" => is_sb = true,
            // Of the channel, 4 to a slot; 255 is unknown.
            "rank" => place.rank = number::<u16>(value, Base::Decimal, 12).map(|rank| rank % 4),
            "row" => place.row = number(value, Base::Hex, most::ROW),
            "col" => place.column = number(value, Base::Hex, most::COLUMN),
            "bank_addr" => place.bank = number(value, Base::Decimal, most::BANK),
            "bank_group" => place.bank_group = number(value, Base::Decimal, most::BANK_GROUP),
            _ => {}
        }
    }
    is_sb.then_some(place)
}

#![allow(clippy::unwrap_used)]

use super::*;
use crate::analyze::tests::machine;
use crate::model::{BitPattern, Dimm, DimmSpace, Vendor};
use proptest::prelude::*;

/// An event of `mc1` with its first two layers.
fn event(layers: [i8; 2], detail: &str) -> McEvent {
    McEvent {
        mc_index: 1,
        top_layer: layers[0],
        middle_layer: layers[1],
        lower_layer: -1,
        driver_detail: detail.into(),
        ..McEvent::default()
    }
}

fn place(layers: [i8; 2], detail: &str) -> DramPlace {
    of_mc_event(&event(layers, detail), &machine()).unwrap()
}

/// Of `mc1`.
fn at(socket: Option<u16>, channel: u16, slot: u16) -> DimmId {
    DimmId {
        socket,
        controller: Some(1),
        channel: Some(channel),
        slot: Some(slot),
        ..DimmId::default()
    }
}

/// Rank, bank group, bank, row, column.
fn inside(dimm: DimmId, [rank, group, bank]: [u16; 3], row: u32, column: u32) -> DramPlace {
    DramPlace {
        dimm,
        rank: Some(rank),
        bank_group: Some(group),
        bank: Some(bank),
        row: Some(row),
        column: Some(column),
        ..DramPlace::default()
    }
}

// The texts are of public logs: kernel mailing lists, distributions' trackers,
// operators' notes.

#[test]
fn the_firmwares_decoding_by_adxl_is_read() {
    let detail = " err_code:0x0000:0x009f  SystemAddress:0x30aa905a80 ProcessorSocketId:0x0 \
        MemoryControllerId:0x0 ChannelAddress:0x605520980 ChannelId:0x1 RankAddress:0x181548240 \
        PhysicalRankId:0x1 DimmSlotId:0x0 DimmRankId:0x1 Row:0x442a Column:0x440 Bank:0x1 \
        BankGroup:0x1 ChipSelect:0x2";
    assert_eq!(place([1, 0], detail), inside(at(Some(0), 1, 0), [1, 1, 1], 0x442a, 0x440));
}

#[test]
fn dies_of_a_stack_are_told_apart() {
    let detail = " err_code:0x0080:0x0090  SystemAddress:0x90ba03400 ProcessorSocketId:0x0 \
        MemoryControllerId:0x2 ChannelAddress:0x222e80e00 ChannelId:0x0 RankAddress:0x445d01c0 \
        PhysicalRankId:0x0 DimmSlotId:0x0 DimmRankId:0x0 Row:0x1424 Column:0x520 Bank:0x0 \
        BankGroup:0x2 ChipSelect:0x0 ChipId:0x4";
    let expected = inside(at(Some(0), 0, 0), [0, 2, 0], 0x1424, 0x520);
    assert_eq!(place([0, 0], detail), DramPlace { sub_rank: Some(4), ..expected });
}

#[test]
fn the_drivers_own_decoding_comes_with_the_retry_read_log() {
    let detail = " err_code:0x0101:0x0090 ProcessorSocketId:0x0 MemoryControllerId:0x1 \
        PhysicalRankId:0x0 Row:0x15da Column:0x100 Bank:0x3 BankGroup:0x1 \
        retry_rd_err_log[0001a209 00000000 00800000 0440d001 000015da] \
        correrrcnt[0001 0000 0000 0000 0000 0000 0000 0000]";
    let expected = inside(at(Some(0), 0, 0), [0, 1, 3], 0x15da, 0x100);
    let bits = Some(BitPattern(0x0080_0000));
    assert_eq!(place([0, 0], detail), DramPlace { bits, device: Some(1), ..expected });
}

#[test]
fn older_kernels_spell_it_in_two_other_ways() {
    let detail = " OVERFLOW err_code:0101:0091 socket:1 imc:0 rank:0 bg:1 ba:1 row:1371a col:1a8";
    assert_eq!(place([1, 0], detail), inside(at(Some(1), 1, 0), [0, 1, 1], 0x1371a, 0x1a8));
    let detail = " err_code:0x0101:0x0091 socket:2 imc:0 rank:0 bg:0 ba:0 row:0x1f880 col:0x200 \
        retry_rd_err_log[0001a209 00000000 00000001 04800001 0001f880] \
        correrrcnt[0001 0000 0000 0000 0000 0000 0000 0000]";
    let expected = inside(at(Some(2), 1, 0), [0, 0, 0], 0x1f880, 0x200);
    let bits = Some(BitPattern(1));
    assert_eq!(place([1, 0], detail), DramPlace { bits, device: Some(1), ..expected });
}

#[test]
fn a_retry_read_log_of_another_row_says_nothing_of_this_error() {
    let detail = " OVERFLOW err_code:0x0101:0x0090 socket:0 imc:0 rank:0 bg:3 ba:2 row:0x106ce \
        col:0x258 retry_rd_err_log[0000a20d 00000000 0000ffff 0476f10f 0000fb4b] \
        correrrcnt[0000 0000 0000 0000 a9b4 0000 0000 0000]";
    assert_eq!(place([0, 1], detail), inside(at(Some(0), 0, 1), [0, 3, 2], 0x106ce, 0x258));
}

#[test]
fn a_retry_read_log_counts_only_when_valid_corrected_and_of_x4_devices() {
    let read = |log: &str| retry_log::read(log, Some(0x15da)).map(|log| log.bits.0);
    let with = |status: u32| read(&format!("{status:08x} 0 00800000 0440d001 000015da]"));
    assert_eq!(with(0x1a209), Some(0x0080_0000), "SDDC in one level of memory");
    assert_eq!(with(0x1a20d), Some(0x0080_0000), "an overwritten log is of the last error");
    for (status, why) in [
        (0x1a208, "not valid"),
        (0x1a20b, "uncorrectable"),
        (0x1a289, "the correction failed"),
        (0x1a309, "nothing was left to correct"),
        (0x1a229, "adaptive double-device correction"),
        (0x1a249, "x8 devices"),
        (0x1a241, "persistent memory"),
    ] {
        assert_eq!(with(status), None, "{why}");
    }
    for (log, why) in [
        ("0001a209 00000000 0000000000800000 0440d001 000015da 0000000000000000]", "DDR5"),
        ("0001a209 00000000 00800000 0440d001 000015db]", "another row"),
        ("0001a209 00000000 00000000 0440d001 000015da]", "no bit"),
        ("0001a209 00000000 00800000 0440d001]", "too few registers"),
        ("0001a209 00000000 00800000 0440d001 000015da", "cut off"),
        ("", "nothing"),
    ] {
        assert_eq!(read(log), None, "{why}");
    }
    let stacked = "0001a209 00000000 00800000 0440d011 000c15da 0000000000000000]";
    assert_eq!(read(stacked), Some(0x0080_0000), "Ice Lake's sixth, Skylake's chip id");
    assert_eq!(retry_log::read(stacked, Some(0x15da)).unwrap().device, Some(17));
    assert_eq!(retry_log::read(stacked, None), None, "a row that is not known");
}

#[test]
fn an_error_of_memory_used_as_a_cache_has_no_place_in_the_far_memory() {
    let detail = " err_code:0x0101:0x0290 ProcessorSocketId:0x0 MemoryControllerId:0x0 \
        PhysicalRankId:0x0 Row:0x15da Column:0x100 Bank:0x3 BankGroup:0x1";
    assert_eq!(place([0, 0], detail), outside(at(Some(0), 0, 0)));
}

#[test]
fn sandy_bridge_tells_the_rank_of_the_channel() {
    let detail = " area:DRAM err_code:0008:00c2 socket:1 ha:0 channel_mask:1 rank:5";
    let expected = DramPlace { rank: Some(1), ..outside(at(Some(1), 0, 1)) };
    assert_eq!(place([0, 1], detail), expected);
    let detail = " area:DRAM err_code:0001:0092 socket:0 ha:0 channel_mask:4 rank:0 \
        row:0x2f1 col:0x448 bank_addr:2 bank_group:3";
    assert_eq!(place([2, 0], detail), inside(at(Some(0), 2, 0), [0, 3, 2], 0x2f1, 0x448));
    let detail = " area:DRAM err_code:0001:0092 socket:0 ha:0 channel_mask:4 rank:255";
    assert_eq!(place([2, 0], detail), outside(at(Some(0), 2, 0)));
}

#[test]
fn an_error_of_one_of_two_lockstep_channels_has_no_place_inside_a_dimm() {
    let detail = " area:DRAM err_code:0001:0092 socket:0 ha:0 channel_mask:3 rank:0";
    assert_eq!(of_mc_event(&event([-1, 0], detail), &machine()), None);
    let detail = " err_code:0101:0090 socket:0 imc:0 rank:0 bg:2 ba:2 row:8d49 col:210";
    let dimm = DimmId { slot: None, ..at(Some(0), 1, 0) };
    assert_eq!(place([1, -1], detail), outside(dimm));
}

#[test]
fn firmwares_numbers_are_a_space_of_their_own() {
    let dimm = DimmId {
        space: DimmSpace::Firmware,
        socket: Some(0),
        controller: None,
        channel: Some(3),
        slot: Some(0),
    };
    let detail = "APEI location: node:0 card:3 module:0 rank:0 bank_group:0 bank_address:0 \
        device:0 row:624 column:384 chip_id:0 status(0x0000000000000400): Storage error in DRAM \
        memory";
    let expected = inside(dimm, [0, 0, 0], 624, 384);
    let expected = DramPlace { device: Some(0), sub_rank: Some(0), ..expected };
    assert_eq!(place([-1, -1], detail), expected);

    let detail = "APEI location: node: 0 card: 3 module: 0 rank: 0 bank: 1282 bank_group: 5 \
        bank_address: 2 device: 0 row: 11387 column: 1544 bit_position: 0 requestor_id: \
        0x0000000000000000 responder_id: 0x0000000000000000 DIMM location: not present. DMI \
        handle: 0x0017 status(0x0000000000000000): reserved";
    let expected = DramPlace { device: Some(0), ..inside(dimm, [0, 5, 2], 11387, 1544) };
    assert_eq!(place([-1, -1], detail), expected);
    assert_eq!(handle(detail), Some(0x17));

    let detail = "APEI location: node:0 card:3 module:0 bank:0 row:8192 col:0 bit_pos:5 DIMM \
        location:BANK 0 row:7 DIMM 1 requestorID: 0x0000000000000001";
    let expected = DramPlace { bank: Some(0), row: Some(8192), column: Some(0), ..outside(dimm) };
    assert_eq!(place([1, -1], detail), expected);
    assert_eq!(handle(detail), None);
}

#[test]
fn firmware_that_names_no_module_may_name_the_dimm_by_its_handle() {
    let detail = "APEI location: node:1 rank:0 bank:2 row:10 col:16 DIMM DMI handle: 0x0052";
    let dimm = DimmId { channel: None, ..at(None, 0, 5) };
    let expected = DramPlace {
        rank: Some(0),
        bank: Some(2),
        row: Some(10),
        column: Some(16),
        ..outside(dimm)
    };
    assert_eq!(place([5, -1], detail), expected);
    assert_eq!(of_mc_event(&event([-1, -1], detail), &machine()), None);
}

#[test]
fn the_cores_own_label_says_what_the_layers_are() {
    let intel = machine();
    let labelled = |label: &str, layers| {
        of_mc_event(&McEvent { label: label.into(), ..event(layers, "") }, &intel)
    };
    assert_eq!(labelled("mc#1channel#2slot#1", [2, 1]), Some(outside(at(None, 2, 1))));
    let memory = DimmId { channel: None, ..at(None, 0, 4) };
    assert_eq!(labelled("mc#1memory#4", [4, -1]), Some(outside(memory)));
    let csrow = DimmId { slot: None, ..at(None, 1, 0) };
    let expected = DramPlace { rank: Some(3), ..outside(csrow) };
    assert_eq!(labelled("mc#1csrow#3channel#1", [3, 1]), Some(expected));
    for label in ["mc#1branch#0channel#1slot#2", "mc#", "mc#1", "DIMM_A1", ""] {
        assert_eq!(labelled(label, [0, 1]), None, "{label}");
    }
}

#[test]
fn amd_has_two_chip_selects_to_a_dimm_and_no_text() {
    let amd = Machine { vendor: Vendor::Amd, ..machine() };
    for label in ["mc#1csrow#3channel#1", "P0 CHANNEL B"] {
        let event = McEvent { label: label.into(), ..event([3, 1], "") };
        let expected = DramPlace { rank: Some(1), ..outside(at(None, 1, 1)) };
        assert_eq!(of_mc_event(&event, &amd), Some(expected), "{label}");
    }
}

#[test]
fn a_label_of_which_sysfs_told_the_place_has_that_place() {
    let dimm = Dimm { id: Some(at(None, 2, 1)), label: "A7".into(), ..Dimm::default() };
    let mut host = Machine { dimms: vec![dimm.clone()], ..machine() };
    let event = McEvent { label: "A7".into(), ..event([0, 0], "something new") };
    assert_eq!(of_mc_event(&event, &host), Some(outside(at(None, 2, 1))));
    host.dimms.push(Dimm { id: Some(at(None, 0, 0)), ..dimm });
    assert_eq!(of_mc_event(&event, &host), None, "two DIMMs of one label");
}

#[test]
fn numbers_that_no_dram_has_are_not_known() {
    let skx = |fields: &str| {
        place([0, 0], &format!("ProcessorSocketId:0x0 MemoryControllerId:0x0 {fields}"))
    };
    let unknown = outside(at(Some(0), 0, 0));
    for fields in [
        "Row:0x1000000",
        "Row:0xffffffffffffffff",
        "Row:0x10000000000000000",
        "Row:-1",
        "Row:+1",
        "Row:0x",
        "Row:",
        "Row",
        "Column:0x4000",
        "Bank:0x10000 BankGroup:0x20",
        "PhysicalRankId:0x40 ChipId:16",
        "Row:12,",
    ] {
        assert_eq!(skx(fields), unknown, "{fields}");
    }
    assert_eq!(skx("Row:0xffffff").row, Some(0xff_ffff));
}

/// Words that texts are made of, so that random ones get past the first word.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "(node|card|module|rank|bank|row|col|socket|imc|channel_mask|Row|Bank|err_code): ?\
         (0x)?[0-9a-f]{0,20}",
        Just("APEI location:".to_owned()),
        Just("ProcessorSocketId:0x0 MemoryControllerId:0x1".to_owned()),
        Just("DIMM location:".to_owned()),
        "retry_rd_err_log\\[([0-9a-f]{8} ){0,7}\\]?",
        "\\PC{0,6}",
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_read_or_ignored(
        detail in words(),
        label in "(mc#)?[ -~]{0,20}",
        top in any::<i8>(),
        middle in any::<i8>(),
        amd in any::<bool>(),
    ) {
        let vendor = if amd { Vendor::Amd } else { Vendor::Intel };
        let host = Machine { vendor, ..machine() };
        let event = McEvent { label, ..event([top, middle], &detail) };
        handle(&detail);
        if let Some(place) = of_mc_event(&event, &host) {
            let dimm = place.dimm;
            prop_assert!(place.row.is_none_or(|row| row < 1 << 24));
            prop_assert!(dimm.slot.is_some() || place.row.is_none(), "a row without its DIMM");
            prop_assert!(place.bits.is_none() || place.row.is_some());
        }
    }
}

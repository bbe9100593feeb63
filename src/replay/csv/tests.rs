use super::super::{blank, Item};
use super::*;
use proptest::prelude::*;

const HEADER: &str =
    "time_s,type,addr,socket,channel,dimm,rank,device,bank_group,bank,row,column,retry_log,parity";

/// Everything in a log: reports, and why lines were skipped.
fn read_all(text: &[u8]) -> Result<(Vec<Report>, Vec<Skipped>), String> {
    let mut log = open(text, text.len() as u64, Path::new("x.csv")).map_err(|e| e.to_string())?;
    let (mut reports, mut skipped, mut report) = (Vec::new(), Vec::new(), blank());
    loop {
        match log.next(&mut report).unwrap() {
            Item::Report => reports.push(report.clone()),
            Item::Skipped(line) => skipped.push(line),
            Item::End => {
                assert_eq!(log.done(), log.total());
                return Ok((reports, skipped));
            }
        }
    }
}

/// One line under the whole header.
fn line(text: &str) -> Result<LoggedError, String> {
    let (reports, skipped) = read_all(format!("{HEADER}\n{text}\n").as_bytes())?;
    match (reports.as_slice(), skipped.as_slice()) {
        ([Report { record: Record::Logged(error), .. }], []) => Ok(*error),
        ([], [skipped]) => Err(format!("{}: {}", skipped.place, skipped.why)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_an_error_with_its_place_and_bits() {
    let text = "1700000000.25,CE.READ,0x1234567000,1,0,2,0,3,0,1,54321,640,5,196611";
    let (reports, _) = read_all(format!("{HEADER}\n{text}").as_bytes()).unwrap();
    let stamp =
        Stamp { at: Time(1_700_000_000_250_000_000), wall: Wall(1_700_000_000_250_000_000) };
    let place = DramPlace {
        dimm: DimmId {
            space: DimmSpace::Log,
            socket: Some(1),
            controller: None,
            channel: Some(0),
            slot: Some(2),
        },
        rank: Some(0),
        bank_group: Some(0),
        bank: Some(1),
        row: Some(54_321),
        column: Some(640),
        device: Some(3),
        sub_rank: None,
        bits: Some(BitPattern(196_611)),
    };
    let addr = Some(PhysAddr(0x12_3456_7000));
    let error = LoggedError { addr, uncorrected: false, scrub: false, place };
    let expected = Report {
        source: Source::Log,
        first: stamp,
        last: stamp,
        records: 1,
        errors: 1,
        decodes: 0,
        record: Record::Logged(error),
    };
    assert_eq!(reports, [expected]);
}

#[test]
fn what_a_line_leaves_empty_is_not_known() {
    let error = line("5,,,,,,,,,,,,,").unwrap();
    assert_eq!(error.addr, None);
    assert_eq!(error.place.dimm, DimmId { space: DimmSpace::Log, ..DimmId::default() });
    assert_eq!(error.place.row, None);
    assert_eq!(line("5,CE,0,,,,,,,,,,,").unwrap().addr, None, "zero is no address");
}

#[test]
fn the_parity_word_counts_only_where_the_log_says_that_it_is_valid() {
    assert_eq!(line("5,CE,1,,,,,,,,,,5,7").unwrap().place.bits, Some(BitPattern(7)));
    assert_eq!(line("5,CE,1,,,,,,,,,,4,7").unwrap().place.bits, None);
    assert_eq!(line("5,CE,1,,,,,,,,,,,7").unwrap().place.bits, None);
}

#[test]
fn the_type_says_whether_it_was_corrected_and_who_found_it() {
    for (text, uncorrected, scrub) in [
        ("CE", false, false),
        ("CE.READ", false, false),
        ("CE.SCRUB", false, true),
        ("CE.OTHER", false, false),
        ("UE", true, false),
        ("UE.READ", true, false),
        ("UE.SCRUB", true, true),
    ] {
        let error = line(&format!("5,{text},0x1000,,,,,,,,,,,")).unwrap();
        assert_eq!((error.uncorrected, error.scrub), (uncorrected, scrub), "{text}");
    }
    assert!(line("5,WE,0x1000,,,,,,,,,,,").is_err());
}

#[test]
fn a_line_that_cannot_be_is_skipped_by_its_number_and_column() {
    for (text, why) in [
        ("x,CE,1,,,,,,,,,,,", "time_s is `x`, which is not a Unix time in seconds"),
        (",CE,1,,,,,,,,,,,", "time_s is ``, which is not a Unix time in seconds"),
        ("-1,CE,1,,,,,,,,,,,", "time_s is `-1`, which is not a Unix time in seconds"),
        ("9223372037,CE,1,,,,,,,,,,,", "time_s is `9223372037`, which is not"),
        ("99999999999999999999,CE,1,,,,,,,,,,,", "time_s is `99999999999999999999`"),
        ("5.x,CE,1,,,,,,,,,,,", "time_s is `5.x`"),
        ("5,CE,0x10000000000000,,,,,,,,,,,", "addr is `0x10000000000000`, which is not an addre"),
        ("5,CE,0x,,,,,,,,,,,", "addr is `0x`"),
        ("5,CE,18446744073709551616,,,,,,,,,,,", "addr is `18446744073709551616`"),
        ("5,CE,1,65536,,,,,,,,,,", "socket is `65536`, which is not a number in its range"),
        ("5,CE,1,,,,,,,,4294967296,,,", "row is `4294967296`, which is not a number in its range"),
        ("5,CE,1,,,,,,,,,,,4294967296", "parity is `4294967296`"),
        ("5,CE,1", "it has 3 values, and the first line names 14 columns"),
        ("5,CE,1,,,,,,,,,,,,", "it has 15 values, and the first line names 14 columns"),
        ("5,\x1b[2J,1,,,,,,,,,,,", "type is `\\u{1b}[2J`, which is not CE"),
    ] {
        let error = line(text).unwrap_err();
        assert!(error.starts_with(&format!("line 2: {why}")), "{text}: {error}");
    }
}

#[test]
fn columns_come_in_any_order_and_others_are_passed_over() {
    let text =
        "\u{feff}ticket,\"addr\" ,row,time_s\r\n\r\na \"b\",0x1000,7,5\r\n\"x,y\",4096,8,6\r\n";
    let (reports, skipped) = read_all(text.as_bytes()).unwrap();
    assert_eq!(skipped, []);
    let rows: Vec<_> = reports
        .iter()
        .map(|report| match &report.record {
            Record::Logged(error) => (error.addr, error.place.row, report.last.at),
            other => panic!("{other:?}"),
        })
        .collect();
    let addr = Some(PhysAddr(0x1000));
    assert_eq!(rows, [(addr, Some(7), Time(5_000_000_000)), (addr, Some(8), Time(6_000_000_000))]);
}

#[test]
fn a_quote_that_is_not_closed_costs_its_own_line_only() {
    let text = "time_s,addr,x\n5,1,\"a\n6,2,b\n7,3,c";
    let (reports, skipped) = read_all(text.as_bytes()).unwrap();
    assert_eq!(reports.len() + skipped.len(), 3);
    assert!(reports.len() >= 2);
}

#[test]
fn a_header_without_what_is_needed_is_refused_by_name() {
    for (header, why) in [
        ("", "x.csv: it is empty"),
        ("addr,row\n", "x.csv: its first line names no column `time_s`"),
        ("time_s,row\n", "x.csv: its first line names no column `addr`"),
        ("1700000000,CE,0x1\n", "x.csv: its first line names no column `time_s`"),
        ("time_s,addr,row,row\n", "x.csv: its first line names the column `row` twice"),
    ] {
        let error = read_all(header.as_bytes()).unwrap_err();
        assert!(error.starts_with(why), "{header}: {error}");
    }
}

#[test]
fn a_line_without_an_end_does_not_fill_the_memory() {
    let text = format!("time_s,addr\n5,{}\n6,1\n", "1".repeat(10 * MAX_LINE));
    let (reports, skipped) = read_all(text.as_bytes()).unwrap();
    assert_eq!((reports.len(), skipped.len()), (1, 1));
    assert!(skipped[0].why.starts_with("longer than"), "{skipped:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut text = format!("{HEADER}\n").into_bytes();
        text.extend(bytes);
        let _ = read_all(&text);
        let _ = read_all(text.get(HEADER.len() + 1..).unwrap_or_default());
    }

    #[test]
    fn every_line_is_a_report_or_is_skipped(
        lines in prop::collection::vec("[0-9x.,\"CEU ]{1,30}", 0..20),
    ) {
        let text = format!("time_s,addr,type\n{}", lines.join("\n"));
        let (reports, skipped) = read_all(text.as_bytes()).unwrap();
        let written = lines.iter().filter(|line| !line.trim().is_empty()).count();
        prop_assert_eq!(reports.len() + skipped.len(), written);
    }

    #[test]
    fn what_is_written_is_read(
        seconds in 0u64..9_000_000_000,
        addr in 1u64..1 << 52,
        row in any::<u32>(),
        rank in any::<u16>(),
    ) {
        let error = line(&format!("{seconds},CE,{addr:#x},,,,{rank},,,,{row},,,")).unwrap();
        prop_assert_eq!(error.addr, Some(PhysAddr(addr)));
        prop_assert_eq!((error.place.row, error.place.rank), (Some(row), Some(rank)));
    }
}

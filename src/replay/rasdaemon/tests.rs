#![allow(clippy::unwrap_used)]

use super::super::{blank, replay, Format, Happening, Options, Summary, Watch};
use super::*;
use bulkhead_core::decide::Policy;
use bulkhead_core::model::{
    ArmEvent, Bytes, CxlDram, CxlGeneralMedia, CxlMedia, ExtlogMemEvent, NonStandardEvent,
    PhysAddr, Record, Wall,
};
use proptest::prelude::*;
use rusqlite::types::Value;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;
use uuid::{uuid, Uuid};

const VERSIONS: [&str; 8] =
    ["0.6.8", "0.7.0", "0.8.0", "0.8.1", "0.8.2", "0.8.3", "0.8.4", "0.8.5"];

const FIRST: Uuid = uuid!("00010203-0405-0607-0809-0a0b0c0d0e0f");
const SECOND: Uuid = uuid!("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
const MEDIA: &[(&str, &str)] = &[
    ("memdev", "'mem1'"),
    ("host", "'0000:35:00.0'"),
    ("serial", "-2"),
    ("log_type", "'Failure'"),
    ("hdr_uuid", "'a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf'"),
    ("hdr_flags", "-2147483644"),
    ("hdr_handle", "65535"),
    ("hdr_related_handle", "3"),
    ("hdr_ts", "'2024-01-02 03:04:01 +0100'"),
    ("hdr_length", "128"),
    ("hdr_maint_op_class", "1"),
    ("hdr_maint_op_sub_class", "2"),
    ("hdr_ld_id", "9"),
    ("hdr_head_id", "9"),
    ("dpa", "4096"),
    ("dpa_flags", "1"),
    ("descriptor", "2"),
    ("type", "0"),
    ("sub_type", "5"),
    ("transaction_type", "1"),
    ("channel", "4"),
    ("rank", "1"),
    ("comp_id", "x'0102'"),
    ("pldm_entity_id", "x'09'"),
    ("pldm_resource_id", "x'09'"),
    ("hpa", "-1"),
    ("hpa_alias0", "8192"),
    ("region", "'region0'"),
    ("region_uuid", "'00010203-0405-0607-0809-0a0b0c0d0e0f'"),
    ("cme_threshold_ev_flags", "2"),
];

/// What a row of a table holds, as far as its version has the columns.
fn values(table: &str) -> Vec<(&'static str, &'static str)> {
    let dram = [
        ("nibble_mask", "-1"),
        ("bank_group", "2"),
        ("bank", "3"),
        ("row", "70000"),
        ("column", "1023"),
        ("cor_mask", "x'ff'"),
        ("sub_channel", "1"),
        ("cvme_count", "17"),
    ];
    match table {
        "mc_event" => vec![("err_type", "'Corrected'"), ("err_count", "2")],
        "mce_record" => vec![("status", "-8358680908399640417"), ("cpu", "3")],
        "memory_failure_event" => vec![("pfn", "'0x20'"), ("action_result", "'Recovered'")],
        "extlog_event" => vec![
            ("etype", "2"),
            ("error_count", "7"),
            ("severity", "2"),
            ("address", "-9223372036854775808"),
            ("fru_id", "x'03020100050407060809000000000e0f'"),
            ("fru_text", "'CPU0_A1'"),
            ("cper_data", "x'0102030405'"),
        ],
        "non_standard_event" => vec![
            ("sec_type", "x'030201000504070608090a0b0c0d0e0f'"),
            ("fru_id", "x'a3a2a1a0a5a4a7a6a8a9aaabacadaeaf'"),
            ("fru_text", "'slot 4'"),
            ("severity", "'Recoverable'"),
            ("error", "x'00ff'"),
        ],
        "arm_event" => vec![
            ("error_count", "4"),
            ("affinity", "-1"),
            ("mpidr", "-9223372034707292159"),
            ("running_state", "-1"),
            ("psci_state", "1"),
            ("err_info", "x'0020'"),
            ("context_info", "x''"),
            ("vendor_info", "x'07'"),
            ("error_type", "' cache error'"),
            ("error_flags", "' overflow'"),
            ("error_info", "5"),
            ("virt_fault_addr", "6"),
            ("phy_fault_addr", "7"),
        ],
        "cxl_dram_event" => MEDIA.iter().copied().chain(dram).collect(),
        "cxl_general_media_event" => {
            MEDIA.iter().copied().chain([("device", "-1"), ("cme_count", "18")]).collect()
        }
        _ => vec![],
    }
}

/// A version's tables and their columns.
fn schema(version: &str) -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("testdata/schemas.txt").lines().filter(|line| !line.starts_with('#'));
    let tables = lines.map(|line| {
        let (head, columns) = line.split_once(": ").unwrap();
        let (since, table) = head.split_once(' ').unwrap();
        (since, table, columns)
    });
    tables.filter(|(since, ..)| *since <= version).map(|(_, table, list)| (table, list)).collect()
}

struct File(TempDir);

impl File {
    /// The database of a version without rows.
    fn empty(version: &str) -> File {
        let file = File(tempfile::tempdir().unwrap());
        let tables = schema(version).into_iter().map(|(table, columns)| {
            format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, timestamp TEXT, {columns});")
        });
        file.run(&tables.collect::<String>());
        file
    }

    /// With a row in each of its tables, all of the same second.
    fn of(version: &str) -> File {
        let file = File::empty(version);
        let rows = schema(version).into_iter().map(|(table, columns)| {
            let has: Vec<&str> =
                columns.split(", ").map(|column| column.split_once(' ').unwrap().0).collect();
            let row = values(table).into_iter().filter(|(name, _)| has.contains(name));
            let row = [("timestamp", "'2024-01-02 03:04:05 +0100'")].into_iter().chain(row);
            let (names, values): (Vec<_>, Vec<_>) = row.unzip();
            let (names, values) = (names.join(", "), values.join(", "));
            format!("INSERT INTO {table} ({names}) VALUES ({values});")
        });
        file.run(&rows.collect::<String>());
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("db")
    }

    fn run(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        // Nothing here outlives a crash.
        connection.pragma_update(None, "synchronous", false).unwrap();
        connection.execute_batch(&format!("BEGIN; {sql}; COMMIT")).unwrap();
    }

    /// Its reports; what is skipped, as `place: why`; its notes.
    fn read(&self) -> (Vec<Report>, Vec<String>, Vec<String>) {
        let (mut reports, mut skipped) = (Vec::new(), Vec::new());
        let mut log = Log::open(&self.path()).unwrap();
        let mut report = blank();
        loop {
            match log.next(&mut report).unwrap() {
                Item::Report => reports.push(report.clone()),
                Item::Skipped(found) => skipped.push(format!("{}: {}", found.place, found.why)),
                Item::End => break,
            }
        }
        assert_eq!((log.done(), log.total()), (log.total(), log.done()));
        (reports, skipped, log.notes())
    }

    fn record(&self, source: Source) -> Record {
        let (reports, skipped, _) = self.read();
        assert_eq!(skipped, Vec::<String>::new());
        reports.into_iter().find(|report| report.source == source).unwrap().record
    }
}

struct Silent;

impl Watch for Silent {
    fn happened(&mut self, _: Wall, _: &Happening) {}
    fn skipped(&mut self, _: &Skipped) {}
    fn progress(&mut self, _: u64, _: u64) {}
}

#[test]
fn each_versions_rows_are_reported_a_machine_check_before_what_came_of_it() {
    use Source::*;
    for version in VERSIONS {
        let (reports, skipped, _) = File::of(version).read();
        assert_eq!(skipped, Vec::<String>::new(), "{version}");
        let sources: Vec<Source> = reports.iter().map(|report| report.source).collect();
        let before_cxl = [MceRecord, ExtlogMemEvent, McEvent, ArmEvent, NonStandardEvent];
        let cxl: &[Source] =
            if version < "0.8.1" { &[] } else { &[Source::CxlDram, Source::CxlGeneralMedia] };
        assert_eq!(sources, [&before_cxl[..], cxl, &[MemoryFailure]].concat(), "{version}");
        for report in reports {
            let wall = Wall(1_704_161_045_000_000_000);
            assert_eq!((report.first, report.last.wall), (report.last, wall), "{version}");
        }
    }
}

#[test]
fn tables_that_nothing_is_made_of_are_counted() {
    let used = |version| {
        let (_, _, notes) = File::of(version).read();
        notes
            .iter()
            .all(|note| note.starts_with("1 rows of ") && note.ends_with(" are not used"))
            .then_some(notes.len())
    };
    let unused = VERSIONS.map(used);
    assert_eq!(unused, [3, 3, 3, 9, 9, 9, 10, 11].map(Some));
}

fn replayed(file: &File) -> Summary {
    let options = Options {
        format: Some(Format::Rasdaemon),
        policy: Policy::default(),
        memory_bytes: 1 << 38,
        failed_at: None,
    };
    replay(&file.path(), &options, &mut Silent).unwrap()
}

#[test]
fn each_versions_database_goes_through_analyze_and_decide() {
    for version in VERSIONS {
        let summary = replayed(&File::of(version));
        let reports = if version < "0.8.1" { 6 } else { 8 };
        assert_eq!((summary.reports, summary.skipped), (reports, 0), "{version}");
        assert_eq!((summary.isolations.len(), summary.out_of_order), (0, 0), "{version}");
    }
}

#[test]
fn two_corrected_errors_of_the_extended_error_log_take_their_page() {
    let file = File::empty("0.6.8");
    for time in ["2024-01-01 00:01:00 +0000", "2024-01-01 00:02:00 +0000"] {
        file.run(&format!(
            "INSERT INTO extlog_event (timestamp, etype, error_count, severity, address, fru_text, \
             cper_data) VALUES ('{time}', 2, 1, 2, 28672, 'A1', zeroblob(54))"
        ));
    }
    let summary = replayed(&file);
    assert_eq!((summary.reports, summary.undecodable, summary.pages), (2, 0, 1));
}

#[test]
fn an_error_that_two_tables_tell_of_takes_no_page() {
    let file = File::empty("0.6.8");
    file.run(
        "INSERT INTO extlog_event (timestamp, etype, error_count, severity, address, fru_text, \
         cper_data) VALUES ('2024-01-01 00:01:00 +0000', 2, 1, 2, 28672, 'A1', zeroblob(54)); \
         INSERT INTO mc_event (timestamp, err_count, err_type, label, mc, address, grain) VALUES \
         ('2024-01-01 00:01:00 +0000', 1, 'Corrected', 'A1', 0, 28672, 6)",
    );
    let summary = replayed(&file);
    assert_eq!((summary.reports, summary.undecodable, summary.pages), (2, 0, 0));
}

#[test]
fn the_extended_error_logs_section_is_kept_and_its_mask_is_unknown() {
    for version in VERSIONS {
        let event = ExtlogMemEvent {
            err_seq: 7,
            etype: 2,
            sev: 2,
            pa: 1 << 63,
            pa_mask_lsb: 0xff,
            fru_id: uuid!("00010203-0405-0607-0809-000000000e0f"),
            fru_text: "CPU0_A1".into(),
            data: Bytes(vec![1, 2, 3, 4, 5]),
        };
        assert_eq!(File::of(version).record(Source::ExtlogMemEvent), Record::Extlog(event));
    }
}

#[test]
fn a_section_of_firmwares_has_its_guids_and_the_number_of_its_severity() {
    for version in VERSIONS {
        let event = NonStandardEvent {
            sec_type: FIRST,
            fru_id: SECOND,
            fru_text: "slot 4".into(),
            sev: 2,
            buf: Bytes(vec![0, 0xff]),
        };
        assert_eq!(File::of(version).record(Source::NonStandardEvent), Record::NonStandard(event));
    }
}

/// As SQLite stores what is bound as a blob of length -1: as text, up to the
/// first two zeros at an even place.
#[test]
fn a_section_type_that_was_stored_without_its_length_is_told_as_far_as_it_is_known() {
    for (stored, sec_type) in [
        // Beyond it lies what came next in the trace record.
        (
            "cast(x'03020100050407060809a0a1a2a3a4a5a6a7' AS TEXT)",
            uuid!("00010203-0405-0607-0809-a0a1a2a3a4a5"),
        ),
        (
            "cast(x'030201000504070608090a0b0c0d' AS TEXT)",
            uuid!("00010203-0405-0607-0809-0a0b0c0d0000"),
        ),
        ("cast(x'030201000504070608090a0b' AS TEXT)", Uuid::nil()),
        ("NULL", Uuid::nil()),
    ] {
        let file = File::of("0.8.5");
        file.run(&format!("UPDATE non_standard_event SET sec_type = {stored}"));
        let Record::NonStandard(event) = file.record(Source::NonStandardEvent) else { panic!() };
        assert_eq!((event.sec_type, event.fru_id), (sec_type, SECOND), "{stored}");
    }
}

#[test]
fn an_arm_processors_structures_are_kept_and_who_it_is_beyond_mpidr_is_unknown() {
    for version in VERSIONS {
        let event = ArmEvent {
            mpidr: 0x8000_0000_8000_0001,
            midr: 0,
            running_state: u32::MAX,
            psci_state: 1,
            affinity: 0xff,
            pei_buf: Bytes(vec![0, 0x20]),
            ctx_buf: Bytes::default(),
            oem_buf: Bytes(vec![7]),
            sev: None,
            cpu: None,
        };
        assert_eq!(File::of(version).record(Source::ArmEvent), Record::Arm(event), "{version}");
    }
}

#[test]
fn a_kernel_that_hands_on_no_structures_leaves_none() {
    let file = File::of("0.8.2");
    file.run("UPDATE arm_event SET err_info = NULL, context_info = NULL, vendor_info = NULL");
    let Record::Arm(event) = file.record(Source::ArmEvent) else { panic!() };
    assert!(event.pei_buf.is_empty() && event.ctx_buf.is_empty() && event.oem_buf.is_empty());
}

/// What a version's columns hold of [`MEDIA`].
fn media(version: &str) -> CxlMedia {
    let (v2, v3, v4) = (version >= "0.8.2", version >= "0.8.3", version >= "0.8.4");
    CxlMedia {
        memdev: "mem1".into(),
        host: "0000:35:00.0".into(),
        serial: u64::MAX - 1,
        log: 2,
        hdr_uuid: SECOND,
        hdr_flags: 0x8000_0004,
        hdr_handle: 0xffff,
        hdr_related_handle: 3,
        hdr_timestamp: 1_704_161_041_000_000_000,
        hdr_length: 128,
        hdr_maint_op_class: 1,
        hdr_maint_op_sub_class: if v3 { 2 } else { 0 },
        dpa: 0x1000,
        dpa_flags: 1,
        descriptor: 2,
        kind: 0,
        sub_type: if v3 { 5 } else { 0 },
        transaction_type: 1,
        validity_flags: 0,
        channel: 4,
        rank: 1,
        comp_id: Bytes(vec![1, 2]),
        hpa: v2.then_some(PhysAddr(u64::MAX)),
        hpa_alias0: v4.then_some(PhysAddr(0x2000)),
        region_name: if v2 { "region0" } else { "" }.into(),
        region_uuid: if v2 { FIRST } else { Uuid::nil() },
        cme_threshold_ev_flags: if v3 { 2 } else { 0 },
    }
}

#[test]
fn an_event_of_cxl_dram_has_what_its_version_stored() {
    for version in VERSIONS.into_iter().filter(|version| *version >= "0.8.1") {
        let newer = version >= "0.8.3";
        let event = CxlDram {
            media: CxlMedia {
                comp_id: if newer { Bytes(vec![1, 2]) } else { Bytes::default() },
                ..media(version)
            },
            nibble_mask: u32::MAX,
            bank_group: 2,
            bank: 3,
            row: 70_000,
            column: 1023,
            cor_mask: Bytes(vec![0xff]),
            sub_channel: if newer { 1 } else { 0 },
            cvme_count: if newer { 17 } else { 0 },
        };
        let found = File::of(version).record(Source::CxlDram);
        assert_eq!(found, Record::CxlDram(Box::new(event)), "{version}");
    }
}

#[test]
fn an_event_of_cxl_media_has_what_its_version_stored() {
    for version in VERSIONS.into_iter().filter(|version| *version >= "0.8.1") {
        let cme_count = if version >= "0.8.3" { 18 } else { 0 };
        let event = CxlGeneralMedia { media: media(version), device: u32::MAX, cme_count };
        let found = File::of(version).record(Source::CxlGeneralMedia);
        assert_eq!(found, Record::CxlGeneralMedia(Box::new(event)), "{version}");
    }
}

#[test]
fn a_records_kind_that_rasdaemon_wrote_over_with_the_regions_uuid_is_unknown() {
    let file = File::of("0.8.5");
    file.run("UPDATE cxl_dram_event SET hdr_uuid = region_uuid");
    let Record::CxlDram(event) = file.record(Source::CxlDram) else { panic!() };
    assert_eq!((event.media.hdr_uuid, event.media.region_uuid), (Uuid::nil(), FIRST));
}

#[test]
fn a_device_without_a_clock_has_no_time_and_an_unknown_log_no_number() {
    let file = File::of("0.8.1");
    file.run(
        "UPDATE cxl_dram_event SET hdr_ts = '1970-01-01 00:00:00 +0000', log_type = 'Unknown'",
    );
    let Record::CxlDram(event) = file.record(Source::CxlDram) else { panic!() };
    assert_eq!((event.media.hdr_timestamp, event.media.log), (0, -1));
}

#[test]
fn rows_that_no_rasdaemon_writes_are_skipped_and_say_why() {
    let long = format!("UPDATE arm_event SET err_info = zeroblob({})", (1 << 16) + 1);
    for (sql, why) in [
        (
            "UPDATE non_standard_event SET severity = 'Cosmic'",
            "non_standard_event row 1: severity is `Cosmic`, which is none of Informational, Corrected, Recoverable, Fatal",
        ),
        (
            "UPDATE extlog_event SET etype = 256",
            "extlog_event row 1: etype is 256, which is not an 8-bit number",
        ),
        (
            "UPDATE extlog_event SET cper_data = 5",
            "extlog_event row 1: cper_data is 5, which is not a blob of at most 64 KiB",
        ),
        (
            &long,
            "arm_event row 1: err_info is a blob of 65537 bytes, which is not a blob of at most 64 KiB",
        ),
        (
            "UPDATE cxl_dram_event SET hdr_ts = 'noon'",
            "cxl_dram_event row 1: hdr_ts is `noon`, which is not a time such as 2024-01-02 03:04:05 +0100",
        ),
        (
            "UPDATE cxl_dram_event SET log_type = 'Loud'",
            "cxl_dram_event row 1: log_type is `Loud`, which is none of Informational, Warning, Failure, Fatal",
        ),
        (
            "UPDATE cxl_general_media_event SET descriptor = NULL",
            "cxl_general_media_event row 1: it has no descriptor",
        ),
    ] {
        let file = File::of("0.8.5");
        file.run(sql);
        let (reports, skipped, _) = file.read();
        assert_eq!((reports.len(), skipped), (7, vec![why.to_owned()]));
    }
}

#[test]
fn rows_of_all_tables_come_in_order_of_time() {
    let file = File::of("0.8.5");
    file.run("UPDATE memory_failure_event SET timestamp = '2024-01-02 03:04:03 +0100'");
    file.run("UPDATE cxl_dram_event SET timestamp = '2024-01-02 02:04:04 +0000'");
    let sources: Vec<Source> = file.read().0.iter().map(|report| report.source).collect();
    assert_eq!(sources[..3], [Source::MemoryFailure, Source::CxlDram, Source::MceRecord]);
}

fn any_value() -> impl Strategy<Value = Value> {
    let numbers = [0, 1, -1, 255, -128, 65_535, i64::from(u32::MAX), i64::MAX, i64::MIN];
    let texts = ["", "Fatal", "0x10", "1970-01-01 00:00:00 +0000", "9999-12-31 23:59:59 -2359"];
    prop_oneof![
        Just(Value::Null),
        prop::sample::select(numbers.to_vec()).prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        prop::sample::select(texts.to_vec()).prop_map(|text| Value::Text(text.into())),
        ".{0,40}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Value::Blob),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_stands_in_a_row_it_is_a_report_or_skipped(
        values in prop::collection::vec(any_value(), 64),
    ) {
        let file = File::of("0.8.5");
        let connection = Connection::open(file.path()).unwrap();
        connection.pragma_update(None, "synchronous", false).unwrap();
        for (table, columns) in schema("0.8.5") {
            for (column, value) in columns.split(", ").zip(&values) {
                let name = column.split_once(' ').unwrap().0;
                // One column of a row at a time, so that the others are reached.
                let sql = format!("INSERT INTO {table} (timestamp, {name}) VALUES (?1, ?2)");
                connection.execute(&sql, ("2024-01-02 03:04:05 +0100", value)).unwrap();
            }
        }
        let (reports, skipped, _) = file.read();
        prop_assert!(reports.len() >= 8 && !skipped.is_empty());
    }
}

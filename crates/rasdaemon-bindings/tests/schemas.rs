//! Databases as each version of rasdaemon makes them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rasdaemon_bindings::{
    Condition, Database, ExtlogEvent, McEvent, MceRecord, MemoryFailureEvent, OpenError, Row,
    RowError,
};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MC_EVENT: &str = "CREATE TABLE mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, \
    err_count INTEGER, err_type TEXT, err_msg TEXT, label TEXT, mc INTEGER, top_layer INTEGER, \
    middle_layer INTEGER, lower_layer INTEGER, address INTEGER, grain INTEGER, syndrome INTEGER, \
    driver_detail TEXT)";

/// 0.6.8 to 0.8.0.
const MCE_RECORD_OLD: &str = "CREATE TABLE mce_record (id INTEGER PRIMARY KEY, timestamp TEXT, \
    mcgcap INTEGER, mcgstatus INTEGER, status INTEGER, addr INTEGER, misc INTEGER, ip INTEGER, \
    tsc INTEGER, walltime INTEGER, cpu INTEGER, cpuid INTEGER, apicid INTEGER, socketid INTEGER, \
    cs INTEGER, bank INTEGER, cpuvendor INTEGER, bank_name TEXT, error_msg TEXT, \
    mcgstatus_msg TEXT, mcistatus_msg TEXT, mcastatus_msg TEXT, user_action TEXT, \
    mc_location TEXT)";

/// 0.8.1 to 0.8.5.
const MCE_RECORD_NEW: &str = "CREATE TABLE mce_record (id INTEGER PRIMARY KEY, timestamp TEXT, \
    mcgcap INTEGER, mcgstatus INTEGER, status INTEGER, addr INTEGER, misc INTEGER, ip INTEGER, \
    tsc INTEGER, walltime INTEGER, ppin INTEGER, cpu INTEGER, cpuid INTEGER, apicid INTEGER, \
    socketid INTEGER, cs INTEGER, bank INTEGER, cpuvendor INTEGER, microcode INTEGER, \
    bank_name TEXT, error_msg TEXT, mcgstatus_msg TEXT, mcistatus_msg TEXT, mcastatus_msg TEXT, \
    user_action TEXT, mc_location TEXT)";

const MEMORY_FAILURE: &str = "CREATE TABLE memory_failure_event (id INTEGER PRIMARY KEY, \
    timestamp TEXT, pfn TEXT, page_type TEXT, action_result TEXT)";

struct File {
    dir: TempDir,
    connection: Connection,
}

impl File {
    fn new(tables: &[&str]) -> File {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open(dir.path().join("db")).unwrap();
        tables.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
        File { dir, connection }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    fn run(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    fn rows<T: Row>(&self) -> Vec<Result<T, RowError>> {
        rows(&Database::open(&self.path()).unwrap())
    }
}

fn rows<T: Row>(database: &Database) -> Vec<Result<T, RowError>> {
    let mut cursor = database.cursor::<T>();
    std::iter::from_fn(|| cursor.next(database)).map(|row| row.map(|entry| entry.row)).collect()
}

fn insert_mc_event(file: &File, address: i64) {
    file.run(&format!(
        "INSERT INTO mc_event (timestamp, err_count, err_type, err_msg, label, mc, top_layer, \
         middle_layer, lower_layer, address, grain, syndrome, driver_detail) VALUES \
         ('2024-01-02 03:04:05 +0100', 1, 'Corrected', 'memory read error', 'CPU0_A1', 0, 1, 2, \
         -1, {address}, 6, -1, 'row 5')"
    ));
}

#[test]
fn a_memory_error_is_read_with_its_64_bit_words() {
    let file = File::new(&[MC_EVENT]);
    insert_mc_event(&file, i64::MIN);
    let event = file.rows::<McEvent>().remove(0).unwrap();
    assert_eq!(
        event,
        McEvent {
            err_count: Some(1),
            err_type: Some("Corrected".into()),
            err_msg: Some("memory read error".into()),
            label: Some("CPU0_A1".into()),
            mc: Some(0),
            top_layer: Some(1),
            middle_layer: Some(2),
            lower_layer: Some(-1),
            address: Some(1 << 63),
            grain: Some(6),
            syndrome: Some(u64::MAX),
            driver_detail: Some("row 5".into()),
        }
    );
}

#[test]
fn a_machine_check_of_before_0_8_1_has_no_ppin_and_no_microcode() {
    let file = File::new(&[MCE_RECORD_OLD]);
    file.run(
        "INSERT INTO mce_record (timestamp, status, mcgcap, cpu, bank, cpuvendor) VALUES \
         ('2024-01-02 03:04:05 +0100', -8358680908399640417, -251653864, 3, 9, 0)",
    );
    let record = file.rows::<MceRecord>().remove(0).unwrap();
    assert_eq!(record.status, Some(0x8c00_0000_0000_009f));
    assert_eq!(record.mcgcap, Some(0xf100_1118));
    assert_eq!((record.cpu, record.bank), (Some(3), Some(9)));
    assert_eq!((record.ppin, record.microcode, record.addr), (None, None, None));
}

#[test]
fn a_machine_check_since_0_8_1_has_them() {
    let file = File::new(&[MCE_RECORD_NEW]);
    file.run(
        "INSERT INTO mce_record (timestamp, status, ppin, microcode, cpu, bank) VALUES \
         ('2024-01-02 03:04:05 +0100', '0x8c0000000000009f', -2, 33555200, 3, 9)",
    );
    let record = file.rows::<MceRecord>().remove(0).unwrap();
    assert_eq!((record.ppin, record.microcode), (Some(u64::MAX - 1), Some(0x0200_0300)));
    assert_eq!(record.status, Some(0x8c00_0000_0000_009f), "hexadecimal text serves as well");
}

#[test]
fn a_column_that_a_newer_version_added_in_place_is_found_by_its_name() {
    let file = File::new(&[MCE_RECORD_OLD]);
    file.run("ALTER TABLE mce_record ADD ppin INTEGER");
    file.run("INSERT INTO mce_record (timestamp, ppin) VALUES ('2024-01-02 03:04:05 +0100', 5)");
    assert_eq!(file.rows::<MceRecord>()[0].as_ref().unwrap().ppin, Some(5));
}

#[test]
fn the_page_of_a_memory_failure_is_hexadecimal_text() {
    let file = File::new(&[MEMORY_FAILURE]);
    file.run(
        "INSERT INTO memory_failure_event (timestamp, pfn, page_type, action_result) VALUES \
         ('2024-01-02 03:04:05 +0100', '0x80000', 'dirty LRU page', 'Recovered')",
    );
    let failure = file.rows::<MemoryFailureEvent>().remove(0).unwrap();
    assert_eq!(failure.pfn, Some(0x80000));
    assert_eq!(failure.action_result.as_deref(), Some("Recovered"));
}

#[test]
fn a_byte_that_was_bound_as_a_signed_one_is_unsigned_and_a_blob_is_kept_whole() {
    let file = File::new(&[
        "CREATE TABLE extlog_event (id INTEGER PRIMARY KEY, timestamp TEXT, etype INTEGER, \
         error_count INTEGER, severity INTEGER, address INTEGER, fru_id BLOB, fru_text TEXT, \
         cper_data BLOB)",
    ]);
    file.run(
        "INSERT INTO extlog_event (timestamp, etype, error_count, address, fru_id, cper_data) \
         VALUES ('2024-01-02 03:04:05 +0100', -1, -1, -1, x'000102030405060708090a0b0c0d0e0f', \
         x'0000ff')",
    );
    let event = file.rows::<ExtlogEvent>().remove(0).unwrap();
    assert_eq!((event.etype, event.err_seq), (Some(0xff), Some(u32::MAX)));
    assert_eq!((event.address, event.severity), (Some(u64::MAX), None));
    assert_eq!(event.fru_id, Some(std::array::from_fn(|i| i as u8)));
    assert_eq!(event.cper_data, Some(vec![0, 0, 0xff]));
}

#[test]
fn a_row_that_cannot_be_is_named_and_the_next_one_is_read() {
    let file = File::new(&[MC_EVENT]);
    file.run(
        "INSERT INTO mc_event (timestamp, mc) VALUES ('2024-01-02 03:04:05 +0100', 300), \
         ('yesterday', 1), (NULL, 1), ('2024-01-02 03:04:05 +0100', x'00')",
    );
    insert_mc_event(&file, 4096);
    let rows = file.rows::<McEvent>();
    let errors: Vec<String> =
        rows.iter().filter_map(|row| row.as_ref().err()).map(ToString::to_string).collect();
    let wanted = "which is not a time such as 2024-01-02 03:04:05 +0100";
    assert_eq!(
        errors,
        [
            "mc_event row 1: mc is 300, which is not a number in its range".to_owned(),
            format!("mc_event row 2: timestamp is `yesterday`, {wanted}"),
            format!("mc_event row 3: timestamp is missing, {wanted}"),
            "mc_event row 4: mc is a blob of 1 bytes, which is not a number in its range".into(),
        ]
    );
    assert_eq!(rows[4].as_ref().unwrap().address, Some(4096));
}

#[test]
fn more_rows_than_are_read_at_a_time_come_in_order() {
    let file = File::new(&[MC_EVENT]);
    file.run("BEGIN");
    (0..1200).for_each(|n| insert_mc_event(&file, n));
    file.run("COMMIT; DELETE FROM mc_event WHERE id = 700");
    let addresses: Vec<u64> =
        file.rows::<McEvent>().into_iter().map(|row| row.unwrap().address.unwrap()).collect();
    assert_eq!(addresses, (0..1200).filter(|n| *n != 699).collect::<Vec<u64>>());
}

#[test]
fn what_is_in_a_database_is_counted_and_an_absent_table_has_no_rows() {
    let file = File::new(&[MC_EVENT, "CREATE TABLE aer_event (id INTEGER PRIMARY KEY)"]);
    file.run("INSERT INTO aer_event VALUES (1), (2)");
    let database = Database::open(&file.path()).unwrap();
    let tables: Vec<_> = database.tables().into_iter().map(|t| (t.name, t.rows)).collect();
    assert_eq!(tables, [("mc_event", Some(0)), ("aer_event", Some(2))]);
    assert!(file.rows::<MceRecord>().is_empty());
}

#[test]
fn another_programs_database_is_refused_with_what_was_wanted() {
    let file = File::new(&["CREATE TABLE moz_places (id INTEGER PRIMARY KEY)"]);
    let error = Database::open(&file.path()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign));
    assert!(error.to_string().contains("none of the tables mc_event, mce_record"), "{error}");
}

#[test]
fn what_is_no_database_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no? #100%.db");
    std::fs::write(&path, "SQLite format 3, or so it says, and then nothing like it. ".repeat(50))
        .unwrap();
    assert!(matches!(Database::open(&path), Err(OpenError::Sqlite(_))));
    assert!(matches!(Database::open(&dir.path().join("absent")), Err(OpenError::Sqlite(_))));
    assert!(!dir.path().join("absent").exists());
}

#[test]
fn a_truncated_database_gives_the_rows_up_to_there_and_says_so() {
    let file = File::new(&[MC_EVENT]);
    file.run("BEGIN");
    (0..5000).for_each(|n| insert_mc_event(&file, n));
    file.run("COMMIT");
    let whole = std::fs::read(file.path()).unwrap();
    let cut = file.dir.path().join("cut");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let database = Database::open(&cut).unwrap();
    assert_eq!(database.condition(), Condition::Damaged);
    let rows = rows::<McEvent>(&database);
    assert!((1000..4000).contains(&rows.len()), "{}", rows.len());
    assert!(matches!(rows.last(), Some(Err(RowError::Damaged { .. }))), "{:?}", rows.last());
    assert!(rows.iter().rev().skip(1).all(Result::is_ok));
}

#[test]
fn any_truncation_is_survived() {
    let file = File::new(&[MC_EVENT, MCE_RECORD_NEW]);
    (0..40).for_each(|n| insert_mc_event(&file, n));
    let whole = std::fs::read(file.path()).unwrap();
    let cut = file.dir.path().join("cut");
    for length in (0..whole.len()).step_by(251) {
        std::fs::write(&cut, &whole[..length]).unwrap();
        if let Ok(database) = Database::open(&cut) {
            database.tables();
            assert!(rows::<McEvent>(&database).len() <= 41);
        }
    }
}

#[test]
fn it_is_read_while_a_daemon_writes_and_never_written_to() {
    let file = File::new(&[MC_EVENT]);
    insert_mc_event(&file, 1);
    let before = std::fs::read(file.path()).unwrap();
    let database = Database::open(&file.path()).unwrap();
    assert_eq!(rows::<McEvent>(&database).len(), 1);
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
    insert_mc_event(&file, 2);
    assert_eq!(rows::<McEvent>(&database).len(), 2);
    assert_eq!(database.condition(), Condition::Whole);
}

/// As after a crash, on a medium that cannot be written: nothing can be played
/// back, and what lies there is read.
#[test]
fn a_journal_that_cannot_be_played_back_is_left_out_and_told() {
    let file = File::new(&[MC_EVENT]);
    insert_mc_event(&file, 1);
    file.run("PRAGMA journal_mode = WAL");
    insert_mc_event(&file, 2);
    let media = file.dir.path().join("media");
    std::fs::create_dir(&media).unwrap();
    let copy = media.join("db");
    std::fs::copy(file.path(), &copy).unwrap();
    if !is_read_only(&media) {
        eprintln!("skipped: who runs this may write anywhere");
        return;
    }
    let database = Database::open(&copy).unwrap();
    assert_eq!(database.condition(), Condition::JournalLeftOut);
    assert_eq!(rows::<McEvent>(&database).len(), 1);
}

/// Takes the right to write there away; whether that keeps us from it.
fn is_read_only(dir: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o555)).unwrap();
    std::fs::write(dir.join("try"), "").is_err()
}

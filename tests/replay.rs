//! `bulkhead replay`: every kind of log, good and bad, as a user sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use assert_cmd::Command;
use rusqlite::Connection;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const HEADER: &str =
    "time_s,type,addr,socket,channel,dimm,rank,device,bank_group,bank,row,column,retry_log,parity\n";

/// 2024-01-01T00:00:00Z.
const START: i64 = 1_704_067_200;

struct Log(TempDir);

impl Log {
    fn new(text: impl AsRef<[u8]>) -> Log {
        let log = Log(tempfile::tempdir().unwrap());
        std::fs::write(log.path(), text).unwrap();
        log
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn replay(&self, arguments: &[&str]) -> Command {
        replay(&self.path(), arguments)
    }

    /// The object of `--json`.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.replay(arguments).arg("--json").assert().code(0).get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The one line on stderr of a command that fails.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.replay(arguments).assert().code(1).get_output().clone();
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }

    fn stderr(&self, arguments: &[&str]) -> String {
        let output = self.replay(arguments).assert().code(0).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    }
}

fn replay(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("replay").arg(path).args(arguments).env("TZ", "UTC");
    command
}

/// A corrected error so many seconds after the start.
fn ce(seconds: i64, addr: u64) -> String {
    format!("{},CE.READ,{addr:#x},0,1,0,0,7,1,0,5,8,,\n", START + seconds)
}

/// A corrected error at a column of a row, of a log that tells no bits.
fn ce_in_row(seconds: i64, addr: u64, row: u32, column: u32) -> String {
    format!("{},CE.READ,{addr:#x},0,1,0,0,7,1,0,{row},{column},,\n", START + seconds)
}

fn csv(lines: impl IntoIterator<Item = String>) -> Log {
    Log::new(HEADER.to_owned() + &lines.into_iter().collect::<String>())
}

fn machine_check(seconds: i64, status: &str, bank: u8, cpu: u32, addr: u64) -> String {
    let time = jiff::Timestamp::from_second(START + seconds).unwrap();
    let record = json!({ "mce": {
        "status": status, "addr": format!("{addr:#x}"), "misc": "0x8c", "bank": bank, "cpu": cpu,
        "apicid": 2 * cpu, "cpuid": 0x50654,
    } });
    format!(
        "{}\n",
        json!({ "time": time, "event": "report", "source": "mce:mce_record", "record": record })
    )
}

#[test]
fn the_object_is_that_of_the_contract() {
    let log = csv([ce(0, 0x1000), ce(60, 0x1008), ce(120, 0x1010), ce(180, 0x9000)]);
    let mut found = log.json(&[]);
    let fault = found["faults"][0].take();
    assert!(fault["id"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    assert_eq!(
        fault.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["component", "errors", "first", "fru", "id", "kind", "last", "rule", "severity", "state"]
    );
    assert_eq!(fault["component"], "page 0x1000");
    assert_eq!((&fault["errors"], &fault["state"]), (&json!(3), &json!("isolated")));
    assert_eq!(
        found,
        json!({
            "reports": 4, "skipped": 0, "faults": [null],
            "isolations": [
                { "time": "2024-01-01T00:01:00Z", "kind": "page", "id": "0x1000", "rule": "page-ce" }
            ],
            "pages": 1, "ces_after": 1, "first_fault": "2024-01-01T00:01:00Z",
            "escalated_at": null, "lead_s": null,
            "after_failure": 0, "out_of_order": 0, "undecodable": 0, "faults_unlisted": 0,
            "evidence_evicted": 0, "notes": [],
        })
    );
}

#[test]
fn the_same_log_gives_the_same_faults() {
    let log = csv([ce(0, 0x1000), ce(60, 0x1008)]);
    assert_eq!(log.json(&[]), log.json(&["--format", "csv"]));
}

#[test]
fn errors_further_apart_than_the_window_take_nothing() {
    let log = csv([ce(0, 0x1000), ce(86_401, 0x1008)]);
    assert_eq!(log.json(&[])["pages"], 0);
}

#[test]
fn a_row_of_unknown_bits_takes_the_page_of_a_third_column_at_its_first_error() {
    let log = csv([
        ce_in_row(0, 0x1000, 5, 8),
        ce_in_row(60, 0x9000, 5, 64),
        ce_in_row(3600, 0x11000, 5, 128),
        ce_in_row(7200, 0x11008, 5, 128),
    ]);
    let found = log.json(&[]);
    let taken = |time: &str, page: &str| json!({ "time": time, "kind": "page", "id": page, "rule": "row-ce" });
    assert_eq!(
        found["isolations"],
        json!([
            taken("2024-01-01T00:01:00Z", "0x1000"),
            taken("2024-01-01T00:01:00Z", "0x9000"),
            taken("2024-01-01T01:00:00Z", "0x11000"),
        ])
    );
    assert_eq!(found["ces_after"], 1, "the fourth error, on the page of the third");
    let row = &found["faults"][0];
    assert_eq!((&row["kind"], &row["state"]), (&json!("row"), &json!("isolated")));
    assert_eq!(
        row["component"],
        "row 0x5, bank 0, bank group 1, rank 0 of DIMM at socket 0 channel 1 slot 0"
    );
}

#[test]
fn another_policy_decides_otherwise() {
    let log = csv([ce(0, 0x1000), ce(60, 0x1000), ce(120, 0x1000)]);
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    // Whatever its mode: a replay touches nothing, and shows what would be.
    std::fs::write(&policy, "mode = \"observe\"\n[page]\nerrors = 3\n").unwrap();
    let found = log.json(&["--policy", policy.to_str().unwrap()]);
    assert_eq!(found["isolations"][0]["time"], "2024-01-01T00:02:00Z");
    std::fs::write(&policy, "[page]\nerors = 3\nwindow = 5\n").unwrap();
    let error = log.failure(&["--policy", policy.to_str().unwrap()]);
    assert!(error.contains("policy.toml:2:1: ") && error.contains("config check"), "{error}");
}

#[test]
fn what_came_when_it_had_failed_is_counted_and_not_diagnosed() {
    let log = csv([ce(0, 0x1000), ce(60, 0x1000), ce(120, 0x1000)]);
    let found = log.json(&["--failed-at", &(START + 60).to_string()]);
    assert_eq!((&found["reports"], &found["after_failure"]), (&json!(1), &json!(2)));
    assert_eq!((&found["pages"], &found["lead_s"]), (&json!(0), &json!(null)));
}

#[test]
fn the_lead_is_the_time_from_the_first_escalation_to_the_failure() {
    let log = csv([ce(0, 0x1000), ce(60, 0x1000), ce(120, 0x9000), ce(180, 0x9000)]);
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\npages_per_day = 1\n").unwrap();
    let arguments =
        ["--policy", policy.to_str().unwrap(), "--failed-at", &(START + 3780).to_string()];
    let found = log.json(&arguments);
    assert_eq!(found["escalated_at"], "2024-01-01T00:03:00Z");
    assert_eq!(found["lead_s"], 3600);
    assert_eq!(found["pages"], 1);
}

#[test]
fn a_row_that_fails_is_a_sign_and_a_page_is_none() {
    let ce = |seconds: i64, addr: u64, column: u32| {
        format!("{},CE.READ,{addr:#x},0,1,0,0,7,1,0,5,{column},,\n", START + seconds)
    };
    let failed = (START + 3660).to_string();
    let page = csv([ce(0, 0x1000, 8), ce(60, 0x1000, 8)]).json(&["--failed-at", &failed]);
    assert_eq!((&page["pages"], &page["lead_s"]), (&json!(1), &json!(null)));
    let row = csv([ce(0, 0x1000, 8), ce(60, 0x2000, 16)]).json(&["--failed-at", &failed]);
    assert_eq!((&row["faults"][0]["kind"], &row["lead_s"]), (&json!("row"), &json!(3600)));
    assert_eq!(row["isolations"][0]["rule"], "row-ce", "{row}");
}

#[test]
fn what_a_limit_held_back_goes_when_its_time_comes() {
    let day = 86_400;
    let log = csv([
        ce(0, 0x1000),
        ce(60, 0x1000),
        ce(120, 0x9000),
        ce(180, 0x9000),
        ce(2 * day, 0x70000),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\npages_per_day = 1\n").unwrap();
    let found = log.json(&["--policy", policy.to_str().unwrap()]);
    let times: Vec<_> =
        found["isolations"].as_array().unwrap().iter().map(|i| &i["time"]).collect();
    assert_eq!(times, ["2024-01-01T00:01:00Z", "2024-01-02T00:01:00Z"]);
}

#[test]
fn time_that_goes_back_is_counted_and_fires_nothing_wrongly() {
    let day = 86_400;
    let log =
        csv([ce(10 * day, 0x1000), ce(0, 0x1000), ce(5 * day, 0x9000), ce(5 * day + 5, 0x9000)]);
    let found = log.json(&[]);
    assert_eq!(found["out_of_order"], 3);
    assert_eq!(found["faults"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["faults"][0]["component"], "page 0x9000");
}

#[test]
fn an_uncorrected_error_is_hard_offlined_as_the_policy_says() {
    let log = csv([format!("{START},UE.READ,0x5000,0,1,0,0,7,1,0,5,8,,\n"), ce(60, 0x5000)]);
    let found = log.json(&[]);
    assert_eq!(
        found["isolations"],
        json!([{ "time": "2024-01-01T00:00:01Z", "kind": "page", "id": "0x5000", "rule": "page-ue" }])
    );
    assert_eq!(found["ces_after"], 1);
}

#[test]
fn event_lines_are_replayed_and_other_events_passed_over() {
    let status = "0x8c0000000000009f";
    let config = r#"{"time":"2026-01-02T03:04:05Z","event":"config","what":"read"}"#;
    let whole = [machine_check(0, status, 9, 0, 0x7000), machine_check(5, status, 9, 0, 0x7008)];
    let log = Log::new(format!("{config}\n\n{}", whole.concat()));
    let found = log.json(&[]);
    assert_eq!((&found["reports"], &found["skipped"]), (&json!(2), &json!(0)));
    assert_eq!(found["isolations"][0]["id"], "0x7000");
}

#[test]
fn broken_event_lines_are_skipped_by_number_and_so_is_a_cut_one() {
    let line = machine_check(0, "0x8c0000000000009f", 9, 0, 0x7000);
    let log = Log::new(format!("{line}{{\"event\":\n{line}{}", &line[..line.len() / 2]));
    assert_eq!((&log.json(&[])["reports"], &log.json(&[])["skipped"]), (&json!(2), &json!(2)));
    let told = log.stderr(&[]);
    assert!(told.starts_with("line 2: skipped: "), "{told}");
    assert!(told.contains("line 4: skipped: ") && told.contains("in the middle"), "{told}");
}

#[test]
fn a_core_goes_on_the_made_up_machine_and_the_last_one_stays() {
    let l1 = "0x9000000000000135";
    let errors = |cpu| (0..3).map(move |n| machine_check(n, l1, 1, cpu, 0));
    let found = Log::new(errors(3).collect::<String>()).json(&[]);
    assert_eq!(
        found["isolations"],
        json!([{ "time": "2024-01-01T00:00:02Z", "kind": "cpu", "id": "3", "rule": "cpu-cache" }])
    );
    assert_eq!(found["pages"], 0);
    let found = Log::new(errors(0).collect::<String>()).json(&[]);
    assert_eq!(
        (&found["isolations"], &found["faults"][0]["state"]),
        (&json!([]), &json!("escalated"))
    );
}

#[test]
fn a_database_of_rasdaemons_is_replayed_in_order_of_time() {
    let log = Log(tempfile::tempdir().unwrap());
    let database = Connection::open(log.path()).unwrap();
    database
        .execute_batch(
            "CREATE TABLE mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, err_count INTEGER, \
             err_type TEXT, err_msg TEXT, label TEXT, mc INTEGER, top_layer INTEGER, \
             middle_layer INTEGER, lower_layer INTEGER, address INTEGER, grain INTEGER, \
             syndrome INTEGER, driver_detail TEXT);
             CREATE TABLE mce_record (id INTEGER PRIMARY KEY, timestamp TEXT, status INTEGER, \
             addr INTEGER, misc INTEGER, cpu INTEGER, bank INTEGER, cpuvendor INTEGER);
             CREATE TABLE memory_failure_event (id INTEGER PRIMARY KEY, timestamp TEXT, pfn TEXT, \
             page_type TEXT, action_result TEXT);
             CREATE TABLE devlink_event (id INTEGER PRIMARY KEY, timestamp TEXT);
             INSERT INTO devlink_event VALUES (1, NULL), (2, NULL);
             INSERT INTO mc_event (timestamp, err_count, err_type, label, mc, address, grain) VALUES
               ('2024-01-01 01:01:00 +0100', 1, 'Corrected', 'A1', 0, 28672, 6),
               ('2024-01-01 00:03:00 +0000', 1, 'Corrected', 'A1', 0, 28672, 6),
               ('2024-01-01 00:04:00 +0000', 1, 'Cosmic', 'A1', 0, 28672, 6);
             INSERT INTO mce_record (timestamp, status, addr, misc, cpu, bank, cpuvendor) VALUES
               ('2024-01-01 00:02:00 +0000', -8358680908399640417, 28672, 140, 0, 9, 0);
             INSERT INTO memory_failure_event (timestamp, pfn, page_type, action_result) VALUES
               ('2024-01-01 00:05:00 +0000', '0x20', 'dirty LRU page', 'Recovered');",
        )
        .unwrap();
    let found = log.json(&[]);
    assert_eq!((&found["reports"], &found["skipped"]), (&json!(4), &json!(1)));
    assert_eq!(
        found["isolations"],
        json!([{ "time": "2024-01-01T00:03:00Z", "kind": "page", "id": "0x7000", "rule": "page-ce" }])
    );
    assert_eq!(found["notes"], json!(["2 rows of devlink_event are not used"]));
    assert!(log.stderr(&[]).starts_with("mc_event row 3: skipped: err_type is `Cosmic`"));
}

#[test]
fn a_log_that_is_none_is_refused_in_one_line() {
    for (text, arguments, why) in [
        (b"".as_slice(), [].as_slice(), "neither a database of rasdaemon's"),
        (b"\x7fELF\0\0", &[], "neither a database of rasdaemon's"),
        (b"addr,row\n1,2\n", &[], "names no column `time_s`"),
        (b"time_s,row\n1,2\n", &[], "names no column `addr`"),
        (b"{}", &["--format", "csv"], "names no column `time_s`"),
        (b"{}", &["--format", "rasdaemon"], "as an SQLite database"),
        (b"SQLite format 3\0cut", &[], "as an SQLite database"),
    ] {
        let error = Log::new(text).failure(arguments);
        assert!(error.contains(why), "{text:?}: {error}");
    }
    let foreign = Log(tempfile::tempdir().unwrap());
    Connection::open(foreign.path()).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let error = foreign.failure(&[]);
    assert!(error.contains("not rasdaemon's: it has none of the tables mc_event"), "{error}");
    let absent = replay(Path::new("/nonexistent/log"), &[]).assert().code(1).get_output().clone();
    let error = String::from_utf8(absent.stderr).unwrap();
    assert!(error.contains("cannot read /nonexistent/log"), "{error}");
}

#[test]
fn arguments_that_make_no_sense_are_wrong_usage() {
    let log = csv([]);
    for arguments in [
        ["--memory", "0GiB"],
        ["--memory", "lots"],
        ["--failed-at", "yesterday"],
        ["--failed-at", "99999999999999"],
        ["--format", "xml"],
    ] {
        log.replay(&arguments).assert().code(2);
    }
}

#[test]
fn a_share_of_memory_is_one_of_the_memory_that_is_named() {
    // 0.1% of 16 GiB are 4194 pages; of 256 GiB 16 times as many.
    let pages = |n: u64| (0..n).flat_map(|n| [ce(n as i64, n << 12), ce(n as i64, n << 12)]);
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\npages_per_day = 100000\n").unwrap();
    let log = csv(pages(5000).skip(2));
    let policy = ["--policy", policy.to_str().unwrap()];
    assert_eq!(log.json(&policy)["pages"], 4999);
    assert_eq!(log.json(&[policy.as_slice(), &["--memory", "16GiB"]].concat())["pages"], 4194);
}

#[test]
fn a_summary_tells_what_was_read_found_and_given_up() {
    let log = csv([
        ce(0, 0x1000),
        ce(60, 0x1000),
        ce(120, 0x1000),
        "nonsense\n".to_owned(),
        ce(100, 0x9000),
        ce(7200, 0x9000),
    ]);
    let output = log
        .replay(&["--failed-at", &(START + 7000).to_string()])
        .assert()
        .code(0)
        .get_output()
        .clone();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text.replace(log.path().to_str().unwrap(), "LOG"));
}

#[test]
fn a_row_is_told_by_its_place_rule_and_part() {
    let error = |seconds: i64, addr: &str, column: u32| {
        let time = jiff::Timestamp::from_second(START + seconds).unwrap();
        let detail =
            format!("err_code:0101:0090 socket:1 imc:0 rank:0 bg:2 ba:1 row:0x9 col:{column:#x}");
        let record = json!({ "memory_controller": {
            "address": addr, "mc_index": 2, "top_layer": 1, "middle_layer": 0, "lower_layer": -1,
            "label": "A7", "driver_detail": detail,
        } });
        let line =
            json!({ "time": time, "event": "report", "source": "ras:mc_event", "record": record });
        format!("{line}\n")
    };
    let log = Log::new(error(0, "0x5000", 8) + &error(60, "0x9040", 0x40));
    let output = log.replay(&["--verbose"]).assert().code(0).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text.replace(log.path().to_str().unwrap(), "LOG"));
}

#[test]
fn verbose_tells_what_happens_when_and_every_line_that_is_skipped() {
    let bad = (0..9).map(|_| "nonsense\n".to_owned());
    let log = csv([ce(0, 0x1000), ce(60, 0x1000)].into_iter().chain(bad));
    let output = log.replay(&["--verbose"]).assert().code(0).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text.replace(log.path().to_str().unwrap(), "LOG"));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 9);
    let told = log.stderr(&[]);
    assert_eq!(told.lines().count(), 6, "{told}");
    assert!(told.ends_with("--verbose tells all of it\n"));
    // Programs read stdout, and only the object.
    assert_eq!(log.json(&["--verbose"])["skipped"], 9);
}

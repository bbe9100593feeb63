//! The exit codes and outputs of `bulkhead`, against a daemon that says what
//! the test wants it to say.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use assert_cmd::Command;
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Takes one connection, checks each call's method, and sends the bytes that
/// answer it; then hangs up. Gives back the parameters it was called with.
struct Daemon {
    dir: TempDir,
    thread: JoinHandle<Vec<Value>>,
}

impl Daemon {
    fn script(script: Vec<(&'static str, Vec<u8>)>) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut asked = Vec::new();
            for (method, answer) in script {
                let mut call = Vec::new();
                reader.read_until(0, &mut call).unwrap();
                let call: Value =
                    serde_json::from_slice(call.strip_suffix(b"\0").unwrap()).unwrap();
                assert_eq!(call["method"], format!("io.bulkhead.{method}"));
                asked.push(call["parameters"].clone());
                // The command may have heard enough.
                let _ = stream.write_all(&answer);
            }
            asked
        });
        Daemon { dir, thread }
    }

    fn bulkhead(&self, arguments: &[&str]) -> Command {
        bulkhead(self.dir.path().join("sock"), arguments)
    }

    fn asked(self) -> Vec<Value> {
        self.thread.join().unwrap()
    }
}

fn bulkhead(socket: PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("--socket").arg(socket).args(arguments).env("TZ", "UTC");
    command
}

fn reply(parameters: Value) -> Vec<u8> {
    message(json!({ "parameters": parameters }))
}

fn error(name: &str, parameters: Value) -> Vec<u8> {
    message(json!({ "error": name, "parameters": parameters }))
}

fn message(value: Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(0);
    bytes
}

fn isolation(state: &str) -> Value {
    json!({
        "kind": "cpu", "id": "3", "state": state, "by": "admin",
        "since": "2026-03-01T12:00:00Z", "why": "asked for", "fault": null,
        "release": null, "next_try": null,
    })
}

fn acted(state: &str) -> Vec<u8> {
    reply(json!({ "isolation": isolation(state), "dry_run": false, "together": ["3"] }))
}

fn status(health: &str) -> Value {
    let used = json!({ "used": 0, "max": 4 });
    json!({
        "schema": 1, "health": health, "mode": "isolate", "boot_id": "b", "kernel": "6.12",
        "started": "2026-03-01T12:00:00Z", "state": "saved",
        "isolated": { "cpus": 0, "pages": 0, "memory_bytes": 0 },
        "pending": 0, "failed": 0, "refused": 0, "unlisted": 0, "stuck": 0, "open_faults": 0, "escalated": 0,
        "evidence": { "tracked": 0, "evicted": 0, "doubtful": 0 },
        "sources": [], "checks": [],
        "limits": { "memory_bytes": used, "pages_today": used, "cpus": used },
        "watchdog": {
            "state": "not running", "pid": null, "device": null, "identity": null,
            "timeout_s": null, "pretimeout_s": null, "cpu_limit_s": null, "fed_ms": null,
            "cpus": 0, "suspects": [], "more_suspects": 0, "failing": null, "silent_since": null,
        },
        "last_boot": {
            "boot_id": null, "started": null, "ended": null, "verdict": "unknown",
            "cause": null, "cpu": null, "confidence": null, "evidence": [],
        },
        "conflicts": [],
    })
}

fn event(second: u32) -> Value {
    json!({ "time": format!("2026-03-01T12:00:{second:02}Z"), "event": "config", "what": "read" })
}

fn stderr(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

fn stdout(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_daemon_it_exits_3_and_says_how_to_start_it() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let text = stderr(&mut bulkhead(absent, &["status"]), 3);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("systemctl start bulkhead"), "{text}");

    let stale = dir.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    stderr(&mut bulkhead(stale, &["list", "--json"]), 3);
}

#[test]
fn status_as_json_is_the_daemons_object_on_one_line() {
    let daemon = Daemon::script(vec![("Status", reply(status("ok")))]);
    let text = stdout(&mut daemon.bulkhead(&["status", "--json"]), 0);
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with(r#"{"schema":1,"health":"ok","#), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), status("ok"));
}

#[test]
fn a_pipe_gets_no_colours() {
    let daemon = Daemon::script(vec![
        ("Status", reply(status("faulted"))),
        ("ListIsolations", reply(json!({ "isolations": [isolation("failed")] }))),
        ("ListFaults", reply(json!({ "faults": [] }))),
    ]);
    let text = stdout(&mut daemon.bulkhead(&["status"]), 0);
    assert!(text.starts_with("faulted: ") && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_list_in_chunks_is_one_array() {
    let first = json!({ "parameters": { "isolations": [isolation("failed")] }, "continues": true });
    let mut chunks = message(first);
    chunks.extend(reply(json!({ "isolations": [isolation("isolated")] })));
    let daemon = Daemon::script(vec![("ListIsolations", chunks)]);
    let text = stdout(&mut daemon.bulkhead(&["list", "cpus", "--json"]), 0);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list, json!([isolation("failed"), isolation("isolated")]));
    assert_eq!(daemon.asked(), [json!({ "kind": "cpu" })]);
}

#[test]
fn isolating_ends_by_the_outcome() {
    for (answer, code) in [
        (acted("isolated"), 0),
        (acted("wanted"), 1),
        (acted("failed"), 1),
        (acted("refused"), 4),
        (error("io.bulkhead.Refused", json!({ "reason": "the last CPU of its node" })), 4),
        (error("io.bulkhead.PermissionDenied", json!({ "reason": "only root may act" })), 4),
        (error("io.bulkhead.NotFound", json!({ "id": "cpu 3" })), 1),
    ] {
        let daemon = Daemon::script(vec![("Isolate", answer)]);
        let arguments = ["isolate", "cpu", "3", "--reason", "test", "--json"];
        let text = stderr(&mut daemon.bulkhead(&arguments), code);
        assert_eq!(text.lines().count(), usize::from(code != 0), "{text}");
        assert_eq!(daemon.asked(), [json!({ "kind": "cpu", "id": "3", "reason": "test" })]);
    }
}

#[test]
fn releasing_a_page_that_waits_for_a_reboot_is_done_and_says_so() {
    let mut page = isolation("isolated");
    page["release"] = "next boot".into();
    let answer = json!({ "isolation": page, "dry_run": false, "together": [] });
    let daemon = Daemon::script(vec![("Release", reply(answer))]);
    let text = stdout(&mut daemon.bulkhead(&["release", "page", "0x8000abc"]), 0);
    assert!(text.contains("at the next boot"), "{text}");
    assert_eq!(daemon.asked(), [json!({ "kind": "page", "id": "0x8000abc" })]);
}

#[test]
fn wrong_usage_exits_2_and_asks_no_daemon() {
    for arguments in [
        &["isolate", "page", "134217728"][..],
        &["isolate", "cpu", "three"],
        &["isolate", "dimm", "3"],
        &["isolate", "cpu", "3", "--reason", "two\nlines"],
        &["explain", "not-a-uuid"],
        &["resolve", "6f1d3c1e-8f0a-5d52-9a3b-0c1d2e3f4a5b"],
        &["resolve", "6f1d3c1e-8f0a-5d52-9a3b-0c1d2e3f4a5b", "--repaired", "--replaced"],
        &["events", "--since", "yesterday"],
        &["list", "dimms"],
        &["frobnicate"],
    ] {
        let text = stderr(&mut bulkhead("/nonexistent".into(), arguments), 2);
        assert!(!text.is_empty());
    }
    let text = stderr(&mut bulkhead("/nonexistent".into(), &["isolate", "page", "8000000"]), 2);
    assert!(text.contains("0x"), "{text}");
}

#[test]
fn check_exits_by_health_and_3_without_a_daemon() {
    for (health, word, code) in
        [("ok", "OK", 0), ("degraded", "WARNING", 1), ("faulted", "CRITICAL", 2)]
    {
        let daemon = Daemon::script(vec![("Status", reply(status(health)))]);
        let text = stdout(&mut daemon.bulkhead(&["check"]), code);
        assert!(text.starts_with(&format!("BULKHEAD {word} - ")) && text.contains('|'), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    let text = stdout(&mut bulkhead("/nonexistent".into(), &["check"]), 3);
    assert!(text.starts_with("BULKHEAD UNKNOWN - "), "{text}");
}

#[test]
fn a_daemon_that_vanishes_in_the_middle_of_an_answer_is_a_failure_told() {
    let daemon = Daemon::script(vec![("Status", b"{\"parameters\":{\"schema\":1".to_vec())]);
    let text = stderr(&mut daemon.bulkhead(&["status"]), 1);
    assert!(text.contains("went away in the middle of an answer"), "{text}");
}

#[test]
fn an_answer_that_is_not_understood_is_a_failure_told() {
    for answer in [&b"hello\0"[..], b"{}\0", b"{\"parameters\":{\"schema\":1}}\0", b"\0"] {
        let daemon = Daemon::script(vec![("Status", answer.to_vec())]);
        let text = stderr(&mut daemon.bulkhead(&["status"]), 1);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("not understood"), "{text}");
    }
}

#[test]
fn events_are_json_lines_and_the_end_of_the_daemon_is_told() {
    let chunk = |from| {
        let parameters = json!({ "events": [event(from), event(from + 1)] });
        message(json!({ "parameters": parameters, "continues": true }))
    };
    let daemon = Daemon::script(vec![("Subscribe", [chunk(0), chunk(2)].concat())]);
    let mut command = daemon.bulkhead(&["events", "--follow", "--json"]);
    let output = command.assert().code(1).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines, [event(0), event(1), event(2), event(3)]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("went away"));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let events: Vec<_> = (0..50).map(event).collect();
    let chunk = message(json!({ "parameters": { "events": events }, "continues": true }));
    let daemon = Daemon::script(vec![("Subscribe", chunk.repeat(200))]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .arg("--socket")
        .arg(daemon.dir.path().join("sock"))
        .args(["events", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(child.wait().unwrap().success());
    let mut told = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut told).unwrap();
    assert_eq!(told, "");
}

#[test]
fn a_configuration_is_checked_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bulkhead.toml");
    let check = || bulkhead("/nonexistent".into(), &["config", "check", file.to_str().unwrap()]);

    let text = stderr(&mut check(), 1);
    assert_eq!(text.lines().count(), 1, "{text}");

    std::fs::write(&file, "mode = \"observe\"\n").unwrap();
    assert!(stdout(&mut check(), 0).starts_with("good: "));

    std::fs::write(&file, "[page]\nerors = 3\n").unwrap();
    let text = stderr(&mut check(), 1);
    assert!(text.contains("bulkhead.toml:2:1: ") && text.lines().count() == 1, "{text}");

    std::fs::write(&file, "[page]\nerors = 3\nwindow = \"1 fortnight\"\n").unwrap();
    assert_eq!(stdout(&mut check(), 1).lines().count(), 2);
}

#[test]
fn doctor_needs_no_daemon_and_exits_as_a_check() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let arguments = ["doctor", "--json", "--root", place, "--state-dir", place];
    let checks: Value =
        serde_json::from_str(&stdout(&mut bulkhead("/nonexistent".into(), &arguments), 2)).unwrap();
    for line in checks.as_array().unwrap() {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["check", "found", "mend", "result"], "{line}");
        let result = line["result"].as_str().unwrap();
        assert!(["ok", "warn", "fail"].contains(&result), "{line}");
        assert_eq!(line["mend"] == "", result == "ok", "{line}");
    }
    let text = stdout(&mut bulkhead("/nonexistent".into(), &arguments[..1]), 2);
    assert!(text.contains("systemctl start bulkhead"), "{text}");
}

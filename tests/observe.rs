//! The whole programs over a made-up host and a log file: what is decided where nothing may be touched, and that the
//! contracts hold to the letter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod made_up_host;

use assert_cmd::cargo::CommandCargoExt;
use made_up_host::{Shape, SKYLAKE};
use serde_json::{json, Value};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// Two sockets with two cores of two threads each, 64 GiB.
const SHAPE: Shape =
    Shape { sockets: 2, cores_per_socket: 2, threads_per_core: 2, memory_bytes: 64 << 30 };

struct Host {
    dir: TempDir,
}

struct Daemon<'h> {
    host: &'h Host,
    child: Child,
}

impl Host {
    fn new() -> Host {
        let host = Host { dir: TempDir::new().unwrap() };
        made_up_host::make(&host.path("root"), &SHAPE);
        fs::write(host.path("log"), "").unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Appends lines to the log that the daemon reads.
    fn log(&self, lines: &str) {
        let mut log = OpenOptions::new().append(true).open(self.path("log")).unwrap();
        log.write_all(lines.as_bytes()).unwrap();
    }

    /// bulkheadd over the made-up host, reading no log.
    fn without_a_log(&self) -> Command {
        let mut command = Command::cargo_bin("bulkheadd").unwrap();
        command
            .arg("--root")
            .arg(self.path("root"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--socket")
            .arg(self.path("socket"));
        command
    }

    fn command(&self) -> Command {
        let mut command = self.without_a_log();
        command.arg("--source").arg(format!("file:{}", self.path("log").display()));
        command
    }

    fn start(&self) -> Daemon<'_> {
        self.start_as(self.command())
    }

    fn start_as(&self, mut command: Command) -> Daemon<'_> {
        let config = self.path("config.toml");
        if config.exists() {
            command.arg("--config").arg(config);
        }
        let err = OpenOptions::new().create(true).append(true).open(self.path("stderr")).unwrap();
        let child = command.stderr(err).spawn().unwrap();
        let mut daemon = Daemon { host: self, child };
        daemon
            .wait("it answers", |it| it.ask(&["status", "--json"]).status.success().then_some(()));
        daemon
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}

impl Daemon<'_> {
    fn ask(&self, arguments: &[&str]) -> Output {
        Command::cargo_bin("bulkhead")
            .unwrap()
            .arg("--socket")
            .arg(self.host.path("socket"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn wait<T>(&mut self, what: &str, condition: impl Fn(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = condition(self) {
                return found;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("bulkheadd ended with {status}: {}", self.host.stderr());
            }
            assert!(start.elapsed() < LIMIT, "in vain: {what}; {}", self.host.stderr());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn reports(&self) -> u64 {
        let status = self.json(&["status"]);
        status["sources"].as_array().unwrap().iter().map(|s| s["reports"].as_u64().unwrap()).sum()
    }

    fn line(&self, kind: &str, id: &str) -> Option<Value> {
        let list = self.json(&["list"]);
        list.as_array().unwrap().iter().find(|l| l["kind"] == kind && l["id"] == id).cloned()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // SIGKILL: whatever it showed must be there at the next start.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memory_ce(second: u32, address: u64) -> String {
    json!({
        "time": format!("2026-01-02T03:04:{second:02}Z"), "event": "report", "source": "mce:mce_record",
        "record": { "mce": {
            "status": "0x8c0000000000009f", "addr": format!("{address:#x}"), "misc": "0x8c", "bank": 9,
            "cpuid": SKYLAKE,
        } }
    })
    .to_string()
        + "\n"
}

fn l1_ce(second: u32, cpu: u32) -> String {
    json!({
        "time": format!("2026-01-02T03:05:{second:02}Z"), "event": "report", "source": "mce:mce_record",
        "record": { "mce": {
            "status": "0x9000000000000135", "bank": 1, "cpu": cpu, "apicid": cpu, "socketid": cpu / 4,
            "cpuid": SKYLAKE,
        } }
    })
    .to_string()
        + "\n"
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_log_is_decided_on_and_nothing_is_touched() {
    let host = Host::new();
    let mut it = host.start();
    host.log(&memory_ce(1, 0x1_2345_6040));
    host.log(&memory_ce(2, 0x1_2345_6080));
    let page = it.wait("the page is observed", |it| it.line("page", "0x123456000"));
    assert_eq!(page["state"], "observed");
    assert_eq!(page["by"], "bulkhead");

    for second in 1..=3 {
        host.log(&l1_ce(second, 6));
    }
    for cpu in ["6", "7"] {
        let line = it.wait("the core is observed", |it| it.line("cpu", cpu));
        assert_eq!(line["state"], "observed");
        assert_eq!(
            keys(&line),
            ["by", "fault", "id", "kind", "next_try", "release", "since", "state", "why"]
        );
        let online = host.path(&format!("root/sys/devices/system/cpu/cpu{cpu}/online"));
        assert_eq!(fs::read_to_string(online).unwrap(), "1\n");
    }
    assert_eq!(it.reports(), 5);
}

/// More pages than the daemon keeps evidence of, and then more that fail than it has room to list.
#[test]
fn a_storm_over_many_pages_leaves_the_daemon_small() {
    const PAGES: u64 = 40_000;
    const FAIL: u64 = 8_000;
    let host = Host::new();
    let once = (0..PAGES).map(|page| memory_ce(1, page << 12));
    let twice = (PAGES..PAGES + FAIL).flat_map(|page| [2, 3].map(|s| memory_ce(s, page << 12)));
    host.log(&once.chain(twice).collect::<String>());
    let mut it = host.start();
    it.wait("all is counted", |it| (it.reports() == PAGES + 2 * FAIL).then_some(()));
    let status = it.json(&["status"]);
    let evicted = status["evidence"]["evicted"].as_u64().unwrap();
    assert!(evicted > 0, "{status}");
    let figure = |name: &str| status[name].as_u64().unwrap();
    assert_eq!(figure("refused"), 4_096, "{status}");
    assert!(figure("unlisted") > 0, "{status}");
    assert_eq!(figure("open_faults") + figure("unlisted"), FAIL, "{status}");
    let memory = fs::read_to_string(format!("/proc/{}/status", it.child.id())).unwrap();
    let of = |name: &str| -> u64 {
        let line = memory.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    // Without its files: a build with debugging information has much of these.
    let most = of("VmHWM:") - of("RssFile:");
    println!("{} KiB at most", most >> 10);
    assert!(most < 36 << 20, "{most} bytes");
}

#[test]
fn a_root_without_tracepoints_has_its_sources_absent() {
    let host = Host::new();
    let it = host.start_as(host.without_a_log());
    let status = it.json(&["status"]);
    let sources = status["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 8);
    assert!(sources.iter().all(|source| source["state"] == "absent"), "{status}");
    assert_eq!(status["health"], "ok");
}

#[test]
fn a_root_that_is_nearly_empty_is_looked_at_all_the_same() {
    let host = Host::new();
    fs::remove_dir_all(host.path("root")).unwrap();
    fs::create_dir_all(host.path("root/sys/devices/system/cpu/cpu0")).unwrap();
    let mut it = host.start();
    host.log(&(memory_ce(1, 0x5000) + &memory_ce(2, 0x5000)));
    it.wait("the page is observed", |it| it.line("page", "0x5000"));
    for second in 1..=3 {
        host.log(&l1_ce(second, 3));
    }
    it.wait("the core's errors are counted", |it| (it.reports() == 5).then_some(()));
    assert!(it.line("cpu", "3").is_none(), "a CPU that is not known was decided on");
}

#[test]
fn the_json_of_status_and_faults_is_that_of_the_contract() {
    let host = Host::new();
    let mut it = host.start();
    let status = it.json(&["status"]);
    for key in [
        "schema",
        "health",
        "mode",
        "boot_id",
        "kernel",
        "started",
        "state",
        "isolated",
        "pending",
        "failed",
        "refused",
        "open_faults",
        "sources",
        "checks",
        "limits",
        "watchdog",
        "last_boot",
        "conflicts",
    ] {
        assert!(status.get(key).is_some(), "status has no `{key}`: {status}");
    }
    assert_eq!(status["schema"], 1);
    assert_eq!(status["mode"], "observe");
    assert_eq!(status["health"], "ok");
    assert_eq!(status["state"], "saved");
    assert_eq!(status["boot_id"], "11111111-2222-4333-8444-555555555555");
    assert_eq!(status["kernel"], "6.12.0-made-up");
    assert_eq!(status["isolated"], json!({ "cpus": 0, "pages": 0, "memory_bytes": 0 }));
    // 0.1% of 64 GiB.
    assert_eq!(status["limits"]["memory_bytes"], json!({ "used": 0, "max": 68_719_476 }));
    assert_eq!(status["limits"]["cpus"], json!({ "used": 0, "max": 4 }));
    assert_eq!(status["limits"]["pages_today"], json!({ "used": 0, "max": 1024 }));

    host.log(&(memory_ce(1, 0x5000) + &memory_ce(2, 0x5000)));
    let faults = it.wait("a fault", |it| {
        let faults = it.json(&["faults"]);
        (faults.as_array().unwrap().len() == 1).then_some(faults)
    });
    assert_eq!(
        keys(&faults[0]),
        ["component", "errors", "first", "fru", "id", "kind", "last", "rule", "severity", "state"]
    );
    assert_eq!(faults[0]["errors"], 2);
    assert_eq!(faults[0]["first"], "2026-01-02T03:04:01Z");
    let id = faults[0]["id"].as_str().unwrap();
    let case = it.json(&["explain", id]);
    assert_eq!(
        keys(&case),
        ["advice", "attempts", "cover", "decision", "evidence", "fault", "rule"]
    );
    assert_eq!(case["rule"]["numbers"], json!({ "errors": 2, "window": "24h" }));
    assert_eq!(it.json(&["status"])["health"], "degraded");
    assert_eq!(it.ask(&["check"]).status.code(), Some(1));

    assert_eq!(it.ask(&["resolve", id, "--acquitted"]).status.code(), Some(0));
    assert_eq!(it.json(&["faults"])[0]["state"], "acquitted");
    assert_eq!(it.json(&["boots"])[0]["verdict"], "running");
}

#[test]
fn pages_that_the_kernel_took_before_are_found_and_listed_as_its_own() {
    let host = Host::new();
    let root = host.path("root");
    let flags: Vec<u8> =
        (0..64_u64).flat_map(|pfn| (u64::from(pfn % 32 == 5) << 19).to_ne_bytes()).collect();
    fs::write(root.join("proc/kpageflags"), flags).unwrap();
    fs::write(root.join("proc/meminfo"), "MemTotal: 67108864 kB\nHardwareCorrupted: 8 kB\n")
        .unwrap();
    let mut it = host.start();
    let list = it.wait("two pages", |it| {
        let list = it.json(&["list"]);
        (list.as_array().unwrap().len() == 2).then_some(list)
    });
    for (line, id) in list.as_array().unwrap().iter().zip(["0x5000", "0x25000"]) {
        assert_eq!((&line["id"], &line["by"]), (&json!(id), &json!("kernel")), "{line}");
        assert_eq!(line["state"], "isolated", "{line}");
    }
}

#[test]
fn who_isolates_beside_us_is_a_conflict() {
    let host = Host::new();
    let process = host.path("root/proc/812");
    fs::create_dir(&process).unwrap();
    fs::write(process.join("comm"), "rasdaemon\n").unwrap();
    fs::write(process.join("environ"), "PAGE_CE_ACTION=soft\0").unwrap();
    let mut it = host.start();
    it.wait("a conflict", |it| {
        let status = it.json(&["status"]);
        let conflict = status["conflicts"][0].as_str()?.to_owned();
        conflict.contains("PAGE_CE_ACTION=off").then_some(())
    });
}

#[test]
fn a_dimm_of_a_driver_that_came_late_is_named_as_it_is_found_in_the_box() {
    let host = Host::new();
    let mut it = host.start();
    let put = |path: &str, content: &[u8]| {
        let path = host.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("sys/devices/system/edac/mc/mc2/dimm3/dimm_label", b"A7\n");
    put("sys/devices/system/edac/mc/mc2/dimm3/dimm_location", b"channel 1 slot 0 \n");
    put("sys/devices/system/edac/mc/mc2/dimm3/size", b"16384\n");
    // A memory device: handle 0x1100, 16 GiB, strings 1 and 2 are its locator and serial number.
    let mut device = [0; 0x22];
    device[..4].copy_from_slice(&[17, 0x22, 0x00, 0x11]);
    (device[0x0d], device[0x10], device[0x18]) = (0x40, 1, 2);
    put("sys/firmware/dmi/tables/DMI", &[&device[..], b"A7\x0085A3F1\0\0"].concat());

    let event = |second: u32| {
        json!({
            "time": format!("2026-01-02T03:04:{second:02}Z"), "event": "report", "source": "ras:mc_event",
            "record": { "memory_controller": {
                "address": "0x5000", "mc_index": 2, "top_layer": 1, "middle_layer": 0, "lower_layer": -1,
                "label": "A7", "driver_detail": "err_code:0101:0090 socket:1 imc:0 rank:0 bg:2 ba:2 row:8d49 col:210",
            } }
        })
        .to_string()
            + "\n"
    };
    host.log(&(event(1) + &event(2)));
    let fault = it.wait("a fault", |it| it.json(&["faults"]).as_array().unwrap().first().cloned());
    assert_eq!(fault["fru"], "DIMM A7 (serial 85A3F1)");
}

#[test]
fn a_row_is_explained_with_its_rule_and_the_pages_that_it_covers() {
    let host = Host::new();
    let mut it = host.start();
    let event = |second: u32, addr: &str, column: u32| {
        json!({
            "time": format!("2026-01-02T03:04:{second:02}Z"), "event": "report", "source": "ras:mc_event",
            "record": { "memory_controller": {
                "address": addr, "mc_index": 2, "top_layer": 1, "middle_layer": 0, "lower_layer": -1, "label": "A7",
                "driver_detail": format!("err_code:0101:0090 socket:1 imc:0 rank:0 bg:2 ba:1 row:0x9 col:{column:#x}"),
            } }
        })
        .to_string()
            + "\n"
    };
    host.log(&(event(1, "0x5000", 8) + &event(3, "0x9040", 0x40)));
    it.wait("the second page", |it| it.line("page", "0x9000"));
    let row = "row 0x9, bank 1, bank group 2, rank 0 of DIMM A7 (socket 1 mc2 channel 1 slot 0)";
    for page in ["0x5000", "0x9000"] {
        let why = it.line("page", page).unwrap()["why"].as_str().unwrap().to_owned();
        assert!(why.contains(row), "{why}");
    }
    let fault = &it.json(&["faults"])[0];
    assert_eq!((&fault["kind"], &fault["component"]), (&json!("row"), &json!(row)));

    let id = fault["id"].as_str().unwrap();
    let case = it.json(&["explain", id]);
    assert_eq!((&case["rule"]["id"], &case["rule"]["number"]), (&json!("row-ce"), &json!("D1")));
    assert_eq!(case["cover"], json!({ "by": "seen", "pages": ["0x5000", "0x9000"] }));
    let told = String::from_utf8(it.ask(&["explain", id]).stdout).unwrap();
    for line in [
        "Covers 2 pages, known only by the errors seen: 0x5000, 0x9000\n",
        "address 0x9040, A7, row 0x9, column 0x40, bank 1, bank group 2, rank 0\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_kill_loses_and_doubles_nothing_that_was_shown() {
    let host = Host::new();
    let mut it = host.start();
    host.log(&memory_ce(1, 0x7000));
    it.wait("one error", |it| (it.reports() == 1).then_some(()));
    drop(it);
    host.log(&memory_ce(2, 0x7000));
    let mut it = host.start();
    it.wait("the page goes on both", |it| it.line("page", "0x7000"));
    let (list, faults) = (it.json(&["list"]), it.json(&["faults"]));
    drop(it);
    let it = host.start();
    assert_eq!(it.reports(), 2);
    assert_eq!((it.json(&["list"]), it.json(&["faults"])), (list, faults));
}

#[test]
fn lines_that_say_nothing_usable_are_named_and_the_rest_counts() {
    let host = Host::new();
    let mut it = host.start();
    host.log("{\"time\":\"2026-01-02T03:04:05Z\",\"event\":\"report\",\"source\":\"no:such\"}\n");
    host.log("not even JSON\n\u{0}\u{1}\n");
    host.log(&memory_ce(1, 0x9000));
    it.wait("the good line", |it| (it.reports() == 1).then_some(()));
    let status = it.json(&["status"]);
    assert_eq!(status["health"], "faulted");
    let lossy = status["sources"].as_array().unwrap().iter().any(|s| s["state"] == "lossy");
    assert!(lossy, "{status}");
    for place in [":1", ":2"] {
        let place = format!("{}{place}", host.path("log").display());
        assert!(host.stderr().contains(&place), "{place} is not named: {}", host.stderr());
    }
}

#[test]
fn an_address_that_no_memory_can_have_takes_nothing() {
    let host = Host::new();
    let mut it = host.start();
    host.log(&(memory_ce(1, 1 << 50) + &memory_ce(2, 1 << 50)));
    it.wait("both are counted", |it| (it.reports() == 2).then_some(()));
    assert_eq!(it.json(&["list"]), json!([]));
}

#[test]
fn what_passes_a_limit_is_refused_and_says_so() {
    let host = Host::new();
    fs::write(host.path("config.toml"), "[limits]\nmemory = \"8KiB\"\n").unwrap();
    let mut it = host.start();
    for page in 1..=3 {
        host.log(
            &(memory_ce(page, 0x10_0000 * u64::from(page))
                + &memory_ce(page + 10, 0x10_0000 * u64::from(page))),
        );
    }
    let line = it.wait("the third is refused", |it| {
        let list = it.json(&["list"]);
        list.as_array().unwrap().iter().find(|l| l["state"] == "refused").cloned()
    });
    assert!(line["why"].as_str().unwrap().contains("limits.memory"), "{line}");
    let status = it.json(&["status"]);
    assert_eq!(status["health"], "faulted");
    assert_eq!(status["refused"], 1);
    assert_eq!(it.ask(&["check"]).status.code(), Some(2));
    let asked = it.ask(&["isolate", "page", "0x7770000"]);
    assert_eq!(asked.status.code(), Some(4), "{asked:?}");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let host = Host::new();
    let it = host.start();
    let code = |arguments: &[&str]| it.ask(arguments).status.code();
    assert_eq!(code(&["status"]), Some(0));
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(code(&["isolate", "page", "12"]), Some(2));
    assert_eq!(code(&["explain", "00000000-0000-4000-8000-000000000000"]), Some(1));
    assert_eq!(code(&["isolate", "cpu", "99"]), Some(1));
    assert_eq!(code(&["isolate", "cpu", "0"]), Some(4));
    assert_eq!(code(&["release", "cpu", "1"]), Some(4));
    drop(it);
    let gone = Command::cargo_bin("bulkhead")
        .unwrap()
        .args(["--socket", "/nonexistent", "status"])
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(3));
    let gone = Command::cargo_bin("bulkhead")
        .unwrap()
        .args(["--socket", "/nonexistent", "check"])
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(3));
}

#[test]
fn garbage_on_the_socket_harms_nobody_else() {
    let host = Host::new();
    let it = host.start();
    let connect = || UnixStream::connect(host.path("socket")).unwrap();
    let mut half = connect();
    half.write_all(b"{\"method\":\"io.bulkhead.Sta").unwrap();
    let mut garbage = connect();
    garbage.write_all(b"\xff\xfe not JSON at all\0").unwrap();
    let mut flood = connect();
    // It is cut off at its first MiB; what we write after that may fail.
    let _ = flood.write_all(&vec![b'['; 3 << 20]);
    assert_eq!(it.json(&["status"])["health"], "ok");
    half.write_all(b"tus\"}\0").unwrap();
    let mut reply = vec![0; 1];
    half.set_read_timeout(Some(LIMIT)).unwrap();
    half.read_exact(&mut reply).unwrap();
    assert_eq!(reply, b"{");
}

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let host = Host::new();
    let it = host.start();
    let second = host.command().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains(&host.path("state").display().to_string()) && said.contains("in use"),
        "{said}"
    );
    assert_eq!(it.json(&["status"])["health"], "ok");
}

#[test]
fn a_state_file_that_is_not_ours_is_set_aside() {
    let host = Host::new();
    fs::create_dir(host.path("state")).unwrap();
    fs::write(host.path("state/bulkhead.db"), "somebody's diary").unwrap();
    let it = host.start();
    assert_eq!(it.json(&["status"])["state"], "saved");
    let kept = fs::read_dir(host.path("state")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        (fs::read(&path).unwrap() == b"somebody's diary").then_some(path)
    });
    let kept = kept.expect("the diary is gone").display().to_string();
    assert!(host.stderr().contains(&kept), "{}", host.stderr());
}

#[test]
fn a_file_as_source_needs_observe() {
    let dir = TempDir::new().unwrap();
    let output = Command::cargo_bin("bulkheadd")
        .unwrap()
        .args(["--source", "file:/dev/null", "--socket"])
        .arg(dir.path().join("socket"))
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--observe"));
    assert!(!dir.path().join("state").exists());
}

/// The firmware of the made-up host, which tells which memory it has.
fn with_bios(host: &Host, version: &str, boot: u32) {
    let put = |path: &str, text: &str| {
        let path = host.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("sys/class/dmi/id/bios_version", &format!("{version}\n"));
    put("proc/sys/kernel/random/boot_id", &format!("{boot:08}-2222-4333-8444-555555555555\n"));
}

#[test]
fn pages_and_their_evidence_go_and_come_with_the_memory_they_are_of() {
    let host = Host::new();
    let (taken, watched) = ("0x123456000", "0x123457000");
    with_bios(&host, "1.2", 1);
    let mut it = host.start();
    host.log(&memory_ce(1, 0x1_2345_6040));
    host.log(&memory_ce(2, 0x1_2345_6040));
    host.log(&memory_ce(3, 0x1_2345_7040));
    it.wait("the page is observed", |it| it.line("page", taken));
    it.wait("all is counted", |it| (it.reports() == 3).then_some(()));
    drop(it);

    // Another BIOS: its addresses may be other cells, of which nothing is known.
    with_bios(&host, "1.3", 2);
    let mut it = host.start();
    let line = it.line("page", taken).unwrap();
    assert_eq!(line["state"], "stale");
    let why = line["why"].as_str().unwrap();
    assert!(why.contains("BIOS 1.2 is 1.3 now"), "{why}");
    let fault = it.json(&["faults"])[0].clone();
    assert_eq!(fault["state"], "open");
    let explained = it.json(&["explain", fault["id"].as_str().unwrap()]);
    assert!(explained["decision"].as_str().unwrap().contains("BIOS 1.2 is 1.3 now"), "{explained}");
    let said = |host: &Host, words: &str| host.stderr().matches(words).count();
    assert_eq!(said(&host, "1 isolation of pages not applied and listed as stale"), 1);
    host.log(&memory_ce(4, 0x1_2345_6040));
    host.log(&memory_ce(5, 0x1_2345_7040));
    it.wait("both are counted", |it| (it.reports() == 2).then_some(()));
    assert_eq!(it.line("page", watched), None, "one error is of the other memory");
    assert_eq!(it.line("page", taken).unwrap()["state"], "stale");
    assert_eq!(it.json(&["faults"])[0]["errors"], 2, "no error adds to the other memory's fault");
    drop(it);

    // A restart in the same boot is no news.
    let it = host.start();
    assert_eq!(it.line("page", taken).unwrap()["state"], "stale");
    assert_eq!(said(&host, "listed as stale"), 1);
    drop(it);

    with_bios(&host, "1.2", 3);
    let mut it = host.start();
    it.wait("the page is observed again", |it| {
        it.line("page", taken).filter(|line| line["state"] == "observed")
    });
    assert_eq!(said(&host, "1 isolation wanted again"), 1);
    host.log(&memory_ce(6, 0x1_2345_7040));
    it.wait("two errors of this memory take the page", |it| it.line("page", watched));
}

//! From the command line to the loop, and to the end.

use crate::board::{Shared, CHECKS};
use crate::clock::{self, MS};
use crate::device::Armed;
use crate::guard::{feed_every, Doors, Guard, Mode};
use crate::helper::{Checks, Helper};
use crate::link::Link;
use crate::notify::{say, Notify};
use crate::round::Round;
use crate::{allocator, cpus, probe, realtime};
use bulkhead_config::watchdog::{Device as Wanted, Policy};
use bulkhead_config::Watchdog;
use bulkhead_core::model::time::nanos;
use bulkhead_watchdog::choose::{choose, Choice, Used};
use bulkhead_watchdog::exit;
use bulkhead_watchdog::heartbeat::{self, Heartbeat};
use bulkhead_watchdog::look::look;
use bulkhead_watchdog::shutdown::{self, Parting, Shutdown};
use bulkhead_watchdog::watch::{Rules, Watch};
use std::borrow::Cow;
use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest name in a heartbeat, in bytes; an identity has 31
/// (include/uapi/linux/watchdog.h).
const SHORT: usize = 48;

/// How the loop ended.
enum End {
    /// SIGTERM or SIGINT.
    Asked,
    /// The helper is gone.
    Helpless,
    /// There may be a watchdog now.
    LookAgain,
}

/// Runs until the end; with what to exit.
pub fn run(config: Option<&Path>, state_dir: &Path) -> i32 {
    let config = match bulkhead_config::check(config) {
        Ok(config) => config.watchdog,
        Err(error) => {
            eprintln!("{error}");
            return exit::USAGE;
        }
    };
    match begin(&config, state_dir) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("bulkhead-watchdog: {error}; nothing is armed");
            exit::FAILED
        }
    }
}

fn begin(config: &Watchdog, state_dir: &Path) -> Result<i32, String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    // It may have been started again by itself.
    realtime::be_ordinary().map_err(failed("ordinary scheduling"))?;
    let again = command_line();
    if config.device == Wanted::Softdog {
        load("softdog");
    }
    if !config.pretimeout.is_zero() {
        // Without it the kernel has nothing to do at a pretimeout.
        load("pretimeout_panic");
    }
    let found = look(Path::new("/"));
    let mut choice = choose(&found, &config.device, config.timeout.as_secs());
    let notify = Notify::from_environment();

    let shared = Shared::map().map_err(failed("shared memory"))?;
    shared.clock.begin(clock::now());
    let helper = Helper::start(shared, config, state_dir).map_err(failed("the helper"))?;
    // SAFETY: has no memory. Sockets are for root alone.
    unsafe { libc::umask(0o177) };
    let signals = Signals::new().map_err(failed("signals"))?;
    let cpus = cpus::probed(Path::new("/"), &config.cpus);
    if cpus.is_empty() {
        return Err("there is no CPU to probe".to_owned());
    }
    let checks = Checks::of(config);
    let limit = nanos(config.cpu_limit);
    let period = (limit / 10).clamp(250 * MS, 1_000 * MS);
    let (names, doors) = (checks.names(), Doors::open());
    let guard = Guard::new(shared, &cpus, names, (period, limit), helper.fd(), doors);
    let guard: &'static Guard = Box::leak(Box::new(guard));
    let (runtime, answers) = (Path::new(heartbeat::WATCHDOG), Path::new(heartbeat::DAEMON));
    let link = Link::new(runtime, answers).map_err(failed("socket"))?;
    let watch = Watch::new(rules(config), &cpus, &checks.kinds());
    let mut words = Vec::new();

    realtime::be_first().map_err(failed(
        "the kernel gives no real-time priority (sched_setscheduler), without which a CPU that \
         is busy looks like one that is dead",
    ))?;
    probe::start(guard).map_err(failed("the probes"))?;
    realtime::lock_memory().map_err(failed("memory cannot be locked (mlockall)"))?;

    let (mode, armed) = arm(config, &mut choice, notify.as_ref(), &mut words);
    let every = armed
        .as_ref()
        .map_or(nanos(config.timeout) / 2, |armed| feed_every(armed.timeout_s, armed.pretimeout_s));
    if let Some(armed) = &armed {
        guard.feeds(armed.fd(), every);
    }
    if let Some(notify) = &notify {
        guard.tells_systemd(notify.fd(), every);
        // With hardware of our own it must not kill us, whatever happens:
        // started again, we would feed anew.
        let systemd = mode == Mode::Systemd;
        notify.expect(if systemd { config.timeout } else { Duration::ZERO });
    }
    let heartbeat = heartbeat_of(config, &choice, armed.as_ref());
    let kinds = checks.kinds().len().min(CHECKS);
    let shutdown = Shutdown::new(ms(config.shutdown_limit));
    let mut round = Round::new(guard, link, (watch, kinds), shutdown, heartbeat, every);
    words.insert(0, describe(mode, &choice, armed.as_ref()));
    words.push(format!("{} CPUs are probed, {}", cpus.len(), crash_words()));
    for line in &words {
        eprintln!("bulkhead-watchdog: {line}");
    }
    let status = format!("READY=1\nSTATUS={}\n", words.first().map_or("", String::as_str));
    shared.watching.store(mode == Mode::Watching, Ordering::SeqCst);
    for passed in &shared.passed {
        passed.store(shared.clock.read(), Ordering::SeqCst);
    }
    // What was allocated since; a thread that waits for memory feeds nothing.
    allocator::close(true);
    guard.loop_is_here(guard.tick(clock::now()));
    guard.set_mode(mode);
    if let Some(notify) = &notify {
        say(notify.fd(), status.as_bytes());
    }
    let end = go_round(guard, &mut round, &signals, &helper);
    guard.set_mode(Mode::Off);
    allocator::close(false);
    if let Some(notify) = &notify {
        say(notify.fd(), b"STOPPING=1");
    }
    round.last();
    guard.set_free();
    part(armed, mode, &choice, round.shutdown_left());
    match end {
        End::Asked => Ok(exit::STOPPED),
        End::Helpless => {
            eprintln!("bulkhead-watchdog: its helper is gone; start it again");
            Ok(exit::FAILED)
        }
        End::LookAgain => Err(start_again(&again)),
    }
}

/// Until something ends it.
fn go_round(guard: &Guard, round: &mut Round, signals: &Signals, helper: &Helper) -> End {
    let mut next = clock::now();
    loop {
        let now = clock::now();
        if now >= next {
            round.look(now);
            next = now.saturating_add(round.pace());
        }
        let mut fds = [
            libc::pollfd { fd: signals.0, events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: helper.fd(), events: 0, revents: 0 },
            libc::pollfd { fd: round.fd(), events: libc::POLLIN, revents: 0 },
        ];
        // Up to the next millisecond, lest it turns idly until then.
        let ms = next.saturating_sub(clock::now()).div_ceil(MS);
        let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
        // SAFETY: the kernel reads and writes the entries.
        unsafe { libc::poll(fds.as_mut_ptr(), 3, ms) };
        let [signal, pipe, answer] = fds;
        if signal.revents != 0 {
            return End::Asked;
        }
        if pipe.revents != 0 {
            return End::Helpless;
        }
        if answer.revents != 0 {
            round.hear();
        }
        let again = guard.shared.look_again.load(Ordering::SeqCst);
        if again && guard.mode() == Mode::Watching {
            return End::LookAgain;
        }
    }
}

/// SIGTERM and SIGINT, as a descriptor.
struct Signals(RawFd);

impl Signals {
    /// For all threads that are started from now on.
    fn new() -> std::io::Result<Signals> {
        // SAFETY: a set of zeroes is one; the library and the kernel read it.
        let fd = unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT] {
                libc::sigaddset(&mut set, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            // A unit's reload, or a terminal that goes away, is not the end.
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(Signals(fd))
        }
    }
}

/// Takes what was chosen, if it can be had.
fn arm(
    config: &Watchdog,
    choice: &mut Choice,
    notify: Option<&Notify>,
    words: &mut Vec<String>,
) -> (Mode, Option<Armed>) {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    match choice.used.clone() {
        Used::Hardware { path, device } => {
            let (timeout, pretimeout) = (seconds(config.timeout), seconds(config.pretimeout));
            match Armed::open(&path, device.as_ref(), timeout, pretimeout) {
                Ok(mut armed) => {
                    words.append(&mut armed.remarks);
                    return (Mode::Armed, Some(armed));
                }
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    choice.why = format!("somebody else feeds {}", path.display());
                }
                Err(error) => choice.why = format!("{} cannot be opened: {error}", path.display()),
            }
        }
        Used::Systemd { .. } => match notify {
            Some(_) => return (Mode::Systemd, None),
            None => choice.why.push_str(", and it did not start us with NOTIFY_SOCKET"),
        },
        Used::Nothing => {}
    }
    (Mode::Watching, None)
}

fn rules(config: &Watchdog) -> Rules {
    Rules {
        cpu: ms(config.cpu_limit),
        starved: ms(config.starved_limit),
        daemon: ms(config.daemon_limit),
        check: ms(config.check_limit),
        stop_when_starved: config.on_starved == Policy::Stop,
        stop_without_daemon: config.on_daemon_silent == Policy::Stop,
        stop_on_check: config.on_check == Policy::Stop,
    }
}

/// What is known from the start.
fn heartbeat_of(config: &Watchdog, choice: &Choice, armed: Option<&Armed>) -> Heartbeat {
    let (path, device) = match &choice.used {
        Used::Hardware { path, device } => (Some(path.display().to_string()), device.as_ref()),
        Used::Systemd { device } => {
            (device.as_ref().map(|d| d.path().display().to_string()), device.as_ref())
        }
        Used::Nothing => (None, None),
    };
    let identity = armed.map(|armed| armed.identity.clone());
    let identity = identity.or_else(|| device.map(|device| device.identity.clone()));
    // So that a heartbeat fits into its datagram, whatever is in it.
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let short = |text: String| Cow::Owned(text.chars().take(SHORT).map(plain).collect());
    let timeout_s = match (&choice.used, armed) {
        // As long as systemd waits for us; the hardware waits for systemd.
        (Used::Systemd { .. }, _) => u32::try_from(config.timeout.as_secs()).ok(),
        (_, Some(armed)) => Some(armed.timeout_s),
        (_, None) => device.and_then(|device| device.timeout_s),
    };
    Heartbeat {
        pid: std::process::id(),
        device: path.map(short),
        identity: identity.map(short),
        timeout_s,
        pretimeout_s: armed.map(|armed| armed.pretimeout_s),
        cpu_limit_s: u32::try_from(config.cpu_limit.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
        ..Heartbeat::default()
    }
}

fn describe(mode: Mode, choice: &Choice, armed: Option<&Armed>) -> String {
    let why = &choice.why;
    match (mode, armed, &choice.used) {
        (Mode::Armed, Some(armed), Used::Hardware { path, .. }) => {
            let alarm = match armed.pretimeout_s {
                0 => "without a pretimeout".to_owned(),
                s => format!("pretimeout {s} s"),
            };
            let end = if armed.nowayout { "; it cannot be disarmed" } else { "" };
            format!(
                "armed {} ({}), timeout {} s, {alarm}; {why}{end}",
                path.display(),
                armed.identity,
                armed.timeout_s
            )
        }
        (Mode::Systemd, ..) => format!("{why}; systemd hears from us only while all is well"),
        _ => format!("watching only, nothing is armed: {why}"),
    }
}

fn crash_words() -> &'static str {
    let loaded = std::fs::read_to_string("/sys/kernel/kexec_crash_loaded");
    match loaded.is_ok_and(|text| text.trim() == "1") {
        true => "a stall ends in a dump",
        false => "no crash kernel is loaded: a stall ends without a dump",
    }
}

/// In a shutdown the hardware watches what is left of it, in ms; else it is
/// disarmed.
fn part(armed: Option<Armed>, mode: Mode, choice: &Choice, left: u64) {
    let process_1 = std::fs::read(shutdown::PROCESS_1).unwrap_or_default();
    let leave = shutdown::parting(&process_1) == Parting::Leave;
    let rest = |most| shutdown::timeout(left, most).filter(|_| leave);
    if let Some(armed) = armed {
        match rest(armed.max_timeout_s) {
            Some(timeout) => armed.leave(timeout),
            None => disarm(armed),
        }
    } else if let (Mode::Systemd, Used::Systemd { device: Some(device) }) = (mode, &choice.used) {
        // For a poweroff systemd has disarmed it; for a reboot it has it, and
        // this fails.
        let Some(timeout) = rest(device.max_timeout_s) else { return };
        if let Ok(armed) = Armed::open(&device.path(), Some(device), timeout, 0) {
            armed.leave(timeout);
        }
    }
}

fn disarm(armed: Armed) {
    let (nowayout, timeout) = (armed.nowayout, armed.timeout_s);
    match armed.disarm() {
        Ok(()) if !nowayout => eprintln!("bulkhead-watchdog: disarmed"),
        outcome => {
            let why = match outcome {
                Ok(()) => "its driver has nowayout set".to_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!(
                "bulkhead-watchdog: the watchdog cannot be disarmed ({why}): it will reset the \
                 host in {timeout} s unless bulkhead-watchdog is started again"
            );
        }
    }
}

/// Loads a module. One that is built in, or is not there, is found out by what
/// it is for.
fn load(module: &str) {
    let mut modprobe = Command::new("modprobe");
    let _ = modprobe.args(["-q", module]).stdin(Stdio::null()).stderr(Stdio::null()).status();
}

/// The command line, for [`start_again`].
fn command_line() -> Vec<CString> {
    std::env::args_os().filter_map(|word: OsString| CString::new(word.into_vec()).ok()).collect()
}

/// The same process begins anew; why it does not.
fn start_again(words: &[CString]) -> String {
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the words end with NUL and their list with a null pointer; both
    // outlive the call.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    format!("it cannot start again: {}", std::io::Error::last_os_error())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_watchdog::heartbeat::{Probe, State, Suspect, MOST, SUSPECTS};

    #[test]
    fn the_longest_heartbeat_fits_into_its_datagram() {
        let device = bulkhead_watchdog::choose::Device {
            identity: "\u{7}\"".repeat(100),
            timeout_s: Some(u32::MAX),
            ..Default::default()
        };
        let path = format!("/dev/{}", "\\".repeat(100)).into();
        let used = Used::Hardware { path, device: Some(device) };
        let choice = Choice { used, why: String::new() };
        let config = Watchdog { cpu_limit: Duration::MAX, ..Watchdog::default() };
        let suspect = Suspect { cpu: 8191, probe: Probe::Other, silent_ms: 99_999_999_999 };
        let heartbeat = Heartbeat {
            pid: u32::MAX,
            state: State::Watching,
            fed_ms: Some(u64::MAX),
            pretimeout_s: Some(u32::MAX),
            cpus: 8192,
            suspects: vec![suspect; SUSPECTS],
            more_suspects: u32::MAX,
            failing: Some("heartbeat".into()),
            ..heartbeat_of(&config, &choice, None)
        };
        let sent = serde_json::to_vec(&heartbeat).unwrap();
        assert!(sent.len() <= MOST, "{}", sent.len());
        assert_eq!(heartbeat::parse(&sent), Some(heartbeat));
    }
}

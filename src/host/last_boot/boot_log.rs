//! What this boot's kernel found of the one before: firmware's boot errors
//! (drivers/acpi/apei/bert.c), and machine checks that were still in their banks
//! (arch/x86/kernel/cpu/mce/core.c, MCP_UC).

use super::klog::{self, Line};
use super::{files, firmware, machine_check, LastBoot, Root, Trace};
use bulkhead_core::analyze::verdict::{self, Reset};
use bulkhead_core::model::{Record, Source};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

const PLACE: &str = "dev/kmsg";

/// Bytes of a record of /dev/kmsg, at most (PRINTK_MESSAGE_MAX and a front).
const RECORD: usize = 8192;

/// Records until user space runs, many times what a large host has.
const RECORDS: usize = 65_536;

/// Where the kernel hands over (init/main.c, run_init_process()). What comes
/// later is of this boot.
const HANDS_OVER: &str = " as init process";

const BOOT_ERRORS: &str = "BERT: Error records from previous boot:";

pub fn read(root: &Root, found: &mut LastBoot) {
    let path = root.path(PLACE);
    // Where there is no log to be had, a container say, there is nothing to tell.
    let Ok(file) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) else {
        return;
    };
    let Told { records, reset } = parse(&text(file));
    found.reset = reset;
    found.traces.extend(records.into_iter().map(|record| Trace {
        source: Source::BootLog,
        path: files::shown(root, &path),
        time: None,
        uptime: None,
        record,
    }));
}

/// All that is in the kernel's buffer up to where user space runs.
fn text(mut file: File) -> String {
    let (mut text, mut buffer) = (String::new(), vec![0; RECORD]);
    for _ in 0..RECORDS {
        match file.read(&mut buffer) {
            // Overwritten while we read: the next read goes on with what is left.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // EAGAIN: that was all.
            Err(_) | Ok(0) => break,
            Ok(n) => {
                let record = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
                text.push_str(&record);
                if record.contains(HANDS_OVER) {
                    break;
                }
            }
        }
    }
    text
}

/// What a boot's log tells of the boot before.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    /// Its uncorrected errors.
    records: Vec<Record>,
    /// Why the processor was reset.
    reset: Option<Reset>,
}

/// Of records of /dev/kmsg, such as `6,339,5140900,-;BERT: …`
/// (Documentation/ABI/testing/dev-kmsg).
pub(super) fn parse(log: &str) -> Told {
    let lines: Vec<Line> = log
        .lines()
        .filter_map(|record| {
            let (front, text) = record.split_once(';')?;
            let priority: u32 = front.split(',').next()?.parse().ok()?;
            // Facility 0 is the kernel's.
            (priority < 8).then(|| klog::lines(text).next()).flatten()
        })
        .take_while(|line| !line.text.contains(HANDS_OVER))
        .collect();
    let texts = || lines.iter().map(|line| line.text);
    let left_over = machine_check::left_over(texts()).into_iter().map(Record::Mce);
    // Numbered lines are of errors of this boot.
    let firmwares = texts().skip_while(|text| *text != BOOT_ERRORS).filter(|t| !t.starts_with('{'));
    let boot_errors = firmware::uncorrected(firmwares).into_iter().map(Record::Extlog);
    let records = left_over.chain(boot_errors).collect();
    Told { records, reset: texts().find_map(verdict::reset::reason) }
}

#[cfg(test)]
mod tests {
    use super::super::firmware::tests::FATAL;
    use super::*;

    fn kmsg(lines: &str) -> String {
        lines.lines().enumerate().map(|(n, line)| format!("6,{n},{n}000,-;{line}\n")).collect()
    }

    #[test]
    fn firmwares_boot_errors_are_of_the_boot_before() {
        let log =
            kmsg(&format!("Linux version 6.12\n{BOOT_ERRORS}\n{FATAL}\nRun /init as init process"));
        let found = parse(&log).records;
        assert!(matches!(&found[..], [Record::Extlog(e)] if e.pa == 0x1234_5000), "{found:?}");
        assert_eq!(parse(&log.replace("BERT", "TREB")).records, []);
        assert_eq!(parse(&log.replace("6,", "30,")).records, [], "a program's");
    }

    #[test]
    fn errors_of_this_boot_are_not() {
        let numbered: String = FATAL.lines().map(|line| format!("{{1}}{line}\n")).collect();
        assert_eq!(parse(&kmsg(&format!("{BOOT_ERRORS}\n{numbered}"))).records, []);
        let late = kmsg(&format!("Run /init as init process\n{BOOT_ERRORS}\n{FATAL}"));
        assert_eq!(parse(&late).records, []);
    }

    #[test]
    fn a_machine_check_that_stayed_in_its_bank_is() {
        let log = kmsg(
            "\
mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 9: be00000000000090
mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 8c
mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1790000100 SOCKET 0 APIC 1 microcode 1",
        );
        let found = parse(&log).records;
        assert!(matches!(&found[..], [Record::Mce(m)] if m.addr == 0x1234_5000));
    }

    #[test]
    fn the_processor_says_why_it_was_reset() {
        let line = "x86/amd: Previous system reset reason [0x02000800]: hardware watchdog timer \
                    expired";
        let found = parse(&kmsg(&format!("Linux version 6.18\n{line}"))).reset;
        assert!(found.is_some_and(|reset| reset.kind == verdict::ResetKind::Watchdog));
        assert_eq!(parse(&kmsg("Linux version 6.12")).reset, None);
    }
}

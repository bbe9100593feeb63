//! Machine checks as the kernel prints them (arch/x86/kernel/cpu/mce/core.c,
//! __print_mce(): "this output is parsed by external tools and old fields
//! should not be changed").

use bulkhead_core::model::MceRecord;

/// MCi_STATUS: uncorrected, or the context corrupt.
const UC_OR_PCC: u64 = 1 << 61 | 1 << 57;
/// MCi_STATUS: signalled by an exception (Intel), or the context corrupt.
const S_OR_PCC: u64 = 1 << 56 | 1 << 57;
/// MCG_STATUS: an exception was being handled.
const MCIP: u64 = 1 << 2;

/// The uncorrected ones in `lines`. One that is not whole is not used: without
/// its last line not even the processor's make is known, and with it what its
/// address means. Answers too how many of these there were.
pub fn uncorrected<'t>(lines: impl Iterator<Item = &'t str>) -> (Vec<MceRecord>, usize) {
    let (records, cut) = all(lines);
    (records.into_iter().filter(|mce| mce.status & UC_OR_PCC != 0).collect(), cut)
}

/// Those in the log of a kernel that boots which were in their banks before it:
/// uncorrected ones that no exception of its own brought, and that it reads
/// from no bank later on (core.c, machine_check_poll() and MCP_UC).
pub fn left_over<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<MceRecord> {
    let (records, _) = uncorrected(lines);
    let is_old = |mce: &MceRecord| mce.mcgstatus & MCIP == 0 && mce.status & S_OR_PCC != 0;
    records.into_iter().filter(is_old).collect()
}

fn all<'t>(lines: impl Iterator<Item = &'t str>) -> (Vec<MceRecord>, usize) {
    let (mut records, mut begun, mut cut) = (Vec::new(), None, 0);
    for line in lines {
        let line = line.strip_prefix("mce: ").unwrap_or(line);
        let Some(text) = line.strip_prefix("[Hardware Error]: ") else {
            if let Some(record) = begun.as_mut().filter(|_| is_broken_off(line)) {
                registers(line, record);
            }
            continue;
        };
        if let Some(record) = head(text) {
            cut += usize::from(begun.replace(record).is_some());
        } else if let Some(record) = &mut begun {
            if let Some(rest) = text.strip_prefix("RIP") {
                record.ip = instruction(rest).unwrap_or(0);
            } else if text.starts_with("TSC ") {
                registers(text, record);
            } else if text.starts_with("PROCESSOR ") {
                match (processor(text, record), begun.take()) {
                    (Some(()), Some(record)) => records.push(record),
                    _ => cut += 1,
                }
            }
        }
    }
    (records, cut + usize::from(begun.is_some()))
}

/// `CPU 1: Machine Check Exception: 5 Bank 9: be00000000000090`
fn head(text: &str) -> Option<MceRecord> {
    let (cpu, rest) = text.strip_prefix("CPU ")?.split_once(": Machine Check")?;
    let (mcgstatus, rest) =
        rest.strip_prefix(" Exception").unwrap_or(rest).strip_prefix(": ")?.split_once(" Bank ")?;
    let (bank, status) = rest.split_once(": ")?;
    Some(MceRecord {
        cpu: cpu.parse().ok()?,
        mcgstatus: hex(mcgstatus)?,
        bank: bank.parse().ok()?,
        status: hex(status)?,
        ..MceRecord::default()
    })
}

/// ` !INEXACT! 10:<ffffffff81234567> {name+0x12/0x34}`
fn instruction(text: &str) -> Option<u64> {
    hex(text.split_once('<')?.1.split_once('>')?.0)
}

/// `TSC 1a2b ADDR 12345000 MISC 8c PPIN … SYND … IPID …`, of which those that
/// are zero are not printed.
fn registers(text: &str, record: &mut MceRecord) {
    for (name, value) in pairs(text) {
        let Some(value) = hex(value) else { return };
        match name {
            "ADDR" => record.addr = value,
            "MISC" => record.misc = value,
            "PPIN" => record.ppin = value,
            "SYND" => record.synd = value,
            "IPID" => record.ipid = value,
            _ => {}
        }
    }
}

/// Whether a line is the rest of `TSC …`, which the kernel prints piece by piece:
/// where somebody else's line comes in between, what follows is a line of its own
/// (kernel/printk/printk.c, vprintk_store() and LOG_CONT).
fn is_broken_off(line: &str) -> bool {
    ["ADDR ", "MISC ", "PPIN ", "SYND ", "IPID "].iter().any(|name| line.starts_with(name))
}

/// `PROCESSOR 0:50654 TIME 1700000000 SOCKET 0 APIC 0 microcode 1`. Nothing if
/// what must be known is missing.
fn processor(text: &str, record: &mut MceRecord) -> Option<()> {
    let (mut has_make, mut has_place) = (false, false);
    for (name, value) in pairs(text) {
        match name {
            "PROCESSOR" => {
                let (vendor, cpuid) = value.split_once(':')?;
                record.cpuvendor = vendor.parse().ok()?;
                record.cpuid = u32::from_str_radix(cpuid, 16).ok()?;
                has_make = true;
            }
            "TIME" => record.time = value.parse().ok()?,
            "SOCKET" => record.socketid = value.parse().ok()?,
            "APIC" => {
                record.apicid = u32::from_str_radix(value, 16).ok()?;
                has_place = true;
            }
            "microcode" => record.microcode = u32::from_str_radix(value, 16).ok()?,
            _ => {}
        }
    }
    (has_make && has_place).then_some(())
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut words = text.split_ascii_whitespace();
    std::iter::from_fn(move || Some((words.next()?, words.next()?)))
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FATAL: &str = "\
mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 9: be00000000000090
mce: [Hardware Error]: RIP !INEXACT! 10:<ffffffff81a2b3c4> {mwait_idle+0x5a/0x80}
mce: [Hardware Error]: TSC 1f2e3d ADDR 12345000 MISC 8c PPIN 1234abcd \n\
mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1790000000 SOCKET 1 APIC 1f microcode 2006e05";

    #[test]
    fn a_machine_check_is_read_to_the_last_field() {
        let (records, cut) = uncorrected(FATAL.lines());
        let record = MceRecord {
            status: 0xbe00_0000_0000_0090,
            addr: 0x1234_5000,
            misc: 0x8c,
            mcgstatus: 5,
            ip: 0xffff_ffff_81a2_b3c4,
            ppin: 0x1234_abcd,
            time: 1_790_000_000,
            cpu: 1,
            cpuid: 0x50654,
            apicid: 0x1f,
            socketid: 1,
            microcode: 0x0200_6e05,
            bank: 9,
            ..MceRecord::default()
        };
        assert_eq!((records, cut), (vec![record], 0));
    }

    #[test]
    fn one_that_is_cut_off_is_not_used_wherever_it_is_cut() {
        let lines: Vec<&str> = FATAL.lines().collect();
        for kept in 1..lines.len() {
            assert_eq!(uncorrected(lines[..kept].iter().copied()), (Vec::new(), 1), "{kept}");
        }
        let make = FATAL.find(" SOCKET").unwrap_or_default();
        assert_eq!(uncorrected(FATAL[..make].lines()), (Vec::new(), 1));
        // The rest of one is not another's.
        let (records, cut) = uncorrected(lines[..1].iter().chain(&lines).copied());
        assert_eq!((records.len(), cut), (1, 1));
    }

    #[test]
    fn a_line_that_others_broke_is_read_to_its_end() {
        let (whole, _) = uncorrected(FATAL.lines());
        for name in ["ADDR", "MISC", "PPIN"] {
            let broken = FATAL.replace(name, &format!("\nresctrl: No MBM factor\n{name}"));
            assert_eq!(uncorrected(broken.lines()), (whole.clone(), 0), "{name}");
        }
    }

    #[test]
    fn amds_registers_are_read_too() {
        let text = FATAL
            .replace("PPIN 1234abcd", "SYND 4d000002 SYND1 7 IPID 9600050f00")
            .replace("0:50654", "2:a00f11");
        let (records, _) = uncorrected(text.lines());
        assert_eq!((records[0].synd, records[0].ipid), (0x4d00_0002, 0x0096_0005_0f00));
        assert_eq!((records[0].cpuvendor, records[0].cpuid), (2, 0x00a0_0f11));
    }

    #[test]
    fn corrected_ones_did_not_end_anything() {
        let text = FATAL.replace("be00000000000090", "8c00000000000090");
        assert_eq!(uncorrected(text.lines()), (Vec::new(), 0));
    }

    #[test]
    fn only_what_no_poll_would_read_was_left_over() {
        let found = FATAL.replace("Machine Check Exception: 5", "Machine Check: 0");
        assert_eq!(left_over(found.lines()).len(), 1);
        assert_eq!(left_over(FATAL.lines()).len(), 0, "an exception of this boot");
        // UCNA is read from its bank at any time.
        let ucna = found.replace("be00000000000090", "bc00000000000090");
        assert_eq!(left_over(ucna.lines()).len(), 0);
    }
}

//! The one program that runs inside the virtual machines of the tests, besides what is tested and busybox.

mod agent;
mod bind;
mod bpf;
mod caps;
mod crash;
mod debian;
mod hog;
mod hold;
mod init;
mod journal;
mod kill;
mod kpage;
mod msr;
mod ready;
mod storm;

use std::process::ExitCode;

use anyhow::{bail, Result};

const USAGE: &str = "\
usage: bulkhead-guest hold-page [--huge] [--pages N]   hold pages, print where they are; SIGUSR1: print whether intact
       bulkhead-guest hold-page --piped                the same with one page that cannot be moved; SIGUSR2: now it can
       bulkhead-guest page-flags ADDR...               what /proc/kpageflags says of pages
       bulkhead-guest find-pages FLAG N                addresses of N pages with a flag, such as buddy or pgtable
       bulkhead-guest take-pages                       soft-offline the pages whose addresses stand on stdin, one
                                                       after the other, read each back, and print the seconds
       bulkhead-guest poisoned                         addresses of all pages that are out of service
       bulkhead-guest mce-bank CPU BANK                the status register of a machine-check bank
       bulkhead-guest journal                          print what is sent to the journal, a field to a line
       bulkhead-guest without-bpf COMMAND...           run a command that may not load BPF programs
       bulkhead-guest bind [--fifo] CPU,...            a process that may run on these CPUs alone
       bulkhead-guest hog PRIORITY CPU,...             spin on these CPUs for ever, at a priority of SCHED_FIFO
       bulkhead-guest kill-at N PID                    kill a process before its Nth call that outlives it
       bulkhead-guest stop-at-poison PID               stop a process as soon as any page is out of service
       bulkhead-guest raise [--for-ever] COMMAND       have the test memory controller report errors; print the
                                                       seconds that it took
       bulkhead-guest time-to-isolation FIRST N        two errors on each of N pages; print the nanoseconds until
                                                       it was off
       bulkhead-guest empty-bpf TRACEPOINT             hold a BPF program that does nothing on a raw tracepoint
       bulkhead-guest bpf-costs                        what all BPF maps and programs of the kernel cost
       bulkhead-guest ready COMMAND...                 run a service; print the seconds until it says READY=1
       bulkhead-guest agent                            serve the host (started by init)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = if std::process::id() == 1 {
        init::run()
    } else {
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bulkhead-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        ["agent"] => agent::run()?,
        ["hold-page", options @ ..] => return hold::run(options),
        ["without-bpf", command @ ..] => caps::without_bpf(command)?,
        ["journal"] => journal::print()?,
        ["bind", "--fifo", cpus] => return bind::run(cpus, true),
        ["bind", cpus] => return bind::run(cpus, false),
        ["hog", priority, cpus] => return hog::run(priority.parse()?, cpus),
        ["kill-at", nth, pid] => return kill::run(nth.parse()?, pid.parse()?),
        ["stop-at-poison", pid] => kill::stop_at_poison(pid.parse()?)?,
        ["page-flags", addresses @ ..] if !addresses.is_empty() => kpage::print_flags(addresses)?,
        ["raise", "--for-ever", command] => return storm::raise_for_ever(command),
        ["raise", command] => storm::raise(command)?,
        ["time-to-isolation", first, count] => {
            let digits = first.strip_prefix("0x").unwrap_or(first);
            storm::time_to_isolation(u64::from_str_radix(digits, 16)?, count.parse()?)?;
        }
        ["empty-bpf", tracepoint] => return bpf::hold_empty(tracepoint),
        ["bpf-costs"] => bpf::print_costs()?,
        ["ready", command @ ..] => return ready::run(command),
        ["find-pages", flag, count] => kpage::find(flag, count.parse()?)?,
        ["take-pages"] => kpage::take()?,
        ["poisoned"] => kpage::print_poisoned()?,
        ["mce-bank", cpu, bank] => msr::print_bank_status(cpu.parse()?, bank.parse()?)?,
        _ => bail!("{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}

//! One set of maps and programs in the kernel, and its pins.

use super::layout::{self, bytes_of, Control};
use super::sys;
use super::table::Table;
use super::verdict;
use crate::monitor::clock::Clock;
use bulkhead_core::model::{Report, Source};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ObjectBuilder, OpenObject};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The compiled programs, aligned as libelf wants an ELF header.
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/ras.bpf.o")));

#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

/// The kernel's description of its own types, for CO-RE.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Which lockdown is in force, in brackets (security/lockdown/lockdown.c).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Key 0: the only one of arrays of one element.
const ONLY: [u8; 4] = [0; 4];

/// Reports handed out at a time, at most: at some 500 bytes each.
const PART: u32 = 4_096;

/// Where a set is pinned until it is complete.
pub const UNFINISHED: &str = "unfinished";

/// A tracepoint and the program on it.
pub struct Probe {
    /// Whose reports it makes.
    pub source: Source,
    /// Name in the object, and of its pin.
    program: &'static str,
    /// The tracepoint without its system: raw tracepoints go by the name.
    tracepoint: &'static str,
    /// Name of the link's pin.
    link: &'static str,
}

/// All of them, in the order of `enum ras_kind` in ebpf/ras.h.
pub const PROBES: [Probe; 3] = [
    Probe {
        source: Source::MceRecord,
        program: "ras_mce_record",
        tracepoint: "mce_record",
        link: "link_mce_record",
    },
    Probe {
        source: Source::McEvent,
        program: "ras_mc_event",
        tracepoint: "mc_event",
        link: "link_mc_event",
    },
    Probe {
        source: Source::MemoryFailure,
        program: "ras_memory_failure",
        tracepoint: "memory_failure_event",
        link: "link_memory_failure",
    },
];

/// Why the kernel side cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without a description of the kernel's types nothing can be relocated.
    #[error("{BTF} is missing: the kernel was built without CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
    /// Programs are allowed, but nothing that they could read.
    #[error("the kernel is locked down for confidentiality: no program may read its memory")]
    Lockdown,
    /// The verifier said no: a kernel of unknown shape.
    #[error("the kernel refuses the BPF programs: {verdict} ({source})")]
    Refused {
        /// Its last word.
        verdict: String,
        /// Why not.
        source: libbpf_rs::Error,
    },
    /// libbpf or the kernel said no.
    #[error("cannot {operation}: {source}")]
    Libbpf {
        /// What was tried, on what.
        operation: String,
        /// Why not.
        source: libbpf_rs::Error,
    },
    /// A system call said no.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried, on what.
        operation: String,
        /// Why not.
        source: io::Error,
    },
    /// Not what this build makes or reads.
    #[error("{0} is missing or not laid out as expected")]
    Layout(String),
}

impl Error {
    fn libbpf(operation: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> Error {
        let operation = operation.into();
        move |source| Error::Libbpf { operation, source }
    }

    fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let operation = operation.into();
        move |source| Error::Io { operation, source }
    }
}

/// How many entries of the side that nobody counts on are in use, in the order
/// of `enum ras_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used([u32; 3]);

impl Used {
    /// In all.
    pub fn total(self) -> u32 {
        self.0.iter().sum()
    }

    /// Of each kind, the entries that are among those from `from` up to `to`,
    /// where all are counted through: first and number.
    fn between(self, from: u32, to: u32) -> [(u32, u32); 3] {
        let mut passed = 0;
        self.0.map(|used| {
            let first = from.clamp(passed, passed + used) - passed;
            let end = to.clamp(passed, passed + used) - passed;
            passed += used;
            (first, end.saturating_sub(first))
        })
    }
}

/// How a probe fares.
pub enum Attached {
    /// It counts.
    Yes,
    /// This kernel has no such tracepoint.
    Absent,
    /// It could not be attached.
    No(Error),
}

/// Maps, programs and links: pinned in bpffs, or this process's alone.
pub struct Set {
    /// Where it is pinned.
    directory: Option<PathBuf>,
    /// `ras_mce_entry`, `ras_mc_entry`, `ras_mf_entry`: both sides of each.
    entries: [MapHandle; 3],
    /// `ras_mc_text` of the first entries of each side.
    texts: MapHandle,
    used: MapHandle,
    /// A map of maps, to wait with, and what to store to it: see
    /// [`Set::rotate`].
    wait: MapHandle,
    nothing: MapHandle,
    control_map: MapHandle,
    woken: MapHandle,
    /// The ring buffer that turns readable when there is something to read.
    pub wake: MapHandle,
    lost: MapHandle,
    programs: [OwnedFd; 3],
    /// Links that no pin holds.
    links: Vec<OwnedFd>,
    control: Control,
}

/// The name of the directory that the embedded programs are pinned in: the
/// layout of their maps, and a hash of the object.
pub fn directory_name() -> String {
    format!("v{}-{}", layout::LAYOUT, Uuid::new_v5(&Uuid::NAMESPACE_OID, &OBJECT.0).simple())
}

/// Whether maps in a directory of this name can be read.
pub fn is_readable(directory_name: &str) -> bool {
    directory_name.starts_with(&format!("v{}-", layout::LAYOUT))
}

impl Set {
    /// Loads the embedded programs; nothing is attached or pinned yet.
    /// `carried`: the records lost, per kind, by earlier programs of this boot.
    ///
    /// # Errors
    /// No BTF, no privilege, no memory, or a kernel of unknown shape.
    pub fn load(carried: [u64; 3]) -> Result<Set, Error> {
        if !Path::new(BTF).exists() {
            return Err(Error::NoBtf);
        }
        if fs::read_to_string(LOCKDOWN).is_ok_and(|mode| mode.contains("[confidentiality]")) {
            return Err(Error::Lockdown);
        }
        let object = ObjectBuilder::default()
            .open_memory(&OBJECT.0)
            .and_then(OpenObject::load)
            .map_err(|source| match verdict::take() {
                Some(verdict) => Error::Refused { verdict, source },
                None => Error::libbpf("load the BPF programs")(source),
            })?;
        let mut set = Set::gather(
            |name| {
                let map = object.maps().find(|m| m.name() == name);
                let map = map.ok_or_else(|| Error::Layout(format!("BPF map {name}")))?;
                MapHandle::try_from(&map).map_err(Error::libbpf(format!("hold BPF map {name}")))
            },
            |name| {
                let program = object.progs().find(|p| p.name() == name);
                let program =
                    program.ok_or_else(|| Error::Layout(format!("BPF program {name}")))?;
                let fd = program.as_fd().try_clone_to_owned();
                fd.map_err(Error::io(format!("hold BPF program {name}")))
            },
        )?;
        set.control = Control { generation: 0, carried, set: Uuid::new_v4().into_bytes() };
        set.save_control()?;
        Ok(set)
    }

    /// Opens what is pinned in `directory`.
    ///
    /// # Errors
    /// Something is missing, or laid out otherwise.
    pub fn open(directory: &Path) -> Result<Set, Error> {
        let mut set = Set::gather(
            |name| {
                let path = directory.join(name);
                MapHandle::from_pinned_path(&path)
                    .map_err(Error::libbpf(format!("open {}", path.display())))
            },
            |name| {
                let path = directory.join(name);
                sys::open(&path).map_err(Error::io(format!("open {}", path.display())))
            },
        )?;
        set.directory = Some(directory.to_owned());
        Ok(set)
    }

    fn gather(
        map: impl Fn(&str) -> Result<MapHandle, Error>,
        program: impl Fn(&'static str) -> Result<OwnedFd, Error>,
    ) -> Result<Set, Error> {
        let sized = |name: &str, value: usize, entries: u32| {
            let map = map(name)?;
            let fits = map.key_size() == 4
                && map.value_size() as usize == value
                && map.max_entries() == entries;
            fits.then_some(map).ok_or_else(|| Error::Layout(format!("BPF map {name}")))
        };
        let [mce, mc, mf] = layout::KEYS;
        let control_map = sized("ras_control", size_of::<Control>(), 1)?;
        let control = control_map
            .lookup(&ONLY, MapFlags::ANY)
            .map_err(Error::libbpf("read ras_control"))?
            .and_then(|bytes| layout::read(&bytes))
            .ok_or_else(|| Error::Layout("ras_control".into()))?;
        let [a, b, c] = PROBES;
        Ok(Set {
            directory: None,
            entries: [
                sized("mce_entries", size_of::<layout::MceEntry>(), 2 * mce)?,
                sized("mc_entries", size_of::<layout::McEntry>(), 2 * mc)?,
                sized("mf_entries", size_of::<layout::MfEntry>(), 2 * mf)?,
            ],
            texts: sized("mc_text", size_of::<layout::McText>(), 2 * layout::TEXTS)?,
            used: sized("ras_used", 8, 6)?,
            wait: map("ras_wait")?,
            nothing: map("ras_nothing")?,
            control_map,
            woken: sized("ras_woken", 8, 1)?,
            wake: map("ras_wake")?,
            lost: sized("ras_lost", 8, 3)?,
            programs: [program(a.program)?, program(b.program)?, program(c.program)?],
            links: Vec::new(),
            control,
        })
    }

    /// Pins maps and programs in a new directory, all or none.
    ///
    /// # Errors
    /// No room, or the directory exists.
    pub fn pin(&mut self, directory: &Path) -> Result<(), Error> {
        // Renamed when complete: a set that was cut short by a kill is none.
        let unfinished = directory.with_file_name(UNFINISHED);
        remove(&unfinished)?;
        make_directory(&unfinished)?;
        let pin = |name: &str, fd: BorrowedFd<'_>| {
            let path = unfinished.join(name);
            sys::pin(fd, &path).map_err(Error::io(format!("pin {}", path.display())))
        };
        // The programs hold the indexes.
        for (name, map) in ["mce_entries", "mc_entries", "mf_entries"].iter().zip(&self.entries) {
            pin(name, map.as_fd())?;
        }
        pin("mc_text", self.texts.as_fd())?;
        pin("ras_used", self.used.as_fd())?;
        pin("ras_wait", self.wait.as_fd())?;
        pin("ras_nothing", self.nothing.as_fd())?;
        pin("ras_control", self.control_map.as_fd())?;
        pin("ras_woken", self.woken.as_fd())?;
        pin("ras_wake", self.wake.as_fd())?;
        pin("ras_lost", self.lost.as_fd())?;
        for (probe, program) in PROBES.iter().zip(&self.programs) {
            pin(probe.program, program.as_fd())?;
        }
        fs::rename(&unfinished, directory)
            .map_err(Error::io(format!("rename {}", unfinished.display())))?;
        self.directory = Some(directory.to_owned());
        Ok(())
    }

    /// Attaches what is not attached yet; in the order of [`PROBES`].
    pub fn attach(&mut self) -> [Attached; 3] {
        let [mce, mc, mf] = &PROBES;
        let [mce_program, mc_program, mf_program] = &self.programs;
        let directory = self.directory.as_deref();
        [(mce, mce_program), (mc, mc_program), (mf, mf_program)].map(
            |(probe, program)| match attach(probe, program, directory, &mut self.links) {
                Ok(attached) => attached,
                Err(e) => Attached::No(e),
            },
        )
    }

    /// Detaches all programs: nothing is counted from here on, but by those
    /// that are running just now.
    ///
    /// # Errors
    /// A pin that cannot be removed.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.links.clear();
        let Some(directory) = &self.directory else { return Ok(()) };
        for probe in &PROBES {
            let path = directory.join(probe.link);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("unpin {}", path.display()))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Unpins everything.
    ///
    /// # Errors
    /// A pin that cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        self.directory.as_deref().map_or(Ok(()), remove)
    }

    /// The batch that lies on the idle side: the set's name and the
    /// generation.
    pub fn batch(&self) -> String {
        format!("{}:{}", Uuid::from_bytes(self.control.set).simple(), self.control.generation)
    }

    /// Lets the programs wake user space again.
    ///
    /// # Errors
    /// Those of BPF_MAP_UPDATE_ELEM.
    pub fn allow_wake(&self) -> Result<(), Error> {
        let none = 0u64.to_ne_bytes();
        self.woken
            .update(&ONLY, &none, MapFlags::ANY)
            .map_err(Error::libbpf("clear the flag in ras_woken"))
    }

    /// Has the programs count on the other side, which must be empty, and
    /// waits until none of them still counts on this one.
    ///
    /// The programs look at the generation and run to their end within one RCU
    /// read-side section (kernel/trace/bpf_trace.c, __bpf_trace_run). Storing
    /// to a map of maps, even what it holds already, answers after a grace
    /// period (kernel/bpf/syscall.c, maybe_wait_bpf_programs; the same in 6.1
    /// and 6.12): who reads then reads what no longer changes.
    ///
    /// # Errors
    /// Those of BPF_MAP_UPDATE_ELEM; nothing was rotated then, or the wait is
    /// to be repeated by [`Set::wait`].
    pub fn rotate(&mut self) -> Result<(), Error> {
        self.control.generation += 1;
        if let Err(e) = self.save_control() {
            self.control.generation -= 1;
            return Err(e);
        }
        self.wait()
    }

    /// Waits until no program counts on the idle side.
    ///
    /// # Errors
    /// Those of BPF_MAP_UPDATE_ELEM.
    pub fn wait(&self) -> Result<(), Error> {
        let fd = self.nothing.as_fd().as_raw_fd().to_ne_bytes();
        self.wait
            .update(&ONLY, &fd, MapFlags::ANY)
            .map_err(Error::libbpf("wait for the programs to leave the maps"))
    }

    /// How much there is on the side that nobody counts on.
    ///
    /// # Errors
    /// Those of BPF_MAP_LOOKUP_BATCH.
    pub fn used(&self) -> Result<Used, Error> {
        let table = read(&self.used, self.idle() * 3, 3)?;
        let mut used = [0; 3];
        for ((used, value), keys) in used.iter_mut().zip(table.iter()).zip(layout::KEYS) {
            let counted = value.try_into().map_or(0, u64::from_ne_bytes);
            // What found no room counted on.
            *used = u32::try_from(counted).unwrap_or(u32::MAX).min(keys);
        }
        Ok(Used(used))
    }

    /// Reads the side that nobody counts on, of which so much is `used`, from
    /// its entry `from` on, and tells up to where. No more than [`PART`] at a
    /// time, in the order of their first records; machine checks come before
    /// what decodes them.
    ///
    /// # Errors
    /// Those of BPF_MAP_LOOKUP_BATCH.
    pub fn read_idle(
        &self,
        used: Used,
        from: u32,
        clock: &Clock,
    ) -> Result<(Vec<Report>, u32), Error> {
        let to = from.saturating_add(PART).min(used.total());
        let ranges = used.between(from, to);
        let side = self.idle();
        let mut tables = [Table::default(), Table::default(), Table::default()];
        for (((table, map), keys), (first, count)) in
            tables.iter_mut().zip(&self.entries).zip(layout::KEYS).zip(ranges)
        {
            *table = read(map, side * keys + first, count)?;
        }
        let [mce, mc, mf] = &tables;
        let [_, (first, count), _] = ranges;
        let with_text = count.min(layout::TEXTS.saturating_sub(first));
        let texts = read(&self.texts, side * layout::TEXTS + first, with_text)?;
        let texts = texts.iter().map(Some).chain(std::iter::repeat(None));

        let mce = mce.iter().filter_map(layout::read::<layout::MceEntry>);
        let mc = mc.iter().filter_map(layout::read::<layout::McEntry>);
        let mf = mf.iter().filter_map(layout::read::<layout::MfEntry>);
        let mut reports: Vec<Report> = mce.filter_map(|entry| entry.report(clock)).collect();
        reports.extend(mc.zip(texts).filter_map(|(entry, text)| {
            entry.report(text.and_then(layout::read::<layout::McText>).as_ref(), clock)
        }));
        reports.extend(mf.filter_map(|entry| entry.report(clock)));
        reports.sort_by_key(|r| (r.first.at, r.last.at));
        Ok((reports, to))
    }

    /// Empties the side that nobody counts on.
    ///
    /// # Errors
    /// Those of BPF_MAP_UPDATE_ELEM; the side is to be emptied again then.
    pub fn clear_idle(&self) -> Result<(), Error> {
        let first = self.idle() * 3;
        for kind in first..first + 3 {
            self.used
                .update(&kind.to_ne_bytes(), &[0; 8], MapFlags::ANY)
                .map_err(Error::libbpf("empty a side in ras_used"))?;
        }
        Ok(())
    }

    /// Records lost in this boot, per kind: found no room, or came while their
    /// own program was running on that CPU.
    ///
    /// # Errors
    /// Those of the look-ups.
    pub fn lost(&self) -> Result<[u64; 3], Error> {
        let mut lost = self.control.carried;
        for ((kind, lost), program) in (0u32..).zip(&mut lost).zip(&self.programs) {
            let per_cpu = self
                .lost
                .lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY)
                .map_err(Error::libbpf("read ras_lost"))?;
            for cpu in per_cpu.iter().flatten() {
                *lost += cpu.as_slice().try_into().map_or(0, u64::from_ne_bytes);
            }
            *lost += sys::recursion_misses(program.as_fd())
                .map_err(Error::io("describe a BPF program"))?;
        }
        Ok(lost)
    }

    /// Which side nobody counts on.
    fn idle(&self) -> u32 {
        u32::from(self.control.generation & 1 == 0)
    }

    fn save_control(&self) -> Result<(), Error> {
        self.control_map
            .update(&ONLY, bytes_of(&self.control), MapFlags::ANY)
            .map_err(Error::libbpf("write ras_control"))
    }
}

fn read(map: &MapHandle, first: u32, count: u32) -> Result<Table, Error> {
    let name = map.name().to_string_lossy().into_owned();
    Table::read(map, first, count).map_err(Error::io(format!("read BPF map {name}")))
}

fn attach(
    probe: &Probe,
    program: &OwnedFd,
    directory: Option<&Path>,
    links: &mut Vec<OwnedFd>,
) -> Result<Attached, Error> {
    let pin = directory.map(|d| d.join(probe.link));
    if pin.as_ref().is_some_and(|path| path.exists()) {
        return Ok(Attached::Yes);
    }
    let link = match sys::attach(program.as_fd(), probe.tracepoint) {
        Ok(link) => link,
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(Attached::Absent),
        Err(e) => return Err(Error::io(format!("attach to {}", probe.source))(e)),
    };
    match pin {
        Some(path) => {
            sys::pin(link.as_fd(), &path).map_err(Error::io(format!("pin {}", path.display())))?
        }
        None => links.push(link),
    }
    Ok(Attached::Yes)
}

/// Makes a directory that is root's alone, if it is not there.
///
/// # Errors
/// Those of mkdir(2), but for EEXIST.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::io(format!("make {}", path.display())))
}

/// Removes a directory with its pins, if it is there.
///
/// # Errors
/// Those of unlink(2) and rmdir(2), but for ENOENT.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_of_all_kinds_one_after_the_other() {
        let used = Used([3, 5, 2]);
        assert_eq!(used.between(0, used.total()), [(0, 3), (0, 5), (0, 2)]);
        assert_eq!(used.between(0, 2), [(0, 2), (0, 0), (0, 0)]);
        assert_eq!(used.between(2, 6), [(2, 1), (0, 3), (0, 0)]);
        assert_eq!(used.between(6, 10), [(3, 0), (3, 2), (0, 2)]);
        assert_eq!(used.between(9, 10), [(3, 0), (5, 0), (1, 1)]);
    }
}

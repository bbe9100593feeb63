//! Our own trace instance: a set of ring buffers that nobody else reads, and
//! that goes on filling while no daemon runs.

use super::format::HeaderPage;
use bulkhead_core::model::Source;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where tracefs may be found. Mounting it is the administrator's.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Our instance's name.
const NAME: &str = "bulkhead";

/// Why tracefs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not mounted, or not for us to see.
    #[error("tracefs is not mounted on {} or {}, or not readable", ROOTS[0], ROOTS[1])]
    NoTracefs,
    /// A file said no.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A description that cannot be understood.
    #[error("{0} is not understood")]
    Format(PathBuf),
}

impl Error {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { operation, path, source }
    }
}

/// How much is expected, for each CPU that may ever be on line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A few records a day.
    Rare,
    /// As many as an error storm brings.
    Storm,
}

impl Room {
    /// KiB of a buffer: a few hundred records of firmware's as they commonly
    /// are, or what the kernel gives to a trace by default
    /// (TRACE_BUF_SIZE_DEFAULT, kernel/trace/trace.c).
    fn kib(self) -> u32 {
        match self {
            Room::Rare => 64,
            Room::Storm => 1408,
        }
    }
}

/// The instance's directory.
pub struct Instance {
    directory: PathBuf,
}

impl Instance {
    /// The instance, if it is there.
    pub fn find() -> Option<Instance> {
        let directory = Path::new(root()?).join("instances").join(NAME);
        directory.is_dir().then_some(Instance { directory })
    }

    /// The instance, made if need be, with a clock that windows can run on.
    ///
    /// # Errors
    /// No tracefs, no privilege, or a kernel without instances or this clock.
    pub fn find_or_make(room: Room) -> Result<Instance, Error> {
        let instances = Path::new(root().ok_or(Error::NoTracefs)?).join("instances");
        let directory = instances.join(NAME);
        let made = match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(Error::io("make", &directory)(e)),
        };
        let instance = Instance { directory };
        instance.make_room(room, made)?;
        // Setting the clock empties the buffers, even if it is set already.
        if !instance.read("trace_clock")?.contains("[boot]") {
            instance.write("trace_clock", "boot")?;
        }
        // Wakes the reader at the first record. Kernels before 5.0, which have no such file, do so anyway.
        if instance.directory.join("buffer_percent").exists() {
            instance.write("buffer_percent", "0")?;
        }
        instance.write("tracing_on", "1")?;
        Ok(instance)
    }

    /// Buffers that shrink lose what is in them, so old ones only grow.
    fn make_room(&self, room: Room, made: bool) -> Result<(), Error> {
        const FILE: &str = "buffer_size_kb";
        let least = room.kib();
        let has = || Ok(self.read(FILE)?.trim().parse::<u32>().unwrap_or(u32::MAX));
        match made && room == Room::Rare || has()? < least {
            true => self.write(FILE, &least.to_string()),
            false => Ok(()),
        }
    }

    /// Records `source`'s tracepoint and answers its `format` file; `None`
    /// where this kernel has no such tracepoint.
    ///
    /// # Errors
    /// Those of the files.
    pub fn enable(&self, source: Source) -> Result<Option<String>, Error> {
        let Some(event) = self.event(source) else { return Ok(None) };
        let format = self.read(&format!("{event}/format"))?;
        self.write(&format!("{event}/enable"), "1")?;
        Ok(Some(format))
    }

    /// Records `source`'s tracepoint no longer; what is in the buffers stays.
    ///
    /// # Errors
    /// Those of the file.
    pub fn disable(&self, source: Source) -> Result<(), Error> {
        match self.event(source) {
            Some(event) => self.write(&format!("{event}/enable"), "0"),
            None => Ok(()),
        }
    }

    /// The `format` file of `source`'s tracepoint.
    ///
    /// # Errors
    /// Those of the file.
    pub fn format(&self, source: Source) -> Result<Option<String>, Error> {
        self.event(source).map(|event| self.read(&format!("{event}/format"))).transpose()
    }

    /// Stops recording; what is in the buffers stays.
    ///
    /// # Errors
    /// Those of the file.
    pub fn stop(&self) -> Result<(), Error> {
        self.write("tracing_on", "0")
    }

    /// How pages begin.
    ///
    /// # Errors
    /// Those of the file, or one that is not understood.
    pub fn header_page(&self) -> Result<HeaderPage, Error> {
        let text = self.read("events/header_page")?;
        HeaderPage::parse(&text)
            .ok_or_else(|| Error::Format(self.directory.join("events/header_page")))
    }

    /// All CPUs that may ever be on line. A reader that goes by those on line
    /// goes blind to the last records of one that was taken off.
    ///
    /// # Errors
    /// Those of the directory.
    pub fn possible_cpus(&self) -> Result<Vec<u32>, Error> {
        let directory = self.directory.join("per_cpu");
        let entries = fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut cpus: Vec<u32> =
            names.filter_map(|n| n.to_str()?.strip_prefix("cpu")?.parse().ok()).collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    /// A CPU's buffer, to be read without waiting, a page a time.
    ///
    /// # Errors
    /// Those of the file.
    pub fn buffer(&self, cpu: u32) -> Result<File, Error> {
        let path = self.directory.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        opened.map_err(Error::io("open", &path))
    }

    /// Records of a CPU that were lost since the instance was made: overwritten
    /// before they were read, or without room.
    ///
    /// # Errors
    /// Those of the file.
    pub fn lost(&self, cpu: u32) -> Result<u64, Error> {
        let stats = self.read(&format!("per_cpu/cpu{cpu}/stats"))?;
        Ok(lost_in(&stats))
    }

    /// Removes the instance with what is left in it.
    ///
    /// # Errors
    /// EBUSY while somebody has a file of it open.
    pub fn remove(&self) -> Result<(), Error> {
        fs::remove_dir(&self.directory).map_err(Error::io("remove", &self.directory))
    }

    fn event(&self, source: Source) -> Option<&'static str> {
        event(&self.directory, source)
    }

    /// Reads a file in large gulps: header_page answers a second read with its
    /// end, whatever the first one left (kernel/trace/trace_events.c,
    /// show_header).
    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.directory.join(name);
        let mut text = Vec::new();
        let mut gulp = vec![0; 1 << 16];
        let read = File::open(&path).and_then(|mut file| loop {
            match file.read(&mut gulp)? {
                0 => return Ok(()),
                n => text.extend_from_slice(gulp.get(..n).unwrap_or_default()),
            }
        });
        read.map_err(Error::io("read", &path))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes a file that must be there already.
    fn write(&self, name: &str, value: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|mut f| f.write_all(value.as_bytes())).map_err(Error::io("write", &path))
    }
}

/// Whether this kernel has `source`'s tracepoint.
///
/// # Errors
/// No tracefs.
pub fn has(source: Source) -> Result<bool, Error> {
    Ok(event(Path::new(root().ok_or(Error::NoTracefs)?), source).is_some())
}

/// Directory of the tracepoint, below tracefs or an instance: the failure event
/// has moved between systems.
fn event(directory: &Path, source: Source) -> Option<&'static str> {
    let places: &[&str] = match source {
        Source::MceRecord => &["events/mce/mce_record"],
        Source::McEvent => &["events/ras/mc_event"],
        Source::MemoryFailure => {
            &["events/ras/memory_failure_event", "events/memory_failure/memory_failure_event"]
        }
        Source::ExtlogMemEvent => &["events/ras/extlog_mem_event"],
        Source::NonStandardEvent => &["events/ras/non_standard_event"],
        Source::ArmEvent => &["events/ras/arm_event"],
        Source::CxlDram => &["events/cxl/cxl_dram"],
        Source::CxlGeneralMedia => &["events/cxl/cxl_general_media"],
        Source::Log | Source::Pstore | Source::CrashDump | Source::BootLog => &[],
    };
    places.iter().copied().find(|place| directory.join(place).is_dir())
}

fn root() -> Option<&'static str> {
    ROOTS.into_iter().find(|root| Path::new(root).join("instances").is_dir())
}

/// Out of `per_cpu/cpuN/stats` (kernel/trace/trace.c, tracing_stats_read).
fn lost_in(stats: &str) -> u64 {
    stats
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| matches!(*name, "overrun" | "commit overrun" | "dropped events"))
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_not_kept_is_lost() {
        let stats = "entries: 7\noverrun: 20\ncommit overrun: 3\nbytes: 9\n\
                     oldest event ts:     0.000000\nnow ts:     2.990872\ndropped events: 4\n\
                     read events: 100\n";
        assert_eq!(lost_in(stats), 27);
        assert_eq!(lost_in(""), 0);
    }
}

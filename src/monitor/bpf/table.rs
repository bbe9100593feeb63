//! Reading and emptying a hash map that nobody counts in.

use libbpf_rs::libbpf_sys;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Memory for one batch, bytes of keys and values.
const BATCH_BYTES: usize = 1 << 20;

/// All keys and values of a map, each laid end to end.
#[derive(Debug, Default)]
pub struct Table {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_size: usize,
    value_size: usize,
}

impl Table {
    /// Reads `map` whole.
    ///
    /// libbpf-rs's iterators end at an error as they do at the end of the map,
    /// which would pass for few counts; hence the system call itself.
    ///
    /// # Errors
    /// Those of BPF_MAP_LOOKUP_BATCH, other than its end.
    pub fn read(map: &MapHandle) -> io::Result<Table> {
        let (key_size, value_size) = (map.key_size() as usize, map.value_size() as usize);
        let mut table = Table { key_size, value_size, ..Table::default() };
        let mut room = (BATCH_BYTES / (key_size + value_size)).min(map.max_entries() as usize);
        // Where the next batch begins: for a hash map, the number of a bucket
        // (kernel/bpf/hashtab.c, __htab_map_lookup_and_delete_batch).
        let mut place: Option<u32> = None;
        let opts = libbpf_sys::bpf_map_batch_opts {
            sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
            ..Default::default()
        };
        loop {
            let (had_keys, had_values) = (table.keys.len(), table.values.len());
            table.keys.resize(had_keys + room * key_size, 0);
            table.values.resize(had_values + room * value_size, 0);
            let (mut count, mut next) = (room as u32, 0u32);
            // SAFETY: both vectors have room for `count` more elements, and
            // `place` and `next` for the four bytes that a hash map uses.
            let ret = unsafe {
                libbpf_sys::bpf_map_lookup_batch(
                    map.as_fd().as_raw_fd(),
                    place.as_mut().map_or(ptr::null_mut(), |p| ptr::from_mut(p).cast()),
                    ptr::from_mut(&mut next).cast(),
                    table.keys.as_mut_ptr().add(had_keys).cast(),
                    table.values.as_mut_ptr().add(had_values).cast(),
                    &mut count,
                    &opts,
                )
            };
            let got = match -ret {
                0 | libc::ENOENT => count as usize,
                // More keys than room in one bucket.
                libc::ENOSPC if room < map.max_entries() as usize => 0,
                errno => return Err(io::Error::from_raw_os_error(errno)),
            };
            table.keys.truncate(had_keys + got * key_size);
            table.values.truncate(had_values + got * value_size);
            match -ret {
                libc::ENOENT => return Ok(table),
                libc::ENOSPC => room = (room * 2).min(map.max_entries() as usize),
                _ => place = Some(next),
            }
        }
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.keys.len().checked_div(self.key_size).unwrap_or(0)
    }

    /// Keys and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let sizes = (self.key_size.max(1), self.value_size.max(1));
        self.keys.chunks_exact(sizes.0).zip(self.values.chunks_exact(sizes.1))
    }

    /// Deletes from `map` what was read from it, and forgets it here.
    ///
    /// # Errors
    /// Those of BPF_MAP_DELETE_BATCH; some keys may be gone by then.
    pub fn delete_from(&mut self, map: &MapHandle) -> libbpf_rs::Result<()> {
        if self.len() > 0 {
            map.delete_batch(&self.keys, self.len() as u32, MapFlags::ANY, MapFlags::ANY)?;
        }
        *self = Table::default();
        Ok(())
    }
}

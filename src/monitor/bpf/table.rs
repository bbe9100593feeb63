//! Reading entries of an array that nobody counts in.

use libbpf_rs::libbpf_sys;
use libbpf_rs::{MapCore, MapHandle};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Some values of an array, laid end to end.
#[derive(Debug, Default)]
pub struct Table {
    values: Vec<u8>,
    size: usize,
}

impl Table {
    /// Reads `count` values of `map`, an array, from the one numbered `first`
    /// on. Costs what is read.
    ///
    /// # Errors
    /// Those of BPF_MAP_LOOKUP_BATCH; EINVAL where there are not so many.
    pub fn read(map: &MapHandle, first: u32, count: u32) -> io::Result<Table> {
        let size = map.value_size() as usize;
        if count == 0 {
            return Ok(Table { values: Vec::new(), size });
        }
        let mut keys = vec![0u32; count as usize];
        let mut values = vec![0u8; count as usize * size];
        // The call begins behind the element that it is given (kernel/bpf/syscall.c, generic_map_lookup_batch).
        let mut before = first.checked_sub(1);
        let (mut got, mut next) = (count, 0u32);
        let opts = libbpf_sys::bpf_map_batch_opts {
            sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
            ..Default::default()
        };
        // SAFETY: the vectors have room for `got` keys and values, whose sizes are those of the map; `before` and
        // `next` for a key.
        let ret = unsafe {
            libbpf_sys::bpf_map_lookup_batch(
                map.as_fd().as_raw_fd(),
                before.as_mut().map_or(ptr::null_mut(), |key| ptr::from_mut(key).cast()),
                ptr::from_mut(&mut next).cast(),
                keys.as_mut_ptr().cast(),
                values.as_mut_ptr().cast(),
                &mut got,
                &opts,
            )
        };
        if ret < 0 {
            return Err(io::Error::from_raw_os_error(-ret));
        }
        if got != count || keys.first() != Some(&first) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Table { values, size })
    }

    /// The values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.values.chunks_exact(self.size.max(1))
    }
}

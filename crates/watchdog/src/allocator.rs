//! In builds with debug assertions the program ends when something is allocated
//! while the watchdog is armed: that could wait for memory, and so for the disk.

#[cfg(debug_assertions)]
mod guarded {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(super) static CLOSED: AtomicBool = AtomicBool::new(false);

    struct Guarded;

    #[global_allocator]
    static ALLOCATOR: Guarded = Guarded;

    fn check() {
        if CLOSED.load(Ordering::Relaxed) {
            let words = b"bulkhead-watchdog: allocates while it is armed\n";
            // SAFETY: the kernel reads the bytes.
            unsafe {
                libc::write(2, words.as_ptr().cast(), words.len());
                libc::abort();
            }
        }
    }

    // SAFETY: what is allocated is System's.
    unsafe impl GlobalAlloc for Guarded {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            check();
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            check();
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(at, layout) }
        }
    }
}

/// From now on nothing may be allocated, or again.
pub fn close(closed: bool) {
    #[cfg(debug_assertions)]
    guarded::CLOSED.store(closed, std::sync::atomic::Ordering::SeqCst);
    let _ = closed;
}

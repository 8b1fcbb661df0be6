//! Measuring what can only be done once in a process, or cannot be undone: in a child, which leaves its numbers in shared memory.

use std::ptr::NonNull;

use beget_sys::Errno;

use super::reaped;

const PAGE: usize = 4096;

/// A page that children write their numbers to.
pub struct Child {
    page: NonNull<f64>,
}

impl Child {
    /// The page is made.
    pub fn new() -> Result<Child, String> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping overlaps nothing.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        let failed = || format!("mmap: {}", std::io::Error::last_os_error());
        if page == libc::MAP_FAILED {
            return Err(failed());
        }
        Ok(Child { page: NonNull::new(page.cast()).ok_or_else(failed)? })
    }

    /// Runs `work` in a forked child and gives the `count` numbers that it wrote.
    pub fn measure(
        &self,
        count: usize,
        work: impl FnOnce(&mut [f64]) -> Result<(), Errno>,
    ) -> Result<Vec<f64>, String> {
        self.measure_in(0, count, work)
    }

    /// The same, in new namespaces of these kinds.
    pub fn measure_in(
        &self,
        kinds: u32,
        count: usize,
        work: impl FnOnce(&mut [f64]) -> Result<(), Errno>,
    ) -> Result<Vec<f64>, String> {
        assert!(count <= PAGE / size_of::<f64>());
        // SAFETY: the page is ours, zeroed, large enough, and used by one child at a time, which we wait for.
        let numbers = unsafe { std::slice::from_raw_parts_mut(self.page.as_ptr(), count) };
        // The child's first write would fault otherwise, in the middle of what it measures.
        numbers.fill(0.0);
        let flags = libc::c_long::from(kinds) | libc::c_long::from(libc::SIGCHLD);
        // SAFETY: without a stack this is a fork; this process has one thread whenever this is called, so its child may do anything.
        match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => {
                let code = match work(numbers) {
                    Ok(()) => 0,
                    Err(errno) => errno.0.clamp(1, 255),
                };
                // SAFETY: ends the child.
                unsafe { libc::_exit(code) }
            }
            child => {
                reaped(child as libc::pid_t)?;
                Ok(numbers.to_vec())
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows it.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

//! Parents that make a birth dear: with memory, with threads, with descriptors.

use std::fs::File;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use crate::machine::{FileLimit, more_files};

/// A name, and what makes a parent of that name.
type Maker = (&'static str, fn() -> Result<Parent, String>);

/// What the parent has while this lives.
pub struct Parent {
    /// Its name in tables.
    pub name: &'static str,
    memory: Option<(*mut libc::c_void, usize)>,
    threads: Vec<JoinHandle<()>>,
    release: Arc<Barrier>,
    files: Vec<File>,
    limit: Option<FileLimit>,
}

impl Parent {
    fn new(name: &'static str) -> Parent {
        let release = Arc::new(Barrier::new(1));
        Parent { name, memory: None, threads: Vec::new(), release, files: Vec::new(), limit: None }
    }

    /// Makes them one after the other; one that cannot be had here says why.
    pub fn all() -> [Maker; 6] {
        [
            ("small parent", || Ok(Parent::new("small parent"))),
            ("256 MiB", || Parent::with_memory("256 MiB", 256 << 20)),
            ("1 GiB", || Parent::with_memory("1 GiB", 1 << 30)),
            ("4 GiB", || Parent::with_memory("4 GiB", 4 << 30)),
            ("64 threads", || Ok(Parent::with_threads("64 threads", 64))),
            ("1000 descriptors", || Parent::with_files("1000 descriptors", 1000)),
        ]
    }

    /// Touched, in small pages, as a heap that grew piece by piece is.
    pub fn with_memory(name: &'static str, bytes: usize) -> Result<Parent, String> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let information = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let free = information
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))
            .and_then(|line| line.trim().split(' ').next()?.parse::<usize>().ok());
        if free.is_some_and(|free| free * 1024 < bytes + (bytes / 2)) {
            return Err("not enough memory is free".to_owned());
        }
        // SAFETY: a new mapping overlaps nothing.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().to_string());
        }
        // SAFETY: the mapping is ours, that long, and nothing else knows of it.
        unsafe {
            libc::madvise(memory, bytes, libc::MADV_NOHUGEPAGE);
            memory.cast::<u8>().write_bytes(7, bytes);
        }
        let mut parent = Parent::new(name);
        parent.memory = Some((memory, bytes));
        Ok(parent)
    }

    fn with_threads(name: &'static str, count: usize) -> Parent {
        let release = Arc::new(Barrier::new(count + 1));
        let sleeper = |_| {
            let release = Arc::clone(&release);
            std::thread::spawn(move || {
                release.wait();
            })
        };
        let mut parent = Parent::new(name);
        parent.threads = (0..count).map(sleeper).collect();
        parent.release = release;
        parent
    }

    /// Close-on-exec, as every careful program's are.
    fn with_files(name: &'static str, count: u64) -> Result<Parent, String> {
        let mut parent = Parent::new(name);
        parent.limit = Some(more_files(count + 200)?);
        for _ in 0..count {
            parent.files.push(File::open("/dev/null").map_err(|error| error.to_string())?);
        }
        Ok(parent)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Some((memory, bytes)) = self.memory {
            // SAFETY: the mapping is ours and nothing refers to it.
            unsafe { libc::munmap(memory, bytes) };
        }
        if !self.threads.is_empty() {
            self.release.wait();
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
        self.files.clear();
        self.limit = None;
    }
}

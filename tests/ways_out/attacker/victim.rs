//! The processes outside that attempts are aimed at: the victim, which notes what is done to it, and idle ones.

use crate::tool::{at, c, own, sys};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

/// The board that the harness reads: 0..128 counts of signals, from 256 copies of the memory slots.
static BOARD: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
const SLOTS: usize = 32;

extern "C" fn count(signal: i32) {
    let b = BOARD.load(Relaxed);
    // SAFETY: the board is mapped for the life of the process and has a word for every signal number.
    unsafe { (*b.add(signal as usize)).fetch_add(1, Relaxed) };
}

fn open(path: &str, flags: i32) -> usize {
    sys!(SYS_openat, libc::AT_FDCWD, c(path).as_ptr(), flags, 0o600).unwrap_or(usize::MAX)
}

fn map(fd: usize, length: usize, shared: bool) -> usize {
    let flags = if shared {
        libc::MAP_SHARED
    } else if fd == usize::MAX {
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    } else {
        libc::MAP_PRIVATE
    };
    let protection =
        if fd == usize::MAX || shared { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
    sys!(SYS_mmap, 0, length, protection, flags, fd, 0).expect("map")
}

/// Holds secrets in memory, in descriptors and in the environment, counts signals, and never ends by itself.
pub fn victim(keys: &HashMap<String, String>) -> ! {
    let secrets = &keys["secret"];
    let canary = std::env::var("WAYS_OUT_CANARY").unwrap_or_default();
    let board = map(open(&keys["board"], libc::O_RDWR | libc::O_CLOEXEC), 8192, true);
    BOARD.store(board as *mut AtomicU64, Relaxed);
    let private = map(usize::MAX, 8192, false);
    // Where a 32-bit call can name it too.
    let low =
        sys!(SYS_mmap, 0, 4096, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT, -1isize, 0)
            .expect("low map");
    // SAFETY: the pages just mapped are ours; the canary is far shorter than a page; handlers only add to the board.
    unsafe {
        std::ptr::copy_nonoverlapping(canary.as_ptr(), private as *mut u8, canary.len());
        std::ptr::copy_nonoverlapping(canary.as_ptr(), low as *mut u8, canary.len());
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = count as *const () as usize;
        a.sa_flags = libc::SA_RESTART;
        for s in (1..=64)
            .filter(|s| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, 32, 33].contains(s))
        {
            libc::sigaction(s, &a, std::ptr::null_mut());
        }
    }
    let _ = std::env::set_current_dir(secrets);
    let file = open(&format!("{secrets}/held"), libc::O_RDONLY);
    let rw = open(&format!("{secrets}/rw"), libc::O_RDWR);
    let memfd = sys!(SYS_memfd_create, c("private").as_ptr(), 0).expect("memfd");
    let _ = sys!(SYS_write, memfd, canary.as_ptr(), canary.len());
    let eventfd = sys!(SYS_eventfd2, 0, libc::O_NONBLOCK).expect("eventfd");
    let locked = own(open(&format!("{secrets}/locked"), libc::O_RDWR));
    // SAFETY: `flock` is a plain structure.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    let _ = sys!(SYS_fcntl, locked.as_raw_fd(), libc::F_SETLK, at(&lock));
    let _ = locked.into_raw_fd();
    let mapped = map(file, 4096, false);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = send.send(sys!(SYS_gettid).unwrap_or(0));
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    });
    let tid = receive.recv().unwrap_or(0);
    println!(
        "tid={tid} low={low} marker={private} slots={} victim_file={file} victim_rw={rw} victim_memfd={memfd} victim_eventfd={eventfd} victim_mapping={mapped:x}-{:x}",
        private + 4096,
        mapped + 4096
    );
    let _ = std::io::stdout().flush();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(4));
        // SAFETY: both ranges are mapped for the life of the process: one page of slots, and the board's second page.
        unsafe {
            std::ptr::copy_nonoverlapping(
                (private + 4096) as *const u8,
                (board + 4096) as *mut u8,
                SLOTS * 64,
            )
        };
        let mut n = 0u64;
        if sys!(SYS_read, eventfd, std::ptr::from_mut(&mut n) as usize, 8).is_ok() {
            // SAFETY: the word is inside the first page of the board, past the signals.
            unsafe { (*BOARD.load(Relaxed).add(200)).fetch_add(n, Relaxed) };
        }
    }
}

/// Waits for ever.
pub fn idle() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

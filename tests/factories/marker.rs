//! `marker`: tries to leave a mark on a descriptor that it was given, in every way that we know of, and says which calls were not refused.
//!
//! ```text
//! marker N      one line `NAME ok` or `NAME ERRNO` for each attempt on descriptor N, then `done`; it stays until standard input ends
//! ```

use std::io::{Read, Write};

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: every pointer is to memory of ours that outlives the call, or refused by the kernel.
        unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}

fn main() {
    let number = std::env::args().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    let mut said = String::new();
    for (name, attempt) in ATTEMPTS {
        let answer = attempt(number);
        let result = if answer < 0 { errno().to_string() } else { "ok".to_owned() };
        said.push_str(&format!("{name} {result}\n"));
    }
    said.push_str("done\n");
    std::io::stdout().write_all(said.as_bytes()).expect("it is read");
    let _ = std::io::stdin().read(&mut [0]);
}

type Attempt = fn(i32) -> i64;

const EMPTY: &std::ffi::CStr = c"";
const AT_EMPTY_PATH: i32 = 0x1000;

fn group() -> i64 {
    call!(SYS_getegid)
}

fn magic(number: i32) -> std::ffi::CString {
    std::ffi::CString::new(format!("/proc/self/fd/{number}")).expect("no NUL byte")
}

fn lock(number: i32, command: i32, kind: i32) -> i64 {
    // SAFETY: a plain structure.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    call!(SYS_fcntl, number, command, &raw const lock)
}

/// A shared mapping that is writable, at once or later; written to if it can be had.
fn map(number: i32, first: i32) -> i64 {
    let size = 4096usize;
    let at = call!(SYS_mmap, 0usize, size, first, libc::MAP_SHARED, number, 0);
    if at < 0 {
        return at;
    }
    let answer = call!(SYS_mprotect, at, size, libc::PROT_READ | libc::PROT_WRITE);
    if answer == 0 {
        // SAFETY: it was mapped for writing just now, and the file is not empty.
        unsafe { (at as *mut u8).write_volatile(b'X') };
    }
    answer
}

const TIMES: [libc::timespec; 2] =
    [libc::timespec { tv_sec: 1234, tv_nsec: 0 }, libc::timespec { tv_sec: 5678, tv_nsec: 0 }];
const OLD_TIMES: [libc::timeval; 2] =
    [libc::timeval { tv_sec: 1234, tv_usec: 0 }, libc::timeval { tv_sec: 5678, tv_usec: 0 }];

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("write", |n| call!(SYS_write, n, c"X".as_ptr(), 1)),
    ("pwrite", |n| call!(SYS_pwrite64, n, c"X".as_ptr(), 1, 0)),
    ("ftruncate", |n| call!(SYS_ftruncate, n, 1)),
    ("fallocate", |n| call!(SYS_fallocate, n, 0, 0, 1 << 16)),
    ("fallocate-punch", |n| call!(SYS_fallocate, n, 3, 0, 4096)),
    ("map-writable", |n| map(n, libc::PROT_READ | libc::PROT_WRITE)),
    ("map-then-protect", |n| map(n, libc::PROT_READ)),
    ("reopen-write", |n| call!(SYS_open, magic(n).as_ptr(), libc::O_WRONLY)),
    ("reopen-both", |n| call!(SYS_open, magic(n).as_ptr(), libc::O_RDWR)),
    ("reopen-append", |n| {
        call!(SYS_openat, libc::AT_FDCWD, magic(n).as_ptr(), libc::O_WRONLY | libc::O_APPEND)
    }),
    ("reopen-truncate", |n| call!(SYS_open, magic(n).as_ptr(), libc::O_RDONLY | libc::O_TRUNC)),
    ("truncate", |n| call!(SYS_truncate, magic(n).as_ptr(), 1)),
    ("fchmod", |n| call!(SYS_fchmod, n, 0o640)),
    ("chmod-magic", |n| call!(SYS_chmod, magic(n).as_ptr(), 0o640)),
    ("fchmodat-magic", |n| call!(SYS_fchmodat, libc::AT_FDCWD, magic(n).as_ptr(), 0o640)),
    ("fchmodat2-empty", |n| call!(SYS_fchmodat2, n, EMPTY.as_ptr(), 0o640, AT_EMPTY_PATH)),
    // The very owner that it has: allowed to the owner, and seen in the time of change.
    ("fchown", |n| call!(SYS_fchown, n, -1, group())),
    ("chown-magic", |n| call!(SYS_chown, magic(n).as_ptr(), -1, group())),
    ("lchown-magic", |n| call!(SYS_lchown, magic(n).as_ptr(), -1, group())),
    ("fchownat-empty", |n| call!(SYS_fchownat, n, EMPTY.as_ptr(), -1, group(), AT_EMPTY_PATH)),
    ("futimens", |n| call!(SYS_utimensat, n, 0usize, TIMES.as_ptr(), 0)),
    ("utimensat-empty", |n| call!(SYS_utimensat, n, EMPTY.as_ptr(), TIMES.as_ptr(), AT_EMPTY_PATH)),
    ("utimensat-magic", |n| call!(SYS_utimensat, libc::AT_FDCWD, magic(n).as_ptr(), TIMES.as_ptr(), 0)),
    ("futimesat", |n| call!(SYS_futimesat, n, 0usize, OLD_TIMES.as_ptr())),
    ("utimes-magic", |n| call!(SYS_utimes, magic(n).as_ptr(), OLD_TIMES.as_ptr())),
    ("utime-magic", |n| call!(SYS_utime, magic(n).as_ptr(), 0usize)),
    ("fsetxattr", |n| call!(SYS_fsetxattr, n, c"user.mark".as_ptr(), c"X".as_ptr(), 1, 0)),
    ("flags", |n| call!(SYS_ioctl, n, 0x4008_6602u64, &raw const NO_DUMP)),
    ("flock-exclusive", |n| call!(SYS_flock, n, libc::LOCK_EX | libc::LOCK_NB)),
    ("flock-shared", |n| call!(SYS_flock, n, libc::LOCK_SH | libc::LOCK_NB)),
    ("lock-read", |n| lock(n, libc::F_SETLK, libc::F_RDLCK)),
    ("lock-read-wait", |n| lock(n, libc::F_SETLKW, libc::F_RDLCK)),
    ("lock-write", |n| lock(n, libc::F_SETLK, libc::F_WRLCK)),
    ("lock-of-description", |n| lock(n, libc::F_OFD_SETLK, libc::F_RDLCK)),
    ("lease-read", |n| call!(SYS_fcntl, n, libc::F_SETLEASE, libc::F_RDLCK)),
    ("lease-write", |n| call!(SYS_fcntl, n, libc::F_SETLEASE, libc::F_WRLCK)),
    // One that stayed would keep whoever looks from outside waiting, and end us by its signal.
    ("lease-end", |n| call!(SYS_fcntl, n, libc::F_SETLEASE, libc::F_UNLCK)),
    ("notify", |n| call!(SYS_fcntl, n, libc::F_NOTIFY, 1)),
    ("hint", |n| call!(SYS_fcntl, n, 1036, &raw const HINT)),
    ("seal", |n| call!(SYS_fcntl, n, libc::F_ADD_SEALS, libc::F_SEAL_SEAL)),
    ("link-empty", |n| {
        call!(SYS_linkat, n, EMPTY.as_ptr(), libc::AT_FDCWD, c"/tmp/linked".as_ptr(), AT_EMPTY_PATH)
    }),
    ("open-in-for-write", |n| call!(SYS_openat, n, c"made".as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600)),
    ("make-in", |n| call!(SYS_mkdirat, n, c"folder".as_ptr(), 0o700)),
    ("fifo-in", |n| call!(SYS_mknodat, n, c"pipe".as_ptr(), libc::S_IFIFO | 0o600, 0)),
    ("remove-in", |n| call!(SYS_unlinkat, n, c"inner".as_ptr(), 0)),
];

static NO_DUMP: libc::c_int = 0x40;
static HINT: u64 = 2;

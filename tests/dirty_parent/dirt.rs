//! Makes this process as dirty as a process of its user can be: everything that a plain fork and exec would hand on.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use beget_tests::Scratch;

pub const SECRET: &str = "the-secret-that-no-child-may-hold";
const HANDLED: [i32; 3] = [libc::SIGUSR2, libc::SIGWINCH, libc::SIGURG];
const IGNORED: [i32; 6] = [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGTTOU, libc::SIGQUIT, 40];

/// Soft limits that no default has, each below any hard limit that is not lower still.
const SOFT: [(u32, u64); 13] = [
    (libc::RLIMIT_CPU, 3601),
    (libc::RLIMIT_FSIZE, (1 << 30) + 512),
    (libc::RLIMIT_DATA, (8 << 30) + 4096),
    (libc::RLIMIT_STACK, (3 << 20) + 4096),
    (libc::RLIMIT_CORE, 4096),
    (libc::RLIMIT_RSS, 1 << 33),
    (libc::RLIMIT_NPROC, 50_021),
    (libc::RLIMIT_NOFILE, 333),
    (libc::RLIMIT_MEMLOCK, 12_288),
    (libc::RLIMIT_LOCKS, 55),
    (libc::RLIMIT_SIGPENDING, 77),
    (libc::RLIMIT_MSGQUEUE, 1000),
    (libc::RLIMIT_RTTIME, 5_000_000),
];

extern "C" fn handler(_: i32) {}

fn done(answer: i32, what: &str) {
    assert_ne!(answer, -1, "{what}: {}", std::io::Error::last_os_error());
}

/// A descriptor that an exec keeps, for ever.
fn leak(file: impl Into<OwnedFd>) -> i32 {
    let number = file.into().into_raw_fd();
    // SAFETY: numbers only.
    done(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, "F_SETFD");
    number
}

/// A hundred descriptors, one of them beyond the soft limit that is set later.
fn descriptors(scratch: &Scratch) {
    let secret = scratch.file("secret", SECRET);
    let file = OpenOptions::new().read(true).write(true).open(&secret).expect("our own file");
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (reading, writing) = std::io::pipe().expect("a pipe");
    leak(one);
    leak(other);
    leak(reading);
    leak(writing);
    leak(std::net::TcpListener::bind("127.0.0.1:0").expect("a listener"));
    leak(File::open("/").expect("the root can be opened"));
    // SAFETY: numbers and a constant name only.
    let more = unsafe {
        [
            libc::memfd_create(c"dirt".as_ptr(), 0),
            libc::eventfd(3, 0),
            libc::epoll_create1(0),
            libc::timerfd_create(0, 0),
        ]
    };
    assert!(more.iter().all(|number| *number >= 0));
    for _ in 0..89 {
        leak(file.try_clone().expect("there are numbers left"));
    }
    let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one structure is written, and read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut bounds);
        bounds.rlim_cur = bounds.rlim_max;
        done(libc::setrlimit(libc::RLIMIT_NOFILE, &bounds), "open files");
    }
    let high = bounds.rlim_max.min(7001) as i32 - 1;
    // SAFETY: a number that nothing has.
    done(unsafe { libc::dup2(file.as_raw_fd(), high) }, "a high descriptor");
    leak(file);
}

fn signals() {
    // SAFETY: a handler that does nothing, dispositions, and a mask, all of this process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        for number in HANDLED {
            done(libc::sigaction(number, &action, std::ptr::null_mut()), "sigaction");
        }
        action.sa_sigaction = libc::SIG_IGN;
        for number in IGNORED {
            done(libc::sigaction(number, &action, std::ptr::null_mut()), "sigaction");
        }
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        // Stays pending, here and in no child.
        libc::raise(libc::SIGUSR1);
    }
}

fn limits() {
    // What only a privileged process can raise; where this one cannot, there is that much less dirt.
    for (resource, soft, hard) in [(libc::RLIMIT_NICE, 10, 20), (libc::RLIMIT_RTPRIO, 5, 50)] {
        // SAFETY: one structure is read.
        unsafe { libc::setrlimit(resource, &libc::rlimit { rlim_cur: soft, rlim_max: hard }) };
    }
    for (resource, soft) in SOFT {
        let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: one structure is written, and read.
        unsafe {
            libc::getrlimit(resource, &mut bounds);
            bounds.rlim_cur = soft.min(bounds.rlim_max);
            done(libc::setrlimit(resource, &bounds), "a soft limit");
        }
    }
}

/// Lowers hard limits below what a child would have otherwise.
pub fn lower_hard_limits() {
    for (resource, hard) in
        [(libc::RLIMIT_NOFILE, 500), (libc::RLIMIT_STACK, 4 << 20), (libc::RLIMIT_CORE, 8192)]
    {
        let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: one structure is written, and read.
        unsafe {
            libc::getrlimit(resource, &mut bounds);
            bounds.rlim_max = hard.min(bounds.rlim_max);
            bounds.rlim_cur = bounds.rlim_cur.min(bounds.rlim_max);
            done(libc::setrlimit(resource, &bounds), "a hard limit");
        }
    }
}

/// Has every capability handed on by an exec, also to a program that has none by itself.
fn capabilities() {
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: the kernel reads a header, may write its version, and reads and writes six words.
    unsafe {
        done(libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) as i32, "capget");
        [data[2], data[5]] = [data[1], data[4]];
        done(libc::syscall(libc::SYS_capset, &raw mut header, &raw const data) as i32, "capset");
        for number in 0..64usize {
            let raise = libc::PR_CAP_AMBIENT_RAISE as usize;
            // A number that this process does not hold is refused.
            libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0usize, 0usize);
        }
    }
}

/// A session with a terminal of its own; gives the terminal, whose other end is held for ever.
fn terminal() -> i32 {
    // SAFETY: numbers, and a name that the call before wrote.
    unsafe {
        done(libc::setsid(), "setsid");
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        done(master, "a terminal");
        done(libc::grantpt(master), "grantpt");
        done(libc::unlockpt(master), "unlockpt");
        let mut name = [0; 64];
        libc::ptsname_r(master, name.as_mut_ptr(), name.len());
        let slave = libc::open(name.as_ptr(), libc::O_RDWR);
        done(slave, "the terminal's end");
        done(libc::ioctl(slave, libc::TIOCSCTTY, 0), "TIOCSCTTY");
        slave
    }
}

/// Dirties this process, which must be one that a test has for itself; gives the number of its controlling terminal.
pub fn dirty(umask: u32) -> i32 {
    let scratch = Scratch::new();
    let terminal = terminal();
    descriptors(&scratch);
    // SAFETY: this process has no other thread that reads its environment now.
    unsafe {
        std::env::set_var("SECRET", SECRET);
        std::env::set_var("LD_PRELOAD", "/nonexistent/preload.so");
        std::env::set_var("LISTEN_FDS", "9");
    }
    // SAFETY: numbers and structures on this stack, all about this process.
    unsafe {
        libc::umask(umask);
        done(libc::nice(3), "nice");
        done(libc::prctl(libc::PR_SET_TIMERSLACK, 123_456usize), "timer slack");
        done(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1usize), "subreaper");
        let long = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 7000, tv_usec: 0 },
            it_value: libc::timeval { tv_sec: 7000, tv_usec: 0 },
        };
        for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
            done(libc::setitimer(timer, &long, std::ptr::null_mut()), "a timer");
        }
        const ADDR_NO_RANDOMIZE: libc::c_ulong = 0x0004_0000;
        done(libc::personality(ADDR_NO_RANDOMIZE), "personality");
        if beget_tests::is_root() {
            done(libc::setgroups(3, [7u32, 4242, 60_000].as_ptr()), "groups");
        }
    }
    capabilities();
    keyring();
    limits();
    signals();
    // The scratch folder goes, and the working directory with it.
    std::env::set_current_dir(scratch.path()).expect("our own folder");
    drop(scratch);
    assert!(std::env::current_dir().is_err(), "the working directory is gone");
    terminal
}

/// A session keyring of our own with a secret in it, where there are keyrings and quota is left.
fn keyring() {
    const JOIN: i32 = 1;
    const SESSION: i32 = -3;
    let (name, key) = (c"beget-test-dirt", CString::new(SECRET).expect("no NUL"));
    // SAFETY: strings that outlive the calls.
    unsafe {
        if libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) != -1 {
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                name.as_ptr(),
                key.as_ptr(),
                SECRET.len(),
                SESSION,
            );
        }
    }
}

//! What this process holds, as `key<TAB>value` lines. Bytes that are not plain text are escaped, so a line is always one line.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;

use libc::{c_long, c_ulong, syscall};

use crate::errno;

/// More than any limit on open files that a test sets.
const DESCRIPTORS: i32 = 8192;

const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

struct Report(String);

impl Report {
    fn line(&mut self, key: impl std::fmt::Display, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key}\t{value}");
    }

    /// A call's answer, or the name of its errno.
    fn answer(&mut self, key: &str, answer: c_long) {
        match answer {
            -1 => self.line(key, errno::last()),
            answer => self.line(key, answer),
        }
    }
}

pub(crate) fn write(arguments: &[&OsStr], environment: &[&OsStr]) -> i32 {
    let to = arguments.iter().chain(environment).find_map(|word| word.to_str()?.strip_prefix("report="));
    let to: i32 = to.and_then(|number| number.parse().ok()).unwrap_or(1);
    let mut report = Report(String::new());
    descriptors(&mut report);
    words(&mut report, arguments, environment);
    files(&mut report);
    signals(&mut report);
    limits(&mut report);
    identity(&mut report);
    attributes(&mut report);
    times(&mut report);
    terminal(&mut report);
    // SAFETY: never closed by us; if it is not open, writing is an error and nothing worse.
    let mut file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(to) });
    i32::from(file.write_all(report.0.as_bytes()).is_err())
}

fn kind(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFCHR => "character",
        libc::S_IFBLK => "block",
        libc::S_IFIFO => "pipe",
        libc::S_IFSOCK => "socket",
        libc::S_IFLNK => "link",
        _ => "anonymous",
    }
}

/// `fd.N`: kind, whether an exec closes it, its access mode and other flags, device and inode.
fn descriptors(report: &mut Report) {
    for number in 0..DESCRIPTORS {
        // SAFETY: numbers only; a number that is not open is an error.
        let (flags, mode) =
            unsafe { (libc::fcntl(number, libc::F_GETFD), libc::fcntl(number, libc::F_GETFL)) };
        if flags == -1 {
            continue;
        }
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the kernel writes one `stat`, which zeroes are a value of too.
        let status = unsafe {
            libc::fstat(number, status.as_mut_ptr());
            status.assume_init()
        };
        let closing = if flags & libc::FD_CLOEXEC == 0 { "kept" } else { "closing" };
        let value =
            format!("{} {closing} {mode:o} {}:{}", kind(status.st_mode), status.st_dev, status.st_ino);
        report.line(format_args!("fd.{number}"), value);
    }
}

fn words(report: &mut Report, arguments: &[&OsStr], environment: &[&OsStr]) {
    for (name, words) in [("arg", arguments), ("env", environment)] {
        for (index, word) in words.iter().enumerate() {
            report.line(format_args!("{name}.{index}"), word.as_bytes().escape_ascii());
        }
    }
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes at most sixteen bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    report.line("comm", name.split(|byte| *byte == 0).next().unwrap_or_default().escape_ascii());
    // SAFETY: reads our own auxiliary vector.
    let (secure, path) = unsafe { (libc::getauxval(libc::AT_SECURE), libc::getauxval(libc::AT_EXECFN)) };
    report.line("secure", secure);
    if path != 0 {
        // SAFETY: the kernel put a string there, on the first stack.
        let path = unsafe { std::ffi::CStr::from_ptr(path as *const _) };
        report.line("execfn", path.to_bytes().escape_ascii());
    }
}

fn files(report: &mut Report) {
    let mut path = [0u8; 4096];
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    match unsafe { syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) } {
        -1 => report.line("cwd", errno::last()),
        length => report.line("cwd", path[..length as usize - 1].escape_ascii()),
    }
    // SAFETY: numbers only, and the mask is put back.
    let mask = unsafe {
        let mask = libc::umask(0);
        libc::umask(mask);
        mask
    };
    report.line("umask", format_args!("{mask:03o}"));
}

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Default)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

fn signals(report: &mut Report) {
    let (mut mask, mut pending) = (0u64, 0u64);
    // SAFETY: the kernel writes eight bytes at each.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0usize, &raw mut mask, 8usize);
        syscall(libc::SYS_rt_sigpending, &raw mut pending, 8usize);
    }
    let (mut ignored, mut handled) = (0u64, 0u64);
    for number in 1..=64 {
        let mut action = Action::default();
        // SAFETY: the kernel writes one action. The C library's own call would hide signals 32 and 33.
        unsafe { syscall(libc::SYS_rt_sigaction, number, 0usize, &raw mut action, 8usize) };
        match action.handler {
            libc::SIG_DFL => {}
            libc::SIG_IGN => ignored |= 1 << (number - 1),
            _ => handled |= 1 << (number - 1),
        }
    }
    for (key, set) in [
        ("signals.blocked", mask),
        ("signals.pending", pending),
        ("signals.ignored", ignored),
        ("signals.handled", handled),
    ] {
        report.line(key, format_args!("{set:016x}"));
    }
}

fn limits(report: &mut Report) {
    let text = |value: u64| if value == u64::MAX { "none".to_owned() } else { value.to_string() };
    for (number, name) in RESOURCES.iter().enumerate() {
        let mut bounds = [0u64; 2];
        // SAFETY: the kernel writes sixteen bytes.
        unsafe { syscall(libc::SYS_prlimit64, 0, number, 0usize, &raw mut bounds) };
        report.line(format_args!("limit.{name}"), format_args!("{} {}", text(bounds[0]), text(bounds[1])));
    }
}

fn identity(report: &mut Report) {
    let (mut users, mut groups) = ([0u32; 3], [0u32; 3]);
    let mut more = [0u32; 4096];
    // SAFETY: the kernel writes three numbers, three numbers, and at most as many as it is told there is room for.
    let count = unsafe {
        syscall(libc::SYS_getresuid, &raw mut users[0], &raw mut users[1], &raw mut users[2]);
        syscall(libc::SYS_getresgid, &raw mut groups[0], &raw mut groups[1], &raw mut groups[2]);
        syscall(libc::SYS_getgroups, more.len(), more.as_mut_ptr())
    };
    let more = more.get_mut(..count as usize).unwrap_or_default();
    more.sort_unstable();
    for (key, numbers) in [("users", &users[..]), ("groups", &groups[..]), ("groups.more", more)] {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        report.line(key, numbers.join(" "));
    }

    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: the kernel reads the header, may write its version, and writes six words.
    unsafe { syscall(libc::SYS_capget, &raw mut header, &raw mut data) };
    for (index, name) in ["effective", "permitted", "inheritable"].iter().enumerate() {
        let bits = u64::from(data[index]) | u64::from(data[index + 3]) << 32;
        report.line(format_args!("capabilities.{name}"), format_args!("{bits:016x}"));
    }
    let ambient = (0..64u32).filter(|number| {
        // SAFETY: numbers only.
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_IS_SET as c_ulong,
                *number as c_ulong,
                0,
                0,
            ) == 1
        }
    });
    let ambient = ambient.fold(0u64, |bits, number| bits | 1 << number);
    report.line("capabilities.ambient", format_args!("{ambient:016x}"));

    // SAFETY: numbers only.
    let numbers = unsafe {
        [
            ("pid", libc::getpid()),
            ("ppid", libc::getppid()),
            ("pgid", libc::getpgid(0)),
            ("sid", libc::getsid(0)),
        ]
    };
    for (key, number) in numbers {
        report.line(key, number);
    }
    // SAFETY: numbers only.
    let keyring = unsafe {
        syscall(libc::SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* session */, 0)
    };
    report.answer("keyring", keyring);
}

fn attributes(report: &mut Report) {
    const PR_GET_MDWE: i32 = 66;
    let zero: c_ulong = 0;
    for (key, option) in [
        ("no_new_privs", libc::PR_GET_NO_NEW_PRIVS),
        ("seccomp", libc::PR_GET_SECCOMP),
        ("securebits", libc::PR_GET_SECUREBITS),
        ("dumpable", libc::PR_GET_DUMPABLE),
        ("keepcaps", libc::PR_GET_KEEPCAPS),
        ("timerslack", libc::PR_GET_TIMERSLACK),
        ("thp_disabled", libc::PR_GET_THP_DISABLE),
        ("mdwe", PR_GET_MDWE),
    ] {
        // SAFETY: options that take no argument and give a number.
        let answer = unsafe { syscall(libc::SYS_prctl, option, zero, zero, zero, zero) };
        report.answer(key, answer);
    }
    for (key, option) in [("pdeathsig", libc::PR_GET_PDEATHSIG), ("subreaper", libc::PR_GET_CHILD_SUBREAPER)]
    {
        let mut value = 0i32;
        // SAFETY: the kernel writes one int.
        unsafe { syscall(libc::SYS_prctl, option, &raw mut value, zero, zero, zero) };
        report.line(key, value);
    }
    // SAFETY: numbers only; all ones asks and sets nothing.
    let personality = unsafe { syscall(libc::SYS_personality, 0xffff_ffffu32) };
    report.line("personality", format_args!("{personality:x}"));
    let mut processors = [0u8; 1024];
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    let length =
        unsafe { syscall(libc::SYS_sched_getaffinity, 0, processors.len(), processors.as_mut_ptr()) };
    let processors = processors.get(..length as usize).unwrap_or_default();
    report.line("processors", processors.iter().map(|byte| byte.count_ones()).sum::<u32>());
    // SAFETY: numbers only. The raw call gives 20 less the niceness.
    let (priority, policy) = unsafe {
        (syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0), syscall(libc::SYS_sched_getscheduler, 0))
    };
    report.line("nice", 20 - priority);
    report.line("policy", policy);
}

fn times(report: &mut Report) {
    for (number, name) in ["real", "virtual", "profiling"].iter().enumerate() {
        let mut timer = [0i64; 4];
        // SAFETY: the kernel writes two pairs of seconds and microseconds.
        unsafe { syscall(libc::SYS_getitimer, number, &raw mut timer) };
        let value = if timer == [0; 4] { "off" } else { "on" };
        report.line(format_args!("timer.{name}"), value);
    }
}

/// What opening `/dev/tty` says, and which of the open descriptors is the controlling terminal.
fn terminal(report: &mut Report) {
    // SAFETY: a constant path; what is opened is closed again.
    let opened = unsafe {
        let fd = libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        let opened = if fd < 0 { errno::last() } else { "ok".to_owned() };
        if fd >= 0 {
            libc::close(fd);
        }
        opened
    };
    report.line("terminal", opened);
    // SAFETY: numbers only.
    let session = unsafe { libc::getsid(0) };
    let controls = |number: &i32| {
        let mut owner = 0i32;
        // SAFETY: the kernel writes one int.
        unsafe { libc::ioctl(*number, libc::TIOCGSID, &raw mut owner) == 0 && owner == session }
    };
    let held: Vec<String> = (0..DESCRIPTORS).filter(controls).map(|number| number.to_string()).collect();
    report.line("terminal.held", held.join(" "));
}

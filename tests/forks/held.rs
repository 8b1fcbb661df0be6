//! What a copy holds, asked in the copy itself.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use beget::{Fork, Grant, Limit, SignalSet};
use beget_tests::{Need, Scratch, is_root, skip};

use crate::{end, rest};

/// Whose file a number is: device and inode; none when it is closed.
fn identity(number: i32) -> Option<(u64, u64)> {
    // SAFETY: the kernel writes a structure on this stack.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        (libc::fstat(number, &raw mut status) == 0).then_some((status.st_dev, status.st_ino))
    }
}

/// Whether a number is open, and only means a file.
fn is_nothing(number: i32) -> bool {
    let mut byte = [0u8; 1];
    // SAFETY: a live buffer of one byte; the kernel looks at the number.
    let (flags, read, written) = unsafe {
        (
            libc::fcntl(number, libc::F_GETFL),
            libc::read(number, byte.as_mut_ptr().cast(), 1),
            libc::write(number, byte.as_ptr().cast(), 1),
        )
    };
    // SAFETY: asks what the last call answered.
    let refused = unsafe { *libc::__errno_location() } == libc::EBADF;
    flags & libc::O_PATH != 0 && flags != -1 && (read, written) == (-1, -1) && refused
}

/// Moves a descriptor far up.
fn at(file: &impl AsRawFd, number: i32) -> OwnedFd {
    // SAFETY: the number is nobody's yet, and this is its one owner.
    unsafe {
        assert_eq!(libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number), number);
        OwnedFd::from_raw_fd(number)
    }
}

pub(crate) fn what_is_not_kept_is_nothing() {
    let scratch = Scratch::new();
    let (reader, a) = pipe().expect("a pipe");
    let b = File::open(scratch.file("b", "secret")).expect("our own");
    let b = [at(&b, 50), at(&b, 700), b.into()];
    let last = at(&a, 800);
    // SAFETY: sets a flag of our own descriptor: an exec would leave it open.
    unsafe { libc::fcntl(700, libc::F_SETFD, 0) };
    let open: Vec<i32> = (0..1024).filter(|number| identity(*number).is_some()).collect();
    let kept = [(a.as_raw_fd(), identity(a.as_raw_fd())), (800, identity(800))];
    let process = Fork::new().keep(&a).keep(&last).spawn(|| {
        let mut wrong = Vec::new();
        for number in 0..4096 {
            let right = match kept.iter().find(|(one, _)| *one == number) {
                Some((_, identity)) => self::identity(number) == *identity && !is_path(number),
                None if open.contains(&number) => is_nothing(number),
                // What was opened for the copy is nothing too, or closed.
                None => identity(number).is_none() || number < 800 && is_nothing(number),
            };
            if !right {
                wrong.push(number);
            }
        }
        (&a).write_all(format!("{wrong:?}").as_bytes()).is_err().into()
    });
    assert!(end(process.expect("a copy")).success());
    assert!(open.len() >= 8 && open.contains(&50) && open.contains(&700), "{open:?}");
    drop((a, last));
    assert_eq!(rest(reader), "[]", "of {open:?}");
    drop(b);
}

fn is_path(number: i32) -> bool {
    // SAFETY: asks for flags.
    unsafe { libc::fcntl(number, libc::F_GETFL) & libc::O_PATH != 0 }
}

pub(crate) fn everything_else_is_as_for_a_child() {
    extern "C" fn handler(_: i32) {}
    // SAFETY: dispositions, a mask, a file mode mask and a directory of this process, which is the test's own.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as *const () as usize);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut mask, libc::SIGUSR2);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        libc::umask(0);
    }
    std::env::set_current_dir("/usr").expect("every machine has it");
    let (reader, writer) = pipe().expect("a pipe");
    let mut fork = Fork::new();
    fork.keep(&writer)
        .limit(Limit::OpenFiles(77))
        .signal_mask(SignalSet(1 << 14))
        .grant(Grant::Read("/proc".into()));
    let process = fork.spawn(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .unwrap_or_default()
        };
        let names = [
            "SigBlk:",
            "SigIgn:",
            "SigCgt:",
            "NoNewPrivs:",
            "Seccomp:",
            "CapPrm:",
            "CapEff:",
            "CapAmb:",
            "Threads:",
        ];
        let mut told: Vec<String> = names.map(line).to_vec();
        if is_root() {
            told.push(format!("groups {}", line("Groups:")));
        }
        // SAFETY: numbers only; a structure on this stack.
        let (session, mask, files) = unsafe {
            let mut files: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files);
            (libc::getsid(0) == libc::getpid(), libc::umask(0), files.rlim_cur)
        };
        let here = std::env::current_dir().map(|path| path.display().to_string());
        told.push(format!("{session} {mask:o} {files} {}", here.unwrap_or_default()));
        (&writer).write_all(told.join("\n").as_bytes()).is_err().into()
    });
    assert!(end(process.expect("a copy")).success());
    drop(writer);
    let none = "0000000000000000";
    let mut expected = vec!["0000000000004000", none, none, "1", "2", none, none, none, "1"];
    if is_root() {
        expected.push("groups ");
    }
    expected.push("true 22 77 /");
    assert_eq!(rest(reader).lines().collect::<Vec<_>>(), expected);
}

pub(crate) fn no_way_leads_to_what_was_not_granted() {
    let scratch = Scratch::new();
    let granted = Scratch::new();
    granted.file("a", "granted");
    let path = scratch.file("b", "secret");
    let mut b = File::open(&path).expect("our own");
    let (reader, writer) = pipe().expect("a pipe");
    let parent = std::process::id();
    let number = b.as_raw_fd();
    let mut fork = Fork::new();
    fork.keep(&writer).grant(Grant::Read(granted.path().into())).grant(Grant::Read("/proc".into()));
    let process = fork.spawn(|| {
        let mut open = Vec::new();
        let mut text = String::new();
        if b.read_to_string(&mut text).is_ok() {
            open.push("descriptor".to_owned());
        }
        let names = [
            path.clone(),
            format!("/proc/self/fd/{number}"),
            format!("/proc/{parent}/fd/{number}"),
            format!("/proc/{parent}/mem"),
            format!("/proc/{parent}/environ"),
            format!("/proc/{parent}/root{path}"),
            "/etc/passwd".to_owned(),
        ];
        // The number means `/dev/null`, to which there is no right either.
        open.extend(names.into_iter().filter(|name| File::open(name).is_ok()));
        // SAFETY: numbers only.
        unsafe {
            if libc::kill(parent as i32, 0) == 0 {
                open.push("signal".to_owned());
            }
            let pidfd = libc::syscall(libc::SYS_pidfd_open, parent, 0);
            if pidfd >= 0 && libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) >= 0 {
                open.push("pidfd_getfd".to_owned());
            }
            if libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) >= 0 {
                open.push("socket".to_owned());
            }
            if libc::fork() >= 0 {
                open.push("fork".to_owned());
            }
        }
        let a = std::fs::read_to_string(granted.path().join("a")).unwrap_or_default();
        (&writer).write_all(format!("{a}; {}", open.join(", ")).as_bytes()).is_err().into()
    });
    assert!(end(process.expect("a copy")).success());
    drop(writer);
    assert_eq!(rest(reader), "granted; ");
    // It was there to be had.
    let mut text = String::new();
    b.read_to_string(&mut text).expect("our own");
    assert_eq!(text, "secret");
}

/// What the copy opens gets other numbers than those that the caller's values own, whatever becomes of these.
pub(crate) fn no_number_comes_to_mean_something_else() {
    let scratch = Scratch::new();
    let mut b = File::open(scratch.file("b", "secret")).expect("our own");
    let (reader, writer) = pipe().expect("a pipe");
    let a = scratch.file("a", "granted");
    let process = Fork::new().keep(&writer).grant(Grant::Read(a.clone().into())).spawn(|| {
        let opened: Vec<File> = (0..100).map_while(|_| File::open(&a).ok()).collect();
        let read = b.read(&mut [0; 16]).map_err(|error| error.raw_os_error());
        let number = b.as_raw_fd();
        drop(b);
        // It was closed there, once, by its owner; now it is free.
        let next = File::open(&a).map(|file| file.as_raw_fd()).unwrap_or(-1);
        let all = opened.len() == 100 && read == Err(Some(libc::EBADF)) && next == number;
        (&writer).write_all(all.to_string().as_bytes()).is_err().into()
    });
    assert!(end(process.expect("a copy")).success());
    drop(writer);
    assert_eq!(rest(reader), "true");
}

/// It joins a cgroup of its own before anything of the caller's goes on in it.
pub(crate) fn its_memory_is_limited() {
    let process = Fork::new().limit(Limit::Memory(64 << 20)).spawn(|| {
        let mut memory = vec![0u8; 256 << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        memory.iter().step_by(4096).fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    });
    match process {
        Ok(process) => {
            let ended = end(process);
            assert_eq!(ended.status.signal(), Some(libc::SIGKILL), "{ended:?}");
            assert!(
                ended.tree.is_some_and(|tree| tree.memory_peak.is_none_or(|peak| peak <= 64 << 20)),
                "{ended:?}"
            );
        }
        // No cgroup is ours to use here, and the error says so.
        Err(error) => {
            assert_eq!(error.part(), "limit --memory");
            skip("its_memory_is_limited", Need::Machine("cgroups that are ours to make"));
        }
    }
}

pub(crate) fn a_kept_directory_may_be_read() {
    let scratch = Scratch::new();
    scratch.file("inside", "text");
    let folder = File::open(scratch.path()).expect("our own");
    let other = File::open("/usr").expect("every machine has it");
    let process = Fork::new().keep(&folder).spawn(|| {
        let open = |folder: &File, name: &std::ffi::CStr| {
            // SAFETY: a name that ends in NUL.
            unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), libc::O_RDONLY) }
        };
        // A folder that was not kept is no folder.
        let lost = open(&other, c"bin") == -1
            && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOTDIR);
        u8::from(open(&folder, c"inside") < 0 || !lost)
    });
    assert!(end(process.expect("a copy")).success());
}

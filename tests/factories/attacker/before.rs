//! What a hostile program does before it is ready, to harm its factory, what is copied of it, or whoever asks for products.

use std::os::fd::{AsRawFd, IntoRawFd};

use crate::{call, ready};

const CHANNEL: usize = 1000;

/// Is given a folder that it may write.
type Attack = fn(&str);

/// All of them, for whoever runs them one after the other.
pub const NAMES: &[(&str, Attack)] = &[
    ("nothing", |_| ()),
    ("hidden-sibling", |_| hide(true)),
    ("hidden-child", |_| hide(false)),
    // Every template but the first has one: the first is looked at in a nursery that is its own.
    ("hidden-sibling-later", |folder| {
        let mark = format!("{folder}/was-here");
        if std::fs::metadata(&mark).is_ok() {
            hide(true);
        }
        let _ = std::fs::write(mark, "");
    }),
    ("channel-twice", |_| {
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_DUPFD, 3);
    }),
    ("channel-above", |_| {
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_DUPFD, 1100);
    }),
    ("channel-in-flight", |_| {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        give(one.as_raw_fd() as usize, CHANNEL);
        let _ = (one.into_raw_fd(), other.into_raw_fd());
    }),
    ("channel-in-its-own-flight", |_| give(CHANNEL, CHANNEL)),
    ("channel-in-a-lost-flight", |_| {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        give(one.as_raw_fd() as usize, CHANNEL);
        // Nobody can receive it any more but by the other end, which is in flight itself: a circle.
        give(one.as_raw_fd() as usize, other.as_raw_fd() as usize);
    }),
    ("channel-closed", |_| {
        let _ = call!(libc::SYS_close, CHANNEL);
    }),
    ("channel-shut", |_| {
        let _ = call!(libc::SYS_shutdown, CHANNEL, libc::SHUT_RDWR);
    }),
    ("channel-shut-reading", |_| {
        let _ = call!(libc::SYS_shutdown, CHANNEL, libc::SHUT_RD);
    }),
    ("channel-shut-writing", |_| {
        let _ = call!(libc::SYS_shutdown, CHANNEL, libc::SHUT_WR);
    }),
    ("channel-another", |_| {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let _ = call!(libc::SYS_dup3, one.as_raw_fd(), CHANNEL, 0);
        let _ = other.into_raw_fd();
    }),
    ("channel-tells-credentials", |_| option(16)),
    ("channel-tells-pidfd", |_| option(76)),
    ("channel-tells-label", |_| option(34)),
    ("channel-tells-time", |_| option(29)),
    ("channel-keeps-rights", |_| {
        let off = 0i32;
        let _ = call!(libc::SYS_setsockopt, CHANNEL, libc::SOL_SOCKET, 83, &raw const off, 4);
    }),
    ("channel-gives-up", |_| {
        let soon = [0u64, 1000];
        for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            let _ = call!(libc::SYS_setsockopt, CHANNEL, libc::SOL_SOCKET, option, soon.as_ptr(), 16);
        }
    }),
    ("channel-does-not-wait", |_| {
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_SETFL, libc::O_NONBLOCK);
    }),
    ("channel-is-small", |_| {
        let none = 0i32;
        for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
            let _ = call!(libc::SYS_setsockopt, CHANNEL, libc::SOL_SOCKET, option, &raw const none, 4);
        }
    }),
    ("channel-signals", |_| {
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_SETOWN, std::process::id());
        let _ = call!(libc::SYS_fcntl, CHANNEL, 10, libc::SIGSTOP);
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_SETFL, libc::O_ASYNC);
    }),
    ("channel-signals-later", |_| {
        let _ = call!(libc::SYS_fcntl, CHANNEL, libc::F_SETOWN, std::process::id());
        let _ = call!(libc::SYS_fcntl, CHANNEL, 10, libc::SIGSTOP);
    }),
    ("forged-answers", |_| forge(&[])),
    ("forged-answers-with-itself", |_| {
        let own = call!(libc::SYS_pidfd_open, std::process::id(), 0).expect("itself");
        forge(&[own]);
        let _ = call!(libc::SYS_close, own);
    }),
    ("junk-answers", |_| {
        let junk = [0xffu8; 100_000];
        let _ = call!(libc::SYS_sendto, CHANNEL, junk.as_ptr(), junk.len(), libc::MSG_DONTWAIT, 0, 0);
    }),
    ("timer", |_| {
        let often = [0u64, 1000, 0, 1000];
        let _ = call!(libc::SYS_setitimer, 0, often.as_ptr(), 0);
    }),
    ("timer-that-stops", |_| {
        let (mut event, mut timer, often) = ([0u32; 16], 0i32, [0u64, 1_000_000, 0, 1_000_000]);
        event[2] = libc::SIGSTOP as u32;
        let _ = call!(libc::SYS_timer_create, 1, event.as_ptr(), &raw mut timer);
        let _ = call!(libc::SYS_timer_settime, timer, 0, often.as_ptr(), 0);
    }),
    ("handlers", |_| {
        for signal in 1..=64 {
            // SAFETY: a disposition of this process; the handler ends it.
            unsafe { libc::signal(signal, handler as *const () as usize) };
        }
    }),
    ("folder-signals", |folder| {
        let fd = open(folder);
        let _ = call!(libc::SYS_fcntl, fd, 10, libc::SIGSTOP);
        let _ = call!(libc::SYS_fcntl, fd, 1026, 0x8000_001fu32);
    }),
    ("parents-end-stops", |_| {
        let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGSTOP, 0, 0, 0);
    }),
    ("unforkable-text", |_| {
        let page = handler as *const () as usize & !4095;
        let _ = call!(libc::SYS_madvise, page, 4096, libc::MADV_DONTFORK);
    }),
    ("wiped-stack", |_| {
        let here = 0u8;
        let page = &raw const here as usize & !4095;
        let _ = call!(libc::SYS_madvise, page, 4096, libc::MADV_WIPEONFORK);
    }),
    ("unreadable-memory", |_| {
        let at = call!(libc::SYS_mmap, 0, 1 << 20, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1isize, 0);
        let at = at.expect("memory");
        // SAFETY: mapped a moment ago.
        unsafe { (at as *mut u8).write_bytes(1, 1 << 20) };
        let _ = call!(libc::SYS_mprotect, at, 1 << 20, libc::PROT_NONE);
    }),
    ("faults-told-to-itself", |_| {
        let _ = call!(libc::SYS_userfaultfd, 1);
    }),
    ("no-page-of-calls", |_| {
        let (start, end) = calls();
        let _ = call!(libc::SYS_munmap, start, end - start);
    }),
    ("another-page-of-calls", |_| {
        let (start, end) = calls();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let _ = call!(libc::SYS_mmap, start, end - start, 7, flags, -1isize, 0);
    }),
    ("page-of-calls-of-its-own", |_| {
        let (start, end) = calls();
        if call!(libc::SYS_mprotect, start, end - start, 7).is_ok() {
            // SAFETY: it was made to be written; nobody calls into it from here.
            unsafe { (start as *mut u8).write_bytes(0xcc, end - start) };
        }
    }),
    ("page-of-calls-that-lies", |_| {
        let (start, end) = calls();
        if call!(libc::SYS_mprotect, start, end - start, 7).is_ok() {
            // SAFETY: as above. A jump to itself right after what looks like a call.
            unsafe {
                (start as *mut u8).write_bytes(0x90, end - start);
                std::ptr::copy_nonoverlapping(
                    [0x0f_u8, 0x05, 0xeb, 0xfe].as_ptr(),
                    (start + 4092) as *mut u8,
                    4,
                );
            }
        }
    }),
    ("no-dumps", |_| {
        let _ = call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }),
    ("no-writing-and-executing", |_| {
        let _ = call!(libc::SYS_prctl, 65, 1, 0, 0, 0);
    }),
    ("no-clock", |_| {
        let _ = call!(libc::SYS_prctl, libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV, 0, 0, 0);
    }),
    ("calls-told", |_| {
        let _ = call!(libc::SYS_prctl, 59, 1, 0, 0, 0);
    }),
    ("calls-told-but-its-own", |_| {
        let page = handler as *const () as usize & !0xf_ffff;
        let _ = call!(libc::SYS_prctl, 59, 1, page, 0x100_0000, 0);
    }),
    ("no-processes", |_| limit(libc::RLIMIT_NPROC, 0)),
    ("no-files", |_| limit(libc::RLIMIT_NOFILE, 0)),
    ("few-files", |_| limit(libc::RLIMIT_NOFILE, 1010)),
    ("no-memory", |_| limit(libc::RLIMIT_AS, 1)),
    ("no-data", |_| limit(libc::RLIMIT_DATA, 1)),
    ("no-stack", |_| limit(libc::RLIMIT_STACK, 1)),
    ("no-size", |_| limit(libc::RLIMIT_FSIZE, 0)),
    ("no-signals", |_| limit(libc::RLIMIT_SIGPENDING, 0)),
    ("a-second", |_| limit(libc::RLIMIT_CPU, 1)),
    ("another-stack-for-signals", |_| {
        let stack = [0x1000usize, 0, 1 << 20];
        let _ = call!(libc::SYS_sigaltstack, stack.as_ptr(), 0);
    }),
    ("no-key-to-memory", |_| {
        // Where there are no keys the instruction is none.
        if call!(libc::SYS_pkey_alloc, 0, 0).is_ok() {
            stop_with_keys();
        } else {
            ready();
        }
    }),
    ("strict-alignment", |_| stop_aligned()),
    ("no-stack-pointer", |_| stop_without_stack()),
    ("odd-thread-address", |_| {
        let _ = call!(libc::SYS_set_tid_address, 1);
    }),
    ("odd-lock-list", |_| {
        let _ = call!(libc::SYS_set_robust_list, 1, 24);
    }),
    ("rulesets", |_| {
        for _ in 0..15 {
            restrict();
        }
    }),
    ("namespace", |_| {
        let _ = call!(libc::SYS_unshare, libc::CLONE_NEWUSER);
    }),
    ("filter-that-lies-of-rulesets", |_| lie(libc::SYS_landlock_restrict_self)),
    ("filter-that-lies-of-filters", |_| lie(libc::SYS_seccomp)),
    ("filter-that-lies-of-options", |_| lie(libc::SYS_prctl)),
    ("filter-that-lies-of-closing", |_| lie(libc::SYS_close_range)),
    ("filter-that-lies-of-unmapping", |_| lie(libc::SYS_munmap)),
    ("filter-that-refuses-receiving", |_| filter(libc::SYS_recvmsg, 0x0005_0001)),
    ("filter-that-refuses-sending", |_| filter(libc::SYS_sendmsg, 0x0005_000b)),
    ("filter-that-refuses-births", |_| filter(libc::SYS_clone, 0x0005_0001)),
    ("filter-that-kills", |_| filter(libc::SYS_recvmsg, 0x8000_0000)),
];

/// Those that are ready in a state that no call of a library's could be made in.
const STOP_THEMSELVES: &[&str] = &["no-key-to-memory", "strict-alignment", "no-stack-pointer"];

/// Does what this is the name of, and is ready.
pub fn attack(name: &str, folder: &str) {
    let found = NAMES.iter().find(|(one, _)| *one == name);
    let (_, attack) = found.unwrap_or_else(|| panic!("{name} is none"));
    attack(folder);
    if !STOP_THEMSELVES.contains(&name) {
        ready();
    }
}

extern "C" fn handler(_: i32) {
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(77) }
}

/// A process that nobody is to find: in a session of its own, closed to others, with the channel. It answers with what it was sent.
fn hide(beside: bool) {
    let parent = if beside { libc::CLONE_PARENT as usize } else { 0 };
    if call!(libc::SYS_clone, parent | libc::SIGCHLD as usize, 0, 0, 0, 0) != Ok(0) {
        return;
    }
    let _ = call!(libc::SYS_setsid);
    let _ = call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    let mut room = [0u8; 1 << 16];
    loop {
        match call!(libc::SYS_recvfrom, CHANNEL, room.as_mut_ptr(), room.len(), 0, 0, 0) {
            Ok(0) | Err(_) => {
                let _ = call!(libc::SYS_pause);
            }
            Ok(_) => forge(&[]),
        }
    }
}

fn open(path: &str) -> usize {
    let path = std::ffi::CString::new(path).expect("no NUL byte");
    call!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY)
        .unwrap_or(usize::MAX)
}

fn option(which: usize) {
    let on = 1i32;
    let _ = call!(libc::SYS_setsockopt, CHANNEL, libc::SOL_SOCKET, which, &raw const on, 4);
}

fn limit(which: u32, most: u64) {
    let both = [most, most];
    let _ = call!(libc::SYS_prlimit64, 0, which, both.as_ptr(), 0);
}

/// Sends a descriptor.
fn give(socket: usize, descriptor: usize) {
    send(socket, b"x", &[descriptor]);
}

fn send(socket: usize, bytes: &[u8], descriptors: &[usize]) {
    let mut control = [0u64; 4];
    let length = 16 + descriptors.len() * 4;
    control[0] = length as u64;
    control[1] = libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32;
    control[2] = descriptors.first().copied().unwrap_or(0) as u64;
    let vector = [bytes.as_ptr() as usize, bytes.len()];
    let control = if descriptors.is_empty() { (0, 0) } else { (control.as_ptr() as usize, length) };
    let message = [0, 0, vector.as_ptr() as usize, 1, control.0, control.1, 0];
    let _ = call!(libc::SYS_sendmsg, socket, message.as_ptr(), libc::MSG_DONTWAIT);
}

/// What a template answers when it has made a copy: that this process is one.
fn forge(descriptors: &[usize]) {
    use beget_plan::message::{Born, Header, kind};
    let born = Born { number: std::process::id(), op: 0, errno: 0, pidfd: descriptors.len() as u32 };
    for kind in [kind::BORN, kind::ANSWER] {
        let header = Header {
            kind,
            length: Born::SIZE as u32,
            descriptors: descriptors.len() as u32,
            words: [1, 0, 0, 0],
        };
        let bytes: Vec<u8> = header.encode().iter().chain(&born.encode()).copied().collect();
        send(CHANNEL, &bytes, descriptors);
    }
}

/// Where the kernel's page of calls is.
fn calls() -> (usize, usize) {
    // SAFETY: plain questions; what is asked of is the kernel's own.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    (start, start + 8192)
}

/// Puts a filter on itself: this call gets this verdict, and everything else goes on.
fn filter(number: libc::c_long, verdict: u32) {
    let code: [u64; 4] = [
        // ld [0]; jne number, +1; ret verdict; ret allow
        0x20,
        0x15 | 1 << 24 | (number as u64) << 32,
        0x06 | u64::from(verdict) << 32,
        0x06 | 0x7fff_0000 << 32,
    ];
    let program = [code.len(), code.as_ptr() as usize];
    let _ = call!(libc::SYS_prctl, libc::PR_SET_SECCOMP, 2, program.as_ptr(), 0, 0);
}

/// A filter that says that a call was made, and does not let it be made.
fn lie(number: libc::c_long) {
    filter(number, 0x0005_0000);
}

/// A ruleset of its own, of which a process can have sixteen at most.
fn restrict() {
    let rights = [1u64 << 2];
    let Ok(ruleset) = call!(libc::SYS_landlock_create_ruleset, rights.as_ptr(), 8, 0) else { return };
    let _ = call!(libc::SYS_landlock_restrict_self, ruleset, 0);
    let _ = call!(libc::SYS_close, ruleset);
}

macro_rules! stop_with {
    ($before:literal, $after:literal) => {
        // SAFETY: what is changed is put back behind the call, which is a plain `kill` of this process.
        unsafe {
            std::arch::asm!(
                $before,
                "syscall",
                $after,
                inout("rax") libc::SYS_kill => _, in("rdi") std::process::id() as usize, in("rsi") libc::SIGSTOP as usize,
                out("rcx") _, out("r11") _, out("rdx") _, out("r12") _,
            )
        }
    };
}

fn stop_without_stack() {
    stop_with!("mov r12, rsp\nxor esp, esp", "mov rsp, r12");
}

fn stop_aligned() {
    stop_with!("pushfq\nor qword ptr [rsp], 0x40000\npopfq", "pushfq\nand qword ptr [rsp], -0x40001\npopfq");
}

fn stop_with_keys() {
    // Every right is taken but those of the keys of this memory itself, which is written again only when they are back.
    stop_with!(
        "mov r12, rax\nmov eax, 0x55555555\nxor ecx, ecx\nxor edx, edx\n.byte 0x0f, 0x01, 0xef\nmov rax, r12",
        "xor eax, eax\nxor ecx, ecx\nxor edx, edx\n.byte 0x0f, 0x01, 0xef"
    );
}

//! What a product tries: at its template, at other products, at nursery and factory, and with what the stub left.

use std::collections::BTreeMap;
use std::io::Read;

use crate::call;

fn say(name: &str, got: Result<usize, i32>) {
    match got {
        Ok(value) => println!("{name}: OPEN {value:#x}"),
        Err(errno) => println!("{name}: closed {errno}"),
    }
}

fn opened(path: &str, flags: i32) -> Result<usize, i32> {
    let path = std::ffi::CString::new(path).expect("no NUL byte");
    call!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags)
}

/// Everything that one process could do to another.
fn reach(who: &str, number: usize) {
    let name = |what: &str| format!("{who} {what}");
    let mut room = [0u8; 64];
    let info = [18u64, 0, 0xffff_ffff_ffff_fffe_u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    say(&name("kill"), call!(libc::SYS_kill, number, libc::SIGCONT));
    say(&name("kill group"), call!(libc::SYS_kill, -(number as isize), libc::SIGCONT));
    say(&name("tkill"), call!(libc::SYS_tkill, number, libc::SIGCONT));
    say(&name("tgkill"), call!(libc::SYS_tgkill, number, number, libc::SIGCONT));
    say(&name("queue"), call!(libc::SYS_rt_sigqueueinfo, number, libc::SIGCONT, info.as_ptr()));
    say(&name("ptrace attach"), call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, number, 0, 0));
    say(&name("ptrace seize"), call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, number, 0, 0));
    let local = [room.as_mut_ptr() as usize, room.len()];
    for at in [0x1000usize, room.as_ptr() as usize, reach as *const () as usize] {
        let remote = [at, room.len()];
        let read = call!(libc::SYS_process_vm_readv, number, local.as_ptr(), 1, remote.as_ptr(), 1, 0);
        say(&name("read memory"), read);
        let write = call!(libc::SYS_process_vm_writev, number, local.as_ptr(), 1, remote.as_ptr(), 1, 0);
        say(&name("write memory"), write);
    }
    if let Ok(pidfd) = call!(libc::SYS_pidfd_open, number, 0) {
        for signal in [libc::SIGCONT, libc::SIGSTOP] {
            say(&name("signal by pidfd"), call!(libc::SYS_pidfd_send_signal, pidfd, signal, 0, 0));
        }
        for theirs in [0, 1, 2, 999, 1000] {
            say(&name("take descriptor"), call!(libc::SYS_pidfd_getfd, pidfd, theirs, 0));
        }
        let range = [room.as_ptr() as usize, 4096];
        say(
            &name("advise memory"),
            call!(libc::SYS_process_madvise, pidfd, range.as_ptr(), 1, libc::MADV_COLD, 0),
        );
        let _ = call!(libc::SYS_close, pidfd);
    }
    for file in [
        "mem",
        "environ",
        "maps",
        "smaps",
        "auxv",
        "syscall",
        "stack",
        "io",
        "personality",
        "fd/0",
        "fd/1000",
        "cwd/x",
        "root/x",
        "exe",
    ] {
        // What is told by `maps` is told when it is opened or when it is read.
        let path = format!("/proc/{number}/{file}");
        let got = opened(&path, libc::O_RDONLY).and_then(|fd| {
            let count = call!(libc::SYS_read, fd, room.as_mut_ptr(), room.len());
            let _ = call!(libc::SYS_close, fd);
            count.and_then(|count| if count == 0 { Err(0) } else { Ok(count) })
        });
        say(&name(file), got);
    }
    say(&name("mem for writing"), opened(&format!("/proc/{number}/mem"), libc::O_RDWR));
    let limit = [64u64, 64];
    say(&name("limits"), call!(libc::SYS_prlimit64, number, libc::RLIMIT_NOFILE, limit.as_ptr(), 0));
    say(&name("affinity"), call!(libc::SYS_sched_setaffinity, number, 8, [1u64].as_ptr()));
    say(&name("compare"), call!(libc::SYS_kcmp, number, call!(libc::SYS_getpid).unwrap_or(0), 0, 0, 0));
    say(&name("move pages"), call!(libc::SYS_move_pages, number, 0, 0, 0, 0, 0));
    say(
        &name("count events"),
        call!(libc::SYS_perf_event_open, [0u64; 16].as_ptr(), number, -1isize, -1isize, 0),
    );
    say(&name("robust list"), call!(libc::SYS_get_robust_list, number, local.as_ptr(), local.as_ptr()));
}

/// What a template may do that no product may.
fn be_born() {
    const PARENT: usize = libc::CLONE_PARENT as usize;
    let end_child = |got: Result<usize, i32>| {
        if got == Ok(0) {
            // SAFETY: the child, which is not to be there.
            unsafe { libc::_exit(0) };
        }
        got
    };
    say("sibling", end_child(call!(libc::SYS_clone, PARENT | libc::SIGCHLD as usize, 0, 0, 0, 0)));
    say("sibling without a signal", end_child(call!(libc::SYS_clone, PARENT, 0, 0, 0, 0)));
    let vm = (libc::CLONE_VFORK | libc::CLONE_PARENT | libc::CLONE_PIDFD) as usize;
    let mut pidfd = 0i32;
    say("sibling and its pidfd", end_child(call!(libc::SYS_clone, vm, 0, &raw mut pidfd, 0, 0)));
    let words = [PARENT as u64, 0, 0, 0, 0, 0, 0, 0];
    say("sibling by clone3", end_child(call!(libc::SYS_clone3, words.as_ptr(), 64)));
    say("child", end_child(call!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)));
    say("vfork", call!(libc::SYS_clone3, words.as_ptr(), 8));
}

/// Its memory, as the kernel tells it: range, rights and name.
fn mappings() -> Vec<(usize, usize, String, String)> {
    let text = std::fs::read_to_string("/proc/self/maps").expect("/proc was granted");
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (start, end) = words.next()?.split_once('-')?;
            let rights = words.next()?.to_owned();
            let number = |text| usize::from_str_radix(text, 16).ok();
            Some((number(start)?, number(end)?, rights, words.nth(3).unwrap_or_default().to_owned()))
        })
        .collect()
}

/// Executable memory of no file: what the stub left, and whether it is what it is said to be.
fn remains() {
    let own: Vec<_> = mappings()
        .into_iter()
        .filter(|(_, _, rights, name)| rights.contains('x') && name.is_empty())
        .collect();
    println!("executable: {}", own.len());
    for (start, end, rights, _) in own {
        // SAFETY: mapped, for reading.
        let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) };
        let calls = bytes.windows(2).filter(|pair| *pair == [0x0f, 0x05]).count();
        println!("lasting: {rights} {} bytes, {calls} calls", end - start);
        // Made to be written, it is memory like any other; what is done in it is done by this process as it is confined.
        let code: [u8; 12] = [0xb8, 56, 0, 0, 0, 0x0f, 0x05, 0xc3, 0, 0, 0, 0];
        if call!(libc::SYS_mprotect, start, 4096, libc::PROT_READ | libc::PROT_WRITE).is_ok() {
            // SAFETY: it can be written now, and nobody runs in it.
            unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start as *mut u8, code.len()) };
            if call!(libc::SYS_mprotect, start, 4096, libc::PROT_READ | libc::PROT_EXEC).is_ok() {
                let answer: isize;
                // SAFETY: calls the few instructions written above, which make one call and return.
                unsafe {
                    std::arch::asm!("call {at}", at = in(reg) start, in("rdi") libc::CLONE_PARENT as usize | 17, in("rsi") 0, in("rdx") 0,
                        in("r10") 0, in("r8") 0, lateout("rax") answer, out("rcx") _, out("r11") _);
                }
                if answer == 0 {
                    // SAFETY: the sibling, which is not to be there.
                    unsafe { libc::_exit(0) };
                }
                say(
                    "sibling from the stub's page",
                    if answer < 0 { Err(-answer as i32) } else { Ok(answer as usize) },
                );
            }
        }
    }
}

/// Tries all that lies in its memory as what would open its template's filter.
fn guess() {
    let (mut tried, mut seen) = (0usize, std::collections::HashSet::new());
    for (start, end, rights, name) in mappings() {
        if !rights.starts_with('r') || name.starts_with("[v") {
            continue;
        }
        let mut page = [0u64; 512];
        for at in (start..end).step_by(4096) {
            // SAFETY: mapped and readable.
            unsafe { std::ptr::copy(at as *const u64, page.as_mut_ptr(), page.len()) };
            for word in page {
                if !seen.insert(word) {
                    continue;
                }
                tried += 1;
                let (low, high) = (word as u32 as usize, (word >> 32) as usize);
                for (low, high) in [(low, high), (high, low)] {
                    let got = call!(libc::SYS_clone, libc::CLONE_PARENT, 0, 0, 0, low, high);
                    if got == Ok(0) {
                        // SAFETY: the sibling, which is not to be there.
                        unsafe { libc::_exit(0) };
                    }
                    if got.is_ok() {
                        say("sibling by what lies in memory", got);
                    }
                }
            }
        }
    }
    println!("guesses: {}", if tried > 1000 { "many" } else { "few" });
}

/// Looks through all of its memory for text that another request had. It is told it changed, so that it is nowhere by itself.
fn secrets(changed: &str) {
    let sought: Vec<u8> = changed.bytes().map(|byte| byte ^ 1).collect();
    let (first, rest) = sought.split_first().expect("some text");
    let here = sought.as_ptr() as usize;
    let mut found = 0;
    for (start, end, rights, name) in mappings() {
        if !rights.starts_with('r') || name.starts_with("[v") {
            continue;
        }
        let mut chunk = vec![0u8; 1 << 16];
        let mut at = start;
        while at < end {
            let length = chunk.len().min(end - at);
            // SAFETY: mapped and readable; it may be the chunk itself, byte by byte.
            unsafe { std::ptr::copy(at as *const u8, chunk.as_mut_ptr(), length) };
            for (offset, _) in chunk[..length].iter().enumerate().filter(|(_, byte)| *byte == first) {
                let place = at + offset;
                let own = place.abs_diff(here) < 64
                    || (chunk.as_ptr() as usize..chunk.as_ptr() as usize + chunk.len()).contains(&place);
                if !own && chunk[offset + 1..length].starts_with(rest) {
                    found += 1;
                }
            }
            at += length;
        }
    }
    println!("secrets: {}", if found == 0 { "none".to_owned() } else { format!("OPEN {found}") });
}

fn keys() {
    const SESSION: isize = -3;
    const GET_KEYRING: usize = 0;
    let (kind, name) = (c"user", c"of a product");
    say("add a key", call!(libc::SYS_add_key, kind.as_ptr(), name.as_ptr(), name.as_ptr(), 4, SESSION));
    say("session keyring", call!(libc::SYS_keyctl, GET_KEYRING, SESSION, 0));
    say("ask for a key", call!(libc::SYS_request_key, kind.as_ptr(), name.as_ptr(), 0, SESSION));
}

/// Where two products could meet: names that are nobody's file.
fn meet() {
    let mut address = [0u8; 20];
    address[0] = libc::AF_UNIX as u8;
    address[3..11].copy_from_slice(b"products");
    if let Ok(socket) = call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0) {
        say("meet at a name", call!(libc::SYS_connect, socket, address.as_ptr(), 11));
        let _ = call!(libc::SYS_bind, socket, address.as_ptr(), 11);
    }
    say("shared segment", call!(libc::SYS_shmget, 0x6265_6765, 4096, libc::IPC_CREAT | 0o600));
    say("message queue", call!(libc::SYS_msgget, 0x6265_6765, libc::IPC_CREAT | 0o600));
    say("semaphores", call!(libc::SYS_semget, 0x6265_6765, 1, libc::IPC_CREAT | 0o600));
    say(
        "queue by name",
        call!(libc::SYS_mq_open, c"products".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, 0),
    );
}

pub fn attack() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("it is told");
    let told: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let open = (0..2000).filter(|number| call!(libc::SYS_fcntl, *number, libc::F_GETFD).is_ok());
    println!("descriptors: {:?}", open.collect::<Vec<i32>>());
    if told.contains_key("quiet") {
        println!("end");
        // Held until it is ended, with what it was told in its memory.
        drop(std::hint::black_box(text));
        loop {
            let _ = call!(libc::SYS_pause);
        }
    }
    if let Some(changed) = told.get("secret") {
        secrets(changed);
    }
    keys();
    meet();
    for (who, number) in told.iter().filter(|(who, _)| !["secret"].contains(who)) {
        reach(who, number.parse().expect("a number"));
    }
    be_born();
    guess();
    remains();
    println!("end");
}

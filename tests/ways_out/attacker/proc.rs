//! Ways into another process: its memory, its descriptors, its state in /proc, ptrace, and what it is told.

use crate::tool::*;
use libc::{O_RDONLY, O_RDWR, O_WRONLY};
use std::os::fd::AsRawFd;

const MARK: &[u8] = b"overwritten";

fn pidfd(t: &T) -> Result<std::os::fd::OwnedFd, i32> {
    sys!(SYS_pidfd_open, t.victim()?, 0).map(own)
}

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

/// Stops the victim, does something to it, and lets it go.
fn traced(t: &T, seize: bool, f: impl FnOnce(usize) -> Out) -> Out {
    let pid = t.victim()?;
    if seize {
        sys!(SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0)?;
        sys!(SYS_ptrace, libc::PTRACE_INTERRUPT, pid, 0, 0)?;
    } else {
        sys!(SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0)?;
    }
    let mut st = 0i32;
    let _ = sys!(SYS_wait4, pid, at_mut(&mut st), libc::__WALL, 0);
    let r = f(pid);
    let _ = sys!(SYS_ptrace, libc::PTRACE_DETACH, pid, 0, 0);
    r
}

fn peek(t: &T, pid: usize) -> Out {
    let (a, mut b) = (t.num("marker")?, [0u64; 4]);
    for (i, w) in b.iter_mut().enumerate() {
        sys!(SYS_ptrace, libc::PTRACE_PEEKDATA, pid, a + 8 * i, at_mut(w))?;
    }
    proof(&b.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<_>>())
}

fn steal(t: &T, number: &str) -> Result<std::os::fd::OwnedFd, i32> {
    sys!(SYS_pidfd_getfd, pidfd(t)?.as_raw_fd(), t.num(number)?, 0).map(own)
}

fn seen(t: &T, name: &str) -> Out {
    some(&t.of_victim(name)?)
}

/// Writes to a file of an idle process in /proc, and names the field to look at.
fn set(t: &T, name: &str, value: &str, field: &str) -> Out {
    write_(&open_(&format!("/proc/{}/{name}", t.mine("idle")?), O_WRONLY)?, value.as_bytes())?;
    witness(format!("idle {field} {value}"))
}

fn memory_of(path: &str, at: usize) -> Out {
    let (f, mut b) = (open_(path, O_RDONLY)?, [0u8; 64]);
    let n = sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 64, at)?;
    proof(&b[..n])
}

ways! { proc;
    /// its memory by /proc/PID/mem
    mem_read Data |t| memory_of(&t.of_victim("mem")?, t.num("marker")?);
    /// its memory by a thread's mem
    mem_read_task Data |t| memory_of(&t.of_victim(&format!("task/{}/mem", t.num("tid")?))?, t.num("marker")?);
    /// its memory written by /proc/PID/mem
    mem_write Process slot |t| {
        let f = open_(&t.of_victim("mem")?, O_RDWR)?;
        sys!(SYS_pwrite64, f.as_raw_fd(), MARK.as_ptr(), MARK.len(), t.mine("slot")?)?;
        witness("slot")
    };
    /// process_vm_readv
    vm_readv Data |t| {
        let b = [0u8; 64];
        let (l, r) = ([at(&b), 64], [t.num("marker")?, 64]);
        sys!(SYS_process_vm_readv, t.victim()?, at(&l), 1, at(&r), 1, 0)?;
        proof(&b)
    };
    /// process_vm_writev
    vm_writev Process slot |t| {
        let (l, r) = ([MARK.as_ptr() as usize, MARK.len()], [t.mine("slot")?, MARK.len()]);
        sys!(SYS_process_vm_writev, t.victim()?, at(&l), 1, at(&r), 1, 0)?;
        witness("slot")
    };
    /// ptrace attach and read
    ptrace_attach Data |t| traced(t, false, |p| peek(t, p));
    /// ptrace seize, interrupt and read
    ptrace_seize Data |t| traced(t, true, |p| peek(t, p));
    /// ptrace attach and write
    ptrace_poke Process slot |t| traced(t, false, |p| {
        sys!(SYS_ptrace, libc::PTRACE_POKEDATA, p, t.mine("slot")?, 0x4141_4141)?;
        witness("slot")
    });
    /// ptrace attach and read the registers
    ptrace_registers Data |t| traced(t, true, |p| { let mut r = [0u64; 27]; yes(sys!(SYS_ptrace, libc::PTRACE_GETREGS, p, 0, r.as_mut_ptr())) });
    /// ptrace of another thread of the victim
    ptrace_thread Process |t| {
        let tid = t.num("tid")?;
        sys!(SYS_ptrace, libc::PTRACE_SEIZE, tid, 0, 0)?;
        let _ = sys!(SYS_ptrace, libc::PTRACE_INTERRUPT, tid, 0, 0);
        let mut st = 0i32;
        let _ = sys!(SYS_wait4, tid, at_mut(&mut st), libc::__WALL, 0);
        yes(sys!(SYS_ptrace, libc::PTRACE_DETACH, tid, 0, 0))
    };
    /// ptrace seize that kills the victim when we end
    ptrace_exitkill Process idle |t| {
        child(|| yes(sys!(SYS_ptrace, libc::PTRACE_SEIZE, t.mine("idle")?, 0, 0x10_0000)))?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        witness("idle state gone")
    };
    /// a child that is the launcher's, traced by it
    traceme_outside Process |t| {
        parent_outside()?;
        let child_of = |flags: usize| sys!(SYS_clone, flags, 0, 0, 0, 0);
        if child_of(libc::CLONE_PARENT as usize)? == 0 {
            let r = sys!(SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0);
            let f = open_(&t.granted(".out"), libc::O_CREAT | O_RDWR);
            if let (Ok(_), Ok(f)) = (r, f) { let _ = write_(&f, b"traced"); }
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(0) }
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
        if std::fs::read(t.granted(".out")).is_ok_and(|b| b == b"traced") { open_say("traced by the process outside") } else { closed("refused") }
    };
    /// a child that is the launcher's (CLONE_PARENT)
    clone_parent Process |t| {
        parent_outside()?;
        if sys!(SYS_clone, libc::CLONE_PARENT as usize, 0, 0, 0, 0)? == 0 {
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(0) }
        }
        open_say("a child of our parent was made")
    };
    /// the same by clone3
    clone3_parent Process |t| {
        parent_outside()?;
        let a: [u64; 11] = [libc::CLONE_PARENT as u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if sys!(SYS_clone3, at(&a), 64)? == 0 {
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(0) }
        }
        open_say("a child of our parent was made")
    };
    /// its descriptor of a file, by pidfd_getfd
    getfd_file Data |t| {
        let f = steal(t, "victim_file")?;
        let mut b = [0u8; 64];
        let n = sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 64, 0)?;
        proof(&b[..n])
    };
    /// its anonymous memory file, by pidfd_getfd
    getfd_memfd Data |t| {
        let f = steal(t, "victim_memfd")?;
        let mut b = [0u8; 64];
        let n = sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 64, 0)?;
        proof(&b[..n])
    };
    /// its eventfd, by pidfd_getfd, and signalled
    getfd_eventfd Process |t| { let f = steal(t, "victim_eventfd")?; write_(&f, &7777u64.to_ne_bytes())?; witness("eventfd") };
    /// its descriptor by a pidfd that /proc gave
    getfd_proc Data |t| {
        let p = open_(&t.of_victim("")?, O_RDONLY)?;
        let f = sys!(SYS_pidfd_getfd, p.as_raw_fd(), t.num("victim_file")?, 0).map(own)?;
        let mut b = [0u8; 64];
        let n = sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 64, 0)?;
        proof(&b[..n])
    };
    /// a handle on the process
    pidfd_open Information |t| pidfd(t).and_then(|_| open_say("a pidfd"));
    /// a handle on a thread
    pidfd_thread Information |t| sys!(SYS_pidfd_open, t.num("tid")?, libc::O_EXCL).map(own).and_then(|_| open_say("a pidfd"));
    /// PIDFD_GET_INFO
    pidfd_info Information |t| {
        let (p, b) = (pidfd(t)?, [0x3fu64, 0, 0, 0, 0, 0, 0, 0]);
        yes(sys!(SYS_ioctl, p.as_raw_fd(), 0xc040_ff0bu32, at(&b)))
    };
    /// its namespace by PIDFD_GET_UTS_NAMESPACE
    pidfd_namespace Process |t| {
        let p = pidfd(t)?;
        sys!(SYS_ioctl, p.as_raw_fd(), 0xff0a, 0).map(own).and_then(|_| open_say("a namespace descriptor"))
    };
    /// waiting for its end by pidfd
    pidfd_wait Information |t| {
        let (p, b) = (pidfd(t)?, [0u64; 16]);
        yes(sys!(SYS_waitid, 3, p.as_raw_fd(), b.as_ptr(), libc::WEXITED | libc::WNOHANG, 0))
    };
    /// process_madvise: pages it out
    process_madvise Process |t| {
        let (p, v) = (pidfd(t)?, [t.num("marker")? & !4095, 4096]);
        yes(sys!(SYS_process_madvise, p.as_raw_fd(), at(&v), 1, 21, 0))
    };
    /// process_mrelease
    process_mrelease Process |t| { let p = pidfd(t)?; yes(sys!(nr 448, p.as_raw_fd(), 0)) };
    /// kcmp of its descriptors with ours
    kcmp Process |t| yes(sys!(SYS_kcmp, std::process::id(), t.victim()?, 0, 0, 0));
    /// where its pages are
    move_pages Process |t| {
        let (a, st) = ([t.num("marker")? & !4095], [0i32; 1]);
        yes(sys!(SYS_move_pages, t.victim()?, 1, at(&a), 0, at(&st), 0))
    };
    /// its pages moved to a node
    migrate_pages Process |t| { let n = [1u64]; yes(sys!(SYS_migrate_pages, t.victim()?, 2, at(&n), at(&n))) };
    /// its list of robust locks, an address
    get_robust_list Process |t| {
        let (mut h, mut n) = (0u64, 0u64);
        yes(sys!(SYS_get_robust_list, t.victim()?, at_mut(&mut h), at_mut(&mut n)))
    };
    /// its environment
    environ Data |t| read_path(&t.of_victim("environ")?);
    /// its command line
    cmdline Information |t| seen(t, "cmdline");
    /// its status
    status Information |t| seen(t, "status");
    /// its one line of state
    stat Information |t| seen(t, "stat");
    /// its name
    comm Information |t| seen(t, "comm");
    /// its mappings
    maps Process |t| seen(t, "maps");
    /// its mappings in detail
    smaps Process |t| seen(t, "smaps");
    /// its mappings summed up
    smaps_rollup Process |t| seen(t, "smaps_rollup");
    /// its mappings by node
    numa_maps Process |t| seen(t, "numa_maps");
    /// its page table
    pagemap Process |t| {
        let (f, mut b) = (open_(&t.of_victim("pagemap")?, O_RDONLY)?, [0u8; 8]);
        yes(sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 8, (t.num("marker")? >> 12) * 8))
    };
    /// its auxiliary vector
    auxv Process |t| seen(t, "auxv");
    /// its personality
    personality Process |t| seen(t, "personality");
    /// its system call
    syscall Process |t| seen(t, "syscall");
    /// where it waits
    wchan Information |t| seen(t, "wchan");
    /// its kernel stack
    stack Process |t| seen(t, "stack");
    /// its input and output counters
    io Process |t| seen(t, "io");
    /// its limits
    limits Information |t| seen(t, "limits");
    /// its mounts
    mountinfo Information |t| seen(t, "mountinfo");
    /// its control group
    cgroup Information |t| seen(t, "cgroup");
    /// its security label
    attr Information |t| seen(t, "attr/current");
    /// its scheduling in detail
    sched_file Information |t| seen(t, "sched");
    /// its children
    children Information |t| open_(&t.of_victim(&format!("task/{}/children", t.victim()?))?, O_RDONLY).and_then(|_| open_say("opened"));
    /// its POSIX timers
    timers Process |t| open_(&t.of_victim("timers")?, O_RDONLY).and_then(|_| open_say("opened"));
    /// its descriptors' names
    fd_names Process |t| { let mut b = [0u8; 256]; yes(sys!(SYS_readlink, c(&t.of_victim("fd/0")?).as_ptr(), b.as_mut_ptr(), 256)) };
    /// its descriptors' state
    fdinfo Process |t| seen(t, "fdinfo/0");
    /// its program
    exe Data |t| seen(t, "exe");
    /// its program's name
    exe_name Process |t| { let mut b = [0u8; 256]; yes(sys!(SYS_readlink, c(&t.of_victim("exe")?).as_ptr(), b.as_mut_ptr(), 256)) };
    /// its working folder's name
    cwd_name Process |t| { let mut b = [0u8; 256]; yes(sys!(SYS_readlink, c(&t.of_victim("cwd")?).as_ptr(), b.as_mut_ptr(), 256)) };
    /// its namespaces' names
    namespace_name Process |t| {
        let mut b = [0u8; 256];
        yes(sys!(SYS_readlink, c(&t.of_victim("ns/pid")?).as_ptr(), b.as_mut_ptr(), 256))
    };
    /// its namespace, opened
    namespace_open Process |t| open_(&t.of_victim("ns/net")?, O_RDONLY).and_then(|_| open_say("opened"));
    /// its soft-dirty bits cleared
    clear_refs Process |t| write_(&open_(&t.of_victim("clear_refs")?, O_WRONLY)?, b"1").and_then(|n| yes(Ok(n)));
    /// its place in the out-of-memory order
    oom_score_adj Process idle |t| set(t, "oom_score_adj", "777", "oom");
    /// which memory its core file holds
    coredump_filter Process idle |t| set(t, "coredump_filter", "0x7", "filter");
    /// its timers' slack
    timerslack Process idle |t| set(t, "timerslack_ns", "77777", "slack");
    /// its name, changed
    comm_write Process idle |t| set(t, "comm", "renamed", "comm");
    /// its automatic group's nice value
    autogroup Process idle |t| set(t, "autogroup", "7", "autogroup");
    /// the scheduling counters reset
    sched_reset Process |t| write_(&open_(&t.of_victim("sched")?, O_WRONLY)?, b"0").and_then(|n| yes(Ok(n)));
    /// its user-namespace map
    uid_map Process idle |t| write_(&open_(&format!("/proc/{}/uid_map", t.mine("idle")?), O_WRONLY)?, b"0 0 1").and_then(|n| yes(Ok(n)));
    /// the environment of the process that started us
    parent_environ Data |t| read_path(&format!("/proc/{}/environ", std::os::unix::process::parent_id()));
    /// the numbers of all processes
    list Information |t| {
        let n = std::fs::read_dir("/proc").map_err(|e| e.raw_os_error().unwrap_or(0))?.flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok_and(|n| n > 1 && n != std::process::id())).count();
        if n > 0 { open_say(format!("{n} others")) } else { closed("none") }
    };
    /// a set-user-id program that does gain rights
    set_uid Process |t| {
        let out = ["/usr/bin/su", "/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/newgrp"].iter().find(|p| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(p).is_ok_and(|m| m.mode() & 0o4000 != 0)
        });
        let Some(p) = out else { return Ok(Say::Absent("no set-uid program".into())) };
        // A program that gained rights ignores the loader's variables, and prints its own help.
        // The loader ends such a program with status 5 when it is asked to list libraries instead.
        let said = match output_of(&[p, "--help"], &["LD_TRACE_LOADED_OBJECTS=1"]) {
            Err(5) => return open_say(format!("{p} ran with its owner's rights")),
            r => r?,
        };
        if said.is_empty() || said.windows(4).any(|w| w == b"=> /") { closed("ran without its rights") } else { open_say(format!("{p} ran with its owner's rights")) }
    };
}

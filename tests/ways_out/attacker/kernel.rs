//! Ways by the kernel's own machinery: namespaces, mounts, BPF, perf, page faults, clocks, modules, hardware.

use crate::tool::*;
use libc::{AT_FDCWD, O_RDONLY};
use std::os::fd::AsRawFd;

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

/// Calls that would change the machine if root made them are not tried as root.
fn as_user(f: impl FnOnce() -> Result<usize, i32>) -> Out {
    // SAFETY: a plain question about ourselves.
    if unsafe { libc::geteuid() } == 0 { Ok(Say::Absent("not tried as root".into())) } else { yes(f()) }
}

fn unshare(flags: i32) -> Out {
    aside(|| yes(sys!(SYS_unshare, flags)))
}

/// A child in new namespaces, which ends at once.
fn cloned(flags: usize) -> Out {
    let pid = sys!(SYS_clone, flags | libc::SIGCHLD as usize, 0, 0, 0, 0)?;
    ended(pid)
}

fn cloned3(flags: u64) -> Out {
    let a: [u64; 11] = [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0];
    ended(sys!(SYS_clone3, at(&a), 64)?)
}

fn ended(pid: usize) -> Out {
    if pid == 0 {
        // SAFETY: ends this child at once.
        unsafe { libc::_exit(0) }
    }
    let mut st = 0i32;
    let _ = sys!(SYS_wait4, pid, at_mut(&mut st), libc::__WALL, 0);
    open_say("a child in it")
}

fn perf(pid: isize, cpu: isize, kind: u32, config: u64) -> Out {
    let mut a = [0u64; 16];
    a[0] = u64::from(kind) | (128 << 32);
    a[1] = config;
    a[5] = 1 << 5 | 1 << 6;
    sys!(SYS_perf_event_open, at(&a), pid, cpu, -1isize, 8).map(own).and_then(|_| open_say("counting"))
}

fn bpf(command: usize, attr: &[u64; 16]) -> Out {
    sys!(SYS_bpf, command, at(attr), 128).map(own).and_then(|_| open_say("a descriptor"))
}

fn setns(t: &T, name: &str) -> Out {
    aside(|| {
        let f = open_(&t.of_victim(&format!("ns/{name}"))?, O_RDONLY)?;
        yes(sys!(SYS_setns, f.as_raw_fd(), 0))
    })
}

/// In a new user and mount namespace, the secret's folder bound where we may read, and read there.
fn bound(t: &T, by: impl FnOnce(&str, &str) -> Result<usize, i32>) -> Out {
    child(|| {
        let to = t.granted(".mnt");
        sys!(SYS_mkdir, c(&to).as_ptr(), 0o700)?;
        sys!(SYS_unshare, 0x1002_0000)?;
        by(&t.secrets(), &to)?;
        read_path(&format!("{to}/{}", t.way))
    })
}

ways! { kernel;
    /// user-space page faults
    userfaultfd Service |t| sys!(SYS_userfaultfd, 1).map(own).and_then(|_| open_say("a descriptor"));
    /// user-space page faults of the kernel's own accesses
    userfaultfd_kernel Service |t| sys!(SYS_userfaultfd, 0).map(own).and_then(|_| open_say("a descriptor"));
    /// counting our own instructions
    perf_self Service |t| perf(0, -1, 0, 1);
    /// counting our own context switches in software
    perf_software Service |t| perf(0, -1, 1, 3);
    /// counting the victim
    perf_victim Process |t| perf(t.victim()? as isize, -1, 1, 1);
    /// counting a processor
    perf_processor Service |t| perf(-1, 0, 1, 1);
    /// a tracepoint
    perf_tracepoint Service |t| perf(0, -1, 2, 1);
    /// a BPF program
    bpf_program Service |t| {
        let code = [0x0000_0000_0000_00b7u64, 0x95];
        let l = c("GPL");
        let mut a = [0u64; 16];
        (a[0], a[1], a[2]) = (1 | 2 << 32, code.as_ptr() as u64, l.as_ptr() as u64);
        bpf(5, &a)
    };
    /// a BPF map
    bpf_map Service |t| { let mut a = [0u64; 16]; (a[0], a[1]) = (2 | 4 << 32, 4 | 1 << 32); bpf(0, &a) };
    /// a BPF object by its number
    bpf_by_number Service |t| bpf(13, &[1; 16]);
    /// a BPF object pinned by name
    bpf_pinned Service |t| { let p = c("/sys/fs/bpf/x"); let mut a = [0u64; 16]; a[0] = p.as_ptr() as u64; bpf(7, &a) };
    /// a filter of our own on a socketpair
    socket_filter Information |t| {
        let mut p = [0i32; 2];
        sys!(SYS_socketpair, 1, 1, 0, p.as_mut_ptr())?;
        let (a, _b) = (own(p[0] as usize), own(p[1] as usize));
        let f = [0x0006_u64 | 0xffff << 32];
        let q = [1usize, f.as_ptr() as usize];
        yes(sys!(SYS_setsockopt, a.as_raw_fd(), 1, 26, at(&q), 16))
    };
    /// a new user namespace, which gives every right within it
    unshare_user Service |t| unshare(0x1000_0000);
    /// a new mount namespace
    unshare_mount Service |t| unshare(0x0002_0000);
    /// user and mount namespaces
    unshare_user_mount Service |t| unshare(0x1002_0000);
    /// user and network namespaces
    unshare_user_net Service |t| unshare(0x5000_0000);
    /// user and process namespaces
    unshare_user_pid Service |t| unshare(0x3000_0000);
    /// user and IPC namespaces
    unshare_user_ipc Service |t| unshare(0x1800_0000);
    /// user and host-name namespaces
    unshare_user_uts Service |t| unshare(0x1400_0000);
    /// user and control-group namespaces
    unshare_user_cgroup Service |t| unshare(0x1200_0000);
    /// user and time namespaces
    unshare_user_time Service |t| unshare(0x1000_0080);
    /// clone into a user namespace
    clone_user Service |t| cloned(0x1000_0000);
    /// clone into user and network namespaces
    clone_user_net Service |t| cloned(0x5000_0000);
    /// clone3 into a user namespace
    clone3_user Service |t| cloned3(0x1000_0000);
    /// clone3 into user and mount namespaces
    clone3_user_mount Service |t| cloned3(0x1002_0000);
    /// clone3 into a chosen control group
    clone3_cgroup Service |t| {
        let d = open_("/sys/fs/cgroup", O_RDONLY)?;
        let a: [u64; 11] = [0x2_0000_0000, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, d.as_raw_fd() as u64];
        ended(sys!(SYS_clone3, at(&a), 88)?)
    };
    /// clone3 with a chosen number
    clone3_number Service |t| {
        let n = [29999u32];
        let a: [u64; 11] = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, at(&n) as u64, 1, 0];
        ended(sys!(SYS_clone3, at(&a), 80)?)
    };
    /// root within a user namespace: the map written
    user_map Service |t| child(|| {
        let uid = t.num("uid")?;
        sys!(SYS_unshare, 0x1000_0000)?;
        write_(&open_("/proc/self/uid_map", libc::O_WRONLY)?, format!("0 {uid} 1").as_bytes()).and_then(|_| open_say("root in it"))
    });
    /// the victim's user namespace joined
    setns_user Process |t| setns(t, "user");
    /// the victim's network namespace joined
    setns_net Process |t| setns(t, "net");
    /// the victim's mount namespace joined
    setns_mount Process |t| setns(t, "mnt");
    /// the victim's namespaces joined by pidfd
    setns_pidfd Process |t| aside(|| {
        let p = sys!(SYS_pidfd_open, t.victim()?, 0).map(own)?;
        yes(sys!(SYS_setns, p.as_raw_fd(), 0x4000_0000))
    });
    /// our parent namespace by NS_GET_PARENT
    namespace_parent Service |t| {
        let f = open_("/proc/self/ns/user", O_RDONLY)?;
        sys!(SYS_ioctl, f.as_raw_fd(), 0xb702, 0).map(own).and_then(|_| open_say("a namespace"))
    };
    /// a bind mount
    mount_bind Data |t| as_user(|| sys!(SYS_mount, c(&t.secrets()).as_ptr(), c(t.text("dir")?).as_ptr(), 0, 0x1000, 0));
    /// a bind mount within a user namespace
    mount_bind_user Data |t| bound(t, |a, b| sys!(SYS_mount, c(a).as_ptr(), c(b).as_ptr(), 0, 0x5000, 0));
    /// a tree cloned and moved within a user namespace
    move_mount_user Data |t| bound(t, |a, b| { let d = sys!(nr 428, AT_FDCWD, c(a).as_ptr(), 1 | 0x8000).map(own)?; sys!(nr 429, d.as_raw_fd(), c("").as_ptr(), AT_FDCWD, c(b).as_ptr(), 4) });
    /// a tree cloned, and opened without being mounted
    open_tree_clone Data |t| child(|| {
        sys!(SYS_unshare, 0x1002_0000)?;
        let d = sys!(nr 428, AT_FDCWD, c(&t.secrets()).as_ptr(), 1).map(own)?;
        read_(sys!(SYS_openat, d.as_raw_fd(), c(t.way).as_ptr(), O_RDONLY).map(own)?)
    });
    /// an overlay within a user namespace
    overlay_user Data |t| bound(t, |a, b| { let o = c(&format!("lowerdir={a}:/usr")); sys!(SYS_mount, c("o").as_ptr(), c(b).as_ptr(), c("overlay").as_ptr(), 0, o.as_ptr()) });
    /// a fresh /proc within user and process namespaces
    mount_proc Service |t| child(|| {
        sys!(SYS_unshare, 0x3002_0000)?;
        child(|| yes(sys!(SYS_mount, c("p").as_ptr(), c("/proc").as_ptr(), c("proc").as_ptr(), 0, 0)))
    });
    /// another root within a user namespace
    chroot_user Data |t| child(|| {
        sys!(SYS_unshare, 0x1000_0000)?;
        sys!(SYS_chroot, c(&t.secrets()).as_ptr())?;
        read_path(&format!("/{}", t.way))
    });
    /// another root
    chroot Data |t| child(|| { sys!(SYS_chroot, c(&t.secrets()).as_ptr())?; read_path(&format!("/{}", t.way)) });
    /// pivot_root
    pivot_root Data |t| as_user(|| sys!(SYS_pivot_root, c(t.text("dir")?).as_ptr(), c(t.text("dir")?).as_ptr()));
    /// a file system opened
    fsopen Service |t| sys!(nr 430, c("tmpfs").as_ptr(), 0).map(own).and_then(|_| open_say("a descriptor"));
    /// a mounted file system picked
    fspick Service |t| sys!(nr 433, AT_FDCWD, c("/").as_ptr(), 0).map(own).and_then(|_| open_say("a descriptor"));
    /// a tree cloned
    open_tree Service |t| sys!(nr 428, AT_FDCWD, c("/").as_ptr(), 1).map(own).and_then(|_| open_say("a descriptor"));
    /// a mount's attributes
    mount_setattr Service |t| as_user(|| { let a = [0u64; 4]; sys!(SYS_mount_setattr, AT_FDCWD, c("/").as_ptr(), 0, at(&a), 32) });
    /// a file system taken away
    umount Service |t| as_user(|| sys!(SYS_umount2, c("/proc").as_ptr(), 2));
    /// the kernel's log
    syslog Service |t| { let mut b = [0u8; 256]; yes(sys!(SYS_syslog, 3, b.as_mut_ptr(), 256)) };
    /// the clock
    settimeofday Service |t| as_user(|| { let b = [0u64; 2]; sys!(SYS_settimeofday, at(&b), 0) });
    /// the clock by clock_settime
    clock_settime Service |t| as_user(|| { let b = [0u64; 2]; sys!(SYS_clock_settime, 0, at(&b)) });
    /// the clock's rate
    adjtimex Service |t| as_user(|| { let mut b = [0u64; 32]; b[0] = 0x4000; b[2] = 10000; sys!(SYS_adjtimex, at(&b)) });
    /// the machine's name
    sethostname Service |t| as_user(|| sys!(SYS_sethostname, c("x").as_ptr(), 1));
    /// a module
    init_module Service |t| as_user(|| sys!(SYS_init_module, c("x").as_ptr(), 1, c("").as_ptr()));
    /// another kernel
    kexec Service |t| as_user(|| sys!(SYS_kexec_load, 0, 0, 0, 0));
    /// a restart asked for by ^Alt-Del (turned off)
    reboot Service |t| as_user(|| sys!(SYS_reboot, 0xfee1_deadu32, 672274793, 0, 0));
    /// the ports of the hardware
    ioperm Service |t| as_user(|| sys!(SYS_ioperm, 0x80, 1, 1));
    /// all ports of the hardware
    iopl Service |t| as_user(|| sys!(SYS_iopl, 3));
    /// our own segments
    modify_ldt Information |t| { let b = [0u8; 64]; yes(sys!(SYS_modify_ldt, 0, b.as_ptr(), 64)) };
    /// another personality: no random addresses
    personality Information |t| {
        let p = sys!(SYS_personality, 0xffff_ffffu32)?;
        let r = sys!(SYS_personality, p | 0x4_0000);
        let _ = sys!(SYS_personality, p);
        yes(r)
    };
    /// secret memory
    memfd_secret Information |t| sys!(SYS_memfd_secret, 0).map(own).and_then(|_| open_say("a descriptor"));
    /// anonymous memory that can be executed
    memfd_exec Information |t| sys!(SYS_memfd_create, c("x").as_ptr(), 0x11).map(own).and_then(|_| open_say("a descriptor"));
    /// a listener for system calls of our own
    seccomp_listener Information |t| child(|| {
        let f = [0x7fff_0000_0000_0006u64];
        let p = [1usize, f.as_ptr() as usize];
        sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
        yes(sys!(SYS_seccomp, 1, 8, at(&p)))
    });
    /// more rights by capset
    capset Process |t| child(|| { let h = [0x2008_0522u32, 0]; let d = [!0u32, !0, 0, !0, !0, 0]; yes(sys!(SYS_capset, at(&h), at(&d))) });
    /// another user
    setuid Process |t| if t.num("uid")? == 0 { closed("already root") } else { child(|| yes(sys!(SYS_setuid, 0))) };
    /// another group
    setgroups Process |t| if t.num("uid")? == 0 { closed("already root") } else { child(|| { let g = [0u32]; yes(sys!(SYS_setgroups, 1, at(&g))) }) };
    /// limits raised
    limit_raised Service |t| child(|| {
        let mut o = [0u64; 2];
        sys!(SYS_prlimit64, 0, 7, 0, o.as_mut_ptr())?;
        let n = [o[0], o[1].saturating_add(1)];
        if o[1] == u64::MAX { return closed("unlimited already") } yes(sys!(SYS_prlimit64, 0, 7, at(&n), 0))
    });
    /// real-time scheduling
    realtime Service |t| child(|| { let p = [1i32]; yes(sys!(SYS_sched_setscheduler, 0, 1, at(&p))) });
    /// memory locked without limit
    mlock Information |t| child(|| yes(sys!(SYS_mlockall, 2)));
    /// a process that outlives its launcher's end (the harness looks)
    outlive Process |t| {
        let mut p = [0i32; 2];
        sys!(SYS_pipe2, p.as_mut_ptr(), libc::O_CLOEXEC)?;
        child(|| { let _ = sys!(SYS_setsid); child(|| { closed("") }) })?;
        // A grandchild whose parents are gone: it notes the harness's tag in its name, and sleeps a while.
        child(|| {
            let r = sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)?;
            if r == 0 {
                let _ = sys!(SYS_setsid);
                let n = c(&format!("w{}", &t.text("tag")?[..10]));
                let _ = sys!(SYS_prctl, libc::PR_SET_NAME, n.as_ptr());
                for fd in 0..3 { let _ = sys!(SYS_close, fd); }
                let _ = sys!(SYS_close_range, 3, u32::MAX, 0);
                // SAFETY: sleeping, then ending this process, which holds nothing.
                unsafe { libc::alarm(0); libc::sleep(20); libc::_exit(0) }
            }
            closed("")
        })?;
        witness("outlived")
    };
    /// the kernel's symbols
    kallsyms Information |t| some("/proc/kallsyms");
    /// the machine's statistics
    proc_stat Information |t| some("/proc/stat");
    /// the machine's timers
    timer_list Information |t| some("/proc/timer_list");
    /// the kernel's command line
    cmdline Information |t| some("/proc/cmdline");
    /// who is logged in
    utmp Information |t| some("/run/utmp");
    /// the processors' state in /sys
    sys_cpu Information |t| some("/sys/devices/system/cpu/online");
    /// the network interfaces in /sys
    sys_net Information |t| some("/sys/class/net/lo/address");
}

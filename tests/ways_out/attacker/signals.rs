//! Ways to signal a process outside. Each uses a signal of its own; the victim counts what arrives.

use crate::tool::*;
use libc::{AF_UNIX, SOCK_STREAM};
use std::os::fd::{AsRawFd, OwnedFd};

fn arrived(signal: i32) -> Out {
    witness(format!("signal {signal}"))
}

/// A siginfo that claims to be from `sigqueue`.
fn queued(signal: i32) -> [i32; 32] {
    let mut i = [0i32; 32];
    (i[0], i[2], i[4]) = (signal, -1, std::process::id() as i32);
    i
}

/// A pair of sockets whose first end signals its owner when the second is written to.
fn asynchronous(signal: i32, owner: impl Fn(i32) -> Result<usize, i32>) -> Out {
    let mut p = [0i32; 2];
    if sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, p.as_mut_ptr()).is_err() {
        sys!(SYS_pipe, p.as_mut_ptr())?;
    }
    let (a, b) = (own(p[0] as usize), own(p[1] as usize));
    sys!(SYS_fcntl, a.as_raw_fd(), 10, signal)?;
    owner(a.as_raw_fd())?;
    let flags = sys!(SYS_fcntl, a.as_raw_fd(), libc::F_GETFL)?;
    sys!(SYS_fcntl, a.as_raw_fd(), libc::F_SETFL, flags | libc::O_ASYNC as usize)?;
    write_(&b, b"x")?;
    arrived(signal)
}

fn pidfd(t: &T) -> Result<OwnedFd, i32> {
    sys!(SYS_pidfd_open, t.victim()?, 0).map(own)
}

/// A file in the granted folder that signals its owner on an event.
fn own_file(t: &T) -> Result<OwnedFd, i32> {
    open_(&t.granted(".own"), libc::O_CREAT | libc::O_RDONLY)
}

ways! { signals;
    /// kill
    kill Process |t| sys!(SYS_kill, t.victim()?, 34).and_then(|_| arrived(34));
    /// kill of its process group
    kill_group Process |t| sys!(SYS_kill, -(t.victim()? as isize), 35).and_then(|_| arrived(35));
    /// kill of everything
    kill_all Process |t| { t.not_root()?; let r = sys!(SYS_kill, -1isize, libc::SIGURG); witness_anyway("signal 23", r) };
    /// kill with signal 0: does it exist
    kill_zero Information |t| sys!(SYS_kill, t.victim()?, 0).and_then(|_| open_say("it exists"));
    /// tkill
    tkill Process |t| sys!(SYS_tkill, t.victim()?, 36).and_then(|_| arrived(36));
    /// tkill of another thread
    tkill_thread Process |t| sys!(SYS_tkill, t.num("tid")?, 37).and_then(|_| arrived(37));
    /// tgkill
    tgkill Process |t| sys!(SYS_tgkill, t.victim()?, t.victim()?, 38).and_then(|_| arrived(38));
    /// rt_sigqueueinfo
    sigqueue Process |t| { let i = queued(39); sys!(SYS_rt_sigqueueinfo, t.victim()?, 39, at(&i)).and_then(|_| arrived(39)) };
    /// rt_tgsigqueueinfo
    tgsigqueue Process |t| {
        let i = queued(40);
        sys!(SYS_rt_tgsigqueueinfo, t.victim()?, t.num("tid")?, 40, at(&i)).and_then(|_| arrived(40))
    };
    /// pidfd_send_signal
    pidfd Process |t| sys!(SYS_pidfd_send_signal, pidfd(t)?.as_raw_fd(), 41, 0, 0).and_then(|_| arrived(41));
    /// pidfd_send_signal with its own information
    pidfd_info Process |t| {
        let i = queued(42);
        sys!(SYS_pidfd_send_signal, pidfd(t)?.as_raw_fd(), 42, at(&i), 0).and_then(|_| arrived(42))
    };
    /// pidfd_send_signal to the process group
    pidfd_group Process |t| sys!(SYS_pidfd_send_signal, pidfd(t)?.as_raw_fd(), 43, 0, 4).and_then(|_| arrived(43));
    /// pidfd_send_signal to one thread
    pidfd_thread Process |t| {
        let p = sys!(SYS_pidfd_open, t.num("tid")?, libc::O_EXCL).map(own)?;
        sys!(SYS_pidfd_send_signal, p.as_raw_fd(), 44, 0, 1).and_then(|_| arrived(44))
    };
    /// pidfd_send_signal by its folder in /proc
    pidfd_proc Process |t| {
        let d = open_(&t.of_victim("")?, libc::O_RDONLY | libc::O_DIRECTORY)?;
        sys!(SYS_pidfd_send_signal, d.as_raw_fd(), 45, 0, 0).and_then(|_| arrived(45))
    };
    /// a socket owned by it (F_SETOWN) becomes readable
    setown Process |t| { let v = t.victim()?; asynchronous(46, |f| sys!(SYS_fcntl, f, 8, v)) };
    /// a socket owned by its group (F_SETOWN)
    setown_group Process |t| { let v = t.victim()? as isize; asynchronous(47, |f| sys!(SYS_fcntl, f, 8, -v)) };
    /// a socket owned by a thread (F_SETOWN_EX)
    setown_thread Process |t| { let o = [0i32, t.num("tid")? as i32]; asynchronous(48, |f| sys!(SYS_fcntl, f, 15, at(&o))) };
    /// a socket owned by its group (F_SETOWN_EX)
    setown_ex_group Process |t| { let o = [2i32, t.victim()? as i32]; asynchronous(49, |f| sys!(SYS_fcntl, f, 15, at(&o))) };
    /// a socket owned by it (FIOSETOWN)
    fiosetown Process |t| { let v = t.victim()? as i32; asynchronous(50, |f| sys!(SYS_ioctl, f, 0x8901, at(&v))) };
    /// a socket owned by its group (SIOCSPGRP)
    siocspgrp Process |t| { let v = -(t.victim()? as i32); asynchronous(51, |f| sys!(SYS_ioctl, f, 0x8902, at(&v))) };
    /// a pipe owned by it
    setown_pipe Process |t| {
        let mut p = [0i32; 2];
        sys!(SYS_pipe2, p.as_mut_ptr(), libc::O_NONBLOCK)?;
        let (a, b) = (own(p[0] as usize), own(p[1] as usize));
        sys!(SYS_fcntl, a.as_raw_fd(), 10, 52)?;
        sys!(SYS_fcntl, a.as_raw_fd(), 8, t.victim()?)?;
        sys!(SYS_fcntl, a.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC)?;
        write_(&b, b"x").and_then(|_| arrived(52))
    };
    /// a watched folder owned by it (dnotify)
    dnotify Process |t| {
        let d = open_(t.text("dir")?, libc::O_RDONLY | libc::O_DIRECTORY)?;
        sys!(SYS_fcntl, d.as_raw_fd(), 10, 53)?;
        sys!(SYS_fcntl, d.as_raw_fd(), libc::F_NOTIFY, 4)?;
        sys!(SYS_fcntl, d.as_raw_fd(), 8, t.victim()?)?;
        own_file(t).and_then(|_| arrived(53))
    };
    /// a lease owned by it, then broken
    lease Process |t| {
        let f = own_file(t)?;
        sys!(SYS_fcntl, f.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)?;
        sys!(SYS_fcntl, f.as_raw_fd(), 10, 54)?;
        sys!(SYS_fcntl, f.as_raw_fd(), 8, t.victim()?)?;
        let _ = open_(&t.granted(".own"), libc::O_WRONLY);
        let _ = sys!(SYS_fcntl, f.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
        arrived(54)
    };
    /// a terminal of our own, whose owner it is
    setown_terminal Process |t| {
        let m = open_("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
        let zero = 0i32;
        sys!(SYS_ioctl, m.as_raw_fd(), libc::TIOCSPTLCK, at(&zero))?;
        let s = sys!(SYS_ioctl, m.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY).map(own)?;
        sys!(SYS_fcntl, s.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC)?;
        sys!(SYS_fcntl, s.as_raw_fd(), 10, 55)?;
        sys!(SYS_fcntl, s.as_raw_fd(), 8, t.victim()?)?;
        write_(&m, b"x\n")?;
        std::thread::sleep(std::time::Duration::from_millis(30));
        drop(s);
        arrived(55)
    };
    /// a timer that signals a thread outside (SIGEV_THREAD_ID)
    timer_thread Process |t| {
        let mut e = [0i32; 16];
        (e[2], e[3], e[4]) = (56, 4, t.num("tid")? as i32);
        let mut id = 0i32;
        sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, at(&e), at_mut(&mut id))?;
        let when = [0u64, 0, 0, 1];
        sys!(SYS_timer_settime, id, 0, at(&when), 0).and_then(|_| arrived(56))
    };
    /// a process of the user's, killed
    sigkill Process idle |t| sys!(SYS_kill, t.mine("idle")?, libc::SIGKILL).and_then(|_| witness("idle state gone"));
    /// a process of the user's, stopped
    sigstop Process idle |t| sys!(SYS_kill, t.mine("idle")?, libc::SIGSTOP).and_then(|_| witness("idle state T"));
    /// the process that started us
    parent Process |t| sys!(SYS_kill, parent_outside()?, libc::SIGURG).and_then(|_| open_say("returned 0"));
    /// the group that started us
    own_group Process |t| {
        let (mine, theirs) = (sys!(SYS_getpgid, 0)?, sys!(SYS_getpgid, parent_outside()?));
        if theirs.is_ok_and(|g| g == mine) { sys!(SYS_kill, 0, libc::SIGURG).and_then(|_| open_say("our group holds our parent")) } else { closed("our parent is in another group") }
    };
}

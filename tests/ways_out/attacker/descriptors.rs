//! What was inherited: descriptors that nobody granted, the environment, working folder, limits, signals, session.

use crate::tool::*;
use std::os::fd::OwnedFd;

/// Every open descriptor from 3, but for the one that the results go to.
fn strays(t: &T) -> Vec<usize> {
    let result = t.num("result").unwrap_or(1);
    (3..4096).filter(|&n| n != result && sys!(SYS_fcntl, n, libc::F_GETFD).is_ok()).collect()
}

/// A copy of the descriptor that the harness left open under this name.
fn leaked(t: &T, kind: &str) -> Result<OwnedFd, i32> {
    let n = t.num(&format!("leaked.{kind}"))?;
    sys!(SYS_fcntl, n, libc::F_DUPFD_CLOEXEC, 3).map(own)
}

fn raw(f: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    f.as_raw_fd()
}

fn pread(f: &OwnedFd) -> Out {
    let mut b = [0u8; 64];
    let n = sys!(SYS_pread64, raw(f), b.as_mut_ptr(), 64, 0)?;
    proof(&b[..n])
}

ways! { descriptors;
    /// any descriptor from 3 to 4095
    scan Service |t| { let s = strays(t); if s.is_empty() { closed("none") } else { open_say(format!("{s:?}")) } };
    /// any descriptor, by the names in /proc/self/fd
    listed Service |t| {
        let mine = t.num("result").unwrap_or(1);
        let d = std::fs::read_dir("/proc/self/fd").map_err(|e| e.raw_os_error().unwrap_or(0))?;
        let n = d.flatten().filter_map(|e| e.file_name().to_string_lossy().parse::<usize>().ok()).filter(|&n| n > 3 && n != mine).count();
        if n > 0 { open_say(format!("{n} descriptors")) } else { closed("none") }
    };
    /// any descriptor, by poll
    polled Service |t| {
        let mine = t.num("result").unwrap_or(1) as i32;
        let mut p: Vec<libc::pollfd> = (3..512).filter(|&fd| fd != mine).map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
        sys!(SYS_poll, p.as_mut_ptr(), p.len(), 0)?;
        let n = p.iter().filter(|p| p.revents & libc::POLLNVAL == 0).count();
        if n > 0 { open_say(format!("{n} descriptors")) } else { closed("none") }
    };
    /// F_DUPFD_QUERY on what may be there
    dup_query Information |t| {
        let n = strays(t);
        match n.first() { Some(&f) => sys!(SYS_fcntl, f, 1027, f).and_then(|r| open_say(format!("same {r}"))), None => closed("none") }
    };
    /// a secret file left open, read
    file Data |t| pread(&leaked(t, "file")?);
    /// a secret file left open, written
    file_write Data |t| {
        let f = leaked(t, "write")?;
        sys!(SYS_pwrite64, raw(&f), c("overwritten").as_ptr(), 11, 0).and_then(|_| witness("leak"))
    };
    /// a secret file left open as O_PATH, opened anew
    path Data |t| { let f = leaked(t, "path")?; read_path(&format!("/proc/self/fd/{}", raw(&f))) };
    /// the secret folder left open
    folder Data |t| { let f = leaked(t, "folder")?; read_(sys!(SYS_openat, raw(&f), c(t.way).as_ptr(), 0).map(own)?) };
    /// the root folder left open
    root Data |t| { let f = leaked(t, "root")?; read_(sys!(SYS_openat, raw(&f), c(&t.file()[1..]).as_ptr(), 0).map(own)?) };
    /// a pipe left open
    pipe Data |t| {
        let f = leaked(t, "pipe")?;
        let mut b = [0u8; 64];
        let n = sys!(SYS_read, raw(&f), b.as_mut_ptr(), 64)?;
        proof(&b[..n])
    };
    /// an anonymous memory file left open
    memfd Data |t| pread(&leaked(t, "memfd")?);
    /// the victim's memory left open
    memory Data |t| {
        let f = leaked(t, "memory")?;
        let mut b = [0u8; 64];
        let n = sys!(SYS_pread64, raw(&f), b.as_mut_ptr(), 64, t.num("marker")?)?;
        proof(&b[..n])
    };
    /// a pidfd left open, and signalled
    pidfd Process |t| { let f = leaked(t, "pidfd")?; sys!(SYS_pidfd_send_signal, raw(&f), 60, 0, 0).and_then(|_| witness("signal 60")) };
    /// a connected TCP socket left open
    tcp Network |t| { let f = leaked(t, "tcp")?; write_(&f, t.token()).and_then(|_| witness("token")) };
    /// an unconnected UDP socket left open
    udp Network |t| {
        let (f, p) = (leaked(t, "udp")?, (t.num("udp")? as u16).to_be_bytes());
        let a = [2u8, 0, p[0], p[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        sys!(SYS_sendto, raw(&f), t.token().as_ptr(), t.token().len(), 0, a.as_ptr(), 16).and_then(|_| witness("token"))
    };
    /// a Unix datagram socket left open
    unix Service |t| {
        let f = leaked(t, "unix")?;
        let mut a = vec![1u8, 0];
        a.extend_from_slice(t.text("unixdgram")?.as_bytes());
        sys!(SYS_sendto, raw(&f), t.token().as_ptr(), t.token().len(), 0, a.as_ptr(), a.len()).and_then(|_| witness("token"))
    };
    /// a descriptor table unshared, then looked through
    close_range_unshare Service |t| {
        sys!(SYS_close_range, 4095, 4095, 2)?;
        let s = strays(t);
        if s.is_empty() { closed("none") } else { open_say(format!("{} descriptors", s.len())) }
    };
    /// the environment
    environment Data |t| {
        let all = std::env::vars_os().map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect::<Vec<_>>().join(" ");
        proof(all.as_bytes())
    };
    /// the environment by /proc
    environment_proc Data |t| read_path("/proc/self/environ");
    /// what lies on the stack above the environment
    stack Data |t| {
        let f = open_("/proc/self/mem", libc::O_RDONLY)?;
        let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| e.raw_os_error().unwrap_or(0))?;
        let end = maps.lines().find(|l| l.ends_with("[stack]")).and_then(|l| usize::from_str_radix(l.split(['-', ' ']).nth(1)?, 16).ok()).ok_or(libc::ENOENT)?;
        let mut b = vec![0u8; 16384];
        let n = sys!(SYS_pread64, raw(&f), b.as_mut_ptr(), b.len(), end - 16384)?;
        proof(&b[..n])
    };
    /// the working folder we were started in
    cwd Data |t| {
        let d = sys!(SYS_openat, libc::AT_FDCWD, c(".").as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY).map(own)?;
        read_(sys!(SYS_openat, raw(&d), c(t.way).as_ptr(), 0).map(own)?)
    };
    /// the session of the launcher's launcher
    session Information |t| {
        let s = sys!(SYS_getsid, 0)?;
        if s == t.num("session")? { open_say("the harness's session") } else { closed("another session") }
    };
    /// the controlling terminal
    tty Information |t| open_("/dev/tty", libc::O_RDWR | libc::O_NOCTTY).and_then(|_| open_say("opened"));
    /// supplementary groups
    groups Information |t| {
        let g = [0u32; 64];
        let n = sys!(SYS_getgroups, 64, at(&g))?;
        if n > 0 { open_say(format!("{n} groups")) } else { closed("none") }
    };
    /// core files that a crash may leave
    core_limit Information |t| {
        let l = [0u64; 2];
        sys!(SYS_prlimit64, 0, 4, 0, at(&l))?;
        if l[1] > 0 { open_say("allowed") } else { closed("none") }
    };
}

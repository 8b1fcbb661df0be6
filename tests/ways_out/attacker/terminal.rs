//! Ways by terminals: the one we were started on, one that the user has elsewhere, and terminals of our own.

use crate::tool::*;
use libc::{O_NOCTTY, O_RDWR};
use std::os::fd::{AsRawFd, OwnedFd};

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|_| open_say("done"))
}

fn theirs(t: &T) -> Result<OwnedFd, i32> {
    open_(t.text("tty")?, O_RDWR | O_NOCTTY)
}

/// Pushes one character of input, as if it had been typed; each attempt has its own.
fn push(fd: i32, what: u8) -> Result<usize, i32> {
    let b = [what];
    sys!(SYS_ioctl, fd, libc::TIOCSTI, b.as_ptr())
}

fn ours() -> Result<(OwnedFd, OwnedFd), i32> {
    let (m, no) = (open_("/dev/ptmx", O_RDWR | O_NOCTTY)?, 0i32);
    sys!(SYS_ioctl, m.as_raw_fd(), libc::TIOCSPTLCK, at(&no))?;
    let s = sys!(SYS_ioctl, m.as_raw_fd(), libc::TIOCGPTPEER, O_RDWR | O_NOCTTY).map(own)?;
    Ok((m, s))
}

fn is_terminal(fd: i32) -> bool {
    let b = [0u64; 16];
    sys!(SYS_ioctl, fd, libc::TCGETS, at(&b)).is_ok()
}

/// Something done to the terminal that was given as standard input.
fn given(f: impl FnOnce(i32) -> Out) -> Out {
    if is_terminal(0) { f(0) } else { Ok(Say::Absent("standard input is no terminal".into())) }
}

ways! { terminal;
    /// input pushed into the terminal we were given (TIOCSTI)
    push_given Service |t| given(|f| push(f, b'1').and_then(|_| witness("typed 1")));
    /// input pushed into /dev/tty
    push_tty Service |t| { let f = open_("/dev/tty", O_RDWR)?; push(f.as_raw_fd(), b'2').and_then(|_| witness("typed 2")) };
    /// input pushed into the given terminal, its number with high bits set
    push_high Service |t| given(|f| { let b = [b'3']; sys!(SYS_ioctl, f, 0x1_0000_5412u64, b.as_ptr()).and_then(|_| witness("typed 3")) });
    /// input pushed into the given terminal, opened anew by /proc
    push_reopened Service |t| given(|_| { let f = open_("/proc/self/fd/0", O_RDWR | O_NOCTTY)?; push(f.as_raw_fd(), b'4').and_then(|_| witness("typed 4")) });
    /// a new session that takes the given terminal, and pushes
    push_session Service |t| given(|_| child(|| { sys!(SYS_setsid)?; sys!(SYS_ioctl, 0, libc::TIOCSCTTY, 1)?; push(0, b'5').and_then(|_| witness("typed 5")) }));
    /// the given terminal taken back after it was left (TIOCNOTTY)
    push_back Service |t| given(|_| child(|| { let _ = sys!(SYS_ioctl, 0, libc::TIOCNOTTY, 0); let f = open_("/dev/tty", O_RDWR)?; push(f.as_raw_fd(), b'6').and_then(|_| witness("typed 6")) }));
    /// what was typed at the user's other terminal
    read Data |t| read_(theirs(t)?);
    /// text on the user's other terminal
    write Service |t| write_(&theirs(t)?, t.token()).and_then(|_| witness("shown"));
    /// the other terminal's modes
    modes Service |t| {
        let (f, mut m) = (theirs(t)?, [0u32; 16]);
        sys!(SYS_ioctl, f.as_raw_fd(), libc::TCGETS, at_mut(&mut m))?;
        m[3] ^= libc::ECHO;
        sys!(SYS_ioctl, f.as_raw_fd(), libc::TCSETS, at(&m)).and_then(|_| witness("tty echo"))
    };
    /// the other terminal's size
    size Service |t| {
        let (f, w) = (theirs(t)?, [77u16, 77, 0, 0]);
        sys!(SYS_ioctl, f.as_raw_fd(), libc::TIOCSWINSZ, at(&w)).and_then(|_| witness("tty size"))
    };
    /// the other terminal, taken by a new session, and input pushed
    push_other Service |t| child(|| {
        let f = open_(t.text("tty2")?, O_RDWR | O_NOCTTY)?;
        sys!(SYS_setsid)?;
        sys!(SYS_ioctl, f.as_raw_fd(), libc::TIOCSCTTY, 0)?;
        push(f.as_raw_fd(), b'7').and_then(|_| { std::thread::sleep(std::time::Duration::from_millis(80)); witness("typed 7") })
    });
    /// the other terminal hung up or flushed
    flush Service |t| { let f = theirs(t)?; yes(sys!(SYS_ioctl, f.as_raw_fd(), libc::TCFLSH, 2)) };
    /// the other terminal, by the victim's descriptor
    open_other Service |t| theirs(t).and_then(|_| open_say("opened"));
    /// the size of the given terminal
    size_given Metadata |t| given(|f| {
        let w = [78u16, 78, 0, 0];
        sys!(SYS_ioctl, f, libc::TIOCSWINSZ, at(&w)).and_then(|_| open_say("set"))
    });
    /// the modes of the given terminal
    modes_given Metadata |t| given(|f| {
        let mut m = [0u32; 16];
        sys!(SYS_ioctl, f, libc::TCGETS, at_mut(&mut m))?;
        yes(sys!(SYS_ioctl, f, libc::TCSETS, at(&m)))
    });
    /// the foreground group of the given terminal
    group_given Metadata |t| given(|f| {
        let mut g = 0i32;
        sys!(SYS_ioctl, f, libc::TIOCGPGRP, at_mut(&mut g))?;
        yes(sys!(SYS_ioctl, f, libc::TIOCSPGRP, at(&g)))
    });
    /// the foreground given to the launcher's group, whose process then hears ^C
    group_parent Metadata |t| given(|f| {
        let g = sys!(SYS_getpgid, std::os::unix::process::parent_id())? as i32;
        yes(sys!(SYS_ioctl, f, libc::TIOCSPGRP, at(&g)))
    });
    /// another line discipline for the given terminal
    discipline Service |t| given(|f| {
        let n = 27i32;
        let r = sys!(SYS_ioctl, f, libc::TIOCSETD, at(&n));
        let n = 0i32;
        let _ = sys!(SYS_ioctl, f, libc::TIOCSETD, at(&n));
        yes(r)
    });
    /// another line discipline for a terminal of our own
    discipline_own Information |t| { let ((_m, s), n) = (ours()?, 27i32); yes(sys!(SYS_ioctl, s.as_raw_fd(), libc::TIOCSETD, at(&n))) };
    /// the console's text, taken (TIOCCONS)
    console Service |t| t.not_root().and_then(|()| given(|f| yes(sys!(SYS_ioctl, f, libc::TIOCCONS, 0))));
    /// text pasted on a virtual console (TIOCLINUX)
    paste Service |t| given(|f| { let b = [3u8, 0]; yes(sys!(SYS_ioctl, f, libc::TIOCLINUX, b.as_ptr())) });
    /// a signal by a terminal's master (TIOCSIG)
    signal Process |t| given(|f| yes(sys!(SYS_ioctl, f, 0x4004_5436, libc::SIGURG)));
    /// the slave's peer from the given terminal (TIOCGPTPEER)
    peer Service |t| given(|f| yes(sys!(SYS_ioctl, f, libc::TIOCGPTPEER, O_RDWR | O_NOCTTY)));
    /// exclusive use of the other terminal
    exclusive Service |t| {
        let f = theirs(t)?;
        let r = sys!(SYS_ioctl, f.as_raw_fd(), libc::TIOCEXCL, 0);
        let _ = sys!(SYS_ioctl, f.as_raw_fd(), libc::TIOCNXCL, 0);
        yes(r)
    };
    /// a terminal of our own
    ptmx Information |t| ours().and_then(|_| open_say("made"));
    /// the terminals there are
    names Information |t| {
        let n = std::fs::read_dir("/dev/pts").map_err(|e| e.raw_os_error().unwrap_or(0))?.flatten().count();
        if n > 0 { open_say(format!("{n} names")) } else { closed("none") }
    };
    /// hanging up our terminal (vhangup)
    vhangup Service |t| if t.num("uid")? == 0 { closed("not tried as root") } else { yes(sys!(SYS_vhangup)) };
}

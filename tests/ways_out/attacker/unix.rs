//! Ways to a service by Unix sockets: by path, by abstract name, from pairs, with descriptors, and those of the system.

use crate::net::{socket, wait};
use crate::tool::*;
use libc::{AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM};
use std::os::fd::{AsRawFd, OwnedFd};

/// An address by path, or by abstract name when it starts with `@`.
fn address(name: &str) -> Vec<u8> {
    let mut a = (AF_UNIX as u16).to_ne_bytes().to_vec();
    match name.strip_prefix('@') {
        Some(n) => {
            a.push(0);
            a.extend_from_slice(n.as_bytes());
        }
        None => {
            a.extend_from_slice(name.as_bytes());
            a.push(0);
        }
    }
    a
}

fn connected(kind: i32, name: &str) -> Result<OwnedFd, i32> {
    let (s, a) = (socket(AF_UNIX, kind | SOCK_NONBLOCK, 0)?, address(name));
    sys!(SYS_connect, s.as_raw_fd(), a.as_ptr(), a.len())?;
    Ok(s)
}

fn told(t: &T, s: &OwnedFd) -> Out {
    sys!(SYS_sendto, s.as_raw_fd(), t.token().as_ptr(), t.token().len(), libc::MSG_NOSIGNAL, 0, 0)?;
    witness("token")
}

fn tell(t: &T, kind: i32, name: &str) -> Out {
    told(t, &connected(kind, name)?)
}

fn pair(kind: i32) -> Result<(OwnedFd, OwnedFd), i32> {
    let mut p = [0i32; 2];
    sys!(SYS_socketpair, AF_UNIX, kind | SOCK_NONBLOCK, 0, p.as_mut_ptr())?;
    Ok((own(p[0] as usize), own(p[1] as usize)))
}

fn send_to(t: &T, s: &OwnedFd, name: &str) -> Out {
    let (a, d) = (address(name), t.token());
    sys!(SYS_sendto, s.as_raw_fd(), d.as_ptr(), d.len(), libc::MSG_NOSIGNAL, a.as_ptr(), a.len())?;
    witness("token")
}

fn send_message(t: &T, s: &OwnedFd, name: &str, control: &[u8]) -> Out {
    let (a, d) = (address(name), t.token());
    let v = [d.as_ptr() as usize, d.len()];
    let named = if name.is_empty() { (0, 0) } else { (a.as_ptr() as usize, a.len()) };
    let m = [named.0, named.1, at(&v), 1, control.as_ptr() as usize, control.len(), 0];
    sys!(SYS_sendmsg, s.as_raw_fd(), at(&m), libc::MSG_NOSIGNAL)?;
    witness("token")
}

/// Waits for a descriptor to come with a message, and reads what it is of.
fn receive_descriptor(s: &OwnedFd) -> Out {
    wait(s.as_raw_fd(), 400)?;
    let (mut d, mut k) = ([0u8; 64], [0u64; 8]);
    let v = [at_mut(&mut d), 64];
    let m = [0, 0, at(&v), 1, at_mut(&mut k), 64, 0];
    sys!(SYS_recvmsg, s.as_raw_fd(), at(&m), libc::MSG_CMSG_CLOEXEC)?;
    if k[0] < 20 {
        return closed("no descriptor came");
    }
    let (f, mut b) = (own(k[2] as u32 as usize), [0u8; 64]);
    let n = sys!(SYS_pread64, f.as_raw_fd(), b.as_mut_ptr(), 64, 0)?;
    proof(&b[..n])
}

/// Credentials that claim to be somebody else's.
fn forged(pid: u32, uid: u32) -> Vec<u8> {
    let mut k = 28usize.to_ne_bytes().to_vec();
    for w in [1u32, 2, pid, uid, uid, 0] {
        k.extend_from_slice(&w.to_ne_bytes());
    }
    k
}

/// A listener of ours that the harness tries to reach with the canary.
fn serve(name: &str, bind: bool) -> Out {
    let (s, a) = (socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)?, address(name));
    sys!(SYS_bind, s.as_raw_fd(), a.as_ptr(), if bind { a.len() } else { 2 })?;
    sys!(SYS_listen, s.as_raw_fd(), 4)?;
    wait(s.as_raw_fd(), 600)?;
    let c = sys!(SYS_accept4, s.as_raw_fd(), 0, 0, 0).map(own)?;
    wait(c.as_raw_fd(), 300)?;
    read_(c)
}

/// A socket of the system's own, when there is one.
fn system(kind: i32, path: &str) -> Out {
    match connected(kind, path) {
        Ok(_) => open_say(format!("connected to {path}")),
        Err(libc::ENOENT) => Ok(Say::Absent(format!("no {path}"))),
        Err(e) => Err(e),
    }
}

ways! { unix;
    /// a stream by path
    stream Service |t| tell(t, SOCK_STREAM, t.text("unix")?);
    /// datagrams by path, connected
    dgram Service |t| tell(t, SOCK_DGRAM, t.text("unixdgram")?);
    /// packets in order by path
    seqpacket Service |t| tell(t, SOCK_SEQPACKET, t.text("unixseq")?);
    /// a datagram by path, not connected
    dgram_sendto Service |t| send_to(t, &socket(AF_UNIX, SOCK_DGRAM, 0)?, t.text("unixdgram")?);
    /// a datagram by sendmsg with a name
    dgram_sendmsg Service |t| send_message(t, &socket(AF_UNIX, SOCK_DGRAM, 0)?, t.text("unixdgram")?, &[]);
    /// a raw Unix socket, which is a datagram one
    raw Service |t| send_to(t, &socket(AF_UNIX, libc::SOCK_RAW, 0)?, t.text("unixdgram")?);
    /// sendto from a datagram socketpair
    pair_sendto Service |t| send_to(t, &pair(SOCK_DGRAM)?.0, t.text("unixdgram")?);
    /// sendto from a raw socketpair
    pair_raw Service |t| send_to(t, &pair(libc::SOCK_RAW)?.0, t.text("unixdgram")?);
    /// sendmsg with a name from a datagram socketpair
    pair_sendmsg Service |t| send_message(t, &pair(SOCK_DGRAM)?.0, t.text("unixdgram")?, &[]);
    /// sendmmsg with a name from a datagram socketpair
    pair_sendmmsg Service |t| {
        let ((s, _p), a, d) = (pair(SOCK_DGRAM)?, address(t.text("unixdgram")?), t.token());
        let v = [d.as_ptr() as usize, d.len()];
        let m = [a.as_ptr() as usize, a.len(), at(&v), 1, 0, 0, 0, 0];
        sys!(SYS_sendmmsg, s.as_raw_fd(), at(&m), 1, 0)?;
        witness("token")
    };
    /// a datagram socketpair connected anew
    pair_connect Service |t| {
        let ((s, _p), a) = (pair(SOCK_DGRAM)?, address(t.text("unixdgram")?));
        sys!(SYS_connect, s.as_raw_fd(), a.as_ptr(), a.len())?;
        told(t, &s)
    };
    /// a datagram socketpair, disconnected by AF_UNSPEC and connected anew
    pair_unspec Service |t| {
        let ((s, _p), a) = (pair(SOCK_DGRAM)?, address(t.text("unixdgram")?));
        sys!(SYS_connect, s.as_raw_fd(), [0u8; 16].as_ptr(), 16)?;
        sys!(SYS_connect, s.as_raw_fd(), a.as_ptr(), a.len())?;
        told(t, &s)
    };
    /// sendmsg with a name from a stream socketpair
    pair_stream Service |t| { let (a, _b) = pair(SOCK_STREAM)?; send_message(t, &a, t.text("unix")?, &[]) };
    /// a stream socketpair connected anew
    pair_stream_connect Service |t| {
        let ((s, _p), a) = (pair(SOCK_STREAM)?, address(t.text("unix")?));
        sys!(SYS_connect, s.as_raw_fd(), a.as_ptr(), a.len())?;
        told(t, &s)
    };
    /// sendmsg with a name from a packet socketpair
    pair_seqpacket Service |t| { let (a, _b) = pair(SOCK_SEQPACKET)?; send_message(t, &a, t.text("unixdgram")?, &[]) };
    /// by a relative path after chdir
    relative Service |t| aside(|| {
        let p = t.text("unix")?;
        let (d, f) = p.rsplit_once('/').unwrap_or(("/", p));
        sys!(SYS_chdir, c(d).as_ptr())?;
        let r = tell(t, SOCK_STREAM, f);
        let _ = sys!(SYS_chdir, c("/").as_ptr());
        r
    });
    /// by a symlink planted in the granted folder
    symlink Service |t| {
        let l = t.granted(".l");
        sys!(SYS_symlink, c(t.text("unix")?).as_ptr(), c(&l).as_ptr())?;
        tell(t, SOCK_STREAM, &l)
    };
    /// by the magic name of an O_PATH descriptor
    magic Service |t| { let f = open_(t.text("unix")?, libc::O_PATH)?; tell(t, SOCK_STREAM, &format!("/proc/self/fd/{}", f.as_raw_fd())) };
    /// by a hard link in the granted folder
    hardlink Service |t| {
        let l = t.granted(".h");
        sys!(SYS_link, c(t.text("unix")?).as_ptr(), c(&l).as_ptr())?;
        tell(t, SOCK_STREAM, &l)
    };
    /// a stream by abstract name
    abstract_stream Service |t| tell(t, SOCK_STREAM, &format!("@{}", t.text("abstract")?));
    /// datagrams by abstract name
    abstract_dgram Service |t| tell(t, SOCK_DGRAM, &format!("@{}.dgram", t.text("abstract")?));
    /// packets by abstract name
    abstract_seqpacket Service |t| tell(t, SOCK_SEQPACKET, &format!("@{}.seq", t.text("abstract")?));
    /// a datagram by abstract name, not connected
    abstract_sendto Service |t| send_to(t, &socket(AF_UNIX, SOCK_DGRAM, 0)?, &format!("@{}.dgram", t.text("abstract")?));
    /// sendto an abstract name from a datagram socketpair
    abstract_pair Service |t| send_to(t, &pair(SOCK_DGRAM)?.0, &format!("@{}.dgram", t.text("abstract")?));
    /// a descriptor received from a service (SCM_RIGHTS)
    rights Data |t| { let s = connected(SOCK_STREAM, t.text("unix")?)?; told(t, &s)?; receive_descriptor(&s) };
    /// a descriptor received from an abstract service
    rights_abstract Data |t| {
        let s = connected(SOCK_STREAM, &format!("@{}", t.text("abstract")?))?;
        told(t, &s)?;
        receive_descriptor(&s)
    };
    /// one of our descriptors given to a datagram service
    rights_give Service |t| {
        let (f, mut k) = (open_("/dev/null", libc::O_RDONLY)?, 20usize.to_ne_bytes().to_vec());
        for w in [1i32, 1, f.as_raw_fd(), 0] { k.extend_from_slice(&w.to_ne_bytes()); }
        let (s, _p) = pair(SOCK_DGRAM)?;
        send_message(t, &s, t.text("unixdgram")?, &k[..24])
    };
    /// credentials of another user, forged
    credentials_user Service |t| {
        let s = connected(SOCK_STREAM, t.text("unix")?)?;
        send_message(t, &s, "", &forged(std::process::id(), 0))
    };
    /// credentials of another process, forged
    credentials_process Service |t| {
        let s = connected(SOCK_STREAM, t.text("unix")?)?;
        send_message(t, &s, "", &forged(t.victim()? as u32, t.num("uid")? as u32))
    };
    /// the service's process as a pidfd
    peer_pidfd Service |t| {
        let (s, mut f, mut n) = (connected(SOCK_STREAM, t.text("unix")?)?, 0i32, 4i32);
        sys!(SYS_getsockopt, s.as_raw_fd(), 1, 77, at_mut(&mut f), at_mut(&mut n))?;
        drop(own(f as usize));
        open_say("a pidfd")
    };
    /// the service's file (SIOCUNIXFILE)
    peer_file Metadata |t| {
        let s = connected(SOCK_STREAM, t.text("unix")?)?;
        sys!(SYS_ioctl, s.as_raw_fd(), 0x89e0, 0).map(own).and_then(|_| open_say("a descriptor"))
    };
    /// a service of ours under an abstract name
    serve_abstract Service |t| serve(&format!("@{}.in.1", t.text("abstract")?), true);
    /// a service of ours under a name of the kernel's choice
    serve_autobind Service |t| serve("@", false);
    /// an abstract name asked for by one of a pair: whether a service has it, and none while we do
    abstract_taken Service |t| {
        let mut pair = [0i32; 2];
        sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair.as_mut_ptr())?;
        let [one, _other] = pair.map(|fd| own(fd as usize));
        let a = address(&format!("@{}", t.text("abstract")?));
        match sys!(SYS_bind, one.as_raw_fd(), a.as_ptr(), a.len()) {
            Err(libc::EADDRINUSE) => open_say("the service has it"),
            Err(e) => Err(e),
            Ok(_) => closed("the name is another one here"),
        }
    };
    /// a service of ours by a path beside the secrets
    serve_there Service |t| serve(&format!("{}/in.1", t.secrets()), true);
    /// a service of ours by a path in the granted folder
    serve_granted Service |t| serve(&format!("{}/in.2", t.text("dir")?), true);
    /// the system's message bus
    dbus Service |t| system(SOCK_STREAM, "/run/dbus/system_bus_socket");
    /// the user's message bus
    dbus_user Service |t| system(SOCK_STREAM, &format!("/run/user/{}/bus", t.text("uid")?));
    /// the service manager
    systemd Service |t| system(SOCK_STREAM, "/run/systemd/private");
    /// the user's service manager
    systemd_user Service |t| system(SOCK_STREAM, &format!("/run/user/{}/systemd/private", t.text("uid")?));
    /// the service manager's notice socket
    systemd_notify Service |t| system(SOCK_DGRAM, "/run/systemd/notify");
    /// the journal
    journal Service |t| system(SOCK_STREAM, "/run/systemd/journal/stdout");
    /// the log
    syslog Service |t| system(SOCK_DGRAM, "/dev/log");
    /// Docker
    docker Service |t| system(SOCK_STREAM, "/run/docker.sock");
    /// containerd
    containerd Service |t| system(SOCK_STREAM, "/run/containerd/containerd.sock");
    /// Podman
    podman Service |t| system(SOCK_STREAM, &format!("/run/user/{}/podman/podman.sock", t.text("uid")?));
    /// the name cache
    nscd Service |t| system(SOCK_STREAM, "/run/nscd/socket");
    /// the device manager
    udev Service |t| system(SOCK_SEQPACKET, "/run/udev/control");
    /// the display
    x11 Service |t| system(SOCK_STREAM, "/tmp/.X11-unix/X0");
    /// the display by its abstract name
    x11_abstract Service |t| match system(SOCK_STREAM, "@/tmp/.X11-unix/X0") { Err(libc::ECONNREFUSED) => Ok(Say::Absent("no display".into())), r => r };
    /// the compositor
    wayland Service |t| system(SOCK_STREAM, &format!("/run/user/{}/wayland-0", t.text("uid")?));
    /// the keys' agent
    gpg Service |t| system(SOCK_STREAM, &format!("/run/user/{}/gnupg/S.gpg-agent", t.text("uid")?));
}

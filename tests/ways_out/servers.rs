//! The services outside: listeners of every kind on loopback, which note which attempt reached them, and a visitor
//! that goes to any new listener of this user with the canary, as a friend outside would.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a descriptor of the service thread is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Listener,
    /// A stream or datagram socket, or a pipe, on which names of attempts arrive.
    Ear,
    /// A terminal, on which single characters arrive.
    Terminal,
}

#[derive(Default)]
pub struct Heard {
    pub tokens: HashSet<String>,
    pub typed: HashSet<char>,
}

pub struct Servers {
    pub arguments: Vec<(String, String)>,
    pub heard: Arc<Mutex<Heard>>,
    pub tcp: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

pub fn socket(family: i32, kind: i32, protocol: i32) -> Option<OwnedFd> {
    // SAFETY: a plain call; the descriptor it returns is nobody else's.
    unsafe {
        let fd = libc::socket(family, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, protocol);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// A loopback address: 127.0.0.`last`, or ::1 when the family is 6.
pub fn loopback(six: bool, last: u8, port: u16) -> Vec<u8> {
    let p = port.to_be_bytes();
    if six {
        let mut a = vec![libc::AF_INET6 as u8, 0, p[0], p[1]];
        a.extend_from_slice(&[0; 19]);
        a.extend_from_slice(&[1, 0, 0, 0, 0]);
        a
    } else {
        vec![libc::AF_INET as u8, 0, p[0], p[1], 127, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// Waits until no other run of this user is under way: two would visit each other's listeners. The turn lasts as long
/// as the socket, whose abstract name leaves nothing behind.
pub fn turn(uid: u32) -> std::io::Result<OwnedFd> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        let s = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).ok_or_else(std::io::Error::last_os_error)?;
        if bind(&s, &unix_address(&format!("@ways-out.turn.{uid}"))) {
            return Ok(s);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(std::io::Error::other("another run of this user does not end"))
}

fn unix_address(name: &str) -> Vec<u8> {
    let mut a = vec![1u8, 0];
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

fn bind(fd: &OwnedFd, a: &[u8]) -> bool {
    // SAFETY: the address is a whole slice of bytes in the kernel's layout, and lives across the call.
    unsafe { libc::bind(fd.as_raw_fd(), a.as_ptr().cast(), a.len() as u32) == 0 }
}

pub fn connect(fd: &OwnedFd, a: &[u8]) -> bool {
    // SAFETY: as for `bind`.
    unsafe { libc::connect(fd.as_raw_fd(), a.as_ptr().cast(), a.len() as u32) == 0 }
}

fn listen(fd: &OwnedFd) {
    // SAFETY: a plain call on our own descriptor.
    unsafe { libc::listen(fd.as_raw_fd(), 64) };
}

fn port(fd: &OwnedFd) -> u16 {
    let (mut a, mut n) = ([0u8; 64], 64u32);
    // SAFETY: the buffer is as long as said.
    unsafe { libc::getsockname(fd.as_raw_fd(), a.as_mut_ptr().cast(), &mut n) };
    u16::from_be_bytes([a[2], a[3]])
}

fn send(fd: RawFd, b: &[u8]) {
    // SAFETY: the bytes live across the call.
    unsafe { libc::send(fd, b.as_ptr().cast(), b.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
}

/// Gives the other end a descriptor of a secret, as a service would that trusts whoever connects.
fn give(fd: RawFd, secret: RawFd) {
    let mut control = [0usize; 4];
    control[0] = 20;
    control[1] = 1 | 1 << 32;
    control[2] = secret as usize;
    let mut byte = *b"x";
    let mut v = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: the message points only at the locals above, with their true lengths.
    unsafe {
        let mut m: libc::msghdr = std::mem::zeroed();
        (m.msg_iov, m.msg_iovlen) = (&mut v, 1);
        (m.msg_control, m.msg_controllen) = (control.as_mut_ptr().cast(), 24);
        libc::sendmsg(fd, &m, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
    }
}

/// Joins a session keyring by name, for this thread alone, and puts a key into it.
fn named_ring(name: &str, canary: &str) {
    let (n, k, u) = (CString::new(name).unwrap_or_default(), c"named", c"user");
    // SAFETY: all strings live across the calls; the ring is this thread's only.
    unsafe {
        let ring = libc::syscall(libc::SYS_keyctl, 1, n.as_ptr());
        libc::syscall(libc::SYS_keyctl, 5, ring, 0x3f3f_0000u32);
        let id =
            libc::syscall(libc::SYS_add_key, u.as_ptr(), k.as_ptr(), canary.as_ptr(), canary.len(), ring);
        libc::syscall(libc::SYS_keyctl, 5, id, 0x3f3f_0000u32);
    }
}

/// The listening TCP ports, or the bound UDP ports, of this user: (inode, port, version 6).
fn ports(udp: bool) -> Vec<(u64, u16, bool)> {
    let mut all = Vec::new();
    let uid = fs::metadata("/proc/self").map_or(0, |m| m.uid()).to_string();
    for six in [false, true] {
        let name = format!("/proc/net/{}{}", if udp { "udp" } else { "tcp" }, if six { "6" } else { "" });
        for line in fs::read_to_string(name).unwrap_or_default().lines().skip(1) {
            let f: Vec<&str> = line.split_whitespace().collect();
            if f.len() < 10 || f[3] != if udp { "07" } else { "0A" } || (f[7] != uid && f[7] != "0") {
                continue;
            }
            let port = f[1].split_once(':').and_then(|(_, p)| u16::from_str_radix(p, 16).ok()).unwrap_or(0);
            all.push((f[9].parse().unwrap_or(0), port, six));
        }
    }
    all
}

/// The abstract names that the kernel chose for listening sockets.
fn chosen_names() -> HashSet<String> {
    let all = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let listening = all.lines().filter(|l| l.split_whitespace().nth(3) == Some("00010000"));
    listening
        .filter_map(|l| l.split_whitespace().nth(7))
        .filter(|n| n.len() == 6 && n.starts_with('@'))
        .map(str::to_string)
        .collect()
}

impl Servers {
    /// Starts them all. `ears` are pipes, and `terminals` the slaves on which input may be pushed.
    pub fn start(
        base: &str,
        tag: &str,
        canary: &str,
        ears: Vec<OwnedFd>,
        terminals: Vec<OwnedFd>,
    ) -> Servers {
        let mut fds: Vec<(OwnedFd, Kind)> = ears.into_iter().map(|f| (f, Kind::Ear)).collect();
        fds.extend(terminals.into_iter().map(|f| (f, Kind::Terminal)));
        let mut arguments = Vec::new();
        let tcp = Self::inet(&mut fds, libc::SOCK_STREAM, 77);
        let udp = Self::inet(&mut fds, libc::SOCK_DGRAM, 99);
        arguments.push(("tcp".to_string(), tcp.to_string()));
        arguments.push(("udp".to_string(), udp.to_string()));
        if let Some(s) =
            socket(libc::AF_INET, libc::SOCK_DGRAM, 136).filter(|s| bind(s, &loopback(false, 1, udp)))
        {
            fds.push((s, Kind::Ear));
        }
        let abstract_name = format!("{tag}.abstract");
        for (key, kind, path, name) in [
            ("unix", libc::SOCK_STREAM, format!("{base}/secret/stream.sock"), abstract_name.clone()),
            (
                "unixdgram",
                libc::SOCK_DGRAM,
                format!("{base}/secret/dgram.sock"),
                format!("{abstract_name}.dgram"),
            ),
            (
                "unixseq",
                libc::SOCK_SEQPACKET,
                format!("{base}/secret/seq.sock"),
                format!("{abstract_name}.seq"),
            ),
        ] {
            for at in [path.clone(), format!("@{name}")] {
                if let Some(s) = socket(libc::AF_UNIX, kind, 0).filter(|s| bind(s, &unix_address(&at))) {
                    listen(&s);
                    fds.push((s, if kind == libc::SOCK_DGRAM { Kind::Ear } else { Kind::Listener }));
                }
            }
            arguments.push((key.to_string(), path));
        }
        arguments.push(("abstract".to_string(), abstract_name.clone()));
        if let Some(s) = socket(libc::AF_NETLINK, libc::SOCK_DGRAM, 2)
            .filter(|s| bind(s, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
        {
            let (mut a, mut n) = ([0u32; 3], 12u32);
            // SAFETY: the buffer is as long as said.
            unsafe { libc::getsockname(s.as_raw_fd(), a.as_mut_ptr().cast(), &mut n) };
            arguments.push(("netlink".to_string(), a[1].to_string()));
            fds.push((s, Kind::Ear));
        }
        if let Some(s) = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) {
            let port = 0x7000_0000 + std::process::id();
            let mut a = vec![40u8, 0, 0, 0];
            a.extend_from_slice(&port.to_ne_bytes());
            a.extend_from_slice(&1u32.to_ne_bytes());
            a.extend_from_slice(&[0; 4]);
            if bind(&s, &a) {
                listen(&s);
                arguments.push(("vsock".to_string(), port.to_string()));
                fds.push((s, Kind::Listener));
            }
        }
        arguments.push(("named_ring".to_string(), format!("{tag}.ring")));
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Heard::default())));
        let (s, h, ring, canary) = (stop.clone(), heard.clone(), format!("{tag}.ring"), canary.to_string());
        let calls = vec![
            format!("@{abstract_name}.in.1"),
            format!("{base}/secret/in.1"),
            format!("{base}/granted/in.2"),
        ];
        let secret = fs::File::open(format!("{base}/secret/held")).map(OwnedFd::from).ok();
        let (ready, go) = std::sync::mpsc::channel();
        let known: HashSet<u64> = ports(false).iter().chain(ports(true).iter()).map(|p| p.0).collect();
        let thread = std::thread::spawn(move || {
            named_ring(&ring, &canary);
            let _ = ready.send(());
            serve(fds, &s, &h, &canary, &calls, known, secret);
        });
        let _ = go.recv();
        Servers { arguments, heard, tcp, stop, thread: Some(thread) }
    }

    /// The same port on ::1, 127.0.0.1 and another address of loopback.
    fn inet(fds: &mut Vec<(OwnedFd, Kind)>, kind: i32, other: u8) -> u16 {
        let first = socket(libc::AF_INET, kind, 0).expect("an IP socket for the listeners");
        bind(&first, &loopback(false, 1, 0));
        let port = port(&first);
        let rest = [(false, other), (true, 1)].into_iter().filter_map(|(six, last)| {
            let s = socket(if six { libc::AF_INET6 } else { libc::AF_INET }, kind, 0)?;
            bind(&s, &loopback(six, last, port)).then_some(s)
        });
        for s in std::iter::once(first).chain(rest) {
            if kind == libc::SOCK_STREAM {
                listen(&s);
                let n = 16i32;
                // SAFETY: the option's value is four bytes, as said.
                unsafe {
                    libc::setsockopt(
                        s.as_raw_fd(),
                        libc::IPPROTO_TCP,
                        libc::TCP_FASTOPEN,
                        (&raw const n).cast(),
                        4,
                    )
                };
            }
            fds.push((s, if kind == libc::SOCK_STREAM { Kind::Listener } else { Kind::Ear }));
        }
        port
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

fn serve(
    mut fds: Vec<(OwnedFd, Kind)>,
    stop: &AtomicBool,
    heard: &Mutex<Heard>,
    canary: &str,
    calls: &[String],
    mut known: HashSet<u64>,
    secret: Option<OwnedFd>,
) {
    let mut names = chosen_names();
    let mut visits: Vec<(OwnedFd, Instant)> = Vec::new();
    let mut called = Instant::now();
    while !stop.load(Relaxed) {
        let mut polled: Vec<libc::pollfd> = fds
            .iter()
            .map(|f| libc::pollfd { fd: f.0.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: the array is as long as said.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as u64, 10) };
        let mut gone = Vec::new();
        for (i, p) in polled.iter().enumerate().filter(|(_, p)| p.revents != 0) {
            if fds[i].1 == Kind::Listener {
                // SAFETY: a plain call on our own listener; what it returns is nobody else's.
                let c = unsafe {
                    libc::accept4(
                        p.fd,
                        std::ptr::null_mut(),
                        std::ptr::null_mut(),
                        libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                    )
                };
                if c >= 0 {
                    // SAFETY: the descriptor was just returned.
                    fds.push((unsafe { OwnedFd::from_raw_fd(c) }, Kind::Ear));
                }
                continue;
            }
            let mut b = [0u8; 512];
            // SAFETY: the buffer is as long as said; reading is right for sockets, pipes and terminals alike.
            let n = unsafe { libc::read(p.fd, b.as_mut_ptr().cast(), b.len()) };
            let dead = n < 0 && std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock;
            if n <= 0 {
                if dead || p.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
                    gone.push(i);
                }
                continue;
            }
            let text = String::from_utf8_lossy(&b[..n as usize]).into_owned();
            let mut h = heard.lock().unwrap_or_else(|e| e.into_inner());
            match fds[i].1 {
                Kind::Terminal => h.typed.extend(text.chars()),
                _ => {
                    if text.contains("unix.rights")
                        && let Some(s) = &secret
                    {
                        give(p.fd, s.as_raw_fd());
                    }
                    h.tokens.insert(text);
                }
            }
        }
        for i in gone.into_iter().rev() {
            fds.remove(i);
        }
        if called.elapsed() > Duration::from_millis(20) {
            called = Instant::now();
            visit(&mut visits, &mut known, &mut names, canary, calls);
        }
        visits.retain(|v| {
            send(v.0.as_raw_fd(), canary.as_bytes());
            v.1.elapsed() < Duration::from_millis(300)
        });
    }
}

/// Calls at every listener that was not there before.
fn visit(
    visits: &mut Vec<(OwnedFd, Instant)>,
    known: &mut HashSet<u64>,
    names: &mut HashSet<String>,
    canary: &str,
    calls: &[String],
) {
    for (_, port, six) in ports(false).into_iter().filter(|p| known.insert(p.0)) {
        for six in [false, six] {
            if let Some(s) = socket(if six { libc::AF_INET6 } else { libc::AF_INET }, libc::SOCK_STREAM, 0) {
                connect(&s, &loopback(six, 1, port));
                visits.push((s, Instant::now()));
            }
        }
    }
    for (_, port, _) in ports(true).into_iter().filter(|p| known.insert(p.0)) {
        if let Some(s) = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
            && connect(&s, &loopback(false, 1, port))
        {
            send(s.as_raw_fd(), canary.as_bytes());
        }
    }
    let fresh: Vec<String> = chosen_names().into_iter().filter(|n| names.insert(n.clone())).collect();
    for name in calls.iter().chain(&fresh) {
        if let Some(s) =
            socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).filter(|s| connect(s, &unix_address(name)))
        {
            visits.push((s, Instant::now()));
        }
    }
}

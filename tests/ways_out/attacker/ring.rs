//! Ways by io_uring, whose operations no filter on system calls sees.

use crate::tool::*;
use libc::AT_FDCWD;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// A ring of a few entries, with one operation at a time.
struct Ring {
    fd: OwnedFd,
    rings: usize,
    entries: usize,
    offsets: [u32; 30],
}

/// The fields of an operation: code, descriptor, address, length, offset or second address, flags.
#[derive(Default)]
struct Op {
    code: u8,
    fd: i32,
    addr: usize,
    len: u32,
    off: u64,
    flags: u32,
    third: usize,
}

impl Ring {
    fn new(flags: u32) -> Result<Ring, i32> {
        let mut p = [0u32; 30];
        p[2] = flags;
        let fd = sys!(SYS_io_uring_setup, 4, p.as_mut_ptr()).map(own)?;
        let map = |offset: usize| {
            sys!(
                SYS_mmap,
                0,
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset
            )
        };
        let (rings, entries) = (
            map(0).or_else(|_| sys!(SYS_mmap, 0, 4096, 3, 1, fd.as_raw_fd(), 0))?,
            sys!(SYS_mmap, 0, 4096, 3, 1, fd.as_raw_fd(), 0x1000_0000)?,
        );
        Ok(Ring { fd, rings, entries, offsets: p })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offsets come from the kernel and lie inside the mapping of the rings, which lives as long as this.
        unsafe { &*((self.rings + offset) as *const AtomicU32) }
    }

    fn run(&self, o: &Op) -> Result<usize, i32> {
        let mut e = [0u8; 64];
        e[0] = o.code;
        e[4..8].copy_from_slice(&o.fd.to_ne_bytes());
        e[8..16].copy_from_slice(&o.off.to_ne_bytes());
        e[16..24].copy_from_slice(&o.addr.to_ne_bytes());
        e[24..28].copy_from_slice(&o.len.to_ne_bytes());
        e[28..32].copy_from_slice(&o.flags.to_ne_bytes());
        e[48..56].copy_from_slice(&o.third.to_ne_bytes());
        // SAFETY: the first entry of the mapped array of entries; the kernel reads it only after the tail moves.
        unsafe { std::ptr::copy_nonoverlapping(e.as_ptr(), self.entries as *mut u8, 64) };
        let (sq, cq) = (&self.offsets[10..20], &self.offsets[20..30]);
        let tail = self.word(sq[1] as usize);
        let mask = self.word(sq[2] as usize).load(Ordering::Relaxed);
        let n = tail.load(Ordering::Relaxed);
        self.word(sq[6] as usize + 4 * (n & mask) as usize).store(0, Ordering::Relaxed);
        tail.store(n + 1, Ordering::Release);
        sys!(SYS_io_uring_enter, self.fd.as_raw_fd(), 1, 1, 3, 0, 0)?;
        let head = self.word(cq[0] as usize);
        let h = head.load(Ordering::Relaxed);
        for _ in 0..100 {
            if self.word(cq[1] as usize).load(Ordering::Acquire) != h {
                let m = self.word(cq[2] as usize).load(Ordering::Relaxed);
                let r = self.word(cq[5] as usize + 16 * (h & m) as usize + 8).load(Ordering::Relaxed) as i32;
                head.store(h + 1, Ordering::Release);
                return if r < 0 { Err(-r) } else { Ok(r as usize) };
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Err(libc::ETIMEDOUT)
    }
}

fn open(t: &T, flags: u32) -> Out {
    let (r, p, b) = (Ring::new(flags)?, c(&t.file()), [0u8; 64]);
    let f = own(r.run(&Op { code: 18, fd: AT_FDCWD, addr: p.as_ptr() as usize, ..Op::default() })?);
    r.run(&Op { code: 22, fd: f.as_raw_fd(), addr: at(&b), len: 64, ..Op::default() })?;
    proof(&b)
}

/// A path operation with one or two names.
fn path(code: u8, first: &str, second: Option<&str>, what: &str) -> Out {
    let (a, b) = (c(first), c(second.unwrap_or("")));
    let (len, off) = if second.is_some() {
        (AT_FDCWD as u32, b.as_ptr() as u64)
    } else {
        (0o700 * u32::from(code == 37), 0)
    };
    Ring::new(0)?.run(&Op { code, fd: AT_FDCWD, addr: a.as_ptr() as usize, len, off, ..Op::default() })?;
    witness(what)
}

/// A socket made, connected and written to without a system call of the socket family.
fn reach(t: &T, family: i32, kind: i32, address: &[u8]) -> Out {
    let r = Ring::new(0)?;
    let s = own(r.run(&Op { code: 45, fd: family, off: kind as u64, ..Op::default() })?);
    r.run(&Op {
        code: 16,
        fd: s.as_raw_fd(),
        addr: address.as_ptr() as usize,
        off: address.len() as u64,
        ..Op::default()
    })?;
    r.run(&Op {
        code: 26,
        fd: s.as_raw_fd(),
        addr: t.token().as_ptr() as usize,
        len: t.token().len() as u32,
        ..Op::default()
    })?;
    witness("token")
}

fn v4(port: usize) -> Vec<u8> {
    let p = (port as u16).to_be_bytes();
    vec![2, 0, p[0], p[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn named(path: &str) -> Vec<u8> {
    let mut a = vec![1, 0];
    a.extend_from_slice(path.as_bytes());
    a.push(0);
    a
}

ways! { ring;
    /// a ring that can be had at all
    setup Service |t| Ring::new(0).and_then(|_| open_say("a ring"));
    /// a ring whose operations a kernel thread takes
    setup_polled Service |t| Ring::new(2).and_then(|_| open_say("a ring"));
    /// a file opened and read by a ring
    open Data |t| open(t, 0);
    /// a file opened by openat2 in a ring
    openat2 Data |t| {
        let (r, p, how, b) = (Ring::new(0)?, c(&t.file()), [0u64; 3], [0u8; 64]);
        let f = own(r.run(&Op { code: 28, fd: AT_FDCWD, addr: p.as_ptr() as usize, len: 24, off: at(&how) as u64, ..Op::default() })?);
        r.run(&Op { code: 22, fd: f.as_raw_fd(), addr: at(&b), len: 64, ..Op::default() })?;
        proof(&b)
    };
    /// a file opened for writing by a ring
    write Data |t| {
        let (r, p, m) = (Ring::new(0)?, c(&t.file()), b"overwritten");
        let f = own(r.run(&Op { code: 18, fd: AT_FDCWD, addr: p.as_ptr() as usize, flags: libc::O_WRONLY as u32, ..Op::default() })?);
        r.run(&Op { code: 23, fd: f.as_raw_fd(), addr: m.as_ptr() as usize, len: 11, ..Op::default() })?;
        witness("file")
    };
    /// a file removed by a ring
    unlink Data |t| path(36, &t.file(), None, "file");
    /// a file renamed into the granted folder by a ring
    rename Data |t| path(35, &t.file(), Some(&t.granted(".in")), "file");
    /// a folder made by a ring
    mkdir Data |t| path(37, &t.fresh(), None, "new");
    /// a symbolic link made by a ring
    symlink Data |t| {
        let (a, b) = (c("text carried out"), c(&t.fresh()));
        Ring::new(0)?.run(&Op { code: 38, fd: AT_FDCWD, addr: a.as_ptr() as usize, off: b.as_ptr() as u64, ..Op::default() })?;
        witness("new")
    };
    /// a hard link made by a ring
    link Data |t| { path(39, &t.file(), Some(&t.granted(".hard")), "")?; read_path(&t.granted(".hard")) };
    /// truncation by a ring
    truncate Data |t| {
        let (r, p) = (Ring::new(0)?, c(&t.file()));
        let f = own(r.run(&Op { code: 18, fd: AT_FDCWD, addr: p.as_ptr() as usize, flags: libc::O_WRONLY as u32, ..Op::default() })?);
        r.run(&Op { code: 55, fd: f.as_raw_fd(), off: 3, ..Op::default() })?;
        witness("file")
    };
    /// the file's state by a ring
    statx Metadata |t| {
        let (p, b) = (c(&t.file()), [0u64; 32]);
        Ring::new(0)?.run(&Op { code: 21, fd: AT_FDCWD, addr: p.as_ptr() as usize, len: 0x7ff, off: at(&b) as u64, ..Op::default() })?;
        open_say("seen")
    };
    /// an extended attribute set by a ring
    setxattr Data |t| {
        let (r, p, n, v) = (Ring::new(0)?, c(&t.file()), c("user.ways"), t.token());
        r.run(&Op { code: 42, addr: n.as_ptr() as usize, len: v.len() as u32, off: v.as_ptr() as u64, third: p.as_ptr() as usize, ..Op::default() })?;
        witness("xattr")
    };
    /// TCP by a ring
    tcp Network |t| reach(t, 2, 1, &v4(t.num("tcp")?));
    /// UDP by a ring
    udp Network |t| reach(t, 2, 2, &v4(t.num("udp")?));
    /// a Unix stream by a ring
    unix Service |t| reach(t, 1, 1, &named(t.text("unix")?));
    /// a Unix datagram by a ring
    unix_dgram Service |t| reach(t, 1, 2, &named(t.text("unixdgram")?));
    /// a message to another process's ring, by a stolen descriptor
    stolen Process |t| {
        let p = sys!(SYS_pidfd_open, t.victim()?, 0).map(own)?;
        let f = sys!(SYS_pidfd_getfd, p.as_raw_fd(), t.num("victim_eventfd")?, 0).map(own)?;
        let n = 1111u64;
        Ring::new(0)?.run(&Op { code: 23, fd: f.as_raw_fd(), addr: at(&n), len: 8, ..Op::default() })?;
        witness("eventfd")
    };
}

//! What a path alone gives: metadata of files that were not granted, and extended attributes, which carry data.

use crate::tool::*;
use libc::{AT_FDCWD, O_PATH};
use std::os::fd::AsRawFd;

const ATTR: &str = "user.ways";

/// The arguments of setxattrat and getxattrat.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

fn get(r: impl Fn(*mut u8, usize) -> Result<usize, i32>) -> Out {
    let mut b = [0u8; 128];
    let n = r(b.as_mut_ptr(), 128)?;
    proof(&b[..n])
}

fn set(t: &T, r: impl Fn(*const u8, usize) -> Result<usize, i32>) -> Out {
    r(t.token().as_ptr(), t.token().len())?;
    witness("xattr")
}

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|_| open_say("done"))
}

/// A magic name for the file that is refused neither to O_PATH nor to calls that take no O_PATH descriptor.
fn magic(t: &T) -> Result<(std::os::fd::OwnedFd, String), i32> {
    let f = open_(&t.file(), O_PATH)?;
    let name = format!("/proc/self/fd/{}", f.as_raw_fd());
    Ok((f, name))
}

ways! { names;
    /// an extended attribute, read
    getxattr Data |t| get(|b, n| sys!(SYS_getxattr, c(&t.file()).as_ptr(), c(ATTR).as_ptr(), b, n));
    /// the same without following
    lgetxattr Data |t| get(|b, n| sys!(SYS_lgetxattr, c(&t.file()).as_ptr(), c(ATTR).as_ptr(), b, n));
    /// the same by an open descriptor
    fgetxattr Data |t| {
        let f = open_(&t.file(), libc::O_RDONLY)?;
        get(|b, n| sys!(SYS_fgetxattr, f.as_raw_fd(), c(ATTR).as_ptr(), b, n))
    };
    /// the same by the magic name of an O_PATH descriptor
    getxattr_magic Data |t| {
        let (_f, m) = magic(t)?;
        get(|b, n| sys!(SYS_getxattr, c(&m).as_ptr(), c(ATTR).as_ptr(), b, n))
    };
    /// getxattrat
    getxattrat Data |t| get(|b, n| {
        let a = XattrArgs { value: b as u64, size: n as u32, flags: 0 };
        sys!(nr 464, AT_FDCWD, c(&t.file()).as_ptr(), 0, c(ATTR).as_ptr(), at(&a), 16)
    });
    /// getxattrat of the empty path
    getxattrat_empty Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        get(|b, n| {
            let a = XattrArgs { value: b as u64, size: n as u32, flags: 0 };
            sys!(nr 464, f.as_raw_fd(), c("").as_ptr(), libc::AT_EMPTY_PATH, c(ATTR).as_ptr(), at(&a), 16)
        })
    };
    /// an extended attribute, set
    setxattr Data |t| set(t, |b, n| sys!(SYS_setxattr, c(&t.file()).as_ptr(), c(ATTR).as_ptr(), b, n, 0));
    /// the same without following
    lsetxattr Data |t| set(t, |b, n| sys!(SYS_lsetxattr, c(&t.file()).as_ptr(), c(ATTR).as_ptr(), b, n, 0));
    /// the same by an open descriptor
    fsetxattr Data |t| {
        let f = open_(&t.file(), libc::O_RDONLY)?;
        set(t, |b, n| sys!(SYS_fsetxattr, f.as_raw_fd(), c(ATTR).as_ptr(), b, n, 0))
    };
    /// the same by the magic name of an O_PATH descriptor
    setxattr_magic Data |t| {
        let (_f, m) = magic(t)?;
        set(t, |b, n| sys!(SYS_setxattr, c(&m).as_ptr(), c(ATTR).as_ptr(), b, n, 0))
    };
    /// setxattrat
    setxattrat Data |t| set(t, |b, n| {
        let a = XattrArgs { value: b as u64, size: n as u32, flags: 0 };
        sys!(nr 463, AT_FDCWD, c(&t.file()).as_ptr(), 0, c(ATTR).as_ptr(), at(&a), 16)
    });
    /// an access list, set: it names other users
    setxattr_acl Data |t| {
        let acl: [u32; 7] = [2, 0x0006_0001, !0, 0x0000_0004, !0, 0x0004_0020, !0];
        sys!(SYS_setxattr, c(&t.file()).as_ptr(), c("system.posix_acl_access").as_ptr(), acl.as_ptr(), 28, 0)?;
        witness("stat mode")
    };
    /// an extended attribute, removed
    removexattr Data |t| sys!(SYS_removexattr, c(&t.file()).as_ptr(), c(ATTR).as_ptr()).and_then(|_| witness("xattr"));
    /// removexattrat
    removexattrat Data |t| sys!(nr 466, AT_FDCWD, c(&t.file()).as_ptr(), 0, c(ATTR).as_ptr()).and_then(|_| witness("xattr"));
    /// the names of the attributes
    listxattr Metadata |t| {
        let mut b = [0u8; 256];
        let n = sys!(SYS_listxattr, c(&t.file()).as_ptr(), b.as_mut_ptr(), 256)?;
        if n > 0 { open_say(clean(&b[..n])) } else { closed("none") }
    };
    /// listxattrat
    listxattrat Metadata |t| {
        let mut b = [0u8; 256];
        let n = sys!(nr 465, AT_FDCWD, c(&t.file()).as_ptr(), 0, b.as_mut_ptr(), 256)?;
        if n > 0 { open_say(clean(&b[..n])) } else { closed("none") }
    };
    /// stat
    stat Metadata |t| { let mut b = [0u64; 32]; yes(sys!(SYS_stat, c(&t.file()).as_ptr(), b.as_mut_ptr())) };
    /// fstat of an O_PATH descriptor
    fstat Metadata |t| { let (f, mut b) = (open_(&t.file(), O_PATH)?, [0u64; 32]); yes(sys!(SYS_fstat, f.as_raw_fd(), b.as_mut_ptr())) };
    /// statx
    statx Metadata |t| { let mut b = [0u64; 64]; yes(sys!(SYS_statx, AT_FDCWD, c(&t.file()).as_ptr(), 0, 0xfff, b.as_mut_ptr())) };
    /// statfs
    statfs Metadata |t| { let mut b = [0u64; 32]; yes(sys!(SYS_statfs, c(&t.file()).as_ptr(), b.as_mut_ptr())) };
    /// access
    access Metadata |t| yes(sys!(SYS_access, c(&t.file()).as_ptr(), 4));
    /// faccessat2
    faccessat2 Metadata |t| yes(sys!(SYS_faccessat2, AT_FDCWD, c(&t.file()).as_ptr(), 4, 0x200));
    /// the target of a symbolic link
    readlink Metadata |t| {
        let mut b = [0u8; 128];
        let n = sys!(SYS_readlink, c(&format!("{}/link", t.secrets())).as_ptr(), b.as_mut_ptr(), 128)?;
        proof(&b[..n])
    };
    /// the true name of an O_PATH descriptor
    readlink_magic Metadata |t| {
        let (_f, m) = magic(t)?;
        let mut b = [0u8; 256];
        yes(sys!(SYS_readlink, c(&m).as_ptr(), b.as_mut_ptr(), 256))
    };
    /// chmod
    chmod Metadata |t| sys!(SYS_chmod, c(&t.file()).as_ptr(), 0o640).and_then(|_| witness("stat mode"));
    /// fchmodat2 of the empty path
    fchmodat2 Metadata |t| {
        let f = open_(&t.file(), O_PATH)?;
        sys!(nr 452, f.as_raw_fd(), c("").as_ptr(), 0o640, libc::AT_EMPTY_PATH).and_then(|_| witness("stat mode"))
    };
    /// fchmodat through the magic name
    chmod_magic Metadata |t| {
        let (_f, m) = magic(t)?;
        sys!(SYS_fchmodat, AT_FDCWD, c(&m).as_ptr(), 0o640).and_then(|_| witness("stat mode"))
    };
    /// made readable by everybody through an inherited umask of nothing and a planted link
    chmod_symlink Metadata |t| {
        let l = t.granted(".link");
        sys!(SYS_symlink, c(&t.file()).as_ptr(), c(&l).as_ptr())?;
        sys!(SYS_chmod, c(&l).as_ptr(), 0o644).and_then(|_| witness("stat mode"))
    };
    /// chown to ourselves
    chown Metadata |t| yes(sys!(SYS_chown, c(&t.file()).as_ptr(), -1isize, t.num("gid")?));
    /// fchownat of the empty path
    fchownat Metadata |t| {
        let f = open_(&t.file(), O_PATH)?;
        yes(sys!(SYS_fchownat, f.as_raw_fd(), c("").as_ptr(), -1isize, t.num("gid")?, libc::AT_EMPTY_PATH))
    };
    /// utime
    utime Metadata |t| { let b = [1000u64, 1000]; sys!(SYS_utime, c(&t.file()).as_ptr(), b.as_ptr()).and_then(|_| witness("stat mtime")) };
    /// utimes
    utimes Metadata |t| {
        let b = [1000u64, 0, 1000, 0];
        sys!(SYS_utimes, c(&t.file()).as_ptr(), b.as_ptr()).and_then(|_| witness("stat mtime"))
    };
    /// futimesat
    futimesat Metadata |t| {
        let b = [1000u64, 0, 1000, 0];
        sys!(SYS_futimesat, AT_FDCWD, c(&t.file()).as_ptr(), b.as_ptr()).and_then(|_| witness("stat mtime"))
    };
    /// utimensat
    utimensat Metadata |t| {
        let b = [1000u64, 0, 1000, 0];
        sys!(SYS_utimensat, AT_FDCWD, c(&t.file()).as_ptr(), b.as_ptr(), 0).and_then(|_| witness("stat mtime"))
    };
    /// the inode's flags by descriptor
    getflags Metadata |t| {
        let (f, mut n) = (open_(&t.file(), libc::O_RDONLY)?, 0u64);
        yes(sys!(SYS_ioctl, f.as_raw_fd(), 0x8008_6601u32, at_mut(&mut n)))
    };
    /// the inode's flags set by descriptor (no dump)
    setflags Metadata |t| {
        let (f, n) = (open_(&t.file(), libc::O_RDONLY)?, 0x80040u64);
        sys!(SYS_ioctl, f.as_raw_fd(), 0x4008_6602, at(&n)).and_then(|_| witness("flags"))
    };
    /// file_getattr
    file_getattr Metadata |t| { let b = [0u64; 3]; yes(sys!(nr 468, AT_FDCWD, c(&t.file()).as_ptr(), b.as_ptr(), 24, 0)) };
    /// file_setattr (no dump)
    file_setattr Metadata |t| {
        let b = [0x80u64, 0, 0];
        sys!(nr 469, AT_FDCWD, c(&t.file()).as_ptr(), b.as_ptr(), 24, 0).and_then(|_| witness("flags"))
    };
    /// inotify on the folder
    inotify Metadata |t| {
        let f = sys!(SYS_inotify_init1, 0).map(own)?;
        yes(sys!(SYS_inotify_add_watch, f.as_raw_fd(), c(&t.secrets()).as_ptr(), 0x100))
    };
    /// inotify on the file
    inotify_file Metadata |t| {
        let f = sys!(SYS_inotify_init1, 0).map(own)?;
        yes(sys!(SYS_inotify_add_watch, f.as_raw_fd(), c(&t.file()).as_ptr(), 2))
    };
    /// dnotify on the folder
    dnotify Metadata |t| { let f = open_(&t.secrets(), libc::O_RDONLY)?; yes(sys!(SYS_fcntl, f.as_raw_fd(), libc::F_NOTIFY, 4)) };
    /// a lock that keeps the owner out
    flock Data |t| { let f = open_(&t.file(), libc::O_RDONLY)?; yes(sys!(SYS_flock, f.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)) };
    /// a lock by the victim, asked for: it gives a process number
    lock_holder Information |t| {
        let f = open_(&format!("{}/locked", t.secrets()), libc::O_RDWR)?;
        let mut l: libc::flock = zero();
        l.l_type = libc::F_WRLCK as i16;
        sys!(SYS_fcntl, f.as_raw_fd(), libc::F_GETLK, at_mut(&mut l))?;
        if l.l_pid > 0 { open_say(format!("held by {}", l.l_pid)) } else { closed("not held") }
    };
    /// the mount's identity and options
    statmount Information |t| {
        let mut x = [0u64; 32];
        sys!(SYS_statx, AT_FDCWD, c(&t.file()).as_ptr(), 0, 0x4000, x.as_mut_ptr())?;
        let (q, b) = ([24u64, x[18], 0x2f], [0u64; 512]);
        yes(sys!(nr 457, at(&q), b.as_ptr(), 4096, 0))
    };
    /// the list of mounts
    listmount Information |t| {
        let (q, b) = ([24u64, u64::MAX, 0], [0u64; 128]);
        let n = sys!(nr 458, at(&q), b.as_ptr(), 128, 0)?;
        if n > 0 { open_say(format!("{n} mounts")) } else { closed("none") }
    };
}

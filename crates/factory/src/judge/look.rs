//! Looking at an open descriptor: what it is, and by which name the kernel knows what is behind it.
//!
//! Safety idea: everything is asked of the descriptor itself; the text of its link in `/proc` only tells kinds of nameless things apart,
//! of which none is discreet.

use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use beget::{Error, Result};
use rustix::fs::{AtFlags, FileType, OFlags, SealFlags, Stat, StatxFlags};

use super::hole::Access;

/// Filesystems by their magic number (`man 2 statfs`, `linux/magic.h`).
mod magic {
    pub(super) const TMPFS: u64 = 0x0102_1994;
    pub(super) const HUGETLBFS: u64 = 0x9584_58f6;
    pub(super) const SECRETMEM: u64 = 0x5345_434d;
    pub(super) const PIDFS: u64 = 0x5049_4446;
    pub(super) const NSFS: u64 = 0x6e73_6673;
    pub(super) const MQUEUE: u64 = 0x1980_0202;
    /// What the kernel makes up while it is read, about others, and what can be asked for there.
    pub(super) const KERNEL: &[(u64, &str)] = &[
        (0x9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x6462_6720, "debugfs"),
        (0x7472_6163, "tracefs"),
        (0x7363_6673, "securityfs"),
        (0x6367_7270, "cgroup2"),
        (0x0027_e0eb, "cgroup"),
        (0xf97c_ff8c, "selinuxfs"),
        (0x4249_4e4d, "binfmt_misc"),
        (0xcafe_4a11, "bpf"),
        (0x6165_676c, "pstore"),
        (0xde5e_81e4, "efivarfs"),
        (0x6265_6570, "configfs"),
        (0x1cd1, "devpts"),
        (0x6563_7264, "resctrl"),
        (0x5a4f_4653, "zonefs"),
    ];
    /// What somebody serves, who sees each read.
    pub(super) const SERVED: &[(u64, &str)] = &[
        (0x6969, "NFS"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9p"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x6b41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0187, "autofs"),
        (0x7461_636f, "OCFS2"),
        (0x0116_1970, "GFS2"),
        (0x0bd0_0bd0, "Lustre"),
        (0x786f_4256, "VirtualBox folders"),
        (0xbacb_acbc, "VMware folders"),
    ];
}

/// What a descriptor is.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) what: What,
    pub(super) access: Access,
    /// It only means a file (`O_PATH`).
    pub(super) only_means: bool,
    pub(super) status: Stat,
}

/// The kinds that are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    File,
    Folder,
    /// A file in memory without a name, with its seals: none that can be asked for where it is only meant. Landlock lets everybody who sees
    /// `/proc` open such a file anew, and for writing.
    Memory(SealFlags),
    Pipe,
    Socket(String),
    /// `null`, `zero`, `full`, `random`, `urandom`.
    PlainDevice(&'static str),
    Terminal,
    Device,
    Link,
    /// A file or folder of a filesystem that the kernel makes up.
    Kernel(&'static str),
    /// A file or folder of a filesystem that somebody serves.
    Served(&'static str),
    Process,
    Namespace,
    Queue,
    SecretMemory,
    /// Something without a name, as the kernel calls it: `eventfd`, `eventpoll`.
    Nameless(String),
}

pub(super) const PLAIN_DEVICES: [(u32, &str); 5] =
    [(3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom")];

/// Which filesystem a descriptor's file is on, if that is one of those that are no plain storage.
fn special(magic: u64) -> Option<What> {
    let find =
        |table: &[(u64, &'static str)]| table.iter().find(|(one, _)| *one == magic).map(|(_, name)| *name);
    find(magic::KERNEL).map(What::Kernel).or_else(|| find(magic::SERVED).map(What::Served))
}

/// What the folder behind `file` is, when that is not plain storage: a filesystem that the kernel makes up or somebody serves.
pub(super) fn special_storage(file: impl AsFd) -> Option<What> {
    special(magic_of(file.as_fd()).ok()?)
}

fn magic_of(file: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    Ok(rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff)
}

impl Looked {
    /// Looks at a descriptor, and changes nothing about it.
    pub(super) fn at(name: &str, file: BorrowedFd<'_>) -> Result<Looked> {
        let failed = |errno: rustix::io::Errno| Error::io(format!("factory: {name}: looking at it"), errno);
        let status = rustix::fs::fstat(file).map_err(failed)?;
        let flags = rustix::fs::fcntl_getfl(file).map_err(failed)?;
        let only_means = flags.contains(OFlags::PATH);
        let access = match flags & OFlags::RWMODE {
            _ if only_means => Access::NONE,
            OFlags::RDONLY => Access::READ,
            OFlags::WRONLY => Access::WRITE,
            // The undocumented mode 3 is neither, and lets a device be controlled.
            OFlags::RDWR => Access::READ.and(Access::WRITE),
            _ => Access::USE,
        };
        let magic = magic_of(file).map_err(failed)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        let what = match (kind, magic) {
            (_, magic::PIDFS) => What::Process,
            (_, magic::NSFS) => What::Namespace,
            (_, magic::MQUEUE) => What::Queue,
            (_, magic::SECRETMEM) => What::SecretMemory,
            (FileType::RegularFile, magic::TMPFS | magic::HUGETLBFS) if status.st_nlink == 0 => {
                What::Memory(rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty()))
            }
            (FileType::Socket, _) if !only_means => What::Socket(socket(file)),
            (FileType::Socket, _) => What::Socket("named Unix".to_owned()),
            (FileType::Fifo, _) => What::Pipe,
            (FileType::CharacterDevice, _) => device(file, &status),
            (FileType::BlockDevice, _) => What::Device,
            (FileType::RegularFile, magic) => special(magic).unwrap_or(What::File),
            (FileType::Directory, magic) => special(magic).unwrap_or(What::Folder),
            (FileType::Symlink, _) => What::Link,
            // Most nameless things of the kernel have no kind at all.
            (FileType::Unknown, _) => What::Nameless(nameless(file)),
        };
        Ok(Looked { what, access, only_means, status })
    }

    /// The kernel's own name for what lasts: the same after a restart, and not that of what takes its inode's number later.
    pub(super) fn lasting_name(&self, file: BorrowedFd<'_>) -> String {
        let (device, inode) = (self.status.st_dev, self.status.st_ino);
        let mut name = format!("{}.{}-{inode}", rustix::fs::major(device), rustix::fs::minor(device));
        let looked = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME);
        if let Ok(looked) = looked
            && looked.stx_mask & StatxFlags::BTIME.bits() != 0
        {
            let _ = write!(name, "-{}.{:09}", looked.stx_btime.tv_sec, looked.stx_btime.tv_nsec);
        }
        name
    }

    /// The name of what is gone when the machine is restarted.
    pub(super) fn passing_name(&self) -> String {
        format!("{}-{}.{}", boot(), self.status.st_dev, self.status.st_ino)
    }
}

/// A name that nothing else has: for what the kernel has none for.
pub(super) fn own_name() -> String {
    let mut bytes = [0u8; 16];
    // Short only when it is interrupted at a start without randomness; then what is there must do, and it is filled bit by bit.
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    bytes.iter().fold(format!("{}.{number}.", std::process::id()), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Which start of the machine this is; `unknown` where `/proc` does not tell.
pub(super) fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().replace('-', ""))
    })
}

/// The socket's number, which the kernel gives no other until it is restarted.
pub(super) fn cookie(file: BorrowedFd<'_>) -> Option<u64> {
    rustix::net::sockopt::socket_cookie(file).ok()
}

fn socket(file: BorrowedFd<'_>) -> String {
    use rustix::net::sockopt::{socket_domain, socket_type};
    use rustix::net::{AddressFamily, SocketType};
    let family = match socket_domain(file) {
        Ok(AddressFamily::UNIX) => "Unix".to_owned(),
        Ok(AddressFamily::INET) => "IPv4".to_owned(),
        Ok(AddressFamily::INET6) => "IPv6".to_owned(),
        Ok(AddressFamily::NETLINK) => "netlink".to_owned(),
        Ok(AddressFamily::VSOCK) => "vsock".to_owned(),
        Ok(AddressFamily::PACKET) => "packet".to_owned(),
        Ok(other) => format!("family {}", other.as_raw()),
        Err(_) => "unknown".to_owned(),
    };
    let kind = match socket_type(file) {
        Ok(SocketType::STREAM) => "stream",
        Ok(SocketType::DGRAM) => "datagram",
        Ok(SocketType::SEQPACKET) => "packet",
        Ok(SocketType::RAW) => "raw",
        _ => "other",
    };
    format!("{family} {kind}")
}

fn device(file: BorrowedFd<'_>, status: &Stat) -> What {
    const MEMORY: u32 = 1;
    let (major, minor) = (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
    if let Some((_, name)) = PLAIN_DEVICES.iter().find(|(number, _)| major == MEMORY && minor == *number) {
        return What::PlainDevice(name);
    }
    // `/dev/tty`, `/dev/console`, `/dev/ptmx`; the others answer as terminals.
    const OTHER_TERMINALS: u32 = 5;
    let terminal = major == OTHER_TERMINALS || std::io::IsTerminal::is_terminal(&file);
    if terminal { What::Terminal } else { What::Device }
}

fn link(file: BorrowedFd<'_>) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    link.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

fn nameless(file: BorrowedFd<'_>) -> String {
    let link = link(file);
    let name = link.strip_prefix("anon_inode:").unwrap_or(&link);
    name.trim_matches(['[', ']']).to_owned()
}

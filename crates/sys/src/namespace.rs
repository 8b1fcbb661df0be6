//! Namespaces, and what is put into a new one: mounts by the calls of Linux 5.2 and newer, numbers of users, a name, a loopback.
//!
//! Safety idea: everything here acts on the namespaces of the calling process. A `vfork` child has its own of each that it asked for, so
//! its creator's are not touched; that it asked is checked where the plan is. Names are looked up from a descriptor, or from the root or the
//! working directory of the caller, and never through a link that the kernel follows by magic.

use crate::{Errno, Result, arch, descriptor, nr};

/// Bits of [`unshare`] and of a clone.
pub mod kind {
    /// Mounts.
    pub const MOUNTS: u32 = 0x0002_0000;
    /// The view of cgroups.
    pub const CGROUPS: u32 = 0x0200_0000;
    /// Host and domain name.
    pub const NAMES: u32 = 0x0400_0000;
    /// System V IPC and POSIX message queues.
    pub const IPC: u32 = 0x0800_0000;
    /// Users, groups and capabilities.
    pub const USERS: u32 = 0x1000_0000;
    /// Process numbers; the caller stays where it is, its children are in the new one.
    pub const PROCESSES: u32 = 0x2000_0000;
    /// Network interfaces, and abstract Unix sockets.
    pub const NETWORK: u32 = 0x4000_0000;
}

/// Attributes of a mount (`man 2 mount_setattr`).
pub mod attribute {
    /// Nothing is written.
    pub const READ_ONLY: u32 = 0x1;
    /// Set-user-ID bits and file capabilities mean nothing.
    pub const NO_SET_USER: u32 = 0x2;
    /// Devices are not opened.
    pub const NO_DEVICES: u32 = 0x4;
    /// Nothing is executed or mapped to be executed.
    pub const NO_EXECUTE: u32 = 0x8;
    /// No symbolic link in it is followed; from Linux 5.14.
    pub const NO_LINKS: u32 = 0x20_0000;
    /// All of them.
    pub const KNOWN: u32 = READ_ONLY | NO_SET_USER | NO_DEVICES | NO_EXECUTE | NO_LINKS;
}

const HERE: usize = -100isize as usize;
const EMPTY_PATH: usize = 0x1000;
const RECURSIVE: usize = 0x8000;
const O_PATH: u64 = 0o10_000_000;
const O_CLOEXEC: u64 = 0o2_000_000;
const O_NOFOLLOW: u64 = 0o400_000;

/// A descriptor that is closed when it is done with; none of these functions leaves one behind.
struct Held(i32);

impl Held {
    fn of(number: usize) -> Held {
        Held(number as i32)
    }

    fn number(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the kernel gave this number to the function that holds it, and to nobody else.
        let _ = unsafe { descriptor::close(self.0) };
    }
}

/// A name that ends in NUL.
pub type Name = *const u8;

/// Gives the caller new namespaces of these kinds (`man 2 unshare`).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN; `ENOSPC` past a limit of `/proc/sys/user`; `EINVAL` where the kernel has none of that kind.
pub fn unshare(kinds: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { arch::call1(nr::UNSHARE, kinds as usize) }.map(drop)
}

/// Sets the host name of the caller's namespace.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN there; `EINVAL` past 64 bytes.
pub fn set_host_name(name: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the bytes, borrowed for the call.
    unsafe { arch::call2(nr::SETHOSTNAME, name.as_ptr() as usize, name.len()) }.map(drop)
}

/// Brings up the loopback interface of the caller's network namespace.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN there; `EAFNOSUPPORT` where there is no IPv4.
pub fn bring_up_loopback() -> Result<()> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let mut name = [0; 16];
    (name[0], name[1]) = (b'l', b'o');
    let request = Request { name, flags: IFF_UP, rest: [0; 22] };
    // SAFETY: numbers only.
    let socket = Held::of(unsafe { arch::call3(nr::SOCKET, AF_INET, SOCK_DGRAM_CLOEXEC, 0) }?);
    // SAFETY: the kernel reads 40 bytes on this stack.
    unsafe { arch::call3(nr::IOCTL, socket.number(), SIOCSIFFLAGS, &raw const request as usize) }.map(drop)
}

/// Writes `bytes` to a file below the directory `folder`, in one call: a setting of the kernel's.
///
/// # Errors
/// Those of opening it and of writing there; `EIO` when not all of it was taken.
///
/// # Safety
/// `name` must end in NUL.
pub unsafe fn set(folder: i32, name: Name, bytes: &[u8]) -> Result<()> {
    const WRITE_ONLY: usize = 1;
    let flags = WRITE_ONLY | O_CLOEXEC as usize;
    // SAFETY: the name ends, says the caller.
    let file = Held::of(unsafe { arch::call4(nr::OPENAT, folder as usize, name as usize, flags, 0) }?);
    // SAFETY: the kernel reads the bytes, borrowed for the call.
    let written = unsafe { arch::call3(nr::WRITE, file.number(), bytes.as_ptr() as usize, bytes.len()) }?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// # Safety
/// `path` must end in NUL.
unsafe fn set_attributes(at: usize, path: Name, flags: usize, attributes: &Attributes) -> Result<()> {
    let size = size_of::<Attributes>();
    // SAFETY: the path ends, says the caller; the kernel reads the structure, borrowed for the call.
    unsafe {
        let attributes = attributes as *const Attributes as usize;
        arch::call5(nr::MOUNT_SETATTR, at, path as usize, flags, attributes, size)
    }
    .map(drop)
}

/// Keeps every mount of the caller's namespace from telling others, and from being told (`MS_PRIVATE`).
///
/// # Errors
/// `EINVAL` when the caller's root is no mount point, as after a plain `chroot`; `EPERM`; `ENOSYS` before Linux 5.12.
pub fn keep_mounts_private() -> Result<()> {
    const PRIVATE: u64 = 1 << 18;
    let attributes = Attributes { propagation: PRIVATE, ..Attributes::default() };
    // SAFETY: the path is a constant that ends in NUL.
    unsafe { set_attributes(HERE, c"/".as_ptr().cast(), RECURSIVE, &attributes) }
}

/// How names are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// From the caller's root, as they are: a link anywhere in them is an error.
    Exact,
    /// From the working directory as if that were the root: links in them lead nowhere else.
    Inside,
    /// From the caller's root, following links but the kernel's own of `/proc`.
    InRoot,
}

/// # Safety
/// `path` must end in NUL.
#[inline(never)]
unsafe fn look_up(path: Name, lookup: Lookup, more: u64) -> Result<Held> {
    const NO_MAGIC_LINKS: u64 = 2;
    const NO_LINKS: u64 = 4;
    const IN_ROOT: u64 = 16;
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let resolve = match lookup {
        Lookup::Exact => NO_LINKS,
        Lookup::Inside => IN_ROOT | NO_MAGIC_LINKS,
        Lookup::InRoot => NO_MAGIC_LINKS,
    };
    let how = How { flags: O_PATH | O_CLOEXEC | more, mode: 0, resolve };
    // Some moves and mounts of anybody's, anywhere, keep the kernel from being sure of a step back, and it says so (`man 2 openat2`, EAGAIN).
    let mut tries = MOST_TRIES;
    loop {
        // SAFETY: the path ends, says the caller; the kernel reads the structure, borrowed for the call.
        let opened = unsafe {
            arch::call4(nr::OPENAT2, HERE, path as usize, &raw const how as usize, size_of::<How>())
        };
        tries -= 1;
        if opened != Err(Errno::EAGAIN) || tries == 0 {
            return opened.map(Held::of);
        }
    }
}

/// Far more than is ever wanted, and over in a moment.
const MOST_TRIES: u32 = 1000;

/// Whether two descriptors are of one file.
fn is_same(a: i32, b: i32) -> Result<bool> {
    Ok(identity(a)? == identity(b)?)
}

/// Device and number of a file.
fn identity(file: i32) -> Result<[u64; 2]> {
    let mut status = [0u64; 18];
    // SAFETY: the kernel writes a `struct stat` of 144 bytes on this stack.
    unsafe { arch::call2(nr::FSTAT, file as usize, &raw mut status as usize) }?;
    Ok([status[0], status[1]])
}

/// Opens `path` without a right to read, in the slot `slot`, closed by an exec; fails with `ESTALE` when it is not the file of `same`, unless
/// that is negative.
///
/// # Errors
/// Those of looking it up; `ESTALE`.
///
/// # Safety
/// `path` must end in NUL, and nobody else may rely on what the slot held.
pub unsafe fn open_into(path: Name, lookup: Lookup, same: i32, slot: i32) -> Result<()> {
    // SAFETY: the caller's promise.
    let file = unsafe { look_up(path, lookup, 0) }?;
    if same >= 0 && !is_same(file.0, same)? {
        return Err(Errno::ESTALE);
    }
    if file.0 == slot {
        // The lowest free number was that very slot; it is closed by an exec as it is.
        core::mem::forget(file);
        return Ok(());
    }
    // SAFETY: likewise.
    unsafe { descriptor::duplicate_onto(file.0, slot, true) }
}

/// Makes the directory `path` the working directory.
///
/// # Errors
/// Those of looking it up; `ENOTDIR`, `EACCES`.
///
/// # Safety
/// `path` must end in NUL.
pub unsafe fn enter(path: Name, lookup: Lookup) -> Result<()> {
    // SAFETY: the caller's promise.
    let folder = unsafe { look_up(path, lookup, 0) }?;
    crate::process::change_directory(folder.0).map(drop)
}

/// Allows `rights` of [`crate::landlock::fs`] on `path`, and on all below.
///
/// # Errors
/// Those of looking it up, and of the rule.
///
/// # Safety
/// `path` must end in NUL.
pub unsafe fn allow(ruleset: i32, path: Name, lookup: Lookup, rights: u64) -> Result<()> {
    // SAFETY: the caller's promise.
    let file = unsafe { look_up(path, lookup, 0) }?;
    crate::landlock::allow(ruleset, file.0, rights)
}

/// A new mount of a filesystem, which is nowhere yet. The options are names and values by turns; an empty value is none.
///
/// # Safety
/// The names must end in NUL.
unsafe fn make_mount(
    filesystem: Name,
    mut options: impl Iterator<Item = Name>,
    attributes: u32,
) -> Result<Held> {
    const CLOSE_AT_EXEC: usize = 1;
    const SET_FLAG: usize = 0;
    const SET_STRING: usize = 1;
    const CREATE: usize = 6;
    // SAFETY: the caller's promise, here and below; the other arguments are numbers.
    unsafe {
        let context = Held::of(arch::call2(nr::FSOPEN, filesystem as usize, CLOSE_AT_EXEC)?);
        while let (Some(name), Some(value)) = (options.next(), options.next()) {
            let (command, value) = if *value == 0 { (SET_FLAG, 0) } else { (SET_STRING, value as usize) };
            arch::call5(nr::FSCONFIG, context.number(), command, name as usize, value, 0)?;
        }
        arch::call5(nr::FSCONFIG, context.number(), CREATE, 0, 0, 0)?;
        arch::call3(nr::FSMOUNT, context.number(), CLOSE_AT_EXEC, attributes as usize).map(Held::of)
    }
}

/// Puts a mount that is nowhere yet at `path`; at `.` it becomes the working directory.
///
/// # Safety
/// `path` must end in NUL.
unsafe fn put(mount: &Held, path: Name) -> Result<()> {
    const SOURCE_EMPTY: usize = 4;
    const TARGET_EMPTY: usize = 0x40;
    let empty = c"".as_ptr() as usize;
    // SAFETY: the path ends, says the caller, and is not empty.
    let (target, itself) = unsafe { (look_up(path, Lookup::Inside, 0)?, *path == b'.' && *path.add(1) == 0) };
    // SAFETY: the names are constants that end in NUL.
    unsafe {
        let flags = SOURCE_EMPTY | TARGET_EMPTY;
        arch::call5(nr::MOVE_MOUNT, mount.number(), empty, target.number(), empty, flags)?;
    }
    if itself { crate::process::change_directory(mount.0).map(drop) } else { Ok(()) }
}

/// Mounts a new filesystem over the caller's root, which stays what names from the root mean, and makes it the working directory.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; those of the filesystem.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn mount_over_root(
    filesystem: Name,
    options: impl Iterator<Item = Name>,
    attributes: u32,
) -> Result<()> {
    const SOURCE_EMPTY: usize = 4;
    // SAFETY: the caller's promise; the other names are constants that end in NUL.
    unsafe {
        let mount = make_mount(filesystem, options, attributes)?;
        let (empty, root) = (c"".as_ptr() as usize, c"/".as_ptr() as usize);
        arch::call5(nr::MOVE_MOUNT, mount.number(), empty, HERE, root, SOURCE_EMPTY)?;
        crate::process::change_directory(mount.0).map(drop)
    }
}

/// Mounts a new filesystem at `at`, looked up inside.
///
/// # Errors
/// Those of the filesystem, and of looking `at` up.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn mount(
    filesystem: Name,
    options: impl Iterator<Item = Name>,
    attributes: u32,
    at: Name,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { put(&make_mount(filesystem, options, attributes)?, at) }
}

/// Mounts what is at `path`, from the caller's root and all below it, at `at`, looked up inside, with these attributes besides those it has.
///
/// # Errors
/// `ESTALE` when it is not the file of `same`; `EINVAL` when it is of another namespace; those of looking up.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn bind(path: Name, same: i32, attributes: u32, at: Name) -> Result<()> {
    const CLONE: usize = 1;
    // SAFETY: the caller's promise, here and below.
    let file = unsafe { look_up(path, Lookup::Exact, O_NOFOLLOW) }?;
    if !is_same(file.0, same)? {
        return Err(Errno::ESTALE);
    }
    let empty = c"".as_ptr().cast();
    let flags = CLONE | O_CLOEXEC as usize | EMPTY_PATH | RECURSIVE;
    // SAFETY: the name is a constant that ends in NUL.
    let tree = Held::of(unsafe { arch::call3(nr::OPEN_TREE, file.number(), empty as usize, flags) }?);
    let attributes = Attributes { set: attributes.into(), ..Attributes::default() };
    // SAFETY: likewise.
    unsafe {
        set_attributes(tree.number(), empty, EMPTY_PATH | RECURSIVE, &attributes)?;
        put(&tree, at)
    }
}

/// Gives the one mount at `at`, looked up inside, these attributes besides those it has.
///
/// # Errors
/// Those of looking it up; `EINVAL` when it is no mount point.
///
/// # Safety
/// `at` must end in NUL.
pub unsafe fn seal(at: Name, attributes: u32) -> Result<()> {
    // SAFETY: the caller's promise.
    let mount = unsafe { look_up(at, Lookup::Inside, 0) }?;
    let attributes = Attributes { set: attributes.into(), ..Attributes::default() };
    // SAFETY: the name is a constant that ends in NUL.
    unsafe { set_attributes(mount.number(), c"".as_ptr().cast(), EMPTY_PATH, &attributes) }
}

/// Makes the mount that is the working directory the root, takes the old root away with all that is mounted below it, and seals the new one.
///
/// # Errors
/// `EINVAL` when the old root is no mount point, or has no parent, as in an initial RAM filesystem; `EPERM`.
pub fn become_root(attributes: u32) -> Result<()> {
    const DETACH: usize = 2;
    let here = c".".as_ptr() as usize;
    // SAFETY: the names are constants that end in NUL. `man 2 pivot_root` has this way of putting the old root over the new one.
    unsafe {
        arch::call2(nr::PIVOT_ROOT, here, here)?;
        arch::call2(nr::UMOUNT2, here, DETACH)?;
        arch::call1(nr::CHDIR, c"/".as_ptr() as usize)?;
        let attributes = Attributes { set: attributes.into(), ..Attributes::default() };
        set_attributes(HERE, c"/".as_ptr().cast(), 0, &attributes)
    }
}

/// Where something is made: a folder that is open, or the working directory itself, which need not be opened.
enum Folder {
    Here,
    Open(Held),
}

impl Folder {
    /// # Safety
    /// `path` must end in NUL.
    unsafe fn of(path: Name) -> Result<Folder> {
        // SAFETY: the path ends, says the caller, so there is a second byte after a first that is not NUL.
        let here = unsafe { *path == b'.' && *path.add(1) == 0 };
        // SAFETY: likewise.
        if here { Ok(Folder::Here) } else { unsafe { look_up(path, Lookup::Inside, 0) }.map(Folder::Open) }
    }

    fn number(&self) -> usize {
        match self {
            Folder::Here => HERE,
            Folder::Open(folder) => folder.number(),
        }
    }
}

/// Makes a directory with this mode, less the caller's file mode creation mask; one that is there stays as it is.
///
/// # Errors
/// Those of looking the folder up and of making it there, but `EEXIST`.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn make_directory(folder: Name, name: Name, mode: u32) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        let folder = Folder::of(folder)?;
        match arch::call3(nr::MKDIRAT, folder.number(), name as usize, mode as usize) {
            Ok(_) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Makes a file with this mode, less the caller's file mode creation mask, that holds `contents`; one that is there stays as it is where it is to hold nothing, for then it is only a
/// place to mount something at.
///
/// # Errors
/// Those of looking the folder up and of making it there, also `EEXIST` with contents; `EIO` when there is no room for its contents.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn make_file(folder: Name, name: Name, contents: &[u8], mode: u32) -> Result<()> {
    const WRITE_NEW: usize = 1 | 0o100 | 0o200;
    const REGULAR: u32 = 0o100_000;
    // SAFETY: the caller's promise; the kernel reads the contents, borrowed for the call.
    unsafe {
        let folder = Folder::of(folder)?;
        if contents.is_empty() {
            let mode = (REGULAR | mode) as usize;
            return match arch::call4(nr::MKNODAT, folder.number(), name as usize, mode, 0) {
                Ok(_) | Err(Errno::EEXIST) => Ok(()),
                Err(errno) => Err(errno),
            };
        }
        let flags = WRITE_NEW | O_CLOEXEC as usize;
        let made = arch::call4(nr::OPENAT, folder.number(), name as usize, flags, mode as usize);
        let file = Held::of(made?);
        let written = arch::call3(nr::WRITE, file.number(), contents.as_ptr() as usize, contents.len())?;
        if written == contents.len() { Ok(()) } else { Err(Errno::EIO) }
    }
}

/// Makes a symbolic link.
///
/// # Errors
/// Those of looking the folder up and of making it there, also `EEXIST`.
///
/// # Safety
/// The names must end in NUL.
pub unsafe fn make_link(folder: Name, name: Name, target: Name) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        let folder = Folder::of(folder)?;
        arch::call3(nr::SYMLINKAT, target as usize, folder.number(), name as usize).map(drop)
    }
}

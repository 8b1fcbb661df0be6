//! A nursery in a private root: the operations that make the root come first in its own birth, so that it is the first process there.
//!
//! Safety idea: the namespaces are this nursery's own before anything in them is changed; it gives up every capability over them before it
//! becomes the nursery, so what is born in it never had one.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use beget_authority::root::{Item, Layout};
use beget_plan::Op;
use beget_plan::encoding::MOST_DESCRIPTORS;
use beget_plan::nursery::{self, Sources};
use beget_sys::Errno;
use beget_sys::namespace::{attribute, kind};

use crate::error::{Error, Fault, Result};
use crate::writer::{Step, Writer};

/// The namespaces that a process is born in; the others it makes for itself.
pub(crate) const AT_BIRTH: u32 = kind::USERS | kind::PROCESSES;

/// How many descriptors of a nursery's plan come from whoever makes it: its channel, the stub, and what its role has beside the channel.
pub(crate) const OF_ITS_MAKER: usize = 3;

/// A private root to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootRequest<'a> {
    pub(crate) layout: &'a Layout,
    /// It has a network of its own.
    pub(crate) own_network: bool,
    /// The cgroup that it is born in, and all that is born there.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// What must stay open while it is made.
pub(crate) struct Helpers {
    proc: OwnedFd,
}

impl Helpers {
    pub(crate) fn open() -> Result<Helpers> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, rustix::fs::Mode::empty())
            .map_err(|errno| Error::io("root: /proc", errno))?;
        Ok(Helpers { proc })
    }
}

/// This process, by which a nursery that has no number for it knows that it lives.
pub(super) fn own_pidfd() -> Result<OwnedFd> {
    rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
        .map_err(|errno| Error::io("root", errno))
}

/// What a nursery's plan begins with.
pub(super) fn begin() -> Writer {
    let mut writer = Writer::default();
    writer.push(Op::DefaultSignals {}, "nursery: signal dispositions");
    writer.push(Op::ProcessGroup { group: 0 }, "nursery: process group");
    writer
}

/// What it ends with; gives the whole plan.
pub(crate) fn finish(
    role: &CStr,
    sources: Sources,
    writer: &mut Writer,
    descriptors: usize,
) -> Result<Vec<u8>> {
    let Writer { draft, steps } = writer;
    nursery::finish(role, sources, draft, |draft, op, words| {
        draft.push(op);
        steps.push((words.into(), Fault::Kernel));
    })
    .map_err(|errno| Error::kernel("nursery", errno, Fault::Kernel))?;
    if descriptors > MOST_DESCRIPTORS {
        let words = format!("more than {MOST_DESCRIPTORS} files are granted in it");
        return Err(Error::new("root", words, Fault::Caller));
    }
    Ok(writer.draft.encode(descriptors))
}

/// The plan of a nursery in a private root that somebody else will make. Its descriptors begin with three of that one's; the others are put
/// into `descriptors`.
pub(crate) fn plan<'a>(
    role: &CStr,
    request: RootRequest<'a>,
    helpers: &'a Helpers,
    descriptors: &mut Vec<BorrowedFd<'a>>,
) -> Result<(Vec<u8>, Vec<Step>)> {
    // Theirs are counted, and left out in the end; which descriptor stands for them does not matter.
    let mut all = vec![helpers.proc.as_fd(); OF_ITS_MAKER];
    let mut writer = begin();
    write(request, helpers, &mut all, &mut writer)?;
    let sources = Sources { channel: 0, program: 1, second: Some(2), files: None };
    let bytes = finish(role, sources, &mut writer, all.len())?;
    descriptors.extend(all.into_iter().skip(OF_ITS_MAKER));
    Ok((bytes, writer.steps))
}

/// Writes the operations that make the root; their descriptors are added to `descriptors`.
pub(super) fn write<'a>(
    request: RootRequest<'a>,
    helpers: &'a Helpers,
    descriptors: &mut Vec<BorrowedFd<'a>>,
    writer: &mut Writer,
) -> Result<()> {
    let layout = request.layout;
    write_users(layout, descriptors.len() as u32, writer);
    descriptors.push(helpers.proc.as_fd());
    let network = if request.own_network { kind::NETWORK } else { 0 };
    let kinds = kind::MOUNTS | kind::CGROUPS | kind::NAMES | kind::IPC | network;
    writer.push(Op::Namespaces { kinds }, "root: namespaces");
    let name = writer.draft.bytes(layout.host_name.as_bytes());
    writer.push(Op::HostName { name }, "root: host name");
    if request.own_network {
        writer.push(Op::Loopback {}, "root: loopback interface");
    }
    let options = options(&[("mode", "755".to_owned()), ("size", (16 << 20).to_string())], writer)?;
    writer.push(Op::NewRoot { options }, "root: mounts");
    for item in &layout.items {
        write_item(item, descriptors, writer)?;
    }
    writer.push(Op::BecomeRoot { attributes: layout.attributes }, "root: taking the old one away");
    writer.push(Op::NoNewPrivileges {}, "no_new_privs");
    writer.push(Op::DropCapabilities {}, "capabilities");
    Ok(())
}

/// One number each: whoever writes its own map, from inside, may write no more.
fn write_users(layout: &Layout, source: u32, writer: &mut Writer) {
    let (user, group) = layout.identity;
    let one = |inside: Option<u32>, outside: u32| format!("{} {outside} 1\n", inside.unwrap_or(outside));
    let users = one(user, rustix::process::geteuid().as_raw());
    let groups = one(group, rustix::process::getegid().as_raw());
    let (users, groups) = (writer.draft.bytes(users.as_bytes()), writer.draft.bytes(groups.as_bytes()));
    writer.push(Op::MapUsers { source, users, groups }, "root: users");
}

fn write_item<'a>(item: &'a Item, descriptors: &mut Vec<BorrowedFd<'a>>, writer: &mut Writer) -> Result<()> {
    let words = |what: &str| format!("root: {what}{}", item.at().display());
    match item {
        Item::Directory { at, mode } => {
            let (folder, name) = split(at, writer)?;
            writer.push_asked(Op::MakeDirectory { folder, name, mode: *mode }, words(""), Fault::Caller);
        }
        Item::File { at, contents, mode } => {
            let (folder, name) = split(at, writer)?;
            let contents = writer.draft.bytes(contents);
            writer.push_asked(Op::MakeFile { folder, name, contents, mode: *mode }, words(""), Fault::Caller);
        }
        Item::Link { at, target } => {
            let (folder, name) = split(at, writer)?;
            let target = string(target, writer)?;
            writer.push_asked(Op::MakeLink { folder, name, target }, words(""), Fault::Caller);
        }
        Item::Bind { source, at, attributes } => {
            let index = descriptors.len() as u32;
            descriptors.push(source.file.as_fd());
            let (path, place) = (string(&source.path, writer)?, inside(at, writer)?);
            let op = Op::Bind { source: index, path, at: place, attributes: *attributes };
            let from = format!("{} at ", source.path.display());
            writer.push_asked(op, words(if source.path == *at { "" } else { &from }), Fault::Caller);
        }
        Item::Mount { filesystem, options: list, at, attributes } => {
            let options = options(list, writer)?;
            let kind = string(Path::new(filesystem), writer)?;
            let place = inside(at, writer)?;
            let op = Op::Mount { filesystem: kind, options, at: place, attributes: *attributes };
            writer.push(op, words(&format!("{filesystem} at ")));
        }
        Item::Seal { at, attributes } => {
            let place = inside(at, writer)?;
            debug_assert_eq!(attributes & !attribute::KNOWN, 0);
            writer.push(Op::Seal { at: place, attributes: *attributes }, words(""));
        }
    }
    Ok(())
}

fn string(text: &Path, writer: &mut Writer) -> Result<u32> {
    let text = CString::new(text.as_os_str().as_bytes())
        .map_err(|_| Error::new(format!("root: {}", text.display()), "it has a NUL byte", Fault::Caller))?;
    Ok(writer.draft.string(&text))
}

/// A place, relative to the root.
fn inside(at: &Path, writer: &mut Writer) -> Result<u32> {
    let at = at.strip_prefix("/").unwrap_or(at);
    string(if at.as_os_str().is_empty() { Path::new(".") } else { at }, writer)
}

/// Folder and name.
fn split(at: &Path, writer: &mut Writer) -> Result<(u32, u32)> {
    let folder = inside(at.parent().unwrap_or(at), writer)?;
    let name = at.file_name().map_or(Path::new("."), Path::new);
    Ok((folder, string(name, writer)?))
}

fn options(list: &[(&str, String)], writer: &mut Writer) -> Result<beget_plan::op::Span> {
    let mut strings = Vec::with_capacity(list.len() * 2);
    for (name, value) in list {
        for text in [*name, value.as_str()] {
            let wrong = |_| Error::new("root: mount option", "it has a NUL byte", Fault::Caller);
            strings.push(CString::new(text).map_err(wrong)?);
        }
    }
    Ok(writer.draft.strings(strings.iter().map(CString::as_c_str)))
}

/// What is lost without a private root.
const WITHOUT: &str = "without it names, sizes and times of this user's files and the numbers of processes are seen, and what takes its own \
                       session outlives a killed launcher longer";

/// No process could be made in namespaces of its own.
pub(crate) fn refused(errno: Errno) -> Error {
    let why = match errno {
        Errno::ENOSPC => "as many as /proc/sys/user allows are there already",
        Errno::EINVAL => "this kernel was built without them",
        _ => "this system, or the container around it, does not allow them to this user",
    };
    Error::new(
        "promise root",
        format!("user namespaces are refused ({errno}): {why}; {WITHOUT}"),
        Fault::Unkept,
    )
}

/// The same where they can be made, and are of no use: AppArmor and other security modules refuse so.
pub(crate) fn explain(error: Error, op: Option<Op>, errno: Errno) -> Error {
    let refusal = matches!(errno, Errno::EPERM | Errno::EACCES);
    match op {
        Some(Op::MapUsers { .. } | Op::Namespaces { .. } | Op::NewRoot { .. } | Op::HostName { .. })
            if refusal =>
        {
            let why = "a security module, such as AppArmor, takes away what a user namespace gives";
            let words = format!("user namespaces are of no use here ({error}): {why}; {WITHOUT}");
            Error::new("promise root", words, Fault::Unkept)
        }
        Some(Op::Mount { .. }) if refusal && error.to_string().contains("proc at") => {
            let why = "the container around this one covers parts of its own /proc";
            Error::new("promise root", format!("/proc is refused ({errno}): {why}; {WITHOUT}"), Fault::Unkept)
        }
        _ => error,
    }
}

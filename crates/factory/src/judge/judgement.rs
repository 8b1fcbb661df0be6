//! Judging one thing: a descriptor, or a file that may be opened.
//!
//! Safety idea: each kind that is discreet is named here with what keeps it so; every other is a hole.

use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use beget::{GivenFile, Result};
use beget_sys::landlock::fs;
use rustix::fs::SealFlags;

use super::constituent::{Constituent, Discretion};
use super::digest::Digest;
use super::hole::{Access, Hole, HoleIdentity};
use super::look::{self, Looked, What};
use super::measure;

/// Why a folder or file to read tells nobody, and what holds that.
const TO_READ: &str = "it can only be read";
const BY_MODE: &str = "its descriptor, which is open only to read; Landlock, for opening it anew; each product gets an open description of its own";
const BY_LANDLOCK: &str = "Landlock, and in a private root a read-only mount";

/// A judgement without its name.
struct Judged {
    kind: &'static str,
    discretion: Discretion,
    digest: Option<Digest>,
}

impl Judged {
    fn discreet(kind: &'static str, why: &str, held_by: &str, digest: Option<Digest>) -> Judged {
        Judged {
            kind,
            discretion: Discretion::Discreet { why: why.to_owned(), held_by: held_by.to_owned() },
            digest,
        }
    }

    fn hole(kind: &'static str, identity: HoleIdentity, name: &str, reason: impl Into<String>) -> Judged {
        Judged { kind, discretion: Discretion::Hole(Hole::new(identity, name, reason)), digest: None }
    }

    fn named(self, name: &str, access: Access) -> Constituent {
        let Judged { kind, discretion, digest } = self;
        Constituent { name: name.to_owned(), kind, access, discretion, digest }
    }
}

/// Judges a descriptor that every product gets, as `name`. What is discreet is so where the factory keeps its [`own`](super::own) of it, and
/// gives each product an open description made [`anew`](super::anew): what is shared tells others its offset and its flags.
///
/// # Errors
/// Those of looking at it and of reading it.
pub fn descriptor(name: &str, file: BorrowedFd<'_>) -> Result<Constituent> {
    let looked = Looked::at(name, file)?;
    let judged = match &looked.what {
        What::File if looked.only_means => Judged::discreet(
            "file, not open",
            "it cannot be opened by it",
            "Landlock",
            measure::file(name, file)?,
        ),
        What::File if looked.access == Access::READ => match measure::file(name, file)? {
            // What was opened by somebody who may: products have one description together, whose offset each can move.
            None => Judged::hole(
                "file",
                HoleIdentity::new("file", looked.lasting_name(file), looked.access),
                name,
                "it cannot be opened anew by this user, so that all products share its offset",
            ),
            digest => Judged::discreet("file", TO_READ, BY_MODE, digest),
        },
        What::Folder => {
            folder(name, file, &looked, "it can only be looked into and its files read", BY_LANDLOCK)?
        }
        What::Memory(seals) if is_sealed(*seals) => {
            let seals = "its seals (F_SEAL_WRITE, GROW, SHRINK and SEAL), which nobody can take away; the factory keeps a copy of its own, and each product gets an open description of its own";
            Judged::discreet("sealed memory", "nobody can change it", seals, measure::file(name, file)?)
        }
        What::Link => {
            Judged::discreet("symbolic link", "it is only meant, and cannot be opened", "the kernel", None)
        }
        What::PlainDevice(_) if !looked.only_means => plain_device(),
        _ => hole(name, file, &looked),
    };
    Ok(judged.named(name, looked.access))
}

/// Rights to change.
const CHANGES: u64 =
    fs::WRITE_FILE | fs::TRUNCATE | fs::REMOVE_FILE | fs::REMOVE_DIR | fs::MAKE_REG | fs::MAKE_DIR;

/// Whether all below it has to be looked at before [`file`] can say what it is.
///
/// # Errors
/// Those of looking at it.
pub(super) fn is_looked_through(given: &GivenFile) -> Result<bool> {
    let looked = Looked::at(&given.path.display().to_string(), given.as_fd())?;
    Ok(looked.what == What::Folder && given.rights.0 & CHANGES == 0)
}

/// Judges a file that every product may open, with its rights.
///
/// # Errors
/// Those of looking at it and of reading it.
pub(super) fn file(given: &GivenFile, own_session: bool) -> Result<Constituent> {
    let name = given.real_path().display().to_string();
    let looked = Looked::at(&name, given.as_fd())?;
    let has = |right| given.rights.0 & right != 0;
    let mut access = Access::NONE;
    for (right, one) in [
        (fs::READ_FILE | fs::READ_DIR, Access::READ),
        (CHANGES, Access::WRITE),
        (fs::EXECUTE, Access::EXECUTE),
        (fs::IOCTL_DEV, Access::USE),
    ] {
        if has(right) {
            access = access.and(one);
        }
    }
    let file = given.as_fd();
    let judged = match &looked.what {
        What::File | What::Folder if has(CHANGES) => {
            let kind = if looked.what == What::File { "file" } else { "folder" };
            let identity = HoleIdentity::new(kind, looked.lasting_name(file), access);
            Judged::hole(kind, identity, &name, "it can be written, and read by whoever else may read it")
        }
        What::File => Judged::discreet("file", TO_READ, BY_LANDLOCK, measure::file(&name, file)?),
        What::Folder => folder(&name, file, &looked, "its files can only be read", BY_LANDLOCK)?,
        What::PlainDevice(_) => plain_device(),
        What::Terminal if own_session && name == "/dev/tty" => Judged::discreet(
            "terminal",
            "its session has none",
            "a session of its own, which cannot take one (seccomp filter)",
            None,
        ),
        _ => hole(&name, file, &Looked { access, ..looked }),
    };
    Ok(judged.named(&name, access))
}

fn plain_device() -> Judged {
    Judged::discreet(
        "plain device",
        "what is written there goes nowhere that is read",
        "the device itself; each product gets an open description of its own",
        None,
    )
}

/// Whether nobody can change it, whatever access they have.
pub(super) fn is_sealed(seals: SealFlags) -> bool {
    seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)
}

fn folder(name: &str, file: BorrowedFd<'_>, looked: &Looked, why: &str, held_by: &str) -> Result<Judged> {
    let measured = measure::folder(name, file)?;
    if measured.special.is_empty() && measured.digest.is_some() {
        return Ok(Judged::discreet("folder", why, held_by, measured.digest));
    }
    let reason = match listed(&measured.special) {
        some if !some.is_empty() => format!("in it lies {some}"),
        _ => "it could not be looked through: it may not be read, or is too large or too deep".to_owned(),
    };
    let identity = HoleIdentity::new("folder", looked.lasting_name(file), Access::READ);
    Ok(Judged { digest: measured.digest, ..Judged::hole("folder", identity, name, reason) })
}

/// The first few of what lies in a folder.
fn listed(special: &[(PathBuf, String)]) -> String {
    const SHOWN: usize = 3;
    let mut text = String::new();
    for (index, (path, what)) in special.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{}{} ({what})", if index == 0 { "" } else { ", " }, path.display());
    }
    if special.len() > SHOWN {
        let _ = write!(text, " and {} more", special.len() - SHOWN);
    }
    text
}

/// What is not discreet: which hole, and why.
fn hole(name: &str, file: BorrowedFd<'_>, looked: &Looked) -> Judged {
    let access = looked.access;
    let lasting = |kind, access| HoleIdentity::new(kind, looked.lasting_name(file), access);
    let passing = |kind, access| HoleIdentity::new(kind, looked.passing_name(), access);
    let device = || {
        let block = rustix::fs::FileType::from_raw_mode(looked.status.st_mode).is_block_device();
        let (major, minor) =
            (rustix::fs::major(looked.status.st_rdev), rustix::fs::minor(looked.status.st_rdev));
        format!("{}{major}-{minor}", if block { "b" } else { "c" })
    };
    match &looked.what {
        What::File => Judged::hole(
            "file",
            lasting("file", access),
            name,
            "it is open for writing, and others can read it",
        ),
        What::Memory(_) => {
            let reason = "memory whose seals do not keep it as it is: it can be written, or opened anew for writing, and others who hold it read it";
            Judged::hole("memory", passing("memory", access.and(Access::WRITE)), name, reason)
        }
        What::Pipe => {
            let reason = "a pipe: what is written is read at its other end, and what is read, or that it is opened, is noticed there";
            Judged::hole("pipe", passing("pipe", access), name, reason)
        }
        What::Socket(kind) => {
            let identity = match look::cookie(file) {
                Some(cookie) => {
                    HoleIdentity::new("socket", format!("{}-{cookie}", look::boot()), Access::USE)
                }
                None => lasting("unix", Access::USE),
            };
            Judged::hole(
                "socket",
                identity,
                name,
                format!("a socket ({kind}): whoever is at its other end is told"),
            )
        }
        What::Terminal => {
            let identity = HoleIdentity::new("terminal", format!("{}-{}", look::boot(), device()), access);
            Judged::hole(
                "terminal",
                identity,
                name,
                "a terminal: whoever sits at it sees what is written, and its settings are shared",
            )
        }
        What::Device | What::PlainDevice(_) => {
            let identity = HoleIdentity::new("device", device(), access);
            Judged::hole("device", identity, name, "a device: what it does is seen outside")
        }
        What::Kernel(kind) => {
            let reason = format!(
                "files that the kernel makes up ({kind}): they tell of others, and act when they are opened or read"
            );
            Judged::hole("files of the kernel", HoleIdentity::new("kernel-files", kind, access), name, reason)
        }
        What::Served(kind) => {
            let reason =
                format!("files that somebody serves ({kind}), who sees each of them opened and read");
            Judged::hole("served files", lasting("served-files", access), name, reason)
        }
        What::Process => {
            let reason = "a process: it can be signalled, and its end is waited for";
            Judged::hole(
                "process",
                HoleIdentity::new(
                    "process",
                    format!("{}-{}", look::boot(), looked.status.st_ino),
                    Access::USE,
                ),
                name,
                reason,
            )
        }
        What::Namespace => Judged::hole(
            "namespace",
            passing("namespace", Access::USE),
            name,
            "a namespace: it can be entered and kept alive, with what is in it",
        ),
        What::Queue => Judged::hole(
            "message queue",
            passing("message-queue", access),
            name,
            "a message queue: what is put in is taken out by others",
        ),
        What::SecretMemory => Judged::hole(
            "secret memory",
            passing("secret-memory", access),
            name,
            "memory that others who hold it see written",
        ),
        What::Nameless(kind) => nameless(name, kind),
        What::Folder | What::Link => Judged::hole(
            "unknown",
            HoleIdentity::new("unknown", look::own_name(), access),
            name,
            "nothing says that it is discreet",
        ),
    }
}

/// Things that the kernel knows by no name: each is its own hole.
fn nameless(name: &str, kind: &str) -> Judged {
    let known: &[(&str, &'static str, &str)] = &[
        (
            "eventfd",
            "eventfd",
            "a counter: what is added to it or taken from it is seen by others who hold it",
        ),
        (
            "eventpoll",
            "epoll",
            "a set of descriptors: what is put into it is seen by others who hold it, and reaches through it",
        ),
        ("timerfd", "timer", "a timer: when it is set, others who hold it see it"),
        ("signalfd", "signalfd", "a mask of signals, which others who hold it share"),
        (
            "inotify",
            "inotify",
            "a queue of events: what is watched, or taken from it, others who hold it see",
        ),
        ("fanotify", "fanotify", "a queue of events of whole filesystems"),
        (
            "userfaultfd",
            "userfaultfd",
            "a handler of another process's page faults: it fills that process's memory",
        ),
        ("perf_event", "perf", "a counter of events, which others who hold it read and set"),
        ("io_uring", "io_uring", "a ring of requests, which others who hold it share"),
        ("pidfd", "process", "a process: it can be signalled, and its end is waited for"),
        ("landlock-ruleset", "ruleset", "a ruleset: what is added to it holds for others"),
        ("seccomp notify", "seccomp listener", "a listener, which decides what other processes may do"),
        ("fscontext", "filesystem", "a filesystem in the making, which others who hold it share"),
        ("bpf-map", "bpf map", "memory shared with the kernel's programs and others"),
        ("bpf-prog", "bpf program", "a program of the kernel's, which tells others what it sees"),
        ("dma_buf", "dma buffer", "memory shared with devices and others"),
        ("sync_file", "fence", "a fence, which others wait for"),
        ("kvm-vm", "virtual machine", "a virtual machine, which others who hold it share"),
        ("kvm-vcpu", "virtual machine", "a virtual machine's processor, which others who hold it share"),
    ];
    let found = known.iter().find(|(link, ..)| kind.contains(link));
    let (kind, reason) = match found {
        Some((_, kind, reason)) => (*kind, (*reason).to_owned()),
        None => {
            ("unknown", format!("a kind that is not known here ({kind}): nothing says that it is discreet"))
        }
    };
    Judged::hole(kind, HoleIdentity::new(kind, look::own_name(), Access::USE), name, reason)
}

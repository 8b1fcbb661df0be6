//! What a child would hold, as data: for `show`, for audits, for tests.

use std::ffi::OsString;
use std::path::PathBuf;

use beget_authority::{Enforced, Grant, Rights, Support};

/// A slot that the program sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: i32,
    /// Its name.
    pub name: String,
    /// It is a terminal.
    pub terminal: bool,
    /// It is a terminal that was made for the program, which nobody else uses.
    pub own: bool,
    /// It is open for reading. A terminal that is read from another session than its own gives what is typed there.
    pub readable: bool,
    /// It is a Unix socket that is a datagram one or not connected: every socket that has a path can be reached through it.
    pub reaches_sockets: bool,
}

/// A file or directory that it may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it really is, links followed.
    pub path: PathBuf,
    /// What it may do there.
    pub rights: Rights,
    /// A directory: also with all below it.
    pub below: bool,
}

/// A child's whole CSpace, and what holds it to that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// The program, where it was found.
    pub program: PathBuf,
    /// It is a script: what is executed is its interpreter.
    pub interpreted: bool,
    /// It is set-uid or set-gid, which gains it nothing.
    pub privileged: bool,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<OsString>,
    /// Its working directory.
    pub directory: String,
    /// Its descriptors.
    pub slots: Vec<Slot>,
    /// The files that it may open.
    pub files: Vec<File>,
    /// What else is in its private root: where, and what; empty for a child in its creator's root.
    pub root: Vec<(PathBuf, String)>,
    /// The network grants.
    pub network: Vec<Grant>,
    /// Its holder can send it more, over a channel.
    pub channel: bool,
    /// It may create processes.
    pub spawn: bool,
    /// It may do all that its user may.
    pub ambient: bool,
    /// Its file mode creation mask.
    pub umask: u32,
    /// It has a session of its own.
    pub session: bool,
    /// It is in the foreground of the terminal at its standard input.
    pub foreground: bool,
    /// Resource limits: name, soft, hard; `u64::MAX` is none.
    pub limits: Vec<(&'static str, u64, u64)>,
    /// The promises made, and what keeps each.
    pub enforced: Vec<Enforced>,
    /// The operations of its birth, in order.
    pub operations: Vec<String>,
    /// What the kernel was taken for.
    pub support: Support,
}

impl Description {
    /// What stays open, whatever is granted: the kernel has no way to close it, or none without a private root.
    #[must_use]
    pub fn stays_open(&self) -> Vec<&'static str> {
        if self.ambient {
            return vec!["everything that this user may do"];
        }
        let mut open = match self.root.is_empty() {
            true => vec![
                "metadata: stat, chmod, utimes and the existence of this user's own files, by path",
                "information: numbers and existence of other processes, the machine's name, load and clocks",
            ],
            false => vec!["information: the kernel, the machine's load, memory and clocks"],
        };
        let callers = |slot: &Slot| slot.terminal && !slot.own;
        if self.slots.iter().any(callers) {
            open.push("the terminal: what is drawn on it, and its settings (fake input is refused)");
        }
        if !self.session && self.spawn && self.slots.iter().any(callers) {
            open.push("the terminal, with --spawn: it can stop and interrupt other jobs of the session");
        }
        if self.session && self.slots.iter().any(|slot| callers(slot) && slot.readable) {
            open.push("the terminal: what is typed there can be read, through a descriptor open for reading");
        }
        if self.root.is_empty()
            && self.files.iter().any(|file| {
                file.path.starts_with("/proc") || std::path::Path::new("/proc").starts_with(&file.path)
            })
        {
            open.push("command lines and states of other processes, through the granted /proc");
        }
        if self.slots.iter().any(|slot| slot.reaches_sockets) {
            open.push("every Unix socket with a path, through a granted socket that is not connected");
        }
        let serves = |grant: &Grant| {
            matches!(grant, Grant::InetDns | Grant::Net | Grant::TcpBind(_) | Grant::Loopback)
        };
        if self.network.iter().any(|grant| matches!(grant.plain(), Grant::Unix(_))) {
            open.push("Unix sockets in granted folders, and whatever the granted ones lead to");
            if self.network.iter().any(serves) {
                open.push("Unix sockets that it serves itself, in granted folders that others see");
            }
        }
        if self.channel {
            open.push("whatever its holder sends it while it runs, over the channel in slot beget");
        }
        if self.network.contains(&Grant::InetDns) {
            open.push("UDP to any place: no kernel narrows it by address");
        }
        if self.network.contains(&Grant::Net) {
            open.push("the whole network, also services on this machine that listen on its addresses");
        } else if self.network.iter().any(|grant| matches!(grant, Grant::TcpConnect(_))) {
            open.push("the granted TCP ports of every host, this machine included");
        }
        if self.network.iter().any(|grant| matches!(grant, Grant::TcpBind(_))) {
            open.push("a TCP port that the kernel chooses, by listening without binding");
        }
        if !self.session && !self.foreground {
            open.push("the caller's session and terminal");
        }
        open
    }
}

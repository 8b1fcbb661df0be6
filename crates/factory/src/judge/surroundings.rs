//! Judging what is around every product: the grants that are no files, what this kernel does not keep, and what products share.
//!
//! Safety idea: a promise that is not kept is a hole, by its name; so is each that was not even asked for and that would be needed.

use beget::{Command, Description, Grant, Promise};

use super::hole::{Access, Hole, HoleIdentity};

/// What the judge cannot see of the command, and is told by whoever makes the products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Products live in one private root together, as those of one template do: its `/tmp`, processes and loopback interface are shared.
    pub shares_root: bool,
    /// The channel of each product is held by its requestor alone, and was made for that product.
    pub own_channel: bool,
}

fn once(kind: &str, access: Access, what: &str, reason: &str) -> Hole {
    Hole::new(HoleIdentity::new(kind, "", access), what, reason)
}

/// The holes of grants that are no files.
pub(super) fn of_grants(command: &Command) -> Vec<Hole> {
    let hole = |grant: &Grant| {
        let with = |kind: &str, object: String, reason: &str| {
            Some(Hole::new(HoleIdentity::new(kind, object, Access::USE), grant.to_string(), reason))
        };
        match grant.plain() {
            Grant::Ambient => with("everything", String::new(), "it may do all that its user may do"),
            Grant::Net => with(
                "net",
                String::new(),
                "every host of the network, and every service of this machine that listens on its addresses",
            ),
            Grant::TcpConnect(port) => with(
                "tcp-connect",
                port.to_string(),
                "whoever listens on this TCP port of any host, this machine's included",
            ),
            Grant::TcpBind(port) => with(
                "tcp-bind",
                port.to_string(),
                "whoever connects to this TCP port, or to one that the kernel chooses",
            ),
            Grant::InetDns => with(
                "udp",
                String::new(),
                "UDP to any place, which no kernel narrows by address, and TCP port 53 of any host",
            ),
            Grant::Loopback => with("loopback", String::new(), "whoever else is in the same private root"),
            _ => None,
        }
    };
    let port = |grant: &Grant| {
        let tcp = HoleIdentity::new("tcp-connect", 53, Access::USE);
        matches!(grant, Grant::InetDns)
            .then(|| Hole::new(tcp, grant.to_string(), "whoever listens on TCP port 53 of any host"))
    };
    let grants = command.grants_given();
    grants.iter().filter_map(hole).chain(grants.iter().filter_map(port)).collect()
}

/// The holes of what is around a product.
pub(super) fn of_product(command: &Command, description: &Description, around: Surroundings) -> Vec<Hole> {
    let mut holes = Vec::new();
    if !description.ambient {
        holes.extend(unkept(description));
    }
    let marks = description.enforced.iter().any(|line| line.promise == Promise::Marks && line.by.is_some());
    if !marks {
        let reason = "files that it may only read can be locked, and by their owner given other modes and times, for all to see";
        holes.push(once("marks", Access::WRITE, "marks on files", reason));
    }
    if !command.has_root() {
        let access = if marks { Access::READ } else { Access::READ.and(Access::WRITE) };
        let reason = "without a private root every name and attribute of this user's files is seen by path, whatever is granted, and times of access change";
        holes.push(once("metadata", access, "names and attributes", reason));
    } else if around.shares_root {
        let reason = "all products of one template live in one private root: what one writes in its /tmp and /dev/shm the others read";
        holes.push(once("shared-root", Access::READ.and(Access::WRITE), "the private root", reason));
    }
    if command.has_channel() && !around.own_channel {
        holes.push(once(
            "channel",
            Access::USE,
            "slot beget",
            "whoever holds the other end of the channel is asked, and answers",
        ));
    }
    if !description.session {
        let reason =
            "it is in its creator's session: its terminal, and groups of processes there, are reached";
        holes.push(once("session", Access::USE, "the session", reason));
    }
    for folder in command.root_given().into_iter().flat_map(beget::Root::kept) {
        let name = rustix::fs::stat(folder).map(|status| {
            let (major, minor) = (rustix::fs::major(status.st_dev), rustix::fs::minor(status.st_dev));
            format!("{major}.{minor}-{}", status.st_ino)
        });
        let identity =
            HoleIdentity::new("kept", name.unwrap_or_else(|_| super::look::own_name()), Access::WRITE);
        holes.push(Hole::new(
            identity,
            folder.display().to_string(),
            "what it changes is kept there, and read by whoever may",
        ));
    }
    holes
}

/// Each promise that nothing keeps here. Limits say how much it may have, not whom it may tell; the private root has its own line.
fn unkept(description: &Description) -> impl Iterator<Item = Hole> {
    const OTHERS: [Promise; 5] =
        [Promise::Root, Promise::Marks, Promise::Memory, Promise::Processes, Promise::Processors];
    let lines =
        description.enforced.iter().filter(|line| line.by.is_none() && !OTHERS.contains(&line.promise));
    lines.map(|line| {
        let identity = HoleIdentity::new("unkept", line.promise.word(), Access::USE);
        let reason = format!(
            "nothing on this system keeps that {}; it {}",
            line.promise.what(),
            line.promise.what_it_needs()
        );
        Hole::new(identity, format!("promise {}", line.promise.word()), reason)
    })
}

//! Commands of every kind, by name, for drivers; each starts this very program, which ends at once.

use std::os::fd::OwnedFd;

use beget::{Command, Grant, Limit, Promise, SignalSet, Stdio, Support};

/// What the child of a driver is told, so that it does nothing and ends with 0.
pub const NOTHING: &str = "do-nothing";

/// A command without anything.
pub fn bare() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
    command.env("BEGET_TEST_DRIVER", NOTHING);
    command
}

fn file(path: &str) -> OwnedFd {
    std::fs::File::open(path).expect("every machine has it").into()
}

/// A new terminal: the side that its holder keeps, and the side for the child.
fn terminal() -> (OwnedFd, OwnedFd) {
    use std::os::fd::FromRawFd;
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the kernel's numbers go to this stack, and nobody else knows the two new descriptors.
    unsafe {
        let made = libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast());
        assert_eq!(made, 0, "a terminal can be made");
        for fd in [ours, theirs] {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

/// The command of that name, and what must live as long as it does.
pub fn command(name: &str) -> (Command, Vec<OwnedFd>) {
    let mut command = bare();
    let mut held = Vec::new();
    match name {
        "ambient" => drop(command.grant(Grant::Ambient)),
        "ambient group" => {
            command.grant(Grant::Ambient).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        }
        "ambient caller's session" => drop(command.grant(Grant::Ambient).session(false).umask(0o77)),
        "confined" => {}
        "spawning" => {
            command.grants([Grant::Base, Grant::Spawn, Grant::TcpConnect(443)]).stdout(Stdio::inherit());
        }
        "listener" => drop(command.tell_refusals(true).stderr(Stdio::piped())),
        "root" => drop(command.root(beget::Root::new().file("/made/file", "text").symlink("/link", "made"))),
        "slots" => {
            command.slot("first", file("/dev/null")).slot("second", file("/dev/zero")).fd(9, file("/"));
            command.fd(40, file("/dev/null")).stdin(Stdio::null()).stdout(Stdio::piped());
        }
        "limits" => {
            command.limit(Limit::OpenFiles(64)).limit(Limit::Processors(1)).limit(Limit::Processes(100));
            command.degrade(Promise::Processes).support(Support::detect().without_cgroups());
            command.signal_mask(SignalSet(1 << 9)).umask(0);
            command.current_dir("/usr").die_with_thread(true).only(true);
        }
        "terminal" => {
            let (ours, theirs) = terminal();
            held.push(ours);
            command.controlling_terminal(theirs.try_clone().expect("room for one more")).stdin(theirs);
            command.foreground(true);
        }
        _ => panic!("no such command: {name}"),
    }
    (command, held)
}

/// The names.
pub const ALL: [&str; 9] = [
    "ambient",
    "ambient group",
    "ambient caller's session",
    "confined",
    "spawning",
    "listener",
    "slots",
    "limits",
    "terminal",
];

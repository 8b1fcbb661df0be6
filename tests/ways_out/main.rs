//! P holds A and B, C gets A: whatever C tries from inside, no way to data, a process, the network or a service that was not
//! granted is open. The corpus first runs bare, as a contrast: nearly all of it is open then, so that closed means closed by us.
//!
//! As an ordinary user only: root's ordinary rights would open ways that are nobody's to close.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use beget::{Command, Grant, Support};
use beget_tests::ways_out::{Targets, Verdict};
use beget_tests::{Need, Scratch, has, is_root, program, skip, text};

fn judge(launcher: &[&str]) -> Vec<Verdict> {
    let launcher: Vec<String> = launcher.iter().map(ToString::to_string).collect();
    let mut targets = Targets::arrange(&program("attacker")).expect("the targets can be made");
    let said = targets.run(&launcher, "").expect("the attacker reaches its end");
    targets.verdicts(&said)
}

fn open(verdicts: &[Verdict]) -> BTreeSet<String> {
    verdicts
        .iter()
        .filter(|verdict| verdict.fails())
        .map(|verdict| format!("{} ({})", verdict.name, verdict.detail))
        .collect()
}

/// `beget run` with what the attacker itself needs, and the one granted folder.
fn beget_run(flags: &[&str]) -> Vec<Verdict> {
    let beget = program("beget-under-test").display().to_string();
    let before = [&beget, "run", "--base", "--exec", "{attacker}", "--write", "{dir}"];
    judge(&[&before, flags, &["--"]].concat())
}

#[test]
fn bare_nearly_everything_is_open() {
    if is_root() {
        return skip("bare_nearly_everything_is_open", Need::OrdinaryUser);
    }
    let open = open(&judge(&["/bin/sh", "-c", "\"$@\"; exit $?", "sh"]));
    // Hundreds on any kernel; what is missing here differs with what the machine has.
    assert!(open.len() > 250, "only {} ways are open bare: the corpus shows nothing here", open.len());
}

#[test]
fn under_beget_no_way_out_is_open() {
    if is_root() {
        return skip("under_beget_no_way_out_is_open", Need::OrdinaryUser);
    }
    for flags in [&[][..], &["--spawn"], &["--only"], &["--tcp-connect", "1"], &["--pty", "--spawn"]] {
        assert_eq!(open(&beget_run(flags)), BTreeSet::new(), "with {flags:?}");
    }
    // Put into memory instead of being executed, it holds no more.
    for flags in [&[][..], &["--spawn"], &["--only"]] {
        let flags = [&["--loader", "direct"], flags].concat();
        assert_eq!(open(&beget_run(&flags)), BTreeSet::new(), "with {flags:?}");
    }
    // The right to listen on one port is, to Landlock, the right to listen unbound: SECURITY.md says so, and nothing more is open.
    let mut open = open(&beget_run(&["--tcp-bind", "1", "--spawn"]));
    // So is the right to bind at all the right to an abstract name.
    open.retain(|way| !way.starts_with("net.listen_unbound") && !way.starts_with("unix.abstract_taken"));
    assert_eq!(open, BTreeSet::new());
}

/// A copy of a process that holds only its grants is held as a child is, in what it executes too.
#[test]
fn out_of_a_copy_of_the_caller_no_way_is_open() {
    if is_root() {
        return skip("out_of_a_copy_of_the_caller_no_way_is_open", Need::OrdinaryUser);
    }
    let launcher = program("through-fork").display().to_string();
    assert_eq!(open(&judge(&[&launcher, "{dir}"])), BTreeSet::new());
}

/// A private root has ways of its own, and so has each thing that may be in it.
#[test]
fn in_a_private_root_no_way_out_is_open() {
    let test = "in_a_private_root_no_way_out_is_open";
    if is_root() {
        return skip(test, Need::OrdinaryUser);
    }
    let made = Command::new("true").grant(Grant::Base).root(beget::Root::new()).status();
    if made.is_err_and(|error| error.to_string().contains("user namespaces are refused")) {
        return skip(test, Need::Machine("user namespaces"));
    }
    let scratch = Scratch::new();
    let socket = scratch.at("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("our own folder");
    let ways: [&[&str]; 6] = [
        &[],
        &["--spawn", "--loopback"],
        &["--spawn", "--unix", &socket],
        &["--spawn", "--loader", "direct"],
        &["--spawn", "--pty"],
        &["--spawn", "--as-if", "landlock=none"],
    ];
    for flags in ways {
        let flags = [&["--root"], flags].concat();
        assert_eq!(open(&beget_run(&flags)), BTreeSet::new(), "with {flags:?}");
    }
    let beget = program("beget-under-test").display().to_string();
    let launcher =
        [&beget, "run", "--base", "--root", "--spawn", "--exec", "{attacker}", "--scratch", "{dir}", "--"];
    assert_eq!(open(&judge(&launcher)), BTreeSet::new(), "with a folder whose changes are thrown away");
}

#[test]
fn on_older_kernels_no_way_out_is_open() {
    if is_root() {
        return skip("on_older_kernels_no_way_out_is_open", Need::OrdinaryUser);
    }
    for abi in 1..Support::detect().landlock.unwrap_or(0).min(7) {
        let mask = format!("landlock={abi}");
        assert_eq!(open(&beget_run(&["--as-if", &mask])), BTreeSet::new(), "with Landlock ABI {abi}");
    }
}

/// What a Python program says that holds `--base` and these grants.
fn python(test: &str, script: &str, words: &[&str], prepare: impl FnOnce(&mut Command)) -> Option<String> {
    if !has("python3") {
        skip(test, Need::Program("python3"));
        return None;
    }
    let mut command = Command::new("python3");
    command.args(["-c", script]).args(words).grant(Grant::Base);
    prepare(&mut command);
    let output = command.output().expect("python starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout))
}

/// A file that runs as whoever owns it is more than metadata: another user of the machine could be waiting for it.
#[test]
fn no_file_is_made_to_run_as_this_user() {
    const ATTEMPT: &str = "import os, sys
folder, outside = sys.argv[1:]
def attempt(f):
    try: f()
    except OSError as e: print(e.errno)
attempt(lambda: os.chmod(outside, 0o4755))
inside = folder + '/inside'
os.close(os.open(inside, os.O_CREAT | os.O_WRONLY, 0o755))
attempt(lambda: os.chmod(inside, 0o4755))
fd = os.open(inside, os.O_RDONLY)
attempt(lambda: os.fchmod(fd, 0o6755))
attempt(lambda: os.open(folder + '/made', os.O_CREAT | os.O_WRONLY, 0o4755))
attempt(lambda: os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o4755))
attempt(lambda: os.mknod(folder + '/node', 0o104755))
os.chmod(inside, 0o700)
";
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let (folder, outside) = (scratch.at("."), other.file("outside", "x"));
    let grant = Grant::Write(scratch.path().to_owned());
    let test = "no_file_is_made_to_run_as_this_user";
    let Some(said) = python(test, ATTEMPT, &[&folder, &outside], |command| {
        command.grant(grant);
    }) else {
        return;
    };
    assert_eq!(said, "1\n".repeat(6));
    let files =
        std::fs::read_dir(scratch.path()).expect("our own folder").flatten().map(|entry| entry.path());
    for path in files.chain([outside.into()]) {
        let mode = path.metadata().expect("our own file").permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{}: {mode:o}", path.display());
    }
}

/// A socket that was given connected can be disconnected; from there it reaches nobody else.
#[test]
fn a_granted_socket_does_not_connect_elsewhere() {
    const ATTEMPT: &str = "import ctypes, socket, sys
s = socket.socket(fileno=3)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.connect(3, ctypes.create_string_buffer(16), 16) == 0
there = ('127.0.0.1', int(sys.argv[1]))
def attempt(f):
    try: f()
    except OSError as e: print(e.errno)
attempt(lambda: s.connect(there))
attempt(lambda: s.sendto(b'out', 0x20000000, there))
attempt(lambda: s.sendmsg([b'out'], [], 0x20000000, there))
attempt(lambda: s.setsockopt(6, 31, b'smc'))
";
    if Support::detect().landlock.is_none_or(|abi| abi < 4) {
        return skip("a_granted_socket_does_not_connect_elsewhere", Need::Machine("Landlock with ports"));
    }
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (granted, other) = (listen(), listen());
    let socket = TcpStream::connect(granted.local_addr().expect("its address")).expect("our own listener");
    other.set_nonblocking(true).expect("our own socket");
    let port = other.local_addr().expect("its address").port().to_string();
    let test = "a_granted_socket_does_not_connect_elsewhere";
    let Some(said) = python(test, ATTEMPT, &[&port], |command| {
        command.slot("peer", socket);
    }) else {
        return;
    };
    assert_eq!(said, "13\n95\n95\n2\n");
    assert!(other.accept().is_err(), "it was reached");
}

/// A tracer keeps the end of what it traces from whoever waits for it: also among its own processes nobody traces.
#[test]
fn nobody_is_traced_among_its_own() {
    const ATTEMPT: &str = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno(), flush=True)
child = os.fork()
if child == 0: os._exit(libc.ptrace(0x4206, os.getppid(), 0, 0) == 0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    if Support::detect().landlock.is_none_or(|abi| abi < 6) {
        return skip("nobody_is_traced_among_its_own", Need::Machine("Landlock with scopes"));
    }
    let spawn = |command: &mut Command| {
        command.grant(Grant::Spawn);
    };
    let Some(said) = python("nobody_is_traced_among_its_own", ATTEMPT, &[], spawn) else { return };
    assert_eq!(said, "-1 1\n0\n");
}

//! A private root, seen from inside and by witnesses outside: what is not granted does not exist, what is granted lies where it was asked for,
//! and nothing of it is left when it ends, however it ends.

mod changes;
mod ended;
mod given;
mod own;
mod processes;
mod refused;
mod sockets;
mod swapped;
mod unseen;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use beget::{Command, Grant, Root};
use beget_tests::{Need, Scratch, beget, finish, has, skip, text};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// Exit code, standard output, standard error.
type Ran = (Option<i32>, String, String);

fn told(output: &Output) -> Ran {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn ran(words: &[&str]) -> Ran {
    told(&finish(beget().args(words).stdin(Stdio::null())))
}

/// `beget run --base --root` with these flags.
fn rooted(flags: &[&str], program: &[&str]) -> Ran {
    ran(&[&["run", "--base", "--root"], flags, &["--"], program].concat())
}

/// The same, of a shell that may start processes.
fn in_shell(flags: &[&str], script: &str) -> Ran {
    rooted(&[flags, &["--spawn"]].concat(), &["sh", "-c", script])
}

/// What a Python program wrote there, which ends well.
fn in_python(flags: &[&str], program: &str) -> String {
    let (code, out, errors) = rooted(flags, &["python3", "-c", program]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    out
}

fn fine(out: &str) -> Ran {
    (Some(0), out.to_owned(), String::new())
}

/// A command of the library in a private root.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base).root(Root::new());
    command
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// Whether a private root can be had here; says that it cannot.
fn has_root(test: &str) -> bool {
    let (code, _, errors) = rooted(&[], &["true"]);
    let refused = errors.contains("user namespaces are refused");
    assert!(code == Some(0) || refused, "{errors}");
    if refused {
        skip(test, Need::Machine("user namespaces"));
    }
    !refused
}

/// The same, with Python.
fn has_python(test: &str) -> bool {
    if !has("python3") {
        skip(test, Need::Program("python3"));
        return false;
    }
    has_root(test)
}

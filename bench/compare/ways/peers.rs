//! Other programs that make processes: each as its manual says that a program is shut in, or, where it does no such thing, as it is used.
//!
//! Safety idea: a peer is started as any program is, by the standard library, with what is in its words and nothing of ours beside A and
//! the report; what it says of its failure goes to a file of the scene, and is told.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::Purpose;
use super::{Born, Given, Way, told};
use crate::ways::find as find_program;

/// A P that is a Python, with both of Python's ways.
pub(in crate::compare) const PYTHON: &str = include_str!("peers.py");

/// The Python to use.
pub(in crate::compare) fn line(name: &str) -> Result<PathBuf, String> {
    find_program(name).ok_or(format!("{name} is not installed"))
}

/// Where C's program lies inside of what a peer shuts it in.
const INSIDE: &str = "/c";

struct Peer {
    program: PathBuf,
    /// Its own words, before C's.
    before: Vec<OsString>,
    /// C's program and words.
    inside: Vec<OsString>,
}

impl Peer {
    fn of(name: &str, words: &[&OsStr], at: &Path, given: &Given<'_>) -> Result<Box<dyn Way>, String> {
        let before = words.iter().map(|word| (*word).to_owned()).collect();
        let inside = std::iter::once(at.as_os_str().to_owned()).chain(given.words()).collect();
        Ok(Box::new(Peer { program: line(name)?, before, inside }))
    }
}

impl Way for Peer {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        given.holdings.close_on_exec(!given.forget)?;
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(&self.inside).stdin(given.a()?);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/");
        command.stdout(given.report()?.map_or_else(Stdio::null, Stdio::from));
        let born = command.spawn();
        given.holdings.close_on_exec(false)?;
        born.map(Born::Std).map_err(told)
    }
}

fn words<'a>(words: &'a [&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(OsStr::new).collect()
}

/// Bubblewrap: C's program and nothing else in its root, and every namespace.
pub(super) fn bwrap(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let mut before = words(&["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind"]);
    before.extend([given.program.as_os_str(), INSIDE.as_ref()]);
    before.extend(words(&["--proc", "/proc", "--dev", "/dev", "--"]));
    Peer::of("bwrap", &before, Path::new(INSIDE), given)
}

/// Firejail, with a home of its own.
pub(super) fn firejail(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let before = ["--quiet", "--noprofile", "--private", "--private-tmp", "--caps.drop=all", "--"];
    Peer::of("firejail", &words(&before), given.program, given)
}

/// unshare, with every namespace that an ordinary user can have.
pub(super) fn unshare(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let before = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net"];
    let before = [&before[..], &["--mount-proc", "--kill-child", "--"]].concat();
    Peer::of("unshare", &words(&before), given.program, given)
}

/// Sandlock, which may read C's program.
pub(super) fn sandlock(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let mut before = words(&["run", "-r", "/usr", "-r", "/lib", "-r", "/lib64", "-r", "/etc", "-r"]);
    before.extend([given.program.as_os_str(), "--".as_ref()]);
    Peer::of("sandlock", &before, given.program, given)
}

/// nsjail, with C's program and nothing else in its root.
pub(super) fn nsjail(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let mut mount = given.program.as_os_str().to_owned();
    mount.push(":");
    mount.push(INSIDE);
    let mut before = words(&["--mode", "o", "--quiet", "--chroot", "/var/empty", "--bindmount_ro"]);
    before.extend([mount.as_os_str(), "--".as_ref()]);
    Peer::of("nsjail", &before, Path::new(INSIDE), given)
}

/// A runtime of containers: a bundle of its own for each C, which it takes away when that has ended.
struct Runtime {
    peer: Peer,
    bundle: PathBuf,
    count: usize,
}

impl Way for Runtime {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        self.count += 1;
        let bundle = self.bundle.as_os_str();
        let name = format!("c-{}-{}", std::process::id(), self.count);
        let state = self.bundle.join("state");
        self.peer.before =
            vec!["--root".into(), state.into(), "run".into(), "--bundle".into(), bundle.into()];
        self.peer.before.push(name.into());
        self.peer.start(given)
    }
}

fn runtime(name: &str, given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let program = line(name)?;
    let purpose = given.purpose == Purpose::Look;
    let bundle = given.holdings.folder.join(format!("{name}-{}-{purpose}", std::process::id()));
    let inside: Vec<_> = std::iter::once(INSIDE.into()).chain(given.words()).collect();
    let inside: Vec<_> = inside.iter().map(|word: &OsString| word.to_string_lossy()).collect();
    for folder in ["rootfs/dev", "rootfs/proc", "rootfs/sys"] {
        std::fs::create_dir_all(bundle.join(folder)).map_err(told)?;
    }
    std::fs::create_dir_all(bundle.join("state")).map_err(told)?;
    // SAFETY: asks numbers.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let map = |outside: u32| json!([{ "containerID": 0, "hostID": outside, "size": 1 }]);
    let kinds = ["user", "pid", "mount", "ipc", "uts", "cgroup", "network"];
    let configuration = json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": inside,
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {},
        },
        "root": { "path": "rootfs", "readonly": false },
        "mounts": [
            { "type": "proc", "destination": "/proc", "source": "proc" },
            { "type": "bind", "destination": INSIDE, "source": given.program, "options": ["bind", "ro"] },
        ],
        "linux": {
            "namespaces": kinds.map(|kind| json!({ "type": kind })),
            "uidMappings": map(user),
            "gidMappings": map(group),
        },
    });
    std::fs::write(bundle.join("config.json"), configuration.to_string()).map_err(told)?;
    let peer = Peer { program, before: Vec::new(), inside: Vec::new() };
    Ok(Box::new(Runtime { peer, bundle, count: 0 }))
}

/// crun.
pub(super) fn crun(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    runtime("crun", given)
}

/// runc.
pub(super) fn runc(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    runtime("runc", given)
}

/// Python's ways are taken by a P that is a Python itself.
pub(super) fn python(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Err("P is to be a Python".to_owned())
}

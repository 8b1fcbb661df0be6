//! However it ends, nothing is left: no process, no mount, no descriptor of anybody's; and killed at any moment it says so or is silent.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use super::*;

/// The children of a process, whatever thread made them.
fn children(number: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{number}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|one| one.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn pidfd(number: u32) -> Option<OwnedFd> {
    // SAFETY: a number; what is given back is new and ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
    // SAFETY: likewise.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn kill(process: &OwnedFd) -> bool {
    // SAFETY: a descriptor of ours.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0) == 0 }
}

/// Waits until a process has ended.
fn gone(process: &OwnedFd) -> bool {
    let mut watched = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) == 1 }
}

/// Reads until everybody who held the other end has ended.
fn rest(mut reader: std::io::PipeReader) -> String {
    let mut bytes = Vec::new();
    let until = Instant::now() + LONG;
    loop {
        let mut watched = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        assert_eq!(unsafe { libc::poll(&mut watched, 1, 30_000) }, 1, "somebody lives and holds it");
        let mut chunk = [0; 256];
        let count = reader.read(&mut chunk).unwrap();
        bytes.extend(&chunk[..count]);
        if count == 0 {
            return text(&bytes);
        }
        assert!(Instant::now() < until);
    }
}

/// What there would be more of, were something left: mounts of this namespace.
fn outside() -> BTreeSet<String> {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect()
}

/// Numbers that differ from one process to the next, and from one run to the next.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let mut bytes = [0; 8];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        Random(u64::from_ne_bytes(bytes) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A program whose children hide in sessions of their own, all of them with `mark` among their words.
const FAMILY: &str = "(setsid sh -c 'exec sleep 1000' \"$0\" &) & setsid sh -c 'sleep 1000; :' \"$0\" & sh -c 'echo ready; sleep 1000; :' \"$0\"; :";

fn family(mark: &str, flags: &[&str]) -> (std::process::Child, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = beget();
    command.args(["run", "--base", "--root", "--spawn"]).args(flags).args(["--", "sh", "-c", FAMILY, mark]);
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    (child, reader)
}

/// Waits until `find` finds something.
fn found<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(one) = find() {
            return one;
        }
        assert!(Instant::now() < until, "it did not come to be");
    }
}

/// Whoever is killed, when all of the family is there: the launcher, the first process, the program.
#[test]
fn killed_in_the_middle_it_leaves_nothing() {
    if !has_root("killed_in_the_middle_it_leaves_nothing") {
        return;
    }
    let before = outside();
    for flags in [&[][..], &["--loader", "direct"], &["--loopback"]] {
        for whom in 0..3 {
            let mark = beget_tests::mark();
            let (child, mut reader) = family(&mark, flags);
            let mut line = [0; 6];
            reader.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"ready\n");
            let first = children(child.id())[0];
            let second = children(first)[0];
            let struck = pidfd([child.id(), first, second][whom]).unwrap();
            // Whoever says that it is ready is not the last to come.
            let all: Vec<OwnedFd> = found(|| {
                let all: Vec<_> = beget_tests::marked(&mark).into_iter().filter_map(pidfd).collect();
                (all.len() > 3).then_some(all)
            });
            assert!(kill(&struck));
            let ended = child.wait_with_output().unwrap();
            let said = text(&ended.stderr);
            let codes: &[Option<i32>] = if whom == 0 { &[None] } else { &[Some(125), Some(137)] };
            assert!(codes.contains(&ended.status.code()), "{whom} {flags:?}: {:?} {said}", ended.status);
            assert!(said.lines().all(|line| line.starts_with("beget: ")), "{said}");
            assert!(all.iter().all(gone) && gone(&struck), "{whom} {flags:?}");
            assert_eq!(rest(reader), "", "{whom} {flags:?}");
        }
    }
    assert_eq!(outside(), before);
}

/// The launcher or its first process, killed while the root is made or the program starts.
#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    if !has_root("killed_at_any_moment_it_leaves_nothing") {
        return;
    }
    let (before, mut random) = (outside(), Random::new());
    let mut struck = [0; 2];
    for round in 0..80 {
        let whom = round % 2;
        let mark = beget_tests::mark();
        let (mut child, reader) = family(&mark, if round % 4 < 2 { &[] } else { &["--loopback"] });
        let launcher = pidfd(child.id()).unwrap();
        let victim = match whom {
            0 => launcher,
            _ => match found(|| match children(child.id()).first() {
                Some(number) => Some(pidfd(*number)),
                None => child.try_wait().unwrap().map(|_| None),
            }) {
                Some(first) => first,
                None => continue,
            },
        };
        std::thread::sleep(Duration::from_micros(random.below(if whom == 0 { 40_000 } else { 20_000 })));
        struck[whom] += usize::from(kill(&victim));
        let ended = child.wait_with_output().unwrap();
        let said = text(&ended.stderr);
        let codes: &[Option<i32>] = if whom == 0 { &[None] } else { &[Some(125), Some(137)] };
        assert!(codes.contains(&ended.status.code()), "{round}: {:?} {said}", ended.status);
        assert!(said.lines().all(|line| line.starts_with("beget: ")), "{said}");
        let said = rest(reader);
        assert!(said.is_empty() || said == "ready\n", "{round}: {said}");
        let until = Instant::now() + LONG;
        while !beget_tests::marked(&mark).is_empty() {
            assert!(Instant::now() < until, "{round}: left behind");
        }
    }
    assert!(struck.iter().all(|count| *count > 20), "{struck:?}");
    assert_eq!(outside(), before);
}

/// A root that is ended by itself, or was never complete, leaves its creator as it was.
#[test]
fn the_creator_is_what_it_was() {
    let test = "the_creator_is_what_it_was";
    if !has_root(test) {
        return;
    }
    beget_tests::in_own_process("ended::the_creator_is_what_it_was", || {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let picture = || {
            let namespaces: Vec<_> =
                ["mnt", "user", "pid", "pid_for_children", "net", "uts", "ipc", "cgroup"]
                    .iter()
                    .map(|name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap())
                    .collect();
            let status = read("/proc/self/status");
            let kept = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Sig", "Shd", "Umask"];
            let status: Vec<&str> = status
                .lines()
                .filter(|line| kept.iter().any(|name| line.starts_with(name)))
                .filter(|line| !line.starts_with("SigQ"))
                .collect();
            // SAFETY: asks for a number.
            let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
            let cwd = std::fs::read_link("/proc/self/cwd").unwrap();
            format!("{namespaces:?} {status:?} {dumpable} {cwd:?} {}", read("/proc/self/mountinfo"))
        };
        let spawn = || {
            assert_eq!(command("true").status().unwrap().exit_code(), 0);
            let fails = Root::new().file("/usr/no-place-for-it", "x");
            assert!(command("true").root(fails).status().is_err());
        };
        spawn();
        let (before, held) = (picture(), beget_tests::descriptors());
        for _ in 0..5 {
            spawn();
        }
        assert_eq!(picture(), before);
        assert_eq!(beget_tests::descriptors(), held);
        assert_eq!(beget_tests::children().len(), 0);
    });
}

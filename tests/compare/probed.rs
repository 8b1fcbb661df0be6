//! The same scene made here, with a probe of the tests in C's place: A, B, and C's own word for what it holds.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use beget_tests::{Scratch, finish, program, report, text};
use serde_json::Value;

use super::{ours, told, way};

/// A and B, open without close-on-exec.
struct Scene {
    a: File,
    b: File,
    b_path: String,
    _scratch: Scratch,
}

fn scene() -> Scene {
    let scratch = Scratch::new();
    let (a_path, b_path) = (scratch.file("a", "what C is for"), scratch.file("b", "a secret"));
    let (a, b) = (File::open(a_path).unwrap(), File::open(&b_path).unwrap());
    Scene { a, b, b_path, _scratch: scratch }
}

fn inherited(file: &File, inherited: bool) {
    let flag = if inherited { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: a flag of our own descriptor.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, flag) }, 0);
}

/// Whether a file is among the descriptors that a probe reports.
fn holds(said: &[u8], file: &File) -> bool {
    let found = file.metadata().unwrap();
    let identity = format!("{}:{}", found.dev(), found.ino());
    report(said).iter().any(|(key, value)| key.starts_with("fd.") && value.contains(&identity))
}

fn says(way: &Value) -> [bool; 2] {
    ["A", "B"].map(|name| way["c"]["holds"].as_array().unwrap().iter().any(|one| one["what"] == name))
}

/// What an ordinary child holds, with B closed or forgotten, and what `compare` says of fork.
#[test]
fn the_forgotten_close_leaks_and_the_other_does_not() {
    let scene = scene();
    for (name, forgotten) in [("fork", false), ("fork-forgotten", true)] {
        inherited(&scene.b, forgotten);
        let mut probe = Command::new(program("probe"));
        probe.stdin(Stdio::from(OwnedFd::from(scene.a.try_clone().unwrap())));
        let said = finish(&mut probe).stdout;
        inherited(&scene.b, false);
        let probed = [holds(&said, &scene.a), holds(&said, &scene.b)];
        assert_eq!(probed, [true, forgotten], "{name}: {}", text(&said));
        assert_eq!(says(way(name)), probed, "{name}");
        assert_eq!(way(name)["forgotten"]["outcome"], "B leaks, silently", "{name}");
    }
}

/// A confined child of the library's, with B open and never named.
#[test]
fn nothing_of_ours_leaks() {
    let scene = scene();
    inherited(&scene.b, true);
    let mut probe = beget::Command::new(program("probe"));
    probe.args(["try", "read", &scene.b_path]).stdin(OwnedFd::from(scene.a.try_clone().unwrap()));
    let tried = probe.stdout(beget::Stdio::piped()).output().expect("a child");
    assert!(!text(&tried.stdout).contains(" ok"), "{}", text(&tried.stdout));
    let mut probe = beget::Command::new(program("probe"));
    probe.stdin(OwnedFd::from(scene.a.try_clone().unwrap())).stdout(beget::Stdio::piped());
    let said = probe.output().expect("a child").stdout;
    assert_eq!([holds(&said, &scene.a), holds(&said, &scene.b)], [true, false], "{}", text(&said));

    assert_eq!(told().json["ours_leaked"], false);
    assert!(ours().count() >= 7);
    for way in ours() {
        assert_eq!(way["absent"], Value::Null, "{way}");
        assert_eq!(says(way), [true, false], "{way}");
        for (name, got) in way["c"]["reaches_b"].as_object().unwrap() {
            assert_eq!(got["has_b"], false, "{name}: {way}");
        }
        assert_eq!(way["c"]["may_signal_p"], false, "{way}");
        assert_eq!(way["forgotten"]["outcome"], "C fails at once", "{way}");
        assert!(way["forgotten"]["seen"].as_str().unwrap().contains("C has no A"), "{way}");
    }
}

/// The same user opens what it likes, closed or not: `compare` says so, and so does the kernel to a child of ours.
#[test]
fn a_careful_fork_does_not_keep_b_from_being_opened() {
    let scene = scene();
    let tried = finish(Command::new(program("probe")).args(["try", "read", &scene.b_path]));
    assert!(text(&tried.stdout).contains(" ok"), "{}", text(&tried.stdout));
    assert_eq!(way("fork")["c"]["reaches_b"]["path"]["has_b"], true);
}

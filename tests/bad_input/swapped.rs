//! A path that changes its meaning while it is granted: what is granted is one of the two things it meant, and nothing else.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use beget_tests::{Scratch, text};

use super::ran;

const ROUNDS: usize = 60;

/// Tells the swapper to stop, also when an assertion fails: else the test would wait for it for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Swaps what `name` in the scratch folder links to, as long as `body` runs.
fn while_swapping(scratch: &Scratch, name: &str, targets: [&str; 2], body: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let (name, new) = (scratch.at(name), scratch.at("new-link"));
    symlink(targets[0], &name).unwrap();
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            for round in 1.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                symlink(targets[round % 2], &new).unwrap();
                std::fs::rename(&new, &name).unwrap();
            }
        });
        body();
    });
}

#[test]
fn a_folder_swapped_while_granting_is_one_of_the_two() {
    let scratch = Scratch::new();
    for folder in ["a", "b", "secret"] {
        std::fs::create_dir(scratch.at(folder)).unwrap();
        scratch.file(&format!("{folder}/file"), format!("{folder} "));
    }
    let files = ["a/file", "b/file", "secret/file"].map(|name| scratch.at(name));
    let link = scratch.at("link");
    let words = ["--base", "--read", &link, "--", "cat", &files[0], &files[1], &files[2]];
    while_swapping(&scratch, "link", ["a", "b"], || {
        for _ in 0..ROUNDS {
            let output = ran(scratch.path(), &words);
            let read = text(&output.stdout);
            assert!(read == "a " || read == "b ", "{read:?}: {}", text(&output.stderr));
        }
    });
}

#[test]
fn a_program_swapped_while_starting_is_one_of_the_two() {
    let scratch = Scratch::new();
    for name in ["a", "b", "secret"] {
        scratch.script(name, format!("#!/bin/sh\necho {name}\ncat {} 2>&-\n", scratch.at("secret")));
    }
    while_swapping(&scratch, "link", ["a", "b"], || {
        for _ in 0..ROUNDS {
            let output = ran(scratch.path(), &["--base", "--spawn", "--", "./link"]);
            let wrote = text(&output.stdout);
            assert!(wrote == "a\n" || wrote == "b\n", "{wrote:?}: {}", text(&output.stderr));
        }
    });
}

/// Now the names themselves change places, in one step.
#[test]
fn two_folders_that_change_places_are_granted_one_at_a_time() {
    let scratch = Scratch::new();
    for folder in ["a", "b", "secret"] {
        std::fs::create_dir(scratch.at(folder)).unwrap();
        scratch.file(&format!("{folder}/file"), format!("{folder} "));
    }
    let [a, b] = ["a", "b"].map(|name| std::ffi::CString::new(scratch.at(name)).unwrap());
    let (done, granted) = (AtomicBool::new(false), scratch.at("a"));
    let secret = scratch.at("secret/file");
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: two paths that end in NUL.
                unsafe {
                    libc::renameat2(
                        libc::AT_FDCWD,
                        a.as_ptr(),
                        libc::AT_FDCWD,
                        b.as_ptr(),
                        libc::RENAME_EXCHANGE,
                    )
                };
            }
        });
        // The child names what it was given by its descriptor, which does not swap; the rule goes with it or with the grant.
        let slot = format!("given={granted}");
        let words =
            ["--base", "--read", &granted, "--fd", &slot, "--", "cat", "/proc/self/fd/3/file", &secret];
        for _ in 0..ROUNDS {
            let output = ran(scratch.path(), &words);
            let read = text(&output.stdout);
            assert!(read == "a " || read == "b ", "{read:?}: {}", text(&output.stderr));
        }
    });
}

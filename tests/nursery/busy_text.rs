//! `ETXTBSY`: a program that was written a moment ago and is closed cannot be executed, because somebody's child holds it open for
//! writing. A nursery's children hold nothing of this process's.

use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use beget::{Command, Grant, Nursery};
use beget_tests::{Need, Scratch, has, in_own_process, skip};

/// Writes an executable, closes it and starts it, `tries` times in each of four threads, while others start programs without end.
/// Gives how often the kernel said that it is busy; stops at the first when `first` is enough.
fn provoke(start: impl Fn(&str) -> Result<bool, i32> + Sync, tries: usize, first: bool) -> usize {
    let contents = std::fs::read("/bin/true").expect("it is there");
    let (done, busy, writing) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(4));
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (start, done, busy, writing, contents) = (&start, &done, &busy, &writing, &contents);
            let path = scratch.at(&format!("program-{thread}"));
            scope.spawn(move || {
                for _ in 0..tries {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let _ = std::fs::remove_file(&path);
                    let file = std::fs::File::options().write(true).create_new(true).mode(0o755).open(&path);
                    std::io::Write::write_all(&mut file.expect("it can be made"), contents).expect("room");
                    match start(&path) {
                        Ok(success) => assert!(success),
                        Err(libc::ETXTBSY) => {
                            busy.fetch_add(1, Ordering::Relaxed);
                            done.store(first, Ordering::Relaxed);
                        }
                        Err(errno) => panic!("errno {errno}"),
                    }
                }
                writing.fetch_sub(1, Ordering::Relaxed);
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                while writing.load(Ordering::Relaxed) > 0 {
                    assert_eq!(start("/bin/true"), Ok(true));
                }
            });
        }
    });
    busy.into_inner()
}

#[test]
fn what_was_just_written_can_be_started() {
    let test = "busy_text::what_was_just_written_can_be_started";
    if !has("true") {
        return skip(test, Need::Program("true"));
    }
    in_own_process(test, || {
        let standard = |path: &str| match std::process::Command::new(path).status() {
            Ok(status) => Ok(status.success()),
            Err(error) => Err(error.raw_os_error().unwrap_or(0)),
        };
        if provoke(standard, 3000, true) == 0 {
            eprintln!("the standard library's Command never met ETXTBSY in 12,000 tries here");
        }
        let nursery = Nursery::shared().expect("a nursery");
        let own = |path: &str| match Command::new(path).grant(Grant::Ambient).nursery(&nursery).status() {
            Ok(ended) => Ok(ended.success()),
            Err(error) => Err(error.errno().unwrap_or_else(|| panic!("{error}"))),
        };
        assert_eq!(provoke(own, 600, false), 0, "busy, of 2,400 tries");
    });
}

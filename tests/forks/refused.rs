//! Processes that are not copied, and what is left when they are not: nothing.

use std::fs::File;
use std::os::fd::AsRawFd;

use beget::{Error, Fault, Fork};
use beget_tests::Scratch;

use crate::end;

/// The error of a copy that is not made, and that nothing is left of it.
fn refusal() -> Error {
    let before = (beget_tests::descriptors(), beget_tests::children());
    let error = Fork::new().spawn(|| 0).expect_err("it is not copied");
    assert_eq!((beget_tests::descriptors(), beget_tests::children()), before);
    error
}

pub(crate) fn more_than_one_thread() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || receiver.recv().is_err());
    let error = refusal();
    assert_eq!((error.part(), error.fault()), ("copy of this process", Fault::Caller));
    assert!(error.to_string().contains("2 threads"), "{error}");
    drop(sender);
    assert!(other.join().expect("it ends"));
    // The kernel has let go of it a moment after it was joined.
    while std::fs::read_dir("/proc/self/task").expect("/proc is there").count() > 1 {
        std::thread::yield_now();
    }
    assert!(end(Fork::new().spawn(|| 0).expect("one thread again")).success());
}

/// Maps a page and gives it back when it is dropped.
struct Mapping(*mut libc::c_void);

impl Mapping {
    fn new(rights: i32, flags: i32, file: i32) -> Mapping {
        // SAFETY: new memory, wherever the kernel likes.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, flags, file, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Mapping(at)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what was mapped above, which nobody else uses.
        unsafe { libc::munmap(self.0, 4096) };
    }
}

pub(crate) fn shared_memory() {
    const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
    let scratch = Scratch::new();
    let path = scratch.file("shared", [0; 4096]);
    let to_read = File::open(&path).expect("our own");
    let to_write = File::options().read(true).write(true).open(&path).expect("our own");
    let shared = libc::MAP_SHARED;
    let (without, with) = (to_read.as_raw_fd(), to_write.as_raw_fd());
    for (what, rights, flags, file) in [
        ("nobody's", BOTH, shared | libc::MAP_ANONYMOUS, -1),
        ("a file's", BOTH, shared, with),
        // As it is now it can only be read; one call would change that.
        ("a file's that could be written", libc::PROT_READ, shared, with),
    ] {
        let mapping = Mapping::new(rights, flags, file);
        let error = refusal();
        assert_eq!((error.part(), error.fault()), ("copy of this process", Fault::Caller), "{what}");
        assert!(error.to_string().contains("shares memory"), "{what}: {error}");
        drop(mapping);
    }
    let _mapping = Mapping::new(libc::PROT_READ, shared, without);
    let _private = Mapping::new(BOTH, libc::MAP_PRIVATE, with);
    assert!(end(Fork::new().spawn(|| 0).expect("nothing there can be written to")).success());
}

pub(crate) fn no_numbers_left() {
    // Whoever runs the tests may have left a high number open.
    // SAFETY: asks for flags.
    let highest = (0..4096).rfind(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } != -1);
    // SAFETY: a structure on this stack; only this process is limited.
    unsafe {
        let most = highest.map_or(0, |number| number as u64) + 40;
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    let mut held = Vec::new();
    // From none left up to enough: every step that wants a number fails once, and nothing is left of it.
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    let (mut failed, mut last, total) = (0, String::new(), held.len());
    while let Some(one) = held.pop() {
        drop(one);
        // To look takes a number itself.
        let look = || File::open("/proc/self/fd").is_ok();
        if !look() {
            continue;
        }
        let before = beget_tests::descriptors();
        match Fork::new().spawn(|| 0) {
            Ok(process) => assert!(end(process).success()),
            Err(error) => {
                failed += 1;
                last = error.to_string();
            }
        }
        assert_eq!((beget_tests::descriptors(), beget_tests::children()), (before, Default::default()));
    }
    assert!(failed > 3 && failed < total, "{failed} of {total}: {last}");
}

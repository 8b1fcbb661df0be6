//! The same operations on the process that asks: each by its effect, in a process of its own.

use std::fs::File;
use std::os::fd::AsFd;

use beget::{Bounds, Construct, Current, Fault, Part, Protection, Resource};
use beget_tests::{Scratch, descriptors, in_own_process};

use crate::{AT, PAGE, maps, pipe, rest, slots};

fn current() -> Current {
    // SAFETY: what these tests map, grant and set is nobody else's in their processes.
    unsafe { Current::assume() }
}

#[test]
fn memory_of_the_process_that_asks() {
    in_own_process("current::memory_of_the_process_that_asks", || {
        let mut own = current();
        assert_eq!(own.map(AT, 2 * PAGE, Protection::WRITE).expect("map"), AT);
        own.write(AT, b"written").expect("write");
        // SAFETY: mapped above, initialised by the kernel.
        let seen = unsafe { std::slice::from_raw_parts(AT as *const u8, 7) };
        assert_eq!(seen, b"written");
        // SAFETY: mapped above, and nobody else's.
        unsafe { (AT as *mut u8).write_volatile(b'W') };
        assert_eq!(own.read(AT, 7).expect("read"), b"Written");
        own.protect(AT, PAGE, Protection::READ).expect("protect");
        let line =
            |at: u64| maps(std::process::id()).into_iter().find(|line| line.starts_with(&format!("{at:x}-")));
        assert!(line(AT).is_some_and(|line| line.ends_with(" r--p ")), "{:?}", line(AT));
        assert_eq!(own.write(AT, b"x").expect_err("it may not").errno(), Some(libc::EFAULT));
        own.unmap(AT, 2 * PAGE).expect("unmap");
        assert_eq!(line(AT), None);
        assert_eq!(own.read(AT, 1).expect_err("it is gone").errno(), Some(libc::EFAULT));
        // What is there is never replaced.
        let held = Box::new([7u8; 8192]);
        let at = (held.as_ptr() as u64).next_multiple_of(PAGE);
        let error = own.map(at, PAGE, Protection::WRITE).expect_err("the heap is there");
        assert_eq!(
            (error.part(), error.errno()),
            (&*format!("map 4096 bytes at {at:#x}"), Some(libc::EEXIST))
        );
        assert!(held.iter().all(|byte| *byte == 7));
    });
}

#[test]
fn a_file_in_the_process_that_asks() {
    in_own_process("current::a_file_in_the_process_that_asks", || {
        let scratch = Scratch::new();
        let path = scratch.file("file", [vec![b'a'; PAGE as usize], b"second page".to_vec()].concat());
        let file = File::open(path).expect("it was written");
        let mut own = current();
        let at = own.map_file(0, PAGE, Protection::READ, file.as_fd(), 1).expect("map");
        // SAFETY: mapped above, and as long.
        assert_eq!(unsafe { std::slice::from_raw_parts(at as *const u8, 11) }, b"second page");
        own.unmap(at, PAGE).expect("unmap");
    });
}

#[test]
fn slots_of_the_process_that_asks() {
    in_own_process("current::slots_of_the_process_that_asks", || {
        let (reader, writer) = pipe();
        let before = descriptors();
        let mut own = current();
        own.grant(77, writer.as_fd()).expect("grant");
        assert_eq!(slots(std::process::id()).len(), before.len() + 2, "and the list itself");
        // SAFETY: asks; a constant buffer.
        unsafe {
            assert_eq!(libc::fcntl(77, libc::F_GETFD), 0, "a program that is executed has it");
            assert_eq!(libc::write(77, c"through 77".as_ptr().cast(), 10), 10);
        }
        // Onto one that is there, and in one message with others.
        let null = File::open("/dev/null").expect("/dev/null");
        own.apply(Part::new().grant(77, null.as_fd()).grant(78, writer.as_fd()).close(77)).expect("part");
        assert_eq!(slots(std::process::id()).get(&77), None);
        own.close(78).expect("close");
        own.close(78).expect("an empty one is no error");
        drop((writer, null));
        assert_eq!(rest(reader), b"through 77");
        assert_eq!(descriptors().len(), before.len() - 2);
    });
}

#[test]
fn surroundings_of_the_process_that_asks() {
    in_own_process("current::surroundings_of_the_process_that_asks", || {
        let scratch = Scratch::new();
        let mut own = current();
        own.chdir(File::open(scratch.path()).expect("ours").as_fd()).expect("directory");
        assert_eq!(
            std::env::current_dir().expect("it is there"),
            scratch.path().canonicalize().expect("ours")
        );
        own.umask(0o41).expect("umask");
        // SAFETY: a number.
        assert_eq!(unsafe { libc::umask(0o22) }, 0o41);
        let bounds = Bounds { soft: 3 << 20, hard: 5 << 20 };
        own.set_limit(Resource { number: libc::RLIMIT_STACK, bounds }).expect("limit");
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one structure.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) }, 0);
        assert_eq!([limit.rlim_cur, limit.rlim_max], [3 << 20, 5 << 20]);
        own.apply(Part::new().set_name(c"named anew")).expect("name");
        let name = std::fs::read_to_string("/proc/thread-self/comm").expect("ours");
        assert_eq!(name, "named anew\n", "the thread's");
        std::env::set_current_dir("/").expect("the root");
    });
}

#[test]
fn what_fails_leaves_the_process_as_it_was() {
    in_own_process("current::what_fails_leaves_the_process_as_it_was", || {
        let mut own = current();
        let null = File::open("/dev/null").expect("/dev/null");
        let before = (descriptors(), std::env::current_dir().expect("it is there"));
        let slots = [i32::MAX, -1, 1 << 26];
        for slot in slots {
            let error = own.grant(slot, null.as_fd()).expect_err("there is no such slot");
            let told = (error.part(), error.errno(), error.fault());
            assert_eq!(told, (&*format!("grant slot {slot}"), Some(libc::EBADF), Fault::Caller), "{error}");
        }
        let error = own.chdir(null.as_fd()).expect_err("it is no directory");
        assert_eq!((error.part(), error.errno()), ("working directory", Some(libc::ENOTDIR)));
        let limit = Resource { number: 99, bounds: Bounds { soft: 0, hard: 0 } };
        let error = own.set_limit(limit).expect_err("there is no such limit");
        assert_eq!((error.part(), error.errno()), ("resource limit of no name", Some(libc::EINVAL)));
        assert_eq!((descriptors(), std::env::current_dir().expect("it is there")), before);
    });
}

//! Operations that fail: each with its own words and errno, and the embryo is as it was, and can go on.

use std::fs::File;
use std::os::fd::AsFd;

use beget::{Construct, Embryo, Fault, Part, Protection};
use beget_tests::Scratch;

use crate::{AT, PAGE, code, embryo, end, pipe, prepare, ranges, rest, seen};

/// It can still become a program.
pub(crate) fn runs(mut embryo: Embryo) {
    let (reader, writer) = pipe();
    embryo.grant(1, writer.as_fd()).expect("grant");
    prepare(&mut embryo, &code::copy("/proc/self/comm", 1));
    let process = embryo.start().expect("start");
    drop(writer);
    assert_eq!(rest(reader), b"beget-embryo\n");
    assert!(end(&process).success());
}

/// Tries a part on a new embryo: it fails with these words and errno, nothing is changed, and it can still become a program.
#[track_caller]
pub(crate) fn fails(part: &Part<'_>, words: &str, errno: i32) {
    let mut embryo = embryo();
    fails_in(&mut embryo, part, words, errno);
    runs(embryo);
}

#[track_caller]
fn fails_in(embryo: &mut Embryo, part: &Part<'_>, words: &str, errno: i32) {
    // One that was born a moment ago may not have begun to listen.
    embryo.apply(&Part::new()).expect("nothing to do");
    let before = seen(embryo.id());
    let error = embryo.apply(part).expect_err(words);
    assert_eq!((error.part(), error.errno()), (words, Some(errno)), "{error}");
    assert_eq!(error.fault(), Fault::Caller, "{error}");
    assert_eq!(seen(embryo.id()), before, "{error}");
}

#[test]
fn memory_that_cannot_be_mapped() {
    let at = |at: u64| format!("map 4096 bytes at {at:#x}");
    fails(Part::new().map(AT + 1, PAGE, Protection::READ), &at(AT + 1), libc::EINVAL);
    fails(Part::new().map(u64::MAX - 4095, PAGE, Protection::READ), &at(u64::MAX - 4095), libc::ENOMEM);
    fails(Part::new().map(1 << 47, PAGE, Protection::READ), &at(1 << 47), libc::ENOMEM);
    fails(Part::new().map(AT, 0, Protection::READ), &format!("map 0 bytes at {AT:#x}"), libc::EINVAL);
    fails(Part::new().map(0, 1 << 47, Protection::READ), "map 140737488355328 bytes at 0x0", libc::ENOMEM);
    fails(
        Part::new().map(0, u64::MAX, Protection::READ),
        "map 18446744073709551615 bytes at 0x0",
        libc::ENOMEM,
    );
    let mut embryo = embryo();
    embryo.map(AT, PAGE, Protection::READ).expect("map");
    fails_in(&mut embryo, Part::new().map(AT, PAGE, Protection::READ), &at(AT), libc::EEXIST);
    let over = format!("map 12288 bytes at {:#x}", AT - PAGE);
    fails_in(&mut embryo, Part::new().map(AT - PAGE, 3 * PAGE, Protection::READ), &over, libc::EEXIST);
}

#[test]
fn files_that_cannot_be_mapped() {
    let scratch = Scratch::new();
    let words = format!("map 4096 bytes of a file at {AT:#x}");
    let (reader, _writer) = pipe();
    let directory = File::open("/").expect("the root");
    let write_only = File::create(scratch.at("file")).expect("it can be made");
    let path = by_path(&scratch.at("file"));
    for (file, errno) in [
        (&reader, libc::ENODEV),
        (&directory, libc::ENODEV),
        (&write_only, libc::EACCES),
        (&path, libc::EBADF),
    ] {
        fails(Part::new().map_file(AT, PAGE, Protection::READ, file.as_fd(), 0), &words, errno);
    }
}

/// Opened with `O_PATH`.
fn by_path(path: &str) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_PATH).open(path).expect("it is there")
}

#[test]
fn memory_that_is_not_there() {
    let protect = format!("protect 4096 bytes at {AT:#x}");
    fails(Part::new().protect(AT, PAGE, Protection::READ), &protect, libc::ENOMEM);
    fails(Part::new().protect(AT, 0, Protection::READ), &format!("protect 0 bytes at {AT:#x}"), libc::EINVAL);
    fails(Part::new().unmap(AT + 8, PAGE), &format!("unmap 4096 bytes at {:#x}", AT + 8), libc::EINVAL);
    fails(
        Part::new().unmap(AT, u64::MAX),
        &format!("unmap 18446744073709551615 bytes at {AT:#x}"),
        libc::ENOMEM,
    );
    for at in [0, 8, AT, u64::MAX, u64::MAX - 2, 1 << 47, 0xffff_ffff_ff60_0000] {
        fails(Part::new().write(at, b"text"), &format!("write 4 bytes at {at:#x}"), libc::EFAULT);
    }
    for (at, length, errno) in [
        (AT, PAGE, libc::ENOMEM),
        (AT + 8, PAGE, libc::EINVAL),
        (AT, 0, libc::EINVAL),
        (AT, u64::MAX, libc::ENOMEM),
        (1 << 47, PAGE, libc::ENOMEM),
    ] {
        fails(Part::new().populate(true, &[(at, length)]), "memory that is to be there", errno);
        fails(Part::new().populate(false, &[(at, length)]), "memory that is to be there", errno);
    }
    let mut read_only = embryo();
    read_only.map(AT, PAGE, Protection::READ).expect("map");
    let populate = [(AT, PAGE)];
    fails_in(
        &mut read_only,
        Part::new().populate(true, &populate),
        "memory that is to be there",
        libc::EINVAL,
    );
    for at in [0, AT, u64::MAX, 1 << 63] {
        fails(Part::new().read(at, 4), &format!("read 4 bytes at {at:#x}"), libc::EFAULT);
    }
}

/// All of it or nothing, also where the first part could have been done.
#[test]
fn what_could_be_done_in_part_is_not() {
    let mut embryo = embryo();
    embryo.map(AT, PAGE, Protection::WRITE).expect("map");
    embryo.map(AT + PAGE, PAGE, Protection::READ).expect("map");
    embryo.map(AT + 3 * PAGE, PAGE, Protection::WRITE).expect("map");
    let at = AT + PAGE - 2;
    fails_in(&mut embryo, Part::new().write(at, b"text"), &format!("write 4 bytes at {at:#x}"), libc::EFAULT);
    assert_eq!(embryo.read(at, 4).expect("read"), [0; 4]);
    let words = format!("protect 16384 bytes at {AT:#x}");
    fails_in(&mut embryo, Part::new().protect(AT, 4 * PAGE, Protection::NONE), &words, libc::ENOMEM);
    let words = format!("read 8192 bytes at {:#x}", AT + PAGE);
    fails_in(&mut embryo, Part::new().read(AT + PAGE, 8192), &words, libc::EFAULT);
}

/// Those before the one that failed are done, those after it are not.
#[test]
fn the_first_that_fails_ends_a_part() {
    let mut embryo = embryo();
    let mut part = Part::new();
    part.map(AT, PAGE, Protection::READ).umask(0o123).protect(AT + PAGE, PAGE, Protection::READ).umask(0o456);
    part.map(AT + PAGE, PAGE, Protection::READ);
    let error = embryo.apply(&part).expect_err("the third is of nothing");
    assert_eq!(error.to_string(), format!("protect 4096 bytes at {:#x}: cannot allocate memory", AT + PAGE));
    assert_eq!(crate::status(embryo.id(), "Umask"), "0123");
    let mapped = ranges(embryo.id(), |line| line.ends_with(" r--p "));
    assert_eq!((mapped.len(), &mapped[0]), (1, &(AT..AT + PAGE)));
}

#[test]
fn the_stub_is_out_of_reach() {
    let mut embryo = embryo();
    embryo.umask(0o22).expect("umask");
    let home = ranges(embryo.id(), |line| line.ends_with("(deleted)") || line.ends_with(' '));
    assert_eq!(home.len(), 2, "the stub and its workplace");
    for range in &home {
        let (at, length) = (range.start, range.end - range.start);
        for (at, length) in [(at, length), (at, PAGE), (range.end - PAGE, PAGE), (at, length + 4 * PAGE)] {
            let words = |what: &str| format!("{what} {length} bytes at {at:#x}");
            fails_in(&mut embryo, Part::new().unmap(at, length), &words("unmap"), libc::EBUSY);
            fails_in(
                &mut embryo,
                Part::new().protect(at, length, Protection::NONE),
                &words("protect"),
                libc::EBUSY,
            );
            fails_in(
                &mut embryo,
                Part::new().map(at, length, Protection::WRITE),
                &words("map"),
                libc::EEXIST,
            );
        }
        for at in [at, at + 100, range.end - 1] {
            fails_in(
                &mut embryo,
                Part::new().write(at, b"x"),
                &format!("write 1 bytes at {at:#x}"),
                libc::EBUSY,
            );
        }
    }
    let everything = 0x7fff_ffff_f000 - PAGE;
    let words = format!("unmap {everything} bytes at {PAGE:#x}");
    fails_in(&mut embryo, Part::new().unmap(PAGE, everything), &words, libc::EBUSY);
    runs(embryo);
}

/// The kernel's own pages, which the stub leaves by.
#[test]
fn the_way_out_is_out_of_reach() {
    let mut embryo = embryo();
    let calls = ranges(embryo.id(), |line| line.ends_with("[vdso]")).remove(0);
    let (at, length) = (calls.start, calls.end - calls.start);
    let refused = [
        embryo.unmap(at, length),
        embryo.unmap(at, PAGE),
        embryo.protect(at, length, Protection::NONE),
        embryo.protect(at, length, Protection::READ),
        embryo.write(at, b"x"),
        embryo.map(at, length, Protection::READ).map(drop),
    ];
    for error in refused.map(|result| result.expect_err("it would be lost in it")) {
        assert_eq!(error.fault(), Fault::Caller, "{error}");
    }
    runs(embryo);
}

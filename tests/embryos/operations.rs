//! Each operation by what it did: told by `/proc`, or by the program that the embryo became.

use std::fs::File;
use std::os::fd::AsFd;

use beget::{Bounds, Construct, Embryo, Part, Protection, Resource};
use beget_tests::Scratch;

use crate::{AT, PAGE, embryo, maps, proc, ranges, slots, status};

/// The mapping that begins there, without its address.
fn mapping(embryo: &Embryo, at: u64) -> String {
    let begin = format!("{at:x}-");
    let lines = maps(embryo.id());
    lines
        .iter()
        .find_map(|line| Some(line.strip_prefix(&begin)?.split_once(' ')?.1.to_owned()))
        .unwrap_or_default()
}

#[test]
fn memory_is_mapped_protected_and_unmapped() {
    let mut embryo = embryo();
    let before = maps(embryo.id());
    assert_eq!(embryo.map(AT, 3 * PAGE, Protection::WRITE).expect("map"), AT);
    assert_eq!(mapping(&embryo, AT), "rw-p ");
    embryo.protect(AT + PAGE, PAGE, Protection::READ).expect("protect");
    assert_eq!([mapping(&embryo, AT + PAGE), mapping(&embryo, AT + 2 * PAGE)], ["r--p ", "rw-p "]);
    embryo.protect(AT + PAGE, PAGE, Protection::EXECUTE).expect("protect");
    assert_eq!(mapping(&embryo, AT + PAGE), "r-xp ");
    embryo.protect(AT + PAGE, PAGE, Protection::NONE).expect("protect");
    assert_eq!(mapping(&embryo, AT + PAGE), "---p ");
    // Lengths are rounded up to pages, as the kernel's are.
    embryo.unmap(AT + PAGE, 1).expect("unmap");
    assert_eq!(
        ranges(embryo.id(), |line| line.starts_with("10000")),
        [AT..AT + PAGE, AT + 2 * PAGE..AT + 3 * PAGE]
    );
    // Where there is nothing to take away, nothing happens.
    embryo.unmap(AT, 3 * PAGE).expect("unmap");
    embryo.unmap(AT, 3 * PAGE).expect("unmap");
    assert_eq!(maps(embryo.id()), before);
    // Wherever the kernel likes.
    let chosen = embryo.map(0, 1, Protection::READ).expect("map");
    let mapped = ranges(embryo.id(), |line| line.ends_with(" r--p "));
    assert_eq!((mapped.len(), &mapped[0]), (1, &(chosen..chosen + PAGE)));
}

#[test]
fn memory_is_written_and_read() {
    let mut embryo = embryo();
    embryo.map(AT, 2 * PAGE, Protection::WRITE).expect("map");
    assert_eq!(embryo.read(AT, 3).expect("read"), [0; 3]);
    let text = b"across the boundary of two pages";
    embryo.write(AT + PAGE - 7, text).expect("write");
    assert_eq!(embryo.read(AT + PAGE - 7, text.len() as u32).expect("read"), text);
    embryo.write(AT, b"").expect("nothing is written anywhere");
    assert_eq!(embryo.read(AT, 0).expect("read"), b"");
    let large: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_ne_bytes).collect();
    embryo.map(AT + (1 << 30), large.len() as u64, Protection::WRITE).expect("map");
    embryo.write(AT + (1 << 30), &large).expect("write");
    assert!(embryo.read(AT + (1 << 30), large.len() as u32).expect("read") == large);
}

/// Which pages from `AT` on are there, and which of them are the process's alone.
fn there(number: u32, pages: usize) -> Vec<(bool, bool)> {
    use std::os::unix::fs::FileExt;
    let table = File::open(format!("/proc/{number}/pagemap")).expect("it is there, and ours");
    let mut words = vec![0; pages * 8];
    table.read_exact_at(&mut words, AT / PAGE * 8).expect("a word for each page");
    let words = words.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
    words.map(|word| (word >> 63 & 1 == 1, word >> 56 & 1 == 1)).collect()
}

#[test]
fn memory_is_there_before_it_is_used() {
    let mut embryo = embryo();
    embryo.map(AT, 5 * PAGE, Protection::WRITE).expect("map");
    let (no, read, written) = ((false, false), (true, false), (true, true));
    assert_eq!(there(embryo.id(), 5), [no; 5]);
    embryo.apply(Part::new().populate(true, &[(AT, PAGE), (AT + 2 * PAGE, 2 * PAGE)])).expect("pages");
    embryo.apply(Part::new().populate(false, &[(AT, 2 * PAGE)])).expect("pages");
    assert_eq!(there(embryo.id(), 5), [written, read, written, written, no]);
    assert_eq!(embryo.read(AT, 5 * PAGE as u32).expect("read"), vec![0; 5 * PAGE as usize]);
    embryo.write(AT, b"text").expect("write");
    embryo.apply(Part::new().populate(true, &[(AT, 5 * PAGE)]).populate(true, &[])).expect("pages");
    assert_eq!(embryo.read(AT, 4).expect("read"), b"text");
}

#[test]
fn a_file_is_mapped_from_a_page_on() {
    let scratch = Scratch::new();
    let contents = [vec![b'a'; PAGE as usize], vec![b'b'; PAGE as usize]].concat();
    let path = scratch.file("file", &contents);
    let file = File::open(&path).expect("it was written");
    let mut embryo = embryo();
    embryo.map_file(AT, PAGE, Protection::WRITE, file.as_fd(), 1).expect("map");
    assert_eq!(mapping(&embryo, AT), format!("rw-p {path}"));
    assert_eq!(embryo.read(AT, 2).expect("read"), b"bb");
    // What is written stays in the process.
    embryo.write(AT, b"xx").expect("write");
    assert_eq!(embryo.read(AT, 3).expect("read"), b"xxb");
    assert!(std::fs::read(&path).expect("ours") == contents);
    assert_eq!(slots(embryo.id()).len(), 1, "the file itself is not kept open");
    // What lies behind its end is there and cannot be read: an error, not the end of the embryo.
    embryo.map_file(AT + (1 << 20), 3 * PAGE, Protection::READ, file.as_fd(), 0).expect("map");
    let error = embryo.read(AT + (1 << 20) + 2 * PAGE, 1).expect_err("it is not there");
    assert_eq!(error.errno(), Some(libc::EFAULT), "{error}");
}

#[test]
fn slots_are_filled_replaced_and_emptied() {
    let scratch = Scratch::new();
    let [first, second] = ["first", "second"].map(|name| scratch.file(name, name));
    let open = |path: &str| File::open(path).expect("it was written");
    let mut embryo = embryo();
    embryo.grant(7, open(&first).as_fd()).expect("grant");
    embryo.grant(0, open(&second).as_fd()).expect("grant");
    let held = slots(embryo.id());
    assert_eq!((&held[&7], &held[&0], held.len()), (&first, &second, 3), "{held:?}");
    embryo.grant(7, open(&second).as_fd()).expect("grant");
    assert_eq!(slots(embryo.id())[&7], second);
    embryo.close(0).expect("close");
    embryo.close(0).expect("an empty one is no error");
    embryo.close(60).expect("an empty one is no error");
    embryo.close(1 << 30).expect("an empty one is no error");
    let held = slots(embryo.id());
    assert_eq!((held.len(), held.contains_key(&0)), (2, false), "{held:?}");
}

#[test]
fn many_descriptors_go_in_one_message() {
    let null = File::open("/dev/null").expect("/dev/null");
    let mut embryo = embryo();
    let mut part = Part::new();
    for slot in 0..400 {
        part.grant(slot, null.as_fd());
    }
    embryo.apply(&part).expect("grants");
    let held = slots(embryo.id());
    assert_eq!(held.values().filter(|target| *target == "/dev/null").count(), 400, "{held:?}");
    assert_eq!(held.len(), 401);
}

#[test]
fn surroundings_are_set() {
    let scratch = Scratch::new();
    let directory = File::open(scratch.path()).expect("it was made");
    let mut embryo = embryo();
    let number = embryo.id();
    embryo.chdir(directory.as_fd()).expect("directory");
    embryo.umask(0o7).expect("umask");
    let bounds = Bounds { soft: 17, hard: 23 };
    embryo.set_limit(Resource { number: libc::RLIMIT_MEMLOCK, bounds }).expect("limit");
    embryo.apply(Part::new().set_name(c"a name of its own")).expect("name");
    let cwd = std::fs::read_link(format!("/proc/{number}/cwd")).expect("ours");
    assert_eq!(cwd, scratch.path().canonicalize().expect("ours"));
    assert_eq!(status(number, "Umask"), "0007");
    // The kernel keeps fifteen bytes of a name.
    assert_eq!(proc(number, "comm"), "a name of its o\n");
    let limits = proc(number, "limits");
    let line = limits.lines().find(|line| line.starts_with("Max locked memory")).expect("it is listed");
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["17", "23"]);
}

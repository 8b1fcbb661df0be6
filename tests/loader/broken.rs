//! Several hundred broken executables: each is refused in words, or ends as the kernel's own loader would have had it end. None hangs,
//! none leaves anything.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use beget::{Nursery, Program};
use beget_tests::{Scratch, alone, children, descriptors, marked};

use crate::fixtures::c;
use crate::{case, lacks, limit};

/// Ends with 42, and 1 where its data is not what it should be.
pub(crate) const SOURCE: &str = r#"
static int data = 40, zero[3000];
static const int more[2000] = {2};
void _start(void) {
    long code = data == 40 && !zero[0] && !zero[2999] ? data + more[0] + (int)more[1999] : 1;
    zero[2999] = data = 1;
    __asm__ volatile("syscall" : : "a"(231L), "D"(code) : "memory");
    __builtin_unreachable();
}
"#;
pub(crate) const FREE: [&str; 5] =
    ["-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-builtin", "-O0"];

pub(crate) fn whole(link: &str) -> Vec<u8> {
    std::fs::read(c(SOURCE, &[&FREE[..], &[link, "-s"]].concat())).expect("it was compiled")
}

fn put(bytes: &mut [u8], at: usize, value: u64, width: usize) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// Copies of an executable, each with something broken, and what it is.
fn copies(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let count = usize::from(u16::from_le_bytes([whole[56], whole[57]]));
    let header = [
        ("type", 16, 2),
        ("machine", 18, 2),
        ("table at", 32, 8),
        ("record size", 54, 2),
        ("records", 56, 2),
    ];
    let record = [
        ("kind", 0, 4),
        ("flags", 4, 4),
        ("offset", 8, 8),
        ("address", 16, 8),
        ("in file", 32, 8),
        ("in memory", 40, 8),
        ("alignment", 48, 8),
    ];
    let values = |old: u64| {
        [
            0,
            1,
            3,
            0xfff,
            0x1000,
            old + 1,
            old.wrapping_sub(1),
            old + 0x1000,
            old + 0x2000,
            old * 3,
            1 << 30,
            1 << 40,
            1 << 46,
            0x7fff_ffff_e000,
            1 << 63,
            !0xfff,
            u64::MAX,
        ]
    };
    let mut fields: Vec<(String, usize, usize)> =
        header.iter().map(|(name, at, width)| ((*name).to_owned(), *at, *width)).collect();
    for index in 0..count {
        fields.extend(
            record.map(|(name, at, width)| (format!("{name} of {index}"), 64 + 56 * index + at, width)),
        );
    }
    let mut all = Vec::new();
    for (name, at, width) in fields {
        let mut old = [0; 8];
        old[..width].copy_from_slice(&whole[at..at + width]);
        for value in values(u64::from_le_bytes(old)) {
            let mut bytes = whole.to_vec();
            put(&mut bytes, at, value, width);
            if bytes != whole && !all.iter().any(|(_, other)| *other == bytes) {
                all.push((format!("{name} {value:#x}"), bytes));
            }
        }
    }
    for entry in [0, 1, 0xfff, 0x40_0000, 0x7fff_ffff_e000, 1 << 63, u64::MAX] {
        let mut bytes = whole.to_vec();
        put(&mut bytes, 24, entry, 8);
        all.push((format!("entry {entry:#x}"), bytes));
    }
    for length in (0..130).step_by(9).chain((130..whole.len()).step_by(whole.len() / 40)) {
        all.push((format!("cut at {length}"), whole[..length].to_vec()));
    }
    all
}

/// How the kernel has it end; `None` when it does not even begin.
fn plainly(path: &str) -> Option<i32> {
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
    // SAFETY: one call, in the child.
    unsafe { command.pre_exec(|| limit(libc::RLIMIT_CORE, 0)) };
    let status = command.status().ok()?;
    Some(status.code().unwrap_or(128 + status.signal().unwrap_or(0)))
}

#[test]
fn each_is_refused_or_ends_as_it_would() {
    if lacks("each_is_refused_or_ends_as_it_would", &["gcc"]) {
        return;
    }
    let scratch = Scratch::new();
    let (mut refused, mut ran) = (0, 0);
    for link in ["-static", "-static-pie"] {
        // Every third, from another place for each kind: two runs take some milliseconds.
        for (index, (what, bytes)) in copies(&whole(link)).into_iter().enumerate() {
            if index % 3 != usize::from(link == "-static") {
                continue;
            }
            let path = scratch.executable(&format!("broken-{}-{index}", link.len()), bytes);
            let direct = case(&[&path]).by("direct");
            if direct.code == 126 {
                let told = direct.err.starts_with(&format!("beget: program {path}"))
                    && direct.err.lines().count() == 1;
                assert!(told && direct.out.is_empty(), "{link} {what}: {direct:?}");
                refused += 1;
            } else {
                let plain = plainly(&path);
                assert_eq!(plain, Some(direct.code), "{link} {what}: the kernel's way and {direct:?}");
                ran += 1;
            }
            std::fs::remove_file(path).expect("our own file");
        }
    }
    assert!(refused > 150 && ran > 30, "{refused} were refused, {ran} ran");
    assert_eq!(marked(scratch.path().to_str().expect("text")), Vec::<u32>::new());
}

/// The same in a nursery of one's own, from memory. An embryo that a load failed in is as it was.
#[test]
fn a_failed_load_leaves_the_embryo_as_it_was() {
    if lacks("a_failed_load_leaves_the_embryo_as_it_was", &["gcc"]) {
        return;
    }
    alone("broken::a_failed_load_leaves_the_embryo_as_it_was", || {
        for link in ["-static", "-static-pie"] {
            let whole = whole(link);
            let good = Program::from_bytes(&whole).expect("it is whole");
            let nursery = Nursery::new().expect("a nursery");
            let before = (descriptors(), children());
            let (mut misplaced, mut ran) = (0, 0);
            for (what, bytes) in copies(&whole) {
                let program = match Program::from_bytes(&bytes) {
                    Ok(program) => program,
                    Err(error) => {
                        assert!(error.to_string().starts_with("program in memory: "), "{what}: {error}");
                        continue;
                    }
                };
                let mut embryo = nursery.embryo().expect("an embryo");
                if let Err(error) = embryo.load(&program, &["broken"]) {
                    assert!(error.to_string().starts_with("program in memory: "), "{what}: {error}");
                    embryo.load(&good, &["good"]).unwrap_or_else(|error| panic!("after {what}: {error}"));
                    let ended = embryo.start().expect("it starts").wait().expect("it ends");
                    assert_eq!(ended.status.code(), Some(42), "after {what}");
                    misplaced += 1;
                } else {
                    // Whatever is in it, it starts, and ends by itself or by the crash that it asks for.
                    embryo.start().unwrap_or_else(|error| panic!("{what}: {error}")).wait().expect("it ends");
                    ran += 1;
                }
            }
            assert!(misplaced > 0 && ran > 20, "{misplaced} could not be placed, {ran} ran");
            assert_eq!((descriptors(), children()), before);
        }
    });
}

//! ELF files that are cut short, of another machine, or corrupted.

use beget_tests::{Scratch, text};

use super::{ran, refused, run, succeeds};

const TYPE: usize = 16;
const MACHINE: usize = 18;
const SEGMENTS_AT: usize = 32;
const SEGMENT_LENGTH: usize = 54;
const SEGMENT_COUNT: usize = 56;

fn whole() -> Vec<u8> {
    std::fs::read("/usr/bin/true").expect("every system has it")
}

fn number(elf: &[u8], at: usize, bytes: usize) -> usize {
    elf[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// Kind, place in the file and length in it, of each segment.
fn segments(elf: &[u8]) -> Vec<(usize, usize, usize)> {
    let at = |index: usize| number(elf, SEGMENTS_AT, 8) + index * 56;
    let segment =
        |index| (number(elf, at(index), 4), number(elf, at(index) + 8, 8), number(elf, at(index) + 32, 8));
    (0..number(elf, SEGMENT_COUNT, 2)).map(segment).collect()
}

#[test]
fn one_cut_short_is_refused_wherever_it_was_cut() {
    let scratch = Scratch::new();
    let elf = whole();
    let loads = segments(&elf).into_iter().filter(|(kind, _, _)| *kind == 1);
    let end = loads.map(|(_, at, length)| at + length).max().expect("it is mapped from somewhere");
    let mut lengths: Vec<usize> = (0..=70).step_by(3).collect();
    lengths.extend([4, 5, 6, 19, 20, 63, 64, 65, end - 1]);
    lengths.extend((71..end).step_by(end / 40));
    for length in lengths {
        scratch.executable("cut", &elf[..length]);
        let words =
            if length < 4 { "neither an ELF executable nor a script" } else { "an ELF executable cut short" };
        refused(run(["--base", "--", "./cut"]), scratch.path(), 126, &format!("program ./cut: {words}"));
    }
    // What comes after the last segment is for debuggers.
    scratch.executable("cut", &elf[..end]);
    assert_eq!(succeeds(scratch.path(), &["--base", "--", "./cut"]), "");
}

#[test]
fn one_that_cannot_run_here_is_refused() {
    let scratch = Scratch::new();
    let elf = whole();
    let (_, loader_at, loader_length) =
        segments(&elf).into_iter().find(|(kind, _, _)| *kind == 3).expect("it is dynamic");
    let loader = |path: &str| {
        let mut changed = elf.clone();
        // As many slashes as make it fit.
        let slashes = loader_length - 1 - path.len();
        changed[loader_at..loader_at + slashes].fill(b'/');
        changed[loader_at + slashes..loader_at + loader_length - 1].copy_from_slice(path.as_bytes());
        changed
    };
    let patched = |at: usize, bytes: &[u8]| {
        let mut changed = elf.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let table: &[(Vec<u8>, &str)] = &[
        (patched(MACHINE, &[183]), "an ELF executable for another machine (aarch64)"),
        (patched(MACHINE, &[243]), "an ELF executable for another machine (riscv)"),
        (patched(MACHINE, &[3]), "an ELF executable for another machine (i386)"),
        (patched(MACHINE, &[0xff, 0xff]), "an ELF executable for another machine (number 65535)"),
        (patched(4, &[1]), "an ELF executable for another machine (x32)"),
        (patched(5, &[2]), "another machine"),
        (patched(TYPE, &[1]), "an ELF file that is no executable"),
        (patched(TYPE, &[4]), "an ELF file that is no executable"),
        (patched(SEGMENT_COUNT, &[0, 0]), "malformed segment table"),
        (patched(SEGMENT_COUNT, &[0xff, 0xff]), "malformed segment table"),
        (patched(SEGMENT_LENGTH, &[55]), "malformed segment table"),
        (patched(SEGMENTS_AT, &[0xff; 8]), "cut short in its segment table"),
        (patched(SEGMENTS_AT, &[0, 0, 0, 1]), "cut short in its segment table"),
        (patched(loader_at + 3, &[0]), "malformed loader name"),
        (patched(loader_at + loader_length - 1, b"x"), "malformed loader name"),
        (loader("no-such-loader"), "its loader "),
        (loader("etc/passwd"), "program ./changed"),
        (loader("usr"), "its loader "),
        (loader("dev/null"), "its loader "),
    ];
    for (contents, words) in table {
        scratch.executable("changed", contents);
        refused(run(["--base", "--", "./changed"]), scratch.path(), 126, words);
    }
}

/// Whatever a byte is changed to, there is an answer: refused in one sentence, or run, whatever becomes of it then.
#[test]
fn one_with_any_byte_of_its_headers_changed_gets_an_answer() {
    let scratch = Scratch::new();
    let elf = whole();
    let table = number(&elf, SEGMENTS_AT, 8);
    let table = table..table + number(&elf, SEGMENT_COUNT, 2) * 56;
    let changes = (0..64).flat_map(|at| [(at, 0), (at, 0x7f), (at, 0xff)]);
    for (at, value) in changes.chain(table.step_by(5).map(|at| (at, 0xff))) {
        let mut changed = elf.clone();
        changed[at] = value;
        scratch.executable("changed", changed);
        let output = ran(scratch.path(), &["--base", "--timeout", "10", "--", "./changed"]);
        let said = text(&output.stderr);
        let ours = said.lines().filter(|line| line.starts_with("beget: ")).count();
        match output.status.code() {
            Some(126) => assert_eq!((ours, said.lines().count()), (1, 1), "byte {at} is {value}: {said}"),
            code => assert!(ours == 0 && code != Some(125), "byte {at} is {value}, code {code:?}: {said}"),
        }
    }
}

//! Headers of saved images: what is written is read as it was meant, and each fault is told in its own words; whatever the bytes are, there
//! is an answer.

#[allow(dead_code)]
#[path = "support/invariants.rs"]
mod invariants;

use beget_image::frozen::{
    Descriptor, Disposition, Frozen, KnownFile, Mapping, PREAMBLE, Preamble, Program, Run, Source, Special,
    System, Thread, advice,
};
use proptest::prelude::*;

const PAGE: u64 = 4096;

fn page(number: u64) -> u64 {
    0x40_0000 + number * PAGE
}

fn mapping(first: u64, count: u64, source: Source) -> Mapping {
    Mapping { range: page(first)..page(first + count), rights: 3, advice: 0, source }
}

fn sample() -> Frozen {
    let file = |path: &[u8]| KnownFile { path: path.to_vec(), size: 70_000, digest: [5; 32] };
    let of_file = Source::File { file: 1, offset: PAGE, shared: false };
    let mut mappings = vec![
        mapping(0, 4, of_file),
        mapping(4, 2, Source::Image),
        mapping(6, 2, Source::File { file: 0, offset: 0, shared: true }),
        mapping(10, 100, Source::Anonymous),
        mapping(200, 3, Source::Stack),
    ];
    mappings[2].rights = 1;
    mappings[3].advice = advice::HUGE | advice::NO_DUMP;
    let run = |first, count, mapping| Run { range: page(first)..page(first + count), mapping };
    Frozen {
        system: System {
            machine: b"x86_64".to_vec(),
            release: b"6.18".to_vec(),
            processor: b"fpu sse".to_vec(),
            extended: 7,
            calls: [1; 32],
            kernel: vec![
                Special { name: b"[vvar]".to_vec(), range: page(300)..page(304) },
                Special { name: b"[vdso]".to_vec(), range: page(304)..page(306) },
            ],
        },
        program: Program {
            executable: 1,
            name: b"program".to_vec(),
            directory: b"/".to_vec(),
            umask: 0o22,
            ready: b"stdin".to_vec(),
            memory: [9; 11],
            auxiliary: vec![3; 32],
        },
        thread: Thread {
            registers: [4; 27],
            extended: vec![8; 832],
            mask: 1,
            numbers: [page(4), 0],
            ..Thread::default()
        },
        files: vec![file(b"/usr/lib/data"), file(b"/usr/bin/program")],
        mappings,
        runs: vec![run(1, 2, 0), run(4, 2, 1), run(20, 30, 3), run(202, 1, 4)],
        descriptors: vec![Descriptor { number: 3, file: 0, offset: 17, flags: 0o4000, closing: true }],
        signals: vec![Disposition { signal: 13, action: [1, 0, 0, 0] }],
        note: b"text".to_vec(),
        chunks: vec![[6; 32]; 3],
    }
}

fn read(bytes: &[u8]) -> Result<Frozen, String> {
    let length = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let preamble = Preamble::of(bytes.len() as u64, length);
    let preamble = Preamble::read(&bytes[..PREAMBLE], preamble.file()).map_err(|error| error.to_string())?;
    Frozen::read(bytes, &preamble).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_read_as_it_was_meant() {
    let sample = sample();
    let bytes = sample.write();
    assert_eq!(read(&bytes).expect("it is whole"), sample);
    assert!(invariants::frozen(&bytes));
    let mut ends = sample.contents().map(|(run, at)| (run.range.start, at / PAGE));
    assert_eq!(ends.next(), Some((page(1), 0)));
    assert_eq!(ends.nth(1), Some((page(20), 4)));
}

/// What a change of the sample is told as.
fn words(change: impl FnOnce(&mut Frozen)) -> String {
    let mut changed = sample();
    change(&mut changed);
    read(&changed.write()).expect_err("it is refused")
}

#[test]
fn each_fault_is_told_in_its_own_words() {
    let cases: [(String, &str); 27] = [
        (words(|it| it.mappings[1].range.start = page(3)), "overlaps"),
        (words(|it| it.mappings.swap(0, 1)), "not in its order"),
        (words(|it| it.mappings[4].range.end = u64::MAX - 4095), "not in a program's memory"),
        (words(|it| it.mappings[4].range.end = 0x7fff_ffff_f000 + PAGE), "not in a program's memory"),
        (words(|it| it.mappings[0].range.start = 0), "not in a program's memory"),
        (words(|it| it.mappings[0].range.start = page(5)), "not in a program's memory"),
        (words(|it| it.mappings[4].range.end += 1), "whole pages"),
        (words(|it| it.mappings[4].rights = 8), "rights that are none"),
        (words(|it| it.mappings[4].advice = 3), "rights that are none"),
        (words(|it| it.mappings[2].rights = 3), "writes into a file"),
        (
            words(|it| it.mappings[0].source = Source::File { file: 2, offset: 0, shared: false }),
            "no file has",
        ),
        (
            words(|it| it.mappings[0].source = Source::File { file: 1, offset: 1, shared: false }),
            "no file has",
        ),
        (
            words(|it| it.mappings[0].source = Source::File { file: 1, offset: 1 << 63, shared: false }),
            "no file has",
        ),
        (words(|it| it.runs[0].range.end = page(5)), "lie in no mapping"),
        (words(|it| it.runs[1].mapping = 2), "lie in no mapping"),
        (words(|it| it.runs[1].mapping = 50), "lie in no mapping"),
        (words(|it| it.runs.swap(0, 1)), "not in their order"),
        (words(|it| it.system.kernel[0].range = page(5)..page(7)), "where the kernel's own was"),
        (words(|it| it.system.kernel[1].range = page(303)..page(306)), "overlap"),
        (words(|it| it.program.executable = 2), "not among its files"),
        (words(|it| it.program.directory = b"here".to_vec()), "begin at the root"),
        (words(|it| it.program.name = b"a\0b".to_vec()), "a zero in it"),
        (words(|it| it.program.umask = 0o1000), "umask"),
        (words(|it| it.descriptors[0].number = 1000), "descriptor 1000 cannot be"),
        (words(|it| it.descriptors[0].flags = 1), "opened in a way"),
        (words(|it| it.signals[0].signal = 65), "signals are not in their order"),
        (words(|it| it.chunks.truncate(2)), "one digest for each part"),
    ];
    for (told, meant) in cases {
        assert!(told.contains(meant), "{told}: {meant}");
    }
}

#[test]
fn what_was_cut_off_or_is_of_another_version_is_told_so() {
    let bytes = sample().write();
    let whole = Preamble::of(bytes.len() as u64, sample().length()).file();
    let told = |bytes: &[u8], file| {
        Preamble::read(&bytes[..PREAMBLE.min(bytes.len())], file).expect_err("refused").to_string()
    };
    assert!(Preamble::read(&bytes[..PREAMBLE], whole).is_ok());
    assert!(told(&bytes, whole - 1).contains("cut off"));
    assert!(told(&bytes, whole + 7).contains("7 bytes behind its end"));
    assert!(told(b"\x7fELF", 4).contains("not a saved image"));
    let mut other = bytes.clone();
    other[8] = 2;
    assert!(told(&other, whole).contains("version 2"));
    other = bytes.clone();
    other[13] = 0x40;
    assert!(told(&other, whole).contains("pages have 16384"));
    for end in 0..bytes.len() {
        assert!(!invariants::frozen(&bytes[..end]), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_there_is_an_answer(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        wide in prop::option::of((any::<prop::sample::Index>(), any::<u64>())),
    ) {
        let mut bytes = sample().write();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((at, word)) = wide {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        invariants::frozen(&bytes);
    }

    #[test]
    fn any_bytes_have_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        invariants::frozen(&bytes);
        let whole = sample().write();
        let length = bytes.len().min(PREAMBLE);
        bytes[..length].copy_from_slice(&whole[..length]);
        invariants::frozen(&bytes);
    }
}

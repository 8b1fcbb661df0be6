//! A template's memory after it was frozen and collapsed: nothing that a program can see is other than before.

use beget_factory::memory::{self, Frozen, Page, Prefault, learn, mappings, pages};
use beget_tests::{Need, has, in_own_process, skip};

use super::*;
use crate::fixtures::compiled;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const PROGRAM: &str = include_str!("memory.c");

/// The compilers and flags of programs whose heaps and libraries lie differently.
const KINDS: [(&str, &[&str]); 6] = [
    ("gcc", &["-DDYNAMIC", "-ldl"]),
    ("gcc", &["-DDYNAMIC", "-ldl", "-no-pie", "-fno-pie"]),
    ("gcc", &["-static"]),
    ("gcc", &["-static-pie", "-fPIE"]),
    ("musl-gcc", &["-static"]),
    ("musl-gcc", &[]),
];

/// One that has what it needs, dynamic if it can be.
fn any(test: &str) -> Option<String> {
    if !has("gcc") {
        skip(test, Need::Program("gcc"));
        return None;
    }
    Some(compiled("gcc", PROGRAM, KINDS[0].1))
}

fn command_of(path: &str) -> Command {
    let mut command = base(path);
    command.grant(Grant::Read(path.into())).grant(Grant::Write("/dev/zero".into()));
    command
}

/// A template that has stopped itself; frozen, but for `plain` ones.
fn frozen(command: &mut Command, plain: bool) -> (Made, Frozen) {
    let nursery = Nursery::new().expect("a nursery");
    let (theirs, input) = std::io::pipe().expect("a pipe");
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    let point = tracee.run_until_ready(&Ready::Stop, LONG).expect("it stops");
    let planted = tracee.plant().expect("a stub");
    let frozen = if plain {
        Frozen::default()
    } else {
        memory::freeze(&mut tracee, template.as_fd(), Some(&planted)).expect("its memory is frozen")
    };
    let process = tracee.serve(&planted).expect("it serves");
    (Made { template, point, _process: process, _input: input }, frozen)
}

#[track_caller]
fn right(made: &Made, input: &str) {
    let right = Ran { out: "right\n".into(), code: Some(0), signal: None };
    assert_eq!(made.run(input), right, "{input}");
}

fn maps(number: u32) -> String {
    std::fs::read_to_string(format!("/proc/{number}/maps")).expect("ours")
}

/// Whether this kernel makes huge pages of memory when it is asked to (Linux 6.1).
fn collapses() -> bool {
    const COLLAPSE: i32 = 25;
    let (length, rights) = (4 << 20, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: new memory, used by nobody else, and given back.
    unsafe {
        let at =
            libc::mmap(std::ptr::null_mut(), length, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        let huge = at.byte_add(at.align_offset(2 << 20));
        huge.write_bytes(1, 2 << 20);
        let done = libc::madvise(huge, 2 << 20, COLLAPSE);
        libc::munmap(at, length);
        done == 0
    }
}

#[test]
fn a_frozen_program_finds_all_as_it_was() {
    for (compiler, flags) in KINDS {
        if !has(compiler) {
            skip("a_frozen_program_finds_all_as_it_was", Need::Program(compiler));
            continue;
        }
        let path = compiled(compiler, PROGRAM, flags);
        for spawns in [false, true] {
            let mut command = command_of(&path);
            if spawns {
                command.grant(Grant::Spawn);
            }
            let (made, frozen) = frozen(&mut command, false);
            let kind = format!("{compiler} {flags:?}: {frozen:?}");
            // Its data, and what it has from `brk`; where malloc goes by that, all of its pieces.
            assert!(
                frozen.bytes >= if compiler == "gcc" { 10 } else { 4 } * MIB && frozen.ranges >= 2,
                "{kind}"
            );
            if collapses() {
                assert!(frozen.huge >= 6 * MIB && frozen.left.is_empty(), "{kind}");
            }
            let number = made._process.id();
            let maps = maps(number);
            assert!(maps.matches("beget-frozen").count() >= frozen.ranges, "{kind}\n{maps}");
            assert!(
                maps.lines().all(|line| !line.ends_with("[stack]") || line.contains(" 00:00 0 ")),
                "{maps}"
            );
            let held = std::fs::read_dir(format!("/proc/{number}/fd")).expect("ours").flatten();
            let held: Vec<_> = held.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
            assert!(!held.iter().any(|file| file.display().to_string().contains("memfd")), "{held:?}");
            // Whatever one did, the next finds what the first found.
            for input in ["c", "cw", "o", "cow", "w", "c"] {
                right(&made, input);
            }
        }
    }
}

/// What the kernel keeps of memory is the same for whoever looks from outside: rights, and what may become of it.
#[test]
fn a_frozen_range_has_the_rights_that_it_had() {
    let Some(path) = any("a_frozen_range_has_the_rights_that_it_had") else { return };
    let rights = |number: u32| {
        let all = mappings(number as i32).expect("ours");
        let writable = |mapping: &memory::Mapping| mapping.rights & 2 != 0 && mapping.name != "[stack]";
        let bytes = |wanted: bool| -> u64 {
            let is = |mapping: &&memory::Mapping| mapping.private && writable(mapping) == wanted;
            all.iter().filter(is).map(|mapping| mapping.end - mapping.first).sum()
        };
        (bytes(true), bytes(false))
    };
    let [plain, cold] = [true, false].map(|plain| frozen(&mut command_of(&path), plain).0);
    assert_eq!(rights(plain._process.id()), rights(cold._process.id()));
}

#[test]
fn a_template_that_cannot_be_frozen_serves_all_the_same() {
    in_own_process("memory::a_template_that_cannot_be_frozen_serves_all_the_same", || {
        let Some(path) = any("a_template_that_cannot_be_frozen_serves_all_the_same") else { return };
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: libc::RLIM_INFINITY };
        let mut before = limit;
        // SAFETY: numbers of this process, which is the test's own.
        unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut before) };
        let limit = libc::rlimit { rlim_max: before.rlim_max, ..limit };
        // SAFETY: likewise.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        let (made, frozen) = frozen(&mut command_of(&path), false);
        assert_eq!(frozen.bytes, 0, "{frozen:?}");
        assert_eq!(
            frozen.left.first().map(String::as_str),
            Some("not frozen: the limit on the size of files is lower")
        );
        for input in ["cow", "c"] {
            right(&made, input);
        }
    });
}

/// The word that the kernel has for each page of a range.
fn words(number: u32, (at, length): (u64, u64)) -> Vec<Page> {
    pages(number as i32, at, at + length).expect("ours")
}

#[test]
fn what_a_product_writes_to_is_learned_and_there_for_the_next() {
    let Some(path) = any("what_a_product_writes_to_is_learned_and_there_for_the_next") else { return };
    for plain in [true, false] {
        let (made, _) = frozen(&mut command_of(&path), plain);
        let learn_of = |input: &str, most: Duration| -> Prefault {
            let (theirs, mut feed) = std::io::pipe().expect("a pipe");
            feed.write_all(input.as_bytes()).expect("room");
            let null = std::fs::File::options().write(true).open("/dev/null").expect("it is there");
            // Where nothing is to be found at its end, it waits for more.
            let feed = (most < LONG).then_some(feed);
            let product = made.template.product(&made.template.first_part()).expect("a copy");
            let mut part = beget::Part::new();
            part.grant(0, theirs.as_fd()).grant(1, null.as_fd());
            let before = mappings(made._process.id() as i32).expect("ours");
            let learned = learn(product, &made.template, &before, &part, &[], most);
            drop(feed);
            learned.expect("it is learned from")
        };
        let (reads_only, writes) = (learn_of("c", LONG), learn_of("cw", LONG));
        // It writes to its own and the library's data, and to its stack.
        assert!(!reads_only.writes.is_empty() && reads_only.bytes() < MIB, "{reads_only:?}");
        assert!(!reads_only.reads.is_empty());
        // Data, what is none, half of the heap, raw memory, of zeroes, and half of what is sparse.
        assert!(writes.bytes() > 18 * MIB && writes.bytes() < 60 * MIB, "{} bytes", writes.bytes());
        let both = writes.common(&reads_only);
        assert!(both.bytes() > 0 && both.bytes() <= reads_only.bytes(), "{both:?}");
        // One that does not end is looked at where it is.
        assert!(learn_of("c", Duration::from_millis(500)).bytes() < MIB);
        for learned in [&both, &writes] {
            let mut part = made.template.first_part();
            part.populate(true, &learned.writes).populate(false, &learned.reads);
            let mut product = made.template.product(&part).expect("a copy");
            product.wait_ready().expect("it is ready");
            for range in &learned.writes {
                let words = words(product.id(), *range);
                assert!(words.iter().all(|page| page.is_present() && page.is_anonymous() && page.is_alone()));
            }
            for range in &learned.reads {
                assert!(words(product.id(), *range).iter().all(|page| page.is_present()));
            }
            let (theirs, mut feed) = std::io::pipe().expect("a pipe");
            let (mut output, writes) = std::io::pipe().expect("a pipe");
            feed.write_all(b"cow").expect("room");
            drop(feed);
            let mut part = beget::Part::new();
            part.grant(0, theirs.as_fd()).grant(1, writes.as_fd());
            let process = product.start(&made.template, part).expect("it starts");
            drop((theirs, writes));
            assert_eq!(finished(&process, &mut output).out, "right\n");
            right(&made, "c");
        }
        // What it cannot be given is an error, and nothing is left of it.
        let (input, product) =
            (std::fs::File::open("/dev/null").expect("it is there"), made.template.first_part());
        let product = made.template.product(&product).expect("a copy");
        let number = product.id();
        let mut part = beget::Part::new();
        part.grant(1 << 20, input.as_fd());
        let error = learn(
            product,
            &made.template,
            &mappings(made._process.id() as i32).expect("ours"),
            &part,
            &[],
            LONG,
        )
        .expect_err("there is no such slot");
        assert_eq!(error.part(), "grant slot 1048576", "{error}");
        assert!(!std::path::Path::new(&format!("/proc/{number}")).exists());
        assert!(learn_of("c", LONG).writes.iter().all(|(at, length)| at % PAGE == 0 && length % PAGE == 0));
    }
}

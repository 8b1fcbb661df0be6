//! What a program sees of itself when Beget loaded it is what it would see after an exec.

use crate::fixtures::{c, compiled};
use crate::seen::{SOURCE, Seen};
use crate::{Case, case, lacks};

/// `AT_EXECFN`.
const EXECFN: u64 = 31;

/// A program of each kind, compiled, and whether it has a loader.
pub(crate) fn programs() -> Vec<(String, Option<&'static str>)> {
    let glibc = Some("/ld-linux-x86-64.so.2");
    let mut all = vec![
        (c(SOURCE, &["-pie"]), glibc),
        (c(SOURCE, &["-no-pie"]), glibc),
        (c(SOURCE, &["-static"]), None),
        (c(SOURCE, &["-static-pie"]), None),
        (c(SOURCE, &["-Wl,-z,execstack"]), glibc),
    ];
    if !lacks("programs", &["musl-gcc"]) {
        all.push((compiled("musl-gcc", SOURCE, &["-static"]), None));
        all.push((compiled("musl-gcc", SOURCE, &[]), Some("/libc.so")));
    }
    all
}

fn asked(program: &str) -> Case {
    case(&[program, "a b", ""]).flags(&["--read", "/proc"]).env("VARIABLE", "value")
}

/// Plainly, by the kernel's loader, directly.
pub(crate) fn each_way(program: &str) -> [Seen; 3] {
    let case = asked(program);
    [case.plain(), case.by("kernel"), case.by("direct")].map(|ran| {
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{program}");
        Seen::of(&ran.out)
    })
}

#[test]
fn proc_tells_what_an_exec_would_have_it_tell() {
    if lacks("proc_tells_what_an_exec_would_have_it_tell", &["gcc"]) {
        return;
    }
    for (program, _) in programs() {
        let [plain, kernel, direct] = each_way(&program);
        for file in ["cmdline", "environ", "comm"] {
            assert_eq!(plain.proc(file), direct.proc(file), "{program}: {file}");
        }
        assert_eq!(direct.proc("cmdline"), format!("{program}\0a b\0\0"));
        // Code and data, from where the program begins; the heap somewhere behind them.
        let from_its_own =
            |seen: &Seen| [26, 27, 45, 46].map(|field| seen.stat(field) - seen.map(&program).range.start);
        assert_eq!(from_its_own(&plain), from_its_own(&direct), "{program}");
        let (heap, end) = (direct.stat(47), direct.stat(46));
        assert!(heap >= end && heap - end < 2 << 30, "{program}: {heap:#x} behind {end:#x}");
        assert_eq!(heap & 0xfff, 0);
        let allocates_there = |seen: &Seen| seen.map("[heap]").range.contains(&seen.number("heap"));
        assert_eq!(allocates_there(&plain), allocates_there(&direct), "{program}");
        for seen in [&plain, &direct] {
            assert_eq!(seen.stat(28), seen.number("argv") - 8, "{program}: start of the stack");
            assert_eq!([48, 50].map(|field| seen.stat(field)), [seen.number("argv0"), seen.number("env0")]);
            assert_eq!(seen.stat(49), seen.stat(50), "the variables follow the arguments");
            assert_eq!(seen.stat(51), seen.auxiliary(EXECFN), "and the name the variables");
        }
        // Everything that Beget decides is the same by both loaders.
        for line in [
            "Uid",
            "Gid",
            "Groups",
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "SigPnd",
            "ShdPnd",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "Threads",
            "Umask",
            "VmLck",
            "VmPin",
            "CoreDumping",
            "THP_enabled",
            "Speculation_Store_Bypass",
            "Cpus_allowed",
            "TracerPid",
        ] {
            assert_eq!(kernel.status(line), direct.status(line), "{program}: {line}");
        }
        assert_eq!(kernel.proc("limits"), direct.proc("limits"));
        assert_eq!(["SigBlk", "SigIgn", "SigCgt"].map(|line| direct.status(line)), ["0000000000000000"; 3]);
        assert_eq!(direct.keys("signal."), Vec::<&str>::new(), "every signal does what it does by default");
    }
}

#[test]
fn its_memory_is_what_an_exec_would_have_made_of_it() {
    if lacks("its_memory_is_what_an_exec_would_have_made_of_it", &["gcc"]) {
        return;
    }
    for (program, _) in programs() {
        let [plain, _, direct] = each_way(&program);
        // What has a name, in the order of names: how much of it, and what may be done with it. Sizes of heap and stack vary.
        let named = |seen: &Seen| {
            let maps = seen.maps().into_iter().filter(|map| !map.path.is_empty());
            let mut shapes: Vec<_> = maps.map(|map| map.shape()).collect();
            for (path, _, _, length) in &mut shapes {
                if path == "[stack]" || path == "[heap]" {
                    *length = 0;
                }
            }
            shapes.sort();
            shapes
        };
        assert_eq!(named(&plain), named(&direct), "{program}");
        // What is behind it without a name: memory that is zero at first.
        let behind = |seen: &Seen| {
            let maps = seen.maps();
            let last = maps.iter().rfind(|map| map.path == program).expect("it is mapped").range.end;
            let next = maps.iter().find(|map| map.range.start == last && map.path.is_empty());
            next.map(|map| (map.rights.clone(), map.range.end - map.range.start))
        };
        assert_eq!(behind(&plain), behind(&direct), "{program}");
    }
}

#[test]
fn nothing_of_the_stub_is_left() {
    if lacks("nothing_of_the_stub_is_left", &["gcc"]) {
        return;
    }
    for (program, _) in programs() {
        let [_, kernel, direct] = each_way(&program);
        let strange = |map: &crate::seen::Map| map.path.contains("memfd") || map.path.contains("beget-stub");
        assert_eq!(direct.maps().into_iter().find(strange), None);
        // All that is executable belongs to the program, its libraries and the kernel.
        for map in direct.maps().iter().filter(|map| map.rights.contains('x')) {
            assert!(!map.path.is_empty(), "{program}: {map:x?}");
        }
        assert_eq!(direct.descriptors(), ["fd 0 0", "fd 1 0", "fd 2 0"], "{program}");
        assert_eq!(kernel.descriptors(), direct.descriptors());
    }
}

#[test]
fn a_granted_descriptor_is_where_it_would_be() {
    if lacks("a_granted_descriptor_is_where_it_would_be", &["gcc"]) {
        return;
    }
    let program = c(SOURCE, &["-pie"]);
    let case = asked(&program).flags(&["--fd", "one=/etc/passwd", "--fd", "two=/etc/group"]);
    for loader in ["kernel", "direct"] {
        let seen = Seen::of(&case.by(loader).out);
        assert_eq!(seen.descriptors(), ["fd 0 0", "fd 1 0", "fd 2 0", "fd 3 0", "fd 4 0"]);
        let process = seen.proc("stat").split(' ').next().expect("its number").to_owned();
        let variables: Vec<&str> =
            seen.proc("environ").split('\0').filter(|text| text.starts_with("LISTEN")).collect();
        let expected =
            [format!("LISTEN_PID={process}"), "LISTEN_FDS=2".into(), "LISTEN_FDNAMES=one:two".into()];
        assert_eq!(variables, expected, "by {loader}");
    }
}

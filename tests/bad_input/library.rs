//! The same from the library, where bytes can be passed that no command line can: an error of the right fault, and this process
//! as it was before, to the last descriptor and child.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use beget::{Command, Fault, Grant, Limit, Stdio};
use beget_tests::{Scratch, alone, children, descriptors};

fn base(program: &str) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base);
    command
}

fn null() -> File {
    File::open("/dev/null").unwrap()
}

/// A name, what is asked for, whose fault it is, and what the message says.
type Row = (&'static str, fn(&mut Command) -> &mut Command, Fault, &'static str);

const ROWS: &[Row] = &[
    ("NUL in an argument", |c| c.arg("a\0b"), Fault::Caller, "argument 1: it has a NUL byte"),
    ("NUL in arg0", |c| c.arg0("a\0b"), Fault::Caller, "it has a NUL byte"),
    ("NUL in a variable", |c| c.env("NAME", "a\0b"), Fault::Caller, "variable NAME: it has a NUL byte"),
    ("NUL in a variable's name", |c| c.env("A\0B", ""), Fault::Caller, "it has a NUL byte"),
    ("no variable's name", |c| c.env("", "x"), Fault::Caller, "variable : a name is not empty"),
    ("equals sign", |c| c.env("A=B", "x"), Fault::Caller, "variable A=B: a name is not empty and has no"),
    ("NUL in a grant", |c| c.grant(Grant::Read("/tmp\0/x".into())), Fault::Caller, "grant --read /tmp"),
    ("NUL in a directory", |c| c.current_dir("/tmp\0"), Fault::Caller, "working directory /tmp"),
    (
        "no such grant",
        |c| c.grant(Grant::Write("/no/x".into())),
        Fault::Caller,
        "grant --write /no/x: no such",
    ),
    ("no such directory", |c| c.current_dir("/no/x"), Fault::Caller, "working directory /no/x: no such"),
    ("a file as directory", |c| c.current_dir_fd(null()), Fault::Caller, "working directory"),
    ("taken slot", |c| c.stdin(Stdio::null()).fd(0, null()), Fault::Caller, "slot 0: stdin is there already"),
    ("negative slot", |c| c.fd(-1, null()), Fault::Caller, "slot -1: a slot's number is not negative"),
    ("least slot", |c| c.fd(i32::MIN, null()), Fault::Caller, "a slot's number is not negative"),
    ("greatest slot", |c| c.fd(i32::MAX, null()), Fault::Caller, "slot 2147483647: beyond the limit of"),
    ("slot at the limit", |c| c.fd(limit_of_open_files(), null()), Fault::Caller, "beyond the limit of"),
    ("NUL in a slot's name", |c| c.slot("a\0", null()), Fault::Caller, "no control character"),
    ("colon", |c| c.slot("a:b", null()), Fault::Caller, "slot a:b: a name has no colon"),
    ("no name", |c| c.slot("", null()), Fault::Caller, "slot : a name has 1 to 255 bytes"),
    ("long name", |c| c.slot("x".repeat(256), null()), Fault::Caller, "a name has 1 to 255 bytes"),
    (
        "same name",
        |c| c.slot("a", null()).slot("a", null()),
        Fault::Caller,
        "slot a: the name is there already",
    ),
    ("no group", |c| c.process_group(0x3fff_ffff), Fault::Caller, "process group 1073741823: "),
    ("negative group", |c| c.process_group(-5), Fault::Caller, "process group -5: invalid argument"),
    ("no terminal", |c| c.controlling_terminal(null()), Fault::Caller, "controlling terminal: "),
    ("no foreground", |c| c.stdin(null()).foreground(true), Fault::Caller, "foreground of the terminal: "),
    ("no processors", |c| c.limit(Limit::Processors(0)), Fault::Caller, "limit --cpus 0: "),
    ("no cgroup", |c| c.cgroup(null()), Fault::Kernel, "process: bad file descriptor"),
    ("long argument", |c| c.arg("x".repeat(200_000)), Fault::Caller, "argument list too long"),
    (
        "more than a plan holds",
        |c| c.args(vec!["x".repeat(100_000); 200]),
        Fault::Caller,
        "argument list too long",
    ),
    ("many arguments", |c| c.args(vec!["x".repeat(1000); 3000]), Fault::Caller, "argument list too long"),
    (
        "unkept",
        |c| c.limit(Limit::Memory(1 << 30)).support(beget::Support::detect().without_cgroups()),
        Fault::Kernel,
        "limit --memory: needs a cgroup, and none can be made: ",
    ),
];

fn limit_of_open_files() -> i32 {
    let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills a structure on this stack.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut bounds) };
    bounds.rlim_cur.try_into().unwrap_or(i32::MAX)
}

/// Demands that a spawn of it fails as told, three times over, and leaves nothing.
fn fails(name: &str, command: impl Fn() -> Command, fault: Fault, words: &str) {
    let before = (descriptors(), children());
    let mut command = command();
    for _ in 0..3 {
        let error = command.spawn().map(drop).expect_err(name);
        assert_eq!(error.fault(), fault, "{name}: {error}");
        let code = match fault {
            Fault::NotFound => 127,
            Fault::NotRunnable => 126,
            _ => 125,
        };
        assert_eq!(error.exit_code(), code, "{name}");
        assert!(error.to_string().contains(words), "{name}: {error} does not say {words}");
        assert_eq!(error.to_string().lines().count(), 1, "{name}: {error}");
        assert!(!error.part().is_empty(), "{name}");
    }
    drop(command);
    assert_eq!((descriptors(), children()), before, "{name} left something");
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    alone("library::what_cannot_be_is_refused_and_leaves_nothing", || {
        // Whatever is made at the first spawn and kept is not what is looked for.
        base("/bin/true").status().unwrap();
        for (name, change, fault, words) in ROWS {
            let command = || {
                let mut command = base("/bin/true");
                change(&mut command);
                command
            };
            fails(name, command, *fault, words);
        }
    });
}

#[test]
fn programs_that_cannot_run_are_refused_and_leave_nothing() {
    alone("library::programs_that_cannot_run_are_refused_and_leave_nothing", || {
        base("/bin/true").status().unwrap();
        let scratch = Scratch::new();
        let (text, loop_) = (scratch.script("text", "text"), scratch.at("loop"));
        let lost = scratch.script("lost", "#!/no/such/interpreter\n");
        std::os::unix::fs::symlink("loop", &loop_).unwrap();
        let rows = [
            ("/no/such/program", Fault::NotFound, "program /no/such/program: no such file"),
            ("no-such-program", Fault::NotFound, "program no-such-program: not found"),
            ("", Fault::NotFound, "no name was given"),
            ("/", Fault::NotRunnable, "program /: is a directory"),
            ("a\0b", Fault::Caller, "its name has a NUL byte"),
            (&text, Fault::NotRunnable, "neither an ELF executable nor a script"),
            (&lost, Fault::NotRunnable, "its interpreter /no/such/interpreter: no such file"),
            (&loop_, Fault::NotRunnable, "too many levels of symbolic links"),
        ];
        for (program, fault, words) in rows {
            fails(program, || base(program), fault, words);
        }
        // A child with ambient authority has its program executed unread: there the kernel tells.
        let ambient = || {
            let mut command = Command::new(&text);
            command.grant(Grant::Ambient);
            command
        };
        fails("ambient", ambient, Fault::NotRunnable, "exec format error");
    });
}

#[test]
fn two_mebibytes_of_arguments_arrive_or_are_told_of() {
    // The kernel's own bound: a quarter of the stack, which is 8 MiB, less what the strings need beside.
    let output = base("/bin/sh")
        .args(["-c", "echo $#; for word; do test ${#word} = 1000 || exit 1; done", "sh"])
        .args(vec!["x".repeat(1000); 1900])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"1900\n"[..]));
    let error = base("/bin/true").args(vec!["x".repeat(1000); 2100]).spawn().map(drop).unwrap_err();
    assert_eq!((error.exit_code(), error.errno()), (125, Some(libc::E2BIG)));
    assert_eq!(error.to_string(), "program /bin/true: argument list too long");
}

#[test]
fn bytes_that_are_no_text_arrive() {
    let raw = OsStr::from_bytes(b"\xff\xfe\n\x01");
    let output =
        base("/bin/sh").args(["-c", "printf %s \"$1$RAW\"", "sh"]).arg(raw).env("RAW", raw).output().unwrap();
    assert_eq!(output.stdout, [raw.as_bytes(), raw.as_bytes()].concat());
}

/// With every number taken, and then with one more free each time until it works.
#[test]
fn without_descriptors_nothing_is_left() {
    alone("library::without_descriptors_nothing_is_left", || {
        base("/bin/true").status().unwrap();
        let bounds = libc::rlimit { rlim_cur: 96, rlim_max: 96 };
        // SAFETY: a structure on this stack.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const bounds) }, 0);
        // What the checks themselves need is set aside and given back for them.
        let spare = null();
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        let mut spare = Some(spare);
        let mut failed = 0;
        while let Some(file) = taken.pop() {
            drop(spare.take());
            let before = (descriptors(), children());
            spare = Some(null());
            let result = base("/bin/true").stdout(Stdio::piped()).tell_refusals(true).status();
            drop(spare.take());
            assert_eq!((descriptors(), children()), before, "{} taken", taken.len());
            spare = Some(null());
            match result {
                Ok(ended) => {
                    assert!(ended.status.success());
                    return assert!(failed > 0, "descriptors were never scarce");
                }
                Err(error) => {
                    assert_eq!(error.errno(), Some(libc::EMFILE), "{error}");
                    assert_eq!(error.exit_code(), 125, "{error}");
                    failed += 1;
                }
            }
            drop(file);
        }
        panic!("it never worked");
    });
}

#[test]
fn without_memory_nothing_is_left() {
    alone("library::without_memory_nothing_is_left", || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
        let mut command = base("/bin/true");
        let before = (descriptors(), children());
        let set = |most: u64| {
            let bounds = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a structure on this stack.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const bounds) }, 0);
        };
        // Small allocations still find room on the heap; the newborn's stack does not.
        set(pages * 4096);
        let error = command.spawn().map(drop);
        set(libc::RLIM_INFINITY);
        let error = error.expect_err("there was no memory for a stack");
        assert_eq!(error.to_string(), "process: cannot allocate memory");
        assert_eq!((error.fault(), error.exit_code()), (Fault::Kernel, 125));
        assert!(command.status().unwrap().status.success(), "the next one works");
        drop(command);
        assert_eq!((descriptors(), children()), before);
    });
}

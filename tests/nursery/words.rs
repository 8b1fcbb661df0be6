//! What fails is told in the same words, with and without a nursery.

use std::fs::File;

use beget::{Command, Grant, Limit, Loader, Nursery, Stdio, Support};
use beget_tests::{Scratch, program};

use crate::probe;

/// What is wrong with a command, and how it is made.
type Wrong = (&'static str, Box<dyn Fn() -> Command>);

/// Commands that cannot be.
fn wrong(scratch: &Scratch) -> Vec<Wrong> {
    let null = || File::open("/dev/null").expect("/dev/null");
    let at = |name: &str| scratch.at(name);
    let bytes = std::fs::read(program("probe")).expect("ours");
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let mut strange = bytes.clone();
    if let Some(place) = bytes.windows(loader.len()).position(|part| part == loader) {
        strange[place + 26] = b'9';
    }
    scratch.executable("strange", &strange);
    scratch.executable("short", &bytes[..200]);
    scratch.executable("text", "no program\n");
    scratch.executable("script", "#!/nonexistent/interpreter\n");
    scratch.executable("deep", format!("#!{}\n", scratch.at("deep")));
    scratch.file("plain", &bytes);
    let path = move |path: String| {
        Box::new(move || {
            let mut command = Command::new(&path);
            command.grant(Grant::Ambient);
            command
        })
    };
    let mut all: Vec<Wrong> = vec![
        ("not there", path("/nonexistent".into())),
        ("not in PATH", path("no-such-program".into())),
        ("a folder", path("/".into())),
        ("not executable", path(at("plain"))),
        ("no program", path(at("text"))),
        ("cut short", path(at("short"))),
        ("a script without interpreter", path(at("script"))),
        ("a script of itself", path(at("deep"))),
        ("a loader that is not there", path(at("strange"))),
        ("a name with NUL", path("a\0b".into())),
    ];
    let mut add = |what, change: fn(&mut Command)| {
        all.push((
            what,
            Box::new(move || {
                let mut command = probe(&["exit", "0"]);
                change(&mut command);
                command
            }),
        ));
    };
    add("a grant of nothing", |command| _ = command.grant(Grant::Read("/nonexistent".into())));
    add("a folder that is not there", |command| _ = command.current_dir("/nonexistent"));
    add("a file for a folder", |command| _ = command.current_dir("/dev/null"));
    add("too many open files", |command| _ = command.limit(Limit::OpenFiles(1 << 40)));
    add("no processors", |command| _ = command.limit(Limit::Processors(0)));
    add("memory", |command| {
        command.limit(Limit::Memory(1 << 20)).support(Support::detect().without_cgroups());
    });
    add("no processes", |command| _ = command.limit(Limit::Processes(0)));
    add("another's group", |command| _ = command.process_group(1));
    add("no group", |command| _ = command.process_group(-5));
    add("no foreground", |command| _ = command.stdin(Stdio::null()).foreground(true));
    add("a variable", |command| _ = command.env("A=B", ""));
    add("a variable with NUL", |command| _ = command.env("A", "x\0y"));
    add("an argument with NUL", |command| _ = command.arg("x\0y"));
    add("an argument too long", |command| _ = command.arg("x".repeat(200 << 10)));
    add("arguments too long", |command| _ = command.args(std::iter::repeat_n("x".repeat(100_000), 40)));
    add("a colon", |command| _ = command.slot("a:b", File::open("/dev/null").expect("/dev/null")));
    add("too high a slot", |command| _ = command.fd(1 << 28, File::open("/dev/null").expect("/dev/null")));
    add("no slot", |command| _ = command.fd(-1, File::open("/dev/null").expect("/dev/null")));
    let terminal = null();
    all.push((
        "no terminal",
        Box::new(move || {
            let mut command = probe(&[]);
            command.controlling_terminal(terminal.try_clone().expect("a descriptor"));
            command
        }),
    ));
    let folder = File::open("/").expect("the root");
    all.push((
        "no cgroup",
        Box::new(move || {
            let mut command = probe(&[]);
            command.cgroup(folder.try_clone().expect("a descriptor"));
            command
        }),
    ));
    all.push((
        "an older kernel",
        Box::new(|| {
            let mut command = Command::new(program("probe"));
            command.grant(Grant::TcpConnect(80)).support(Support::detect().with_landlock_at_most(Some(3)));
            command
        }),
    ));
    all
}

#[test]
fn they_are_the_same() {
    let scratch = Scratch::new();
    let nursery = Nursery::shared().expect("a nursery");
    let mut differ = Vec::new();
    let mut failed = 0;
    for (what, make) in wrong(&scratch) {
        let told = |command: &mut Command| match command.spawn() {
            Ok(process) => {
                let _ = process.kill();
                let _ = process.wait_shared();
                "ran".to_owned()
            }
            Err(error) => {
                format!(
                    "{error} [{}, {:?}, {:?}, {}]",
                    error.part(),
                    error.fault(),
                    error.errno(),
                    error.exit_code()
                )
            }
        };
        let plain = told(&mut make());
        failed += usize::from(!plain.starts_with("ran"));
        let others = [
            ("in a nursery", told(make().nursery(&nursery))),
            ("in a tree of its own", told(make().own_tree(true))),
        ];
        for (way, other) in others {
            if other != plain {
                differ.push(format!("{what}, {way}: {other}\n  and plain: {plain}"));
            }
        }
        // Nothing is left of it, and it can be tried again.
        assert_eq!(told(make().nursery(&nursery)), told(make().nursery(&nursery)), "{what}");
    }
    assert!(failed >= 25, "{failed} failed");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// What no kernel ever looks at is told by the loader in its own words, and as the same fault.
#[test]
fn loaded_directly_the_fault_is_the_same() {
    let scratch = Scratch::new();
    let mut differ = Vec::new();
    for (what, make) in wrong(&scratch) {
        let fault = |command: &mut Command| match command.spawn() {
            Ok(process) => {
                let _ = process.kill();
                let _ = process.wait_shared();
                "ran".to_owned()
            }
            Err(error) => format!("{:?} {}", error.fault(), error.exit_code()),
        };
        let (plain, direct) = (fault(&mut make()), fault(make().loader(Loader::Direct)));
        // What the kernel and we refuse for reasons of our own: an argument's length, and a cgroup.
        if plain != direct && !["an argument too long", "no cgroup"].contains(&what) {
            differ.push(format!("{what}: {direct}, and plain: {plain}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

//! Copies of a template that was started from a sealed command: each is given what a child would have, and is held as one.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use beget::{Command, Error, Grant, Limit, Nursery, Process, Promise, Stdio, Template, Variation};
use beget_factory::Ready;
use beget_factory::tracee::Tracee;
use beget_tests::{Need, Scratch, children, descriptors, in_own_process, is_root, skip};

use super::*;

/// A template, stopped at its entry, and what it was made from.
struct Warm {
    sealed: Sealed,
    template: Template,
    _process: Process,
}

fn warm(command: Command) -> Warm {
    let sealed = sealed(command);
    let nursery = Nursery::new().expect("a nursery");
    let (process, template) =
        sealed.spawn_template(&Variation::new(), Some(&nursery)).expect("a program to stop");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    tracee.run_until_ready(&Ready::Entry, LONG).expect("it gets to its entry");
    let planted = tracee.plant().expect("a stub");
    Warm { sealed, template, _process: tracee.serve(&planted).expect("it serves") }
}

impl Warm {
    /// A copy that is made when it is asked for.
    fn start(&self, variation: &Variation) -> Result<Process, Error> {
        let provision = self.sealed.provide(&self.template, variation)?;
        let mut part = self.template.first_part();
        provision.add_to(&mut part)?;
        let process = self.template.start(part)?;
        provision.hand_over(process)
    }

    /// One that was made before.
    fn start_made(&self, variation: &Variation) -> Result<Process, Error> {
        let mut product = self.template.product(&self.template.first_part())?;
        product.wait_ready()?;
        let provision = self.sealed.provide(&self.template, variation)?;
        let mut part = beget::Part::new();
        provision.add_to(&mut part)?;
        let process = product.start(&self.template, part)?;
        provision.hand_over(process)
    }

    /// What a copy wrote, and its exit code; the same of one that is made when it is asked for, of one that was made before, and of a child.
    fn said(&self, variation: &mut Variation) -> (Option<i32>, String) {
        let cold = spawned(&self.sealed, variation);
        for process in [self.start(variation), self.start_made(variation)] {
            let output = process.expect("a copy").wait_with_output().expect("wait");
            assert_eq!((output.status.code(), text(&output.stdout)), cold);
        }
        cold
    }
}

fn holding(text: &str) -> OwnedFd {
    let (reading, mut writing) = std::io::pipe().expect("a pipe");
    writing.write_all(text.as_bytes()).expect("it holds more");
    reading.into()
}

#[test]
fn streams_are_those_of_each_copy() {
    let warm = warm(probe(&["cat"]));
    let mut variation = Variation::new();
    variation.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    for number in 0..10 {
        let mut process = warm.start(&variation).expect("a copy");
        let mut input = process.stdin.take().expect("it is piped");
        input.write_all(format!("copy {number}").as_bytes()).expect("it reads");
        drop(input);
        let mut said = String::new();
        process.stdout.take().expect("it is piped").read_to_string(&mut said).expect("ours");
        assert_eq!((said, end(&process).exit_code()), (format!("copy {number}"), 0));
    }
    // What is closed in a child is closed in a copy.
    assert_eq!(warm.said(&mut Variation::new()).0, Some(1));
    assert_eq!(warm.said(Variation::new().stdin(Stdio::null())), fine(""));
}

/// What the probe says of a copy is what it says of a child, but for what the kernel counts.
#[test]
fn a_copy_is_what_a_child_would_be() {
    let scratch = Scratch::new();
    let mut command = probe(&[]);
    command.grant(Grant::Base).stdin(Stdio::null()).slot("sealed", holding("")).umask(0o027);
    command.limit(Limit::OpenFiles(100)).env("LC_ALL", "C");
    let warm = warm(command);
    let mut variation = Variation::new();
    variation.stdout(Stdio::piped()).fd(9, holding("")).limit(Limit::OpenFiles(50));
    variation.current_dir_fd(std::fs::File::open(scratch.path()).expect("our own"));
    let told = |process: Process| {
        let output = process.wait_with_output().expect("wait");
        let mut report = beget_tests::report(&output.stdout);
        assert_eq!(report["limit.nofile"], "50 50", "{report:?}");
        assert_eq!(report["cwd"], scratch.path().to_str().expect("text"));
        assert!(report.contains_key("fd.9") && report.contains_key("fd.3"), "{report:?}");
        // A pipe of its own, and numbers of its own.
        report.remove("fd.1");
        report.retain(|key, value| {
            let numbers = ["pid", "ppid", "sid", "pgid", "execfn"];
            !numbers.iter().any(|name| key.starts_with(name)) && !value.starts_with("LISTEN_PID")
        });
        report
    };
    let cold = told(warm.sealed.spawn(&variation, None).expect("spawn"));
    for copy in [warm.start(&variation), warm.start_made(&variation)] {
        let copy = told(copy.expect("a copy"));
        let differs: Vec<_> = cold.iter().filter(|(key, value)| copy.get(*key) != Some(value)).collect();
        assert_eq!((differs, copy.len()), (Vec::new(), cold.len()), "{copy:#?}");
    }
}

#[test]
fn grants_are_narrowed_for_one_copy() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "x");
    let mut command = probe(&["try", "read", &path]);
    command.grants([Grant::Base, Grant::Read(path.clone().into())]);
    let files = warm(command);
    let mut command = probe(&["fork"]);
    command.grants([Grant::Base, Grant::Spawn]);
    let forks = warm(command);
    let mut narrow = Variation::new();
    narrow.narrow(&[Grant::Base]).expect("they can be opened");
    for _ in 0..2 {
        assert_eq!(files.said(&mut Variation::new()), fine(&format!("read {path} ok\n")));
        assert_eq!(files.said(&mut narrow), fine(&format!("read {path} EACCES\n")));
        assert_eq!(forks.said(&mut Variation::new()), fine("ok\n"));
        assert_eq!(forks.said(&mut narrow), fine("EPERM\n"));
    }
}

/// The filter of every copy was made when no socket was given; a copy that is given one has a second.
#[test]
fn the_filter_is_that_of_what_is_given() {
    let socket = || {
        // SAFETY: numbers only; the descriptor is new and ours.
        unsafe {
            OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
        }
    };
    let script = "use Socket; open(S, '+<&=', 5); $! = 0; \
                  send(S, 'x', 0x20000000, sockaddr_in(1, inet_aton('127.0.0.1'))); print $! + 0";
    let mut command = Command::new("perl");
    command.args(["-e", script]).grant(Grant::Base).stderr(Stdio::null());
    let warm = warm(command);
    for _ in 0..2 {
        assert_eq!(warm.said(Variation::new().fd(5, socket())), fine(&libc::EOPNOTSUPP.to_string()));
    }
}

#[test]
fn processors_are_those_of_one_copy() {
    let warm = warm(probe(&[]));
    let mut variation = Variation::new();
    variation.stdout(Stdio::piped()).limit(Limit::Processors(1));
    for copy in [warm.start(&variation), warm.start_made(&variation)] {
        let output = copy.expect("a copy").wait_with_output().expect("wait");
        assert_eq!(beget_tests::report(&output.stdout)["processors"], "1");
    }
}

/// Each has a channel of its own, whose other end its holder has.
#[test]
fn a_channel_is_each_copys_own() {
    let mut command = probe(&["fd", "3"]);
    command.channel(true);
    let warm = warm(command);
    let one = |variation: &Variation| {
        let mut process = warm.start(variation).expect("a copy");
        (process.take_channel().expect("it has one"), process)
    };
    let (first, second) = (one(&Variation::new()), one(&Variation::new()));
    drop(first.0);
    // It reads to the end, which came.
    end(&first.1);
    assert!(second.1.try_wait().expect("wait").is_none());
    drop(second.0);
    end(&second.1);
}

#[test]
fn what_a_copy_cannot_have_is_told() {
    in_own_process("warm::what_a_copy_cannot_have_is_told", || {
        let mut command = probe(&[]);
        command.limit(Limit::Processors(2)).limit(Limit::OpenFiles(100));
        let warm = match std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            1 => return skip("what_a_copy_cannot_have_is_told", Need::Machine("two processors")),
            _ => warm(command),
        };
        let (held, born) = (descriptors(), children());
        let told = |variation: &mut Variation, expected: &str| {
            let error = warm.start(variation.stdout(Stdio::piped())).expect_err("it is refused");
            assert_eq!(error.to_string(), expected);
        };
        let open = |path: &str| std::fs::File::open(path).expect("it is there");
        let number = "in a copy of a template this number is its template's";
        told(Variation::new().fd(999, open("/dev/null")), &format!("slot 999: {number}"));
        let below = "below a directory that a copy of a template is given it could open nothing, for its rules are its template's";
        told(Variation::new().fd(9, open("/etc")), &format!("slot 9: {below}"));
        told(Variation::new().slot("settings", open("/etc")), &format!("slot settings: {below}"));
        told(
            Variation::new().limit(Limit::Processors(1)),
            "limit --cpus 1: a copy keeps the processors that its template was limited to",
        );
        told(
            Variation::new().limit(Limit::OpenFiles(101)),
            "limit --open-files 101: wider than what was sealed, --open-files 100",
        );
        // And what only the copy finds out.
        told(Variation::new().current_dir_fd(open("/dev/null")), "working directory: not a directory");
        let error = warm.start(Variation::new().cgroup(open("/tmp"))).expect_err("it is none");
        assert_eq!(error.to_string(), "cgroup: cgroup.procs: no such file or directory");
        assert_eq!((descriptors(), children()), (held, born));
    });
}

fn limited(command: Command, test: &str) -> Option<Warm> {
    let mut variation = Variation::new();
    variation.limit(Limit::Memory(64 << 20)).stdout(Stdio::null());
    let warm = warm(command);
    match warm.sealed.spawn(&variation, None) {
        Ok(process) => {
            process.kill().expect("ours");
            end(&process);
            Some(warm)
        }
        Err(error) => {
            // A copy is refused in the same words.
            let words = error.to_string();
            assert!(error.part().starts_with("limit --memory"), "{words}");
            assert_eq!(warm.start(&variation).expect_err("it cannot be").to_string(), words);
            skip(test, if is_root() { Need::Machine("a cgroup that can be limited") } else { Need::Root });
            None
        }
    }
}

/// The groups that this process made and that are there.
fn groups() -> Vec<PathBuf> {
    fn look(folder: &std::path::Path, prefix: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
            look(&entry.path(), prefix, found);
        }
    }
    let mut found = Vec::new();
    look("/sys/fs/cgroup".as_ref(), &format!("beget-{}-", std::process::id()), &mut found);
    found
}

/// Whoever asks pays: for each copy a group is made, which it is in before anything of the program goes on, and which ends with it.
#[test]
fn a_copy_pays_from_its_own_group() {
    in_own_process("warm::a_copy_pays_from_its_own_group", || {
        let Some(warm) = limited(probe(&["hold", "100"]), "a_copy_pays_from_its_own_group") else { return };
        let mut tight = Variation::new();
        tight.limit(Limit::Memory(32 << 20));
        let mut wide = Variation::new();
        wide.limit(Limit::Memory(400 << 20));
        for start in [Warm::start, Warm::start_made] {
            let ended = end(&start(&warm, &tight).expect("a copy"));
            assert_eq!(ended.exit_code(), 137, "{ended:?}");
            assert!(ended.tree.is_some_and(|tree| tree.memory_peak.is_some_and(|peak| peak <= 32 << 20)));
            let ended = end(&start(&warm, &wide).expect("a copy"));
            assert_eq!(ended.exit_code(), 0, "{ended:?}");
            let peak = ended.tree.and_then(|tree| tree.memory_peak).expect("it is known");
            assert!((100 << 20..400 << 20).contains(&peak), "{peak}");
            assert_eq!(groups(), Vec::<PathBuf>::new());
        }
        // A step that fails later leaves no group.
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let error = warm.start(wide.current_dir_fd(file)).expect_err("no directory");
        assert_eq!((error.part(), groups()), ("working directory", Vec::new()));
        let mut nobody = Variation::new();
        nobody.limit(Limit::Processes(1));
        assert_eq!(end(&warm.start(&nobody).expect("a copy")).exit_code(), 0);
        assert_eq!(groups(), Vec::<PathBuf>::new());
    });
}

/// A cgroup that is given is joined before anything of the program goes on; a child is born in it.
#[test]
fn a_cgroup_that_is_given_is_the_one_it_is_in() {
    let test = "a_cgroup_that_is_given_is_the_one_it_is_in";
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc is there");
    let unified = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2] == "cgroup2").then(|| words[1].to_owned())
    });
    let name = format!("test-{}", std::process::id());
    let made = unified.map(|mount| PathBuf::from(mount).join(&name));
    let Some(folder) = made.into_iter().find(|folder| std::fs::create_dir(folder).is_ok()) else {
        return skip(test, if is_root() { Need::Machine("cgroups of version 2") } else { Need::Root });
    };
    let warm = warm(probe(&["await", "7"]));
    let mut variation = Variation::new();
    variation.stdin(Stdio::piped()).cgroup(std::fs::File::open(&folder).expect("our own"));
    let cold: fn(&Warm, &Variation) -> Result<Process, Error> = |warm, given| warm.sealed.spawn(given, None);
    for start in [cold, Warm::start, Warm::start_made] {
        let mut process = start(&warm, &variation).expect("it starts");
        let members = std::fs::read_to_string(folder.join("cgroup.procs")).expect("our own");
        assert_eq!(members, format!("{}\n", process.id()));
        drop(process.stdin.take());
        assert_eq!(end(&process).exit_code(), 7);
    }
    std::fs::remove_dir(&folder).expect("it is empty");
}

/// A template can be made anew from what was sealed, when the program's name means another file.
#[test]
fn a_template_is_made_anew_from_what_was_sealed() {
    let scratch = Scratch::new();
    let path = scratch.at("program");
    std::fs::copy(program("probe"), &path).expect("a copy");
    let mut command = Command::new(&path);
    command.args(["say", "sealed"]).grant(Grant::Base).degrade(Promise::Memory);
    let mut warm = warm(command);
    assert_eq!(warm.said(&mut Variation::new()), fine("sealed\n"));
    std::fs::remove_file(&path).expect("our own");
    scratch.script("program", "#!/bin/sh\necho another\n");
    for _ in 0..3 {
        let Warm { sealed, template, _process } = warm;
        drop(template);
        end(&_process);
        let (process, template) = sealed.spawn_template(&Variation::new(), None).expect("a program to stop");
        let mut tracee = Tracee::seize(process).expect("it is traced");
        tracee.run_until_ready(&Ready::Entry, LONG).expect("it gets to its entry");
        let planted = tracee.plant().expect("a stub");
        warm = Warm { sealed, template, _process: tracee.serve(&planted).expect("it serves") };
        assert_eq!(warm.said(&mut Variation::new()), fine("sealed\n"));
    }
    assert!(warm.template.as_fd().as_raw_fd() > 2);
}

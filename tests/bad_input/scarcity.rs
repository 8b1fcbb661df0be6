//! No descriptors left, no processes, no memory; standard streams closed or full; a working directory that is gone.

use std::io::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use beget_tests::{Need, Scratch, beget, finish, is_root, program, skip, text};

use super::{refused, run, shell};

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> Result<(), Error> {
    let bounds = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: a structure on this stack.
    if unsafe { libc::setrlimit(resource, &raw const bounds) } == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// What `beget` may answer under scarcity: that it did it, or in one sentence that and why Beget could not.
fn done_or_told(output: &std::process::Output, why: &str, when: &str) -> bool {
    let said = text(&output.stderr);
    if output.status.code() == Some(0) {
        assert_eq!(said, "", "{when}");
        return true;
    }
    assert_eq!(output.status.code(), Some(125), "{when}: {said}");
    let (part, end) =
        said.strip_prefix("beget: ").and_then(|said| said.rsplit_once(": ")).unwrap_or(("", ""));
    assert!(!part.is_empty() && end.trim_end() == why && said.lines().count() == 1, "{when}: {said:?}");
    false
}

/// However many numbers are free, from none to enough.
#[test]
fn without_free_descriptors_it_says_which_part_wanted_one() {
    const MOST: u64 = 64;
    const MOST_NUMBERS: i32 = MOST as i32;
    let mut succeeded = 0;
    for free in 0..48 {
        let mut command = run(["--base", "--", "true"]);
        // SAFETY: only system calls that a forked child may make.
        unsafe {
            command.pre_exec(move || {
                for number in 3..MOST_NUMBERS - free {
                    libc::dup2(0, number);
                }
                libc::close_range((MOST_NUMBERS - free) as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
                limit(libc::RLIMIT_NOFILE, MOST)
            });
        }
        let when = format!("{free} free descriptors");
        succeeded += i32::from(done_or_told(&finish(&mut command), "too many open files", &when));
    }
    assert!(succeeded > 0 && succeeded < 48, "succeeded {succeeded} times");
}

#[test]
fn with_a_low_limit_on_descriptors_it_says_so() {
    for most in 4..40 {
        let mut command = run(["--base", "--", "true"]);
        // SAFETY: one system call that a forked child may make.
        unsafe { command.pre_exec(move || limit(libc::RLIMIT_NOFILE, most)) };
        let output = finish(&mut command);
        let said = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 125)), "{most}: {:?} {said}", output.status);
        let lines = if output.status.success() { 0 } else { 1 };
        assert_eq!(said.lines().filter(|line| line.starts_with("beget: ")).count(), lines, "{most}: {said}");
        assert_eq!(said.lines().count(), lines, "{most}: {said}");
    }
}

/// As a user whose processes are counted: nothing that root may do counts for root.
#[test]
fn without_a_process_left_it_says_so() {
    let scratch = Scratch::new();
    scratch.executable("beget", std::fs::read(program("beget-under-test")).unwrap());
    let mut command = Command::new(scratch.at("beget"));
    command.env_clear().args(["run", "--base", "--", "true"]);
    if is_root() {
        command.uid(12346).gid(12346);
    }
    // SAFETY: one system call that a forked child may make.
    unsafe { command.pre_exec(|| limit(libc::RLIMIT_NPROC, 1)) };
    refused(command, scratch.path(), 125, "process: resource temporarily unavailable");
}

/// From the least memory in which it can tell its version up to that in which it can start a program.
#[test]
fn without_memory_it_says_so() {
    const STEP: u64 = 16 << 10;
    let within = |words: &[&str], most: u64| {
        let mut command = beget();
        command.args(words).stdin(std::process::Stdio::null());
        // SAFETY: one system call that a forked child may make.
        unsafe { command.pre_exec(move || limit(libc::RLIMIT_AS, most)) };
        finish(&mut command)
    };
    let (mut least, mut enough) = (0, 1 << 30);
    while enough - least > STEP {
        let middle = least.midpoint(enough);
        if within(&["version"], middle).status.success() { enough = middle } else { least = middle }
    }
    for step in 0..1024 {
        let most = enough + step * STEP;
        let output = within(&["run", "--base", "--", "true"], most);
        if done_or_told(&output, "cannot allocate memory", &format!("{most} bytes")) {
            return assert!(step > 0, "memory was never scarce");
        }
    }
    panic!("16 MiB more than `version` needs are not enough");
}

#[test]
fn what_does_not_fit_into_an_execution_is_told() {
    let scratch = Scratch::new();
    let word = "x".repeat(100_000);
    let with = |count: usize| {
        let mut command = run(["--base", "--", "/bin/true"]);
        command.args(std::iter::repeat_n(&word, count));
        // Beget itself gets more than its child will have: a quarter of the stack, and that is 8 MiB.
        // SAFETY: one system call that a forked child may make.
        unsafe { command.pre_exec(|| limit(libc::RLIMIT_STACK, 64 << 20)) };
        command
    };
    if text(&shell("ulimit -Hs").stdout).trim() != "unlimited" {
        return skip(
            "what_does_not_fit_into_an_execution_is_told",
            Need::Machine("an unlimited hard limit on stacks"),
        );
    }
    assert_eq!(finish(&mut with(19)).status.code(), Some(0));
    refused(with(25), scratch.path(), 125, "program /bin/true: argument list too long");
    // One word alone that is longer than the kernel takes cannot even reach the command line; the library's tests have that.
}

#[test]
fn ten_thousand_variables_are_passed_on() {
    let mut command = run(["--base"]);
    command.args((0..10_000).flat_map(|number| ["--env".to_owned(), format!("V{number}")]));
    command.args(["--", "env"]).envs((0..10_000).map(|number| (format!("V{number}"), number.to_string())));
    let output = finish(&mut command);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let passed: std::collections::BTreeSet<String> =
        text(&output.stdout).lines().map(str::to_owned).collect();
    let mut expected: std::collections::BTreeSet<String> =
        (0..10_000).map(|number| format!("V{number}={number}")).collect();
    expected.insert("PATH=/usr/local/bin:/usr/bin:/bin".into());
    assert!(passed == expected, "{} variables arrived", passed.len());
}

#[test]
fn a_working_directory_that_is_gone_does_no_harm() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("gone")).unwrap();
    let script = format!(
        "cd {0} && rmdir {0} && {1} run --base -- pwd; {1} run --base --cwd ./no -- pwd; echo $?",
        scratch.at("gone"),
        program("beget-under-test").display(),
    );
    let output = shell(&script);
    assert_eq!(text(&output.stdout), "/\n125\n");
    assert_eq!(text(&output.stderr), "beget: working directory ./no: no such file or directory\n");
}

/// It needs no file of its own, so it asks for no place to put one.
#[test]
fn no_home_and_no_temporary_folder_do_no_harm() {
    let mut command = run(["--base", "--", "true"]);
    for name in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
        command.env(name, "/no/such/folder");
    }
    let output = finish(&mut command);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

/// The standard library puts `/dev/null` where a stream is closed; what the program gets then is no other file by accident.
#[test]
fn closed_standard_streams_do_no_harm() {
    let beget = program("beget-under-test");
    for (closing, expected) in [("<&-", "ended\n"), (">&-", ""), ("2>&-", "ended\n"), ("<&- >&- 2>&-", "")] {
        let script = format!("{} run --base -- sh -c 'echo ended; exit 9' {closing}", beget.display());
        let output = shell(&script);
        assert_eq!(output.status.code(), Some(9), "{closing}: {}", text(&output.stderr));
        assert_eq!(
            (text(&output.stdout).as_str(), text(&output.stderr).as_str()),
            (expected, ""),
            "{closing}"
        );
    }
    let script = format!("{} run --base -- no-such-program 2>&-", beget.display());
    assert_eq!(shell(&script).status.code(), Some(127));
}

/// A message that cannot be written is lost; the exit code is not.
#[test]
fn full_and_broken_outputs_do_no_harm() {
    let beget = program("beget-under-test");
    let table: &[(&str, i32)] = &[
        ("run --base -- no-such-program 2>/dev/full", 127),
        ("run --base -- / 2>/dev/full", 126),
        ("run --no-such-flag 2>/dev/full", 125),
        ("run --base --json -- true 2>/dev/full", 0),
        ("run --base --timeout 10ms -- sleep 9 2>/dev/full", 137),
        ("run --base -- sh -c 'true & exit 3' 2>/dev/full", 2),
    ];
    for (words, code) in table {
        let script = format!("{} {words}", beget.display());
        let output = shell(&script);
        assert_eq!(output.status.code(), Some(*code), "{words}");
    }
    for words in ["help", "version", "show", "show --json", "run --help"] {
        // Nobody reads any more: no failure, as with any command before `head`.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(&beget);
        let status =
            command.args(words.split(' ')).stdout(writer).stderr(std::process::Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(0), "{words}");
        // A full disk.
        let script = format!("{} {words} >/dev/full; echo $?", beget.display());
        let output = shell(&script);
        assert!(!text(&output.stderr).contains("panicked"), "{words}: {}", text(&output.stderr));
        assert_ne!(text(&output.stdout), "101\n", "{words}");
    }
}

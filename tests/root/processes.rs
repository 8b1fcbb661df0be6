//! The first process and those after it: orphans, signals, numbers, and every way to be started.

use std::io::BufRead;

use super::*;

/// Orphans of any depth are adopted and reaped: no zombie stays while the program lives.
#[test]
fn orphans_are_reaped() {
    let test = "orphans_are_reaped";
    if !has_python(test) {
        return;
    }
    let program = "import os, time
for _ in range(20):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(0.01)
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
def others(): return [n for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())]
until = time.monotonic() + 30
while others() and time.monotonic() < until: time.sleep(0.01)
print(others())";
    assert_eq!(in_python(&["--spawn"], program), "[]\n");
}

/// What an orphan's parent is: the first process, which cannot be signalled, traced or looked into.
#[test]
fn the_first_process_is_out_of_reach() {
    let test = "the_first_process_is_out_of_reach";
    if !has_python(test) {
        return;
    }
    let program = "import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
done = []
def attempt(name, call):
    try: result = call()
    except (OSError, PermissionError): return
    if result != -1: done.append(name)
for number in (1, -1):
    for one in (0, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL, signal.SIGCONT, 34):
        if number == 1: attempt(('kill', one), lambda: os.kill(1, one))
attempt('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL))
attempt('getfd', lambda: libc.syscall(438, os.pidfd_open(1), 0, 0))
for request in (16, 0x4206): attempt(('trace', request), lambda: libc.ptrace(request, 1, 0, 0))
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
attempt('read', lambda: libc.syscall(310, 1, vector, 1, vector, 1, 0))
attempt('setns', lambda: libc.setns(os.pidfd_open(1), 0x20000000))
attempt('limit', lambda: libc.syscall(302, 1, 7, (ctypes.c_uint64 * 2)(1, 1), None))
attempt('scheduler', lambda: libc.sched_setscheduler(1, 5, (ctypes.c_int * 1)(0)))
attempt('processors', lambda: os.sched_setaffinity(1, os.sched_getaffinity(1)) or 0)
attempt('nice', lambda: libc.setpriority(0, 1, 19))
attempt('input and output', lambda: libc.syscall(251, 1, 1, 3 << 13))
def look(name):
    file = os.open(name, os.O_RDWR if name.endswith('adj') else os.O_RDONLY)
    return len(os.read(file, 1))
for name in ('mem', 'maps', 'environ', 'syscall', 'stack', 'auxv', 'io', 'fd/0', 'root/etc', 'cwd/etc', 'exe', 'ns/mnt', 'map_files/0-1', 'oom_score_adj'):
    attempt(name, lambda: look('/proc/1/' + name))
for name in ('root', 'cwd', 'exe', 'fd/0', 'ns/mnt'): attempt(('link', name), lambda: len(os.readlink('/proc/1/' + name)))
print(done)";
    for flags in [&[][..], &["--spawn"], &["--uid", "0"]] {
        assert_eq!(in_python(flags, program), "[]\n", "{flags:?}");
    }
}

/// A `beget run` whose program has said that it is ready.
fn ready(flags: &[&str], script: &str) -> (std::process::Child, impl BufRead) {
    let mut command = beget();
    command.args(["run", "--base", "--root", "--spawn"]).args(flags).args(["--", "sh", "-c", script]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

#[test]
fn signals_to_the_launcher_reach_the_program() {
    if !has_root("signals_to_the_launcher_reach_the_program") {
        return;
    }
    let script = "trap 'echo hup' HUP; trap 'echo usr' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    for flags in [&[][..], &["--loader", "direct"]] {
        let (mut child, mut output) = ready(flags, script);
        for (signal, word) in [(libc::SIGHUP, "hup\n"), (libc::SIGUSR1, "usr\n"), (libc::SIGTERM, "term\n")] {
            // SAFETY: a child of ours that has not been waited for.
            assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, word, "{flags:?}");
        }
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}

/// Numbers are told as they are outside, by the library and by the command.
#[test]
fn numbers_are_those_of_outside() {
    if !has_root("numbers_are_those_of_outside") {
        return;
    }
    for direct in [false, true] {
        let mut command = command("sleep");
        command.arg("1000").grant(Grant::Spawn);
        if direct {
            command.loader(beget::Loader::Direct);
        }
        let child = command.spawn().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        let numbers: Vec<u32> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers.first(), Some(&child.id()), "{status}");
        assert!(numbers.len() >= 2 && numbers.last().is_some_and(|inside| *inside < 10), "{status}");
        child.kill().unwrap();
        assert_eq!(child.wait_timeout(LONG).unwrap().expect("it ends").exit_code(), 128 + 9);
    }
    let (mut child, _) = ready(&["--json"], "echo ready; sleep 1000");
    // SAFETY: a child of ours that has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    child.wait().unwrap();
}

#[test]
fn a_suspended_program_is_told_by_its_number_outside() {
    if !has_root("a_suspended_program_is_told_by_its_number_outside") {
        return;
    }
    for flags in [&[][..], &["--loader", "direct"]] {
        let mut command = beget();
        command
            .args(["run", "--base", "--root", "--suspend"])
            .args(flags)
            .args(["--", "sh", "-c", "exit 42"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut errors, mut line) = (std::io::BufReader::new(child.stderr.take().unwrap()), String::new());
        errors.read_line(&mut line).unwrap();
        let number = line
            .strip_prefix("beget: suspended: process ")
            .and_then(|rest| rest.split(';').next())
            .expect(&line);
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap();
        assert!(status.contains("State:\tT"), "{status}");
        // SAFETY: the program of a child of ours, which waits.
        assert_eq!(unsafe { libc::kill(number.parse().unwrap(), libc::SIGCONT) }, 0);
        assert_eq!(child.wait().unwrap().code(), Some(42), "{flags:?}");
    }
}

#[test]
fn every_way_to_be_started_goes_with_it() {
    if !has_root("every_way_to_be_started_goes_with_it") {
        return;
    }
    let ways: [&[&str]; 7] = [
        &["--only"],
        &["--loader", "direct"],
        &["--loader", "direct", "--only"],
        &["--spawn", "--memory", "512M", "--degrade", "memory"],
        &["--as-if", "landlock=none"],
        &["--as-if", "landlock=3"],
        &["--net"],
    ];
    for flags in ways {
        let (code, out, errors) = rooted(flags, &["sh", "-c", "echo hello"]);
        assert_eq!((code, out.as_str()), (Some(0), "hello\n"), "{flags:?}: {errors}");
    }
    let (code, out, _) = rooted(&["--spawn", "--timeout", "300ms"], &["sh", "-c", "echo before; sleep 1000"]);
    assert_eq!((code, out.as_str()), (Some(137), "before\n"));
}

/// A terminal of outside that is given has one name inside; its number among those of outside means nothing.
#[test]
fn a_given_terminal_is_the_console() {
    if !has_root("a_given_terminal_is_the_console") {
        return;
    }
    let script = "tty; test -t 0 && test -t 1 && echo both; echo there > /dev/tty; ls /dev/pts";
    let (code, out, errors) = in_shell(&["--pty"], script);
    assert_eq!(
        (code, out.replace('\r', "").as_str()),
        (Some(0), "/dev/console\nboth\nthere\nptmx\n"),
        "{errors}"
    );
}

/// The working directory is one of the inside.
#[test]
fn it_works_where_it_was_told_to() {
    if !has_root("it_works_where_it_was_told_to") {
        return;
    }
    let scratch = Scratch::new();
    let folder = path(scratch.path());
    assert_eq!(rooted(&[], &["pwd"]), fine("/\n"));
    assert_eq!(rooted(&["--read", folder, "--cwd", folder], &["pwd"]), fine(&format!("{folder}\n")));
    assert_eq!(rooted(&["--cwd", "/tmp"], &["pwd"]), fine("/tmp\n"));
    assert_eq!(rooted(&["--dir", "/a/b", "--symlink", "/c=a/b", "--cwd", "/c"], &["pwd"]), fine("/a/b\n"));
    let (code, _, errors) = rooted(&["--cwd", folder], &["pwd"]);
    let words = format!("beget: working directory {folder} in its private root: no such file or directory\n");
    assert_eq!((code, errors), (Some(125), words));
}

/// A tree that ends by itself ends whole, and one that is told to ends at once.
#[test]
fn a_tree_of_the_library_ends() {
    let test = "a_tree_of_the_library_ends";
    if !has_root(test) {
        return;
    }
    beget_tests::in_own_process("processes::a_tree_of_the_library_ends", || {
        let mark = beget_tests::mark();
        let start = || {
            let mut command = command("sh");
            let script = "setsid sleep 1000 & (setsid sh -c 'sleep 1000; :' \"$0\" &) & sleep 0.05; echo ready; sleep 1000; :";
            command.args(["-c", script, &mark]).grant(Grant::Spawn).stdout(beget::Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            assert!(!beget_tests::marked(&mark).is_empty());
            child
        };
        let before = beget_tests::descriptors();
        let child = start();
        child.kill_tree().unwrap();
        assert_eq!(child.wait_timeout(LONG).unwrap().expect("it ends").exit_code(), 128 + 9);
        assert_eq!(beget_tests::marked(&mark), [], "at once, not later");
        drop(child);
        let child = start();
        drop(child);
        assert_eq!(beget_tests::marked(&mark), [], "with its handle");
        let child = start();
        child.kill().unwrap();
        assert_eq!(child.wait_timeout(LONG).unwrap().expect("it ends").exit_code(), 128 + 9);
        drop(child);
        assert_eq!(beget_tests::marked(&mark), []);
        assert_eq!(beget_tests::children().len(), 0);
        let gone: Vec<String> = beget_tests::descriptors().difference(&before).cloned().collect();
        assert!(gone.iter().all(|one| one.contains("memfd:") || one.contains("beget")), "{gone:?}");
    });
}

/// `own_tree` is said already, and may be said again.
#[test]
fn a_root_is_a_tree_of_its_own() {
    if !has_root("a_root_is_a_tree_of_its_own") {
        return;
    }
    let mut command = command("echo");
    let output = command.arg("hello").own_tree(true).output().unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    // A command is used again, each time with a root of its own.
    for _ in 0..3 {
        assert_eq!(text(&command.output().unwrap().stdout), "hello\n");
    }
    let mut command = self::command("true");
    let children: Vec<_> = (0..8).map(|_| command.spawn().unwrap()).collect();
    for child in &children {
        assert_eq!(child.wait_timeout(LONG).unwrap().expect("it ends").exit_code(), 0);
    }
}

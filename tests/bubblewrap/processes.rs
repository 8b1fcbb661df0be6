//! Processes: the first one, namespaces, capabilities, filters, and whose end ends them.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// The first process of the root is Beget's: it adopts and reaps what is left. The program is the second.
#[test]
fn the_first_process_reaps() {
    if !has_root("the_first_process_reaps") {
        return;
    }
    let script = "echo $$; (sh -c 'sleep 0.1 & exec true' &); sleep 0.5; for s in /proc/[0-9]*/stat; do grep ' Z ' $s; done; true";
    assert_eq!(in_shell(&[], script), fine("2\n"));
}

#[test]
fn namespaces_are_its_own() {
    if !has_root("namespaces_are_its_own") {
        return;
    }
    for name in ["ipc", "mnt", "net", "pid", "uts", "user", "cgroup"] {
        let (code, out, _) = in_shell(&[], &format!("readlink /proc/self/ns/{name}"));
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(code == Some(0) && out.starts_with(&format!("{name}:[")), "{out}");
        assert_ne!(out.trim(), own.to_str().unwrap());
    }
}

/// Always, and whatever limits are set inside.
#[test]
fn no_further_user_namespace_is_made() {
    if !has_root("no_further_user_namespace_is_made") {
        return;
    }
    for before in ["true", "echo 100 > /proc/sys/user/max_user_namespaces"] {
        let script = format!("({before}) 2>/dev/null; unshare -U true 2>/dev/null && echo made; true");
        assert_eq!(in_shell(&[], &script), fine(""), "{before}");
    }
    assert_ne!(ran(&["run", "--base", "--spawn", "--", "unshare", "-U", "true"]).0, Some(0));
}

/// Beget in Beget narrows without a root of its own, which would want a namespace; with one it says so.
#[test]
fn a_root_in_a_root_is_refused_and_said() {
    if !has_root("a_root_in_a_root_is_refused_and_said") {
        return;
    }
    let beget = beget_tests::program("beget-under-test");
    let beget = beget.to_str().unwrap();
    let inside =
        |words: &[&str]| rooted(&["--spawn", "--exec", beget], &[&[beget, "run", "--base"], words].concat());
    assert_eq!(inside(&["--", "echo", "hello"]).1, "hello\n");
    let (code, out, errors) = inside(&["--root", "--", "echo", "hello"]);
    assert_eq!((code, out.as_str()), (Some(125), ""));
    assert!(errors.contains("beget: promise root: user namespaces are refused"), "{errors}");
}

#[test]
fn there_are_no_capabilities() {
    if !has_root("there_are_no_capabilities") {
        return;
    }
    for flags in [&[][..], &["--uid", "0", "--gid", "0"]] {
        let (code, out, _) =
            rooted(flags, &["grep", "-E", "^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):", "/proc/self/status"]);
        let values: Vec<&str> = out.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        let none = "0000000000000000";
        assert_eq!((code, values), (Some(0), vec![none, none, none, none, "1"]));
    }
}

/// The end of whoever started `beget` is not its business, unless it is asked to heed it; its own end ends the program.
#[test]
fn the_program_ends_with_its_launchers_parent() {
    let test = "the_program_ends_with_its_launchers_parent";
    for needed in ["python3", "setpriv"] {
        if !beget_tests::has(needed) {
            return skip(test, Need::Program(needed));
        }
    }
    let has_root = has_root(test);
    for flags in [&[][..], &["--root"]].iter().take(if has_root { 2 } else { 1 }) {
        let scratch = Scratch::new();
        let (folder, path) = (scratch.at(""), scratch.file("lock", ""));
        let hold = format!(
            "import fcntl, time; f = open('{path}', 'w'); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(1000)"
        );
        let beget = beget_tests::program("beget-under-test");
        let mut shell = Command::new("sh")
            .args(["-c", "setpriv --pdeathsig KILL -- \"$@\" & wait", "sh"])
            .arg(beget)
            .args(["run", "--base", "--write", &folder])
            .args(*flags)
            .args(["--", "python3", "-c", &hold])
            .stdin(Stdio::null())
            .spawn()
            .expect("a shell");
        let file = File::open(&path).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        let wait = |locked: bool| {
            while file.try_lock().is_err() != locked {
                assert!(Instant::now() < until, "the lock is not {}", if locked { "taken" } else { "free" });
                file.unlock().unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait(true);
        shell.kill().unwrap();
        shell.wait().unwrap();
        wait(false);
    }
}

/// None is put on from outside; the program may narrow itself further.
#[test]
fn a_program_may_put_on_a_filter_of_its_own() {
    let test = "a_program_may_put_on_a_filter_of_its_own";
    if !beget_tests::has("python3") {
        return skip(test, Need::Program("python3"));
    }
    // Answers getppid with EDOM and allows the rest.
    let program = "
import ctypes, os, struct
def op(code, jt, jf, k): return struct.pack('HBBI', code, jt, jf, k)
code = op(0x20, 0, 0, 0) + op(0x15, 0, 1, 110) + op(0x06, 0, 0, 0x00050000 | 33) + op(0x06, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(code)
prog = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.prctl(22, 2, ctypes.c_ulong(ctypes.addressof(prog)), 0, 0), libc.syscall(110), ctypes.get_errno())
";
    assert_eq!(ran(&["run", "--base", "--", "python3", "-c", program]), fine("0 -1 33\n"));
}

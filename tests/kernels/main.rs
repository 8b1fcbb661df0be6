//! Older kernels: under a mask that feigns Landlock ABI 1 to 7 and none, each promise is kept by its next mechanism, or the spawn
//! fails and names what is missing. The mask only takes away, so every answer here is one that the real kernel gave.

use std::os::unix::net::UnixDatagram;

use beget::{Command, Grant, Promise, Stdio, Support};
use beget_tests::{Need, Scratch, program, run, skip, text};

/// Every ABI that this kernel can feign, and none.
fn masks() -> Vec<Option<u32>> {
    let have = Support::detect().landlock.unwrap_or(0).min(7);
    std::iter::once(None).chain((1..=have).map(Some)).collect()
}

fn support(mask: Option<u32>) -> Support {
    Support::detect().with_landlock_at_most(mask)
}

/// A probe that holds `--base` and its report, on a kernel like that; without Landlock, files are given up.
fn probe(mask: Option<u32>, words: &[&str]) -> Command {
    let mut command = Command::new(program("probe"));
    command
        .args(words)
        .grant(Grant::Base)
        .support(support(mask))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    give_up(&mut command, mask);
    command
}

/// What nothing keeps without Landlock: whoever may open any file writes `/proc/PID/mem`, and so does all that another may do.
const WITHOUT_LANDLOCK: [Promise; 4] =
    [Promise::Files, Promise::Truncation, Promise::Tracing, Promise::Signals];

fn give_up(command: &mut Command, mask: Option<u32>) {
    for promise in WITHOUT_LANDLOCK.into_iter().filter(|_| mask.is_none()) {
        command.degrade(promise);
    }
}

#[test]
fn without_landlock_nothing_is_started_unless_files_are_given_up() {
    let refused = run(&["run", "--as-if", "landlock=none", "--base", "--", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    let words = text(&refused.stderr);
    assert!(words.starts_with("beget: promise files: needs Landlock"), "{words}");
    let all = "--degrade files --degrade truncation --degrade tracing --degrade signals";
    assert!(words.contains(all) && words.contains("5.13"), "{words}");
    // Files alone are not given up: what rests on them would be, in silence.
    let part = run(&["run", "--as-if", "landlock=none", "--degrade", "files", "--base", "--", "true"]);
    assert_eq!(part.status.code(), Some(125));
    assert!(text(&part.stderr).contains("promise truncation: "), "{}", text(&part.stderr));

    let words: Vec<&str> =
        ["run", "--as-if", "landlock=none", "--base"].into_iter().chain(all.split(' ')).collect();
    let degraded = run(&[&words, &["--", "true"][..]].concat());
    assert_eq!(degraded.status.code(), Some(0), "{}", text(&degraded.stderr));
}

#[test]
fn each_promise_names_a_mechanism_or_was_given_up() {
    for mask in masks() {
        let description = probe(mask, &["exit", "0"]).describe().expect("everything asked for is there");
        for line in &description.enforced {
            let given_up = mask.is_none() && WITHOUT_LANDLOCK.contains(&line.promise);
            assert_eq!(line.by.is_none(), given_up, "{mask:?}: {line:?}");
        }
        let by = |promise| {
            description.enforced.iter().find(|line| line.promise == promise).and_then(|line| line.by)
        };
        let abi = mask.unwrap_or(0);
        assert_eq!(by(Promise::Signals).is_some_and(|by| by.contains("scope")), abi >= 6, "{mask:?}");
        assert_eq!(
            by(Promise::Truncation).is_some_and(|by| by.starts_with("Landlock")),
            abi >= 3,
            "{mask:?}"
        );
        assert_eq!(by(Promise::Devices).is_some_and(|by| by.starts_with("Landlock")), abi >= 5, "{mask:?}");
    }
}

#[test]
fn signals_with_processes_need_scopes() {
    for mask in masks() {
        let mut command = probe(mask, &["exit", "0"]);
        let outcome = command.grant(Grant::Spawn).spawn();
        if mask.is_none_or(|abi| abi >= 6) {
            outcome.expect("scopes keep signals inside, or they were given up").wait().expect("it ends");
        } else {
            let error = outcome.expect_err("no mechanism is left").to_string();
            assert!(
                error.contains("promise signals: needs Landlock ABI 6 (Linux 6.12)"),
                "{mask:?}: {error}"
            );
            let mut degraded = probe(mask, &["exit", "0"]);
            let ended =
                degraded.grant(Grant::Spawn).degrade(Promise::Signals).status().expect("given up by name");
            assert!(ended.status.success());
        }
    }
}

#[test]
fn ports_need_abi_4() {
    for mask in masks() {
        let outcome = probe(mask, &["exit", "0"]).grant(Grant::TcpConnect(9)).spawn();
        match outcome {
            Ok(mut process) => {
                assert!(mask.unwrap_or(0) >= 4, "{mask:?}");
                process.wait().expect("it ends");
            }
            Err(error) => {
                assert!(mask.unwrap_or(0) < 4, "{mask:?}");
                assert!(error.to_string().contains("promise tcp-ports: needs Landlock ABI 4 (Linux 6.7)"));
            }
        }
    }
}

/// A file of the same user, not granted and granted only to read, stays as it is on every kernel: by opening, by `truncate`, and by
/// opening to read with O_TRUNC, which Landlock sees only from ABI 3.
#[test]
fn files_are_neither_written_nor_truncated() {
    const ATTEMPT: &str = "import os,sys
def attempt(f):
    try: f(); print('open')
    except OSError as e: print('closed')
for path in sys.argv[1:]:
    attempt(lambda: os.truncate(path, 1))
    attempt(lambda: os.open(path, os.O_RDONLY | os.O_TRUNC))
    attempt(lambda: os.open(path, os.O_WRONLY))
    attempt(lambda: os.unlink(path))
";
    if !beget_tests::has("python3") {
        return skip("files_are_neither_written_nor_truncated", Need::Program("python3"));
    }
    for mask in masks().into_iter().flatten() {
        let scratch = Scratch::new();
        let (granted, other) = (scratch.file("granted", "whole"), scratch.file("other", "whole"));
        let mut command = Command::new("python3");
        command
            .args(["-c", ATTEMPT, &granted, &other])
            .grant(Grant::Base)
            .grant(Grant::Read(granted.clone().into()));
        let output = command.support(support(Some(mask))).output().expect("python starts");
        assert_eq!(text(&output.stdout), "closed\n".repeat(8), "ABI {mask}: {}", text(&output.stderr));
        for path in [granted, other] {
            assert_eq!(std::fs::read(&path).expect("it is still there"), b"whole", "ABI {mask}");
        }
    }
}

/// A witness outside: no signal arrives, whatever the call answers.
#[test]
fn no_signal_leaves_on_any_kernel() {
    const ATTEMPT: &str = "import os,signal,sys,fcntl
pid = int(sys.argv[1])
def attempt(f):
    try: f()
    except OSError: pass
attempt(lambda: os.kill(pid, signal.SIGUSR1))
attempt(lambda: os.killpg(os.getpgid(pid), signal.SIGUSR1))
attempt(lambda: os.setpgid(0, os.getpgid(pid)))
attempt(lambda: os.kill(0, signal.SIGUSR1) if os.getpgid(0) == os.getpgid(pid) else None)
r, w = os.pipe()
def by_owner():
    fcntl.fcntl(r, fcntl.F_SETOWN, pid)
    fcntl.fcntl(r, 10, signal.SIGUSR1)
    fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)
    os.write(w, b'x')
attempt(by_owner)
if hasattr(signal, 'pidfd_send_signal'):
    attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGUSR1))
os.kill(os.getpid(), 0)
print('tried')
";
    if !beget_tests::has("python3") {
        return skip("no_signal_leaves_on_any_kernel", Need::Program("python3"));
    }
    for mask in masks() {
        // SIGUSR1 ends a program that does nothing about it: the witness is whether the victim still runs.
        let mut victim = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let mut command = Command::new("python3");
        command.args(["-c", ATTEMPT, &victim.id().to_string()]).grant(Grant::Base).support(support(mask));
        give_up(&mut command, mask);
        let output = command.output().expect("python starts");
        let untouched = victim.try_wait().expect("our own child").is_none();
        victim.kill().and_then(|()| victim.wait()).expect("our own child");
        assert_eq!(text(&output.stdout), "tried\n", "{mask:?}: {}", text(&output.stderr));
        assert!(untouched, "{mask:?}: the signal arrived");
    }
}

#[test]
fn abstract_sockets_outside_stay_outside() {
    const ATTEMPT: &str = "import socket,sys
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    try: s = socket.socket(socket.AF_UNIX, kind); s.connect('\\0' + sys.argv[1]); s.send(b'out')
    except OSError as e: print(e.errno)
a, b = socket.socketpair()
try: a.sendto(b'out', '\\0' + sys.argv[1])
except OSError as e: print('pair')
";
    if !beget_tests::has("python3") {
        return skip("abstract_sockets_outside_stay_outside", Need::Program("python3"));
    }
    use std::os::linux::net::SocketAddrExt;
    for mask in masks() {
        let name = format!("beget-test-{}-{mask:?}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a short name");
        let witness = UnixDatagram::bind_addr(&address).expect("a new name");
        witness.set_nonblocking(true).expect("our own socket");
        let mut command = Command::new("python3");
        command.args(["-c", ATTEMPT, &name]).grant(Grant::Base).support(support(mask));
        give_up(&mut command, mask);
        let output = command.output().expect("python starts");
        assert_eq!(text(&output.stdout), "97\n97\npair\n", "{mask:?}: {}", text(&output.stderr));
        assert!(witness.recv(&mut [0; 8]).is_err(), "{mask:?}: a datagram came out");
    }
}

#[test]
fn devices_opened_from_a_grant_are_not_controlled() {
    if !beget_tests::has("python3") {
        return skip("devices_opened_from_a_grant_are_not_controlled", Need::Program("python3"));
    }
    // RNDGETENTCNT, which anybody may ask of the random device.
    const ATTEMPT: &str = "import fcntl
f = open('/dev/urandom')
try: fcntl.ioctl(f, 0x80045200, b'1234'); print('open')
except OSError as e: print(e.errno)
import os; r, w = os.pipe(); os.write(w, b'xy'); print(int.from_bytes(fcntl.ioctl(r, 0x541b, b'    '), 'little'))
";
    for mask in masks().into_iter().flatten() {
        let mut command = Command::new("python3");
        let output = command
            .args(["-c", ATTEMPT])
            .grant(Grant::Base)
            .support(support(Some(mask)))
            .output()
            .expect("python starts");
        assert_eq!(text(&output.stdout), "13\n2\n", "ABI {mask}: {}", text(&output.stderr));
    }
}

/// Where no memory can be executed as a file (`vm.memfd_noexec`), or there is none, the stub is executed from a file without a name.
#[test]
fn without_executable_memory_there_are_nurseries() {
    use std::os::unix::process::CommandExt;
    for errno in [libc::EACCES, libc::ENOSYS] {
        let mut command = beget_tests::beget();
        command.args(["run", "--base", "--loader", "direct", "--", "sh", "-c", "echo $((6*7))"]);
        // SAFETY: only system calls that a forked child may make.
        unsafe {
            command.pre_exec(move || {
                let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
                let filter = [
                    statement(0x20, 0),
                    libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_memfd_create as u32 },
                    statement(0x06, 0x0005_0000 | errno as u32),
                    statement(0x06, 0x7fff_0000),
                ];
                let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                match libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let output = beget_tests::finish(&mut command);
        assert_eq!(
            (text(&output.stdout).as_str(), text(&output.stderr).as_str()),
            ("42\n", ""),
            "errno {errno}"
        );
    }
}

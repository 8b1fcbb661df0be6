//! `beget run --suspend`: a program that has run nothing, until somebody continues it or ends it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use beget_tests::{beget, text};

use crate::fixtures::c;
use crate::lacks;

const SOURCE: &str = r#"
#include <stdio.h>
__attribute__((constructor)) static void early(void) { printf("early\n"); }
__attribute__((noinline)) int inner(int count) { return count * 2; }
int main(int count, char **arguments) {
    printf("ran %d %s\n", inner(count), arguments[count - 1]);
    return 7;
}
"#;
pub(crate) const PRINTED: &str = "early\nran 4 word\n";

/// A suspended program, and the Beget beside it.
pub(crate) struct Suspended {
    beget: Child,
    told: BufReader<ChildStderr>,
    pub(crate) number: i32,
}

impl Suspended {
    pub(crate) fn start(loader: &str, flags: &[&str], program: &str) -> Suspended {
        let mut command = beget();
        command.args(["run", "--base", "--suspend", "--timeout", "25s", "--loader", loader]).args(flags);
        command.args(["--", program, "word"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut beget = command.spawn().expect("it can be started");
        let mut told = BufReader::new(beget.stderr.take().expect("a pipe"));
        let mut line = String::new();
        told.read_line(&mut line).expect("it tells");
        let number = line.strip_prefix("beget: suspended: process ").and_then(|rest| rest.split_once("; "));
        let number =
            number.and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("{loader}: {line}"));
        Suspended { beget, told, number }
    }

    fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.number)).unwrap_or_default()
    }

    fn state(&self) -> String {
        let stat = self.proc("stat");
        stat.rsplit_once(") ").map_or(String::new(), |(_, rest)| rest[..1].to_owned())
    }

    pub(crate) fn signal(&self, number: i32, signal: i32) {
        // SAFETY: our own child, or the one that it told.
        assert_eq!(unsafe { libc::kill(number, signal) }, 0);
    }

    /// Waits for the end: the code as a shell has it, what was printed, what was told after the first line.
    pub(crate) fn ends(mut self) -> (i32, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.beget.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
        self.told.read_to_string(&mut err).expect("text");
        let status = self.beget.wait().expect("our own child");
        assert!(!Path::new(&format!("/proc/{}", self.number)).exists(), "it is left");
        (status.code().unwrap_or(128 + status.signal().unwrap_or(0)), out, err)
    }

    #[track_caller]
    pub(crate) fn ends_well(self) {
        assert_eq!(self.ends(), (7, PRINTED.to_owned(), String::new()));
    }
}

/// By both loaders, linked in both ways.
pub(crate) fn each(test: &str, body: impl Fn(&str, &str)) {
    if lacks(test, &["gcc"]) {
        return;
    }
    for link in ["-pie", "-static"] {
        let program = c(SOURCE, &["-O0", link]);
        for loader in ["kernel", "direct"] {
            body(loader, &program);
        }
    }
}

#[test]
fn it_has_run_nothing_and_goes_on() {
    each("it_has_run_nothing_and_goes_on", |loader, program| {
        let suspended = Suspended::start(loader, &[], program);
        assert_eq!(suspended.state(), "T", "{loader}");
        assert_eq!(suspended.proc("cmdline"), format!("{program}\0word\0"), "{loader}");
        let name = Path::new(program).file_name().and_then(|name| name.to_str()).expect("text");
        assert_eq!(suspended.proc("comm").trim_end(), name, "{loader}");
        let ps = Command::new("ps").args(["-o", "comm=,args=", "-p", &suspended.number.to_string()]).output();
        let ps = text(&ps.expect("ps is there").stdout);
        assert_eq!(ps.split_whitespace().collect::<Vec<_>>(), [name, program, "word"], "{loader}");
        let executable =
            std::fs::read_link(format!("/proc/{}/exe", suspended.number)).expect("our own child");
        // Only privilege may say what it is; without, it is the stub's for a program that was loaded directly.
        if loader == "kernel" || beget_tests::is_root() {
            assert_eq!(executable, Path::new(program), "{loader}");
        }
        // It has no library yet, and its data is as in its file.
        assert!(!suspended.proc("maps").contains("libc.so"), "{loader}");
        suspended.signal(suspended.number, libc::SIGCONT);
        suspended.ends_well();
    });
}

#[test]
fn it_can_be_ended_instead() {
    each("it_can_be_ended_instead", |loader, program| {
        let suspended = Suspended::start(loader, &[], program);
        suspended.signal(suspended.number, libc::SIGKILL);
        let (code, out, _) = suspended.ends();
        assert_eq!((code, out.as_str()), (137, ""), "{loader}");

        let suspended = Suspended::start(loader, &["--timeout", "1s"], program);
        let (code, out, told) = suspended.ends();
        assert!(
            code == 137 && out.is_empty() && told.contains("limit --timeout"),
            "{loader}: {code} {out} {told}"
        );

        // Beget itself killed: nothing stays that nobody would ever continue.
        let suspended = Suspended::start(loader, &[], program);
        suspended.signal(suspended.beget.id() as i32, libc::SIGKILL);
        let folder = format!("/proc/{}", suspended.number);
        let until = Instant::now() + Duration::from_secs(20);
        while Path::new(&folder).exists() {
            assert!(Instant::now() < until, "{loader}: it stays when Beget is killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (code, out, _) = suspended.ends();
        assert_eq!((code, out.as_str()), (137, ""), "{loader}");
    });
}

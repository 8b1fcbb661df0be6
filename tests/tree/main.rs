//! `beget run` ends the whole tree, however the program made it and however it ends itself.
//!
//! Whatever these programs start ends by itself within 25 seconds, also if Beget is broken. Each of them carries a number in its
//! arguments by which it is found from outside.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use beget_tests::{Need, Scratch, beget, has, marked, skip};

/// A number of seconds, 25 and a little, that no other process on this machine sleeps for.
fn seconds() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("25.{:010}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

struct Tree {
    beget: Child,
    /// Held here, for waiting would close it, and the program may be waiting for it to be closed.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    mark: String,
}

impl Tree {
    /// Starts a shell on `script`, in which `SLEEP` stands for a command that sleeps; returns when something says that it is
    /// ready.
    fn start(flags: &[&str], script: &str) -> Tree {
        let mark = seconds();
        let script = script.replace("SLEEP", &format!("sleep {mark}"));
        let mut command = beget();
        command.args(["run", "--base", "--spawn"]).args(flags).args(["--", "sh", "-c", &script, "sh", &mark]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{script}");
        Tree { input: child.stdin.take(), beget: child, output, mark }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.beget.id() as i32, signal) }, 0);
    }

    /// Lets a program that waits for a line of input go on.
    fn go_on(&mut self) {
        drop(self.input.take());
    }

    /// How many there are now, Beget itself not counted.
    fn size(&self) -> usize {
        marked(&self.mark).into_iter().filter(|number| *number != self.beget.id()).count()
    }

    /// Waits until Beget ends: with this code, and nothing of the tree is there any more, not a moment later.
    fn ends(mut self, code: i32, script: &str) {
        let status = self.beget.wait().unwrap();
        assert_eq!(marked(&self.mark), Vec::<u32>::new(), "{script}: left behind");
        assert_eq!(status.code(), Some(code), "{script}");
        // Nobody holds the output either.
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{script}");
    }
}

/// A failed test, too, leaves nothing: what was stopped would not end by itself.
impl Drop for Tree {
    fn drop(&mut self) {
        for number in marked(&self.mark) {
            // SAFETY: sends a signal; the number is that of a process that carries the mark of this tree alone.
            unsafe { libc::kill(number as i32, libc::SIGKILL) };
        }
        let _ = self.beget.wait();
    }
}

/// Ways to leave something behind. Each ends in something that says that it is ready, and sleeps.
const LEFT: &[&str] = &[
    // In the background.
    "(echo ready; exec SLEEP) &",
    // Orphaned, and orphaned twice.
    "( (echo ready; exec SLEEP) & ) &",
    "( ( ( (echo ready; exec SLEEP) & ) & ) & ) &",
    // In sessions of their own.
    "setsid sh -c 'echo ready; exec SLEEP' &",
    "setsid sh -c '(setsid sh -c \"echo ready; exec SLEEP\" &) &' &",
    // Deaf to every signal that can be ignored.
    "(trap '' HUP INT QUIT TERM USR1 USR2 PIPE ALRM; echo ready; SLEEP) &",
    "setsid sh -c 'trap \"\" HUP INT TERM; (trap \"\" HUP INT TERM; echo ready; SLEEP; :) & SLEEP; :' &",
    // Stopped.
    "SLEEP & kill -STOP $!; echo ready;",
    "setsid sh -c '(SLEEP) & kill -STOP $!; echo ready; kill -STOP $$' &",
    // With its own streams closed, or a pipe between them.
    "(SLEEP <&- >&- 2>&- & echo ready) &",
    "(echo ready; SLEEP) | cat & ",
];

/// Tries each of them, all at once.
fn each(test: &str, body: impl Fn(&str) + Sync) {
    if !has("setsid") {
        return skip(test, Need::Program("setsid"));
    }
    let body = &body;
    std::thread::scope(|scope| {
        for left in LEFT {
            scope.spawn(move || body(left));
        }
    });
}

#[test]
fn what_the_program_leaves_ends_when_it_ends() {
    each("what_the_program_leaves_ends_when_it_ends", |left| {
        let script = format!("{left} read x; exit 5");
        let mut tree = Tree::start(&[], &script);
        assert!(tree.size() > 1, "{script}: nothing was left that could have been ended");
        tree.go_on();
        tree.ends(5, &script);
    });
}

#[test]
fn what_the_program_leaves_ends_when_it_is_interrupted() {
    each("what_the_program_leaves_ends_when_it_is_interrupted", |left| {
        let script = format!("{left} read x; exit 5");
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let tree = Tree::start(&[], &script);
            tree.signal(signal);
            tree.ends(128 + signal, &script);
        }
    });
}

#[test]
fn what_the_program_leaves_ends_when_its_time_is_up() {
    each("what_the_program_leaves_ends_when_its_time_is_up", |left| {
        let script = format!("trap '' TERM INT; {left} read x; exit 5");
        Tree::start(&["--timeout", "3s"], &script).ends(137, &script);
    });
}

#[test]
fn what_the_program_leaves_ends_when_it_dies() {
    for signal in ["KILL", "SEGV", "ABRT"] {
        let script = format!("(SLEEP &) ; echo ready; kill -{signal} $$");
        let code = match signal {
            "KILL" => 137,
            "SEGV" => 139,
            _ => 134,
        };
        Tree::start(&[], &script).ends(code, &script);
    }
}

/// Each generation starts the next; the program is the first of them.
fn generations(scratch: &Scratch, then: &str) -> String {
    let file = scratch.at("generation");
    let contents = format!(
        "#!/bin/sh\nif [ $2 -gt 0 ]; then \"$0\" $1 $(($2-1)) & {then}; fi\necho ready\nexec sleep $1\n"
    );
    scratch.executable("generation", contents);
    file
}

#[test]
fn fifty_generations_end() {
    let scratch = Scratch::new();
    // All alive, then each an orphan of the one before.
    for then in ["wait", "exit"] {
        let file = generations(&scratch, then);
        let script = format!("{file} $1 50 & read x; exit 5");
        let mut tree = Tree::start(&["--exec", scratch.path().to_str().unwrap()], &script);
        // One that is just executing its next program has no arguments to be found by.
        let expected = if then == "wait" { 50 } else { 2 };
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while tree.size() < expected {
            assert!(std::time::Instant::now() < until, "{then}: only {} are there", tree.size());
        }
        tree.go_on();
        tree.ends(5, &script);
    }
}

/// While it still grows. It is one of 258 at most, and ends by itself.
#[test]
fn a_small_fork_bomb_ends() {
    let bomb =
        "f() { if [ $1 = 0 ]; then exec SLEEP; fi; for i in 1 2 3 4 5 6; do f $(($1-1)) & done; wait; }; ";
    for (script, code) in [
        ("f 3 & echo ready; exit 6", 6),
        ("f 3 & echo ready; kill -9 $$", 137),
        ("trap '' TERM; echo ready; f 3; exit 6", 137),
    ] {
        let script = format!("{bomb}{script}");
        Tree::start(&["--timeout", "2s"], &script).ends(code, &script);
    }
}

/// A chain that never rests: whoever is looked at has already gone. It stops by itself after some hundred generations.
#[test]
fn a_chain_that_runs_away_is_caught() {
    let scratch = Scratch::new();
    let file = generations(&scratch, "exit");
    let script = format!("{file} $1 400 >&- & echo ready; exit 6");
    Tree::start(&["--exec", scratch.path().to_str().unwrap()], &script).ends(6, &script);
}

/// The children of a process, zombies too.
fn children(process: u32) -> usize {
    let list =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().count()
}

/// Orphans come to Beget while the program still runs; they do not pile up there.
#[test]
fn orphans_are_reaped_while_the_program_runs() {
    let script = "i=0; while [ $i -lt 150 ]; do ( (exit 3) & ); i=$((i+1)); done; echo ready; read x; exit 7";
    let mut tree = Tree::start(&[], script);
    let mut now = usize::MAX;
    for _ in 0..1000 {
        now = children(tree.beget.id());
        if now == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(now, 1, "the program alone should be left");
    tree.go_on();
    tree.ends(7, script);
}

/// The status is the program's own, whoever else ends beside it.
#[test]
fn an_orphans_status_is_not_the_programs() {
    for _ in 0..20 {
        let script = "( (exit 3) & ); ( (exit 9) & ); echo ready; exit 0";
        Tree::start(&[], script).ends(0, script);
    }
}

/// A process outside, started before by the same user, is none of the tree's.
#[test]
fn nothing_else_is_ended() {
    let mark = seconds();
    let mut other = std::process::Command::new("sleep").arg(&mark).spawn().unwrap();
    let mut tree = Tree::start(&[], "(SLEEP) & echo ready; read x; exit 5");
    tree.go_on();
    tree.ends(5, "beside another");
    let alive = marked(&mark).contains(&other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(alive, "it was ended");
}

/// A shell may start something, and execute beget in its own place: then beget has a child that is not the program's.
#[test]
fn children_of_the_shell_that_became_beget_live_on() {
    let beget = beget_tests::program("beget-under-test");
    let script = format!(
        "sleep 20 >/dev/null 2>&1 & echo $!; exec {} run --base --spawn -- sh -c 'sleep 20 >/dev/null 2>&1 & exit 4'",
        beget.display()
    );
    let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().expect("sh starts");
    let number: i32 = beget_tests::text(&output.stdout).trim().parse().expect("the shell tells the number");
    // SAFETY: sends a signal to a process of ours, which ends by itself soon.
    let lives = unsafe { libc::kill(number, libc::SIGKILL) == 0 };
    assert_eq!(output.status.code(), Some(4), "{}", beget_tests::text(&output.stderr));
    assert!(lives, "the shell's own child was ended");
}

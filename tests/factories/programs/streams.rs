//! Streams that are no pipes, places and names that programs look at, and signals from outside.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use beget::{Command, Grant, Stdio};
use beget_factory::survey::Kind;
use beget_factory::{Factory, Options, Ready};
use beget_tests::text;

use super::{Input, LONG, Run, check, next_options, product, program, seal};

/// A terminal: both ends.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: two numbers are written, and nothing else is given.
    let opened = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0);
    // SAFETY: they were just made, and are nobody else's.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// What a program writes to a terminal.
fn shown(start: impl FnOnce(Stdio) -> beget::Process) -> String {
    let (mut master, slave) = terminal();
    let process = start(Stdio::from(slave));
    let status = process.wait_with_output().expect("its end").status;
    let mut bytes = Vec::new();
    // The other end is closed: an error, after all that was written.
    let _ = master.read_to_end(&mut bytes);
    format!("{status:?} {}", text(&bytes))
}

#[test]
fn a_terminal_is_seen_as_one_by_a_program_that_has_not_looked_yet() {
    for words in [&["tty", "-s"][..], &["ls", "/usr/bin/env", "/bin"], &["sh", "-c", "test -t 1 && echo yes"]]
    {
        let command = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).grants([Grant::Base, Grant::Terminal, Grant::Spawn]);
            command
        };
        let cold = shown(|out| command().stdin(Stdio::null()).stdout(out).spawn().expect("a cold start"));
        for ready in [Ready::Entry, Ready::Main] {
            let factory = seal(command(), next_options(ready)).expect("a factory");
            for _ in 0..3 {
                let was = shown(|out| {
                    factory.request().stdin(Stdio::null()).stdout(out).start().expect("a product")
                });
                assert_eq!(was, cold, "{words:?}");
            }
        }
    }
}

/// A file where the template had a pipe: what a program reads is the same, whatever it thought of it.
#[test]
fn a_file_is_read_from_where_a_pipe_was() {
    let lines = "echo one\necho two\nread a\nthree\necho $a\n";
    let python = "import sys\nprint(sys.argv, sys.stdin.readline())\n";
    let cases: [(&[&str], &str); 7] = [
        (&["cat"], lines),
        (&["sort"], lines),
        (&["wc", "-l"], lines),
        (&["bash", "-s"], lines),
        (&["dash", "-s"], lines),
        (&["/usr/bin/python3", "-"], python),
        (&["perl", "-"], "print 6*7, qq(\\n); print <STDIN>;\n__END__\nrest\n"),
    ];
    let mut differences = Vec::new();
    for (words, input) in cases {
        let name: &'static str = words[0].to_owned().leak();
        let program = program(name, &[Grant::Base, Grant::Spawn]);
        if !program.here {
            continue;
        }
        let own = |word: &&str| (*word).to_owned();
        let run = Run {
            words: words[1..].iter().map(own).collect(),
            input: Input::Text(input.into()),
            ..Run::default()
        };
        let cold = program.cold(&run);
        let mut command = (program.command)();
        command.args(&words[1..]);
        let factory = seal(command, next_options(Ready::Stdin)).expect("a factory");
        assert!(factory.hazards().iter().any(|hazard| hazard.kind == Kind::EarlyLook));
        let warm = product(&factory, &Run { words: Vec::new(), ..run }).expect("a product");
        if warm != cold {
            differences.push(format!("{words:?}:\n  cold    {cold:?}\n  product {warm:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What it wrote before it was ready no product writes, and that is told.
#[test]
fn what_was_written_early_is_declared() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo early; echo too >&2; read a; echo $a"]).grant(Grant::Base);
    let factory = seal(command, next_options(Ready::Stdin)).expect("a factory");
    let hazards = factory.hazards();
    let told = hazards.iter().find(|hazard| hazard.kind == Kind::EarlyOutput).expect("it is told");
    assert!(told.what.contains("6 bytes") && told.what.contains("4 to standard error"), "{told}");
    let input = Input::Pipe(b"late\n".to_vec());
    let was = product(&factory, &Run { input, ..Run::default() }).expect("a product");
    assert_eq!((text(&was.out), text(&was.err)), ("late\n".to_owned(), String::new()));
    let mut command = Command::new("cat");
    command.grant(Grant::Base);
    let factory = seal(command, next_options(Ready::Stdin)).expect("a factory");
    assert!(factory.hazards().iter().all(|hazard| hazard.kind != Kind::EarlyOutput));
}

/// Names that mean the process itself.
#[test]
fn its_own_names() {
    let proc = || vec![Grant::Base, Grant::Spawn, Grant::Read("/proc".into())];
    let own = |name| {
        program(name, &[]).with(move |command| {
            command.grants(proc()).current_dir("/usr");
        })
    };
    check([
        own("cat")
            .given(&["/dev/stdin"], "by name")
            .given(&["/proc/self/fd/0"], "by number")
            .run(&["/proc/self/comm"]),
        own("readlink").run(&["/proc/self/cwd"]).run(&["/proc/self/exe"]),
        own("bash").given(&["-c", "exec 3</dev/stdin; cat <&3; pwd; echo x > /dev/stderr"], "text\n"),
        own("sh").run(&["-c", "pwd; umask; echo $PPID | grep -c ."]).run(&["-c", "umask 77; umask"]),
    ]);
}

fn sh(words: &str, ready: Ready) -> Factory {
    let mut command = Command::new("bash");
    command.args(["-c", words]).grants([Grant::Base, Grant::Spawn]).env("PATH", beget::DEFAULT_PATH);
    seal(command, next_options(ready)).expect("a factory")
}

/// One that says when it is there.
fn product_that_says(factory: &Factory, word: &str) -> beget::Process {
    let mut request = factory.request();
    request.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = request.start().expect("a product");
    process.stdin.as_mut().expect("a pipe").write_all(b"go\n").expect("it reads");
    let mut said = vec![0; word.len()];
    process.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("it says it");
    assert_eq!(text(&said), word);
    process
}

#[test]
fn signals_from_the_requestor() {
    let words = "trap 'echo caught; exit 6' TERM; read -r a; echo on; while read -r a; do :; done";
    for ready in [Ready::Entry, Ready::Main, Ready::Stdin] {
        let factory = sh(words, ready);
        for _ in 0..3 {
            let process = product_that_says(&factory, "on\n");
            process.signal(libc::SIGTERM).expect("it lives");
            let output = process.wait_timeout(LONG).expect("a wait").expect("its end");
            assert_eq!(output.status.code(), Some(6));
            for signal in [libc::SIGHUP, libc::SIGSEGV, libc::SIGKILL, libc::SIGPIPE] {
                let process = product_that_says(&factory, "on\n");
                process.signal(signal).expect("it lives");
                let ended = process.wait_timeout(LONG).expect("a wait").expect("its end");
                assert_eq!(ended.status.signal(), Some(signal));
            }
        }
    }
}

/// Nobody reads what it writes.
#[test]
fn a_broken_pipe_ends_it() {
    for ready in [Ready::Entry, Ready::Main] {
        let options = Options { ready: Some(ready), ..Options::default() };
        let mut command = Command::new("yes");
        command.grant(Grant::Base);
        let factory = seal(command, options).expect("a factory");
        for _ in 0..3 {
            let mut process =
                factory.request().stdin(Stdio::null()).stdout(Stdio::piped()).start().expect("a product");
            drop(process.stdout.take());
            let ended = process.wait_timeout(LONG).expect("a wait").expect("its end");
            assert_eq!(ended.status.signal(), Some(libc::SIGPIPE));
        }
    }
}

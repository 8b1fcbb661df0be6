//! A copy of a process that holds only its grants: what is in it, what is not, how it ends, and which processes are not copied.
//!
//! Each case runs in a process of its own with one thread, before the test runner begins any: it is a driver, which panics where something is wrong.

mod driver;
mod failing;
mod held;
mod plans;
mod refused;
#[path = "../failing_ops/rounds.rs"]
mod rounds;
#[path = "../failing_ops/state.rs"]
mod state;

use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::time::Duration;

use beget::{Fork, Grant, Process, Stdio};
use beget_tests::{finish, text, tracer};

beget_tests::driver!(drive);

fn drive(name: &str) {
    match name {
        "held" => held::what_is_not_kept_is_nothing(),
        "surroundings" => held::everything_else_is_as_for_a_child(),
        "secrets" => held::no_way_leads_to_what_was_not_granted(),
        "numbers" => held::no_number_comes_to_mean_something_else(),
        "limited" => held::its_memory_is_limited(),
        "directory" => held::a_kept_directory_may_be_read(),
        "threads" => refused::more_than_one_thread(),
        "shared memory" => refused::shared_memory(),
        "no numbers left" => refused::no_numbers_left(),
        "plans" => plans::what_would_make_a_number_mean_something_else_is_not_run(),
        "ends" => ends(),
        "panics" => panics(),
        "streams" => streams(),
        "handle" => handle(),
        "memory" => memory(),
        "many" => many(),
        "inside" => inside(),
        other => driver::drive(other),
    }
}

/// Runs a case in a process of its own.
fn alone(case: &str) {
    let output =
        finish(tracer::driver(case).env("BEGET_TEST_SECRET", "hunter2").stderr(std::process::Stdio::piped()));
    for line in text(&output.stderr).lines().filter(|line| line.starts_with("skipped: ")) {
        let line = format!("{line}\n");
        // SAFETY: writes a live buffer to standard error.
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }
    assert!(
        output.status.success(),
        "{case}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

macro_rules! cases {
    ($($name:ident $case:literal;)*) => {$(
        #[test]
        fn $name() {
            alone($case);
        }
    )*};
}

cases! {
    what_is_not_kept_is_nothing "held";
    everything_else_is_as_for_a_child "surroundings";
    no_way_leads_to_what_was_not_granted "secrets";
    no_number_comes_to_mean_something_else "numbers";
    its_memory_is_limited "limited";
    a_kept_directory_may_be_read "directory";
    a_process_with_more_than_one_thread_is_refused "threads";
    a_process_that_shares_memory_is_refused "shared memory";
    without_numbers_there_is_an_error_and_no_copy "no numbers left";
    a_plan_that_would_make_a_number_mean_something_else_is_not_run "plans";
    its_code_gives_the_exit_code "ends";
    a_panic_unwinds_no_further "panics";
    streams_are_those_of_a_command "streams";
    its_handle_is_a_process_like_any_other "handle";
    memory_goes_along "memory";
    a_hundred_copies_leave_nothing "many";
    a_copy_makes_copies_where_it_may "inside";
}

/// What a copy wrote into the pipe that it kept.
fn rest(mut reader: PipeReader) -> String {
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("a pipe of our own can be read");
    said
}

fn end(mut process: Process) -> beget::Ended {
    process.wait().expect("a child can be waited for")
}

fn ends() {
    for code in [0, 1, 101, 255] {
        let ended = end(Fork::new().spawn(|| code).expect("a copy"));
        assert_eq!(ended.status.code(), Some(code.into()));
    }
    // What is dropped in the copy's code is dropped; what is the caller's is not.
    struct Told<'a>(&'a std::io::PipeWriter, &'a str);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            let mut pipe = self.0;
            pipe.write_all(self.1.as_bytes()).expect("a pipe");
        }
    }
    let (reader, writer) = pipe().expect("a pipe");
    let callers = Told(&writer, "caller's ");
    let ended = end(Fork::new()
        .keep(&writer)
        .spawn(|| {
            let _own = Told(&writer, "own ");
            7
        })
        .expect("a copy"));
    assert_eq!(ended.status.code(), Some(7));
    drop(callers);
    drop(writer);
    assert_eq!(rest(reader), "own caller's ");
}

fn panics() {
    let process = Fork::new().stderr(Stdio::piped()).spawn(|| panic!("by design")).expect("a copy");
    let output = process.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(101));
    assert!(text(&output.stderr).contains("by design"), "{}", text(&output.stderr));
    // We are the caller, once: a copy that unwound into this function would say so too.
    let (reader, writer) = pipe().expect("a pipe");
    let own = std::process::id();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let process = Fork::new().keep(&writer).spawn(|| panic!("by design, and not caught here"));
        end(process.expect("a copy"))
    }));
    assert_eq!(caught.expect("the caller does not unwind").status.code(), Some(101));
    write!(&writer, "{}", std::process::id()).expect("a pipe");
    drop(writer);
    assert_eq!(rest(reader), own.to_string());
}

fn streams() {
    // Not written yet: the copy has it in its memory too.
    print!("the caller's, once; ");
    let mut process = Fork::new()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn(|| {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line).is_ok();
            // No end of line, so that nothing but the end of the copy writes it.
            print!("the copy was told {line}");
            u8::from(!read)
        })
        .expect("a copy");
    let mut input = process.stdin.take().expect("it is piped");
    input.write_all(b"something").expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("its end");
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "the copy was told something");
    // Nothing is given: what is written goes nowhere, and there is nothing to read.
    let silent = Fork::new().spawn(|| {
        print!("to nobody");
        let mut bytes = [0];
        // SAFETY: a live buffer of one byte; the kernel looks at the numbers.
        let [read, written] = unsafe {
            [libc::read(0, bytes.as_mut_ptr().cast(), 1), libc::write(1, bytes.as_ptr().cast(), 1)]
        };
        u8::from((read, written) != (-1, -1))
    });
    assert!(end(silent.expect("a copy")).success());
}

fn handle() {
    let hang = || loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    };
    let process = Fork::new().spawn(hang).expect("a copy");
    assert_eq!(process.try_wait().expect("it can be asked"), None);
    // SAFETY: asks for a number.
    let group = unsafe { libc::getpgid(process.id() as i32) };
    assert_eq!(group, process.id() as i32, "a session of its own");
    process.kill().expect("it is ours");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(end(process).status.signal(), Some(libc::SIGKILL));
    let process = Fork::new().kill_on_drop(true).spawn(hang).expect("a copy");
    let number = process.id();
    drop(process);
    assert!(!beget_tests::children().contains(&number), "it is ended and waited for");
    let asked = Fork::new().spawn(hang).expect("a copy");
    let ended = asked.terminate(Duration::from_secs(60)).expect("it is ours");
    assert_eq!(ended.status.signal(), Some(libc::SIGTERM));
}

/// The documents say so, and so it is: what the caller has in its memory the copy has.
fn memory() {
    let secret = std::env::var("BEGET_TEST_SECRET").expect("it was given");
    let (reader, writer) = pipe().expect("a pipe");
    let process = Fork::new().keep(&writer).spawn(|| {
        let own = std::env::var("BEGET_TEST_SECRET").unwrap_or_default();
        (&writer).write_all(format!("{secret} {own}").as_bytes()).is_err().into()
    });
    assert!(end(process.expect("a copy")).success());
    drop(writer);
    assert_eq!(rest(reader), "hunter2 hunter2");
}

fn many() {
    let before = (beget_tests::descriptors(), beget_tests::children());
    for _ in 0..100 {
        assert!(end(Fork::new().grant(Grant::Base).spawn(|| 0).expect("a copy")).success());
    }
    assert_eq!((beget_tests::descriptors(), beget_tests::children()), before);
}

/// What may create processes can make copies of itself, which hold no more than it does.
fn inside() {
    let (reader, writer) = pipe().expect("a pipe");
    let process = Fork::new()
        .keep(&writer)
        .grants([Grant::Spawn, Grant::Read("/proc".into()), Grant::Write("/dev/null".into())])
        .spawn(|| {
            let inner = Fork::new().keep(&writer).grant(Grant::Read("/usr".into())).spawn(|| {
                let usr = std::fs::read_dir("/usr").is_ok();
                (&writer).write_all(format!("inner {usr}").as_bytes()).is_err().into()
            });
            match inner.and_then(|mut inner| inner.wait()) {
                Ok(ended) => u8::from(!ended.success()),
                Err(error) => {
                    let _ = (&writer).write_all(error.to_string().as_bytes());
                    1
                }
            }
        });
    let ended = end(process.expect("a copy"));
    let number = writer.as_raw_fd();
    drop(writer);
    assert_eq!((rest(reader).as_str(), ended.success()), ("inner false", true), "with the pipe at {number}");
}

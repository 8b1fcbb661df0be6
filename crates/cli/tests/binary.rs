//! The binary as it is installed, which starts without Rust's runtime: arguments, streams and exit codes are what they should be.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

fn beget(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beget"));
    command.args(words);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_has_its_arguments_and_tells_its_version() {
    let output = beget(&["version"]).output().expect("it starts");
    assert_eq!(text(&output).0, format!("beget {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn it_runs_a_program_and_gives_its_code() {
    let output = beget(&["run", "--base", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])
        .output()
        .expect("it starts");
    assert_eq!(text(&output), ("out\n".into(), "err\n".into()));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_reader_that_left_is_no_signal() {
    let mut command = beget(&["help"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).output().expect("it starts");
    assert_eq!((output.status.code(), text(&output).1), (Some(0), String::new()));
}

/// A stream that is closed is `/dev/null` to the program, not something that beget opened meanwhile.
#[test]
fn closed_streams_stay_out_of_the_way() {
    let script = "exec \"$0\" run --base -- sh -c 'read x; echo $?' <&- 2>&-";
    let output = Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_beget")])
        .env_clear()
        .process_group(0)
        .output()
        .expect("sh starts");
    assert_eq!(text(&output).0, "1\n");
    assert_eq!(output.status.code(), Some(0));
}

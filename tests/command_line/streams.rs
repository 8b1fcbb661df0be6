//! Standard input, output and error are the caller's own.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use beget_tests::{Scratch, beget, finish};

#[test]
fn ten_megabytes_pass_unchanged() {
    let scratch = Scratch::new();
    let bytes: Vec<u8> =
        (0..10_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let input = scratch.file("input", &bytes);
    for (script, streams) in [("exec cat", [true, false]), ("exec cat >&2", [false, true])] {
        let mut command = beget();
        command.args(["run", "--base", "--", "sh", "-c", script]);
        let output = finish(command.stdin(File::open(&input).unwrap()));
        assert_eq!(output.status.code(), Some(0), "{script}");
        for (there, seen) in streams.into_iter().zip([output.stdout, output.stderr]) {
            assert!(seen == if there { bytes.as_slice() } else { &[] }, "{script}: {} bytes", seen.len());
        }
    }
}

/// Through a pipe as well, whose other end is filled while it is read.
#[test]
fn a_pipe_passes_unchanged() {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number ^ number >> 9) as u8).collect();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::io::Write::write_all(&mut writer, &bytes).unwrap();
            drop(writer);
        });
        let mut command = beget();
        let output = finish(command.args(["run", "--base", "--timeout", "20", "--", "cat"]).stdin(reader));
        assert!(output.status.success() && output.stdout == bytes, "{} bytes", output.stdout.len());
    });
}

/// A program whose reader left dies of it, as in a shell: the signal is not ignored, though it is in Beget itself.
#[test]
fn a_reader_that_leaves_ends_the_program() {
    let mut command = beget();
    let mut child = command
        .args(["run", "--base", "--timeout", "20", "--", "yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut some = [0; 4];
    output.read_exact(&mut some).unwrap();
    drop(output);
    assert_eq!(&some, b"y\ny\n");
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGPIPE));
}

//! Pipes that tasks read and write.

use beget::Stdio;
use beget_tests::in_own_process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{on_both, probe, soon};

#[test]
fn what_is_written_comes_back() {
    on_both(|| async {
        let mut process = probe(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        // More than both pipes hold.
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move { input.write_all(&sent).await });
        let mut came = Vec::new();
        soon(output.read_to_end(&mut came)).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(came == expected, "{} bytes", came.len());
        assert!(soon(process.wait()).await.unwrap().success());
    });
}

#[test]
fn waiting_closes_standard_input_and_waiting_beside_others_does_not() {
    on_both(|| async {
        let mut process = probe(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let short = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(short, process.wait_shared()).await.is_err());
        assert!(process.stdin.is_some());
        assert!(soon(process.wait()).await.unwrap().success());
    });
}

#[test]
fn output_is_collected_from_both_streams() {
    on_both(|| async {
        let mut shell = beget::tokio::Command::new("/bin/sh");
        // Each stream fills its pipe while the other one is empty.
        let script = "i=0; while [ $i -lt 3 ]; do printf '%0100000d' 1; printf '%0100000d' 2 >&2; i=$((i + 1)); done; exit 3";
        shell.args(["-c", script]).grant(beget::Grant::Ambient);
        let output = soon(shell.output()).await.unwrap();
        assert_eq!((output.status.code(), output.ended.exit_code()), (Some(3), 3));
        for (stream, digit) in [(output.stdout, b'1'), (output.stderr, b'2')] {
            let right = |part: &[u8]| {
                part.split_last()
                    .is_some_and(|(last, zeros)| *last == digit && zeros.iter().all(|byte| *byte == b'0'))
            };
            assert!(stream.len() == 300_000 && stream.chunks(100_000).all(right));
        }
    });
}

#[test]
fn a_child_finds_its_pipes_blocking() {
    on_both(|| async {
        let mut command = probe(&[]);
        command.stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        soon(process.stdout.take().unwrap().read_to_end(&mut said)).await.unwrap();
        assert!(soon(process.wait()).await.unwrap().success());
        let report = beget_tests::report(&said);
        for stream in ["fd.0", "fd.1"] {
            let flags = report[stream].split(' ').nth(2).and_then(|flags| i32::from_str_radix(flags, 8).ok());
            assert_eq!(flags.expect("a number") & libc::O_NONBLOCK, 0, "{stream}: {report:?}");
        }
    });
}

/// One that writes without end does not keep other tasks from running, nor from dropping it.
#[test]
fn endless_output_leaves_others_their_turn() {
    in_own_process("streams::endless_output_leaves_others_their_turn", || {
        on_both(|| async {
            let mut command = probe(&["cat", "/dev/zero"]);
            command.kill_on_drop(true);
            let output = tokio::spawn(command.output());
            for _ in 0..20 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            output.abort();
            assert!(soon(output).await.unwrap_err().is_cancelled());
            crate::until_childless().await;
        });
    });
}

/// No more is collected than may be, and one that writes more is ended, with its tree.
#[test]
fn output_is_limited() {
    in_own_process("streams::output_is_limited", || {
        on_both(|| async {
            let limited = |words: &[&str], limit: u64, tree: bool| {
                let output = probe(words).output_limit(limit).own_tree(tree).output();
                async move { soon(output).await.unwrap() }
            };
            let output = limited(&["say", "12345678"], 9, false).await;
            assert_eq!((output.limited, output.status.code(), output.stdout.len()), (false, Some(0), 9));
            for tree in [false, true] {
                let output = limited(&["cat", "/dev/zero"], 100_000, tree).await;
                assert_eq!((output.limited, output.ended.exit_code()), (true, 128 + 9));
                assert!(output.stdout.len() == 100_000 && output.stdout.iter().all(|byte| *byte == 0));
            }
            crate::until_childless().await;
        });
    });
}

/// A refused socket is told of to a task that waits for that.
#[test]
fn refusals_are_awaited() {
    on_both(|| async {
        let mut command = beget::tokio::Command::new(beget_tests::program("probe"));
        let inet = [libc::AF_INET, libc::SOCK_STREAM, 0].map(|number| number.to_string());
        command.arg("socket").args(&inet).grant(beget::Grant::Base).stdout(Stdio::null()).tell_refusals(true);
        let mut process = command.spawn().unwrap();
        let mut refusals = process.refusals.take().expect("a listener");
        let refusal = soon(refusals.next()).await.unwrap().expect("one is told");
        assert_eq!(refusal.call, "SOCKET");
        assert_eq!(soon(refusals.next()).await.unwrap(), None);
        soon(process.wait()).await.unwrap();
    });
}

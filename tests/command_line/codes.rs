//! Exit codes, and what is said at the end of a run.

use beget_tests::{Need, has, skip};
use serde_json::Value;

use super::ran;

#[test]
fn every_exit_code_is_passed_on() {
    for code in 0..=255 {
        let script = format!("exit {code}");
        let result = ran(&["run", "--base", "--", "sh", "-c", &script]);
        assert_eq!(result, (Some(code), String::new(), String::new()));
    }
}

#[test]
fn a_signal_is_told_as_a_shell_tells_it() {
    const IGNORED_OR_STOPPING: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];
    for signal in (1..=31).filter(|signal| !IGNORED_OR_STOPPING.contains(signal)) {
        let script = format!("kill -{signal} $$");
        let result = ran(&["run", "--base", "--", "sh", "-c", &script]);
        assert_eq!(result, (Some(128 + signal), String::new(), String::new()), "signal {signal}");
    }
}

/// A program that is refused something and ends with a code of its own.
fn perl(flags: &[&str], script: &str) -> (Option<i32>, String) {
    let (code, out, errors) = ran(&[&["run", "--base"], flags, &["--", "perl", "-e", script]].concat());
    assert_eq!(out, "");
    (code, errors)
}

#[test]
fn refusals_are_told_when_the_program_fails_and_only_then() {
    if !has("perl") {
        return skip("refusals_are_told_when_the_program_fails_and_only_then", Need::Program("perl"));
    }
    let process = "beget: the program was refused a process; --spawn would allow it\n";
    let socket = "beget: the program was refused a socket; \
                  --tcp-connect PORT, --tcp-bind PORT, --inet-dns or --net would allow it\n";
    let exits = |what: &str, code: i32| format!("{what} exit {code};");
    let (fork, open) = ("defined fork and die;", "socket(S, 2, 1, 0) and die;");
    let unix = "socket(S, 1, 1, 0) and die;";
    assert_eq!(perl(&[], &exits(fork, 3)), (Some(3), process.into()));
    assert_eq!(perl(&[], &exits(open, 3)), (Some(3), socket.into()));
    // No flag would allow that one, so there is nothing worth telling.
    assert_eq!(perl(&[], &exits(unix, 3)), (Some(3), String::new()));
    assert_eq!(perl(&[], &exits(&format!("{fork} {open}"), 3)), (Some(3), format!("{process}{socket}")));
    assert_eq!(
        perl(&[], &exits(&fork.repeat(3), 1)),
        (Some(1), process.replace("process;", "process 3 times;"))
    );
    // It succeeded, so nothing was amiss.
    assert_eq!(perl(&[], &exits(&format!("{fork} {open}"), 0)), (Some(0), String::new()));
    // Of a signal it has not succeeded.
    assert_eq!(perl(&[], &format!("{fork} kill 9, $$;")), (Some(137), process.into()));
    // Granted is not refused, and no refusal is no note.
    assert_eq!(
        perl(&["--spawn"], "my $p = fork; exit 7 unless $p; waitpid $p, 0; exit $? >> 8;"),
        (Some(7), String::new())
    );
    assert_eq!(perl(&[], "exit 3;"), (Some(3), String::new()));
}

fn result(flags: &[&str]) -> (Option<i32>, Value) {
    let (code, out, errors) = ran(&[&["run", "--base", "--json"], flags].concat());
    assert_eq!(out, "");
    let last = errors.lines().last().expect("a result");
    (code, serde_json::from_str(last).expect("it is JSON"))
}

#[test]
fn a_result_as_json_is_on_standard_error() {
    let (code, told) = result(&["--", "sh", "-c", "exit 5"]);
    assert_eq!((code, &told["exit_code"], &told["signal"]), (Some(5), &5.into(), &Value::Null));
    assert_eq!((&told["timed_out"], &told["refused"]), (&false.into(), &Value::Array(Vec::new())));
    for number in ["wall_time", "user_time", "system_time", "memory_peak"] {
        assert!(told[number].as_f64().is_some_and(|value| value >= 0.0), "{number}: {told}");
    }
    assert!(told["memory_peak"].as_u64().unwrap() > 100_000, "{told}");
    let (code, told) = result(&["--", "sh", "-c", "kill -9 $$"]);
    assert_eq!((code, &told["exit_code"], &told["signal"]), (Some(137), &Value::Null, &9.into()));
    let (code, told) = result(&["--timeout", "10ms", "--", "sleep", "20"]);
    assert_eq!((code, &told["timed_out"], &told["signal"]), (Some(137), &true.into(), &9.into()));
    if has("perl") {
        let (code, told) = result(&["--", "perl", "-e", "fork; fork; exit 0"]);
        let refused = &told["refused"][0];
        assert_eq!(
            (code, &refused["times"], &refused["flag"]),
            (Some(0), &2.into(), &"--spawn".into()),
            "{told}"
        );
        assert!(["clone", "fork", "vfork"].contains(&refused["call"].as_str().unwrap()), "{told}");
    }
}

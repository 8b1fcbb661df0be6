//! The time that a program has, and the time of grace after it.

use std::time::Duration;

use beget::{Command, Grant, Stdio};

use super::{ran, told};

#[test]
fn a_timeout_ends_the_program_and_says_so() {
    for time in ["50ms", "0.05s", "0.05"] {
        let (code, out, errors) =
            ran(&["--timeout", time, "--", "sh", "-c", "trap '' TERM INT; exec sleep 25"]);
        assert_eq!((code, out.as_str(), errors.lines().count()), (Some(137), "", 1), "{errors}");
        assert!(errors.starts_with("beget: limit --timeout: the program was ended after "), "{errors}");
    }
    // One that busily loops, or is stopped, ends as well.
    for script in ["while :; do :; done", "kill -STOP $$"] {
        assert_eq!(ran(&["--timeout", "50ms", "--", "sh", "-c", script]).0, Some(137), "{script}");
    }
}

#[test]
fn a_timeout_that_is_not_reached_does_nothing() {
    for time in ["25s", "1h", "36500d", "99999999999999d"] {
        assert_eq!(
            ran(&["--timeout", time, "--", "sh", "-c", "echo done; exit 3"]),
            (Some(3), "done\n".into(), String::new())
        );
    }
}

/// A program that ignores being asked has as long as it is given, and not longer.
#[test]
fn after_the_time_of_grace_it_is_ended() {
    for script in ["trap '' TERM; exec sleep 25", "trap '' TERM; while :; do :; done"] {
        let words = ["--timeout", "50ms", "--grace", "50ms", "--spawn", "--", "sh", "-c", script];
        let (code, errors, result) = told(&words);
        assert_eq!((code, errors.lines().count()), (Some(137), 2), "{errors}");
        assert!(errors.starts_with("beget: limit --timeout: the program was ended after "), "{errors}");
        assert_eq!((&result["timed_out"], &result["signal"]), (&true.into(), &9.into()));
    }
}

#[test]
fn one_that_heeds_it_ends_by_itself() {
    let asked = "beget: limit --timeout: the program was asked to end, and did after ";
    let cases = [
        // As it likes, and with what it has to say.
        ("trap 'echo saved; exit 3' TERM; while :; do sleep 0.01; done", 3, "saved\n"),
        // By the signal.
        ("while :; do :; done", 143, ""),
        // One that is stopped hears it too.
        ("trap 'echo heard; exit 0' TERM; kill -STOP $$; while :; do sleep 0.01; done", 0, "heard\n"),
        // And all of its group.
        (
            "(trap 'echo child; exit 0' TERM; while :; do sleep 0.01; done) & \
             trap 'wait; echo parent; exit 0' TERM; while :; do sleep 0.01; done",
            0,
            "child\nparent\n",
        ),
    ];
    for (script, code, said) in cases {
        let words = ["--timeout", "300ms", "--grace", "20s", "--spawn", "--", "sh", "-c", script];
        let (ended, out, errors) = ran(&words);
        assert_eq!((ended, out.as_str()), (Some(code), said), "{script}: {errors}");
        // A shell may tell before that what it waited for was ended too.
        assert!(errors.contains(asked), "{script}: {errors}");
    }
}

#[test]
fn grace_is_nothing_to_a_program_in_time() {
    let words = ["--timeout", "20s", "--grace", "20s", "--", "sh", "-c", "exit 4"];
    let (code, errors, result) = told(&words);
    assert_eq!((code, errors.lines().count()), (Some(4), 1), "{errors}");
    assert_eq!(result["timed_out"], false);
}

/// The library's way: what is asked, and what is ended.
#[test]
fn a_process_is_terminated() {
    let start = |script: &str, tree: bool| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).grants([Grant::Base, Grant::Spawn]).own_tree(tree);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        // It says when it is ready, or it could be asked before it listens.
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(process.stdout.take().expect("it is piped")),
            &mut line,
        )
        .expect("it speaks");
        process
    };
    for tree in [false, true] {
        let heeding = start("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done", tree);
        let ended = heeding.terminate(Duration::from_secs(20)).expect("it ends");
        assert_eq!(ended.exit_code(), 3);
        // The same again is told, and nobody is asked.
        assert_eq!(heeding.terminate(Duration::ZERO).expect("it has ended"), ended);
        let deaf = start("trap '' TERM; echo ready; while :; do sleep 0.01; done", tree);
        assert_eq!(deaf.terminate(Duration::from_millis(20)).expect("it ends").exit_code(), 137);
        let unasked = start("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done", tree);
        assert_eq!(unasked.terminate(Duration::ZERO).expect("it ends").exit_code(), 137);
    }
}

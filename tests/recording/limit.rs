//! Limits on output.

use beget_tests::{mark, marked};

use crate::ran;

#[test]
fn endless_output_is_ended_at_the_limit() {
    let mark = mark();
    // Some of it is a child's, which ignores what can be ignored, and in a session of its own.
    let script = format!("(trap '' PIPE HUP TERM; setsid yes {mark} >&2) & exec yes {mark}");
    for pty in [false, true] {
        let mut words = vec!["--spawn", "--output-limit", "1M", "--json", "--", "sh", "-c", &script];
        if pty {
            words.insert(0, "--pty");
        }
        let (code, out, errors) = ran(&words);
        assert_eq!(code, Some(137));
        let (said, json): (Vec<&str>, Vec<&str>) = errors
            .lines()
            .filter(|line| !line.contains("mark-"))
            .partition(|line| line.starts_with("beget: "));
        let told = "beget: limit --output-limit 1M: the program was ended after writing 1048576 bytes";
        // Where the count ends, a line may be cut.
        assert!(errors.contains(told), "{said:?}");
        let result: serde_json::Value = serde_json::from_str(json.last().expect("a result")).expect("JSON");
        assert_eq!(result["output_limited"], true);
        assert_eq!(result["timed_out"], false);
        if pty {
            assert_eq!(out.len(), 1 << 20);
        } else {
            let begets = errors.find("beget: ").expect("it is told");
            assert_eq!(out.len() + begets, 1 << 20, "all up to the limit is delivered");
        }
        assert!(marked(&mark).is_empty());
    }
}

#[test]
fn output_up_to_the_limit_is_nobodys_business() {
    let script = "printf 01234; printf 56789 >&2; exit 3";
    for limit in ["10", "11", "1T"] {
        assert_eq!(
            ran(&["--output-limit", limit, "--", "sh", "-c", script]),
            (Some(3), "01234".into(), "56789".into())
        );
    }
    assert_eq!(ran(&["--output-limit", "0", "--", "true"]), (Some(0), String::new(), String::new()));
}

/// Nothing was left to end, but something was left out.
#[test]
fn a_program_that_has_ended_is_not_said_to_have_been() {
    let (code, out, errors) = ran(&["--output-limit", "4", "--", "sh", "-c", "printf 01234; exit 3"]);
    assert_eq!(out, "0123");
    match code {
        Some(3) => assert!(
            errors.contains("limit --output-limit 4: the program wrote more than 4 bytes"),
            "{errors}"
        ),
        code => assert!(
            code == Some(137) && errors.contains("limit --output-limit 4: the program was ended"),
            "{code:?} {errors}"
        ),
    }
}

#[test]
fn what_is_no_size_is_refused() {
    for wrong in ["", "-1", "much", "1X"] {
        let (code, _, errors) = ran(&["--output-limit", wrong, "--", "true"]);
        assert_eq!(code, Some(125));
        assert!(errors.starts_with("beget: flag --output-limit"), "{errors}");
    }
}

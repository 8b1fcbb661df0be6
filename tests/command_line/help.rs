//! Help and version.

use beget_tests::{beget, finish, text};

use super::ran;

#[test]
fn help_is_told_by_every_name_and_is_no_error() {
    let (code, overview, errors) = ran(&["help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for part in ["USAGE", "EXAMPLES", "GRANTS", "LIMITS", "HOW", "EXIT CODES", "beget run ", "beget show "] {
        assert!(overview.contains(part), "{part}");
    }
    for name in ["--help", "-h"] {
        assert_eq!(ran(&[name]), (Some(0), overview.clone(), String::new()));
    }
    for command in ["run", "show"] {
        for name in ["--help", "-h"] {
            let (code, page, errors) = ran(&[command, name]);
            assert_eq!((code, errors.as_str()), (Some(0), ""));
            assert!(page.starts_with(&format!("beget {command} ")), "{page}");
            assert!(page.contains("EXIT CODES"));
            // Also after other flags, and whatever they are worth.
            assert_eq!(ran(&[command, "--base", name]).1, page);
        }
    }
}

/// `help COMMAND` and `COMMAND --help` are one page, for every command that the overview lists.
#[test]
fn every_command_has_its_page() {
    let overview = ran(&["help"]).1;
    let list = overview.split("\nCOMMANDS\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 5, "{list}");
    for name in names {
        let (code, page, errors) = ran(&["help", name]);
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert!(page.starts_with(&format!("beget {name}")), "{page}");
        assert_eq!(ran(&[name, "--help"]).1, page);
    }
    let (code, out, errors) = ran(&["help", "rum"]);
    assert_eq!((code, out.as_str()), (Some(125), ""));
    assert!(errors.starts_with("beget: command rum: no such command; there are run, show, "), "{errors}");
}

/// Bold letters are for a terminal alone.
#[test]
fn what_is_piped_has_no_bold_letters() {
    for words in [&["help"][..], &["run", "--help"]] {
        let output = finish(beget().args(words).env("TERM", "xterm"));
        assert!(!text(&output.stdout).contains('\x1b'));
    }
    let on_terminal = |setting: &str| {
        let line = format!("{setting} {} run --help", beget_tests::program("beget-under-test").display());
        text(&finish(std::process::Command::new("script").args(["-qec", &line, "/dev/null"])).stdout)
    };
    if !beget_tests::has("script") {
        return beget_tests::skip("what_is_piped_has_no_bold_letters", beget_tests::Need::Program("script"));
    }
    assert!(on_terminal("TERM=xterm").contains("\x1b[1m--read\x1b[0m PATH"));
    assert!(!on_terminal("TERM=dumb").contains('\x1b'));
    assert!(!on_terminal("TERM=xterm NO_COLOR=1").contains('\x1b'));
}

/// Without a word it tells what it is, and that this was no success.
#[test]
fn nothing_asked_is_nothing_done() {
    let (code, told, errors) = ran(&[]);
    assert_eq!((code, told, errors.as_str()), (Some(125), ran(&["help"]).1, ""));
}

#[test]
fn the_version_is_one_line() {
    for name in ["version", "--version", "-V"] {
        let (code, told, errors) = ran(&[name]);
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert_eq!(told, format!("beget {}\n", env!("CARGO_PKG_VERSION")));
    }
}

/// From the program's name on, every word is the program's.
#[test]
fn what_follows_the_program_belongs_to_it() {
    let echo = ["sh", "-c", "echo \"$*\"", "sh", "--base", "--help", "--", "-h", "--no-such-flag"];
    for separator in [&["--"][..], &[]] {
        let words = [&["run", "--base"], separator, &echo].concat();
        assert_eq!(ran(&words), (Some(0), "--base --help -- -h --no-such-flag\n".into(), String::new()));
    }
}

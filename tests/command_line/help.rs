//! Help and version.

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

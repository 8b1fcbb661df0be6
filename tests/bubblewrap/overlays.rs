//! Folders to write whose originals stay as they are.

use super::*;

/// Whether a folder that is only read can be written over here; says that it cannot.
fn has_overlays(test: &str) -> bool {
    if !has_root(test) {
        return false;
    }
    let scratch = Scratch::new();
    let (code, _, errors) = rooted(&["--scratch", scratch.path().to_str().unwrap()], &["true"]);
    if code != Some(0) {
        assert!(errors.contains("overlay"), "{errors}");
        skip(test, Need::Machine("overlayfs for a user's own namespace"));
    }
    code == Some(0)
}

/// A folder with `a` and `b`, and its path.
fn lower(scratch: &Scratch, name: &str) -> String {
    let folder = scratch.at(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(format!("{folder}/a"), "1").unwrap();
    std::fs::write(format!("{folder}/b"), "2").unwrap();
    folder
}

#[test]
fn what_is_changed_is_thrown_away() {
    if !has_overlays("what_is_changed_is_thrown_away") {
        return;
    }
    let scratch = Scratch::new();
    let (first, second) = (lower(&scratch, "first"), lower(&scratch, "second"));
    let flags = ["--scratch", &format!("{first}:/x/y/z"), "--scratch", &format!("{second}:/w")];
    let script = "cd /x/y/z; cat a b; printf 4 > b; cat b; cat /w/b; rm a; test -e a || echo gone";
    assert_eq!(in_shell(&flags, script), fine("1242gone\n"));
    assert_eq!(in_shell(&flags, "cat /x/y/z/a /x/y/z/b"), fine("12"));
    for folder in [first, second] {
        assert_eq!(std::fs::read_to_string(format!("{folder}/a")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(format!("{folder}/b")).unwrap(), "2");
    }
}

/// Also with what a mount option would take for its own in the names.
#[test]
fn what_is_changed_can_be_kept() {
    if !has_overlays("what_is_changed_can_be_kept") {
        return;
    }
    for suffix in ["", " \":,\\"] {
        let scratch = Scratch::new();
        let folder = lower(&scratch, &format!("lower{suffix}"));
        let keep = scratch.at(&format!("keep{suffix}"));
        std::fs::create_dir(&keep).unwrap();
        let flags = ["--scratch", &format!("{folder}:/x/y/z"), "--keep", &keep];
        assert_eq!(
            in_shell(&flags, "cat /x/y/z/b; printf 5 > /x/y/z/b; cat /x/y/z/b"),
            fine("25"),
            "{suffix}"
        );
        assert_eq!(std::fs::read_to_string(format!("{folder}/b")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(format!("{keep}/changes/b")).unwrap(), "5");
        // The next one finds it.
        assert_eq!(in_shell(&flags, "cat /x/y/z/a /x/y/z/b"), fine("15"), "{suffix}");
    }
}

/// A program that could once write the folder left links there: what the next one changes would be written elsewhere.
#[test]
fn changes_are_kept_in_the_folder_itself() {
    if !has_overlays("changes_are_kept_in_the_folder_itself") {
        return;
    }
    for linked in [&["changes", ".work"][..], &["changes"], &[".work"]] {
        let scratch = Scratch::new();
        let (folder, keep) = (lower(&scratch, "lower"), scratch.at("keep"));
        std::fs::create_dir(&keep).unwrap();
        for name in linked {
            let elsewhere = scratch.at(&format!("elsewhere{name}"));
            std::fs::create_dir(&elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, format!("{keep}/{name}")).unwrap();
        }
        refused(&["--scratch", &folder, "--keep", &keep], &format!("root: {keep}/{}: ", linked[0]));
    }
}

/// They would be kept, and be in the way of the next.
#[test]
fn what_is_made_is_not_among_the_changes() {
    if !has_overlays("what_is_made_is_not_among_the_changes") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, keep) = (lower(&scratch, "lower"), scratch.at("keep"));
    std::fs::create_dir(&keep).unwrap();
    let file = format!("{folder}/new=text");
    refused(&["--scratch", &folder, "--keep", &keep, "--file", &file], &format!("root: {folder}/new: "));
    assert_eq!(
        rooted(&["--scratch", &folder, "--file", &file], &["cat", &format!("{folder}/new")]),
        fine("text")
    );
}

/// Names that overlayfs cannot be told; at another place they are as good as any.
#[test]
fn a_scratch_has_a_name_that_can_be_said() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    if !has_overlays("a_scratch_has_a_name_that_can_be_said") {
        return;
    }
    let scratch = Scratch::new();
    for (name, why) in [("a:b".into(), "colon"), ("x".repeat(250), "too long")] {
        let folder = lower(&scratch, &name);
        refused(&["--scratch", &folder], &format!("root: --scratch {folder}: its name "));
        let (_, _, errors) = rooted(&["--scratch", &folder], &["true"]);
        assert!(errors.contains(why), "{errors}");
        assert_eq!(rooted(&["--scratch", &format!("{folder}:/place")], &["cat", "/place/a"]).0, Some(0));
    }
    let folder = scratch.path().join(OsStr::from_bytes(b"a\xff"));
    std::fs::create_dir(&folder).unwrap();
    let place = |place: &str| -> OsString { [folder.as_os_str(), OsStr::new(place)].into_iter().collect() };
    for (flag, code) in [(place(""), 125), (place(":/place"), 0)] {
        let output =
            finish(beget().args(["run", "--base", "--root", "--scratch"]).arg(flag).args(["--", "true"]));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
}

#[test]
fn keeping_belongs_to_a_scratch() {
    let scratch = Scratch::new();
    let folder = scratch.path().to_str().unwrap();
    for before in [&[][..], &["--scratch", folder, "--dir", "/a"]] {
        refused(&[before, &["--keep", folder]].concat(), &format!("flag --keep {folder}: "));
    }
}

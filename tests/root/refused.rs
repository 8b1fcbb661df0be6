//! What is wrong is said in one sentence that names it, before anything runs; and where there are no user namespaces that is said too.

use beget::{Batch, Nursery, Promise};

use super::*;

/// It is refused, in one sentence that begins so, and nothing was left.
fn refused(flags: &[&str], words: &str) {
    let (code, out, errors) = rooted(flags, &["echo", "should not have run"]);
    assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1), "{flags:?}: {errors}");
    assert!(errors.starts_with(&format!("beget: {words}")), "{flags:?}: {errors}");
}

#[test]
fn a_place_is_taken_once() {
    let scratch = Scratch::new();
    let (file, other) = (scratch.file("file", ""), scratch.file("other", ""));
    let (one, two) = (format!("{file}:/srv/x"), format!("{other}:/srv/x"));
    refused(
        &["--read", &one, "--read", &two],
        &format!("grant of {other} at /srv/x: something else is there already"),
    );
    for second in
        [["--file", "/srv/x=text"], ["--symlink", "/srv/x=file"], ["--dir", "/srv/x"], ["--tmpfs", "/srv/x"]]
    {
        refused(&[&["--read", &one][..], &second].concat(), "root: /srv/x: something else is there already");
        refused(
            &[&["--dir", "/srv/x"][..], &second].concat(),
            "root: /srv/x: something else is there already",
        );
    }
}

#[test]
fn places_are_absolute_and_go_down() {
    for (flag, value) in [("--file", "x=text"), ("--dir", "x"), ("--symlink", "x=/y"), ("--tmpfs", "x")] {
        refused(&[flag, value], "root: x: a place in a root is absolute");
    }
    refused(&["--dir", "/x/../y"], "root: /x/../y: a place in a root has no .. in it");
    refused(&["--read", "/etc/hosts:/x/../y"], "root: /x/../y: a place in a root has no .. in it");
    // What follows the colon is a place only when it is absolute; so this is one name.
    refused(&["--read", "/etc/hosts:y"], "grant --read /etc/hosts:y: no such file or directory");
}

#[test]
fn what_is_not_there_is_said() {
    let scratch = Scratch::new();
    let missing = scratch.at("missing");
    refused(&["--read", &missing], &format!("grant --read {missing}: no such file or directory"));
    let elsewhere = format!("{missing}:/x");
    refused(&["--read", &elsewhere], &format!("grant --read {missing}: no such file or directory"));
    refused(&["--scratch", &missing], &format!("root: --scratch {missing}: no such file or directory"));
    let file = scratch.file("file", "");
    refused(&["--scratch", &file], &format!("root: --scratch {file}: not a directory"));
}

#[test]
fn a_place_that_cannot_be_made_is_said() {
    if !has_root("a_place_that_cannot_be_made_is_said") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, file) = (path(scratch.path()), scratch.file("file", "kept"));
    // In what is granted nothing is made: it would stay outside.
    refused(
        &["--read", folder, "--read", &format!("/etc/hosts:{folder}/new")],
        &format!("root: {folder}/new: "),
    );
    refused(&["--read", folder, "--dir", &format!("{folder}/new")], &format!("root: {folder}/new: "));
    refused(&["--dir", &format!("{file}/new"), "--read", &file], &format!("root: {file}"));
    refused(&["--dir", "/proc/new"], "root: /proc/new: ");
    refused(&["--read", "/etc/hosts:/usr"], "grant of /etc/hosts at /usr: something else is there already");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
}

#[test]
fn what_means_something_only_in_a_root_is_said() {
    let alone = |flags: &[&str], part: &str| {
        let (code, out, errors) = ran(&[&["run", "--base"], flags, &["--", "echo", "no"]].concat());
        assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1), "{flags:?}: {errors}");
        assert!(
            errors.starts_with(&format!("beget: {part}")) && errors.contains("--root"),
            "{flags:?}: {errors}"
        );
    };
    let flags: [[&str; 2]; 8] = [
        ["--hostname", "x"],
        ["--uid", "7"],
        ["--gid", "7"],
        ["--tmp", "1M"],
        ["--dir", "/x"],
        ["--file", "/x=y"],
        ["--symlink", "/x=y"],
        ["--tmpfs", "/x"],
    ];
    for flags in flags {
        alone(&flags, "root: ");
    }
    alone(&["--scratch", "/tmp"], "root: ");
    alone(&["--loopback"], "grant --loopback: ");
    alone(&["--unix", "/dev/log"], "grant --unix /dev/log: ");
    alone(&["--read", "/etc/hosts:/x"], "grant --read /etc/hosts:/x: ");
    refused(&["--keep", "/tmp"], "flag --keep /tmp: ");
    refused(&["--loopback", "--net"], "grant --loopback: ");
}

/// Values that no root has.
#[test]
fn senseless_values_are_said() {
    refused(&["--hostname", ""], "root: host name: ");
    refused(&["--hostname", &"x".repeat(65)], "root: host name: ");
    refused(&["--uid", "x"], "flag --uid x: ");
    refused(&["--uid", "4294967296"], "flag --uid 4294967296: ");
    refused(&["--file", "/x"], "flag --file /x: ");
    refused(&["--symlink", "/x"], "flag --symlink /x: ");
    refused(&["--symlink", "/x="], "");
    refused(&["--scratch", "/usr:/"], "root: --scratch /usr: it cannot be the whole root");
    if has_root("senseless_values_are_said") {
        refused(&["--uid", "4294967295"], "root: users: ");
    }
}

/// What the library is asked for besides a root, and cannot go with one.
#[test]
fn the_library_says_what_does_not_go_with_it() {
    let test = "the_library_says_what_does_not_go_with_it";
    if !has_root(test) {
        return;
    }
    beget_tests::in_own_process("refused::the_library_says_what_does_not_go_with_it", || {
        let folder = || std::fs::File::open("/").unwrap();
        let nursery = Nursery::new().unwrap();
        let wrong = |part: &str, change: &dyn Fn(&mut Command) -> &mut Command| {
            let mut command = command("true");
            change(&mut command);
            let error = command.spawn().map(|child| child.id()).expect_err(part);
            assert!(error.to_string().starts_with(&format!("{part}: ")), "{error}");
            assert_eq!(error.fault(), beget::Fault::Caller, "{error}");
        };
        let before = (beget_tests::descriptors(), beget_tests::children());
        wrong("root", &|command| command.grant(Grant::Ambient));
        wrong("root", &|command| command.nursery(&nursery));
        wrong("root", &|command| command.own_child(true));
        wrong("root", &|command| command.uid(7));
        wrong("root", &|command| command.gid(7));
        wrong("root", &|command| command.groups(&[7]));
        wrong("root", &|command| command.session(false));
        wrong("root", &|command| command.process_group(1));
        wrong("working directory", &|command| command.current_dir_fd(folder()));
        wrong("slot folder", &|command| command.slot("folder", folder()));
        wrong("slot 7", &|command| command.fd(7, folder()));
        let mut batch = Batch::new();
        let mut one = command("true");
        let error = batch.add(&mut one, 1).expect_err("a batch has no roots");
        assert!(error.to_string().contains("a root of its own cannot be in a batch"), "{error}");
        drop(batch);
        let mut entry = command("true");
        let error = entry
            .root(Root::new().directory("relative"))
            .spawn()
            .map(|child| child.id())
            .expect_err("relative");
        assert_eq!(error.to_string(), "root: relative: a place in a root is absolute");
        let after = (beget_tests::descriptors(), beget_tests::children());
        assert_eq!(after, before);
    });
}

/// A user namespace that allows no further one: what a container, or a system set so, does.
#[test]
fn without_user_namespaces_it_says_what_is_lost() {
    let test = "without_user_namespaces_it_says_what_is_lost";
    if !has_root(test) {
        return;
    }
    let beget = beget_tests::program("beget-under-test");
    let without = |words: &[&str]| {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        // Such a namespace takes nobody's groups away; whoever has some, and may not set them there, is refused for that.
        let before: &[&str] =
            if beget_tests::is_root() { &["setpriv", "--clear-groups", "unshare"] } else { &["unshare"] };
        let mut command = std::process::Command::new(before[0]);
        command.args(&before[1..]).args([
            "-U",
            "--map-current-user",
            "--keep-caps",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(&beget).args(words).stdin(Stdio::null());
        told(&finish(&mut command))
    };
    let (code, out, errors) = without(&["run", "--base", "--root", "--", "echo", "hello"]);
    assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1), "{errors}");
    assert!(
        errors.starts_with("beget: promise root: user namespaces are refused (no space left on device): "),
        "{errors}"
    );
    assert!(
        errors.contains("/proc/sys/user")
            && errors.contains("names, sizes and times")
            && errors.contains("--degrade root"),
        "{errors}"
    );
    // Given up by name, the rest holds.
    let scratch = Scratch::new();
    let (given, kept) = (scratch.file("given", "given"), scratch.file("kept", "kept"));
    let degraded = |program: &[&str]| {
        without(
            &[&["run", "--base", "--root", "--degrade", "root", "--read", &given, "--"], program].concat(),
        )
    };
    assert_eq!(degraded(&["cat", &given]), fine("given"));
    assert_ne!(degraded(&["cat", &kept]).0, Some(0));
    let (code, out, _) = without(&["show", "--base", "--root", "--degrade", "root", "--", "true"]);
    let line = out.lines().find(|line| line.trim_start().starts_with("root ")).expect(&out);
    assert!(code == Some(0) && line.contains("NOT ENFORCED: given up"), "{line}");
    assert!(!out.contains("\nROOT"), "nothing is said of a root that is not there: {out}");
    // What lies at another place cannot be had without.
    let flags = ["--degrade", "root", "--read", "/etc/hosts:/x"];
    let (code, _, errors) = without(&[&["run", "--base", "--root"], &flags[..], &["--", "true"]].concat());
    assert_eq!((code, errors.lines().count()), (Some(125), 1), "{errors}");
}

/// Given up where it could be had, it is had: giving up is for where it cannot.
#[test]
fn where_it_can_be_had_it_is_not_given_up() {
    if !has_root("where_it_can_be_had_it_is_not_given_up") {
        return;
    }
    let (code, out, _) = rooted(&["--degrade", "root"], &["readlink", "/proc/self"]);
    assert_eq!((code, out.as_str()), (Some(0), "2\n"));
    let mut command = command("readlink");
    let output = command.arg("/proc/self").degrade(Promise::Root).output().unwrap();
    assert_eq!(text(&output.stdout), "2\n");
}

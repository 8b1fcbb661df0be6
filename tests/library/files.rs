//! Grants, by their real effects: what is granted works, and what lies beside it does not.

use std::fs::File;
use std::path::PathBuf;

use beget::{Command, Fault, Grant, Promise, Support};
use beget_tests::{Need, Scratch, has, program, skip};

use crate::{end, probe, said, text};

/// Asks the probe to try operations on paths, and compares each answer.
#[track_caller]
fn assert_tries(command: &mut Command, tries: &[(&str, &str, &str)]) {
    command.arg("try");
    for (operation, path, _) in tries {
        command.args([operation, path]);
    }
    let expected: String =
        tries.iter().map(|(operation, path, result)| format!("{operation} {path} {result}\n")).collect();
    assert_eq!(said(command), expected);
}

fn landlock(test: &str, abi: u32) -> bool {
    let there = Support::detect().landlock.is_some_and(|have| have >= abi);
    if !there {
        skip(test, Need::Machine("Landlock of this ABI"));
    }
    there
}

#[test]
fn a_file_granted_for_reading_is_read_and_its_neighbour_is_not() {
    if !landlock("files::a_file_granted_for_reading_is_read_and_its_neighbour_is_not", 3) {
        return;
    }
    let scratch = Scratch::new();
    let (a, b) = (scratch.file("a", "A"), scratch.file("b", "B"));
    let mut command = probe(&[]);
    command.grant(Grant::Read(PathBuf::from(&a)));
    assert_tries(
        &mut command,
        &[
            ("read", &a, "ok"),
            ("read", &b, "EACCES"),
            ("write", &a, "EACCES"),
            ("truncate", &a, "EACCES"),
            ("truncate-by-path", &a, "EACCES"),
            ("remove", &a, "EACCES"),
            ("rename", &a, "EACCES"),
            ("list", text(scratch.path()), "EACCES"),
            ("create", &scratch.at("c"), "EACCES"),
            ("write", &b, "EACCES"),
            ("truncate-by-path", &b, "EACCES"),
            ("remove", &b, "EACCES"),
        ],
    );
    let contents = |path: &str| std::fs::read_to_string(path).expect("it is still there");
    assert_eq!([contents(&a), contents(&b)], ["A", "B"]);
    // With no grant at all, nothing.
    assert_tries(
        &mut probe(&[]),
        &[("read", &a, "EACCES"), ("read", "/etc/passwd", "EACCES"), ("list", "/", "EACCES")],
    );
}

#[test]
fn a_directory_granted_for_reading_is_read_below_and_not_written() {
    if !landlock("files::a_directory_granted_for_reading_is_read_below_and_not_written", 3) {
        return;
    }
    let scratch = Scratch::new();
    let (inside, outside) = (scratch.at("inside"), scratch.file("outside", "B"));
    std::fs::create_dir_all(scratch.at("inside/deep")).expect("our own folder");
    let (file, deep) = (scratch.file("inside/file", "A"), scratch.file("inside/deep/file", "A"));
    let link = scratch.at("inside/link");
    std::os::unix::fs::symlink(&outside, &link).expect("our own folder");
    let up = format!("{inside}/../outside");
    assert_tries(
        probe(&[]).grant(Grant::Read(PathBuf::from(&inside))),
        &[
            ("read", &file, "ok"),
            ("read", &deep, "ok"),
            ("list", &inside, "ok"),
            ("read", &outside, "EACCES"),
            // A link or a step up leads out, and out is not granted.
            ("read", &link, "EACCES"),
            ("read", &up, "EACCES"),
            ("write", &file, "EACCES"),
            ("create", &scratch.at("inside/new"), "EACCES"),
            ("mkdir", &scratch.at("inside/folder"), "EACCES"),
            ("remove", &deep, "EACCES"),
        ],
    );
    assert!(PathBuf::from(&deep).exists());
}

#[test]
fn a_directory_granted_for_writing_is_written_below_and_nowhere_else() {
    if !landlock("files::a_directory_granted_for_writing_is_written_below_and_nowhere_else", 3) {
        return;
    }
    let scratch = Scratch::new();
    let inside = scratch.at("inside");
    std::fs::create_dir(&inside).expect("our own folder");
    let (file, outside) = (scratch.file("inside/file", "A"), scratch.file("outside", "B"));
    let at = |name: &str| scratch.at(&format!("inside/{name}"));
    assert_tries(
        probe(&[]).grant(Grant::Write(PathBuf::from(&inside))),
        &[
            ("read", &file, "ok"),
            ("write", &file, "ok"),
            ("truncate", &file, "ok"),
            ("create", &at("new"), "ok"),
            ("rename", &at("new"), "ok"),
            ("remove", &at("new~"), "ok"),
            ("mkdir", &at("folder"), "ok"),
            ("link", &at("link"), "ok"),
            ("rename", &at("folder"), "ok"),
            ("rmdir", &at("folder~"), "ok"),
            ("read", &outside, "EACCES"),
            ("write", &outside, "EACCES"),
            ("remove", &outside, "EACCES"),
            ("create", &scratch.at("new"), "EACCES"),
            // The granted directory itself is an entry of one that is not granted.
            ("rename", &inside, "EACCES"),
        ],
    );
    let mut left: Vec<_> =
        std::fs::read_dir(&inside).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "link"]);
    assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "B");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "");
}

#[test]
fn a_grant_of_a_link_is_of_what_it_leads_to() {
    if !landlock("files::a_grant_of_a_link_is_of_what_it_leads_to", 1) {
        return;
    }
    let scratch = Scratch::new();
    let (a, link) = (scratch.file("a", "A"), scratch.at("link"));
    std::os::unix::fs::symlink(&a, &link).expect("our own folder");
    let mut command = probe(&[]);
    command.grant(Grant::Read(PathBuf::from(&link)));
    let real = std::fs::canonicalize(&a).expect("it is there");
    let shown = command.describe().expect("describe").files;
    assert!(shown.iter().any(|file| file.path == real && !file.below), "{shown:?}");
    assert_tries(&mut command, &[("read", &link, "ok"), ("read", &a, "ok")]);
}

#[test]
fn a_directory_in_a_slot_is_granted_for_reading() {
    if !landlock("files::a_directory_in_a_slot_is_granted_for_reading", 1) {
        return;
    }
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("inside")).expect("our own folder");
    let (file, outside) = (scratch.file("inside/file", "A"), scratch.file("outside", "B"));
    let folder = File::open(scratch.at("inside")).expect("our own folder");
    assert_tries(
        probe(&[]).slot("folder", folder),
        &[("read", &file, "ok"), ("write", &file, "EACCES"), ("read", &outside, "EACCES")],
    );
}

#[test]
fn a_grant_that_is_not_there_is_refused_and_named() {
    let grants = [Grant::Read as fn(PathBuf) -> Grant, Grant::Write, Grant::Execute];
    for (grant, flag) in grants.into_iter().zip(["--read", "--write", "--exec"]) {
        let error = probe(&[]).grant(grant("/nonexistent/x".into())).spawn().expect_err("it is not there");
        assert_eq!(error.to_string(), format!("grant {flag} /nonexistent/x: no such file or directory"));
        assert_eq!((error.fault(), error.errno()), (Fault::Caller, Some(libc::ENOENT)));
    }
}

#[test]
fn the_caller_itself_is_not_granted_by_way_of_proc() {
    let scratch = Scratch::new();
    let link = scratch.at("link");
    std::os::unix::fs::symlink("/proc/self", &link).expect("our own folder");
    let number = format!("/proc/{}", std::process::id());
    let deeper = format!("{link}/environ");
    for path in [
        "/proc/self",
        "/proc/self/environ",
        "/proc/self/fd",
        "/proc/thread-self",
        &number,
        &link,
        &deeper,
        "/proc/../proc/self/",
    ] {
        for grant in [Grant::Read(path.into()), Grant::Write(path.into()), Grant::Execute(path.into())] {
            let error = probe(&[]).grant(grant.clone()).spawn().expect_err("that is this process");
            assert_eq!((error.part(), error.fault()), (&*format!("grant {grant}"), Fault::Caller), "{error}");
        }
    }
}

#[test]
fn processes_and_sockets_come_by_grants() {
    let answer = |words: &[&str], grants: &[Grant]| said(probe(words).grants(grants.iter().cloned()));
    assert_eq!(answer(&["fork"], &[]), "EPERM\n");
    assert_eq!(answer(&["fork"], &[Grant::Spawn]), "ok\n");
    let [inet, unix] = ["2", "1"];
    let [stream, datagram, raw] = ["1", "2", "3"];
    assert_eq!(answer(&["socket", inet, stream, "0"], &[]), "EAFNOSUPPORT\n");
    assert_eq!(answer(&["socket", unix, stream, "0"], &[]), "EAFNOSUPPORT\n");
    if Support::detect().landlock.is_some_and(|abi| abi >= 4) {
        let tcp = [Grant::TcpConnect(80)];
        assert_eq!(answer(&["socket", inet, stream, "0"], &tcp), "ok\n");
        assert_eq!(answer(&["socket", inet, datagram, "0"], &tcp), "EACCES\n");
        assert_eq!(answer(&["socket", inet, raw, "1"], &tcp), "EACCES\n");
        assert_eq!(answer(&["socket", unix, stream, "0"], &tcp), "EAFNOSUPPORT\n");
    }
    assert_eq!(answer(&["socket", inet, datagram, "0"], &[Grant::Net]), "ok\n");
    assert_eq!(answer(&["socket", unix, stream, "0"], &[Grant::Net]), "EAFNOSUPPORT\n");
}

#[test]
fn ambient_authority_is_the_users() {
    let scratch = Scratch::new();
    let file = scratch.file("file", "A");
    assert_tries(
        probe(&[]).grant(Grant::Ambient),
        &[
            ("read", &file, "ok"),
            ("write", &file, "ok"),
            ("list", "/", "ok"),
            ("create", &scratch.at("new"), "ok"),
        ],
    );
    let answer = |words: &[&str]| said(probe(words).grant(Grant::Ambient));
    assert_eq!([answer(&["fork"]), answer(&["socket", "1", "1", "0"])], ["ok\n"; 2]);
    let description = probe(&[]).grant(Grant::Ambient).describe().expect("describe");
    assert!(description.ambient && description.enforced.is_empty());
    assert_eq!(description.stays_open(), ["everything that this user may do"]);
}

#[test]
fn what_this_kernel_cannot_keep_is_refused_unless_given_up() {
    if !landlock("files::what_this_kernel_cannot_keep_is_refused_unless_given_up", 1) {
        return;
    }
    let old = Support::detect().with_landlock_at_most(Some(3));
    let make = || {
        let mut command = probe(&["socket", "2", "1", "0"]);
        command.grant(Grant::TcpConnect(80)).support(old);
        command
    };
    let error = make().spawn().expect_err("ports need a newer one");
    assert_eq!((error.part(), error.fault()), ("promise tcp-ports", Fault::Kernel));
    assert!(error.to_string().contains("--degrade tcp-ports"), "{error}");
    // Giving up another promise does not help.
    assert!(make().degrade(Promise::Signals).spawn().is_err());
    let mut command = make();
    command.degrade(Promise::TcpPorts);
    let enforced = command.describe().expect("describe").enforced;
    let unkept: Vec<_> = enforced.iter().filter(|line| line.by.is_none()).map(|line| line.promise).collect();
    assert_eq!(unkept, [Promise::TcpPorts]);
    assert_eq!(said(&mut command), "ok\n");
}

#[test]
fn only_is_this_program_and_no_other() {
    let test = "files::only_is_this_program_and_no_other";
    if !has("sh") {
        return skip(test, Need::Program("sh"));
    }
    let run = |only: bool| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" exit 9", text(&program("probe"))]).only(only);
        command.grants([Grant::Base, Grant::Execute(program("probe"))]);
        let process = command.spawn().expect("spawn");
        end(&process).exit_code()
    };
    assert_eq!(run(false), 9);
    assert_eq!(run(true), 126, "found, and not runnable");
}

#[test]
fn executing_is_a_right_of_its_own() {
    let test = "files::executing_is_a_right_of_its_own";
    if !has("sh") {
        return skip(test, Need::Program("sh"));
    }
    if !landlock(test, 1) {
        return;
    }
    let run = |grant: fn(PathBuf) -> Grant| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$0\" exit 9", text(&program("probe"))]);
        command.grants([Grant::Base, grant(program("probe"))]);
        let process = command.spawn().expect("spawn");
        end(&process).exit_code()
    };
    assert_eq!([run(Grant::Execute), run(Grant::Read), run(Grant::Write)], [9, 126, 126]);
}

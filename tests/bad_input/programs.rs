//! Programs that are not there, or are something else.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use beget_tests::{Need, Scratch, is_root, skip, text};

use super::{ran, refused, run, succeeds};

#[test]
fn what_is_no_program_is_refused() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    scratch.script("empty", "");
    scratch.script("text", "echo this is no script\n");
    scratch.file("plain", "#!/bin/sh\n");
    let fifo = CString::new(folder.join("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: a path that ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o755) }, 0);
    let _socket = UnixListener::bind(folder.join("socket")).unwrap();
    for name in ["fifo", "socket"] {
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink("loop", folder.join("loop")).unwrap();
    symlink("nothing", folder.join("dangling")).unwrap();
    let long = "x".repeat(300);
    let long_path = format!("./{long}");
    let deep = format!("/{}", "x/".repeat(2500));
    let table: &[(&str, i32, &str)] = &[
        ("no-such-program", 127, "program no-such-program: not found in the child's PATH"),
        ("./no-such-program", 127, "program ./no-such-program: no such file or directory"),
        ("./no/such/program", 127, "program ./no/such/program: no such file or directory"),
        ("./text/program", 127, "program ./text/program: not a directory"),
        ("./dangling", 127, "program ./dangling: no such file or directory"),
        ("", 127, "program : no name was given"),
        (&long, 127, "not found in the child's PATH"),
        (&long_path, 126, "file name too long"),
        (&deep, 126, "file name too long"),
        ("./loop", 126, "program ./loop: too many levels of symbolic links"),
        ("/", 126, "program /: is a directory"),
        (".", 127, "program .: not found in the child's PATH"),
        ("./", 126, "program ./: is a directory"),
        ("./fifo", 126, "program ./fifo: not a regular file"),
        ("./socket", 126, "program ./socket: not a regular file"),
        ("/dev/null", 126, "program /dev/null: not a regular file"),
        ("./empty", 126, "program ./empty: neither an ELF executable nor a script"),
        ("./text", 126, "program ./text: neither an ELF executable nor a script"),
        ("./plain", 126, "program ./plain: permission denied"),
    ];
    for (program, code, words) in table {
        for flags in [&["--"][..], &["--base", "--"], &["--base", "--spawn", "--net", "--"]] {
            refused(run(flags.iter().chain([program])), folder, *code, words);
        }
    }
}

#[test]
fn a_program_that_only_the_callers_path_has_is_told_of() {
    let scratch = Scratch::new();
    let found = scratch.script("only-here", "#!/bin/sh\n");
    scratch.file("not-executable", "#!/bin/sh\n");
    let path = scratch.path().to_str().unwrap();
    let mut command = run(["--base", "--", "only-here"]);
    command.env("PATH", path);
    refused(command, scratch.path(), 127, &format!("your own PATH has {found}"));
    let mut command = run(["--base", "--", "not-executable"]);
    command.env("PATH", path);
    refused(command, scratch.path(), 127, "not found in the child's PATH (/usr/local/bin:/usr/bin:/bin)\n");
    // The child's own PATH is another matter.
    let own = format!("PATH={path}");
    refused(run(["--env", &own, "--", "not-executable"]), scratch.path(), 126, "may not be executed");
    assert_eq!(succeeds(scratch.path(), &["--base", "--env", &own, "--", "only-here"]), "");
    // An empty entry is not the working directory.
    refused(run(["--env", "PATH=:", "--", "only-here"]), scratch.path(), 127, "program only-here: not found");
}

#[test]
fn a_program_that_may_be_executed_and_not_read_runs() {
    if is_root() {
        return skip("a_program_that_may_be_executed_and_not_read_runs", Need::OrdinaryUser);
    }
    let scratch = Scratch::new();
    scratch.executable("unreadable", std::fs::read("/usr/bin/true").unwrap());
    std::fs::set_permissions(scratch.at("unreadable"), std::fs::Permissions::from_mode(0o111)).unwrap();
    assert_eq!(succeeds(scratch.path(), &["--base", "--", "./unreadable"]), "");
    std::fs::set_permissions(scratch.at("unreadable"), std::fs::Permissions::from_mode(0o444)).unwrap();
    refused(run(["--base", "--", "./unreadable"]), scratch.path(), 126, "permission denied");
    std::fs::create_dir(scratch.at("closed")).unwrap();
    std::fs::copy("/usr/bin/true", scratch.at("closed/true")).unwrap();
    std::fs::set_permissions(scratch.at("closed"), std::fs::Permissions::from_mode(0o000)).unwrap();
    refused(run(["--base", "--", "./closed/true"]), scratch.path(), 126, "permission denied");
    std::fs::set_permissions(scratch.at("closed"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The marks of rank do nothing: not for the program's own user, and not for its groups.
#[test]
fn a_set_uid_program_gains_nothing() {
    if !is_root() {
        return skip("a_set_uid_program_gains_nothing", Need::Root);
    }
    let scratch = Scratch::new();
    scratch.executable("id", std::fs::read("/usr/bin/id").unwrap());
    std::fs::set_permissions(scratch.at("id"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    let as_user = |words: &[&str]| {
        let mut command = std::process::Command::new("/usr/bin/setpriv");
        command.env_clear().args(["--reuid", "12345", "--regid", "12345", "--clear-groups"]);
        let output = beget_tests::finish(command.args(words).current_dir(scratch.path()));
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        text(&output.stdout)
    };
    if !as_user(&["./id"]).contains("euid=0") {
        return skip("a_set_uid_program_gains_nothing", Need::Machine("a temporary folder without nosuid"));
    }
    scratch.executable("beget", std::fs::read(beget_tests::program("beget-under-test")).unwrap());
    assert_eq!(as_user(&["./beget", "run", "--base", "--", "./id"]), "uid=12345 gid=12345 groups=12345\n",);
    assert!(as_user(&["./beget", "show", "--base", "--", "./id"]).contains("set-uid"));
}

/// What a mount says of execution holds for scripts too, though it is their interpreter that the kernel executes.
#[test]
fn nothing_runs_from_a_place_mounted_noexec() {
    const NAME: &str = "nothing_runs_from_a_place_mounted_noexec";
    let noexec = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let writable = |line: &&str| {
        let mut words = line.split(' ');
        let (place, options) = (words.nth(1)?, words.nth(1)?);
        let noexec = options.split(',').any(|option| option == "noexec");
        let folder = std::path::Path::new(place).join(format!("beget-test-{}", std::process::id()));
        (noexec && std::fs::create_dir(&folder).is_ok()).then_some(folder)
    };
    let Some(folder) = noexec.lines().find_map(|line| writable(&line)) else {
        return skip(NAME, Need::Machine("a writable place mounted noexec"));
    };
    std::fs::copy("/usr/bin/true", folder.join("true")).unwrap();
    std::fs::write(folder.join("script"), "#!/bin/sh\n").unwrap();
    let results = ["true", "script"].map(|name| {
        let path = folder.join(name);
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755));
        ran(std::path::Path::new("/"), &["--base", "--", path.to_str().unwrap()])
    });
    std::fs::remove_dir_all(&folder).unwrap();
    for output in results {
        assert_eq!(output.status.code(), Some(126));
        assert!(text(&output.stderr).contains("permission denied"), "{}", text(&output.stderr));
    }
}

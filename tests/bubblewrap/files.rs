//! The tree of files: its own places, what is granted into it, what is made for it, and nothing made outside.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn proc_is_its_own() {
    if !has_root("proc_is_its_own") {
        return;
    }
    let (code, out, _) = in_shell(&[], "cd /proc; for n in [0-9]*; do echo $n; done");
    assert_eq!(code, Some(0));
    assert!(out.lines().all(|number| number.parse::<u32>().is_ok_and(|number| number < 10)), "{out}");
    let own = std::process::id().to_string();
    assert!(out.lines().all(|number| number != own), "{out}");
}

#[test]
fn devices_are_there() {
    if !has_root("devices_are_there") {
        return;
    }
    let names = [
        "stdin", "stdout", "stderr", "null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "pts",
        "shm",
    ];
    for name in names {
        assert_eq!(in_shell(&[], &format!("test -e /dev/{name} || test -h /dev/{name}")), fine(""), "{name}");
    }
    assert_eq!(in_shell(&[], "echo x > /dev/null && head -c 3 /dev/zero | wc -c"), fine("3\n"));
    assert_eq!(in_shell(&[], "ls /dev | wc -l"), fine(&format!("{}\n", names.len())));
}

#[test]
fn there_is_no_network() {
    if !has_root("there_is_no_network") {
        return;
    }
    let (code, out, _) = in_shell(&[], "tail -n +3 /proc/net/dev");
    let interfaces: Vec<&str> =
        out.lines().filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!((code, interfaces), (Some(0), vec!["lo"]));
}

/// What the user may not read stays so, wherever it is put.
#[test]
fn what_its_user_may_not_read_stays_unread() {
    let test = "what_its_user_may_not_read_stays_unread";
    if beget_tests::is_root() {
        return skip(test, Need::OrdinaryUser);
    }
    if !has_root(test) {
        return;
    }
    assert!(std::fs::read("/etc/shadow").is_err() && std::fs::read_dir("/root").is_err());
    for (program, place) in [("cat", "/etc/shadow"), ("ls", "/root")] {
        let (code, out, _) = rooted(&["--read", &format!("{place}:/tmp/foo")], &[program, "/tmp/foo"]);
        assert!(code != Some(0) && out.is_empty(), "{place}");
        let (code, out, _) = rooted(&["--read", place], &[program, place]);
        assert!(code != Some(0) && out.is_empty(), "{place}");
    }
}

/// Below a link, not over one: a link that is there is never replaced.
#[test]
fn a_link_leads_to_a_place() {
    if !has_root("a_link_leads_to_a_place") {
        return;
    }
    let made = ["--dir", "/a/dir", "--symlink", "/a/link=dir"];
    let below = [&made[..], &["--read", "/etc/hosts:/a/link/hosts"]].concat();
    assert_eq!(rooted(&below, &["cat", "/a/dir/hosts"]).1, std::fs::read_to_string("/etc/hosts").unwrap());
    refused(&[&made[..], &["--read", "/etc:/a/link"]].concat(), "root: /a/link: ");
}

#[test]
fn links_say_what_was_given() {
    if !has_root("links_say_what_was_given") {
        return;
    }
    assert_eq!(rooted(&["--symlink", "/x/link=/dev/null"], &["readlink", "/x/link"]), fine("/dev/null\n"));
    // A second one there is refused, whether it says the same or not.
    refused(&["--symlink", "/x=/dev/null", "--symlink", "/x=/dev/full"], "root: /x: ");
    // Outside nothing is made; the program may, where it may write.
    let scratch = Scratch::new();
    let folder = scratch.at("");
    let flags = ["--write", &folder];
    assert_eq!(rooted(&flags, &["ln", "-s", "/dev/null", &scratch.at("link")]), fine(""));
    assert_eq!(std::fs::read_link(scratch.at("link")).unwrap(), std::path::Path::new("/dev/null"));
}

#[test]
fn the_real_tmp_is_there_when_it_is_granted() {
    if !has_root("the_real_tmp_is_there_when_it_is_granted") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, file) = (scratch.path().to_str().unwrap(), scratch.file("file", "hello"));
    assert_eq!(rooted(&["--read", folder], &["cat", &file]), fine("hello"));
    assert_eq!(rooted(&["--read", &format!("{folder}:/mnt")], &["cat", "/mnt/file"]), fine("hello"));
    assert_ne!(rooted(&[], &["cat", &file]).0, Some(0));
    // With the whole system to read, its own /tmp lies over the real one, until that is granted as well.
    let whole = |flags: &[&str]| {
        ran(&[&["run", "--root", "--read", "/", "--exec", "/usr"], flags, &["--", "cat", &file]].concat())
    };
    assert_eq!(whole(&["--read", "/tmp"]).1, if file.starts_with("/tmp/") { "hello" } else { "" });
    assert_ne!(whole(&[]).0, Some(0));
}

#[test]
fn another_folder_can_be_tmp_or_lie_in_it() {
    if !has_root("another_folder_can_be_tmp_or_lie_in_it") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("input", "hello\n");
    let folder = scratch.path().to_str().unwrap();
    for at in ["/tmp", "/tmp/here"] {
        let script = format!(
            "cat {at}/input; for place in oldroot newroot; do test -e /tmp/$place && echo $place; done; true"
        );
        assert_eq!(in_shell(&["--read", &format!("{folder}:{at}")], &script), fine("hello\n"));
    }
}

#[test]
fn nothing_is_made_outside() {
    if !has_root("nothing_is_made_outside") {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path().to_str().unwrap();
    let (file, below) = (scratch.file("some-file", ""), format!("{folder}/new-folder"));
    std::fs::create_dir(scratch.at("some-folder")).unwrap();
    let grants = [format!("{}:{below}", scratch.at("some-folder")), format!("{file}:{folder}/new-file")];
    let flags = ["--read", &grants[0], "--read", &grants[1]];
    let script = format!("stat -c %a {below} {folder}/new-file; ls {folder}");
    let (code, out, errors) = in_shell(&flags, &script);
    assert_eq!((code, out.as_str()), (Some(0), "755\n644\nnew-file\nnew-folder\n"), "{errors}");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["some-file", "some-folder"]);
}

/// Also where the program may write: what is put into a granted folder would stay there, by whatever links the way to it leads.
#[test]
fn nothing_is_made_in_a_granted_folder() {
    if !has_root("nothing_is_made_in_a_granted_folder") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, other) = (scratch.at("folder"), scratch.at("other"));
    for made in [&folder, &other, &format!("{folder}/there")] {
        std::fs::create_dir(made).unwrap();
    }
    std::os::unix::fs::symlink(&other, format!("{folder}/link")).unwrap();
    let link = format!("/way={folder}");
    let grants = ["--write", &folder, "--write", &other, "--symlink", &link];
    for place in [&folder, &format!("{folder}/link"), &format!("{folder}/there"), "/way"] {
        for (flag, rest) in [("--file", "=text"), ("--symlink", "=/etc"), ("--dir", ""), ("--tmpfs", "")] {
            let flags = [flag, &format!("{place}/new{rest}")];
            let (code, _, errors) = rooted(&[&grants[..], &flags].concat(), &["true"]);
            assert!(code == Some(125) && errors.starts_with("beget: root: "), "{flags:?}: {errors}");
        }
        refused(&[&grants[..], &["--read", &format!("/etc/hosts:{place}/new")]].concat(), "root: ");
    }
    for empty in [&other, &format!("{folder}/there")] {
        assert_eq!(std::fs::read_dir(empty).unwrap().count(), 0, "{empty}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    // What is there already is a place.
    let memory = format!("{folder}/there");
    let script = format!("echo x > {memory}/inside && ls {memory}");
    assert_eq!(in_shell(&[&grants[..], &["--tmpfs", &memory]].concat(), &script), fine("inside\n"));
    assert_eq!(std::fs::read_dir(memory).unwrap().count(), 0);
}

/// The system's whole tree, to read, with the links that others have made for them.
#[test]
fn all_that_there_is_can_be_granted() {
    if !has_root("all_that_there_is_can_be_granted") {
        return;
    }
    assert_eq!(rooted(&["--read", "/"], &["test", "-d", "/etc", "-a", "-e", "/bin/sh"]), fine(""));
}

#[test]
fn a_socket_is_reached_by_its_path() {
    let test = "a_socket_is_reached_by_its_path";
    if !has_root(test) {
        return;
    }
    if !beget_tests::has("python3") {
        return skip(test, Need::Program("python3"));
    }
    let scratch = Scratch::new();
    let path = scratch.at("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let program =
        format!("import socket; s = socket.socket(socket.AF_UNIX); s.connect('{path}'); print('connected')");
    assert_eq!(rooted(&["--unix", &path], &["python3", "-c", &program]), fine("connected\n"));
    assert_ne!(rooted(&[], &["python3", "-c", &program]).0, Some(0));
}

#[test]
fn what_is_made_has_its_modes() {
    if !has_root("what_is_made_has_its_modes") {
        return;
    }
    let flags = ["--dir", "/parent/folder", "--tmpfs", "/memory", "--file", "/place/file=text"];
    let script = "stat -c '%a %n' /parent /parent/folder /memory /place /place/file /tmp";
    let modes = "755 /parent\n755 /parent/folder\n755 /memory\n755 /place\n444 /place/file\n1777 /tmp\n";
    assert_eq!(in_shell(&flags, script), fine(modes));
    assert_eq!(
        in_shell(&flags, "cat /place/file; echo more > /memory/file; cat /memory/file"),
        fine("textmore\n")
    );
    for place in ["/parent/folder/file", "/place/file", "/place/other", "/file"] {
        assert_ne!(in_shell(&flags, &format!("echo no > {place}")).0, Some(0), "{place}");
    }
}

#[test]
fn memory_has_its_size() {
    if !has_root("memory_has_its_size") {
        return;
    }
    let script = "df --output=size --block-size=1K /memory /tmp | tail -n 2 | tr -d ' '";
    let flags = ["--tmpfs", "/memory=1M", "--tmp", "2097152"];
    assert_eq!(in_shell(&flags, script), fine("1024\n2048\n"));
    let (_, out, _) = in_shell(&flags, "head -c 2000000 /dev/zero > /memory/file; stat -c %s /memory/file");
    assert_eq!(out, "1048576\n");
}

#[test]
fn a_folder_is_given_by_descriptor() {
    let test = "a_folder_is_given_by_descriptor";
    if !has_root(test) {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("file-data", "foobar\n");
    let beget = beget_tests::program("beget-under-test");
    let script = format!(
        "exec 9< .; exec {} run --base --root --read /dev/fd/9:/mnt -- cat /mnt/file-data",
        beget.display()
    );
    let output = finish(std::process::Command::new("bash").args(["-c", &script]).current_dir(scratch.path()));
    assert_eq!(text(&output.stdout), "foobar\n", "{}", text(&output.stderr));
}

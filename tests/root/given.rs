//! What is granted: files and folders, at their own names and at others, in each other, by links, and the program itself.

use std::os::unix::fs::symlink;

use super::*;

/// A folder with a file, and a folder in it with another.
fn nested(scratch: &Scratch) -> [String; 2] {
    let (outer, inner) = (scratch.at("outer"), scratch.at("outer/inner"));
    std::fs::create_dir_all(&inner).unwrap();
    scratch.file("outer/file", "outer");
    scratch.file("outer/inner/file", "inner");
    [outer, inner]
}

#[test]
fn what_is_granted_below_a_grant_adds_to_it() {
    if !has_root("what_is_granted_below_a_grant_adds_to_it") {
        return;
    }
    let scratch = Scratch::new();
    let [outer, inner] = nested(&scratch);
    let script = format!(
        "cat {outer}/file {inner}/file; (echo no > {outer}/file) 2>/dev/null || echo kept; echo yes > {inner}/made && cat {inner}/made"
    );
    for flags in [["--read", &outer, "--write", &inner], ["--write", &inner, "--read", &outer]] {
        assert_eq!(in_shell(&flags, &script), fine("outerinnerkept\nyes\n"));
        std::fs::remove_file(scratch.at("outer/inner/made")).unwrap();
    }
    // The other way round it takes nothing away: what is granted is granted.
    let script = format!(
        "echo a > {inner}/made && echo b > {outer}/made && mv {inner}/made {outer}/moved && cat {outer}/moved"
    );
    assert_eq!(in_shell(&["--write", &outer, "--read", &inner], &script), fine("a\n"));
    assert_eq!(std::fs::read_to_string(scratch.at("outer/moved")).unwrap(), "a\n");
}

/// Parts of what `--base` gives, put elsewhere or added to.
#[test]
fn a_grant_goes_with_the_base() {
    if !has_root("a_grant_goes_with_the_base") {
        return;
    }
    let scratch = Scratch::new();
    nested(&scratch);
    let at = format!("{}:/usr/share/doc", scratch.at("outer"));
    assert_eq!(
        in_shell(
            &["--read", &at],
            "cat /usr/share/doc/file; echo; echo /usr/share/doc/*; test -e /usr/bin/env && echo there"
        ),
        fine("outer\n/usr/share/doc/file /usr/share/doc/inner\nthere\n")
    );
    assert_eq!(
        in_shell(&["--read", "/etc"], "cat /etc/hosts").1,
        std::fs::read_to_string("/etc/hosts").unwrap()
    );
}

#[test]
fn grants_lie_at_other_places() {
    if !has_root("grants_lie_at_other_places") {
        return;
    }
    let scratch = Scratch::new();
    let [outer, inner] = nested(&scratch);
    let file = scratch.at("outer/file");
    let (folder_at, file_at, write_at) =
        (format!("{outer}:/srv/deep/er"), format!("{file}:/srv/file"), format!("{inner}:/out"));
    let flags = ["--read", &folder_at, "--read", &file_at, "--write", &write_at, "--cwd", "/srv/deep/er"];
    let script = format!(
        "pwd; cat file inner/file /srv/file; echo x > /out/made; (echo x > inner/made) 2>/dev/null || echo kept; test -e {outer} || echo gone"
    );
    assert_eq!(in_shell(&flags, &script), fine("/srv/deep/er\nouterinnerouterkept\ngone\n"));
    assert_eq!(std::fs::read_to_string(scratch.at("outer/inner/made")).unwrap(), "x\n");
}

/// By the name that was asked for, which may have links in it, wherever they lead.
#[test]
fn links_on_the_way_to_a_grant_are_there() {
    if !has_root("links_on_the_way_to_a_grant_are_there") {
        return;
    }
    let scratch = Scratch::new();
    nested(&scratch);
    symlink("outer", scratch.at("relative")).unwrap();
    symlink(scratch.at("relative/inner"), scratch.at("absolute")).unwrap();
    symlink("../file", scratch.at("outer/inner/back")).unwrap();
    for (name, read) in [("relative/file", "outer"), ("absolute/file", "inner"), ("absolute/back", "outer")] {
        let name = scratch.at(name);
        assert_eq!(rooted(&["--read", &name], &["cat", &name]), fine(read), "{name}");
        // At another place it is the file itself.
        let at = format!("{name}:/x/file");
        assert_eq!(in_shell(&["--read", &at], "test -h /x/file || cat /x/file"), fine(read), "{name}");
    }
    let folder = scratch.at("absolute");
    assert_eq!(rooted(&["--read", &folder], &["cat", &format!("{folder}/file")]), fine("inner"));
    // What a link in a granted folder says leads nowhere outside.
    symlink("/etc/shadow", scratch.at("outer/out")).unwrap();
    assert_ne!(
        rooted(&["--read", &folder, "--read", &scratch.at("outer")], &["cat", &scratch.at("outer/out")]).0,
        Some(0)
    );
}

/// Of a file, too: what is written through a grant of one is written to it.
#[test]
fn a_file_is_written_through_its_grant() {
    if !has_root("a_file_is_written_through_its_grant") {
        return;
    }
    let scratch = Scratch::new();
    let (file, beside) = (scratch.file("file", "old"), scratch.file("beside", "old"));
    symlink("file", scratch.at("link")).unwrap();
    let link = scratch.at("link");
    // The folder that they lie in is one of the root's own /tmp: what is made there is not seen outside.
    let script = format!("echo new > {link}; echo new > {beside}; rm {link}");
    assert_eq!(in_shell(&["--write", &link], &script).2, "");
    assert_eq!(
        (std::fs::read_to_string(file).unwrap(), std::fs::read_to_string(beside).unwrap()),
        ("new\n".into(), "old".into())
    );
    assert!(Path::new(&link).is_symlink());
}

#[test]
fn the_program_is_found_by_any_of_its_names() {
    if !has_root("the_program_is_found_by_any_of_its_names") {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.executable("program", std::fs::read("/bin/echo").unwrap());
    let script = scratch.executable("script", "#!/bin/sh\necho script \"$1\"\n");
    symlink("program", scratch.at("to-program")).unwrap();
    symlink(&script, scratch.at("to-script")).unwrap();
    for flags in [&[][..], &["--loader", "direct"], &["--only"]] {
        for name in [&program, &scratch.at("to-program")] {
            assert_eq!(rooted(flags, &[name, "hello"]), fine("hello\n"), "{name} {flags:?}");
        }
        for name in [&script, &scratch.at("to-script")] {
            assert_eq!(rooted(flags, &[name, "hello"]), fine("script hello\n"), "{name} {flags:?}");
        }
    }
    // One that lies at another place is named by that.
    let (placed, below) = (format!("{program}:/opt/say"), format!("{}:/opt/all", scratch.at(".")));
    assert_eq!(rooted(&["--exec", &placed], &["/opt/say", "hello"]), fine("hello\n"));
    assert_eq!(rooted(&["--exec", &below], &["/opt/all/script", "hello"]), fine("script hello\n"));
    // It is granted itself, and what lies beside it is not.
    scratch.executable("beside", "#!/bin/sh\n");
    let list = format!("ls {}", scratch.at(""));
    let reader = scratch.executable("reader", format!("#!/bin/sh\n{list}\n"));
    assert_eq!(rooted(&["--spawn"], &[&reader]), fine("reader\n"));
}

#[test]
fn what_is_only_read_is_not_executed() {
    if !has_root("what_is_only_read_is_not_executed") {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.executable("program", std::fs::read("/bin/echo").unwrap());
    let at = format!("{program}:/srv/program");
    for (flag, code) in [("--read", Some(126)), ("--exec", Some(0))] {
        assert_eq!(in_shell(&[flag, &at], "/srv/program hello; exit $?").0, code, "{flag}");
    }
    let copied = "cp /usr/bin/echo /tmp/echo && /tmp/echo hello";
    assert_ne!(in_shell(&[], copied).0, Some(0));
}

#[test]
fn the_whole_system_can_be_granted() {
    if !has_root("the_whole_system_can_be_granted") {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.file("file", "hello");
    let whole = |flags: &[&str], script: &str| {
        ran(&[
            &["run", "--root", "--read", "/", "--exec", "/", "--spawn"],
            flags,
            &["--", "sh", "-c", script],
        ]
        .concat())
    };
    let (code, out, errors) = whole(
        &[],
        "ls -d /usr /etc /var /home; (: > /file) 2>/dev/null || echo kept; ls /proc | grep -c '^[0-9]'; ls -A /tmp | wc -l",
    );
    assert_eq!((code, out.as_str()), (Some(0), "/etc\n/home\n/usr\n/var\nkept\n4\n0\n"), "{errors}");
    // What is mounted below is read-only like the rest, and devices are its own few.
    let (_, out, _) = whole(&[], "(: > /dev/shm/../file) 2>/dev/null && echo made; ls /dev | tr '\\n' ' '");
    assert_eq!(out, "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
    assert_eq!(
        whole(&["--write", &scratch.at("")], &format!("cat {file}; echo x > {}", scratch.at("made"))).1,
        "hello"
    );
    assert_eq!(std::fs::read_to_string(scratch.at("made")).unwrap(), "x\n");
}

/// Files with contents, links, folders and memory, below each other and below what is granted.
#[test]
fn things_are_made_for_it() {
    if !has_root("things_are_made_for_it") {
        return;
    }
    let scratch = Scratch::new();
    nested(&scratch);
    let at = format!("{}:/desk", scratch.at("outer"));
    let flags = [
        "--tmpfs",
        "/desk/inner=1M",
        "--file",
        "/desk/inner/note=first\nsecond",
        "--symlink",
        "/desk/inner/link=note",
        "--dir",
        "/desk/inner/sub",
        "--read",
        &at,
    ];
    let script = "cat /desk/file /desk/inner/link; echo; ls /desk/inner; echo x > /desk/inner/own; cat /desk/inner/own; (echo x > /desk/inner/note) 2>/dev/null || echo kept; stat -c %a /desk/inner/note";
    // In memory that may be written all of it may, but for the file, whose mode says so, to whoever is not root.
    let said = "outerfirst\nsecond\nlink\nnote\nsub\nx\nkept\n444\n";
    assert_eq!(in_shell(&flags, script), fine(said));
    assert_eq!(std::fs::read_dir(scratch.at("outer/inner")).unwrap().count(), 1, "outside nothing was made");
}

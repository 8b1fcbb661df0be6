//! Scratch: the original stays, what was changed is gone at the end or kept, and found again.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;

/// Whether a folder that is only read can be written over here; says that it cannot.
fn has_overlays(test: &str) -> bool {
    if !has_root(test) {
        return false;
    }
    let scratch = Scratch::new();
    let (code, _, errors) = rooted(&["--scratch", path(scratch.path())], &["true"]);
    if code != Some(0) {
        assert!(errors.contains("overlay"), "{errors}");
        skip(test, Need::Machine("overlayfs for a user's own namespace"));
    }
    code == Some(0)
}

/// `file`, `other` and `folder/inside`.
fn original(scratch: &Scratch) -> String {
    std::fs::create_dir_all(scratch.at("original/folder")).unwrap();
    for name in ["file", "other", "folder/inside"] {
        scratch.file(&format!("original/{name}"), name);
    }
    scratch.at("original")
}

/// Names, modes, times and contents below a folder.
fn picture(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (at, status) = (entry.path(), entry.metadata().unwrap());
        let contents = std::fs::read_to_string(&at).unwrap_or_default();
        lines.push(format!(
            "{} {:o} {} {} {contents}",
            at.display(),
            status.mode(),
            status.mtime_nsec(),
            status.ino()
        ));
        if status.is_dir() {
            lines.extend(picture(&at));
        }
    }
    lines.sort();
    lines
}

const CHANGE: &str = "echo new > file && mv other renamed && rm -r folder && mkdir folder made && echo x > folder/again && chmod 600 renamed && ln -s file link";
const LIST: &str = "cat file renamed folder/again; readlink link; test -e other || echo gone; ls folder; ls";
const LISTED: &str = "new\notherx\nfile\ngone\nagain\nfile\nfolder\nlink\nmade\nrenamed\n";

/// What overlayfs leaves in its own folder has no rights at all: they are given back so that it can be removed.
fn open_up(keep: &str) {
    let folder = format!("{keep}/.work/work");
    if Path::new(&folder).exists() {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn the_original_stays_as_it_is() {
    if !has_overlays("the_original_stays_as_it_is") {
        return;
    }
    let scratch = Scratch::new();
    let folder = original(&scratch);
    let before = picture(Path::new(&folder));
    for flags in [
        vec!["--scratch", &folder],
        vec!["--scratch", &folder, "--read", &folder],
        vec!["--read", &folder, "--scratch", &folder],
    ] {
        let flags = [&flags[..], &["--cwd", &folder]].concat();
        assert_eq!(in_shell(&flags, &format!("{CHANGE} && {LIST}")), fine(LISTED));
        assert_eq!(picture(Path::new(&folder)), before);
    }
}

/// What it is made of is not to be seen: no lower, upper or work folder has a name.
#[test]
fn what_it_is_made_of_has_no_name() {
    if !has_overlays("what_it_is_made_of_has_no_name") {
        return;
    }
    let scratch = Scratch::new();
    let folder = original(&scratch);
    let script = "ls -A; cd ..; ls -A; for at in lower kept kept/changes kept/.work; do test -e original/$at && echo $at; done; true";
    assert_eq!(
        in_shell(&["--scratch", &folder, "--cwd", &folder], script),
        fine("file\nfolder\nother\noriginal\n")
    );
}

#[test]
fn the_difference_is_kept_and_used_again() {
    if !has_overlays("the_difference_is_kept_and_used_again") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, keep) = (original(&scratch), scratch.at("keep"));
    std::fs::create_dir(&keep).unwrap();
    let before = picture(Path::new(&folder));
    let flags = ["--scratch", &folder, "--keep", &keep, "--cwd", &folder];
    assert_eq!(in_shell(&flags, &format!("{CHANGE} && {LIST}")), fine(LISTED));
    let changes = |name: &str| format!("{keep}/changes/{name}");
    assert_eq!(std::fs::read_to_string(changes("file")).unwrap(), "new\n");
    assert_eq!(std::fs::read_to_string(changes("renamed")).unwrap(), "other");
    assert_eq!(std::fs::metadata(changes("renamed")).unwrap().permissions().mode() & 0o777, 0o600);
    let removed = std::fs::symlink_metadata(changes("other")).unwrap();
    assert!(removed.file_type().is_char_device() && removed.rdev() == 0, "what was removed is a device 0/0");
    assert_eq!(picture(Path::new(&folder)), before);
    // Again, and changed further; the original is still what it was.
    assert_eq!(in_shell(&flags, LIST), fine(LISTED));
    assert_eq!(
        in_shell(&flags, "echo back > other && rm file && ls"),
        fine("folder\nlink\nmade\nother\nrenamed\n")
    );
    assert_eq!(in_shell(&flags, "cat other; test -e file || echo gone"), fine("back\ngone\n"));
    assert_eq!(picture(Path::new(&folder)), before);
    // Elsewhere, and with another that keeps nothing.
    let second = format!("{folder}:/second");
    let both = [&["--scratch", &second][..], &flags].concat();
    assert_eq!(in_shell(&both, "cat /second/file; echo; cat other"), fine("file\nback\n"));
    open_up(&keep);
}

/// The folder that is kept is no way around: what it holds is seen through the scratch alone.
#[test]
fn what_is_kept_is_not_granted() {
    if !has_overlays("what_is_kept_is_not_granted") {
        return;
    }
    let scratch = Scratch::new();
    let (folder, keep) = (original(&scratch), scratch.at("keep"));
    std::fs::create_dir(&keep).unwrap();
    scratch.file("keep/note", "not for it");
    let script = format!("test -e {keep} || echo gone");
    assert_eq!(in_shell(&["--scratch", &folder, "--keep", &keep], &script), fine("gone\n"));
    let wrong = |keep: &str| {
        let (code, _, errors) = in_shell(&["--scratch", &folder, "--keep", keep], "true");
        assert_eq!((code, errors.lines().count()), (Some(125), 1), "{errors}");
        assert!(errors.starts_with("beget: root: --keep "), "{errors}");
    };
    wrong(&scratch.at("original/folder"));
    wrong(&folder);
    wrong(path(scratch.path()));
    wrong(&scratch.at("no-such-folder"));
    open_up(&keep);
}

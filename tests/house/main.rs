//! The house keeps its own rules: arrows go down, `unsafe` stays in its rooms, files stay short, nothing is left undone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use beget_tests::{Need, skip, text};

/// Rooms from the top to the bottom. An arrow may only go to a later one.
const ROOMS: [&str; 10] =
    ["cli", "spec", "service", "factory", "beget", "channel", "authority", "monitor", "plan", "sys"];
/// Where `unsafe` may be.
const UNSAFE_ROOMS: [&str; 2] = ["plan", "sys"];
const LONGEST_FILE: usize = 600;

/// The sources, where they can be read: the tests also run from a copy, by a user who cannot.
fn sources(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.to_owned();
    if fs::read_dir(root.join("crates")).is_err() {
        skip(test, Need::Machine("to read the sources"));
        return None;
    }
    Some(root)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn every_file(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for room in ["crates", "tests", "bench", "fuzz"] {
        rust_files(&root.join(room), &mut found);
    }
    found
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("our own sources are text")))
        .collect()
}

#[test]
fn arrows_go_down() {
    let Some(root) = sources("arrows_go_down") else { return };
    for (place, room) in ROOMS.iter().enumerate() {
        let manifest = fs::read_to_string(root.join("crates").join(room).join("Cargo.toml"))
            .expect("every room has one");
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let dependencies = dependencies.split("\n[").next().unwrap_or("");
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            let other = name.strip_prefix("beget-").unwrap_or(name);
            if let Some(to) = ROOMS.iter().position(|room| *room == other) {
                assert!(to > place, "{room} depends on {other}: that arrow goes up");
            }
        }
    }
}

/// What a build of a package takes, one `name features` a line, as cargo itself has it.
fn tree(cargo: &OsStr, root: &Path, words: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(cargo);
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"]);
    let output =
        cargo.args(["--format", "{lib} {f}"]).args(words).current_dir(root).output().expect("cargo is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// Plain blocking use needs no async runtime, and the feature takes nothing of tokio's own processes and signals.
#[test]
fn a_runtime_is_there_only_for_the_feature() {
    let Some(root) = sources("a_runtime_is_there_only_for_the_feature") else { return };
    let Some(cargo) = std::env::var_os("CARGO") else {
        return skip("a_runtime_is_there_only_for_the_feature", Need::Machine("to be run by cargo"));
    };
    let names = |all: &[String]| -> BTreeSet<String> {
        all.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let runtime = ["tokio", "mio", "socket2", "bytes", "futures_core", "async_io"];
    for package in ["beget", "beget-cli"] {
        let plain = names(&tree(&cargo, &root, &["--package", package]));
        assert!(plain.contains("rustix"), "{plain:?}");
        assert!(runtime.iter().all(|name| !plain.contains(*name)), "{package}: {plain:?}");
    }
    let featured = tree(&cargo, &root, &["--package", "beget", "--features", "tokio"]);
    let tokio = featured.iter().find_map(|line| line.strip_prefix("tokio ")).expect("it is there now");
    let allowed = ["libc", "mio", "net", "rt", "socket2", "sync"];
    assert!(tokio.split(',').all(|feature| allowed.contains(&feature)), "{tokio}");
    let (plain, featured) = (names(&tree(&cargo, &root, &["--package", "beget"])), names(&featured));
    let more: Vec<&String> = featured.difference(&plain).collect();
    assert_eq!(more, ["libc", "mio", "pin_project_lite", "socket2", "tokio"]);
}

/// The monitor is what everybody trusts: nothing gets into it unseen.
#[test]
fn the_monitor_draws_in_little() {
    let Some(root) = sources("the_monitor_draws_in_little") else { return };
    let Some(cargo) = std::env::var_os("CARGO") else {
        return skip("the_monitor_draws_in_little", Need::Machine("to be run by cargo"));
    };
    let all = tree(&cargo, &root, &["--package", "beget-monitor"]);
    let names: BTreeSet<&str> = all.iter().filter_map(|line| line.split(' ').next()).collect();
    let allowed = ["beget_monitor", "beget_plan", "beget_sys", "bitflags", "linux_raw_sys", "rustix"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), allowed);
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let Some(root) = sources("unsafe_stays_in_its_rooms") else { return };
    for room in ROOMS {
        let library = fs::read_to_string(root.join("crates").join(room).join("src/lib.rs"))
            .expect("every room has one");
        let forbids = library.contains("#![forbid(unsafe_code)]");
        assert_eq!(forbids, !UNSAFE_ROOMS.contains(&room), "{room}");
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let Some(root) = sources("files_are_short_and_say_what_they_are_for") else { return };
    for (path, text) in every_file(&root) {
        assert!(
            text.lines().count() <= LONGEST_FILE,
            "{} is longer than {LONGEST_FILE} lines",
            path.display()
        );
        let opens = text.lines().find(|line| !line.starts_with("#!")).unwrap_or("");
        assert!(opens.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[test]
fn nothing_is_left_undone() {
    let Some(root) = sources("nothing_is_left_undone") else { return };
    // Written in two halves, so that this file does not find itself.
    let marks = [["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"], ["dbg", "!("], ["FIX", "ME"]]
        .map(|half| half.concat());
    for (path, text) in every_file(&root) {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{}: {mark}", path.display());
        }
    }
}

/// Figures come from a run of `beget bench --write`, never by hand. Where what writes them was changed, `WRITE_RESULTS=1` writes them anew from
/// the results of that run.
#[test]
fn figures_are_those_of_the_results() {
    let Some(root) = sources("figures_are_those_of_the_results") else { return };
    let results = beget_bench::repository::results(&root).expect("they are there");
    for (path, written) in
        beget_bench::repository::files(&root, &results).expect("every place has its figure")
    {
        if std::env::var_os("WRITE_RESULTS").is_some() {
            fs::write(&path, &written).expect("the repository is ours");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let place = kept.lines().zip(written.lines()).position(|(kept, written)| kept != written);
        assert!(
            kept == written,
            "{} is not what bench/results.json says, from line {} on; `beget bench --write` writes both",
            path.display(),
            place.map_or(kept.lines().count(), |line| line + 1),
        );
    }
}

#[test]
fn what_is_written_from_the_tables_is_as_they_say() {
    let Some(root) = sources("what_is_written_from_the_tables_is_as_they_say") else { return };
    for page in beget_cli::pages() {
        let kept = fs::read_to_string(root.join(&page.path)).unwrap_or_default();
        let place = kept.lines().zip(page.text.lines()).position(|(kept, written)| kept != written);
        assert!(
            kept == page.text,
            "{} is not what the tables of commands and flags say, from line {} on; `cargo run -p beget-cli --example pages` writes it anew",
            page.path,
            place.map_or(kept.lines().count(), |line| line + 1),
        );
    }
    // And nothing lies there that is not written any more.
    let written: Vec<PathBuf> = beget_cli::pages().iter().map(|page| root.join(&page.path)).collect();
    for entry in fs::read_dir(root.join("docs/man")).expect("it is ours").flatten() {
        assert!(written.contains(&entry.path()), "{} is left over", entry.path().display());
    }
}

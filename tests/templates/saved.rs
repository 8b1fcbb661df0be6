//! Images that last: what is saved goes on as it would have, in another process, after the first is gone; and what is not as it was is refused.

use std::fs::File;
use std::path::Path;

use beget_factory::saved::{Image, Loaded, Saving, Verify, save};
use beget_tests::Scratch;

use super::ready::{echo, kinds};
use super::*;

/// A program stopped where it is ready, and what keeps it.
pub(super) fn stopped(command: &mut Command, ready: &Ready) -> (Tracee, Template, PipeWriter) {
    let nursery = Nursery::new().expect("a nursery");
    let (theirs, input) = std::io::pipe().expect("a pipe");
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    tracee.run_until_ready(ready, LONG).unwrap_or_else(|error| panic!("{ready}: {error}"));
    (tracee, template, input)
}

fn new_file(path: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path).expect("a new file")
}

/// Saves a program, which ends then.
fn saved(command: &mut Command, ready: &Ready, path: &Path) {
    let (mut tracee, _template, _input) = stopped(command, ready);
    let saving = Saving { ready, note: b"a note", planted: None };
    let info = save(&mut tracee, &saving, &new_file(path)).unwrap_or_else(|error| panic!("{ready}: {error}"));
    assert_eq!((info.ready.as_str(), info.note.as_slice()), (ready.to_string().as_str(), &b"a note"[..]));
    assert_eq!(info.size, std::fs::metadata(path).expect("it is there").len());
}

/// A template of a saved program.
fn loaded(command: &mut Command, path: &Path, verify: Verify) -> beget_factory::Result<Made> {
    let image = Image::open(File::open(path).expect("it is there"), verify)?;
    let nursery = Nursery::new().expect("a nursery");
    let (theirs, input) = std::io::pipe().expect("a pipe");
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let Loaded { process, template, point } = image.load(command.nursery(&nursery))?;
    Ok(Made { template, point, _process: process, _input: input })
}

fn well_loaded(command: &mut Command, path: &Path, verify: Verify) -> Made {
    loaded(command, path, verify).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn programs_of_each_kind_go_on_from_a_file() {
    let scratch = Scratch::new();
    for (number, (kind, program)) in kinds().into_iter().enumerate() {
        let expected = cold(&mut echo(&program), "one\ntwo\n");
        for ready in [Ready::Entry, Ready::Main, Ready::Stdin, Ready::Symbol("work_begins".into())] {
            let path = scratch.path().join(format!("{number}-{ready}"));
            saved(&mut echo(&program), &ready, &path);
            let made = well_loaded(&mut echo(&program), &path, Verify::Whole);
            for _ in 0..3 {
                assert_eq!(made.run("one\ntwo\n"), expected, "{kind}, {ready}");
            }
        }
    }
}

#[test]
fn interpreters_go_on_from_a_file() {
    let scratch = Scratch::new();
    let cases: [(&[&str], &str); 4] = [
        (&["/bin/cat"], "as it came"),
        (&["/usr/bin/bash", "-s", "a", "b"], "echo $# $2; read line; echo $line\nnext\nexit 4"),
        (&["/usr/bin/python3", "-"], "import sys, json; print(json.dumps(sys.argv)); sys.exit(5)"),
        (&["/usr/bin/perl"], "print 6 * 7, \"\\n\"; exit 6;"),
    ];
    for (number, (words, input)) in cases.into_iter().enumerate() {
        if !Path::new(words[0]).exists() {
            continue;
        }
        let command = || {
            let mut command = base(words[0]);
            command.args(&words[1..]);
            command
        };
        let expected = cold(&mut command(), input);
        let path = scratch.path().join(number.to_string());
        saved(&mut command(), &Ready::Stdin, &path);
        for verify in [Verify::Whole, Verify::Sealed, Verify::Lazy] {
            let made = well_loaded(&mut command(), &path, verify);
            for _ in 0..5 {
                assert_eq!(made.run(input), expected, "{words:?} {verify:?}");
            }
        }
    }
}

//! Images that last: what is saved goes on as it would have, in another process, after the first is gone; and what is not as it was is refused.

use std::fs::File;
use std::path::Path;

use beget_factory::saved::{Image, Loaded, Restored, Saving, Verify, save, save_serving};
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
pub(super) fn saved(command: &mut Command, ready: &Ready, path: &Path) {
    let (mut tracee, _template, _input) = stopped(command, ready);
    let saving = Saving { ready, adapter: None, note: b"a note", planted: None };
    let info = save(&mut tracee, &saving, &new_file(path)).unwrap_or_else(|error| panic!("{ready}: {error}"));
    assert_eq!((info.ready.as_str(), info.note.as_slice()), (ready.to_string().as_str(), &b"a note"[..]));
    assert_eq!(info.size, std::fs::metadata(path).expect("it is there").len());
}

/// A template of a saved program.
pub(super) fn loaded(command: &mut Command, path: &Path, verify: Verify) -> beget_factory::Result<Made> {
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

/// Set where this very test is run again as another process, which saves into that file and is gone then.
const SAVE_INTO: &str = "BEGET_TEST_SAVE_INTO";

#[test]
fn another_process_goes_on_where_one_that_is_gone_has_saved() {
    let command = || {
        let mut command = base("/bin/sh");
        command.arg("-c").arg("x=$((6 * 7)); read y; echo $x $y");
        command
    };
    if let Some(path) = std::env::var_os(SAVE_INTO) {
        saved(&mut command(), &Ready::Stdin, Path::new(&path));
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path().join("image");
    let name = "saved::another_process_goes_on_where_one_that_is_gone_has_saved";
    let mut again = std::process::Command::new(std::env::current_exe().expect("a running test has a path"));
    let status =
        again.args(["--exact", name]).env(SAVE_INTO, &path).stdout(std::process::Stdio::null()).status();
    assert!(status.expect("it runs").success());
    let made = well_loaded(&mut command(), &path, Verify::Whole);
    for number in 0..100 {
        assert_eq!(made.run(&format!("{number}\n")).out, format!("42 {number}\n"));
    }
}

#[test]
fn a_library_that_was_moved_or_made_anew_is_told() {
    if !beget_tests::has("gcc") {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path();
    let build = |text: &str, more: &[&str], to: &Path| {
        let source = folder.join("source.c");
        std::fs::write(&source, text).expect("room");
        let status = std::process::Command::new("gcc").args(["-o"]).arg(to).arg(&source).args(more).status();
        assert!(status.expect("gcc runs").success());
    };
    let (library, program, path) = (folder.join("libown.so"), folder.join("program"), folder.join("image"));
    let text = "int answer(void) { return 42; }";
    build(text, &["-shared", "-fPIC"], &library);
    let link = format!("-L{0} -lown -Wl,-rpath,{0}", folder.display());
    let main = "#include <stdio.h>\nint answer(void); int main(void) { getchar(); printf(\"%d\\n\", answer()); return 0; }";
    build(main, &link.split(' ').collect::<Vec<_>>(), &program);
    let command = || {
        let mut command = base(program.to_str().expect("a plain name"));
        command.grant(Grant::Execute(folder.to_owned()));
        command
    };
    saved(&mut command(), &Ready::Stdin, &path);
    assert_eq!(well_loaded(&mut command(), &path, Verify::Whole).run("x").out, "42\n");
    let told = |command: &mut Command| match loaded(command, &path, Verify::Whole) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    };
    // The same bytes in another file are the same library.
    std::fs::copy(&library, folder.join("copy")).expect("room");
    std::fs::rename(folder.join("copy"), &library).expect("room");
    assert_eq!(well_loaded(&mut command(), &path, Verify::Whole).run("x").out, "42\n");
    build(&text.replace("42", "43"), &["-shared", "-fPIC"], &library);
    let name = library.display();
    assert!(told(&mut command()).starts_with(&format!("image: file {name}: it was changed")));
    std::fs::rename(&library, folder.join("moved")).expect("room");
    std::fs::write(&library, "").expect("room");
    assert!(told(&mut command()).starts_with(&format!("image: file {name}: it was changed")));
    std::fs::remove_file(&library).expect("it is there");
    // The program that is executed to begin with does not need it: it never runs.
    assert_eq!(told(&mut command()), format!("image: file {name}: no such file or directory"));
    std::fs::rename(folder.join("moved"), &library).expect("room");
    std::fs::remove_file(&program).expect("it is there");
    assert!(told(&mut command()).contains("no such file"));
    assert!(
        told(&mut base("/bin/cat")).contains("the command executes /usr/bin/cat")
            || !Path::new("/usr/bin/cat").exists()
    );
}

#[test]
fn what_is_not_granted_is_not_loaded() {
    let scratch = Scratch::new();
    let path = scratch.path().join("image");
    saved(&mut base("/bin/cat"), &Ready::Stdin, &path);
    // Its loader alone is granted with it, and no library.
    let error = match loaded(&mut Command::new("/bin/cat"), &path, Verify::Whole) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    };
    assert!(error.ends_with("permission denied"), "{error}");
}

#[test]
fn a_template_that_is_frozen_and_serves_is_saved_and_serves_on() {
    let scratch = Scratch::new();
    let command = || {
        let mut command = base("/usr/bin/bash");
        command.arg("-s");
        command
    };
    let (mut tracee, template, input) = stopped(&mut command(), &Ready::Stdin);
    let planted = tracee.plant().expect("a stub");
    beget_factory::memory::freeze(&mut tracee, template.as_fd(), Some(&planted)).expect("it is frozen");
    // Before it serves, and after.
    let saving = Saving { ready: &Ready::Stdin, adapter: None, note: b"", planted: Some(&planted) };
    let (before, after, again) =
        (scratch.path().join("before"), scratch.path().join("after"), scratch.path().join("again"));
    save(&mut tracee, &saving, &new_file(&before)).expect("it is saved");
    let process = tracee.serve(&planted).expect("it serves");
    let point = Point { ready: Ready::Stdin, arguments: None };
    let made = Made { template, point, _process: process, _input: input };
    let input = "x=(1 2 3); echo ${#x[@]} $((1 + 1)); exit 9";
    let expected = cold(&mut command(), input);
    assert_eq!(expected.out, "3 2\n");
    assert_eq!(made.run(input), expected);
    for path in [&after, &again] {
        save_serving(&made._process, &saving, &new_file(path)).expect("it is saved");
        for _ in 0..3 {
            assert_eq!(made.run(input), expected);
        }
    }
    for path in [&before, &after, &again] {
        let made = well_loaded(&mut command(), path, Verify::Whole);
        for _ in 0..3 {
            assert_eq!(made.run(input), expected, "{}", path.display());
        }
    }
    // What was loaded is a template as any other: it is frozen, and saved in its turn.
    let image = Image::open(File::open(&after).expect("it is there"), Verify::Whole).expect("it is whole");
    let nursery = Nursery::new().expect("a nursery");
    let mut third = command();
    third.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Restored { mut tracee, template, .. } =
        image.restore(third.nursery(&nursery)).expect("it is restored");
    let planted = tracee.plant().expect("a stub");
    beget_factory::memory::freeze(&mut tracee, template.as_fd(), Some(&planted)).expect("it is frozen");
    let last = scratch.path().join("last");
    let saving = Saving { planted: Some(&planted), ..saving };
    save(&mut tracee, &saving, &new_file(&last)).expect("it is saved");
    assert_eq!(well_loaded(&mut command(), &last, Verify::Whole).run(input), expected);
}

#[test]
fn what_cannot_be_saved_truly_is_refused_by_name() {
    if !beget_tests::has("gcc") {
        return;
    }
    let program = crate::fixtures::c(
        r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <pthread.h>
        #include <signal.h>
        #include <sys/eventfd.h>
        #include <sys/mman.h>
        #include <sys/prctl.h>
        #include <time.h>
        #include <unistd.h>
        static void *sleeps(void *x) { pause(); return x; }
        int main(int argc, char **argv) {
            pthread_t other; timer_t timer; int both[2], file;
            switch (argv[1][0]) {
                case 't': pthread_create(&other, 0, sleeps, 0); break;
                case 'a': alarm(1000); break;
                case 'c': { struct sigevent none = { .sigev_notify = SIGEV_NONE }; timer_create(CLOCK_REALTIME, &none, &timer); break; }
                case 'k': if (!fork()) for (;;) pause(); break;
                case 'e': eventfd(0, 0); break;
                case 'p': pipe(both); break;
                case 'd': file = open("/usr", O_RDONLY); break;
                case 'm': mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0); break;
                case 'l': mlock(argv, 1); break;
                case 'f': madvise(mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, MADV_DONTFORK); break;
                case 's': { sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, 0); raise(SIGTERM); break; }
                case '2': file = open("/etc/passwd", O_RDONLY); dup(file); break;
            }
            kill(getpid(), SIGSTOP);
            return 0;
        }"#,
        &["-pthread", "-Wno-unused-result"],
    );
    let scratch = Scratch::new();
    for (what, words) in [
        ("thread", "image: threads: it has 2"),
        ("kin", "image: children: it has some"),
        ("alarm", "image: timers: one is armed"),
        ("create", "image: timers: it has made some"),
        ("eventfd", "image: descriptor 3: it is no regular file: anon_inode:[eventfd]"),
        ("pipe", "image: descriptor 3: it is no regular file: pipe:"),
        ("directory", "image: descriptor 3: it is no regular file: /usr"),
        ("memory", "it is shared, and can be written"),
        ("lock", "it is locked (mlock)"),
        ("fork", "it is not in a copy"),
        ("signal", "image: signals: some wait"),
        ("2", "image: descriptor 4: it is of the same file as another"),
    ] {
        let (mut tracee, _template, _input) =
            stopped(base(&program).grant(Grant::Spawn).arg(what), &Ready::Stop);
        let path = scratch.path().join(what);
        let saving = Saving { ready: &Ready::Stop, adapter: None, note: b"", planted: None };
        let error = save(&mut tracee, &saving, &new_file(&path)).expect_err("it cannot be saved").to_string();
        assert!(error.contains(words), "{what}: {error}");
        // Nothing was written before all was looked at.
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 0);
    }
}

#[test]
fn products_of_what_was_loaded_have_their_own_arguments() {
    let scratch = Scratch::new();
    for (number, (kind, program)) in kinds().into_iter().enumerate() {
        for ready in [Ready::Entry, Ready::Main] {
            let path = scratch.path().join(format!("{number}-{ready}"));
            saved(&mut echo(&program), &ready, &path);
            let warm = made(&mut echo(&program), &ready, LONG).expect("a template");
            let made = well_loaded(&mut echo(&program), &path, Verify::Whole);
            for count in [1, 3, 200] {
                let list: Vec<OsString> = (0..count).map(|word| format!("word {word}").into()).collect();
                let meant = warm.run_with("one\n", Some(&list), None).expect("a product");
                let ran = made.run_with("one\n", Some(&list), None);
                assert_eq!(
                    ran.unwrap_or_else(|error| panic!("{kind}, {ready}: {error}")),
                    meant,
                    "{kind}, {ready}"
                );
            }
        }
    }
}

#[test]
fn no_sequence_of_the_programs_is_under_way_in_a_stub() {
    let (mut tracee, _template, _input) = stopped(&mut base("/bin/cat"), &Ready::Stdin);
    let Ok((at, bytes, _)) = beget_sys::trace::processor_note(tracee.number()) else { return };
    if bytes == 0 {
        // An older C library has none.
        return;
    }
    // As a program could have left it: what the kernel looks at when it interrupts any instruction of the process.
    tracee.write(at + 8, &tracee.registers.rsp.to_ne_bytes()).expect("it is its own");
    tracee.plant().expect("a stub");
    assert_eq!(tracee.word(at + 8).expect("it is its own"), 0);
}

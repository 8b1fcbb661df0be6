//! Hazards: what would go wrong in a copy is found in a program that was made for it, and is cured, told, or refused by its name.

use std::io::Read;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

use beget::Root;
use beget_factory::survey::{self, Expectations, Kind, Survey, Verdict};
use beget_tests::{Need, Scratch, has, skip};

use super::*;

/// The program, made once.
fn program() -> String {
    let warnings = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", "-lrt"];
    fixtures::c(include_str!("hazards.c"), &warnings)
}

/// The program with this hazard, stopped where it is ready.
struct Stopped {
    scratch: Scratch,
    tracee: Tracee,
    template: Template,
    before: Expectations,
}

fn ready(words: &[&str], more: impl FnOnce(&mut Command)) -> Option<Stopped> {
    if !has("gcc") {
        skip("hazards", Need::Program("gcc"));
        return None;
    }
    let scratch = Scratch::new();
    scratch.file("file", "0123456789");
    std::fs::create_dir(scratch.at("folder")).expect("our own folder");
    for name in ["folder/a", "folder/b", "folder/c"] {
        scratch.file(name, "");
    }
    let fifo = std::ffi::CString::new(scratch.at("fifo")).expect("a path");
    // SAFETY: a path of ours.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let mut command = base(&program());
    let folder = scratch.at("");
    let folder = folder.trim_end_matches('/');
    command.arg(folder).args(words).grant(Grant::Write(folder.into()));
    let (input, output) = std::io::pipe().expect("a pipe");
    // Something stands in for what each product is given; the writing end of input is here, so it does not end.
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    more(&mut command);
    let nursery = Nursery::new().expect("a nursery");
    let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    let before = Expectations::at_birth(&tracee).expect("its birth");
    tracee.run_until_ready(&Ready::Stop, LONG).expect("it stops itself");
    drop(output);
    Some(Stopped { scratch, tracee, template, before })
}

impl Stopped {
    /// The words of the one error, and the kinds that were refused.
    fn refused(mut self) -> (String, Vec<Kind>) {
        let error = survey::survey(&mut self.tracee, &self.before).expect_err("it is refused").to_string();
        let survey = survey::examine(&mut self.tracee, &self.before).expect("it can be looked at");
        let refused = survey.hazards().iter().filter(|hazard| hazard.is_refused());
        (error, refused.map(|hazard| hazard.kind).collect())
    }

    fn serve(mut self) -> (Scratch, Survey, Template, Process) {
        let survey = survey::survey(&mut self.tracee, &self.before).expect("nothing is refused");
        let planted = self.tracee.plant().expect("a stub");
        let process = self.tracee.serve(&planted).expect("it serves");
        (self.scratch, survey, self.template, process)
    }
}

/// A product with its own files, and what it writes.
fn product(survey: &Survey, template: &Template) -> String {
    let (mut output, theirs) = std::io::pipe().expect("a pipe");
    let fresh = survey.fresh().expect("files of its own");
    let mut part = template.first_part();
    fresh.add_to(&mut part);
    part.grant(1, theirs.as_fd()).grant(2, theirs.as_fd());
    let process = template.start(part).expect("a product");
    drop((theirs, fresh));
    let mut text = String::new();
    output.read_to_string(&mut text).expect("it writes");
    let ended = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{text}");
    text
}

/// Each word is refused as this kind, with these words in the error.
fn all_refused(cases: &[(&str, Kind, &str)], spawns: bool) {
    all_refused_with(cases, spawns.then_some(Grant::Spawn));
}

fn all_refused_with(cases: &[(&str, Kind, &str)], grant: Option<Grant>) {
    for (word, kind, words) in cases {
        let more = |command: &mut Command| {
            command.grant(Grant::Read("/proc/uptime".into()));
            if let Some(grant) = &grant {
                command.grant(grant.clone());
            }
        };
        let Some(ready) = ready(&[word], more) else { return };
        let (error, kinds) = ready.refused();
        assert_eq!(kinds, [*kind], "{word}: {error}");
        assert!(error.starts_with("template: survey: ") && error.contains(words), "{word}: {error}");
    }
}

/// Each product of a program that uses this finds it as if it were the first.
fn all_the_same(word: &str, expected: &str, cured: Kind) -> Option<Survey> {
    all_the_same_with(word, expected, cured, |_| ())
}

fn all_the_same_with(
    word: &str,
    expected: &str,
    cured: Kind,
    more: impl FnOnce(&mut Command),
) -> Option<Survey> {
    let (_scratch, survey, template, _process) = ready(&[word], more)?.serve();
    let is_cured =
        |hazard: &survey::Hazard| hazard.kind == cured && matches!(hazard.verdict, Verdict::Cured(_));
    assert!(survey.hazards().iter().any(is_cured), "{word}: {:?}", survey.hazards());
    for _ in 0..10 {
        assert_eq!(product(&survey, &template), expected, "{word}");
    }
    Some(survey)
}

#[test]
fn threads_and_children_are_refused_by_name() {
    all_refused(&[("thread", Kind::Threads, "a helper")], false);
    // The filter keeps it from siblings; without one they are found.
    let siblings =
        [("escaped", Kind::Channel, "would answer in its place"), ("sibling", Kind::Children, "program-")];
    all_refused_with(&siblings, Some(Grant::Ambient));
    let children = [("child", Kind::Children, "program-"), ("zombie", Kind::Children, "program-")];
    all_refused(&children, true);
    all_refused(&[("orphan", Kind::Children, "program-")], true);
}

#[test]
fn the_channel_is_the_templates_alone() {
    all_refused(
        &[
            ("second-channel", Kind::Channel, "would answer in its place"),
            ("no-channel", Kind::Channel, "not where it was given"),
            ("high-number", Kind::Number, "descriptor 1003"),
            ("scratch-number", Kind::Number, "descriptor 999"),
        ],
        false,
    );
    let Some(noise) = ready(&["noise"], |_| ()) else { return };
    assert_eq!(survey::drain(&noise.template).expect("its channel"), 5);
    assert_eq!(survey::drain(&noise.template).expect("its channel"), 0);
    let (_scratch, survey, template, _process) = noise.serve();
    assert_eq!(product(&survey, &template), "alive");
    let Some(gone) = ready(&["no-channel"], |_| ()) else { return };
    assert!(survey::drain(&gone.template).is_err());
}

#[test]
fn what_cannot_be_made_anew_is_refused() {
    const SHARED: &str = "all products would share it";
    all_refused(
        &[
            ("epoll", Kind::Object, "[eventpoll]"),
            ("timerfd", Kind::Object, "[timerfd]"),
            ("signalfd", Kind::Object, "[signalfd]"),
            ("full-pipe", Kind::Pipe, "3 bytes are in it"),
            ("unnamed-file", Kind::Writable, "no name"),
            ("memfd", Kind::Writable, "two words\n"),
            ("fifo", Kind::Pipe, "/fifo"),
            ("many-files", Kind::File, "201 open descriptors"),
            ("proc-file", Kind::File, "tells of the template"),
            ("flock", Kind::Lock, "FLOCK"),
            ("fcntl-lock", Kind::Lock, "POSIX"),
            ("signals-input", Kind::Signal, "O_ASYNC"),
        ],
        false,
    );
    let Some(sockets) = ready(&["socket", "pidfd"], |_| ()) else { return };
    let (error, kinds) = sockets.refused();
    assert_eq!(kinds, [Kind::Socket, Kind::Socket, Kind::Object], "{error}");
    assert!(error.contains("socket:[") && error.contains("pidfd") && error.contains(SHARED), "{error}");
}

#[test]
fn memory_that_copies_would_share_or_lack_is_refused() {
    all_refused(
        &[
            ("shared-anonymous", Kind::SharedMemory, "/dev/zero"),
            ("shared-file", Kind::SharedMemory, "/shared"),
            ("kept-from-copies", Kind::Memory, "keeps it from copies"),
        ],
        false,
    );
    for (word, cured) in [("wiped", true), ("locked", false)] {
        let Some(ready) = ready(&[word], |_| ()) else { return };
        let (_scratch, survey, template, _process) = ready.serve();
        let found = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Memory).expect("it is told");
        assert_eq!(matches!(found.verdict, Verdict::Cured(_)), cured, "{found}");
        assert_eq!(product(&survey, &template), "alive");
    }
}

#[test]
fn what_the_kernel_gives_to_no_copy_is_refused() {
    all_refused(
        &[
            ("timer", Kind::Timer, "1 timers (timer_create)"),
            ("alarm", Kind::Timer, "a real timer"),
            ("virtual-timer", Kind::Timer, "a virtual timer"),
            ("waiting-signal", Kind::Signal, "signal 10"),
            ("robust-lock", Kind::RobustLock, "its owner is the template"),
            ("subreaper", Kind::Children, "PR_SET_CHILD_SUBREAPER"),
        ],
        false,
    );
    all_refused(&[("death-signal", Kind::Signal, "signal 10, to come when its parent ends")], true);
}

#[test]
fn one_error_names_all() {
    let Some(ready) = ready(&["thread", "epoll", "alarm", "shared-anonymous", "flock"], |_| ()) else {
        return;
    };
    let (error, mut kinds) = ready.refused();
    kinds.sort_unstable();
    assert_eq!(kinds, [Kind::Threads, Kind::Object, Kind::Lock, Kind::SharedMemory, Kind::Timer], "{error}");
    for words in ["a helper", "[eventpoll]", "FLOCK", "/dev/zero", "setitimer"] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn files_are_each_products_own() {
    let survey = all_the_same("offset", "345634", Kind::File);
    // Three descriptors, two open files.
    assert_eq!(survey.map_or(2, |survey| survey.fresh().expect("files").len()), 2);
    all_the_same("renamed", "by89", Kind::File);
    all_the_same("sealed", "aled", Kind::File);
    all_the_same("folder", "4", Kind::File);
    all_the_same("own-input", "789", Kind::File);
}

#[test]
fn pipes_and_counters_are_each_products_own() {
    all_the_same("pipe", "own", Kind::Pipe);
    all_the_same("half-pipe", "end", Kind::Pipe);
    all_the_same("counter", "5", Kind::Object);
}

#[test]
fn a_file_that_all_write_is_told() {
    let Some(ready) = ready(&["append"], |_| ()) else { return };
    let (scratch, survey, template, _process) = ready.serve();
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Writable).expect("it is told");
    assert_eq!(told.verdict, Verdict::Declared);
    for _ in 0..5 {
        assert_eq!(product(&survey, &template), "");
    }
    let log = std::fs::read_to_string(scratch.at("log")).expect("they wrote it");
    assert_eq!(log, "line\n".repeat(5));
}

#[test]
fn what_was_given_is_the_builders_to_answer_for() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let Some(ready) = ready(&["nothing"], |command| {
        command.fd(5, OwnedFd::from(writer));
    }) else {
        return;
    };
    let (_scratch, survey, template, _process) = ready.serve();
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Pipe).expect("it is told");
    assert!(told.verdict == Verdict::Declared && told.what.contains("descriptor 5"), "{told}");
    assert_eq!(survey.standard(), [0, 1, 2]);
    assert_eq!(product(&survey, &template), "alive");
    drop(reader);
}

#[test]
fn a_file_that_was_given_is_opened_anew_too() {
    let scratch = Scratch::new();
    let mut file = std::fs::File::open(scratch.file("given", "0123456789")).expect("our own file");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(3)).expect("it can be sought");
    let kept = file.try_clone().expect("a descriptor");
    all_the_same_with("given", "3456789", Kind::File, |command| {
        command.fd(5, file);
    });
    // Nor do they share it with whoever gave it.
    assert_eq!(std::io::Seek::stream_position(&mut &kept).expect("a file"), 3);
}

#[test]
fn a_terminal_is_told() {
    let (mut ours, mut theirs) = (-1, -1);
    let nothing = std::ptr::null_mut();
    // SAFETY: two numbers to be written.
    let made =
        unsafe { libc::openpty(&raw mut ours, &raw mut theirs, nothing, nothing.cast(), nothing.cast()) };
    assert_eq!(made, 0);
    // SAFETY: opened above, and nobody else's.
    let (_ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let Some(ready) = ready(&["nothing"], |command| {
        command.fd(5, theirs);
    }) else {
        return;
    };
    let (_scratch, survey, template, _process) = ready.serve();
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Terminal).expect("it is told");
    assert_eq!(told.verdict, Verdict::Declared);
    assert_eq!(product(&survey, &template), "alive");
}

#[test]
fn what_was_changed_about_a_products_streams_is_told() {
    for (word, words, standard) in [
        ("changed-output", "descriptor 1 works", &[0, 1, 2][..]),
        ("closed-input", "closed descriptor 0", &[1, 2]),
        ("closing-output", "descriptor 1 closed by an exec", &[0, 1, 2]),
    ] {
        let Some(ready) = ready(&[word], |_| ()) else { return };
        let (_scratch, survey, template, _process) = ready.serve();
        let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Standard).expect("it is told");
        assert!(told.verdict == Verdict::Declared && told.what.contains(words), "{told}");
        assert_eq!(survey.standard(), standard);
        assert_eq!(product(&survey, &template), "alive");
    }
}

#[test]
fn in_a_nursery_of_its_own_every_other_child_is_the_programs() {
    let Some(mut ready) = ready(&["nothing"], |_| ()) else { return };
    let nursery = ready.template.nursery().clone();
    let mut other = base("sleep");
    let other = other.arg("1000").nursery(&nursery).spawn().expect("it is born");
    survey::survey(&mut ready.tracee, &ready.before).expect("it is somebody else's");
    ready.before = ready.before.alone();
    let (error, kinds) = ready.refused();
    assert_eq!(kinds, [Kind::Children], "{error}");
    assert!(error.contains(&format!("process {} (sleep)", other.id())), "{error}");
    other.kill().expect("it is ours");
}

#[test]
fn interpreters_that_wait_for_their_input_can_be_copied() {
    let cases = [
        ("python3", &["-"][..], "import json; print(json.dumps([6 * 7]))", "[42]\n"),
        ("bash", &["-s"], "echo $((6 * 7))", "42\n"),
        ("perl", &["-"], "print 6 * 7", "42"),
    ];
    for (program, words, script, expected) in cases {
        if !has(program) {
            skip("hazards::interpreters", Need::Program(program));
            continue;
        }
        let mut command = base(program);
        let (input, feed) = std::io::pipe().expect("a pipe");
        command.args(words).stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let nursery = Nursery::new().expect("a nursery");
        let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
        let mut tracee = Tracee::seize(process).expect("it is traced");
        let before = Expectations::at_birth(&tracee).expect("its birth").alone();
        tracee.run_until_ready(&Ready::Stdin, LONG).expect("it waits for its input");
        let survey = survey::survey(&mut tracee, &before).expect("nothing is refused");
        let planted = tracee.plant().expect("a stub");
        let _process = tracee.serve(&planted).expect("it serves");
        for _ in 0..3 {
            let (input, mut own) = std::io::pipe().expect("a pipe");
            let (mut output, theirs) = std::io::pipe().expect("a pipe");
            own.write_all(script.as_bytes()).expect("room");
            drop(own);
            let fresh = survey.fresh().expect("files of its own");
            let mut part = template.first_part();
            fresh.add_to(&mut part);
            part.grant(0, input.as_fd()).grant(1, theirs.as_fd());
            let process = template.start(part).expect("a product");
            drop((input, theirs));
            let mut text = String::new();
            output.read_to_string(&mut text).expect("it writes");
            assert_eq!(text, expected, "{program}");
            let ended = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
            assert_eq!(ended.status.code(), Some(0), "{program}");
        }
        drop(feed);
    }
}

#[test]
fn in_a_private_root_files_are_known_by_what_is_there() {
    if !has("gcc") {
        return skip("hazards::in_a_private_root", Need::Program("gcc"));
    }
    if let Err(error) = base("true").root(Root::new()).status() {
        assert_eq!(error.fault(), beget::Fault::Unkept, "{error}");
        return skip("hazards::in_a_private_root", Need::Machine("user namespaces"));
    }
    let scratch = Scratch::new();
    let file = scratch.file("data", "0123456789");
    let mut command = base(&program());
    command.args([scratch.at("").trim_end_matches('/'), "mapped", "number"]).root(Root::new());
    command.grant(Grant::At(Box::new(Grant::Read(file.clone().into())), "/data/file".into()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (process, template) = command.spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    let before = Expectations::at_birth(&tracee).expect("its birth").alone();
    tracee.run_until_ready(&Ready::Stop, LONG).expect("it stops itself");
    let survey = survey::survey(&mut tracee, &before).expect("nothing is refused");
    // It knows itself by another number than it has here.
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::CachedNumber).expect("it is told");
    assert!(!told.what.starts_with(&format!("{},", tracee.number())), "{told}");
    let planted = tracee.plant().expect("a stub");
    let _process = tracee.serve(&planted).expect("it serves");
    assert_eq!(product(&survey, &template), "alive");
    let own = survey.files().iter().find(|file| file.path == Path::new("/data/file")).expect("it is mapped");
    assert!(survey.files().iter().all(survey::MappedFile::is_current), "{:?}", survey.files());
    std::fs::write(&file, "changed").expect("our own file");
    assert!(!own.is_current());
}

#[test]
fn a_thousand_products_leave_no_file_behind() {
    beget_tests::in_own_process("hazards::a_thousand_products_leave_no_file_behind", || {
        let Some(ready) = ready(&["offset"], |_| ()) else { return };
        let (_scratch, survey, template, _process) = ready.serve();
        assert_eq!(product(&survey, &template), "345634");
        let before = beget_tests::descriptors();
        for _ in 0..1000 {
            assert_eq!(product(&survey, &template), "345634");
        }
        assert_eq!(beget_tests::descriptors(), before);
    });
}

#[test]
fn what_stood_in_for_a_products_input_is_known_again() {
    let Some(own) = ready(&["own-input"], |_| ()) else { return };
    let (_scratch, survey, _template, _process) = own.serve();
    assert_eq!(survey.standard(), [1, 2]);
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let more = |command: &mut Command| {
        command.stdout(OwnedFd::from(writer));
    };
    let Some(second) = ready(&["second-output"], more) else { return };
    let (error, kinds) = second.refused();
    assert_eq!(kinds, [Kind::Standard], "{error}");
    assert!(error.contains("descriptor 1"), "{error}");
}

#[test]
fn a_plain_program_shares_what_was_random_and_knows_its_files() {
    let Some(ready) = ready(&["nothing"], |_| ()) else { return };
    let (_scratch, mut survey, template, _process) = ready.serve();
    let kinds: Vec<Kind> = survey.hazards().iter().map(|hazard| hazard.kind).collect();
    assert!(kinds.contains(&Kind::SharedRandomness), "{kinds:?}");
    assert!(
        kinds.iter().all(|kind| matches!(kind, Kind::SharedRandomness | Kind::CachedNumber)),
        "{kinds:?}"
    );
    survey.acknowledge(Kind::SharedRandomness, "it is seeded anew");
    let told =
        survey.hazards().iter().find(|hazard| hazard.kind == Kind::SharedRandomness).expect("it stays");
    assert_eq!(told.verdict, Verdict::Cured("it is seeded anew".to_owned()));
    let files = survey.files();
    assert!(files.iter().any(|file| file.path == Path::new(&program())), "{files:?}");
    assert!(files.iter().any(|file| file.path.to_string_lossy().contains("libc")), "{files:?}");
    assert!(files.iter().all(survey::MappedFile::is_current), "{files:?}");
    assert_eq!(product(&survey, &template), "alive");
}

#[test]
fn a_number_that_is_remembered_is_told() {
    let Some(ready) = ready(&["number"], |_| ()) else { return };
    let (_scratch, survey, template, _process) = ready.serve();
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::CachedNumber).expect("it is told");
    assert_eq!(told.verdict, Verdict::Declared, "{told}");
    assert_eq!(product(&survey, &template), "alive");
}

/// It could say that a ruleset was put on, and not let it be.
#[test]
fn a_filter_of_its_own_is_refused() {
    all_refused(&[("filter", Kind::Filter, "in the kernel's place")], false);
}

#[test]
fn a_library_that_is_replaced_on_disk_is_no_longer_current() {
    let Some(ready) = ready(&["nothing"], |_| ()) else { return };
    let copy = ready.scratch.at("copy of it");
    std::fs::copy(program(), &copy).expect("our own file");
    let mut command = base(&copy);
    command.args([ready.scratch.at("").as_str(), "nothing"]);
    let nursery = Nursery::new().expect("a nursery");
    let (process, _template) = command.nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    let before = Expectations::at_birth(&tracee).expect("its birth");
    // Before its first instruction already, when its exec has only just ended.
    let survey = survey::survey(&mut tracee, &before).expect("nothing is refused");
    let file = survey.files().iter().find(|file| file.path == Path::new(&copy)).expect("it is mapped");
    assert!(file.is_current());
    std::fs::rename(&copy, ready.scratch.at("another")).expect("our own file");
    assert!(!file.is_current());
    // The kernel knows it by its new name; one that was put in its place by the old one is another.
    std::fs::copy(program(), &copy).expect("our own file");
    assert!(!file.is_current());
    std::fs::remove_file(ready.scratch.at("another")).expect("our own file");
    let survey = survey::survey(&mut tracee, &before).expect("nothing is refused");
    let told = survey.hazards().iter().find(|hazard| hazard.kind == Kind::Replaced).expect("it is told");
    assert!(told.what.contains("(deleted)"), "{told}");
}

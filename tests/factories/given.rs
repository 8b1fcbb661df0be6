//! What products are given: slots that are theirs alone, and what the program has made its own before it was ready.

use std::fs::File;
use std::io::{Seek, Write};

use beget::{Command, Fault, Grant, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::Scratch;

/// A shell that does this, with builtins alone.
fn shell(words: &str, scratch: &Scratch, ready: Option<Ready>) -> beget_factory::Builder {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", words]).grant(Grant::Base).grant(Grant::Read(scratch.at("").into()));
    let mut builder = Factory::builder(command);
    builder.options(Options { ready, ..Options::default() });
    builder
}

fn said(factory: &Factory) -> String {
    let mut request = factory.request();
    request.stdin(Stdio::null()).stdout(Stdio::piped());
    let output = request.start().expect("a product").wait_with_output().expect("its end");
    assert!(output.status.success(), "{:?}", output.status);
    beget_tests::text(&output.stdout)
}

/// Each product reads a file that was inserted from where it stood, cold and warm, as a slot and as its input; what one reads is not gone for the next.
#[test]
fn no_product_moves_the_offset_of_another() {
    let scratch = Scratch::new();
    let path = scratch.file("lines", "skipped\nfirst\nsecond\n");
    for ready in [None, Some(Ready::Entry), Some(Ready::Main)] {
        let mut file = File::open(&path).expect("just made");
        file.seek(std::io::SeekFrom::Start(8)).expect("it can");
        let mut builder = shell("read one <&3; read two <&3; echo $one $two", &scratch, ready.clone());
        builder.insert("lines", file.try_clone().expect("a copy")).expect("it is judged");
        let factory = builder.seal().expect("a factory");
        assert!((0..3).all(|_| said(&factory) == "first second\n"), "{ready:?}");
        assert_eq!(file.stream_position().expect("it stands"), 8, "nor that of whoever gave it");
        // The builder's own input, which no request replaces here.
        let mut command = Command::new("/bin/cat");
        command.grant(Grant::Base).stdin(file.try_clone().expect("a copy"));
        let mut builder = Factory::builder(command);
        builder.options(Options { ready: ready.clone(), ..Options::default() });
        let factory = builder.seal().expect("a factory");
        for _ in 0..3 {
            let mut request = factory.request();
            request.stdout(Stdio::piped());
            let output = request.start().expect("a product").wait_with_output().expect("its end");
            assert_eq!(beget_tests::text(&output.stdout), "first\nsecond\n", "{ready:?}");
        }
    }
}

/// A slot of a request's is told of where the program reads its variables yet, and is there where it does not.
#[test]
fn variables_tell_of_the_slots_of_a_request() {
    let scratch = Scratch::new();
    let path = scratch.file("line", "read\n");
    for (ready, pool, told) in [
        (None, 0, "1 line read\n"),
        (Some(Ready::Entry), 0, "1 line read\n"),
        (Some(Ready::Main), 2, "1 line read\n"),
        (Some(Ready::Stop), 0, "read\n"),
    ] {
        let stop = if ready == Some(Ready::Stop) { "kill -STOP $$; " } else { "" };
        let words = format!("{stop}read one <&3; echo $LISTEN_FDS $LISTEN_FDNAMES $one");
        let mut builder = shell(&words, &scratch, ready.clone());
        builder.options(Options { ready: ready.clone(), pool: Pool::of(pool), ..Options::default() });
        let factory = builder.seal().expect("a factory");
        let mut request = factory.request();
        request
            .slot("line", File::open(&path).expect("just made"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let output = request.start().expect("a product").wait_with_output().expect("its end");
        assert_eq!(beget_tests::text(&output.stdout), told, "{ready:?}");
    }
}

/// No product of it could be given anything.
#[test]
fn a_lowered_limit_of_open_files_is_refused_by_name() {
    let scratch = Scratch::new();
    for words in ["ulimit -n 100; kill -STOP $$", "ulimit -S -n 500; kill -STOP $$"] {
        let error = shell(words, &scratch, Some(Ready::Stop)).seal().expect_err("no product could be told");
        assert!(error.to_string().contains("a limit of open files that the program lowered, to "), "{error}");
    }
}

/// What cannot be opened anew is one for all, and said to be a hole.
#[test]
fn a_pipe_is_shared_and_a_hole() {
    let scratch = Scratch::new();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"one\ntwo\n").expect("room");
    let mut builder = shell("read line <&3; echo $line", &scratch, None);
    assert!(builder.insert("pipe", reader).expect("it is judged").hole().is_some());
    let factory = builder.seal().expect("a factory");
    assert_eq!((said(&factory), said(&factory)), ("one\n".to_owned(), "two\n".to_owned()));
}

#[test]
fn what_the_program_has_opened_is_not_replaced_without_a_word() {
    let scratch = Scratch::new();
    scratch.file("own", "its own\n");
    let words =
        format!("exec 5<{} 2</dev/null 0<&-; kill -STOP $$; read line <&5; echo $line", scratch.at("own"));
    let factory = shell(&words, &scratch, Some(Ready::Stop)).seal().expect("a factory");
    let other = || File::open("/dev/null").expect("it is there");
    let mut given = factory.request();
    let error = given.stdout(Stdio::piped()).fd(5, other()).start().expect_err("it is taken");
    assert_eq!((error.part(), error.fault()), ("factory: slot 5", Fault::Caller), "{error}");
    assert!(error.to_string().contains("own there before it was ready"), "{error}");
    let error = factory.request().stderr(Stdio::piped()).start().expect_err("it is another");
    assert!(error.to_string().starts_with("factory: stderr: the program has opened /dev/null"), "{error}");
    let error = factory.request().stdin(Stdio::null()).start().expect_err("it is closed");
    assert!(error.to_string().starts_with("factory: stdin: the program has closed it"), "{error}");
    // Another number is free, and the program's own is there all the same, each product's from its beginning.
    for _ in 0..3 {
        let mut request = factory.request();
        request.stdout(Stdio::piped()).fd(6, other());
        let output = request.start().expect("a product").wait_with_output().expect("its end");
        assert_eq!(beget_tests::text(&output.stdout), "its own\n");
    }
    assert_eq!(factory.statistics().failed, 3);
}

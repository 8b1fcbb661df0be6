//! A factory that is asked over connections: what each is a right to, and what becomes of products when one is closed.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use beget::{Command, Grant};
use beget_factory::remote::{RemoteBuilder, RemoteFactory, RemoteRequest, right};
use beget_factory::{Factory, Fault, keeper};
use beget_monitor::packet::Connection;

/// A keeper in a thread of this process, of the program that it is told: `sh -c`, which gets its script from the requestor.
struct Keeper {
    channel: beget_channel::Holder,
    thread: Option<JoinHandle<()>>,
}

fn begin() -> (RemoteBuilder, Keeper) {
    let (ours, theirs) = Connection::pair().expect("a pair");
    let (channel, other) = beget_channel::Holder::pair().expect("a pair");
    let plan = |told: &[u8], _given: Vec<OwnedFd>| {
        let mut command = Command::new("sh");
        command.arg("-c").env("PATH", "/usr/bin:/bin").grant(Grant::Base);
        if told != b"sh" {
            command = Command::new("/not/there");
        }
        Ok(Factory::builder(command))
    };
    let thread = thread::spawn(move || keeper::keep(theirs, Some(other), &plan).expect("it keeps"));
    let builder = RemoteBuilder::from_fd(ours.into_socket()).expect("a keeper");
    (builder, Keeper { channel, thread: Some(thread) })
}

fn here() -> OwnedFd {
    std::fs::File::open("/").expect("a folder").into()
}

fn made() -> (RemoteFactory, Keeper) {
    let (mut builder, keeper) = begin();
    builder.build(b"sh", here(), &[]).expect("built");
    (builder.seal().expect("sealed"), keeper)
}

impl Keeper {
    /// What the service would give: a connection by the name of a right.
    fn connect(&self, right: &str) -> RemoteFactory {
        let (ours, theirs) = Connection::pair().expect("a pair");
        self.channel.send(right, theirs).expect("it reads");
        RemoteFactory::from_fd(ours.into_socket()).expect("a right")
    }

    /// It ends when nobody is left who could ask.
    fn ends(self) {
        let Keeper { channel, thread } = self;
        drop(channel);
        thread.expect("it was begun").join().expect("it kept");
    }
}

/// A product of this script, and what it writes.
fn script(factory: &RemoteFactory, script: &str) -> (RemoteRequest, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (factory.request().arg(script).stdout(writer).expect("a copy"), reader)
}

fn said(mut reader: std::io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn what_is_built_is_sealed_and_makes_products() {
    let (mut builder, keeper) = begin();
    let error = builder.insert("none", here()).expect_err("nothing is built");
    assert!(error.to_string().contains("nothing was said yet"), "{error}");
    builder.build(b"sh", here(), &[]).expect("built");
    let error = builder.build(b"sh", here(), &[]).expect_err("built already");
    assert!(error.to_string().contains("it was said already"), "{error}");
    let (pipe, _other) = std::io::pipe().expect("a pipe");
    let line = builder.insert("pipe", pipe).expect("inserted");
    assert!(line.contains("pipe"), "{line}");
    // Unsealed is never confined.
    assert!(!builder.confinement().expect("an answer").sealed);
    let factory = builder.seal().expect("sealed");
    assert_eq!(factory.rights(), right::SEALED);
    let answer = factory.confinement().expect("an answer");
    assert!(answer.sealed && answer.constituents.iter().any(|one| one.0.contains("pipe")), "{answer:?}");
    assert!(answer.holes.iter().any(|hole| hole.identity.kind() == "pipe"), "{answer:?}");
    let names: Vec<_> = answer.holes.iter().map(|hole| hole.identity.clone()).collect();
    assert!(!factory.is_confined(&[]).expect("an answer") && factory.is_confined(&names).expect("an answer"));
    assert!(factory.compare(&factory).expect("an answer"));
    let (request, out) = script(&factory, "echo $0 $X; exit 3");
    let product = request.arg("name").env("X", "1").start().expect("a product");
    let ended = product.wait().expect("an end");
    assert_eq!((said(out).as_str(), ended.status.code()), ("name 1\n", Some(3)));
    // Told once, known for ever.
    assert_eq!(product.wait().expect("an end"), ended);
    assert_eq!(factory.facts().expect("facts").statistics.iter().map(|one| one.1).sum::<u64>(), 1);
    drop((factory, product));
    keeper.ends();
}

#[test]
fn what_cannot_be_sealed_says_why_and_can_be_said_anew() {
    let (mut builder, keeper) = begin();
    builder.build(b"another", here(), &[]).expect("nothing is opened yet");
    let error = builder.seal().expect_err("no such program");
    assert_eq!(error.fault(), Fault::NotFound, "{error}");
    assert!(error.to_string().contains("/not/there"), "{error}");
    // The builder is gone, and so is its keeper.
    keeper.ends();
}

#[test]
fn each_right_is_a_right_to_that_and_nothing_else() {
    let (factory, keeper) = made();
    for (rights, starts, answers, manages) in [
        (right::REQUEST, true, false, false),
        (right::VERIFY, false, true, false),
        (right::MANAGE, false, false, true),
    ] {
        let weak = RemoteFactory::from_fd(factory.attenuate(rights).expect("a capability")).expect("a right");
        assert_eq!(weak.rights(), rights);
        let started = weak.request().arg("exit 0").start().map(|product| product.wait().expect("an end"));
        assert_eq!(started.is_ok(), starts, "{started:?}");
        assert_eq!(weak.confinement().is_ok(), answers);
        assert_eq!(weak.facts().is_ok(), starts || answers);
        // A cold factory has no template, which is another matter than having no right.
        let refused = weak.replace().expect_err("there is none").to_string();
        assert_eq!(!refused.contains("no right"), manages, "{refused}");
        for more in [right::SEALED, rights << 1, right::BUILD, 0, 1 << 9] {
            assert!(weak.attenuate(more).is_err(), "{more}");
        }
    }
    let other = keeper.connect("verify");
    assert_eq!(other.rights(), right::VERIFY);
    assert!(other.request().arg("exit 0").start().is_err());
    // Nobody builds any more, by whatever name.
    let (ours, theirs) = Connection::pair().expect("a pair");
    keeper.channel.send("build", theirs).expect("it reads");
    assert!(RemoteBuilder::from_fd(ours.into_socket()).is_err());
}

/// Whoever is handed a connection learns of a trusted one whether it is a capability to that factory.
#[test]
fn a_capability_is_told_from_what_only_leads_there() {
    let (factory, keeper) = made();
    let trusted = keeper.connect("verify");
    let genuine = factory.attenuate(right::REQUEST).expect("a capability");
    assert_eq!(trusted.is_capability(&genuine).expect("an answer"), right::REQUEST);
    assert_eq!(trusted.is_capability(&factory).expect("an answer"), right::SEALED);
    // Made by somebody else, who could be listening between.
    let passed_off = keeper.connect("request");
    assert_eq!(trusted.is_capability(&passed_off).expect("an answer"), 0);
    let (other, _keeper) = made();
    assert_eq!(trusted.is_capability(other.attenuate(right::REQUEST).expect("one")).expect("an answer"), 0);
    let (pipe, _writer) = std::io::pipe().expect("a pipe");
    assert_eq!(trusted.is_capability(pipe).expect("an answer"), 0);
}

#[test]
fn a_product_is_known_and_no_other_process_is() {
    let (factory, _keeper) = made();
    let (input, hold) = std::io::pipe().expect("a pipe");
    let product = factory.request().arg("read x").stdin(input).expect("a copy").start().expect("a product");
    assert!(factory.is_product(&product).expect("an answer"));
    let (other, _other_keeper) = made();
    assert!(!other.is_product(&product).expect("an answer"));
    let child =
        Command::new("sleep").arg("1000").grant(Grant::Base).kill_on_drop(true).spawn().expect("a child");
    assert!(!factory.is_product(&child).expect("an answer"));
    drop(hold);
    product.wait().expect("an end");
    assert!(!factory.is_product(&product).expect("an answer"));
    assert!(factory.is_product(here()).is_ok_and(|is| !is) || factory.is_product(here()).is_err());
}

#[test]
fn products_end_with_their_connection_unless_they_are_to_last() {
    let (factory, keeper) = made();
    let (input, _hold) = std::io::pipe().expect("a pipe");
    let start = |factory: &RemoteFactory, lasting: bool| {
        let request = factory.request().arg("read x").stdin(&input).expect("a copy");
        request.lasting(lasting).start().expect("a product").as_fd().try_clone_to_owned().expect("a copy")
    };
    let other = keeper.connect("request");
    let (tied, lasting, of_another) = (start(&factory, false), start(&factory, true), start(&other, false));
    drop(factory);
    let ended = |pidfd: &OwnedFd, time: Duration| {
        let mut watched = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
        let time = rustix::event::Timespec::try_from(time).ok();
        rustix::event::poll(&mut watched, time.as_ref()).expect("it can be waited for") == 1
    };
    assert!(ended(&tied, Duration::from_secs(30)));
    assert!(!ended(&lasting, Duration::ZERO) && !ended(&of_another, Duration::ZERO));
    drop(other);
    assert!(ended(&of_another, Duration::from_secs(30)));
    assert!(!ended(&lasting, Duration::ZERO));
    rustix::process::pidfd_send_signal(&lasting, rustix::process::Signal::KILL).expect("it lives");
    keeper.ends();
}

#[test]
fn many_threads_ask_at_once_and_each_is_answered() {
    let (factory, _keeper) = made();
    let factory = Arc::new(factory);
    let threads: Vec<JoinHandle<()>> = (0..8)
        .map(|number| {
            let factory = Arc::clone(&factory);
            thread::spawn(move || {
                for turn in 0..8 {
                    let (request, out) = script(&factory, "echo $0; exit $0");
                    let product = request.arg((number * 8 + turn).to_string()).start().expect("a product");
                    assert_eq!(said(out), format!("{}\n", number * 8 + turn));
                    assert_eq!(product.wait().expect("an end").status.code(), Some(number * 8 + turn));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("each is answered"));
    // Several of one thread, told in another order than asked.
    let (input, hold) = std::io::pipe().expect("a pipe");
    let slow =
        factory.request().arg("read x; exit 4").stdin(input).expect("a copy").start().expect("a product");
    let quick = factory.request().arg("exit 5").start().expect("a product");
    assert_eq!(quick.wait().expect("an end").status.code(), Some(5));
    assert_eq!(slow.wait_timeout(Duration::ZERO).expect("no end"), None);
    drop(hold);
    assert_eq!(slow.wait().expect("an end").status.code(), Some(4));
    let killed = factory.request().arg("while :; do :; done").start().expect("a product");
    killed.signal(15).expect("a signal");
    assert_eq!(killed.wait().expect("an end").status.signal(), Some(15));
    // One that has ended is no error, and hears nothing.
    killed.kill().expect("it has ended");
    assert!(slow.signal(99).is_ok());
}

#[test]
fn whoever_speaks_no_sense_is_answered_once_and_others_are_served() {
    let (factory, keeper) = made();
    for (kind, body, given) in [
        (99u16, Vec::new(), 0),
        (5, vec![1], 0),
        (5, vec![0; 24], 1),
        (6, vec![0; 3], 0),
        (8, Vec::new(), 0),
        (8, Vec::new(), 2),
        (7, vec![0], 0),
        (1, vec![0; 4], 0),
    ] {
        let (ours, theirs) = Connection::pair().expect("a pair");
        keeper.channel.send("all", theirs).expect("it reads");
        let (file, mut scratch) = (here(), beget_monitor::packet::Scratch::default());
        let mut ours = ours;
        ours.send(kind, 7, &body, &vec![file.as_fd(); given]).expect("it reads");
        let came = ours.receive(&mut scratch, true).expect("an answer");
        let beget_monitor::packet::Came::Packet(packet) = came else { panic!("{kind}: {came:?}") };
        assert_eq!((packet.kind, packet.request), (keeper::protocol::kind::ERROR, 0), "{kind}");
        let came = ours.receive(&mut scratch, true).expect("an end");
        assert!(matches!(came, beget_monitor::packet::Came::Closed), "{came:?}");
    }
    assert_eq!(
        factory.request().arg("exit 0").start().expect("a product").wait().expect("an end").status.code(),
        Some(0)
    );
}

//! A nursery of one's own: the whole tree ends with its process's handle, with its creator, or when that says so.

use std::io::Write;
use std::process::Stdio;

use beget::{Fault, Grant, Nursery};
use beget_tests::{in_own_process, tracer};

use crate::{LONG, bytes, end, exists, pidfd, pipe, probe, rest, wait_for};

/// Three processes that hide, and where they write.
fn family() -> (beget::Process, std::io::PipeReader) {
    let mut command = probe(&["family"]);
    let mut process = command.own_tree(true).stdout(beget::Stdio::piped()).spawn().expect("spawn");
    let output = process.stdout.take().expect("it is piped");
    assert_eq!(bytes(&output, 3), b"xxx", "all three are there");
    (process, output)
}

#[test]
fn the_whole_tree_ends_when_it_is_killed() {
    in_own_process("trees::the_whole_tree_ends_when_it_is_killed", || {
        for _ in 0..20 {
            let (process, output) = family();
            process.kill_tree().expect("it has a tree");
            assert_eq!(end(&process).exit_code(), 128 + 9);
            // Not a moment later: nobody is there any more.
            let mut watched = libc::pollfd {
                fd: std::os::fd::AsRawFd::as_raw_fd(&output),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one structure is read and written.
            assert_eq!(unsafe { libc::poll(&mut watched, 1, 0) }, 1, "somebody holds the output");
            assert_eq!(rest(output), b"");
            process.kill_tree().expect("again, and nothing happens");
            assert_eq!(beget_tests::children().len(), 0);
        }
    });
}

#[test]
fn the_whole_tree_ends_when_the_handle_is_dropped() {
    for killed_before in [false, true] {
        let (process, output) = family();
        if killed_before {
            process.kill().expect("kill");
            assert_eq!(end(&process).exit_code(), 128 + 9, "its status is told while its orphans live");
        }
        let number = process.id();
        drop(process);
        assert!(!exists(number));
        assert_eq!(rest(output), b"");
    }
}

/// One that ends by itself leaves its orphans to the tree.
#[test]
fn orphans_live_as_long_as_the_handle() {
    let (process, output) = family();
    process.kill().expect("kill");
    end(&process);
    let mut watched = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&output), events: 0, revents: 0 };
    // SAFETY: one structure is read and written.
    let gone = unsafe { libc::poll(&mut watched, 1, 50) };
    assert_eq!(gone, 0, "the others still hold the output");
    process.kill_tree().expect("it has a tree");
    assert_eq!(rest(output), b"");
}

#[test]
fn a_confined_tree_ends_too() {
    let mut command = beget::Command::new(beget_tests::program("probe"));
    command.arg("family").grants([Grant::Base, Grant::Spawn]).own_tree(true);
    let mut process = command.stdout(beget::Stdio::piped()).spawn().expect("spawn");
    let output = process.stdout.take().expect("it is piped");
    assert_eq!(bytes(&output, 3), b"xxx");
    process.kill_tree().expect("it has a tree");
    assert_eq!(rest(output), b"");
}

#[test]
fn one_without_a_tree_says_so() {
    for nursery in [None, Some(Nursery::shared().expect("a nursery"))] {
        let mut command = probe(&["sleep"]);
        if let Some(nursery) = &nursery {
            command.nursery(nursery);
        }
        let process = command.kill_on_drop(true).spawn().expect("spawn");
        let error = process.kill_tree().expect_err("it has none");
        assert_eq!(
            (error.to_string(), error.fault()),
            ("tree: this process has no nursery to itself, nor a cgroup".into(), Fault::Caller)
        );
        assert_eq!(process.try_wait().expect("wait"), None, "nothing was ended");
    }
}

/// A creator to be killed: three trees, in the shared nursery, in one of its own, and in a bare one.
pub(crate) fn drive() {
    let shared =
        probe(&["family"]).nursery(&Nursery::shared().expect("a nursery")).stdout(std_error()).spawn();
    let own = probe(&["family"]).own_tree(true).stdout(std_error()).spawn();
    let bare = Nursery::bare().expect("a nursery");
    let third = probe(&["family"]).nursery(&bare).stdout(std_error()).spawn();
    // Born by a thread that has ended.
    let late = std::thread::spawn(|| probe(&["family"]).own_tree(true).stdout(std_error()).spawn());
    let all = [shared, own, third, late.join().expect("no panic")];
    let numbers: Vec<String> = all.iter().map(|one| one.as_ref().expect("spawn").id().to_string()).collect();
    println!("{}", numbers.join(" "));
    std::io::stdout().flush().expect("it is read");
    std::thread::sleep(LONG);
}

/// Where everybody writes, and what the test holds the other end of.
fn std_error() -> beget::Stdio {
    use std::os::fd::AsFd;
    beget::Stdio::from(std::io::stderr().as_fd().try_clone_to_owned().expect("a descriptor"))
}

#[test]
fn every_tree_ends_with_its_creator_however_it_ends() {
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV] {
        for _ in 0..5 {
            let (reader, writer) = pipe();
            let mut creator =
                tracer::driver("tree").stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts");
            assert_eq!(bytes(&reader, 12), b"x".repeat(12), "all are there");
            let mut line = String::new();
            let told = creator.stdout.take().expect("piped");
            std::io::BufRead::read_line(&mut std::io::BufReader::new(told), &mut line).expect("it tells");
            let all: Vec<_> =
                line.split_whitespace().map(|word| pidfd(word.parse().expect("a number"))).collect();
            assert_eq!(all.len(), 4, "{line}");
            crate::kill(creator.id(), signal);
            creator.wait().expect("ours");
            assert!(all.iter().all(wait_for), "they live on");
            assert_eq!(rest(reader), b"");
        }
    }
}

/// A fork of the creator, which holds all it held, keeps nothing alive; and it cannot use what is not its own.
#[test]
fn a_copy_of_the_creator_keeps_nothing_alive() {
    in_own_process("trees::a_copy_of_the_creator_keeps_nothing_alive", || {
        let (reader, writer) = pipe();
        let (told, tell) = pipe();
        let (hold, held) = pipe();
        // SAFETY: this process has one thread that holds locks: this one.
        let creator = unsafe { libc::fork() };
        if creator == 0 {
            let nursery = Nursery::new().expect("a nursery");
            let process = probe(&["family"]).nursery(&nursery).stdout(writer).spawn().expect("spawn");
            // SAFETY: likewise.
            let copy = unsafe { libc::fork() };
            if copy == 0 {
                let refused = probe(&["exit", "0"]).nursery(&nursery).spawn().is_err();
                (&tell).write_all(if refused { b"r" } else { b"?" }).expect("it is read");
                drop(held);
                // It holds the creator's sockets until the test is done.
                rest(hold);
                std::mem::forget((nursery, process));
                // SAFETY: leaves at once.
                unsafe { libc::_exit(0) };
            }
            (&tell).write_all(b"c").expect("it is read");
            std::thread::sleep(LONG);
            // SAFETY: leaves at once.
            unsafe { libc::_exit(1) };
        }
        drop((writer, hold));
        let mut said = bytes(&told, 2);
        said.sort_unstable();
        assert_eq!(said, b"cr", "the copy is refused");
        assert_eq!(bytes(&reader, 3), b"xxx");
        crate::kill(creator as u32, libc::SIGKILL);
        // SAFETY: our own child.
        unsafe { libc::waitpid(creator, std::ptr::null_mut(), 0) };
        assert_eq!(rest(reader), b"", "the tree is gone");
        drop(held);
    });
}

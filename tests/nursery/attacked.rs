//! What an attacker found: the stub's mode, rights that were given up, copies of the creator, numbers that run out.

use beget::{Batch, Command, Grant, Loader, Nursery, Stdio};
use beget_tests::{Need, in_own_process, is_root, skip, text};

/// A program that was loaded finds the stub where it would find itself, and its user owns that.
#[test]
fn a_loaded_program_cannot_spoil_the_stub() {
    if is_root() {
        return skip("a_loaded_program_cannot_spoil_the_stub", Need::OrdinaryUser);
    }
    in_own_process("attacked::a_loaded_program_cannot_spoil_the_stub", || {
        let mut command = Command::new("chmod");
        command.args(["0", "/proc/self/exe"]).grant(Grant::Base).only(true).loader(Loader::Direct);
        command.stderr(Stdio::null());
        let _ = command.status().expect("it starts");
        let nursery = Nursery::new().expect("there are nurseries still");
        drop(nursery.embryo().expect("and embryos"));
        assert!(
            Command::new("true").grant(Grant::Base).own_tree(true).status().expect("and trees").success()
        );
    });
}

/// A server that starts as root and becomes another user gets nothing of root's from what it made before.
#[test]
fn rights_that_were_given_up_are_not_lent_again() {
    if !is_root() {
        return skip("rights_that_were_given_up_are_not_lent_again", Need::Root);
    }
    in_own_process("attacked::rights_that_were_given_up_are_not_lent_again", || {
        let before = Nursery::shared().expect("a nursery");
        let own = Nursery::new().expect("a nursery");
        // SAFETY: numbers only, in a process of the test's own.
        unsafe {
            for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
                assert_eq!(libc::syscall(call, 65_534, 65_534, 65_534), 0);
            }
        }
        for nursery in [&before, &own] {
            let error = Command::new("true").grant(Grant::Base).nursery(nursery).spawn().expect_err("no");
            assert!(error.to_string().starts_with("nursery: this process has other rights"), "{error}");
        }
        let now = Nursery::shared().expect("another one");
        let mut command = Command::new("id");
        command.arg("-u").grant(Grant::Ambient).nursery(&now);
        assert_eq!(text(&command.output().expect("it starts").stdout), "65534\n");
    });
}

/// A copy of the creator that asks after a child reads nothing that is its original's.
#[test]
fn a_copy_of_the_creator_takes_no_news() {
    in_own_process("attacked::a_copy_of_the_creator_takes_no_news", || {
        let nursery = Nursery::new().expect("a nursery");
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]).grant(Grant::Base).nursery(&nursery);
        let process = command.spawn().expect("it starts");
        // SAFETY: the child asks and ends; this process has one thread but the test runner's, which it does not need.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            for _ in 0..200 {
                let _ = process.try_wait();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            // SAFETY: ends the copy.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: our own child; the kernel writes a number.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        let ended = process.wait_timeout(std::time::Duration::from_secs(20)).expect("it can be waited for");
        assert_eq!(ended.and_then(|ended| ended.status.code()), Some(7));
        assert!(ended.is_some_and(|ended| ended.usage.is_some()), "the nursery told it");
    });
}

/// Together they are all there or none has run, also when it is the creator that has no numbers left.
#[test]
fn without_numbers_for_all_none_is_made() {
    in_own_process("attacked::without_numbers_for_all_none_is_made", || {
        let nursery = Nursery::new().expect("a nursery");
        let bounds = libc::rlimit { rlim_cur: 128, rlim_max: 4096 };
        // SAFETY: a structure on this stack.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const bounds) }, 0);
        let mut command = Command::new("true");
        command.grant(Grant::Base);
        let mut batch = Batch::together();
        batch.add(&mut command, 300).expect("added");
        let error = batch.spawn(&nursery).expect_err("there are no numbers for them").to_string();
        assert_eq!(error, "process: too many open files");
        // Independent of each other, some are made, and the others are told as what they are.
        let mut batch = Batch::new();
        batch.add(&mut command, 9000).expect("added");
        let processes = batch.spawn(&nursery).expect("some are");
        let (made, failed): (Vec<_>, Vec<_>) = processes.into_iter().partition(Result::is_ok);
        assert!(!made.is_empty() && !failed.is_empty());
        let other = failed
            .iter()
            .flat_map(|one| one.as_ref().err())
            .find(|error| error.errno() != Some(libc::EMFILE));
        assert!(other.is_none(), "{other:?}");
        for process in made.into_iter().flatten() {
            assert!(process.wait_shared().expect("told").success());
        }
    });
}

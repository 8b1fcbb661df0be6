//! The session keyring of a child, asked for without the filter, which would hide it from the probe.

use std::os::fd::AsRawFd;

use beget::{Command, Grant, Process, Stdio};
use beget_authority::keyring::{self, Keyring, NAME};
use beget_tests::{Need, in_own_process, skip};

use super::{dirt, drain, end, pipe, reporting, snapshot};

/// How the kernel describes a keyring: "keyring;user;group;rights;name"; none when it is gone.
fn description(serial: i32) -> Option<String> {
    let mut text = [0u8; 256];
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    let length = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, serial, text.as_mut_ptr(), text.len())
    };
    let bytes = text.get(..usize::try_from(length).ok()?.checked_sub(1)?)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// A child that has ended, and its keyring. Until it is waited for it has that, and so the number is its keyring's.
fn joined() -> (Process, i32) {
    let (reading, writing) = pipe();
    let mut command = reporting(&writing);
    let mut support = beget::Support::detect();
    support.filter = false;
    command.support(support);
    for promise in beget::Promise::ALL {
        command.degrade(*promise);
    }
    let child = command.spawn().expect("spawn");
    drop((command, writing));
    let mut watched = libc::pollfd { fd: reading.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut told = Vec::new();
    while watched.revents & libc::POLLHUP == 0 {
        // SAFETY: one live structure.
        unsafe { libc::poll(&raw mut watched, 1, -1) };
        told.extend(drain(&reading));
    }
    let report = beget_tests::report(&told);
    assert_eq!(report["seccomp"], "0");
    let keyring = report["keyring"].parse().expect("a number");
    (child, keyring)
}

fn assert_empty_for_good(keyring: i32) {
    let described = description(keyring).expect("it is there");
    // SAFETY: asks for a number.
    let own = format!("keyring;{};", unsafe { libc::geteuid() });
    assert!(described.starts_with(&own) && described.ends_with(";0b0b0000;beget:empty"), "{described}");
    // SAFETY: without a buffer the kernel only says how many bytes it would take.
    let length = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_READ, keyring, 0, 0) };
    assert_eq!(length, 0, "there is no key in it");
}

#[test]
fn the_session_keyring_is_an_empty_one() {
    let test = "keyrings::the_session_keyring_is_an_empty_one";
    in_own_process(test, || {
        dirt::dirty(0o077);
        let Keyring::Made(_) = keyring::look() else {
            return skip(test, Need::Machine("keyrings with quota left"));
        };
        let (mut child, keyring) = joined();
        assert_empty_for_good(keyring);
        assert_ne!(keyring.to_string(), snapshot::take()["number session keyring"]);
        assert!(end(&mut child).status.success());
    });
}

/// Two of a user, as two first children at once make them: every later child joins one of them, and takes none of its own.
#[test]
fn of_two_empty_keyrings_a_child_joins_either_and_makes_no_third() {
    let test = "keyrings::of_two_empty_keyrings_a_child_joins_either_and_makes_no_third";
    in_own_process(test, || {
        // It has the older one for as long as it lives.
        let mut command = Command::new("/bin/cat");
        let mut holder =
            command.grant(Grant::Base).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("spawn");
        // What a first child does that found none. It takes a session keyring of one's own.
        // SAFETY: null asks for one without a name; and a string that ends in NUL.
        let made = unsafe {
            beget_sys::process::join_keyring(std::ptr::null())
                .and_then(|_| beget_sys::process::make_keyring(NAME.as_ptr().cast()))
        };
        match made {
            Ok(newer) => {
                let (mut child, keyring) = joined();
                assert_empty_for_good(keyring);
                assert_ne!(keyring, newer, "the kernel finds the older one by its name");
                assert!(end(&mut child).status.success());
            }
            Err(_) => skip(test, Need::Machine("keyrings with quota left")),
        }
        drop(holder.stdin.take());
        assert!(end(&mut holder).status.success());
    });
}

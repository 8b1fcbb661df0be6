//! Which keyring a newborn takes for its session when the one that it finds by name is not the one that it was told of.

mod support;

use std::ffi::{CStr, CString};

use beget_plan::interpreter::{self, Bench};
use beget_plan::memory::Home;
use beget_plan::{Draft, Engine, Op, Plan};
use beget_sys::keyring;

/// View, read and search for whoever possesses it and for its user: what [`beget_sys::process::make_keyring`] gives.
const READ_ONLY: u32 = 0x0b0b_0000;
const ALL_FOR_POSSESSOR: u32 = 0x3f3f_0000;
const SESSION: i32 = keyring::OF_SESSION;

fn keyctl(operation: u32, first: i32, second: usize) -> i64 {
    // SAFETY: operations that take numbers.
    unsafe { libc::syscall(libc::SYS_keyctl, operation, first, second, 0, 0) }
}

/// A name that no other run of these tests finds.
fn own(name: &str) -> CString {
    CString::new(format!("beget-test-{}: {name}", std::process::id())).expect("no NUL")
}

/// Gives this thread a session keyring of its own; false where there are no keyrings.
fn own_session() -> bool {
    // SAFETY: null asks for one without a name.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) > 0 }
}

/// Adds a key, or a keyring, to a keyring.
fn add(kind: &CStr, name: &CStr, payload: &[u8], to: i32) -> i32 {
    let bytes = if payload.is_empty() { std::ptr::null() } else { payload.as_ptr() };
    // SAFETY: two strings that end in NUL, and a live payload or none.
    let key =
        unsafe { libc::syscall(libc::SYS_add_key, kind.as_ptr(), name.as_ptr(), bytes, payload.len(), to) };
    assert!(key > 0, "{}", std::io::Error::last_os_error());
    key as i32
}

/// Makes a keyring in the session's, with a key or without, and then those rights.
fn make(name: &CStr, key: bool, rights: u32) -> i32 {
    let serial = add(c"keyring", name, &[], SESSION);
    if key {
        add(c"user", c"a secret", b"secret", serial);
    }
    assert_eq!(keyctl(libc::KEYCTL_SETPERM, serial, rights as usize), 0);
    serial
}

/// The session keyring of a newborn that is told to join `name` with that number.
fn joined(name: &CStr, told: i32) -> i32 {
    let mut draft = Draft::new();
    let name = draft.string(name);
    draft.push(Op::JoinKeyring { name, serial: told });
    // No such program: what was done before it stays.
    support::execute(&mut draft, 1_000_000, &[c"x"], &[]);
    let bytes = draft.encode(0);
    let plan = Plan::check(&bytes, Engine::Vfork).expect("a plan");
    let mut scratch = vec![0; plan.scratch()];
    let (mut reader, writer) = std::io::pipe().expect("a pipe can be made");
    let pipe = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let status = support::forked(|| {
        let mut bench =
            Bench { descriptors: &mut [], scratch: &mut scratch, answer: &mut [], home: Home::NONE };
        // SAFETY: this process was forked for it.
        unsafe { interpreter::run(&plan, &mut bench) };
        let session = keyctl(libc::KEYCTL_GET_KEYRING_ID, SESSION, 0) as i32;
        // SAFETY: writes four live bytes.
        i32::from(unsafe { libc::write(pipe, (&raw const session).cast(), 4) } != 4)
    });
    assert_eq!(status, 0);
    let mut session = [0; 4];
    std::io::Read::read_exact(&mut reader, &mut session).expect("it told");
    i32::from_ne_bytes(session)
}

#[test]
fn what_is_empty_for_good_is_joined_whatever_its_number_and_nothing_else_is() {
    let test = "what_is_empty_for_good_is_joined_whatever_its_number_and_nothing_else_is";
    if !own_session() {
        return support::skip(test, "no keyrings");
    }
    let session = keyctl(libc::KEYCTL_GET_KEYRING_ID, SESSION, 0) as i32;
    let other = session ^ 1;
    let as_it_should_be = make(&own("as it should be"), false, READ_ONLY);
    assert_eq!(joined(&own("as it should be"), other), as_it_should_be);
    assert_eq!(joined(&own("as it should be"), as_it_should_be), as_it_should_be);
    let told = make(&own("told"), true, READ_ONLY);
    assert_eq!(joined(&own("told"), told), told, "the number says that it was looked at");
    for (name, key, rights) in [
        (own("writable"), false, READ_ONLY | 0x0004_0000),
        (own("rights can be set"), false, READ_ONLY | 0x2000_0000),
        (own("linkable by others"), false, READ_ONLY | 0x18),
        (own("with a key"), true, READ_ONLY),
        (own("all that a possessor can have"), true, ALL_FOR_POSSESSOR),
    ] {
        let serial = make(&name, key, rights);
        let joined = joined(&name, other);
        assert!(
            joined > 0 && ![serial, session].contains(&joined),
            "{name:?}: {joined} of {serial}, {session}"
        );
    }
}

/// For one that is joined already the kernel gives no number.
#[test]
fn one_that_is_the_session_s_already_is_kept() {
    let (test, name) = ("one_that_is_the_session_s_already_is_kept", own("the session's"));
    if !own_session() {
        return support::skip(test, "no keyrings");
    }
    let serial = make(&name, false, READ_ONLY);
    // SAFETY: a string that ends in NUL.
    let join =
        || unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    assert_eq!(join(), i64::from(serial));
    assert_eq!(join(), 0, "the kernel gives no number");
    assert_eq!(joined(&name, serial), serial);
}

/// The rights alone do not say whose it is.
#[test]
fn another_user_s_is_not_empty_for_good() {
    let test = "another_user_s_is_not_empty_for_good";
    const SOMEBODY: u32 = 54_000;
    if !support::is_root() {
        return support::skip(test, "not root");
    }
    if !own_session() {
        return support::skip(test, "no keyrings");
    }
    let mine = make(&own("own"), false, READ_ONLY);
    assert_eq!(keyring::is_empty_for_good(mine), Ok(true));
    let other = add(c"keyring", &own("another's"), &[], SESSION);
    // Whoever gives a key away may set its rights no more, unless it possesses it.
    // SAFETY: numbers only; a group of -1 stays as it is.
    if unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_CHOWN, other, SOMEBODY, -1) } != 0 {
        return support::skip(test, "no right to give a key away");
    }
    assert_eq!(keyctl(libc::KEYCTL_SETPERM, other, READ_ONLY as usize), 0);
    assert_eq!(keyring::is_empty_for_good(other), Ok(false));
}

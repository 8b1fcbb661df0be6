//! `probe`: looks at a process from inside and says what it holds.
//!
//! It has a C `main` and no Rust runtime before it: the runtime would open `/dev/null` at closed standard streams and ignore
//! SIGPIPE, and so change what is to be seen. It asks by system calls alone and opens nothing to do so; `/proc` need not be
//! there.
//!
//! ```text
//! probe [report=N] [WORD...]      what it holds, one `key<TAB>value` a line, to descriptor N (or as the variable `report`
//!                                 says; 1 without either)
//! probe cat [FILE...]             copies files, or standard input
//! probe fd N...                   copies what can be read from descriptors
//! probe say TEXT                  writes a line
//! probe exit N | signal N         ends so
//! probe await N                   ends so when standard input does
//! probe sleep | spin              stays until it is ended, idle or busy; two minutes at most
//! probe family                    three processes in sessions of their own, two of them orphans; each writes a byte and stays
//! probe hold MIB                  uses so much memory, and ends well
//! probe touch PATH                makes a file
//! probe try OP PATH...            one line each, `OP PATH RESULT`; see `commands.rs` for the operations
//! probe fork                      one line: `ok` or the errno
//! probe socket FAMILY TYPE PROTO  likewise, by numbers
//! ```

#![no_main]

mod commands;
mod errno;
mod report;

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// The strings of an array that ends in null.
///
/// # Safety
/// `array` must be such an array, of strings that live for ever.
unsafe fn strings(array: *const *const c_char) -> Vec<&'static OsStr> {
    let mut all = Vec::new();
    for index in 0.. {
        // SAFETY: not past the null that ends the array.
        let string = unsafe { *array.add(index) };
        if string.is_null() {
            break;
        }
        // SAFETY: the caller answers for the strings.
        all.push(OsStr::from_bytes(unsafe { CStr::from_ptr(string) }.to_bytes()));
    }
    all
}

#[unsafe(no_mangle)]
extern "C" fn main(
    _count: c_int,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    // SAFETY: what the kernel puts on the first stack, handed on by the C library's start.
    let (arguments, environment) = unsafe { (strings(arguments), strings(environment)) };
    let rest = arguments.get(2..).unwrap_or_default();
    let command = arguments.get(1).map(|word| word.as_bytes()).unwrap_or_default();
    match command {
        b"cat" => commands::cat(rest),
        b"fd" => commands::copy_descriptors(rest),
        b"say" => commands::say(rest),
        b"exit" => commands::number(rest.first()),
        b"await" => commands::await_end(commands::number(rest.first())),
        b"signal" => commands::signal(commands::number(rest.first())),
        b"sleep" => commands::sleep(),
        b"spin" => commands::spin(),
        b"family" => commands::family(),
        b"hold" => commands::hold(commands::number(rest.first())),
        b"touch" => commands::touch(rest),
        b"try" => commands::attempt(rest),
        b"fork" => commands::fork(),
        b"socket" => commands::socket(rest),
        _ => report::write(&arguments, &environment),
    }
}

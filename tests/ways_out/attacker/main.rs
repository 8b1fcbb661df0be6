//! The attacker: run inside a sandbox, it tries every way it knows to what was not granted, and says what happened.
//!
//! `attacker KEY=VALUE...` tries them all; `attacker list` prints the table; `attacker role=victim` and
//! `role=idle` are the processes that the harness sets up outside as targets. `only=PREFIX` picks some; with
//! `stop=1` it stops itself before the first.

mod descriptors;
mod files;
mod foreign;
mod ipc;
mod kernel;
mod keys;
mod names;
mod net;
mod proc;
mod ring;
mod rooted;
mod sched;
mod signals;
mod terminal;
mod tool;
mod unix;
mod victim;
mod writing;

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::FromRawFd;
use tool::{NOT_THERE, Say, T, Way, name_of};

static MODULES: &[&[Way]] = &[
    descriptors::WAYS,
    files::WAYS,
    writing::WAYS,
    names::WAYS,
    proc::WAYS,
    signals::WAYS,
    sched::WAYS,
    ipc::WAYS,
    keys::WAYS,
    net::WAYS,
    unix::WAYS,
    terminal::WAYS,
    ring::WAYS,
    foreign::WAYS,
    kernel::WAYS,
    rooted::WAYS,
];

extern "C" fn nothing(_: i32) {}

/// Signals that attempts may send back to us are ignored; the alarm interrupts a call that hangs.
fn brace() {
    // SAFETY: installs dispositions for this process only; the handler does nothing.
    unsafe {
        for s in (1..=64)
            .filter(|s| ![libc::SIGCHLD, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, 32, 33].contains(s))
        {
            libc::signal(s, libc::SIG_IGN);
        }
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &a, std::ptr::null_mut());
    }
}

/// A call that hangs is interrupted after two seconds, and then again and again.
fn limit(seconds: i64) {
    let beat = libc::timeval { tv_sec: 0, tv_usec: if seconds > 0 { 300_000 } else { 0 } };
    let t = libc::itimerval { it_interval: beat, it_value: libc::timeval { tv_sec: seconds, tv_usec: 0 } };
    let _ = tool::sys!(SYS_setitimer, libc::ITIMER_REAL, tool::at(&t), 0);
}

fn main() {
    let keys: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_string(), v.to_string())))
        .collect();
    let all = MODULES.iter().flat_map(|m| m.iter());
    if std::env::args().nth(1).as_deref() == Some("list") {
        for w in all {
            println!("{}\t{}\t{}\t{}", w.name, w.class.word(), w.needs, w.about.trim());
        }
        return;
    }
    match keys.get("role").map(String::as_str) {
        Some("victim") => victim::victim(&keys),
        Some("idle") => victim::idle(),
        _ => {}
    }
    if keys.contains_key("stop") {
        // Ready: what follows happens in each copy.
        // SAFETY: a plain call.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    let fd = keys.get("result").and_then(|v| v.parse().ok()).unwrap_or(1);
    // SAFETY: the descriptor was named to us for this one purpose, and nothing else here closes it.
    let mut result = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(fd) });
    brace();
    let only = keys.get("only").cloned().unwrap_or_default();
    let aloud = keys.contains_key("aloud");
    let mut t = T { keys, way: "" };
    for w in all.filter(|w| w.name.starts_with(&only)) {
        t.way = w.name;
        if aloud {
            eprintln!("{}", w.name);
        }
        limit(2);
        let (state, detail) = match (w.run)(&t) {
            Ok(Say::Open(s)) => ("open", s),
            Ok(Say::Closed(s)) => ("closed", s),
            Ok(Say::Absent(s)) => ("absent", s),
            Ok(Say::Witness(s)) => ("witness", s),
            Err(NOT_THERE) => ("absent", "no such target was given".to_string()),
            Err(e) => ("closed", name_of(e)),
        };
        limit(0);
        let detail = detail.replace(['\t', '\n'], " ");
        let _ = writeln!(result, "{}\t{}\t{state}\t{detail}", w.name, w.class.word());
    }
    let _ = writeln!(result, "end\tend\tend\t");
}

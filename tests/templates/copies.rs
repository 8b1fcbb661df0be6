//! Copies go on where their template was stopped, each by itself.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use super::*;

#[test]
fn each_copy_has_what_it_was_given_and_ends_by_itself() {
    let (_process, template) = at_entry(base("/bin/cat").arg("-").env("A", "B"));
    for number in 0..20 {
        let (input, mut feed) = std::io::pipe().expect("a pipe");
        let (mut output, theirs) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut feed, format!("copy {number}").as_bytes()).expect("room");
        drop(feed);
        let mut part = template.first_part();
        part.grant(0, input.as_fd()).grant(1, theirs.as_fd());
        let process = template.start(part).expect("a copy");
        drop((input, theirs));
        let mut text = String::new();
        output.read_to_string(&mut text).expect("it writes");
        assert_eq!(text, format!("copy {number}"));
        let ended = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
        assert_eq!(ended.status.code(), Some(0));
    }
}

fn children(process: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default()
        .split_ascii_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect()
}

fn parent(process: u32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
    parent.trim().parse().expect("a number")
}

fn trace(request: libc::c_uint, process: i32, data: i32) {
    // SAFETY: no request here takes a pointer.
    assert_eq!(unsafe { libc::ptrace(request, process, 0, data) }, 0, "{}", std::io::Error::last_os_error());
}

/// Until it stops the next time.
fn await_stop(process: i32) {
    let mut status = 0;
    // SAFETY: the place is ours.
    assert_eq!(unsafe { libc::waitpid(process, &raw mut status, libc::__WALL) }, process);
    assert!(libc::WIFSTOPPED(status), "{status:x}");
}

/// Lets it run until it has sent something, and holds it there.
fn hold_when_it_has_sent(process: i32) {
    let mut sent = false;
    loop {
        trace(libc::PTRACE_SYSCALL, process, 0);
        await_stop(process);
        // SAFETY: numbers, which are valid zeroed.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: it is stopped, and the place is ours.
        let got = unsafe { libc::ptrace(libc::PTRACE_GETREGS, process, 0, &raw mut registers) };
        assert_eq!(got, 0);
        match (registers.orig_rax as i64 == libc::SYS_sendmsg, sent) {
            (true, true) => return,
            (sends, _) => sent = sends,
        }
    }
}

/// Its nursery is held when it has passed a request on: the copy is made, and told everything, and nobody knows of it.
#[test]
fn a_copy_that_nobody_knows_of_runs_nothing() {
    for killed in [false, true] {
        let (process, template) = at_entry(base("/bin/echo").arg("it runs"));
        let nursery = parent(process.id());
        let (mut output, theirs) = std::io::pipe().expect("a pipe");
        let mut part = template.first_part();
        part.grant(1, theirs.as_fd());
        trace(libc::PTRACE_SEIZE, nursery, libc::PTRACE_O_TRACESYSGOOD);
        trace(libc::PTRACE_INTERRUPT, nursery, 0);
        await_stop(nursery);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| template.start(part));
            hold_when_it_has_sent(nursery);
            let until = Instant::now() + LONG;
            let told = |copy: &i32| {
                std::fs::read_link(format!("/proc/{copy}/fd/1")).is_ok_and(|link| {
                    let own = std::fs::read_link(format!("/proc/self/fd/{}", theirs.as_raw_fd()));
                    own.is_ok_and(|own| own == link)
                })
            };
            while !children(nursery).iter().any(told) {
                assert!(Instant::now() < until, "there is no copy that was told");
                std::thread::sleep(Duration::from_millis(1));
            }
            // Time enough for any that would not wait.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(rustix::io::ioctl_fionread(&output).expect("a pipe"), 0, "it has run");
            if killed {
                // SAFETY: our nursery, which is traced and so cannot be another process by now.
                assert_eq!(unsafe { libc::kill(nursery, libc::SIGKILL) }, 0);
                let mut status = 0;
                // SAFETY: the place is ours.
                unsafe { libc::waitpid(nursery, &raw mut status, libc::__WALL) };
            } else {
                trace(libc::PTRACE_DETACH, nursery, 0);
            }
            let came = asked.join().expect("an answer");
            assert_eq!(came.is_err(), killed, "{came:?}");
        });
        drop(theirs);
        let mut text = String::new();
        output.read_to_string(&mut text).expect("it is read");
        assert_eq!(text, if killed { "" } else { "it runs\n" });
    }
}

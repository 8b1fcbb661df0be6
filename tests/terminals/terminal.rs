//! A pseudo-terminal with a session on it, and somebody who types and reads.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use beget_tests::{Need, Scratch, has, program, skip};

use crate::processes::{self, Entry, Watched};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PROMPT: &str = "outer> ";

pub const CTRL_C: u8 = 0x03;
pub const CTRL_D: u8 = 0x04;
pub const CTRL_Z: u8 = 0x1a;
pub const CTRL_BACKSLASH: u8 = 0x1c;

/// The moment at which patience ends.
pub fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// Whether these programs are here; a test that lacks one is skipped.
pub fn have(test: &str, programs: &[&'static str]) -> bool {
    let missing = programs.iter().find(|program| !has(program));
    if let Some(missing) = missing {
        skip(test, Need::Program(missing));
    }
    missing.is_none()
}

/// The words that run a Python script inside: `beget run` with what it needs.
pub fn python(scratch: &Scratch, source: &str) -> String {
    let path = scratch.file("script.py", source);
    format!("\"$BEGET\" run --base --read {} -- python3 -S -E {path}", scratch.path().display())
}

/// The terminal, its session and all that was read from it.
#[derive(Debug)]
pub struct Terminal {
    master: Option<OwnedFd>,
    leader: Child,
    seen: Vec<u8>,
    /// Up to here it was expected.
    at: usize,
}

impl Terminal {
    /// An interactive bash that leaves the terminal's modes alone.
    pub fn bash() -> Terminal {
        Terminal::with(&["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"])
    }

    /// One that edits its line, and so changes the modes whenever it prompts.
    pub fn editing_bash() -> Terminal {
        Terminal::with(&["/bin/bash", "--norc", "--noprofile", "-i"])
    }

    /// The system's plain shell, which never mends the modes that a job leaves.
    pub fn plain_shell() -> Terminal {
        Terminal::with(&["/bin/sh", "-i"])
    }

    /// A session whose leader is this program. In its environment BEGET names the program under test.
    pub fn with(words: &[&str]) -> Terminal {
        let (master, slave) = open();
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor is free"));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(copy()).stdout(copy()).stderr(copy());
        command.env_clear().env("PATH", beget::DEFAULT_PATH).env("BEGET", program("beget-under-test"));
        command.env("PS1", PROMPT).env("TERM", "dumb").env("LC_ALL", "C").env("HOME", "/");
        beget_tests::own_signals(&mut command);
        // SAFETY: between fork and exec it makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let leader = command.spawn().expect("the shell is there");
        Terminal { master: Some(master), leader, seen: Vec::new(), at: 0 }
    }

    fn master(&self) -> i32 {
        self.master.as_ref().expect("the terminal is open").as_raw_fd()
    }

    /// The number of the session and of its leader.
    pub fn leader(&self) -> i32 {
        self.leader.id() as i32
    }

    /// Presses one key.
    pub fn key(&mut self, key: u8) {
        self.write(&[key]);
    }

    /// Types a line to whatever reads.
    pub fn answer(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Types a line to the shell, when it prompts.
    pub fn line(&mut self, line: &str) {
        self.expect(PROMPT);
        self.answer(line);
    }

    fn write(&mut self, bytes: &[u8]) {
        // SAFETY: a live buffer and its length.
        let written = unsafe { libc::write(self.master(), bytes.as_ptr().cast(), bytes.len()) };
        assert_eq!(written, bytes.len() as isize, "the terminal takes what is typed");
    }

    /// Reads what there is, waiting for it no longer than `time`.
    fn read(&mut self, time: Duration) {
        let mut file = libc::pollfd { fd: self.master(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live structure is passed.
        if unsafe { libc::poll(&raw mut file, 1, time.as_millis() as i32) } < 1 {
            return;
        }
        let mut buffer = [0u8; 4096];
        // SAFETY: a live buffer and its length.
        let count = unsafe { libc::read(self.master(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => self.seen.extend_from_slice(&buffer[..count]),
            // Nobody holds the other end: without this, a wait for something else would spin.
            Err(_) => std::thread::sleep(time.min(Duration::from_millis(10))),
        }
    }

    /// All that was shown, for a message.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads until `text` is shown after what was expected before, and gives what stood before it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let limit = deadline();
        loop {
            let fresh = &self.seen[self.at..];
            if let Some(place) = fresh.windows(text.len()).position(|part| part == text.as_bytes()) {
                let before = String::from_utf8_lossy(&fresh[..place]).into_owned();
                self.at += place + text.len();
                return before;
            }
            assert!(
                Instant::now() < limit,
                "no {text:?} after {:?} in:\n{}",
                before(self),
                self.transcript()
            );
            self.read(Duration::from_millis(100));
        }
    }

    /// Reads until the condition holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, condition: impl Fn(&Terminal) -> bool) {
        let limit = deadline();
        while !condition(self) {
            let processes = processes::of_session(self.leader());
            assert!(Instant::now() < limit, "not {what}: {processes:#?} in:\n{}", self.transcript());
            self.read(Duration::from_millis(10));
        }
    }

    /// The group in the foreground.
    pub fn foreground(&self) -> i32 {
        // SAFETY: no memory is passed.
        unsafe { libc::tcgetpgrp(self.master()) }
    }

    /// Waits until the group in the foreground is led by a program that was started by this name, and gives its number.
    #[track_caller]
    pub fn foreground_is(&mut self, name: &str) -> i32 {
        let named =
            |terminal: &Terminal| processes::started_as(terminal.foreground()).is_some_and(|one| one == name);
        self.until(&format!("{name} in the foreground"), named);
        self.foreground()
    }

    /// The one `beget` of this session.
    pub fn beget(&self) -> Entry {
        let all = processes::of_session(self.leader());
        // The kernel keeps fifteen letters of a name.
        let mut begets =
            all.iter().filter(|one| "beget-under-test".starts_with(&one.name) && one.name.len() == 15);
        let one =
            begets.next().unwrap_or_else(|| panic!("no beget among {all:?} in:\n{}", self.transcript()));
        assert!(begets.next().is_none(), "one beget among {all:?}");
        one.clone()
    }

    /// Waits until the leader of the foreground group sleeps in a call: Python loses a key that comes just before.
    #[track_caller]
    pub fn foreground_sleeps(&mut self) {
        let asleep =
            |terminal: &Terminal| processes::entry(terminal.foreground()).is_some_and(|one| one.state == 'S');
        self.until("asleep", asleep);
    }

    /// Waits until the program inside has a child that was started by this name, and gives its number. The system's plain shell
    /// loses a key that comes while it starts one.
    #[track_caller]
    pub fn program_starts(&mut self, name: &str) -> i32 {
        let beget = self.beget().number;
        let find = || {
            let mut below = processes::below(beget).into_iter();
            below.find(|one| processes::started_as(one.number).is_some_and(|words| words == name))
        };
        self.until(&format!("{name} inside"), |_| find().is_some());
        find().expect("it is there to stay").number
    }

    /// The modes, as the other end has them.
    fn modes(&self) -> libc::termios {
        // SAFETY: a structure of plain numbers, for which zero is a value.
        let mut modes = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a structure that lives here.
        assert_eq!(unsafe { libc::tcgetattr(self.master(), &raw mut modes) }, 0);
        modes
    }

    /// Lines, echo and keys that send signals: as a program at start expects it.
    pub fn is_cooked(&self) -> bool {
        let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
        self.modes().c_lflag & wanted == wanted
    }

    /// None of these.
    pub fn is_raw(&self) -> bool {
        self.modes().c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG) == 0
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        self.modes().c_lflag & libc::ECHO != 0
    }

    /// Changes the size of the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel reads a structure that lives here.
        assert_eq!(unsafe { libc::ioctl(self.master(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// The shell has the terminal again, and says that the last command ended so.
    #[track_caller]
    pub fn code(&mut self, code: i32) {
        self.expect(PROMPT);
        assert_eq!(
            self.foreground(),
            self.leader(),
            "the shell is in the foreground:\n{}",
            self.transcript()
        );
        self.answer("echo code=$?");
        self.expect("\ncode=");
        let told = self.expect("\r\n");
        assert_eq!(told, code.to_string(), "the exit code, in:\n{}", self.transcript());
    }

    /// Leaves the shell, which had no job left, and finds nothing behind it.
    #[track_caller]
    pub fn end(mut self) {
        self.line("exit 0");
        let status = self.wait();
        assert!(status.success(), "the shell ended with {status}:\n{}", self.transcript());
        self.nothing_left();
    }

    /// Waits for the leader.
    #[track_caller]
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let ended = |terminal: &Terminal| {
            processes::entry(terminal.leader()).is_none_or(|one| matches!(one.state, 'Z' | 'X'))
        };
        self.until("the end of the session's leader", ended);
        self.leader.wait().expect("our own child")
    }

    /// No process of the session is there.
    #[track_caller]
    pub fn nothing_left(&self) {
        let left = processes::of_session(self.leader());
        assert!(left.is_empty(), "left behind: {left:?} in:\n{}", self.transcript());
    }

    /// Closes our end: the terminal is gone for those who use it. All of the session must end.
    #[track_caller]
    pub fn hang_up(&mut self) {
        let watched: Vec<Watched> =
            processes::of_session(self.leader()).into_iter().map(Watched::new).collect();
        assert!(!watched.is_empty());
        self.master = None;
        let limit = deadline();
        watched.iter().for_each(|one| one.wait(limit));
        let _ = self.leader.wait();
        self.nothing_left();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // After a failure: what is below may be in sessions of its own.
        for one in processes::below(self.leader()).into_iter().chain(processes::of_session(self.leader())) {
            // SAFETY: no memory is passed.
            unsafe { libc::kill(one.number, libc::SIGKILL) };
        }
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

/// The end of what was expected already.
fn before(terminal: &Terminal) -> String {
    let from = terminal.at.saturating_sub(40);
    String::from_utf8_lossy(&terminal.seen[from..terminal.at]).into_owned()
}

/// A new pseudo-terminal of a size that wraps no line. Both ends are closed on exec from the beginning: the tests beside this one
/// start programs too, and an end in one of those would keep the terminal alive.
fn open() -> (OwnedFd, OwnedFd) {
    const FLAGS: i32 = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let own = |file: i32| {
        assert!(file >= 0, "a pseudo-terminal: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(file) }
    };
    // SAFETY: no memory is passed.
    let master = own(unsafe { libc::posix_openpt(FLAGS) });
    // SAFETY: likewise.
    let ready = unsafe { libc::grantpt(master.as_raw_fd()) == 0 && libc::unlockpt(master.as_raw_fd()) == 0 };
    assert!(ready, "a pseudo-terminal: {}", std::io::Error::last_os_error());
    // SAFETY: likewise; the flags are passed by value.
    let slave = own(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, FLAGS) });
    let size = libc::winsize { ws_row: 24, ws_col: 1000, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a structure that lives here.
    assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    (master, slave)
}

//! Job control: the program's group in the foreground, stopped and continued together with us, everything put back at the end.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal that is our standard input.
#[derive(Debug)]
pub(crate) struct Terminal {
    own: Pid,
    /// As they were when we last had the foreground; in the background they are somebody else's.
    ours: Option<Termios>,
    theirs: Option<Termios>,
    /// We were in its foreground when we began.
    pub(crate) foreground: bool,
    /// The program gets it whenever we have it, asked or not. With a pipe at standard output a pager may share our group and want
    /// the terminal itself: then the program gets it when the SIGTTIN or SIGTTOU stops it that a job gets for using it.
    at_once: bool,
    /// We gave it to the program, and did not take it back.
    lent: bool,
}

/// The terminal at the stream of this number, opened anew only to write; `None` where that is no terminal, or cannot be had so.
pub(crate) fn to_write_only(stream: u32) -> Option<OwnedFd> {
    let is_terminal =
        if stream == 1 { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() };
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{stream}");
    is_terminal.then(|| rustix::fs::open(path, flags, Mode::empty()).ok()).flatten()
}

impl Terminal {
    /// The terminal, when standard input is one and it is the one that controls us.
    pub(crate) fn find() -> Option<Terminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let own = getpgrp();
        let foreground = tcgetpgrp(&stdin).ok()? == own;
        let ours = if foreground { tcgetattr(&stdin).ok() } else { None };
        let at_once = std::io::stdout().is_terminal();
        Some(Terminal { own, ours, theirs: None, foreground, at_once, lent: false })
    }

    /// Whether the program is put in the foreground at its birth; from here on the terminal counts as lent then.
    pub(crate) fn lend_at_birth(&mut self) -> bool {
        self.lent = self.foreground && self.at_once;
        self.lent
    }

    /// Whether our group is in the foreground.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(std::io::stdin()) == Ok(self.own)
    }

    /// The program stopped: keep its modes, take the terminal back with ours.
    pub(crate) fn take_back(&mut self) {
        if self.is_with_the_program() {
            self.theirs = tcgetattr(std::io::stdin()).ok();
        }
        self.restore();
    }

    /// We go on: if we are in the foreground, the program gets the terminal and its modes again; one that did not have it must
    /// have asked.
    pub(crate) fn hand_over(&mut self, group: Pid, asked: bool) {
        if self.is_with_the_program() {
            return;
        }
        (self.ours, self.lent) = (None, false);
        if !self.is_ours() {
            return;
        }
        let stdin = std::io::stdin();
        self.ours = tcgetattr(&stdin).ok();
        if asked || self.at_once || self.theirs.is_some() {
            if let Some(theirs) = self.theirs.take() {
                let _ = tcsetattr(&stdin, OptionalActions::Drain, &theirs);
            }
            self.lent = tcsetpgrp(&stdin, group).is_ok();
        }
    }

    /// Takes the terminal back if nobody else has it, with the modes it had. SIGTTOU is blocked, so this works from the background.
    pub(crate) fn restore(&mut self) {
        let stdin = std::io::stdin();
        if self.is_with_the_program() {
            self.lent = tcsetpgrp(&stdin, self.own).is_err();
        }
        if self.is_ours() {
            // Output that was stopped by call is started by no key and no mode; stopped by a key it is started only if stopped by
            // call as well. In a pipeline another writes there at this moment, and would lose what it writes.
            if self.at_once {
                let _ = rustix::termios::tcflow(&stdin, rustix::termios::Action::OOff);
            }
            let _ = rustix::termios::tcflow(&stdin, rustix::termios::Action::OOn);
        }
        if let (true, Some(ours)) = (self.is_ours(), &self.ours) {
            let _ = tcsetattr(&stdin, OptionalActions::Drain, ours);
        }
    }

    /// In the foreground is a group that descends from us, the program's or one that a shell in it made; or nobody leads the
    /// group, and we lent the terminal out.
    fn is_with_the_program(&self) -> bool {
        let Ok(holder) = tcgetpgrp(std::io::stdin()) else { return false };
        let gone = || rustix::process::test_kill_process(holder) == Err(rustix::io::Errno::SRCH);
        crate::tree::is_descendant(holder.as_raw_nonzero().get()) || self.lent && gone()
    }
}

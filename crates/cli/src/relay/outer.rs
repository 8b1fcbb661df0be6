//! The terminal that the person sits at, while the program has one of its own: what is typed is passed on key by key, so its modes are
//! raw while we are in its foreground, and as they were whenever we are not.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use beget::WindowSize;
use rustix::process::{Pid, getpgrp};
use rustix::termios::{
    InputModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

/// The terminal that is our standard input.
#[derive(Debug)]
pub(super) struct Outer {
    own: Pid,
    /// Its modes as they were, while they are raw.
    cooked: Option<Termios>,
}

impl Outer {
    /// The terminal, when standard input is one.
    pub(super) fn find() -> Option<Outer> {
        std::io::stdin().is_terminal().then(|| Outer { own: getpgrp(), cooked: None })
    }

    /// Whether we may read it: we are in its foreground, or it does not control us, and nobody minds.
    pub(super) fn is_ours(&self) -> bool {
        match tcgetpgrp(std::io::stdin()) {
            Ok(group) => group == self.own,
            Err(errno) => errno == rustix::io::Errno::NOTTY,
        }
    }

    /// Gives another terminal the keys that the person is used to.
    pub(super) fn lend_keys(&self, modes: &mut Termios) {
        if let Ok(own) = tcgetattr(std::io::stdin()) {
            modes.input_modes.set(InputModes::IUTF8, own.input_modes.contains(InputModes::IUTF8));
            modes.special_codes = own.special_codes;
        }
    }

    /// Whether it is raw now.
    pub(super) fn is_taken(&self) -> bool {
        self.cooked.is_some()
    }

    /// Makes it raw if we are in its foreground; again, if somebody changed it meanwhile.
    pub(super) fn take(&mut self) {
        let stdin = std::io::stdin();
        if !self.is_ours() {
            return;
        }
        if let Ok(modes) = tcgetattr(&stdin) {
            let mut raw = modes.clone();
            raw.make_raw();
            self.cooked.get_or_insert(modes);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
    }

    /// Puts its modes back; if it is somebody else's by now, it has theirs already. What was typed for the program, and what the terminal
    /// answered to it, is nothing that a shell should read.
    pub(super) fn leave(&mut self) {
        if let Some(cooked) = self.cooked.take()
            && self.is_ours()
        {
            let stdin = std::io::stdin();
            let _ = tcflush(&stdin, QueueSelector::IFlush);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &cooked);
        }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The size of the window that the person sees, by the first standard stream that is a terminal.
pub(super) fn window() -> Option<WindowSize> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().find_map(WindowSize::of)
}

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
    /// Its modes as they were, from when we made them raw until we put them back.
    cooked: Option<Termios>,
    /// It is raw, and read for the program.
    taken: bool,
}

impl Outer {
    /// The terminal, when standard input is one.
    pub(super) fn find() -> Option<Outer> {
        std::io::stdin().is_terminal().then(|| Outer { own: getpgrp(), cooked: None, taken: false })
    }

    /// Gives another terminal the keys that the person is used to.
    pub(super) fn lend_keys(&self, modes: &mut Termios) {
        if let Ok(own) = tcgetattr(std::io::stdin()) {
            modes.input_modes.set(InputModes::IUTF8, own.input_modes.contains(InputModes::IUTF8));
            modes.special_codes = own.special_codes;
        }
    }

    /// Whether it is raw now, and read for the program.
    pub(super) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Makes it raw if we are in its foreground; again, if somebody changed it meanwhile.
    pub(super) fn take(&mut self) {
        self.taken = self.is_ours();
        let stdin = std::io::stdin();
        if let (true, Ok(modes)) = (self.taken, tcgetattr(&stdin)) {
            let mut raw = modes.clone();
            raw.make_raw();
            self.cooked.get_or_insert(modes);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
    }

    /// Puts its modes back. What was typed for the program, and what the terminal answered to it, is nothing that a shell should read.
    pub(super) fn leave(&mut self) {
        if self.is_still_taken()
            && let Some(cooked) = self.cooked.take()
        {
            let stdin = std::io::stdin();
            let _ = tcflush(&stdin, QueueSelector::IFlush);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &cooked);
        }
        self.taken = false;
    }

    /// Whether it was taken, and nobody put us in its background since: then it has somebody else's modes already.
    pub(super) fn is_still_taken(&mut self) -> bool {
        self.taken &= self.is_ours();
        self.taken
    }

    /// Whether we may read it: we are in its foreground, or it does not control us, and nobody minds. Of one that is gone, the end is read.
    fn is_ours(&self) -> bool {
        tcgetpgrp(std::io::stdin()).map_or(true, |group| group == self.own)
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

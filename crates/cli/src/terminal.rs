//! Job control: the program's group in the foreground, stopped and continued together with us, everything put back at the end.

use std::io::IsTerminal;

use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal that is our standard input.
#[derive(Debug)]
pub(crate) struct Terminal {
    own: Pid,
    ours: Option<Termios>,
    theirs: Option<Termios>,
    /// We were in its foreground when we began.
    pub(crate) foreground: bool,
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
        Some(Terminal { own, ours: tcgetattr(&stdin).ok(), theirs: None, foreground })
    }

    /// The program stopped: keep its modes, take the terminal back with ours.
    pub(crate) fn take_back(&mut self) {
        let stdin = std::io::stdin();
        self.theirs = tcgetattr(&stdin).ok();
        self.restore();
    }

    /// We go on: if we are in the foreground, the program gets the terminal and its modes again.
    pub(crate) fn hand_over(&mut self, group: Pid) {
        let stdin = std::io::stdin();
        if tcgetpgrp(&stdin) == Ok(self.own) {
            self.ours = tcgetattr(&stdin).ok();
            if let Some(theirs) = self.theirs.take() {
                let _ = tcsetattr(&stdin, OptionalActions::Drain, &theirs);
            }
            let _ = tcsetpgrp(&stdin, group);
        }
    }

    /// Takes the terminal back if nobody else has it, with the modes it had. SIGTTOU is blocked, so this works from the background.
    pub(crate) fn restore(&self) {
        let stdin = std::io::stdin();
        let holder = tcgetpgrp(&stdin).ok();
        let gone = |group: Pid| rustix::process::test_kill_process_group(group).is_err();
        let ours_to_take = holder.is_none_or(|holder| self.group_is_ours(holder) || gone(holder));
        if !ours_to_take || tcsetpgrp(&stdin, self.own).is_err() {
            return;
        }
        if let Some(ours) = &self.ours {
            let _ = tcsetattr(&stdin, OptionalActions::Drain, ours);
        }
    }

    /// Our own group, or one that descends from us: the program's, or one that a shell in it made.
    fn group_is_ours(&self, group: Pid) -> bool {
        group == self.own || crate::tree::is_descendant(group.as_raw_nonzero().get())
    }
}

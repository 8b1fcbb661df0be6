//! What stands between the program's streams and ours when it has a terminal of its own, or its output is recorded or limited.
//!
//! One part of the loop beside the program: nothing here waits, and nothing has a thread. Of each way at most one buffer is held.

mod channel;
mod gate;
mod keys;
mod log;
mod outer;
mod stream;

use std::os::fd::OwnedFd;

use beget::{Command, Process, Pty, Stdio, WindowSize};
use beget_spec::Spec;
use rustix::event::PollFd;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::{InputModes, LocalModes, OptionalActions, tcgetattr, tcsetattr};

use channel::{Channel, Step};
use gate::Gate;
use keys::Keys;
use log::Log;
use outer::Outer;
use stream::Stream;

/// Whether the program's output passes through us.
pub(crate) fn is_wanted(spec: &Spec) -> bool {
    spec.pty || spec.log.is_some() || spec.output_limit.is_some()
}

/// Gives the command the streams that a relay will be at the other end of; says whether there is to be one, and gives its terminal.
pub(crate) fn give_streams(spec: &Spec, command: &mut Command) -> Result<Option<Option<Pty>>, String> {
    if spec.pty {
        let pty = Pty::open(outer::window().unwrap_or_default()).map_err(|error| error.to_string())?;
        command.pty(&pty).map_err(|error| error.to_string())?;
        return Ok(Some(Some(pty)));
    }
    if !is_wanted(spec) {
        return Ok(None);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Some(None))
}

/// The relay.
#[derive(Debug)]
pub(crate) struct Relay {
    pty: Option<Pty>,
    keys: Option<Keys>,
    channels: Vec<Channel>,
    gate: Gate,
    outer: Option<Outer>,
    size: WindowSize,
    /// Our streams that took nothing more, and why.
    failures: Vec<String>,
}

impl Relay {
    /// What `spec` asks for, if anything; and the command's streams made so. From here on the person's terminal is raw, until the relay
    /// is dropped.
    pub(crate) fn make(spec: &Spec, command: &mut Command) -> Result<Option<Relay>, String> {
        let Some(pty) = give_streams(spec, command)? else { return Ok(None) };
        let log = spec.log.as_deref().map(Log::open).transpose()?;
        let size = outer::window().unwrap_or_default();
        let mut relay = Relay {
            pty: None,
            keys: None,
            channels: Vec::new(),
            gate: Gate::new(log, spec.output_limit),
            outer: None,
            size,
            failures: Vec::new(),
        };
        if let Some(pty) = pty {
            relay.use_terminal(pty).map_err(|errno| format!("pseudo-terminal: {}", words(errno)))?;
        }
        if let Some(log) = &mut relay.gate.log {
            log.begin(spec, size);
        }
        Ok(Some(relay))
    }

    fn use_terminal(&mut self, pty: Pty) -> rustix::io::Result<()> {
        let flags = fcntl_getfl(&pty)?;
        fcntl_setfl(&pty, flags | OFlags::NONBLOCK)?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&pty, 3);
        self.channels.push(Channel::new(1, copy()?, true, Stream::output(1)?));
        self.keys = Some(Keys::new(Stream::input()?, copy()?));
        self.outer = Outer::find();
        let mut modes = tcgetattr(&pty)?;
        modes.input_modes |= InputModes::IUTF8;
        match &mut self.outer {
            Some(outer) => {
                outer.lend_keys(&mut modes);
                outer.take();
            }
            // Nobody types, so nobody looks for what was typed.
            None => modes.local_modes -= LocalModes::ECHO,
        }
        tcsetattr(&pty, OptionalActions::Now, &modes)?;
        self.pty = Some(pty);
        Ok(())
    }

    /// Takes the ends of the program's pipes, if it has any.
    pub(crate) fn attach(&mut self, process: &mut Process) -> Result<(), String> {
        let ends = [process.stdout.take().map(OwnedFd::from), process.stderr.take().map(OwnedFd::from)];
        for (number, end) in (1..).zip(ends) {
            let Some(end) = end else { continue };
            let made = fcntl_setfl(&end, OFlags::NONBLOCK).and_then(|()| Stream::output(number));
            let to = made.map_err(|errno| format!("{}: {}", name(number), words(errno)))?;
            self.channels.push(Channel::new(number, end, false, to));
        }
        Ok(())
    }

    /// What the loop is to wait for beside everything else.
    pub(crate) fn interests(&self) -> Vec<PollFd<'_>> {
        let may_read = self.may_read();
        let keys = self.keys.as_ref().and_then(|keys| keys.interest(may_read));
        self.channels.iter().filter_map(Channel::interest).chain(keys).collect()
    }

    /// Whether something is to be looked at now and then, of which nobody tells: that we are in front, or that the program has opened
    /// its terminal again.
    pub(crate) fn needs_looks(&self) -> bool {
        let behind = self.keys.is_some() && self.outer.as_ref().is_some_and(|outer| !outer.is_taken());
        behind || self.is_unheld()
    }

    /// Whether the program let go of its terminal; it may take it up again, by its name.
    fn is_unheld(&self) -> bool {
        self.channels.iter().any(|channel| channel.unheld)
    }

    fn may_read(&self) -> bool {
        !self.is_unheld() && self.outer.as_ref().is_none_or(Outer::is_taken)
    }

    /// Moves what can be moved without waiting, but not for long, for signals wait. Says whether anything was.
    pub(crate) fn turn(&mut self) -> bool {
        const ROUNDS: usize = 16;
        let unheld = self.is_unheld();
        if let Some(outer) = &mut self.outer {
            if unheld {
                // No key does anything inside; then keys do what they do outside.
                outer.leave();
            } else if !outer.is_still_taken() {
                // We were behind, and may be in front now.
                outer.take();
            }
        }
        let may_read = self.may_read();
        if self.keys.as_mut().is_some_and(|keys| keys.turn(may_read)) {
            self.keys = None;
        }
        let rounds = (0..ROUNDS).take_while(|_| self.round()).count();
        rounds > 0
    }

    fn round(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.channels.len() {
            match self.channels[index].step(&mut self.gate) {
                Step::Moved => moved = true,
                Step::Nothing => {}
                Step::NoReader(errno) => self.lose_reader(index + 1, errno),
            }
        }
        moved
    }

    /// The program is told as it would be without us: by a pipe without a reader, or a terminal that is gone.
    fn lose_reader(&mut self, number: usize, errno: Errno) {
        (self.pty, self.keys, self.outer) = (None, None, None);
        // That a reader left is the reader's matter, and a terminal that is gone is known to whoever sat there.
        if !matches!(errno, Errno::PIPE | Errno::CONNRESET | Errno::IO) {
            self.failures.push(format!("{}: {}", name(number), words(errno)));
        }
    }

    /// Whether the program wrote more than it may.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.gate.is_shut()
    }

    /// Whether there is still something for a reader of ours. For when the program and all that it left has ended: what it wrote is
    /// there then, and nothing more comes.
    pub(crate) fn is_loaded(&self) -> bool {
        self.channels.iter().any(Channel::is_loaded)
    }

    /// Nothing is typed any more.
    pub(crate) fn close_input(&mut self) {
        self.keys = None;
    }

    /// The person's window has another size.
    pub(crate) fn resize(&mut self) {
        let Some(size) = outer::window().filter(|size| *size != self.size) else { return };
        let Some(pty) = &self.pty else { return };
        if pty.set_size(size).is_ok() {
            self.size = size;
            if let Some(log) = &mut self.gate.log {
                log.resize(size);
            }
        }
    }

    /// Whether the program has a terminal of its own and the person's is raw for it.
    pub(crate) fn has_taken(&self) -> bool {
        self.outer.as_ref().is_some_and(Outer::is_taken)
    }

    /// We stop, or have something to say: the person's terminal is as it was.
    pub(crate) fn leave(&mut self) {
        if let Some(outer) = &mut self.outer {
            outer.leave();
        }
    }

    /// We go on.
    pub(crate) fn take(&mut self) {
        if let Some(outer) = &mut self.outer {
            outer.take();
        }
        self.resize();
    }

    /// Nothing is read or written any more. What went wrong, to be told.
    pub(crate) fn end(mut self, delivered: bool) -> Vec<String> {
        let mut failures = std::mem::take(&mut self.failures);
        if !delivered {
            failures.push("standard output: nobody read the last of what the program wrote".into());
        }
        if let Some(mut log) = self.gate.log.take() {
            log.end();
            failures.extend(log.failure);
        }
        failures
    }
}

fn name(number: usize) -> &'static str {
    if number == 1 { "standard output" } else { "standard error" }
}

fn words(errno: Errno) -> String {
    beget_sys::Errno(errno.raw_os_error()).to_string()
}

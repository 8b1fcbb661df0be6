//! `beget top`: the living domains, on the whole terminal.
//!
//! Safety idea: whatever way it is left by, a key, a signal, an error, the terminal is given back as it was.

mod view;

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use beget_service::{Fault, Service};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::domains::{Failure, failed, session};
use crate::options::Options;
use crate::signals::{self, Signals};
use crate::{FAILED, units};
use view::{Asks, View};

/// How often is looked at what lives.
const A_LOOK: Duration = Duration::from_secs(1);

/// The terminal, ours as long as this lives.
struct Screen {
    before: Termios,
}

impl Screen {
    fn take() -> Result<Screen, Failure> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        if !input.is_terminal() || !output.is_terminal() {
            let words = "standard input and output must be a terminal; `beget ps` needs none";
            return Err((format!("top: {words}"), FAILED));
        }
        let before = tcgetattr(&input).map_err(|errno| (format!("terminal: {errno}"), FAILED))?;
        let screen = Screen { before };
        screen.enter();
        Ok(screen)
    }

    /// Keys come one by one, and unseen; those that send signals still do.
    fn enter(&self) {
        let mut modes = self.before.clone();
        modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &modes);
        write("\x1b[?1049h\x1b[?25l");
    }

    fn leave(&self) {
        write("\x1b[0m\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }

    fn draw(&self, view: &mut View) {
        let size = tcgetwinsize(std::io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
        let (width, height) = (if size.0 == 0 { 80 } else { size.0 }, if size.1 == 0 { 24 } else { size.1 });
        let (lines, marked) = view.lines(width.into(), height.into(), units::now());
        let mut text = "\x1b[H".to_owned();
        let last = lines.len().saturating_sub(1);
        for (at, line) in lines.iter().enumerate() {
            let (on, off) = if at == 0 || Some(at) == marked { ("\x1b[7m", "\x1b[0m") } else { ("", "") };
            text.push_str(on);
            text.push_str(line);
            text.push_str(off);
            text.push_str("\x1b[K");
            // The last line has no end, which would move all of them up.
            text.push_str(if at == last { "\x1b[J" } else { "\r\n" });
        }
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn write(text: &str) {
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// A domain that is being ended, which may take a while.
struct Ending {
    name: String,
    thread: JoinHandle<Result<(), Failure>>,
}

/// `beget top`.
pub(crate) fn top(options: &Options) -> Result<u8, Failure> {
    // What is wrong is told on the terminal as it was.
    let mut service = session(&options.service)?;
    let first = service.list().map_err(failed)?;
    let wrong = |errno: beget_sys::Errno| (format!("signals: {errno}"), FAILED);
    let screen = Screen::take()?;
    let signals = Signals::take().map_err(wrong)?;
    let mut view = View::new();
    view.take(first, units::now());
    let outcome = watch(options, &mut service, &screen, &signals, &mut view);
    drop(screen);
    outcome.map(|signal| signal.map_or(0, |signal| 128 + signal as u8))
}

/// Until a key or a signal ends it, which is given.
fn watch(
    options: &Options,
    service: &mut Service,
    screen: &Screen,
    signals: &Signals,
    view: &mut View,
) -> Result<Option<i32>, Failure> {
    let mut looked = Instant::now();
    let mut endings: Vec<Ending> = Vec::new();
    loop {
        screen.draw(view);
        let left = A_LOOK.saturating_sub(looked.elapsed());
        // What is being ended is looked for more often.
        let left = if endings.is_empty() { left } else { left.min(Duration::from_millis(50)) };
        let time = Timespec::try_from(left).ok();
        let input = std::io::stdin();
        let mut watched =
            [PollFd::new(signals, PollFlags::IN), PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        let _ = poll(&mut watched, time.as_ref());
        let typed = watched[1].revents();
        while let Some(signal) = signals.next() {
            match signal.number {
                signals::INT | signals::TERM | signals::HUP | signals::QUIT => {
                    return Ok(Some(signal.number));
                }
                signals::TSTP => {
                    screen.leave();
                    signals.suffer(signals::TSTP);
                    screen.enter();
                }
                _ => {}
            }
        }
        if !typed.is_empty() {
            let mut bytes = [0; 256];
            let count = rustix::io::read(&input, &mut bytes).unwrap_or(0);
            if count == 0 {
                // The terminal is gone.
                return Ok(Some(signals::HUP));
            }
            for key in view::keys(&bytes[..count]) {
                match view.press(key) {
                    Asks::Leave => return Ok(None),
                    Asks::Kill(name) => endings.push(end(options, name)),
                    Asks::Nothing => {}
                }
            }
        }
        for at in (0..endings.len()).rev() {
            if endings[at].thread.is_finished() {
                let ending = endings.swap_remove(at);
                view.message = match ending.thread.join() {
                    Ok(Err((message, _))) => message,
                    _ => format!("{} has ended", ending.name),
                };
                looked = Instant::now() - A_LOOK;
            }
        }
        if looked.elapsed() >= A_LOOK {
            looked = Instant::now();
            match service.list() {
                Ok(records) => view.take(records, units::now()),
                Err(error) if error.fault() == Fault::Gone => return Err(failed(error)),
                Err(error) => view.message = error.to_string(),
            }
        }
    }
}

fn end(options: &Options, name: String) -> Ending {
    let (asked, wanted) = (options.service.socket.clone(), name.clone());
    let thread = std::thread::spawn(move || {
        let asked = crate::options::ForService { socket: asked, ..Default::default() };
        let mut domain = session(&asked)?.open(&wanted).map_err(failed)?;
        domain.kill(Duration::ZERO).map_err(failed).map(drop)
    });
    Ending { name, thread }
}

//! `beget run`: starts the program, stays beside it, and leaves nothing when it ends.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use beget::{Ended, Limit, Nursery, Process, Refusal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Pid;
use serde_json::json;

use crate::options::Options;
use crate::relay::Relay;
use crate::signals::{self, Signal, Signals};
use crate::terminal::Terminal;
use crate::tree::{self, Tree};
use crate::{FAILED, say};

/// How often a suspended program is looked at.
const A_LOOK: Duration = Duration::from_millis(50);

/// A message and an exit code.
type Failure = (String, u8);

fn own_failure(message: impl ToString) -> Failure {
    (message.to_string(), FAILED)
}

/// Runs the program and gives the exit code.
pub(crate) fn run(options: Options) -> Result<u8, Failure> {
    // The program has no part in ours if it gets one of its own.
    let mut terminal = if options.spec.pty { None } else { Terminal::find() };
    let mut command = options.command(terminal.as_mut()).map_err(own_failure)?;
    if options.spec.has(&beget::Grant::Spawn) && !Tree::can_be_listed() {
        let why = "/proc cannot be read here, so what the program leaves behind could not be ended";
        return Err(own_failure(format!("grant --spawn: {why}")));
    }
    let tree = Tree::adopt_orphans().map_err(|errno| own_failure(format!("orphans: {errno}")))?;
    let signals = Signals::take().map_err(|errno| own_failure(format!("signals: {errno}")))?;
    // It outlives us by as long as it takes to end what we leave, if we are killed; what it leaves if it is, comes to us.
    let nursery = if options.spec.root {
        // The first process of the root is one; without a root, where it is given up, there is a guarded one.
        command.own_tree(true);
        None
    } else {
        let nursery = Nursery::bare().map_err(own_failure)?;
        command.nursery(&nursery);
        Some(nursery)
    };

    let mut relay = Relay::make(&options.spec, &mut command).map_err(own_failure)?;
    let streams = StreamFlags::take();
    let started = Instant::now();
    let process = command.spawn().map_err(|error| (error.to_string(), error.exit_code()));
    let mut process = match process {
        Ok(process) => process,
        Err(failure) => {
            // A nursery that was killed at this moment may have left us a child that it could not tell of.
            if let Some(nursery) = nursery {
                nursery.end();
            }
            tree.end_all();
            // The child may have been put in the foreground before the operation that failed.
            if let Some(terminal) = &mut terminal {
                terminal.restore();
            }
            return Err(failure);
        }
    };
    let nursery = nursery
        .or_else(|| process.nursery().cloned())
        .ok_or_else(|| own_failure("nursery: there is none"))?;
    // What it holds is closed while the program starts, not after it has ended.
    drop(command);
    let (unheard, refused) = (process.refusals.is_none(), BTreeMap::new());
    let suspended = if options.spec.suspend { Suspended::Soon } else { Suspended::No };
    let attached = relay.as_mut().map_or(Ok(()), |relay| relay.attach(&mut process)).map_err(own_failure);
    let deadline = options.spec.timeout.and_then(|time| started.checked_add(time));
    let overtime = Overtime { next: deadline, grace: options.spec.grace, stage: Stage::InTime };
    let (limited, told) = (false, false);
    let mut watch = Watch {
        process,
        nursery,
        signals,
        terminal,
        relay,
        refused,
        unheard,
        suspended,
        overtime,
        limited,
        told,
    };
    let ended = attached.and_then(|()| watch.until_end());
    watch.nursery.end();
    tree.end_all();
    let time = started.elapsed();
    let failures = watch.end_relay();
    if let Some(terminal) = &mut watch.terminal {
        terminal.restore();
    }
    streams.restore();
    // What we say may find nobody who reads it.
    watch.signals.give_back();
    let ended = ended?;
    failures.iter().for_each(|failure| say(failure));
    watch.report(&ended, &options, time);
    Ok(ended.exit_code())
}

/// The flags of our standard streams, which the program shares: left non-blocking, they would trip whatever uses them next.
struct StreamFlags([Option<OFlags>; 3]);

impl StreamFlags {
    fn take() -> StreamFlags {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        StreamFlags([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|stream| fcntl_getfl(stream).ok()))
    }

    fn restore(&self) {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        for (stream, flags) in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().zip(self.0) {
            if let Some(flags) = flags.filter(|flags| fcntl_getfl(stream) != Ok(*flags)) {
                let _ = fcntl_setfl(stream, flags);
            }
        }
    }
}

/// A program that is to stop before its first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspended {
    /// It is not, or has gone on.
    No,
    /// It has not stopped yet.
    Soon,
    /// It waits for a debugger, or for somebody to continue it.
    Waiting,
}

/// The time that the program has.
#[derive(Debug)]
struct Overtime {
    /// When the next thing is to be done about it.
    next: Option<Instant>,
    grace: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    InTime,
    /// Its time is up, and it was asked to end.
    Asked,
    /// Its time is up, and it is being ended.
    Ended,
}

/// Everything that can happen while the program runs.
struct Watch {
    process: Process,
    nursery: Nursery,
    signals: Signals,
    terminal: Option<Terminal>,
    relay: Option<Relay>,
    refused: BTreeMap<Refusal, u64>,
    /// The kernel gave no listener, as inside another Beget: what was refused is not known.
    unheard: bool,
    suspended: Suspended,
    overtime: Overtime,
    /// It wrote more than it may.
    limited: bool,
    /// It was passed a signal that asks it, and us, to end.
    told: bool,
}

impl Watch {
    fn until_end(&mut self) -> Result<Ended, Failure> {
        loop {
            if self.nursery.has_ended() {
                // Somebody killed it. What it left has come to us, and is not to go on without it.
                self.process.kill().map_err(own_failure)?;
            }
            if let Some(ended) = self.process.try_wait().map_err(own_failure)? {
                return Ok(ended);
            }
            // Last of those that take news off the socket: what one of them finds after this wakes nobody.
            if let Some(signal) = self.process.try_stopped().map_err(own_failure)? {
                self.stop_with(signal);
            }
            if self.overtime.next.is_some_and(|next| next <= Instant::now()) {
                self.run_over()?;
            }
            let left = self.overtime.next.map(|next| next.saturating_duration_since(Instant::now()));
            if self.suspended == Suspended::Waiting {
                self.look_for_a_tracer();
            }
            self.pass_on()?;
            let looks =
                self.suspended == Suspended::Waiting || self.relay.as_ref().is_some_and(Relay::needs_looks);
            let left = if looks { Some(left.unwrap_or(A_LOOK).min(A_LOOK)) } else { left };
            let time = left.and_then(|left| Timespec::try_from(left).ok());
            self.wait_for_something(time.as_ref())?;
        }
    }

    /// Moves what the program reads and writes through us.
    fn pass_on(&mut self) -> Result<(), Failure> {
        if let Some(relay) = &mut self.relay {
            relay.turn();
            if relay.is_exceeded() && !self.limited {
                self.limited = true;
                self.process.kill().map_err(own_failure)?;
            }
        }
        Ok(())
    }

    /// Its time is up: it is asked to end when it has a time of grace, and ended when that is up too.
    fn run_over(&mut self) -> Result<(), Failure> {
        let ask = self.overtime.stage == Stage::InTime && !self.overtime.grace.is_zero();
        if ask {
            self.signal_group(signals::TERM);
            // One that is stopped hears nothing.
            self.signal_group(signals::CONT);
            self.overtime.stage = Stage::Asked;
            self.overtime.next = Instant::now().checked_add(self.overtime.grace);
        } else {
            self.process.kill().map_err(own_failure)?;
            self.overtime.stage = Stage::Ended;
            self.overtime.next = None;
        }
        Ok(())
    }

    /// Delivers what the program and all that it left wrote last, which no longer grows, and gives what went wrong. A reader that does
    /// not read is waited for like one of the program's own would be, but not when the program's time was up or it was told to end, and not
    /// after a signal.
    fn end_relay(&mut self) -> Vec<String> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let Some(mut relay) = self.relay.take() else { return Vec::new() };
        relay.close_input();
        let mut moved = Instant::now();
        let delivered = loop {
            while relay.turn() {
                moved = Instant::now();
            }
            if !relay.is_loaded() {
                break true;
            }
            // Keys that send signals do so again.
            relay.leave();
            let left = (self.is_over() || self.told).then(|| PATIENCE.saturating_sub(moved.elapsed()));
            let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
            watched.extend(relay.interests());
            let time = left.and_then(|left| Timespec::try_from(left).ok());
            if left == Some(Duration::ZERO)
                || poll(&mut watched, time.as_ref()).is_err_and(|why| why != rustix::io::Errno::INTR)
            {
                break false;
            }
            let is_end = |signal: Signal| {
                matches!(signal.number, signals::HUP | signals::INT | signals::QUIT | signals::TERM)
            };
            let mut ended = false;
            while let Some(signal) = self.signals.next() {
                ended |= is_end(signal);
                if signal.number == signals::TSTP {
                    self.signals.suffer(signals::TSTP);
                }
            }
            if ended {
                break false;
            }
        };
        self.limited |= relay.is_exceeded();
        relay.end(delivered)
    }

    fn is_over(&self) -> bool {
        self.overtime.stage != Stage::InTime
    }

    /// A debugger that attached has it: it is stopped for the debugger now, and no more for us.
    fn look_for_a_tracer(&mut self) {
        match self.process.is_traced() {
            Some(false) => {}
            Some(true) => {
                let _ = self.process.signal(signals::CONT);
                self.suspended = Suspended::No;
            }
            None => self.suspended = Suspended::No,
        }
    }

    fn wait_for_something(&mut self, time: Option<&Timespec>) -> Result<(), Failure> {
        let mut watched =
            vec![PollFd::new(&self.process, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        // Only to be woken: every round looks for what may have come.
        let news = self.process.news().map(|news| PollFd::from_borrowed_fd(news, PollFlags::IN));
        watched.extend(news);
        if let Some(refusals) = &self.process.refusals {
            watched.push(PollFd::from_borrowed_fd(refusals.as_fd(), PollFlags::IN));
        }
        if let Some(relay) = &self.relay {
            watched.extend(relay.interests());
        }
        match poll(&mut watched, time) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(own_failure(errno)),
        }
        let happened = |index: usize| watched.get(index).map_or(PollFlags::empty(), PollFd::revents);
        if !happened(0).is_empty() {
            // It has ended, and nothing else matters any more, unless a debugger outside keeps its status for a while. What it left
            // is ended while we are told how.
            self.nursery.close();
            if self.process.try_wait().map_err(own_failure)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let refusal = if self.process.refusals.is_some() { happened(3) } else { PollFlags::empty() };
        let signal = happened(1);
        if refusal.contains(PollFlags::IN) {
            self.tell_refusal();
        } else if !refusal.is_empty() {
            // Nobody is left who could be refused anything.
            self.process.refusals = None;
        }
        if !signal.is_empty() {
            while let Some(signal) = self.signals.next() {
                self.take(signal)?;
            }
        }
        Ok(())
    }

    fn tell_refusal(&mut self) {
        match self.process.refusals.as_ref().map(beget::Refusals::next) {
            Some(Ok(Some(refusal))) => *self.refused.entry(refusal).or_default() += 1,
            Some(Err(_)) => self.process.refusals = None,
            _ => {}
        }
    }

    fn take(&mut self, signal: Signal) -> Result<(), Failure> {
        self.told |= matches!(signal.number, signals::HUP | signals::TERM);
        match signal.number {
            signals::CONT => self.go_on(false),
            signals::TSTP | signals::TTIN | signals::TTOU | signals::WINCH if self.terminal.is_some() => {
                self.signal_group(signal.number);
            }
            signals::WINCH => self.relay.iter_mut().for_each(Relay::resize),
            signals::TSTP => self.stop_without_terminal(),
            number if signals::is_forwarded(number) && signal.by_kernel => self.signal_group(number),
            number if signals::is_forwarded(number) => self.process.signal(number).map_err(own_failure)?,
            _ => {}
        }
        Ok(())
    }

    fn signal_group(&self, number: i32) {
        let _ = self.process.signal_group(number);
    }

    /// The program stopped: we stop too, as a job of the shell's, and go on together. One that stopped for want of the terminal gets
    /// it if we have it.
    fn stop_with(&mut self, signal: i32) {
        if self.suspended == Suspended::Soon {
            self.suspended = Suspended::Waiting;
            let number = self.process.id();
            self.relay.iter_mut().for_each(Relay::leave);
            say(&format!(
                "suspended: process {number}; gdb -p {number} attaches to it, kill -CONT {number} lets it go on"
            ));
            return self.relay.iter_mut().for_each(Relay::take);
        }
        // What it said before is shown before the shell's prompt is; others of its tree may go on to write.
        self.relay.iter_mut().for_each(|relay| _ = relay.turn());
        let Some(terminal) = &mut self.terminal else {
            // Whoever sits at our terminal would have no keys that do anything. What we stopped ourselves goes on by now.
            if self.relay.as_ref().is_some_and(Relay::has_taken) && tree::is_stopped(self.process.id() as i32)
            {
                self.stop_without_terminal();
            }
            return;
        };
        let wants_terminal = matches!(signal, signals::TTIN | signals::TTOU);
        if wants_terminal && terminal.is_ours() {
            // The shell put a running job in the foreground, which it tells nobody, or we lend the terminal only now.
            return self.go_on(true);
        }
        terminal.take_back();
        let stopped = self.signals.suffer(if wants_terminal { signal } else { signals::TSTP });
        if !stopped && wants_terminal {
            // It would ask for ever: nobody can give it the terminal. The kernel ends stopped jobs that lose their shell so too.
            self.signal_group(signals::HUP);
        }
        self.go_on(wants_terminal);
    }

    /// The shell's job stops, of which we are a part and the program, in a session of its own, is not: SIGTSTP would not stop it.
    fn stop_without_terminal(&mut self) {
        self.signal_group(signals::STOP);
        self.relay.iter_mut().for_each(Relay::leave);
        self.signals.suffer(signals::TSTP);
        self.go_on(false);
    }

    fn go_on(&mut self, asked: bool) {
        self.relay.iter_mut().for_each(Relay::take);
        if let (Some(terminal), Some(group)) = (&mut self.terminal, Pid::from_raw(self.process.id() as i32)) {
            terminal.hand_over(group, asked);
        }
        self.signal_group(signals::CONT);
    }

    /// What is worth telling: quiet unless asked, or unless the program failed and we know why.
    fn report(&self, ended: &Ended, options: &Options, time: Duration) {
        match self.overtime.stage {
            Stage::InTime => {}
            Stage::Asked => {
                say(&format!(
                    "limit --timeout: the program was asked to end, and did after {:.3} s",
                    time.as_secs_f64()
                ));
            }
            Stage::Ended => {
                say(&format!("limit --timeout: the program was ended after {:.3} s", time.as_secs_f64()));
            }
        }
        if let (true, Some(limit)) = (self.limited, options.spec.output_limit) {
            // It may have ended by itself before it was seen that it had written too much.
            let what = match ended.status.signal() {
                Some(_) => format!("the program was ended after writing {limit} bytes"),
                None => format!("the program wrote more than {limit} bytes, and the rest is left out"),
            };
            say(&format!("limit --output-limit {}: {what}", crate::units::flag(limit)));
        }
        self.report_limits(ended, options);
        if !ended.status.success() {
            if ended.exit_code() == 127 && !options.spec.has(&beget::Grant::Base) {
                say("the program ended with 127: without --base it finds no libraries of the system");
            }
            for (refusal, times) in &self.refused {
                let times = if *times == 1 { String::new() } else { format!(" {times} times") };
                say(&format!(
                    "the program was refused {}{times}; {} would allow it",
                    refusal.what, refusal.flag
                ));
            }
            if self.unheard {
                say("what the program was refused is not known: a filter around this one has the listener");
            }
        }
        if options.json {
            let _ = writeln!(std::io::stderr(), "{}", self.result(ended, time));
        }
    }

    /// What its cgroup says of limits that were reached.
    fn report_limits(&self, ended: &Ended, options: &Options) {
        let words = |limit: fn(&Limit) -> bool| options.spec.limits.iter().rfind(|one| limit(one));
        if let (Some(true), Some(limit)) =
            (ended.ran_out_of_memory(), words(|limit| matches!(limit, Limit::Memory(_))))
        {
            say(&format!("limit {limit}: the program ran out of memory"));
        }
        let refused = ended.tree.and_then(|tree| tree.processes_refused).filter(|times| *times > 0);
        if let (Some(times), Some(limit)) = (refused, words(|limit| matches!(limit, Limit::Processes(_)))) {
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            say(&format!("limit {limit}: the program was refused a process {times}"));
        }
    }

    /// What the whole tree used: what its cgroup says, and where that does not, what the nursery that reaped all of it does.
    fn tree(&self, ended: &Ended) -> serde_json::Value {
        let (group, reaped) = (ended.tree.unwrap_or_default(), self.nursery.usage());
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        json!({
            "memory_peak": group.memory_peak,
            "user_time": seconds(group.user_time.or(reaped.map(|usage| usage.user_time))),
            "system_time": seconds(group.system_time.or(reaped.map(|usage| usage.system_time))),
            "bytes_in": group.bytes_in.or(reaped.map(|usage| usage.bytes_in)),
            "bytes_out": group.bytes_out.or(reaped.map(|usage| usage.bytes_out)),
            "processes_peak": group.processes_peak,
            "processes_refused": group.processes_refused,
        })
    }

    fn result(&self, ended: &Ended, time: Duration) -> serde_json::Value {
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|(refusal, times)| json!({"what": refusal.what, "call": refusal.call.to_lowercase(), "flag": refusal.flag, "times": times}))
            .collect();
        json!({
            "exit_code": ended.status.code(),
            "signal": ended.status.signal(),
            "timed_out": self.is_over(),
            "output_limited": self.limited,
            "out_of_memory": ended.ran_out_of_memory(),
            "wall_time": time.as_secs_f64(),
            "user_time": ended.usage.map(|usage| usage.user_time.as_secs_f64()),
            "system_time": ended.usage.map(|usage| usage.system_time.as_secs_f64()),
            "memory_peak": ended.usage.map(|usage| usage.memory_peak),
            "bytes_in": ended.usage.map(|usage| usage.bytes_in),
            "bytes_out": ended.usage.map(|usage| usage.bytes_out),
            "tree": self.tree(ended),
            "refused": refused,
        })
    }
}

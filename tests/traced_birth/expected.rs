//! Which calls each operation makes, told from the operations' names alone: the reviewed list, written a second time.

use beget_sys::nr;
use beget_tests::tracer::Call;

/// A call that a newborn made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The call's number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// The kernel's answer.
    pub answer: i64,
}

impl Made {
    /// A call whose answer is not there yet.
    pub fn of(call: &Call) -> Made {
        Made { number: call.number as u32, arguments: call.arguments, answer: i64::MIN }
    }
}

/// All of them, in order.
pub type Calls = Vec<Made>;

const F_DUPFD_CLOEXEC: u64 = 1030;
const SIGKILL: u64 = 9;
const SIGSTOP: u64 = 19;

struct Reader<'a> {
    calls: std::iter::Peekable<std::slice::Iter<'a, Made>>,
    raised: Vec<i64>,
    floor: Option<u64>,
}

impl Reader<'_> {
    fn next(&mut self, number: u32) -> Result<Made, String> {
        match self.calls.next() {
            Some(made) if made.number == number => Ok(*made),
            other => Err(format!("instead of {:?}: {other:?}", nr::name(number).ok_or(number))),
        }
    }

    /// The next call, with these first arguments.
    fn with(&mut self, number: u32, arguments: &[u64]) -> Result<Made, String> {
        let made = self.next(number)?;
        // The kernel takes numbers of four bytes here; what the upper half of the register holds is nobody's concern.
        let same = made.arguments.iter().zip(arguments).all(|(is, want)| *is as u32 == *want as u32);
        if same { Ok(made) } else { Err(format!("arguments {arguments:?} instead of {made:?}")) }
    }

    fn raise(&mut self) -> Result<(), String> {
        while let Some(made) = self.calls.next_if(|made| made.number == nr::FCNTL) {
            let floor = *self.floor.get_or_insert(made.arguments[2]);
            if made.arguments[1] != F_DUPFD_CLOEXEC || made.arguments[2] != floor {
                return Err(format!("not a move above {floor}: {made:?}"));
            }
            if made.arguments[0] >= floor || (made.answer as u64) < floor {
                return Err(format!("a needless move: {made:?}"));
            }
            self.raised.push(made.answer);
        }
        Ok(())
    }

    /// Where two first children made two at once, what is found by name is looked at.
    fn look_at_keyring(&mut self) -> Result<(), String> {
        const SESSION: u64 = beget_sys::keyring::OF_SESSION as u64;
        let looks =
            |made: &&Made| made.number == nr::KEYCTL && made.arguments[0] == u64::from(libc::KEYCTL_DESCRIBE);
        if self.calls.next_if(looks).is_some() {
            self.next(nr::GETEUID)?;
            self.with(nr::KEYCTL, &[libc::KEYCTL_READ.into(), SESSION])?;
        }
        Ok(())
    }

    fn place(&mut self) -> Result<(), String> {
        let made = self.next(nr::DUP3)?;
        if self.floor.is_some_and(|floor| made.arguments[1] >= floor || made.arguments[0] < floor) {
            return Err(format!("a place that could overwrite another: {made:?}"));
        }
        if made.arguments[2] & !(libc::O_CLOEXEC as u64) != 0 {
            return Err(format!("odd flags: {made:?}"));
        }
        self.raised.retain(|raised| *raised as u64 != made.arguments[0]);
        Ok(())
    }

    fn operation(&mut self, name: &str) -> Result<(), String> {
        match name {
            "DefaultSignals" => {
                for signal in (1..=64).filter(|signal| ![SIGKILL, SIGSTOP].contains(signal)) {
                    self.with(nr::RT_SIGACTION, &[signal])?;
                }
            }
            "NewSession" => drop(self.next(nr::SETSID)?),
            "ProcessGroup" => drop(self.with(nr::SETPGID, &[0])?),
            "Raise" => self.raise()?,
            "Place" => self.place()?,
            "Close" => drop(self.next(nr::CLOSE_RANGE)?),
            "Foreground" => {
                self.next(nr::GETPID)?;
                self.with(nr::IOCTL, &[0, libc::TIOCSPGRP])?;
            }
            "ControllingTerminal" => {
                let made = self.next(nr::IOCTL)?;
                if made.arguments[1] != libc::TIOCSCTTY {
                    return Err(format!("not TIOCSCTTY: {made:?}"));
                }
            }
            "ChangeDirectory" => drop(self.next(nr::FCHDIR)?),
            "Umask" => drop(self.next(nr::UMASK)?),
            "Personality" => drop(self.with(nr::PERSONALITY, &[0])?),
            "TimerSlack" => drop(self.with(nr::PRCTL, &[libc::PR_SET_TIMERSLACK as u64, 50_000])?),
            "Limit" => drop(self.with(nr::PRLIMIT64, &[0])?),
            "Processors" => drop(self.with(nr::SCHED_SETAFFINITY, &[0])?),
            "DieWithParent" => {
                self.with(nr::PRCTL, &[libc::PR_SET_PDEATHSIG as u64, SIGKILL])?;
                self.next(nr::GETPPID)?;
            }
            "JoinKeyring" => {
                self.with(nr::KEYCTL, &[libc::KEYCTL_JOIN_SESSION_KEYRING.into()])?;
                self.look_at_keyring()?;
            }
            "MakeKeyring" => {
                self.with(nr::KEYCTL, &[libc::KEYCTL_JOIN_SESSION_KEYRING.into(), 0])?;
                self.next(nr::ADD_KEY)?;
                self.with(nr::KEYCTL, &[libc::KEYCTL_LINK.into()])?;
                self.with(nr::KEYCTL, &[libc::KEYCTL_SETPERM.into()])?;
                self.with(nr::KEYCTL, &[libc::KEYCTL_JOIN_SESSION_KEYRING.into()])?;
            }
            "Groups" => drop(self.with(nr::SETGROUPS, &[0])?),
            "DropCapabilities" => drop(self.next(nr::CAPSET)?),
            "NoNewPrivileges" => drop(self.with(nr::PRCTL, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1])?),
            "Landlock" => drop(self.next(nr::LANDLOCK_RESTRICT_SELF)?),
            "Filter" => self.filter(0)?,
            "FilterWithListener" => {
                self.filter(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
                self.next(nr::SENDMSG)?;
                self.next(nr::CLOSE)?;
            }
            "SignalMask" => drop(self.with(nr::RT_SIGPROCMASK, &[libc::SIG_SETMASK as u64])?),
            "Execute" => self.execute()?,
            _ => return Err("an operation that the list does not have".to_owned()),
        }
        Ok(())
    }

    /// The newborn asks for its own number only if an instruction wants it.
    fn filter(&mut self, flags: libc::c_ulong) -> Result<(), String> {
        self.calls.next_if(|made| made.number == nr::GETPID);
        self.with(nr::SECCOMP, &[libc::SECCOMP_SET_MODE_FILTER.into()]).and_then(|made| {
            match made.arguments[1] == flags {
                true => Ok(()),
                false => Err(format!("flags {flags} instead of {made:?}")),
            }
        })
    }

    /// The newborn's number is part of a variable when there are named slots.
    fn execute(&mut self) -> Result<(), String> {
        self.calls.next_if(|made| made.number == nr::GETPID);
        let made = self.next(nr::EXECVEAT)?;
        match made.arguments[4] == libc::AT_EMPTY_PATH as u64 && made.answer == 0 {
            true => Ok(()),
            false => Err(format!("not by descriptor: {made:?}")),
        }
    }
}

/// Whether the calls are those of the operations, one by one, and no more.
pub fn compare(operations: &[String], calls: &[Made]) -> Result<(), String> {
    let mut reader = Reader { calls: calls.iter().peekable(), raised: Vec::new(), floor: None };
    for (index, name) in operations.iter().enumerate() {
        reader.operation(name).map_err(|why| format!("operation {index}, {name}: {why}"))?;
    }
    if !reader.raised.is_empty() {
        return Err(format!("descriptors moved and never placed: {:?}", reader.raised));
    }
    match reader.calls.next() {
        None => Ok(()),
        Some(made) => Err(format!("a call after the last operation: {made:?}")),
    }
}

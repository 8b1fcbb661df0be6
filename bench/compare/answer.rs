//! What was found out about one way.
//!
//! Safety idea: nothing is taken on a program's word: which file a descriptor of C is, and what C got, is compared by device and inode
//! with A and B; what nobody reported is "unknown", and never "no".

use super::player::Once;
use super::stage::Identity;
use super::tracer::Calls;
use super::ways::{Entry, Kind};
use crate::measure::{Pairs, Summary};

/// Which file is which.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) a: Identity,
    pub(super) b: Identity,
    /// What B says, as C reports it from memory.
    pub(super) secret: String,
}

/// Whether C got B, and what stopped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// It has B.
    Yes,
    /// It has not, for this reason.
    No(String),
    /// It did not say.
    Unknown,
}

impl Got {
    pub(super) fn is_yes(&self) -> bool {
        *self == Got::Yes
    }

    /// As a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Got::Yes => "yes",
            Got::No(_) => "no",
            Got::Unknown => "?",
        }
    }
}

/// A descriptor of C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) number: u32,
    /// `A`, `B`, or what kind of file it is.
    pub(super) what: String,
}

/// What C reported.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) held: Vec<Held>,
    pub(super) descriptor: Got,
    pub(super) path: Got,
    pub(super) proc: Got,
    pub(super) getfd: Got,
    pub(super) memory: Got,
    pub(super) trace: Got,
    /// Whether it may signal P, which is not to have B, and is told all the same.
    pub(super) signal: Got,
}

impl Look {
    /// Reads a report; an error when it is not whole.
    pub(super) fn read(report: &str, facts: &Facts) -> Result<Look, String> {
        if let Some(why) = report.lines().find_map(|line| line.strip_prefix("error ")) {
            return Err(why.to_owned());
        }
        if !report.lines().any(|line| line == "end") {
            return Err("C did not report".to_owned());
        }
        let lines = || report.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut held = Vec::new();
        for line in lines() {
            let ["holds", number, device, inode, kind] = line[..] else { continue };
            let wrong = |_| format!("C reports {}", line.join(" "));
            let file = (device.parse().map_err(wrong)?, inode.parse().map_err(wrong)?);
            let what = match file {
                file if file == facts.a => "A",
                file if file == facts.b => "B",
                _ => kind,
            };
            held.push(Held { number: number.parse().map_err(wrong)?, what: what.to_owned() });
        }
        let got = |way: &str| {
            let Some(line) = lines().find(|line| line[0] == way) else { return Got::Unknown };
            match line[1..] {
                ["no", ..] => Got::No(line[2..].join(" ")),
                ["file", device, inode]
                    if device.parse() == Ok(facts.b.0) && inode.parse() == Ok(facts.b.1) =>
                {
                    Got::Yes
                }
                ["file", ..] => Got::No("that is another file".to_owned()),
                ["bytes", bytes] if bytes == facts.secret => Got::Yes,
                ["bytes", _] => Got::No("that is other memory".to_owned()),
                ["yes"] => Got::Yes,
                _ => Got::Unknown,
            }
        };
        let descriptor = match held.iter().any(|one| one.what == "B") {
            true => Got::Yes,
            false => Got::No("not among its descriptors".to_owned()),
        };
        let [path, proc, getfd, memory, trace, signal] =
            ["path", "proc", "getfd", "memory", "trace", "signal"].map(got);
        Ok(Look { held, descriptor, path, proc, getfd, memory, trace, signal })
    }

    /// Whether it holds A.
    pub(super) fn has_a(&self) -> bool {
        self.held.iter().any(|one| one.what == "A")
    }

    /// Whether it holds B.
    pub(super) fn has_b_held(&self) -> bool {
        self.descriptor.is_yes()
    }

    /// The ways to B, by name.
    pub(super) fn ways(&self) -> [(&'static str, &Got); 6] {
        [
            ("descriptor", &self.descriptor),
            ("path", &self.path),
            ("proc", &self.proc),
            ("getfd", &self.getfd),
            ("memory", &self.memory),
            ("trace", &self.trace),
        ]
    }

    /// Whether it gets B out of P itself.
    pub(super) fn parent(&self) -> Got {
        let all = [&self.getfd, &self.memory, &self.trace];
        let found = all.iter().find(|got| got.is_yes());
        let found = found.or_else(|| all.iter().find(|got| ***got == Got::Unknown)).unwrap_or(&all[0]);
        (*found).clone()
    }

    /// Whether it has B in any way.
    pub(super) fn has_b(&self) -> bool {
        self.ways().iter().any(|(_, got)| got.is_yes())
    }
}

/// What came of the step that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Forgot {
    /// C has B by a descriptor, does its work, and nobody hears of it.
    SilentLeak,
    /// C fails, or is not made; as it was seen.
    FailsAtOnce(String),
    /// C has A and not B by a descriptor, as if nothing had been forgotten.
    Nothing,
}

impl Forgot {
    /// What was seen.
    pub(super) fn of(once: &Once, facts: &Facts) -> Result<Forgot, String> {
        let (code, report) = match once {
            Once::Refused(why) => return Ok(Forgot::FailsAtOnce(why.clone())),
            Once::Ended { code, report, .. } => (*code, report),
        };
        match Look::read(report, facts) {
            Err(why) if code != 0 => Ok(Forgot::FailsAtOnce(format!("exit code {code}: {why}"))),
            Err(why) => Err(why),
            Ok(_) if code != 0 => Ok(Forgot::FailsAtOnce(format!("exit code {code}"))),
            Ok(look) if look.descriptor.is_yes() => Ok(Forgot::SilentLeak),
            Ok(_) => Ok(Forgot::Nothing),
        }
    }

    /// For the table, whose room is small.
    pub(super) fn in_short(&self) -> &'static str {
        match self {
            Forgot::SilentLeak => "silent leak",
            Forgot::FailsAtOnce(_) => "C fails",
            Forgot::Nothing => "no leak",
        }
    }

    /// For people.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Forgot::SilentLeak => "B leaks, silently",
            Forgot::FailsAtOnce(_) => "C fails at once",
            Forgot::Nothing => "nothing leaks",
        }
    }
}

/// All about one way.
pub(super) struct Answer {
    pub(super) entry: &'static Entry,
    /// Why it cannot be had here.
    pub(super) absent: Option<String>,
    pub(super) look: Option<Look>,
    pub(super) forgot: Option<Result<Forgot, String>>,
    pub(super) calls: Option<Result<Calls, String>>,
    pub(super) times: Option<Summary>,
    /// Beside vfork and exec of the same program, round by round.
    pub(super) ratio: Option<Pairs>,
    /// Why there are no times.
    pub(super) untimed: Option<String>,
}

impl Answer {
    /// Nothing is known yet.
    pub(super) fn of(entry: &'static Entry) -> Answer {
        Answer {
            entry,
            absent: None,
            look: None,
            forgot: None,
            calls: None,
            times: None,
            ratio: None,
            untimed: None,
        }
    }

    /// One of Beget's ways by which C has B, or would have it without anybody hearing of it, or does not have A.
    pub(super) fn is_breach(&self) -> bool {
        let forgotten = matches!(self.forgot, Some(Ok(Forgot::SilentLeak)));
        let held = self.look.as_ref().is_some_and(|look| look.has_b() || !look.has_a());
        self.entry.kind == Kind::Ours && (forgotten || held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { a: (1, 10), b: (1, 11), secret: "beef".to_owned() }
    }

    const REPORT: &str = "holds 0 1 10 file\nholds 1 9 9 pipe\npath no permission denied\nproc file 1 12\ngetfd no x\nmemory bytes dead\ntrace no y\nsignal no z\nend\n";

    #[test]
    fn b_is_known_by_what_it_is() {
        let look = Look::read(REPORT, &facts()).expect("whole");
        assert!(look.has_a() && !look.has_b());
        assert_eq!(look.parent(), Got::No("x".to_owned()));
        for leak in ["holds 7 1 11 file\n", "path file 1 11\n", "memory bytes beef\n", "trace yes\n"] {
            let way = leak.split(' ').next().expect("a word");
            let others = REPORT.lines().filter(|line| !line.starts_with(way) || way == "holds");
            let report = format!("{leak}{}", others.map(|line| format!("{line}\n")).collect::<String>());
            assert!(Look::read(&report, &facts()).expect("whole").has_b(), "{leak}");
        }
    }

    /// A report that is cut off says nothing; one without a line does not say no.
    #[test]
    fn what_was_not_said_is_not_known() {
        assert!(Look::read(REPORT.trim_end_matches("end\n"), &facts()).is_err());
        let less: String =
            REPORT.lines().filter(|line| !line.starts_with("path")).map(|l| format!("{l}\n")).collect();
        assert_eq!(Look::read(&less, &facts()).expect("whole").path, Got::Unknown);
    }

    #[test]
    fn what_was_forgotten_leaks_or_fails() {
        let ended = |code, report: &str| Once::Ended { us: 1.0, code, report: report.to_owned() };
        let leak = format!("holds 5 1 11 file\n{REPORT}");
        let of = |once: Once| Forgot::of(&once, &facts());
        assert_eq!(of(ended(0, &leak)), Ok(Forgot::SilentLeak));
        assert_eq!(of(ended(0, REPORT)), Ok(Forgot::Nothing));
        assert!(matches!(of(ended(3, "error C has no A\nend\n")), Ok(Forgot::FailsAtOnce(_))));
        assert!(matches!(of(Once::Refused("no".to_owned())), Ok(Forgot::FailsAtOnce(_))));
        assert!(of(ended(0, "")).is_err());
    }
}

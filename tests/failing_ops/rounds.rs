//! The tracer's side: one round a spawn, each with at most one call that is answered in the kernel's place.

use beget_tests::tracer::{Call, Verdict, Watch, Who};

use crate::driver::{ANEW, STOP};

/// What is done in one spawn.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Whose calls are counted.
    pub who: Who,
    /// Which of them it is.
    pub index: usize,
    /// What is done to it.
    pub verdict: Option<Verdict>,
    /// Or: which call it is.
    pub choose: Option<fn(&Call) -> Option<Verdict>>,
    /// The command has nothing prepared.
    pub anew: bool,
}

impl Round {
    /// Nothing is done.
    pub fn plain() -> Round {
        Round { who: Who::Newborn, index: 0, verdict: None, choose: None, anew: false }
    }

    /// Nothing is done, and the command prepares itself anew.
    pub fn anew() -> Round {
        Round { anew: true, ..Round::plain() }
    }

    /// Something is done to the call of that index.
    pub fn at(who: Who, index: usize, verdict: Verdict) -> Round {
        Round { who, index, verdict: Some(verdict), ..Round::plain() }
    }

    /// The errno that it injects.
    pub fn errno(&self) -> i32 {
        match self.verdict {
            Some(Verdict::Answer(answer)) => -answer as i32,
            _ => panic!("this round injects no errno"),
        }
    }
}

/// What the driver told of a round.
#[derive(Clone, Debug)]
pub struct Report {
    /// `ended`, `error` or `lost`.
    pub kind: String,
    /// The status, or the error's part.
    pub part: String,
    /// Whose fault, and the errno.
    pub whose: String,
    /// The whole error.
    pub sentence: String,
    /// What is not as it was before the first round.
    pub changes: String,
}

type Next<'a> = dyn FnMut(Option<(Round, Report, Vec<Call>)>) -> Option<Round> + 'a;

/// Goes from round to round, as the closure says, which sees what came of the last.
pub struct Rounds<'a> {
    next: Box<Next<'a>>,
    round: Option<Round>,
    /// Between `spawning` and `spawned`.
    spawning: bool,
    calls: Vec<Call>,
    done: Option<(Round, Report, Vec<Call>)>,
    finished: bool,
}

impl<'a> Rounds<'a> {
    /// Rounds as `next` gives them.
    pub fn new(next: impl FnMut(Option<(Round, Report, Vec<Call>)>) -> Option<Round> + 'a) -> Rounds<'a> {
        Rounds {
            next: Box::new(next),
            round: None,
            spawning: false,
            calls: Vec::new(),
            done: None,
            finished: false,
        }
    }

    /// Whether the last round was over before the driver ended.
    pub fn finished(&self) -> bool {
        self.finished
    }
}

impl Watch for Rounds<'_> {
    fn call(&mut self, call: &Call) -> Verdict {
        let (Some(round), true) = (self.round, self.spawning) else { return Verdict::Go };
        let index = self.calls.iter().filter(|made| made.who == call.who).count();
        self.calls.push(*call);
        if let Some(verdict) = round.choose.and_then(|choose| choose(call)) {
            return verdict;
        }
        match round.verdict {
            Some(verdict) if call.who == round.who && index == round.index => verdict,
            _ => Verdict::Go,
        }
    }

    fn said(&mut self, words: &str) -> i64 {
        match words {
            "ready" => {
                self.round = (self.next)(self.done.take());
                self.calls.clear();
                self.finished = self.round.is_none();
                match self.round {
                    None => STOP,
                    Some(Round { anew: true, .. }) => ANEW,
                    Some(_) => 0,
                }
            }
            "spawning" | "spawned" => {
                self.spawning = words == "spawning" && self.round.is_some();
                0
            }
            report => {
                let mut parts = report.split('\t').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let report =
                    Report { kind: part(), part: part(), whose: part(), sentence: part(), changes: part() };
                self.done = self.round.map(|round| (round, report, std::mem::take(&mut self.calls)));
                0
            }
        }
    }
}

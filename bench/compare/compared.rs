//! The comparison: every way looked at, counted, and raced against the others.
//!
//! Safety idea: a way that fails is a row with its reason, and the others go on.

use std::cell::RefCell;

use super::answer::{Answer, Facts, Forgot, Look};
use super::player::{Once, Player};
use super::stage::Scene;
use super::tracer;
use super::ways::Purpose;
use super::ways::{Entry, Kind};
use crate::measure::{self, Pairs, Series, Summary, race, timed};
use crate::ways::{Stack, vfork_exit};

/// What every ratio is to.
const BASE: &str = "vfork";
const FLOOR: &str = "floor";

/// What was found.
pub(super) struct Compared {
    pub(super) answers: Vec<Answer>,
    /// The least that a process costs: vfork, exit and wait.
    pub(super) floor: Option<Summary>,
    pub(super) machine: Vec<(String, String)>,
    /// The command line that made it.
    pub(super) command: String,
}

impl Compared {
    /// In a sentence what came of Beget's own ways; `None` where none of them was asked for.
    pub(super) fn verdict(&self) -> Option<String> {
        let ours = || self.answers.iter().filter(|answer| answer.entry.kind == Kind::Ours);
        let taken = ours().filter(|answer| answer.absent.is_none()).count();
        let leaks: Vec<&str> =
            ours().filter(|answer| answer.is_breach()).map(|answer| answer.entry.title).collect();
        let absent = match ours().count() - taken {
            0 => String::new(),
            absent => format!("; {absent} more could not be taken here"),
        };
        match (ours().count(), leaks.as_slice()) {
            (0, _) => None,
            (_, []) => Some(format!("of Beget's own ways {taken} were taken, and none leaked{absent}")),
            (_, leaks) => Some(format!("of Beget's own ways these leaked: {}{absent}", leaks.join(", "))),
        }
    }
}

/// Looks at all of them, in this order.
pub(super) fn look_at(ways: &[&'static Entry], scene: &Scene) -> Result<Vec<Answer>, String> {
    let [a, b] = scene.identities()?;
    let secret = scene.secret()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let facts = Facts { a, b, secret };
    let mut answers = Vec::new();
    for entry in ways {
        measure::progress(&format!("compare: {}", entry.title));
        let mut answer = Answer::of(entry);
        match look(entry, scene, &facts) {
            Err(why) => answer.absent = Some(why),
            Ok((look, forgot)) => {
                answer.look = Some(look);
                answer.forgot = Some(forgot);
                answer.calls = Some(count(entry, scene));
            }
        }
        answers.push(answer);
    }
    measure::progress("");
    Ok(answers)
}

/// The calls of a birth that is not the first: what is done once is done by then.
fn count(entry: &Entry, scene: &Scene) -> Result<tracer::Calls, String> {
    let mut player = Player::start(entry, Purpose::Trace, scene)?;
    player.once(false)?;
    tracer::count(&mut player)
}

/// What C reports when all is done, and what comes of forgetting.
fn look(entry: &Entry, scene: &Scene, facts: &Facts) -> Result<(Look, Result<Forgot, String>), String> {
    let mut player = Player::start(entry, Purpose::Look, scene)?;
    let look = match player.once(false)? {
        Once::Refused(why) => return Err(why),
        Once::Ended { code: 0, report, .. } => Look::read(&report, facts)?,
        Once::Ended { code, report, .. } => {
            let why = Look::read(&report, facts).err().filter(|_| !report.is_empty());
            let why = why.or_else(|| player.last_words()).unwrap_or_else(|| "it said nothing".to_owned());
            return Err(format!("exit code {code}: {why}"));
        }
    };
    let forgot = player.once(true).and_then(|once| Forgot::of(&once, facts));
    Ok((look, forgot))
}

/// Times those that can be had, each round all of them.
pub(super) fn time(answers: &mut [Answer], scene: &Scene, seconds: f64) -> Option<Summary> {
    let mut stack = Stack::default();
    let mut players = Vec::new();
    for (index, answer) in answers.iter_mut().enumerate().filter(|(_, answer)| answer.absent.is_none()) {
        match Player::start(answer.entry, Purpose::Time, scene) {
            Ok(player) => players.push((index, answer.entry.name, RefCell::new(player))),
            Err(why) => answer.untimed = Some(why),
        }
    }
    let mut entries = vec![measure::Entry::new(FLOOR, || Ok(vec![timed(|| vfork_exit(&mut stack))?[0]]))];
    entries.extend(players.iter().map(|(_, name, player)| {
        measure::Entry::new(*name, || match player.borrow_mut().once(false)? {
            Once::Ended { us, code: 0, .. } => Ok(vec![us]),
            Once::Ended { code, .. } => Err(format!("C ended with {code}")),
            Once::Refused(why) => Err(why),
        })
    }));
    let series = race("compare: times", seconds, entries);
    let find = |name: &str| series.iter().find(|one| one.name == name);
    let base = find(BASE).map_or(&[][..], |base| base.measure(0));
    for (index, name, _) in &players {
        let answer = &mut answers[*index];
        let times = find(name).map_or(&[][..], |one: &Series| one.measure(0));
        answer.times = Summary::of(times);
        answer.ratio = Pairs::ratio(times, base);
        if answer.times.is_none() {
            let why = find(name).and_then(|one| one.skipped.clone());
            answer.untimed = Some(why.unwrap_or_else(|| "no time was left".to_owned()));
        }
    }
    find(FLOOR).and_then(|floor| Summary::of(floor.measure(0)))
}

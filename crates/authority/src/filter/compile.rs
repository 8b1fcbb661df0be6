//! From rules to instructions: a tree over call numbers, built backwards, with equal verdicts shared.
//!
//! The kernel runs a new filter once for every call number to learn which are always allowed, so its cost at birth is steps times
//! numbers. A balanced tree over ranges, with neighbours of the same verdict merged, takes the fewest.

use beget_sys::nr;
use beget_sys::seccomp::{ARCHITECTURE, Instruction, code, verdict};

/// A value to compare with: a constant, or the newborn's process number times this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Constant(u32),
    OwnNumber(i32),
}

/// A condition on the low 32 bits of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u32,
    pub(super) mask: u32,
    pub(super) test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    OneOf(Vec<Value>),
    NoneOf(Vec<Value>),
    AnyBit(u32),
}

/// What becomes of a call: the first clause whose conditions all hold decides, else it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Verdict(u32),
    Clauses(Vec<(Vec<Condition>, u32)>),
}

/// Whether what is meant by it depends on which process put it on.
pub(super) fn names_itself(rule: &Rule) -> bool {
    let own = |value: &Value| matches!(value, Value::OwnNumber(_));
    let Rule::Clauses(clauses) = rule else { return false };
    clauses.iter().flat_map(|(conditions, _)| conditions).any(|condition| match &condition.test {
        Test::OneOf(values) | Test::NoneOf(values) => values.iter().any(own),
        Test::AnyBit(_) => false,
    })
}

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;
/// How far a conditional jump reaches.
const REACH: usize = 255;

/// Instructions in reverse; a place is a distance from the end, so that what is written later can refer to it.
struct Backwards<'r> {
    code: Vec<Instruction>,
    /// The latest return of each verdict.
    returns: Vec<(u32, usize)>,
    /// The latest place of each rule with conditions.
    known: Vec<(&'r Rule, usize)>,
}

/// Numbers from `begin` on that share a rule, but for a single one.
struct Stretch<'r> {
    begin: u32,
    rule: &'r Rule,
    but: Option<(u32, &'r Rule)>,
}

/// A single exception costs one comparison for equality, a range of its own two of order.
fn stretches<'r>(ranges: &[(u32, &'r Rule)]) -> Vec<Stretch<'r>> {
    let mut all: Vec<Stretch<'r>> = Vec::with_capacity(ranges.len());
    let mut rest = ranges;
    while let [(begin, rule), after @ ..] = rest {
        let but = match after {
            [(single, other), (end, same), ..] if *end == single + 1 && same == rule => {
                Some((*single, *other))
            }
            _ => None,
        };
        all.push(Stretch { begin: *begin, rule, but });
        rest = if but.is_some() { &after[2..] } else { after };
    }
    all
}

impl<'r> Backwards<'r> {
    fn push(&mut self, instruction: Instruction) -> usize {
        self.code.push(instruction);
        self.code.len()
    }

    fn statement(&mut self, code: u16, k: u32) -> usize {
        self.push(Instruction { code, jump_true: 0, jump_false: 0, k })
    }

    /// How far it is from an instruction written `ahead` places from now to `place`.
    fn distance(&self, place: usize, ahead: usize) -> usize {
        self.code.len() + ahead - place
    }

    /// A place that returns `verdict`, near enough for a conditional jump written soon.
    fn returning(&mut self, verdict: u32) -> usize {
        const SOON: usize = 24;
        let known = self.returns.iter().find(|(known, _)| *known == verdict).map(|(_, place)| *place);
        if let Some(place) = known.filter(|place| self.distance(*place, SOON) <= REACH) {
            return place;
        }
        self.returns.retain(|(known, _)| *known != verdict);
        let place = self.statement(code::RETURN, verdict);
        self.returns.push((verdict, place));
        place
    }

    /// `place`, or a jump to it that is near enough for a conditional jump written soon.
    fn near(&mut self, place: usize) -> usize {
        const SOON: usize = 4;
        let distance = self.distance(place, 0);
        if distance + SOON <= REACH { place } else { self.statement(code::JUMP, distance as u32) }
    }

    fn branch(&mut self, code: u16, k: u32, holds: usize, fails: usize) -> usize {
        // The nearer one is brought near last, so that it cannot push the other out of reach.
        let holds = self.near(holds);
        let fails = self.near(fails);
        let (jump_true, jump_false) = (self.distance(holds, 0) as u8, self.distance(fails, 0) as u8);
        self.push(Instruction { code, jump_true, jump_false, k })
    }

    fn condition(&mut self, condition: &Condition, holds: usize, fails: usize) -> usize {
        let mut place = match &condition.test {
            Test::AnyBit(bits) => self.branch(code::JUMP_BITS, *bits, holds, fails),
            Test::OneOf(values) => self.equal_to_one(values, holds, fails),
            Test::NoneOf(values) => self.equal_to_one(values, fails, holds),
        };
        if condition.mask != !0 {
            place = self.statement(code::AND, condition.mask);
        }
        let _ = place;
        self.statement(code::LOAD, ARGUMENTS + 8 * condition.argument)
    }

    fn equal_to_one(&mut self, values: &[Value], holds: usize, mut fails: usize) -> usize {
        for value in values {
            let (code, k) = match *value {
                Value::Constant(k) => (code::JUMP_EQUAL, k),
                Value::OwnNumber(times) => (code::JUMP_EQUAL | code::OWN_NUMBER, times as u32),
            };
            fails = self.branch(code, k, holds, fails);
        }
        fails
    }

    fn rule(&mut self, rule: &'r Rule) -> usize {
        match rule {
            Rule::Verdict(verdict) => self.returning(*verdict),
            Rule::Clauses(clauses) => {
                const SOON: usize = 24;
                let place = self.known.iter().rfind(|(known, _)| *known == rule).map(|(_, place)| *place);
                if let Some(place) = place.filter(|place| self.distance(*place, SOON) <= REACH) {
                    return place;
                }
                let mut next = self.returning(verdict::ALLOW);
                for (conditions, verdict) in clauses.iter().rev() {
                    let mut place = self.returning(*verdict);
                    for condition in conditions.iter().rev() {
                        place = self.condition(condition, place, next);
                    }
                    next = place;
                }
                self.known.push((rule, next));
                next
            }
        }
    }

    /// The tree for stretches.
    fn tree(&mut self, stretches: &[Stretch<'r>]) -> usize {
        match stretches {
            [] => self.returning(verdict::ALLOW),
            [Stretch { rule, but: None, .. }] => self.rule(rule),
            [Stretch { rule, but: Some((number, other)), .. }] => {
                let (other, rule) = (self.rule(other), self.rule(rule));
                self.branch(code::JUMP_EQUAL, *number, other, rule)
            }
            _ => {
                let (low, high) = stretches.split_at(stretches.len() / 2);
                let above = self.tree(high);
                let below = self.tree(low);
                self.branch(code::JUMP_AT_LEAST, high[0].begin, above, below)
            }
        }
    }
}

/// Compiles rules, sorted by number without repetition; every other number below [`nr::END`] is allowed, every one from there on
/// and every foreign architecture is answered as by a kernel that lacks it.
pub(super) fn compile(rules: &[(u32, Rule)]) -> Vec<Instruction> {
    const ENOSYS: u32 = verdict::ERRNO | 38;
    let (allow, unknown) = (Rule::Verdict(verdict::ALLOW), Rule::Verdict(ENOSYS));
    let mut ranges: Vec<(u32, &Rule)> = Vec::with_capacity(2 * rules.len() + 2);
    let mut add = |from: u32, rule| match ranges.last_mut() {
        Some((_, last)) if *last == rule => {}
        Some((begin, last)) if *begin == from => *last = rule,
        _ => ranges.push((from, rule)),
    };
    add(0, &allow);
    for (index, (number, rule)) in rules.iter().enumerate() {
        add(*number, rule);
        if rules.get(index + 1).is_none_or(|(next, _)| *next != number + 1) {
            add(number + 1, &allow);
        }
    }
    add(nr::END, &unknown);

    let mut program =
        Backwards { code: Vec::with_capacity(256), returns: Vec::with_capacity(16), known: Vec::new() };
    let entry = program.tree(&stretches(&ranges));
    let number = program.code.len() - entry;
    debug_assert_eq!(number, 0, "the tree's root is written last");
    let native = program.statement(code::LOAD, NUMBER);
    let foreign = program.returning(ENOSYS);
    program.branch(code::JUMP_EQUAL, ARCHITECTURE, native, foreign);
    program.statement(code::LOAD, ARCH);
    program.code.reverse();
    program.code
}

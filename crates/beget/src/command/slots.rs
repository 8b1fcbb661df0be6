//! Which descriptor lies in which slot, and what the plan needs beside them.
//!
//! Safety idea: every number that is neither a slot nor a helper is closed in the child, whatever the caller had there.

use std::collections::BTreeMap;

use beget_plan::message::MOST_GIVEN;
use beget_sys::process;

use super::Command;
use crate::error::{Error, Fault, Result};
use crate::stdio::Kind;

/// Where a descriptor of the plan comes from, at the moment of the spawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The caller's standard stream of this number.
    Inherited(usize),
    /// A stream that the caller opened.
    Stream(usize),
    /// `/dev/null`.
    Null,
    /// The child's end of a new pipe.
    Pipe(usize),
    /// A named slot, by its place among them.
    Named(usize),
    /// A slot asked for by number.
    Numbered(i32),
    /// What is executed.
    Program,
    /// The working directory.
    Directory,
    /// The Landlock ruleset.
    Ruleset,
    /// The one that is put on besides.
    Narrower,
    /// The terminal to be the controlling one.
    Terminal,
    /// Where the listener is sent.
    Listener,
    /// The child's end of a new channel.
    Channel,
    /// What a cgroup of this birth's is joined by, by its place among them.
    Cgroup(usize),
}

/// A filled slot: its number, its name in messages, where it comes from, and whether the program sees it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) number: i32,
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) kept: bool,
}

/// All slots, sorted by number.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) all: Vec<Slot>,
    /// `LISTEN_FDNAMES`, when there are named slots.
    pub(super) names: Option<String>,
    pub(super) listening: usize,
}

impl Slots {
    /// Lays out the slots that `command` asks for, and helpers in the free numbers between.
    pub(super) fn lay_out(command: &Command, helpers: &[(Source, &str)]) -> Result<Slots> {
        let mut taken: BTreeMap<i32, Slot> = BTreeMap::new();
        let mut put = |number: i32, name: String, source, kept| {
            let slot = Slot { number, name, source, kept };
            let part = format!("slot {}", slot.name);
            match taken.insert(number, slot) {
                None => Ok(()),
                Some(other) => {
                    Err(Error::new(part, format!("{} is there already", other.name), Fault::Caller))
                }
            }
        };
        for (number, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
            let source = match &command.streams[number] {
                None => continue,
                Some(Kind::Inherit) => Source::Inherited(number),
                Some(Kind::Null) => Source::Null,
                Some(Kind::Piped) => Source::Pipe(number),
                Some(Kind::File(_)) => Source::Stream(number),
                Some(Kind::Pty) => Source::Terminal,
            };
            put(number as i32, name.to_owned(), source, true)?;
        }
        for number in command.numbered.keys() {
            put(*number, number.to_string(), Source::Numbered(*number), true)?;
        }
        let mut next = 3;
        let mut names = BTreeMap::new();
        let mut named = Vec::with_capacity(command.named.len() + 1);
        // What is added to a sealed command moves nothing of it.
        let (of_it, added) = command.named.split_at(command.sealed_names.unwrap_or(command.named.len()));
        for (index, (name, _)) in of_it.iter().enumerate() {
            check_name(name, &named)?;
            named.push((name.as_str(), Source::Named(index)));
        }
        if command.channel {
            check_name(beget_channel::SLOT, &named)?;
            named.push((beget_channel::SLOT, Source::Channel));
        }
        for (index, (name, _)) in (of_it.len()..).zip(added) {
            check_name(name, &named)?;
            named.push((name.as_str(), Source::Named(index)));
        }
        for (name, source) in named {
            next = free_from(next, &taken);
            names.insert(next, name);
            taken.insert(next, Slot { number: next, name: name.to_owned(), source, kept: true });
        }
        let listening = names.keys().next_back().map_or(0, |last| *last as usize - 2);
        let names = (listening > 0).then(|| {
            let name = |number| names.get(&number).copied().unwrap_or("unknown");
            (3..3 + listening as i32).map(name).collect::<Vec<_>>().join(":")
        });
        let mut next = 3;
        for (source, name) in helpers {
            next = free_from(next, &taken);
            let slot = Slot { number: next, name: (*name).to_owned(), source: *source, kept: false };
            taken.insert(next, slot);
        }
        let slots = Slots { all: taken.into_values().collect(), names, listening };
        slots.check_numbers()?;
        Ok(slots)
    }

    /// A number must be one that this process could have open, with room above for the plan's own moves.
    fn check_numbers(&self) -> Result<()> {
        let limit = process::limit(beget_authority::limit::OPEN_FILES).map_or(1024, |bounds| bounds.soft);
        let count = self.all.len();
        if count > MOST_GIVEN {
            return Err(Error::new("slots", format!("more than {MOST_GIVEN}"), Fault::Caller));
        }
        for slot in &self.all {
            let part = || format!("slot {}", slot.name);
            if slot.number < 0 {
                return Err(Error::new(part(), "a slot's number is not negative", Fault::Caller));
            }
            if slot.number as u64 + count as u64 >= limit {
                let words = format!("beyond the limit of {limit} open files, with the {count} moves to make");
                return Err(Error::new(part(), words, Fault::Caller));
            }
        }
        Ok(())
    }

    /// Lays the helpers from `first` on, where nothing else lies.
    pub(super) fn move_helpers(&mut self, first: i32) -> Result<()> {
        let helpers = self.all.iter_mut().filter(|slot| !slot.kept);
        for (number, slot) in (first..).zip(helpers) {
            slot.number = number;
        }
        self.all.sort_by_key(|slot| slot.number);
        self.check_numbers()
    }

    /// The number of the helper that comes from `source`.
    pub(super) fn helper(&self, source: Source) -> Option<i32> {
        self.all.iter().find(|slot| slot.source == source).map(|slot| slot.number)
    }

    /// One past the highest number.
    pub(super) fn end(&self) -> u32 {
        self.all.last().map_or(3, |slot| slot.number as u32 + 1)
    }

    /// The ranges of numbers that are no slot.
    pub(super) fn gaps(&self) -> Vec<(u32, u32)> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for slot in &self.all {
            let number = slot.number as u32;
            if number > next {
                gaps.push((next, number - 1));
            }
            next = number + 1;
        }
        gaps.push((next, u32::MAX));
        gaps
    }
}

fn free_from(mut number: i32, taken: &BTreeMap<i32, Slot>) -> i32 {
    while taken.contains_key(&number) {
        number += 1;
    }
    number
}

fn check_name(name: &str, earlier: &[(&str, Source)]) -> Result<()> {
    let wrong = |words| Err(Error::new(format!("slot {}", name.escape_debug()), words, Fault::Caller));
    if name.is_empty() || name.len() > 255 {
        return wrong("a name has 1 to 255 bytes");
    }
    if name.chars().any(|c| c == ':' || c.is_control()) {
        return wrong("a name has no colon and no control character");
    }
    if earlier.iter().any(|(other, _)| *other == name) {
        return wrong("the name is there already");
    }
    Ok(())
}

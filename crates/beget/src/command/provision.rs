//! What one copy of a template is given, which a child of the same command would have from its birth.
//!
//! Safety idea: a copy holds what its template holds, so a variation only adds descriptors and takes rights away: a limit that is tighter, a
//! second ruleset, a second filter. What a copy could not be given, or could not be kept from, is refused here, before there is one.

use std::mem::Discriminant;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use beget_authority::limit::{self, Resource};
use beget_authority::{Limit, filter};
use beget_plan::Op;
use beget_sys::process::Bounds;
use beget_sys::seccomp::Instruction;
use rustix::fs::{Mode, OFlags};

use super::opening::given_directories;
use super::prepare::{self, Given, Prepared};
use super::slots::Source;
use super::spawn::{Own, Pipes};
use super::{Command, Sealed, Variation};
use crate::embryo::Part;
use crate::error::{Error, Fault, Result};
use crate::process::Process;
use crate::stdio::Kind;
use crate::template::Template;

/// What one product of a template is given: the streams, descriptors, limits and cgroup that a child spawned from the same [`Sealed`] command
/// with the same [`Variation`] would have.
///
/// It is made for one product ([`Sealed::provide`]), told to it in a part ([`add_to`](Provision::add_to)), and belongs to its process then
/// ([`hand_over`](Provision::hand_over)). Dropped before that, nothing of it is left. Arguments and variables are in the program's memory
/// already: [`arguments`](Provision::arguments) and [`environment`](Provision::environment) say what they would be.
#[derive(Debug)]
pub struct Provision {
    layout: Arc<Layout>,
    streams: [Option<Kind>; 3],
    pipes: Pipes,
    own: Own,
    /// The list of members of the cgroup that it is to be in, where none is made for it.
    entry: Option<OwnedFd>,
    /// Streams that are its template's.
    left: Vec<i32>,
}

/// What is the same for all products that are given streams of the same kinds, and nothing else.
#[derive(Debug)]
struct Layout {
    /// Without its streams.
    command: Command,
    prepared: Prepared,
    /// The slots that are filled, streams not among them.
    slots: Vec<(i32, Source)>,
    moves: bool,
    limits: Vec<Resource>,
    open_files: Option<Resource>,
    processors: Option<Vec<u8>>,
    filter: Option<Vec<Instruction>>,
    /// What it was laid out for: kinds of streams, what is among them, and the limits that this process would have set.
    kinds: [Option<Discriminant<Kind>>; 3],
    given: Given,
    resources: Vec<Resource>,
}

/// The layouts of a template's products so far. Most requests say the same but for what their streams are.
#[derive(Debug, Default)]
pub(crate) struct Layouts(Mutex<Vec<Arc<Layout>>>);

/// There are few kinds; a requestor who makes up more pays for each.
const MOST_LAYOUTS: usize = 8;

fn refuse<T>(part: impl Into<String>, words: &str) -> Result<T> {
    Err(Error::new(part, words, Fault::Caller))
}

impl Sealed {
    /// Makes what one product of `template`, which was started from this command, is given: pipes, a channel, the cgroups of its tree.
    ///
    /// # Errors
    /// Those of [`spawn`](Sealed::spawn) that show before a birth. What a copy cannot have: a directory to be opened below, which takes rules
    /// that its template has not; fewer processors where its template has a limit of them; a slot from [`Template::SCRATCH`] on; a stop.
    pub fn provide(&self, template: &Template, variation: &Variation) -> Result<Provision> {
        let known = if self.is_common(variation) { self.find_layout(template, variation)? } else { None };
        let (layout, streams) = match known {
            Some(known) => known,
            None => self.lay_out(template, variation)?,
        };
        let entry = variation.cgroup.as_ref().filter(|_| !layout.prepared.has_group());
        Ok(Provision {
            entry: entry.map(members).transpose()?,
            pipes: Pipes::make(&layout.prepared)?,
            own: Own::new(),
            left: Vec::new(),
            layout,
            streams,
        })
    }

    /// Whether all that it varies are streams, and none of them is made anew for each product.
    fn is_common(&self, variation: &Variation) -> bool {
        let renewed = |(number, kind): (usize, &Option<Kind>)| {
            self.is_renewed() && matches!(kind, Some(Kind::File(_))) && !variation.gives_stream(number)
        };
        variation.is_of_streams_alone() && !self.command.streams.iter().enumerate().any(renewed)
    }

    /// What was laid out for such a request before, and its streams.
    fn find_layout(&self, template: &Template, variation: &Variation) -> Result<Option<Laid>> {
        let mut streams = self.command.streams.clone();
        for (stream, own) in streams.iter_mut().zip(&variation.streams) {
            if own.is_some() {
                stream.clone_from(own);
            }
        }
        prepare::check_streams(&streams)?;
        let (kinds, given) = (kinds(&streams), prepare::look_at_streams(&streams)?);
        let layouts = template.layouts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = layouts.iter().find(|one| one.kinds == kinds && one.given == given).cloned();
        drop(layouts);
        Ok(match found {
            Some(found) if found.resources == found.prepared.resources(&found.command)? => {
                Some((found, streams))
            }
            _ => None,
        })
    }

    fn lay_out(&self, template: &Template, variation: &Variation) -> Result<Laid> {
        let mut command = self.varied(variation, None)?;
        command.copied = true;
        if command.suspended {
            return refuse("suspended", "a copy of a template goes on at once");
        }
        if let Some(number) = command.numbered.keys().find(|number| **number >= Template::SCRATCH) {
            return refuse(format!("slot {number}"), "in a copy of a template this number is its template's");
        }
        prepare::check_streams(&command.streams)?;
        let theirs = template.prepared();
        let mut prepared = prepare::arrange(&command, &self.opening, Some(&self.sharing))?;
        if prepared.kind.is_some_and(|kind| kind.directories > self.directories.len()) {
            return self.refuse_directory(&command);
        }
        let resources = prepared.limits.clone();
        let (limits, open_files) = tighter(&mut prepared.limits, &theirs.limits);
        let added = |source: Source| match source {
            Source::Channel => true,
            Source::Named(index) => index >= self.command.named.len(),
            Source::Numbered(number) => !self.command.numbered.contains_key(&number),
            _ => false,
        };
        let slots = prepared.slots.all.iter().filter(|slot| slot.number > 2 && added(slot.source));
        let slots = slots.map(|slot| (slot.number, slot.source)).collect();
        let (kinds, given) = (kinds(&command.streams), prepare::look_at_streams(&command.streams)?);
        // A requestor's own: they are not to live on in what is kept.
        let streams = std::mem::take(&mut command.streams);
        let layout = Arc::new(Layout {
            processors: self.fewer_processors(variation)?,
            filter: second_filter(&prepared, theirs),
            moves: variation.directory.is_some(),
            slots,
            limits,
            open_files,
            command,
            prepared,
            kinds,
            given,
            resources,
        });
        if self.is_common(variation) {
            let mut layouts = template.layouts.0.lock().unwrap_or_else(PoisonError::into_inner);
            if layouts.len() >= MOST_LAYOUTS {
                layouts.remove(0);
            }
            layouts.push(Arc::clone(&layout));
        }
        Ok((layout, streams))
    }

    fn refuse_directory<T>(&self, command: &Command) -> Result<T> {
        let all = given_directories(command)?;
        let new = all.iter().find(|one| self.directories.iter().all(|own| own.path != one.path));
        let name = new.map(|one| one.path.display().to_string()).unwrap_or_default();
        let words = "below a directory that a copy of a template is given it could open nothing, for its rules are its template's";
        refuse(format!("slot {name}"), words)
    }

    /// The processors that it is put on.
    fn fewer_processors(&self, variation: &Variation) -> Result<Option<Vec<u8>>> {
        let last = |limits: &[Limit]| limits.iter().rfind(|one| matches!(one, Limit::Processors(_))).copied();
        match (last(&variation.limits), last(&self.command.limits)) {
            (Some(asked), Some(sealed)) if asked != sealed => refuse(
                format!("limit {asked}"),
                "a copy keeps the processors that its template was limited to",
            ),
            (Some(asked @ Limit::Processors(count)), None) => Ok(Some(limit::processors(&asked, count)?)),
            _ => Ok(None),
        }
    }
}

/// A layout, and the streams of one product.
type Laid = (Arc<Layout>, [Option<Kind>; 3]);

fn kinds(streams: &[Option<Kind>; 3]) -> [Option<Discriminant<Kind>>; 3] {
    streams.each_ref().map(|stream| stream.as_ref().map(std::mem::discriminant))
}

/// What is tighter than the template's, and the limit of open files, which comes last.
fn tighter(own: &mut [Resource], theirs: &[Resource]) -> (Vec<Resource>, Option<Resource>) {
    let (mut limits, mut open_files) = (Vec::new(), None);
    for one in own {
        let Some(their) = theirs.iter().find(|their| their.number == one.number) else { continue };
        // This process may have had lower limits of its own when its template was made.
        one.bounds = Bounds {
            soft: one.bounds.soft.min(their.bounds.soft),
            hard: one.bounds.hard.min(their.bounds.hard),
        };
        if one.number == limit::OPEN_FILES {
            open_files = Some(*one);
        } else if one.bounds != their.bounds {
            limits.push(*one);
        }
    }
    (limits, open_files)
}

/// The filter that it takes besides the one that every copy puts on: for what it is given, and for what is taken from it.
fn second_filter(own: &Prepared, theirs: &Prepared) -> Option<Vec<Instruction>> {
    let (mut policy, their) = (own.authority.policy?, theirs.authority.policy?);
    // Where its program would lie, were it executed.
    policy.only = their.only;
    (policy != their).then(|| filter::build(&policy))
}

/// The list of members of a cgroup, open to join it.
fn members(cgroup: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(cgroup, "cgroup.procs", flags, Mode::empty())
        .map_err(|errno| Error::io("cgroup: cgroup.procs", errno).with_fault(Fault::Caller))
}

impl Provision {
    /// The arguments that a child would have, the program's name first.
    #[must_use]
    pub fn arguments(&self) -> &[std::ffi::CString] {
        &self.layout.prepared.strings.0
    }

    /// The variables that a child would have, as `NAME=VALUE`; but for `LISTEN_PID`, which is its own number.
    #[must_use]
    pub fn environment(&self) -> &[std::ffi::CString] {
        &self.layout.prepared.strings.1
    }

    /// How many slots from 3 on its variables tell of (`LISTEN_FDS`).
    #[must_use]
    pub fn listening(&self) -> usize {
        self.layout.prepared.slots.listening
    }

    /// The numbers that it fills or closes: what its template has opened there since, every copy loses.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        let streams = (0..3).filter(|stream| !self.left.contains(stream));
        streams.chain(self.layout.slots.iter().map(|(number, _)| *number))
    }

    /// Leaves a stream as the template has it: neither filled nor closed.
    pub fn leave(&mut self, stream: i32) {
        self.left.push(stream);
    }

    /// Adds to `part` all that it is given and held to, in the order in which it has to come: what pays for it first, what takes rights away last.
    /// The limit of open files comes when it goes on.
    ///
    /// # Errors
    /// None but faults of Beget.
    pub fn add_to<'a>(&'a self, part: &mut Part<'a>) -> Result<()> {
        let joined = (0..).map_while(|index| self.find(Source::Cgroup(index)));
        for entry in self.entry.iter().map(AsFd::as_fd).chain(joined) {
            through(entry, "cgroup", |slot| Op::JoinCgroup { slot }, part);
        }
        for (number, name) in (0..).zip(["stdin", "stdout", "stderr"]) {
            if self.left.contains(&number) {
                continue;
            }
            match self.layout.prepared.slots.all.iter().find(|slot| slot.number == number) {
                Some(slot) => self.place(number, slot.source, name, part)?,
                None => _ = part.close(number),
            }
        }
        for (number, source) in &self.layout.slots {
            self.place(*number, *source, &number.to_string(), part)?;
        }
        if self.layout.moves {
            let directory =
                self.layout.prepared.directory.as_ref().ok_or_else(|| without("working directory"))?;
            part.chdir(directory.as_fd());
        }
        for limit in &self.layout.limits {
            part.set_limit(*limit);
        }
        if let Some(mask) = &self.layout.processors {
            let mask = part.writer.draft.bytes(mask);
            part.push(Op::Processors { mask }, "limit of processors");
        }
        if let Some(ruleset) = &self.layout.prepared.narrower {
            through(ruleset.as_fd(), "Landlock, narrower grants", |slot| Op::Landlock { slot }, part);
        }
        if let Some(filter) = &self.layout.filter {
            let instructions = part.writer.draft.filter(filter);
            part.push(Op::Filter { instructions }, "seccomp filter, of its own");
        }
        part.open_files = self.layout.open_files;
        Ok(())
    }

    fn place<'a>(&'a self, number: i32, source: Source, name: &str, part: &mut Part<'a>) -> Result<()> {
        let file = self.find(source).ok_or_else(|| without(&format!("slot {name}")))?;
        part.grant(number, file);
        Ok(())
    }

    fn find(&self, source: Source) -> Option<BorrowedFd<'_>> {
        let given = || match source {
            Source::Stream(stream) => match self.streams.get(stream)? {
                Some(Kind::File(file)) => Some(file.as_fd()),
                _ => None,
            },
            other => prepare::given(&self.layout.command, &self.layout.prepared, other),
        };
        self.pipes.made(source, &self.own).or_else(given)
    }

    /// Gives the process of the product the other ends of its pipes, its channel, and its cgroups, which end with it.
    ///
    /// # Errors
    /// None but faults of Beget.
    pub fn hand_over(self, process: Process) -> Result<Process> {
        self.pipes.hand_over(&self.layout.command, &self.layout.prepared, process)
    }
}

fn without(part: &str) -> Error {
    Error::new(part, "it has no source", Fault::Beget)
}

/// Uses a descriptor that the copy has for a moment only.
fn through<'a>(file: BorrowedFd<'a>, words: &'static str, op: impl Fn(i32) -> Op, part: &mut Part<'a>) {
    let source = part.lend(file);
    let (slot, first) = (Template::SCRATCH, Template::SCRATCH as u32);
    part.push(Op::Place { source, slot, closing: 1 }, words);
    part.push(op(slot), words);
    part.push(Op::Close { first, last: first }, "closing descriptors");
}

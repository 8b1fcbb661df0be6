//! The survey of a program that is about to become a template: all that would go wrong when it is copied, and what is done about each.
//!
//! It looks at a program stopped at its ready point, from outside and by calls made in it. What copies would share is given to each of them
//! anew where that can be done; what cannot be is either declared, for whoever asks for a product to know, or the reason why there is none.
//!
//! # Safety idea
//!
//! The program is not trusted with its own description: everything is read from the kernel, against what was there before its first
//! instruction. All is looked at before anything is said, so that one error names all of it.

mod anew;
mod birth;
mod descriptors;
mod fresh;
mod hazard;
mod memory;
mod process;
mod text;
mod threads;

pub use birth::Expectations;
pub use fresh::Fresh;
pub use hazard::{Hazard, Kind, Verdict};
pub use memory::MappedFile;

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use beget::Template;

use crate::tracee::Tracee;
use crate::{Error, Fault, Result};

/// What was found in a program.
#[derive(Debug)]
pub struct Survey {
    hazards: Vec<Hazard>,
    files: Vec<MappedFile>,
    anew: Vec<fresh::Anew>,
    standard: Vec<i32>,
    taken: BTreeMap<i32, String>,
}

/// Looks at a program that is stopped at its ready point, before a stub is [planted](Tracee::plant), and refuses one of which no copy would
/// be right.
///
/// # Errors
/// One that names all that is [refused](Verdict::Refused); those of tracing and of reading `/proc`.
pub fn survey(tracee: &mut Tracee, before: &Expectations) -> Result<Survey> {
    let survey = examine(tracee, before)?;
    survey.refusal().map_or(Ok(survey), Err)
}

/// The same without the judgement: what is refused is among the hazards.
///
/// # Errors
/// Those of tracing and of reading `/proc`.
pub fn examine(tracee: &mut Tracee, before: &Expectations) -> Result<Survey> {
    let mut hazards = Vec::new();
    process::survey(tracee, before, &mut hazards)?;
    let descriptors = descriptors::Descriptors::of(tracee, before)?;
    hazards.extend(descriptors.hazards);
    // Before a page is mapped in it, which would be looked at as its own.
    let mappings = memory::mappings(tracee)?;
    let files = memory::survey(tracee, &mappings, &mut hazards);
    let asked = process::ask(tracee, &mut hazards)?;
    let own = inner_number(tracee)?;
    hazards.extend(memory::cached_number(tracee, &mappings, own, &asked.known));
    let what = "what was random in the template is the same in all products: address layout, stack canary, pointer guard, hash seeds, \
                generators that were seeded";
    hazards.push(Hazard::declared(Kind::SharedRandomness, what));
    Ok(Survey {
        hazards,
        files,
        anew: descriptors.anew,
        standard: descriptors.standard,
        taken: descriptors.taken,
    })
}

/// Its process number as it knows it itself: in its own PID namespace.
fn inner_number(tracee: &Tracee) -> Result<u32> {
    let status = birth::read(tracee.number(), "status")?;
    let inner =
        text::status(&status, "NSpid").and_then(|all| all.split_ascii_whitespace().next_back()?.parse().ok());
    Ok(inner.unwrap_or(tracee.number() as u32))
}

impl Survey {
    /// All that was found.
    #[must_use]
    pub fn hazards(&self) -> &[Hazard] {
        &self.hazards
    }

    /// Why no product can be made, if there is a reason: all reasons, in one error.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let all: Vec<String> =
            self.hazards.iter().filter(|one| one.is_refused()).map(Hazard::to_string).collect();
        (!all.is_empty()).then(|| Error::new("template: survey", all.join("; "), Fault::NotRunnable))
    }

    /// Marks what was declared of this kind as seen to: a runtime in the program has said that it does, in each product.
    pub fn acknowledge(&mut self, kind: Kind, how: &str) {
        for hazard in &mut self.hazards {
            if hazard.kind == kind && hazard.verdict == Verdict::Declared {
                hazard.verdict = Verdict::Cured(how.to_owned());
            }
        }
    }

    /// Adds what whoever asks for a product is to know, and what was found out elsewhere.
    pub(crate) fn declare(&mut self, kind: Kind, what: String) {
        self.hazards.push(Hazard::declared(kind, what));
    }

    /// The files that its memory came from: when one is not [current](MappedFile::is_current) any more, a template is to be made anew.
    #[must_use]
    pub fn files(&self) -> &[MappedFile] {
        &self.files
    }

    /// The slots that each product is to be given anew, and that have in the template what they had at its birth. Another that was to be is the
    /// program's now: it closed it, or put something there itself.
    #[must_use]
    pub fn standard(&self) -> &[i32] {
        &self.standard
    }

    /// What the program did with this number before it was ready, if it has made it its own: it opened something there, or closed a stream that it was
    /// given. A product has there what the program left there, and nobody else puts anything there.
    #[must_use]
    pub fn taken(&self, number: i32) -> Option<&str> {
        self.taken.get(&number).map(String::as_str)
    }

    /// Makes the open files of one product: they are added to what it is told at its birth, or later, but before its start.
    ///
    /// # Errors
    /// Those of opening: a file that may not be opened any more, too many open files.
    pub fn fresh(&self) -> Result<Fresh> {
        fresh::make(&self.anew)
    }
}

/// Throws away what the program wrote into its channel before it was ready: nobody asked it, and it would be taken for an answer. Gives how many
/// bytes that were. To be done while the program is stopped.
///
/// # Errors
/// A channel that is closed at its other end.
pub fn drain(template: &Template) -> Result<usize> {
    let mut thrown = 0;
    let mut room = [0; 4096];
    let channel = template.as_fd();
    let closed = || Error::new("template: survey: channel", "the program closed it", Fault::NotRunnable);
    // Nothing is sent, but what is not read any more cannot be.
    if rustix::net::send(channel, &[], rustix::net::SendFlags::NOSIGNAL) == Err(rustix::io::Errno::PIPE) {
        return Err(closed());
    }
    loop {
        // What came with it is closed by the kernel, for there is no room to take it.
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(channel, &mut room[..], flags).map(|(count, _)| count) {
            Ok(0) => return Err(closed()),
            Ok(count) => thrown += count,
            Err(rustix::io::Errno::AGAIN) => return Ok(thrown),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(birth::failed("channel", errno)),
        }
    }
}

//! The inventory of a factory: what is inserted, judged as it is inserted, until it is sealed.
//!
//! Safety idea: sealing judges the whole command once more, with everything that is in it; after that nothing is inserted, and the answer is
//! one that was written down then.

use std::os::fd::{AsFd, BorrowedFd};

use beget::{Command, Enforced, Error, Fault, GivenStream, Result};

use super::confinement::{Confinement, Holes, OUT_OF_SCOPE};
use super::constituent::{Constituent, Discretion};
use super::hole::{Access, Hole, HoleIdentity};
use super::surroundings::{self, Surroundings};
use super::{judgement, look, measure};

/// What a factory is made of.
#[derive(Debug, Default)]
pub struct Inventory {
    constituents: Vec<Constituent>,
    /// Holes that are no constituent's.
    around: Vec<Hole>,
    enforced: Vec<Enforced>,
    sealed: bool,
}

/// The error of inserting into what is sealed.
#[must_use]
pub fn sealed(what: &str) -> Error {
    Error::new(
        format!("factory: inserting {what}"),
        "it is sealed: nothing more can be inserted",
        Fault::Caller,
    )
}

impl Inventory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Judges a descriptor that every product gets in the slot `name`.
    ///
    /// # Errors
    /// One that cannot be looked at or read; a sealed factory.
    pub fn insert(&mut self, name: &str, file: BorrowedFd<'_>) -> Result<&Constituent> {
        self.open(name)?;
        let judged = judgement::descriptor(name, file)?;
        Ok(self.push(judged))
    }

    /// Judges another factory, whose products every product can have: it counts as its own holes do, and as one while it is not sealed.
    ///
    /// # Errors
    /// A sealed factory.
    pub fn insert_factory(&mut self, name: &str, factory: &impl Holes) -> Result<()> {
        self.open(name)?;
        let constituent = |name: String, discretion| Constituent {
            name,
            kind: "factory",
            access: Access::USE,
            discretion,
            digest: None,
        };
        if !factory.is_sealed() {
            let identity = HoleIdentity::new("factory", look::own_name(), Access::USE);
            let hole =
                Hole::new(identity, name, "a factory that is not sealed: anything may come to be in it");
            self.push(constituent(name.to_owned(), Discretion::Hole(hole)));
            return Ok(());
        }
        for hole in factory.holes() {
            self.push(constituent(format!("{name}: {}", hole.what), Discretion::Hole(hole.clone())));
        }
        if factory.holes().is_empty() {
            let (why, held_by) = (
                "a factory that is sealed and has no holes".to_owned(),
                "what holds its own products".to_owned(),
            );
            self.push(constituent(name.to_owned(), Discretion::Discreet { why, held_by }));
        }
        Ok(())
    }

    /// Declares a hole that nobody else can see: of a runtime, or of a state that its products share.
    ///
    /// # Errors
    /// A sealed factory.
    pub fn insert_hole(&mut self, hole: Hole) -> Result<()> {
        self.open(&hole.what)?;
        self.around.push(hole);
        Ok(())
    }

    /// Whether nothing more can be inserted.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Judges everything that `command` gives its products, and seals it. Opens what a spawn opens, and reads all of it that can be read.
    ///
    /// # Errors
    /// What a spawn would fail of, as far as it shows before the birth; what cannot be looked at or read; one that is sealed already. Then it is
    /// as it was.
    pub fn seal(&mut self, command: &mut Command, around: Surroundings) -> Result<Confinement> {
        self.open("anything")?;
        let description = command.describe()?;
        let files = command.open_files()?;
        let own_session = description.session && command.terminal_given().is_none();
        let mut constituents = std::mem::take(&mut self.constituents);
        let before = constituents.len();
        let judged = judge(command, &files, own_session, &mut constituents);
        if let Err(error) = judged {
            constituents.truncate(before);
            self.constituents = constituents;
            return Err(error);
        }
        self.constituents = constituents;
        self.around.extend(surroundings::of_grants(command));
        self.around.extend(surroundings::of_product(command, &description, around));
        self.enforced = description.enforced;
        self.sealed = true;
        Ok(self.confinement())
    }

    /// The answer as it stands: of one that is not sealed only what was inserted so far.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        let mut holes: Vec<Hole> = Vec::new();
        for hole in self.constituents.iter().filter_map(Constituent::hole).chain(&self.around) {
            match holes.iter_mut().find(|known| known.identity == hole.identity) {
                Some(known) if known.what.split(", ").any(|what| what == hole.what) => {}
                Some(known) => known.what = format!("{}, {}", known.what, hole.what),
                None => holes.push(hole.clone()),
            }
        }
        let parts = self.constituents.iter().map(|one| (one.name.as_str(), one.digest));
        Confinement {
            sealed: self.sealed,
            holes,
            image: self.sealed.then(|| measure::whole(parts)),
            constituents: self.constituents.clone(),
            enforced: self.enforced.clone(),
            out_of_scope: OUT_OF_SCOPE,
        }
    }

    fn open(&self, what: &str) -> Result<()> {
        if self.sealed { Err(sealed(what)) } else { Ok(()) }
    }

    fn push(&mut self, constituent: Constituent) -> &Constituent {
        self.constituents.push(constituent);
        &self.constituents[self.constituents.len() - 1]
    }
}

/// Judges the files, descriptors and streams of a command.
fn judge(
    command: &Command,
    files: &[beget::GivenFile],
    own_session: bool,
    constituents: &mut Vec<Constituent>,
) -> Result<()> {
    let mut add = |constituent: Constituent| {
        if !constituents.contains(&constituent) {
            constituents.push(constituent);
        }
    };
    for file in files {
        add(judgement::file(file, own_session)?);
    }
    for (name, file) in command.descriptors_given() {
        add(judgement::descriptor(&name, file)?);
    }
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let own = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let streams = command.streams_given();
    for ((stream, own), name) in streams.into_iter().zip(own).zip(["stdin", "stdout", "stderr"]) {
        match stream {
            Some(GivenStream::Inherited) => add(judgement::descriptor(name, own)?),
            Some(GivenStream::File(file)) => add(judgement::descriptor(name, file)?),
            // A new pipe each time, whose other end the requestor has, and its own `/dev/null`; the terminal comes below.
            _ => {}
        }
    }
    if let Some(terminal) = command.terminal_given() {
        add(judgement::descriptor("terminal", terminal)?);
    }
    if let Some(directory) = command.directory_given() {
        add(judgement::descriptor("working directory", directory)?);
    }
    Ok(())
}

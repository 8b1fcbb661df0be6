//! The inventory of a factory: what is inserted, judged as it is inserted, until it is sealed.
//!
//! Safety idea: what is judged is a command that was sealed before, by the very descriptors that its products have: no name is looked up again.
//! Folders that it grants, which can be large, are looked through when somebody first asks; the answer is remembered.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use beget::{Command, Enforced, Error, Fault, GivenFile, GivenStream, Result, Sealed};

use super::confinement::{Confinement, Holes, OUT_OF_SCOPE};
use super::constituent::{Constituent, Discretion};
use super::hole::{Access, Hole, HoleIdentity};
use super::surroundings::{self, Surroundings};
use super::{judgement, look, measure};

/// What a factory is made of.
#[derive(Debug, Default)]
pub struct Inventory {
    constituents: Vec<Constituent>,
    /// Granted folders, which are looked through when somebody asks, and the answer.
    folders: Vec<GivenFile>,
    answer: OnceLock<Confinement>,
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

    /// Judges everything that `sealed` gives its products, and seals this too. Reads all that can be read, but for granted folders: those are looked
    /// through from what is open, when the [answer](Inventory::confinement) is first asked for.
    ///
    /// # Errors
    /// What cannot be looked at or read; one that is sealed already. Then it is as it was.
    pub fn seal(&mut self, sealed: &Sealed, around: Surroundings) -> Result<()> {
        self.open("anything")?;
        let (command, description) = (sealed.command(), sealed.description());
        let own_session = description.session && command.terminal_given().is_none();
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for file in sealed.given_files()? {
            match judgement::is_looked_through(&file)? {
                true => folders.push(file),
                false => files.push(file),
            }
        }
        let before = self.constituents.len();
        if let Err(error) = judge(command, &files, own_session, &mut self.constituents) {
            self.constituents.truncate(before);
            return Err(error);
        }
        self.folders = folders;
        self.around.extend(surroundings::of_grants(command));
        self.around.extend(surroundings::of_product(command, description, around));
        self.enforced.clone_from(&description.enforced);
        self.sealed = true;
        Ok(())
    }

    /// The answer: of one that is sealed, always the same; of one that is not, only what was inserted so far. The first that is asked for looks through
    /// the granted folders, some tenths of a second for a whole system, and waits for them.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        match self.sealed {
            true => self.answer().clone(),
            false => self.written(self.constituents.clone()),
        }
    }

    /// The answer of one that is sealed.
    pub(crate) fn answer(&self) -> &Confinement {
        self.answer.get_or_init(|| {
            let mut constituents = self.constituents.clone();
            for folder in &self.folders {
                let judged = judgement::file(folder, false).unwrap_or_else(|error| unseen(folder, &error));
                if !constituents.contains(&judged) {
                    constituents.push(judged);
                }
            }
            self.written(constituents)
        })
    }

    fn written(&self, constituents: Vec<Constituent>) -> Confinement {
        let mut holes: Vec<Hole> = Vec::new();
        for hole in constituents.iter().filter_map(Constituent::hole).chain(&self.around) {
            match holes.iter_mut().find(|known| known.identity == hole.identity) {
                Some(known) if known.what.split(", ").any(|what| what == hole.what) => {}
                Some(known) => known.what = format!("{}, {}", known.what, hole.what),
                None => holes.push(hole.clone()),
            }
        }
        let parts = constituents.iter().map(|one| (one.name.as_str(), one.digest));
        Confinement {
            sealed: self.sealed,
            holes,
            image: self.sealed.then(|| measure::whole(parts)),
            constituents,
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

/// A folder that could not be looked through: nothing says that it is discreet.
fn unseen(folder: &GivenFile, error: &Error) -> Constituent {
    let name = folder.real_path().display().to_string();
    let identity = HoleIdentity::new("unknown", look::own_name(), Access::READ);
    let hole = Hole::new(identity, name.clone(), format!("it could not be looked through: {error}"));
    Constituent {
        name,
        kind: "folder",
        access: Access::READ,
        discretion: Discretion::Hole(hole),
        digest: None,
    }
}

/// Judges the files, descriptors and streams of a command.
fn judge(
    command: &Command,
    files: &[GivenFile],
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

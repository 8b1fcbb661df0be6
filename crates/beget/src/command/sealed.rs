//! A command that can be changed no more, and is spawned many times.
//!
//! Safety idea: everything that it names was opened when it was sealed. A spawn takes what it has of its own from a
//! [`Variation`], which has no words for more, and looks up nothing by name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use beget_authority::{Authority, Limit, Opened};

use super::opening::{Opening, given_directories};
use super::prepare::{self, Given, Prepared};
use super::variation::Variation;
use super::{Command, describe, spawn};
use crate::description::Description;
use crate::error::Result;
use crate::nursery::Nursery;
use crate::process::Process;
use crate::stdio::Kind;

/// What a filter, and whether there is a ruleset to use again, depends on that may differ from spawn to spawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) given: Given,
    /// Where only the program is executed.
    pub(super) program_slot: Option<u32>,
    /// How many directories are given open.
    pub(super) directories: usize,
}

/// What holds a child, with the files that must be held for its life.
type Holding = (Arc<Authority>, Arc<Vec<Opened>>);

/// What was built for one spawn of a sealed command and serves others.
#[derive(Debug)]
pub(super) struct Sharing {
    limits: Vec<Limit>,
    cgroup: Option<Arc<OwnedFd>>,
    directories: usize,
    ruleset: OnceLock<Arc<OwnedFd>>,
    /// There are few kinds; a requestor who makes up more pays for each.
    kinds: Mutex<Vec<(Kept, Holding)>>,
}

const MOST_KINDS: usize = 16;

impl Sharing {
    fn new(command: &Command, directories: usize) -> Sharing {
        Sharing {
            limits: command.limits.clone(),
            cgroup: command.cgroup.clone(),
            directories,
            ruleset: OnceLock::new(),
            kinds: Mutex::default(),
        }
    }

    /// Whether all that a filter depends on, but for what [`Kept`] has, is as it was sealed.
    fn serves(&self, command: &Command, kind: Kept) -> bool {
        let same_group = match (&self.cgroup, &command.cgroup) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_group
            && self.limits == command.limits
            && command.narrower.is_none()
            && command.private_root().is_none()
            && kind.directories == self.directories
    }

    /// What was built for such a spawn before.
    pub(super) fn find(&self, command: &Command, kind: Kept) -> Option<Holding> {
        if !self.serves(command, kind) {
            return None;
        }
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().find(|(one, _)| *one == kind).map(|(_, holding)| holding.clone())
    }

    /// The ruleset of what was sealed, which holds as long as no directory more is given.
    pub(super) fn ruleset(&self, kind: Kept) -> Option<Arc<OwnedFd>> {
        self.ruleset.get().filter(|_| kind.directories == self.directories).cloned()
    }

    /// Keeps what was built, where it serves others.
    pub(super) fn keep(&self, command: &Command, kind: Kept, mut authority: Authority) -> Holding {
        // All of them stay open in what was sealed.
        drop(authority.forget_opened());
        let held = Arc::new(std::mem::take(&mut authority.opened));
        let holding = (Arc::new(authority), held);
        self.share(command, kind, &holding);
        holding
    }

    fn share(&self, command: &Command, kind: Kept, holding: &Holding) {
        if self.serves(command, kind) {
            if let Some(ruleset) = &holding.0.ruleset {
                let _ = self.ruleset.set(Arc::clone(ruleset));
            }
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            if kinds.len() < MOST_KINDS && kinds.iter().all(|(one, _)| *one != kind) {
                kinds.push((kind, holding.clone()));
            }
        }
    }
}

/// A command that can be changed no more, with everything that it names open: the program, its interpreter and loader, the granted files, the
/// working directory. Whatever those names come to mean, each spawn has what they meant when it was sealed. In a private
/// root ([`Command::root`]) names are looked up anew and must lead to the same files; a spawn fails where they do not.
///
/// Every spawn can have a [`Variation`]. Several threads may spawn at once. The granted files are open as long as it is: some thirty with
/// [`Grant::Base`](crate::Grant::Base).
///
/// ```
/// use beget::{Command, Grant, Stdio, Variation};
///
/// let mut command = Command::new("/bin/echo");
/// command.arg("hello").grant(Grant::Base);
/// let sealed = command.seal()?;
/// let mut variation = Variation::new();
/// variation.arg("world").stdout(Stdio::piped());
/// for _ in 0..3 {
///     let output = sealed.spawn(&variation, None)?.wait_with_output()?;
///     assert_eq!(output.stdout, b"hello world\n");
/// }
/// # Ok::<(), beget::Error>(())
/// ```
#[derive(Debug)]
pub struct Sealed {
    pub(super) command: Command,
    pub(super) opening: Opening,
    pub(super) sharing: Sharing,
    pub(super) base: Prepared,
    /// Those that it is given open.
    pub(super) directories: Vec<Opened>,
    description: Description,
    renewal: Option<Renewal>,
}

/// Makes, of what was given in a slot of this name, one for a single spawn: an open file description of its own, whose offset and flags are shared with
/// nobody. None where all spawns are to share it.
pub type Renewal = fn(&str, BorrowedFd<'_>) -> Result<Option<OwnedFd>>;

impl Command {
    /// Seals it: opens everything that it names, now, for good.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) that show before a birth.
    pub fn seal(mut self) -> Result<Sealed> {
        prepare::check_streams(&self.streams)?;
        if self.private_root().is_some() {
            Nursery::could_be_in_root().or_else(|error| self.do_without_root(error))?;
        }
        (self.prepared, self.prepared_to_collect, self.stock) = (None, None, None);
        let opening = Opening::open(&self, true)?;
        let directories = if self.has_ambient() { Vec::new() } else { given_directories(&self)? };
        let sharing = Sharing::new(&self, directories.len());
        let mut base = prepare::arrange(&self, &opening, None)?;
        base.write_plan(&self)?;
        let description = describe::describe(&self, &base);
        drop(base.hold());
        if let Some(kind) = base.kind {
            sharing.share(&self, kind, &(Arc::clone(&base.authority), Arc::clone(&base.held)));
        }
        Ok(Sealed { command: self, opening, sharing, base, directories, description, renewal: None })
    }
}

impl Sealed {
    /// What each spawn holds, but for what its variation gives and takes away.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The program, open to be executed; of a script the interpreter.
    #[must_use]
    pub fn program(&self) -> BorrowedFd<'_> {
        self.opening.program.file.as_fd()
    }

    /// Where the program was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.opening.program.path
    }

    /// The slots that were sealed: number, name, and the descriptor, where that is the same for each spawn.
    pub fn slots(&self) -> impl Iterator<Item = (i32, &str, Option<BorrowedFd<'_>>)> {
        let kept = self.base.slots.all.iter().filter(|slot| slot.kept);
        kept.map(|slot| {
            let file = prepare::given(&self.command, &self.base, slot.source);
            (slot.number, slot.name.as_str(), file)
        })
    }

    /// Has each spawn given what `renewal` makes of what was sealed, instead of the very same: slots, and streams that are descriptors. Without this
    /// all spawns share one offset in a file that was given.
    #[must_use]
    pub fn renewed_by(mut self, renewal: Renewal) -> Sealed {
        self.renewal = Some(renewal);
        self
    }

    /// Whether what was given is made anew for each spawn.
    pub(super) fn is_renewed(&self) -> bool {
        self.renewal.is_some()
    }

    /// Starts it once more, varied, in `nursery`, or where the command says.
    ///
    /// # Errors
    /// Those of [`Command::spawn`], and what a variation may not: a limit that is wider than the sealed one, a slot that is taken, a variable that
    /// changes the program. Nothing is left behind.
    pub fn spawn(&self, variation: &Variation, nursery: Option<&Nursery>) -> Result<Process> {
        let mut command = self.varied(variation, nursery)?;
        self.renew_slots(&mut command)?;
        prepare::check_streams(&command.streams)?;
        let mut prepared = prepare::arrange(&command, &self.opening, Some(&self.sharing))?;
        prepared.write_plan(&command)?;
        spawn::spawn(&command, &prepared)
    }

    /// The command of one spawn.
    pub(super) fn varied(&self, variation: &Variation, nursery: Option<&Nursery>) -> Result<Command> {
        let kept = self.base.slots.all.iter().filter(|slot| slot.kept);
        let taken = |number: i32| {
            let mut kept = kept.clone().filter(|slot| slot.number == number && number > 2);
            kept.next().map(|slot| slot.name.clone())
        };
        let mut command = self.command.varied(variation, &self.base.limits, taken)?;
        if nursery.is_some() {
            command.nursery = nursery.cloned();
        }
        if let Some(renewal) = self.renewal {
            let streams = command.streams.iter_mut().zip(["stdin", "stdout", "stderr"]).enumerate();
            for (_, (stream, name)) in streams.filter(|(number, _)| !variation.gives_stream(*number)) {
                if let Some(Kind::File(file)) = stream {
                    renew(renewal, name, file)?;
                }
            }
        }
        Ok(command)
    }

    /// Gives a command of one spawn slots of its own.
    pub(super) fn renew_slots(&self, command: &mut Command) -> Result<()> {
        let Some(renewal) = self.renewal else { return Ok(()) };
        for (name, file) in command.named.iter_mut().take(self.command.named.len()) {
            renew(renewal, name, file)?;
        }
        let numbered = command.numbered.iter_mut();
        for (number, file) in numbered.filter(|(number, _)| self.command.numbered.contains_key(number)) {
            renew(renewal, &number.to_string(), file)?;
        }
        Ok(())
    }
}

fn renew(renewal: Renewal, name: &str, file: &mut Arc<OwnedFd>) -> Result<()> {
    if let Some(own) = renewal(name, file.as_fd())? {
        *file = Arc::new(own);
    }
    Ok(())
}

//! What a command was given, to look at: for whoever judges it before there is a child.
//!
//! Safety idea: nothing here changes the command, and what is shown of a file is the descriptor that was opened, never a name to open again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beget_authority::{Grant, Opened, Rights, Root};

use super::{Command, Directory, Sealed, prepare};
use crate::error::Result;
use crate::program::Program;
use crate::stdio::Kind;

/// What a standard stream was set to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum GivenStream<'a> {
    /// The caller's own.
    Inherited,
    /// `/dev/null`.
    Null,
    /// A new pipe at every spawn.
    Piped,
    /// A descriptor.
    File(BorrowedFd<'a>),
    /// A pseudo-terminal ([`Command::pty`]).
    Pty,
}

/// A file that a child may open or that it is started from, opened.
#[derive(Clone, Debug)]
pub struct GivenFile {
    file: Arc<OwnedFd>,
    /// The name it was asked for by; for a folder that was given open the name of its slot.
    pub path: PathBuf,
    /// What the child may do with it, masked by what it is.
    pub rights: Rights,
    /// A folder: also with all below it.
    pub below: bool,
    /// The program, its interpreter, its loader, or a script.
    pub program: bool,
}

/// The file; often one that only means it (`O_PATH`).
impl AsFd for GivenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl GivenFile {
    /// Where it really is, links followed; the name it was asked for by where `/proc` cannot tell.
    #[must_use]
    pub fn real_path(&self) -> PathBuf {
        beget_authority::real_path(&self.file).unwrap_or_else(|| self.path.clone())
    }
}

impl Command {
    /// The grants that it was given.
    #[must_use]
    pub fn grants_given(&self) -> &[Grant] {
        &self.grants
    }

    /// The descriptors that it was given, each with its name: a slot's, or its number.
    pub fn descriptors_given(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let named = self.named.iter().map(|(name, file)| (name.clone(), file.as_fd()));
        named.chain(self.numbered.iter().map(|(number, file)| (number.to_string(), file.as_fd())))
    }

    /// What standard input, output and error were set to; a stream that is none of these is closed.
    #[must_use]
    pub fn streams_given(&self) -> [Option<GivenStream<'_>>; 3] {
        self.streams.each_ref().map(|stream| {
            Some(match stream.as_ref()? {
                Kind::Inherit => GivenStream::Inherited,
                Kind::Null => GivenStream::Null,
                Kind::Piped => GivenStream::Piped,
                Kind::File(file) => GivenStream::File(file.as_fd()),
                Kind::Pty => GivenStream::Pty,
            })
        })
    }

    /// The working directory that it was given open.
    #[must_use]
    pub fn directory_given(&self) -> Option<BorrowedFd<'_>> {
        match &self.directory {
            Directory::Opened(directory) => Some(directory.as_fd()),
            Directory::Path(_) => None,
        }
    }

    /// The name of its working directory, where that was given by one.
    #[must_use]
    pub fn directory_named(&self) -> Option<&Path> {
        match &self.directory {
            Directory::Path(path) => Some(path),
            Directory::Opened(_) => None,
        }
    }

    /// The terminal that is to be its controlling one.
    #[must_use]
    pub fn terminal_given(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Whether it is born in a private root; not when that was given up.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.private_root().is_some()
    }

    /// The private root that it is born in; none where that was given up.
    #[must_use]
    pub fn root_given(&self) -> Option<&Root> {
        self.private_root()
    }

    /// Whether it is born with a channel to its holder.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.channel
    }

    /// Opens the program, its interpreter and loader, and every file that it is granted, and gives them. Empty for one with ambient
    /// authority, but for the program. The next spawn uses the very files that were opened here, unless it is one in a private root, which
    /// opens its own.
    ///
    /// # Errors
    /// Those of a spawn, as far as they show before the birth.
    pub fn open_files(&mut self) -> Result<Vec<GivenFile>> {
        let mut prepared = prepare::prepare(self)?;
        let files = self.files_of(&prepared.authority.opened, &prepared.program)?;
        drop(prepared.hold());
        self.prepared = Some(Arc::new(prepared));
        Ok(files)
    }
    fn files_of<'o>(
        &self,
        opened: impl IntoIterator<Item = &'o Opened>,
        program: &Program,
    ) -> Result<Vec<GivenFile>> {
        let copy = |one: &Opened| {
            Ok(GivenFile {
                file: Arc::new(one.as_fd().try_clone_to_owned()?),
                path: one.path.clone(),
                rights: one.rights,
                below: one.directory,
                program: one.is_program(),
            })
        };
        let files = opened.into_iter().map(copy).collect::<std::io::Result<Vec<_>>>();
        let mut files = files.map_err(|error| crate::Error::io("grants", error))?;
        if self.has_ambient() {
            let file = program.file.try_clone().map_err(|error| crate::Error::io("program", error))?;
            let (path, rights) = (program.path.clone(), Rights::EXECUTE);
            files.push(GivenFile { file: Arc::new(file), path, rights, below: false, program: true });
        }
        Ok(files)
    }
}

impl Sealed {
    /// What was sealed, to look at.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// The program, its interpreter and loader, and every file that it is granted, as [`Command::open_files`] gives them: the very
    /// files that each spawn has.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn given_files(&self) -> Result<Vec<GivenFile>> {
        let opening = &self.opening;
        self.command.files_of(
            opening.needed.iter().chain(&self.directories).chain(&opening.granted),
            &opening.program,
        )
    }
}

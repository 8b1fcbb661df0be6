//! The right to build a factory that another process keeps.
//!
//! Safety idea: what is wanted goes there as data, and what is given as descriptors; everything else the keeper opens itself, with the rights of
//! the user whose it is. After the seal nothing is asked here any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_monitor::fields::{Reader, Writer};

use super::answer::Confinement;
use super::factory::RemoteFactory;
use super::line::Line;
use crate::Result;
use crate::keeper::protocol::{kind, right};

/// The capability to build one factory. Dropping it before the seal ends the keeper, and nothing is left.
#[derive(Debug)]
pub struct RemoteBuilder {
    line: Line,
}

impl RemoteBuilder {
    /// Takes the connection that came with a new keeper.
    ///
    /// # Errors
    /// A connection that is no right to build.
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<RemoteBuilder> {
        let (line, rights) = Line::new("factory", socket.into())?;
        if rights & right::BUILD == 0 {
            return Err(crate::Error::new(
                "factory",
                "the capability is no right to build",
                crate::Fault::Caller,
            ));
        }
        Ok(RemoteBuilder { line })
    }

    /// Says what is to be built: `words` as the keeper's program takes them, paths in them seen from `directory`, and `given`, the descriptors
    /// that they name, in their order.
    ///
    /// # Errors
    /// What is wrong with the words; what cannot be opened; said before already.
    pub fn build(&mut self, words: &[u8], directory: impl AsFd, given: &[BorrowedFd<'_>]) -> Result<()> {
        let mut body = Writer::new();
        body.bytes(words);
        let mut descriptors = vec![directory.as_fd()];
        descriptors.extend(given);
        self.line.ask(kind::BUILD, body.body(), &descriptors, kind::DONE).map(drop)
    }

    /// Inserts a constituent, in the slot of this name; it is judged at once, and the sentence says how.
    ///
    /// # Errors
    /// A name that is taken or none; nothing was said yet of what is built.
    pub fn insert(&mut self, name: &str, constituent: impl AsFd) -> Result<String> {
        let mut body = Writer::new();
        body.str(name);
        let answer = self.line.ask(kind::INSERT, body.body(), &[constituent.as_fd()], kind::LINE)?;
        let line = Reader::new(&answer.body).str().map(str::to_owned);
        line.ok_or_else(|| self.line.confused())
    }

    /// What products would reach: of an unsealed factory never an answer that they are confined.
    ///
    /// # Errors
    /// Nothing was said yet of what is built.
    pub fn confinement(&self) -> Result<Confinement> {
        let answer = self.line.ask(kind::CONFINEMENT, &[], &[], kind::CONFINEMENT_IS)?;
        Confinement::decode(&answer.body).ok_or_else(|| self.line.confused())
    }

    /// Seals it, for ever: the keeper answers nothing more on this connection. The factory is given with every right to it.
    ///
    /// # Errors
    /// A program that does not get ready, or cannot be copied truly; the keeper ends when this is dropped.
    pub fn seal(self) -> Result<RemoteFactory> {
        let answer = self.line.ask(kind::SEAL, &[], &[], kind::SEALED)?;
        let socket = answer.descriptors.into_iter().next().ok_or_else(|| self.line.confused())?;
        RemoteFactory::from_fd(socket)
    }
}

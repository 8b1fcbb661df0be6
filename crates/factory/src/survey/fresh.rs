//! Open file descriptions of a product's own: files opened anew, at the offset that the template's had, and pipes and counters like it.
//!
//! Safety idea: a file is opened by what is held of it, never by its name, with the rights that the template's descriptor had and no more. Each
//! product's are made for it alone and closed here when it has them.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use beget::Part;
use rustix::fs::{Mode, OFlags, SeekFrom};

use super::birth::failed;
use crate::Result;

/// A slot of the program's, and whether an exec closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) number: i32,
    pub(super) closing: bool,
}

/// How one is made.
#[derive(Debug)]
pub(super) enum Source {
    /// A file that is held, however it may be called now.
    File { inode: OwnedFd, flags: OFlags, position: u64 },
    /// An empty pipe: the flags of either end, and how much goes into it.
    Pipe { reading: OFlags, writing: OFlags, capacity: usize },
    /// An eventfd: its count, and whether it is a semaphore.
    Counter { count: u64, semaphore: bool, flags: OFlags },
}

/// What each product gets a new one of.
#[derive(Debug)]
pub(super) struct Anew {
    pub(super) what: String,
    pub(super) source: Source,
    /// Where it goes; for a pipe, its reading end.
    pub(super) slots: Vec<Slot>,
    /// Where a pipe's writing end goes.
    pub(super) writing: Vec<Slot>,
}

/// Open file descriptions made for one product. They are to live until the product has been told the part that they were
/// [added to](Fresh::add_to).
#[derive(Debug, Default)]
pub struct Fresh {
    given: Vec<(OwnedFd, Vec<Slot>)>,
}

/// Flags that say how to open, and not what an open file is like.
const OPENING: OFlags =
    OFlags::CREATE.union(OFlags::EXCL).union(OFlags::TRUNC).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);
/// `O_TMPFILE`, whose directory is not what is open.
const UNNAMED: OFlags = OFlags::TMPFILE;

/// Opens what `held` holds with these flags, and nothing more than they say.
pub(super) fn reopen(held: &OwnedFd, flags: OFlags, position: u64) -> rustix::io::Result<OwnedFd> {
    let flags = if flags.contains(UNNAMED) { flags.difference(UNNAMED) } else { flags };
    let flags = flags.difference(OPENING) | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(format!("/proc/self/fd/{}", held.as_raw_fd()), flags, Mode::empty())?;
    if position != 0 {
        rustix::fs::seek(&file, SeekFrom::Start(position))?;
    }
    Ok(file)
}

impl Anew {
    fn make(&self, fresh: &mut Fresh) -> rustix::io::Result<()> {
        match &self.source {
            Source::File { inode, flags, position } => {
                fresh.given.push((reopen(inode, *flags, *position)?, self.slots.clone()));
            }
            Source::Pipe { reading, writing, capacity } => {
                let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                if rustix::pipe::fcntl_getpipe_size(&reader)? != *capacity {
                    rustix::pipe::fcntl_setpipe_size(&reader, *capacity)?;
                }
                rustix::fs::fcntl_setfl(&reader, *reading)?;
                rustix::fs::fcntl_setfl(&writer, *writing)?;
                fresh.given.push((reader, self.slots.clone()));
                fresh.given.push((writer, self.writing.clone()));
            }
            Source::Counter { count, semaphore, flags } => {
                use rustix::event::EventfdFlags;
                let how = if *semaphore { EventfdFlags::SEMAPHORE } else { EventfdFlags::empty() };
                // What it is born with is 32 bits wide, and the rest is added to it.
                let counter = rustix::event::eventfd(0, how | EventfdFlags::CLOEXEC)?;
                if *count != 0 {
                    rustix::io::write(&counter, &count.to_ne_bytes())?;
                }
                rustix::fs::fcntl_setfl(&counter, *flags)?;
                fresh.given.push((counter, self.slots.clone()));
            }
        }
        Ok(())
    }
}

/// Makes one of each.
pub(super) fn make(all: &[Anew]) -> Result<Fresh> {
    let mut fresh = Fresh::default();
    for one in all {
        one.make(&mut fresh)
            .map_err(|errno| failed(&format!("{}, for a product of its own", one.what), errno))?;
    }
    Ok(fresh)
}

impl Fresh {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.given.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Has a product put each where the template's is. To be done before what a requestor gives: that may replace some.
    pub fn add_to<'fd>(&'fd self, part: &mut Part<'fd>) {
        for (file, slots) in &self.given {
            for slot in slots {
                if slot.closing {
                    part.grant_until_exec(slot.number, file.as_fd());
                } else {
                    part.grant(slot.number, file.as_fd());
                }
            }
        }
    }
}

//! Operations on a process that is being built, gathered into one message.
//!
//! Safety idea: a part is data. It names its descriptors by loan, and says nothing that the check of a plan would not see.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use beget_authority::limit::Resource;
use beget_plan::encoding::LONGEST;
use beget_plan::message::MOST_GIVEN;
use beget_plan::op::{Span, mapping};
use beget_plan::{Engine, Malformed, Op, Plan};
use beget_sys::Errno;

use crate::error::{Error, Fault, Result};
use crate::writer::{Writer, tell};

/// What may be done with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// It may be read.
    pub read: bool,
    /// It may be written; a file's own contents never change by that.
    pub write: bool,
    /// It may be executed.
    pub execute: bool,
}

impl Protection {
    /// Nothing may be done with it.
    pub const NONE: Protection = Protection { read: false, write: false, execute: false };
    /// It may be read.
    pub const READ: Protection = Protection { read: true, write: false, execute: false };
    /// It may be read and written.
    pub const WRITE: Protection = Protection { read: true, write: true, execute: false };
    /// It may be read and executed.
    pub const EXECUTE: Protection = Protection { read: true, write: false, execute: true };

    pub(super) fn bits(self) -> u32 {
        let bit = |on: bool, bit| if on { bit } else { 0 };
        bit(self.read, mapping::READ) | bit(self.write, mapping::WRITE) | bit(self.execute, mapping::EXECUTE)
    }
}

/// What an operation answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is done.
    Done,
    /// Where memory was mapped.
    Address(u64),
    /// What was read.
    Bytes(Vec<u8>),
}

fn one_past(slot: i32) -> u32 {
    u32::try_from(slot).map_or(0, |slot| slot + 1)
}

/// A list of operations, done in order and in one message. The first that fails ends it: those before it are done.
#[derive(Debug, Default)]
pub struct Part<'fd> {
    pub(crate) writer: Writer,
    pub(crate) descriptors: Vec<BorrowedFd<'fd>>,
    /// One past the highest slot that is filled.
    pub(super) slots: u32,
    /// One past the highest slot that is closed.
    pub(super) closed: u32,
    /// The limit of open files of a template's copy, instead of its template's; set when it goes on.
    pub(crate) open_files: Option<Resource>,
}

impl<'fd> Part<'fd> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Part<'fd> {
        Part::default()
    }

    /// How many operations it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.steps.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writer.steps.is_empty()
    }

    pub(crate) fn push(&mut self, op: Op, words: impl Into<String>) -> &mut Part<'fd> {
        self.writer.push_asked(op, words.into(), Fault::Caller);
        self
    }

    pub(crate) fn lend(&mut self, file: BorrowedFd<'fd>) -> u32 {
        self.descriptors.push(file);
        self.descriptors.len() as u32 - 1
    }

    /// Maps `length` bytes of zeroed memory at `at`, or wherever the kernel likes when that is 0; what is there already is not
    /// replaced. Answers with the address.
    ///
    /// Fails with `EEXIST`, `EINVAL` when `at` is no page's beginning, `ENOMEM`, `EPERM` (`man 2 mmap`).
    pub fn map(&mut self, at: u64, length: u64, protection: Protection) -> &mut Part<'fd> {
        let (how, source) = (protection.bits(), mapping::NO_FILE);
        self.push(Op::Map { at, length, page: 0, how, source }, format!("map {length} bytes at {at:#x}"))
    }

    /// Maps `length` bytes of `file` from page `page`, likewise; writes stay in the process. A file that is shorter gives a signal
    /// where it is read past its end, as with any mapping.
    ///
    /// Fails as [`map`](Part::map) does, and with `EACCES` or `ENODEV` for a file that cannot be mapped so.
    pub fn map_file(
        &mut self,
        at: u64,
        length: u64,
        protection: Protection,
        file: BorrowedFd<'fd>,
        page: u32,
    ) -> &mut Part<'fd> {
        let (how, source) = (protection.bits(), self.lend(file));
        self.push(
            Op::Map { at, length, page, how, source },
            format!("map {length} bytes of a file at {at:#x}"),
        )
    }

    /// Removes what is mapped in a range of pages.
    ///
    /// Fails with `EINVAL`, and with `EBUSY` where the stub lies (`man 2 munmap`).
    pub fn unmap(&mut self, at: u64, length: u64) -> &mut Part<'fd> {
        self.push(Op::Unmap { at, length }, format!("unmap {length} bytes at {at:#x}"))
    }

    /// Changes what may be done with a range of pages, all of which must be mapped.
    ///
    /// Fails with `ENOMEM` when one is not, `EACCES`, and `EBUSY` where the stub lies (`man 2 mprotect`).
    pub fn protect(&mut self, at: u64, length: u64, protection: Protection) -> &mut Part<'fd> {
        self.push(
            Op::Protect { at, length, how: protection.bits() },
            format!("protect {length} bytes at {at:#x}"),
        )
    }

    /// Writes into memory that may be written: all of it, or nothing.
    ///
    /// Fails with `EFAULT`, and with `EBUSY` where the stub lies.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> &mut Part<'fd> {
        let span = self.writer.draft.bytes(bytes);
        self.push(Op::Write { at, bytes: span }, format!("write {} bytes at {at:#x}", bytes.len()))
    }

    /// Answers with what is in memory.
    ///
    /// Fails with `EFAULT`.
    pub fn read(&mut self, at: u64, length: u32) -> &mut Part<'fd> {
        self.push(Op::Read { at, length }, format!("read {length} bytes at {at:#x}"))
    }

    /// Has ranges of whole pages (where, and how many bytes) be there before they are used: as if they were written to, or only as if they
    /// were read. Nothing changes in them. Before Linux 5.14 it does nothing.
    ///
    /// Fails with `ENOMEM` when something there is not mapped, and with `EFAULT` when it may not be written, or read; some may be there then
    /// (`man 2 madvise`, `MADV_POPULATE_WRITE`).
    pub fn populate(&mut self, writes: bool, ranges: &[(u64, u64)]) -> &mut Part<'fd> {
        let numbers: Vec<u8> = ranges
            .iter()
            .flat_map(|(at, length)| [at.to_ne_bytes(), length.to_ne_bytes()].concat())
            .collect();
        let at = self.writer.draft.bytes(&numbers).at;
        let how = if writes { mapping::WRITE } else { mapping::READ };
        let ranges = Span { at, count: ranges.len() as u32 };
        self.push(Op::Populate { ranges, how }, "memory that is to be there")
    }

    /// Gives a descriptor, in a slot of this number; what was in it is closed.
    ///
    /// Fails with `EBADF` for a slot beyond the limit of open files.
    pub fn grant(&mut self, slot: i32, file: BorrowedFd<'fd>) -> &mut Part<'fd> {
        let source = self.lend(file);
        self.slots = self.slots.max(one_past(slot));
        self.push(Op::Place { source, slot, closing: 0 }, format!("grant slot {slot}"))
    }

    /// The same, in a slot that an exec closes.
    pub fn grant_until_exec(&mut self, slot: i32, file: BorrowedFd<'fd>) -> &mut Part<'fd> {
        let source = self.lend(file);
        self.slots = self.slots.max(one_past(slot));
        self.push(Op::Place { source, slot, closing: 1 }, format!("grant slot {slot}"))
    }

    /// Closes a slot; one that is empty is no error.
    pub fn close(&mut self, slot: i32) -> &mut Part<'fd> {
        self.closed = self.closed.max(one_past(slot));
        let first = slot as u32;
        self.push(Op::Close { first, last: first }, format!("close slot {slot}"))
    }

    /// Makes a directory the working directory.
    ///
    /// Fails with `ENOTDIR` or `EACCES` (`man 2 fchdir`).
    pub fn chdir(&mut self, directory: BorrowedFd<'fd>) -> &mut Part<'fd> {
        let source = self.lend(directory);
        self.push(Op::ChangeDirectoryTo { source }, "working directory")
    }

    /// Sets a resource limit (`man 2 getrlimit`).
    ///
    /// Fails with `EPERM` when the hard limit would rise, `EINVAL`.
    pub fn set_limit(&mut self, limit: Resource) -> &mut Part<'fd> {
        let Resource { number, bounds } = limit;
        let name = beget_authority::limit::RESOURCES.get(number as usize).copied().unwrap_or("of no name");
        self.push(
            Op::Limit { resource: number, soft: bounds.soft, hard: bounds.hard },
            format!("resource limit {name}"),
        )
    }

    /// Sets the file mode creation mask.
    pub fn umask(&mut self, mask: u32) -> &mut Part<'fd> {
        self.push(Op::Umask { mode: mask & 0o777 }, "umask")
    }

    /// Sets whether other processes of its user may look into it (`PR_SET_DUMPABLE`). Without that it leaves no core file either, and its
    /// own `/proc` files belong to root.
    pub fn set_dumpable(&mut self, dumpable: bool) -> &mut Part<'fd> {
        self.push(Op::Dumpable { value: dumpable.into() }, "dumpable")
    }

    /// Sets the name that `ps` shows.
    pub fn set_name(&mut self, name: &CStr) -> &mut Part<'fd> {
        let name = self.writer.draft.string(name);
        self.push(Op::Name { name }, "name")
    }

    /// As it is sent.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.writer.draft.encode(self.descriptors.len())
    }

    /// Checks it as the embryo will: what would be refused there without words is told here.
    pub(crate) fn check<'p>(&self, plan: &'p [u8]) -> Result<Plan<'p>> {
        if plan.len() > LONGEST || self.descriptors.len() > MOST_GIVEN {
            return Err(Error::kernel("part", Errno::EMSGSIZE, Fault::Caller));
        }
        Plan::check_part(plan, Engine::Fresh).map_err(|refusal| {
            let Malformed::Range(index) = refusal else { return Error::malformed_plan(refusal) };
            match self.writer.draft.ops().get(index as usize) {
                Some(Op::Place { .. }) => self.error(beget_plan::Fault { op: index, errno: Errno::EBADF }),
                Some(Op::Read { .. }) => self.error(beget_plan::Fault { op: index, errno: Errno::EMSGSIZE }),
                _ => Error::malformed_plan(refusal),
            }
        })
    }

    /// What is told when its highest slot is a number that no descriptor can have.
    pub(super) fn slot_error(&self) -> Error {
        let highest = |op: &Op| matches!(op, Op::Place { slot, .. } if one_past(*slot) == self.slots);
        let index = self.writer.draft.ops().iter().position(highest).unwrap_or(0);
        self.error(beget_plan::Fault { op: index as u32, errno: Errno::EBADF })
    }

    /// The answers to its operations, from the bytes that they answered with.
    pub(crate) fn read_answers(&self, mut bytes: &[u8]) -> Result<Vec<Answer>> {
        let short = || Error::new("embryo", "its answer is too short", Fault::Beget);
        let mut take = |length: usize| -> Result<&[u8]> {
            let (taken, rest) = bytes.split_at_checked(length).ok_or_else(short)?;
            bytes = rest;
            Ok(taken)
        };
        let ops = self.writer.draft.ops().iter();
        ops.map(|op| match op {
            Op::Map { .. } => {
                let address = take(8)?.try_into().map(u64::from_ne_bytes).map_err(|_| short())?;
                Ok(Answer::Address(address))
            }
            Op::Read { length, .. } => Ok(Answer::Bytes(take(*length as usize)?.to_vec())),
            _ => Ok(Answer::Done),
        })
        .collect()
    }

    /// What an operation that failed is told as.
    pub(super) fn error(&self, fault: beget_plan::Fault) -> Error {
        tell(fault, &self.writer.steps)
    }
}

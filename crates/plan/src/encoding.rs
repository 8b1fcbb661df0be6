//! How a plan lies in memory, and the one check that foreign bytes must pass.
//!
//! ```text
//! 0    magic, version, length in bytes, number of operations, number of descriptors, three words of zero
//! 32   operations, 32 bytes each: code, seven words
//! ...  data: strings, tables, filters; the last byte is NUL, so that every string in it ends
//! ```
//!
//! Safety idea: a plan may come from another process, so it is an allegation until [`Plan::check`] has looked at every offset
//! in it. All reading goes through slices; nothing here is `unsafe`, and nothing can panic.

use core::fmt;

use beget_sys::namespace::{attribute, kind};
use beget_sys::process::MemoryMap;
use beget_sys::seccomp;

use crate::op::{Engine, Op, Register, Registers, Span, mapping};

/// The first word of a plan.
pub const MAGIC: u32 = u32::from_ne_bytes(*b"BEGT");
/// The encoding that this interpreter reads.
pub const VERSION: u32 = 1;
/// Bytes before the first operation.
pub const HEADER: usize = 32;
/// Bytes of an operation.
pub const RECORD: usize = 32;
/// The longest plan taken, in bytes: room for the kernel's own limit on arguments, and no more.
pub const LONGEST: usize = 16 << 20;
/// The most descriptors that may come with a plan. One that goes to a nursery or an embryo has
/// [`MOST_GIVEN`](crate::message::MOST_GIVEN) at most.
pub const MOST_DESCRIPTORS: usize = 65_536;
/// Room for `LISTEN_PID=` and a number, in words of eight bytes.
pub(crate) const LISTEN_WORDS: usize = 4;

/// Why bytes are not a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The header is cut short, is not one, or says another length than there is.
    Header,
    /// This version cannot be read here.
    Version,
    /// Operation N means nothing, or has a word that must be zero.
    Unknown(u32),
    /// Operation N refers to data, a descriptor or a slot that is not there.
    Range(u32),
    /// Operation N would change the process that shares its memory.
    Engine(u32),
    /// The last operation does not turn the process into a program, or another one does.
    Ending,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Header => f.write_str("the plan's header does not fit it"),
            Malformed::Version => f.write_str("the plan is of another version"),
            Malformed::Unknown(op) => write!(f, "operation {op} of the plan means nothing"),
            Malformed::Range(op) => write!(f, "operation {op} of the plan refers to what is not there"),
            Malformed::Engine(op) => write!(f, "operation {op} of the plan is not for this engine"),
            Malformed::Ending => f.write_str("the plan does not end in the one program it becomes"),
        }
    }
}

impl core::error::Error for Malformed {}

/// A checked plan, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    records: &'a [u8],
    data: &'a [u8],
    descriptors: usize,
    filter_words: usize,
    pointer_words: usize,
    answer: usize,
    ends: bool,
    engine: Engine,
    own: Own,
}

/// What a plan has made its own so far, and may therefore change: another process's it may not.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Kinds of namespaces.
    namespaces: u32,
    /// A root that is being filled.
    root: bool,
}

/// The little-endian word at `at`, which is the machine's own order on every machine supported.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

impl<'a> Plan<'a> {
    /// Checks that `bytes` are a plan that `engine` may run.
    ///
    /// # Errors
    /// A [`Malformed`] that names the first operation at fault. It says nothing about whether the kernel will agree.
    pub fn check(bytes: &'a [u8], engine: Engine) -> Result<Plan<'a>, Malformed> {
        let plan = Plan::check_part(bytes, engine)?;
        if plan.ends { Ok(plan) } else { Err(Malformed::Ending) }
    }

    /// The same for a part of a plan, which need not end in a program: what an embryo is told to do next.
    ///
    /// # Errors
    /// As for [`check`](Plan::check).
    pub fn check_part(bytes: &'a [u8], engine: Engine) -> Result<Plan<'a>, Malformed> {
        let header = |index: usize| word(bytes, index * 4).ok_or(Malformed::Header);
        if header(0)? != MAGIC {
            return Err(Malformed::Header);
        }
        if header(1)? != VERSION {
            return Err(Malformed::Version);
        }
        let (length, count, descriptors) = (header(2)? as usize, header(3)? as usize, header(4)? as usize);
        let reserved = [header(5)?, header(6)?, header(7)?];
        if length != bytes.len() || length > LONGEST || descriptors > MOST_DESCRIPTORS || reserved != [0; 3] {
            return Err(Malformed::Header);
        }
        let size = count.checked_mul(RECORD).ok_or(Malformed::Header)?;
        let body = bytes.get(HEADER..).ok_or(Malformed::Header)?;
        let (records, data) = body.split_at_checked(size).ok_or(Malformed::Header)?;
        if data.last().is_some_and(|byte| *byte != 0) {
            return Err(Malformed::Header);
        }
        let (filter_words, pointer_words, answer, ends) = (0, 0, 0, false);
        let own = Own::default();
        let mut plan =
            Plan { records, data, descriptors, filter_words, pointer_words, answer, ends, engine, own };
        for index in 0..count {
            let number = index as u32;
            let op = plan.op(index).ok_or(Malformed::Unknown(number))?;
            if !op.runs_in(engine) {
                return Err(Malformed::Engine(number));
            }
            if plan.ends {
                return Err(Malformed::Ending);
            }
            plan.ends = matches!(op, Op::Execute { .. } | Op::Enter { .. } | Op::Resume { .. });
            plan.admit(op).ok_or(Malformed::Range(number))?;
        }
        Ok(plan)
    }

    /// Checks what `op` refers to, and remembers how much room it needs.
    fn admit(&mut self, op: Op) -> Option<()> {
        let slot = |slot: i32| (slot >= 0).then_some(());
        match op {
            Op::Place { source, slot: to, closing } => {
                slot(to)?;
                (closing <= 1 && (source as usize) < self.descriptors).then_some(())
            }
            Op::ChangeDirectoryTo { source } => ((source as usize) < self.descriptors).then_some(()),
            Op::Raise { floor } => i32::try_from(floor).ok().map(drop),
            Op::Close { first, last } => (first <= last).then_some(()),
            Op::Foreground { slot: at }
            | Op::ControllingTerminal { slot: at }
            | Op::ChangeDirectory { slot: at }
            | Op::JoinCgroup { slot: at }
            | Op::Landlock { slot: at } => slot(at),
            Op::Processors { mask } => self.bytes(mask).map(drop),
            Op::Groups { groups } => self.words(groups, 4).map(drop),
            Op::JoinKeyring { name, .. } | Op::MakeKeyring { name } => self.string(name).map(drop),
            Op::Filter { instructions } => self.admit_filter(instructions),
            Op::FilterWithListener { asking, refusing, socket } => {
                slot(socket)?;
                self.admit_filter(asking)?;
                self.admit_filter(refusing)
            }
            Op::Map { how, source, .. } => {
                const KNOWN: u32 = mapping::READ | mapping::WRITE | mapping::EXECUTE | mapping::REPLACE;
                self.answer(8)?;
                self.source_or_none(source)?;
                (how & !KNOWN == 0).then_some(())
            }
            Op::Protect { how, .. } => {
                const KNOWN: u32 = mapping::READ | mapping::WRITE | mapping::EXECUTE | mapping::DOWN;
                (how & !KNOWN == 0).then_some(())
            }
            Op::Write { bytes, .. } => self.bytes(bytes).map(drop),
            Op::Read { length, .. } => self.answer(length as usize),
            Op::Populate { ranges, how } => {
                self.words(ranges, size_of::<[u64; 2]>())?;
                (how == mapping::READ || how == mapping::WRITE).then_some(())
            }
            Op::MemoryMap { fields, executable } => {
                self.source_or_none(executable)?;
                self.words(fields, 8).filter(|fields| fields.len() == size_of::<MemoryMap>()).map(drop)
            }
            Op::Name { name } => self.string(name).map(drop),
            Op::Enter { registers, stop } => {
                self.words(registers, 8).filter(|words| words.len() == size_of::<Registers>())?;
                (stop <= 1).then_some(())
            }
            Op::Resume { changes } => {
                let pairs = self.words(changes, size_of::<[u64; 2]>())?.chunks_exact(size_of::<[u64; 2]>());
                let mut numbers = pairs.filter_map(|pair| pair.first_chunk());
                numbers.all(|number| u64::from_ne_bytes(*number) < Register::COUNT).then_some(())
            }
            Op::MapUsers { .. }
            | Op::Namespaces { .. }
            | Op::NewRoot { .. }
            | Op::MakeDirectory { .. }
            | Op::MakeFile { .. }
            | Op::MakeLink { .. }
            | Op::Bind { .. }
            | Op::Mount { .. }
            | Op::Seal { .. }
            | Op::BecomeRoot { .. }
            | Op::HostName { .. }
            | Op::Loopback {} => self.admit_root(op),
            Op::Open { path, slot: to, source } => {
                slot(to)?;
                self.source_or_none(source)?;
                self.string(path).map(drop)
            }
            Op::EnterDirectory { path } => self.string(path).map(drop),
            Op::Allow { slot: at, path, .. } => {
                slot(at)?;
                self.string(path).map(drop)
            }
            Op::Execute { program, arguments, environment, listening } => {
                slot(program)?;
                let pointers = self.strings(arguments)?.checked_add(self.strings(environment)?)?;
                // Two arrays, each ending in null, and one variable more.
                self.pointer_words = pointers.checked_add(3)?;
                (listening <= 1 && arguments.count > 0).then_some(())
            }
            _ => Some(()),
        }
    }

    /// Namespaces and roots: only what the plan has made its own before is changed.
    fn admit_root(&mut self, op: Op) -> Option<()> {
        const KNOWN: u32 = kind::MOUNTS | kind::CGROUPS | kind::NAMES | kind::IPC | kind::NETWORK;
        let is = |holds: bool| holds.then_some(());
        let (filling, owns) = (self.own.root, |kind| self.own.namespaces & kind != 0);
        let plain = |attributes: u32| is(attributes & !attribute::KNOWN == 0);
        match op {
            Op::MapUsers { source, users, groups } => {
                self.bytes(users)?;
                self.bytes(groups)?;
                is((source as usize) < self.descriptors)
            }
            Op::Namespaces { kinds } => {
                is(kinds & !KNOWN == 0)?;
                self.own.namespaces |= kinds;
                Some(())
            }
            Op::NewRoot { options } => {
                is(owns(kind::MOUNTS) && !filling)?;
                self.options(options)?;
                self.own.root = true;
                Some(())
            }
            Op::BecomeRoot { attributes } => {
                is(filling)?;
                plain(attributes)?;
                self.own = Own { namespaces: self.own.namespaces & !kind::MOUNTS, root: false };
                Some(())
            }
            Op::HostName { name } => {
                self.bytes(name)?;
                is(owns(kind::NAMES))
            }
            Op::Loopback {} => is(owns(kind::NETWORK)),
            Op::MakeDirectory { folder, name, mode } => {
                self.names(&[folder, name])?;
                is(filling && mode & !0o1777 == 0)
            }
            Op::MakeFile { folder, name, contents, mode } => {
                self.names(&[folder, name])?;
                self.bytes(contents)?;
                is(filling && mode & !0o777 == 0)
            }
            Op::MakeLink { folder, name, target } => {
                self.names(&[folder, name, target])?;
                is(filling)
            }
            Op::Bind { source, path, at, attributes } => {
                self.names(&[path, at])?;
                plain(attributes)?;
                is(filling && (source as usize) < self.descriptors)
            }
            Op::Mount { filesystem, options, at, attributes } => {
                self.names(&[filesystem, at])?;
                self.options(options)?;
                plain(attributes)?;
                is(filling)
            }
            Op::Seal { at, attributes } => {
                self.string(at)?;
                plain(attributes)?;
                is(filling)
            }
            _ => None,
        }
    }

    fn names(&self, names: &[u32]) -> Option<()> {
        names.iter().try_for_each(|name| self.string(*name).map(drop))
    }

    /// Names and values by turns.
    fn options(&self, table: Span) -> Option<()> {
        self.strings(table).filter(|count| count % 2 == 0).map(drop)
    }

    fn admit_filter(&mut self, instructions: Span) -> Option<()> {
        self.words(instructions, size_of::<seccomp::Instruction>())?;
        let count = instructions.count as usize;
        self.filter_words = self.filter_words.max(count);
        (1..=seccomp::LONGEST).contains(&count).then_some(())
    }

    fn source_or_none(&self, source: u32) -> Option<()> {
        (source == mapping::NO_FILE || (source as usize) < self.descriptors).then_some(())
    }

    /// Remembers that an operation answers with so many bytes.
    fn answer(&mut self, bytes: usize) -> Option<()> {
        self.answer = self.answer.checked_add(bytes).filter(|sum| *sum <= LONGEST)?;
        Some(())
    }

    /// How many strings a table holds, when every one of them is there.
    fn strings(&self, table: Span) -> Option<usize> {
        self.words(table, 4)?;
        for index in 0..table.count {
            self.string_of(table, index)?;
        }
        Some(table.count as usize)
    }

    /// Operation `index`.
    #[must_use]
    pub fn op(&self, index: usize) -> Option<Op> {
        let at = index.checked_mul(RECORD)?;
        let record = self.records.get(at..at.checked_add(RECORD)?)?;
        let mut words = [0; 7];
        for (index, place) in words.iter_mut().enumerate() {
            *place = word(record, 4 + index * 4)?;
        }
        Op::decode(word(record, 0)?, words)
    }

    /// How many operations it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.records.len() / RECORD
    }

    /// Whether its last operation turns the process into a program.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// How many bytes its operations answer with, when all of them succeed.
    #[must_use]
    pub fn answer_bytes(&self) -> usize {
        self.answer
    }

    /// The engine that it was checked for.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// How many descriptors must come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// How many words of eight bytes the interpreter needs beside the plan.
    #[must_use]
    pub fn scratch(&self) -> usize {
        self.filter_words + self.pointer_words + LISTEN_WORDS
    }

    pub(crate) fn filter_words(&self) -> usize {
        self.filter_words
    }

    /// The bytes of a span.
    pub(crate) fn bytes(&self, span: Span) -> Option<&'a [u8]> {
        self.words(span, 1)
    }

    /// The bytes of a span whose elements have `size` bytes.
    pub(crate) fn words(&self, span: Span, size: usize) -> Option<&'a [u8]> {
        let at = span.at as usize;
        let length = (span.count as usize).checked_mul(size)?;
        self.data.get(at..at.checked_add(length)?)
    }

    /// The bytes from `at` on; there is a NUL among them.
    pub(crate) fn string(&self, at: u32) -> Option<&'a [u8]> {
        self.data.get(at as usize..).filter(|rest| !rest.is_empty())
    }

    /// String `index` of a table.
    pub(crate) fn string_of(&self, table: Span, index: u32) -> Option<&'a [u8]> {
        let at = (table.at as usize).checked_add((index as usize).checked_mul(4)?)?;
        self.string(word(self.data, at)?)
    }
}

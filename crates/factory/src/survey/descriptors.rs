//! The open descriptors of a program: what copies would share through them, and what each can be given of its own instead.
//!
//! Safety idea: what is not known to be harmless is refused by its name. What was given at birth is the builder's to answer for, and told;
//! what the program opened itself is a product's own, or there is none.

use std::collections::{BTreeMap, BTreeSet};

use beget::Template;
use rustix::fs::{FileType, OFlags};

use super::birth::{self, Expectations, Identity, Open};
use super::fresh::{Anew, Slot};
use super::hazard::{Hazard, Kind};
use crate::Result;
use crate::tracee::Tracee;

/// Most that a product gets anew: as many descriptors as that come with one message at most.
const MOST: usize = 200;

/// What was found out so far.
pub(super) struct Descriptors<'a> {
    before: &'a Expectations,
    pub(super) table: BTreeMap<i32, Open>,
    pub(super) hazards: Vec<Hazard>,
    pub(super) anew: Vec<Anew>,
    /// Those given anew by whoever asks for a product, as at birth.
    pub(super) standard: Vec<i32>,
    /// Those that the program has made its own: it put something else there, or closed what it was given. And what it did, in words.
    pub(super) taken: BTreeMap<i32, String>,
}

pub(super) fn flags(open: &Open) -> OFlags {
    OFlags::from_bits_retain(open.described.flags)
}

/// What an open file description is like: its descriptor's own flag apart.
pub(super) fn lasting(open: &Open) -> OFlags {
    flags(open).difference(OFlags::CLOEXEC)
}

pub(super) fn slot(number: i32, open: &Open) -> Slot {
    Slot { number, closing: flags(open).contains(OFlags::CLOEXEC) }
}

pub(super) fn name(number: i32, open: &Open) -> String {
    format!("descriptor {number}, {}", open.identity.link())
}

pub(super) fn may_write(open: &Open) -> bool {
    flags(open).intersects(OFlags::WRONLY | OFlags::RDWR)
}

/// Devices without any state: null, zero, full, random, urandom.
fn is_stateless(identity: &Identity) -> bool {
    let (major, minor) = (rustix::fs::major(identity.special), rustix::fs::minor(identity.special));
    identity.file_type() == FileType::CharacterDevice && major == 1 && matches!(minor, 3 | 5 | 7 | 8 | 9)
}

fn is_terminal(identity: &Identity) -> bool {
    // Consoles and serial lines, `/dev/tty` and its kin, pseudo terminals.
    let major = rustix::fs::major(identity.special);
    identity.file_type() == FileType::CharacterDevice && matches!(major, 4 | 5 | 136..=143)
}

impl<'a> Descriptors<'a> {
    /// Looks at all of a stopped program.
    pub(super) fn of(tracee: &mut Tracee, before: &'a Expectations) -> Result<Descriptors<'a>> {
        let table = birth::open(tracee.number())?;
        let mut all = Descriptors {
            before,
            table,
            hazards: Vec::new(),
            anew: Vec::new(),
            standard: Vec::new(),
            taken: BTreeMap::new(),
        };
        all.look_at_taken();
        all.look_at_numbers();
        all.look_at_empty_slots();
        let (mut files, mut pipes, mut counters) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (number, open) in all.table.clone() {
            if number >= Template::SCRATCH || all.is_channel(&open.identity) {
                continue;
            }
            all.look_at_description(number, &open);
            if before.replaced.contains(&number) && all.is_as_given(number, &open) {
                all.look_at_standard(number, &open);
                continue;
            }
            match all.judge(number, &open) {
                Judged::File => files.push(number),
                Judged::Pipe => drop(pipes.insert(open.identity.inode)),
                Judged::Counter(own) => drop(counters.insert(own)),
                Judged::Done => {}
            }
        }
        all.files(tracee, files)?;
        pipes.into_iter().try_for_each(|inode| all.pipe(tracee, inode))?;
        counters.into_iter().for_each(|own| all.counter(own));
        let count: usize = all.anew.iter().map(|one| one.slots.len() + one.writing.len()).sum();
        if count > MOST {
            let why = format!("no more than {MOST} are given to a product anew");
            all.refuse(Kind::File, format!("{count} open descriptors"), why);
        }
        all.standard.sort_unstable();
        Ok(all)
    }

    pub(super) fn refuse(&mut self, kind: Kind, what: impl Into<String>, why: impl Into<String>) {
        self.hazards.push(Hazard::refused(kind, what, why));
    }

    pub(super) fn declare(&mut self, kind: Kind, what: impl Into<String>) {
        self.hazards.push(Hazard::declared(kind, what));
    }

    pub(super) fn cure(&mut self, kind: Kind, what: impl Into<String>, how: impl Into<String>) {
        self.hazards.push(Hazard::cured(kind, what, how));
    }

    fn is_channel(&self, identity: &Identity) -> bool {
        identity.file_type() == FileType::Socket && identity.inode == self.before.channel
    }

    /// Whether what was in this slot at birth is still.
    pub(super) fn is_as_given(&self, number: i32, open: &Open) -> bool {
        self.before.given.get(&number).is_some_and(|given| given.identity.is(&open.identity))
    }

    /// The channel, which is nobody else's; the numbers that stub and copies use.
    fn look_at_numbers(&mut self) {
        const MISSING: &str = "the channel is not where it was given";
        let place = self.table.get(&Template::CHANNEL);
        if !place.is_some_and(|open| self.is_channel(&open.identity)) {
            self.refuse(Kind::Channel, format!("descriptor {}", Template::CHANNEL), MISSING);
        }
        for (number, open) in self.table.clone() {
            if number == Template::CHANNEL {
                continue;
            }
            if self.is_channel(&open.identity) {
                let why = "it is the template's channel, which would answer in its place";
                self.refuse(Kind::Channel, name(number, &open), why);
            } else if number >= Template::SCRATCH {
                let why = format!("numbers from {} on are not the program's", Template::SCRATCH);
                self.refuse(Kind::Number, name(number, &open), why);
            }
        }
    }

    /// Numbers that nobody else is to put anything at.
    fn look_at_taken(&mut self) {
        let own = self.table.iter().filter(|(number, open)| {
            **number < Template::SCRATCH
                && !self.is_channel(&open.identity)
                && !self.is_as_given(**number, open)
        });
        self.taken = own
            .map(|(number, open)| (*number, format!("the program has opened {} there", open.identity.link())))
            .collect();
        let replaced = self.before.replaced.iter();
        let closed =
            replaced.filter(|one| self.before.given.contains_key(one) && !self.table.contains_key(one));
        self.taken.extend(closed.map(|number| (*number, "the program has closed it".to_owned())));
    }

    /// Slots to be given anew that are empty now: as at birth, or closed since.
    fn look_at_empty_slots(&mut self) {
        for number in self.before.replaced.iter().filter(|number| !self.table.contains_key(number)) {
            if self.before.given.contains_key(number) {
                let what = format!("the program closed descriptor {number}, and expects nothing there");
                self.hazards.push(Hazard::declared(Kind::Standard, what));
            } else {
                self.standard.push(*number);
            }
        }
    }

    /// What can be wrong with any of them.
    fn look_at_description(&mut self, number: i32, open: &Open) {
        for lock in &open.described.locks {
            let why = format!("the template holds it as long as it lives, and no product does: {lock}");
            self.refuse(Kind::Lock, format!("a lock on {}", name(number, open)), why);
        }
        if flags(open).contains(OFlags::from_bits_retain(0o20_000)) {
            let why = "it signals the template whenever it is ready (O_ASYNC)";
            self.refuse(Kind::Signal, name(number, open), why);
        }
    }

    fn look_at_standard(&mut self, number: i32, open: &Open) {
        self.standard.push(number);
        let given = self.before.given.get(&number);
        if given.is_some_and(|given| lasting(given) != lasting(open)) {
            let what = format!(
                "the program changed how descriptor {number} works (O_NONBLOCK, say); a product's works as it is given"
            );
            self.declare(Kind::Standard, what);
        }
        let closing = |open: &Open| flags(open).contains(OFlags::CLOEXEC);
        if given.is_some_and(|given| closing(given) != closing(open)) {
            let what = format!("the program had descriptor {number} closed by an exec; a product's is not");
            self.declare(Kind::Standard, what);
        }
    }

    fn judge(&mut self, number: i32, open: &Open) -> Judged {
        let (identity, what) = (&open.identity, name(number, open));
        if is_stateless(identity) {
            return Judged::Done;
        }
        // Another number for what each product is to be given anew is no other thing.
        let original = self.before.given.iter().find(|(_, given)| given.identity.is(identity));
        let original = original.map(|(number, _)| *number);
        if let Some(standard) = original.filter(|one| self.before.replaced.contains(one)) {
            let why =
                format!("it is what stood in for descriptor {standard}, which each product is given anew");
            self.refuse(Kind::Standard, what, why);
            return Judged::Done;
        }
        let given = original.is_some();
        let link = identity.link();
        let unnamed = link.strip_prefix("anon_inode:");
        let kind = match (unnamed, identity.file_type()) {
            (Some("[eventfd]"), _) if !given && open.described.counter.is_some() => {
                return Judged::Counter(open.described.counter.map_or(0, |(_, own, _)| own));
            }
            (Some(_), _) => Kind::Object,
            (None, FileType::RegularFile | FileType::Directory) => return Judged::File,
            // The one of no kind that has a path: held, and of no use but for what is looked up from it.
            (None, FileType::Symlink) if flags(open).contains(OFlags::PATH) => return Judged::Done,
            (None, _) if flags(open).contains(OFlags::PATH) => return Judged::Done,
            (None, FileType::Fifo) if !given && link.starts_with("pipe:[") => return Judged::Pipe,
            (None, FileType::Fifo) => Kind::Pipe,
            (None, FileType::Socket) => Kind::Socket,
            (None, FileType::CharacterDevice) if is_terminal(identity) => Kind::Terminal,
            (None, FileType::CharacterDevice | FileType::BlockDevice) => Kind::Device,
            (None, _) => Kind::Object,
        };
        if given {
            self.declare(kind, format!("{what}, was given to the template: all products share it"));
        } else if kind == Kind::Terminal {
            self.declare(kind, format!("{what}: all products share it"));
        } else {
            self.refuse(kind, what, "all products would share it, and cannot be given their own");
        }
        Judged::Done
    }
}

/// What is to be done about one.
enum Judged {
    File,
    Pipe,
    Counter(u64),
    Done,
}

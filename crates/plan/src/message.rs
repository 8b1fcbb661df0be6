//! What a creator, its nursery and its embryos say to each other, as it lies on their socket.
//!
//! A message is a header of 32 bytes, a body, and descriptors: the first 253 come with the header, each further lot with a word of four
//! bytes after it, before the body.
//!
//! ```text
//! 0    magic, kind, bytes of the body, number of descriptors, four words that depend on the kind
//! ```
//!
//! To an embryo goes [`kind::PART`], whose body is a plan or a part of one; the embryo answers [`kind::HELLO`] once, unasked, and
//! [`kind::ANSWER`] to each part. To a nursery goes [`kind::BATCH`], whose body is a table of [`Item`]s and what they refer to; the
//! nursery answers with as many [`kind::BORN`] as it takes, and tells [`kind::CHANGED`] of its children whenever it happens.
//!
//! A birth may have a label, a number of its creator's choice, by which it is known from then on. If its end is to be [`flag::KEPT`] the
//! nursery remembers it until [`kind::TAKEN`] names the label, and tells it again to whoever asks by [`kind::ROLL`] what there is: so a
//! creator that was killed between hearing of an end and writing it down loses nothing, and neither does the next one.
//!
//! Safety idea: one definition for both sides; a body is an allegation until [`Batch::check`] has looked at every offset in it.

use crate::encoding::LONGEST;

/// The first word of a message.
pub const MAGIC: u32 = u32::from_ne_bytes(*b"BGTM");
/// Bytes of a header.
pub const HEADER: usize = 32;
/// The longest body taken, in bytes.
pub const LONGEST_BODY: usize = 4 * LONGEST;
/// The most descriptors that one message brings.
pub const MOST_GIVEN: usize = 4096;
/// The most births in one batch.
pub const MOST_ITEMS: usize = 65_536;
/// How many births one answer tells of at most, each with its pidfd.
pub const BORN_AT_ONCE: usize = 64;
/// How many living births one answer to [`kind::ROLL`] tells of at most.
pub const LIVING_AT_ONCE: usize = 80;
/// The most ends that a nursery keeps; when there are more they stay with the kernel, as children that are not reaped.
pub const MOST_KEPT: usize = 4096;

/// What a message is.
pub mod kind {
    /// To an embryo: a plan or a part of one. Words: the number of its channel from now on, 1 when it is to go on as a program only after [`GO`].
    pub const PART: u32 = 1;
    /// To a nursery: births. Words: number of items, [`super::flag`]s.
    pub const BATCH: u32 = 2;
    /// To a nursery: send a child a signal. Words: its process number, the signal, its label's low and high word. There is no answer, and
    /// nothing happens where that number is not a birth of that label (0 for none) that has not been reaped.
    pub const SIGNAL: u32 = 3;
    /// To a nursery: the end of a label is written down where its creator is from now on; forget it. Words: the label's low and high word.
    pub const TAKEN: u32 = 4;
    /// To a nursery: tell every kept end once more, then which labelled births live. From a nursery, the answer after those ends: words: how
    /// many, 1 if more follow; the body has a [`Living`](super::Living) for each. The nursery hears nothing else until all is told.
    pub const ROLL: u32 = 5;
    /// To a nursery: end everything and exit.
    pub const QUIT: u32 = 6;
    /// To a template: make a copy of yourself, which does this part first. Words: 1 when the last descriptor is the folder of its cgroup, then low and
    /// high word of what opens its filter. The last one but that is the copy's channel, the others are the part's. The answer is a [`BORN`] of one.
    pub const YIELD: u32 = 7;
    /// To a copy that was told everything before it was there: its birth is known, and it may go on.
    pub const GO: u32 = 8;
    /// From an embryo: where it lies; the body is a [`Hello`](super::Hello) and the auxiliary vector.
    pub const HELLO: u32 = 16;
    /// From an embryo: words: the operation that failed, its errno or 0; the body is what the operations answered.
    pub const ANSWER: u32 = 17;
    /// From a nursery: words: how many; the body has a [`Born`](super::Born) for each, in the order of the batch.
    pub const BORN: u32 = 18;
    /// From a nursery: words: process number, how, status; the body is its resource use and then its label, in eight bytes.
    pub const CHANGED: u32 = 19;
}

/// What is asked of a batch, or of a birth.
pub mod flag {
    /// Of a batch: all of it or nothing. Whoever asks for this has each item stop at its exec; all are continued when all are there.
    pub const ATOMIC: u32 = 1;
    /// Of an item: it becomes a child of the nursery's parent.
    pub const PARENT: u32 = 2;
    /// Of an item: its stops are told too.
    pub const STOPS: u32 = 4;
    /// Of an item, which must have a label: its end is kept until [`super::kind::TAKEN`] names that.
    pub const KEPT: u32 = 8;
    /// Of an item: its pidfd is not sent, for whoever has no room for one.
    pub const UNHELD: u32 = 16;
    /// Of an item: it has no supplementary groups from the beginning on, as one in a user namespace of its own cannot give them up. Takes
    /// CAP_SETGID.
    pub const WITHOUT_GROUPS: u32 = 32;

    /// All that an item may have.
    pub(super) const OF_ITEMS: u32 = PARENT | STOPS | KEPT | UNHELD | WITHOUT_GROUPS;
    /// What is for the nursery's own children alone.
    pub(super) const OF_CHILDREN: u32 = KEPT | UNHELD;
}

/// The namespaces that an item may be born in ([`beget_sys::namespace::kind`]): the others a process makes for itself.
pub const NAMESPACES: u32 = beget_sys::namespace::kind::USERS | beget_sys::namespace::kind::PROCESSES;

/// How a child changed, in [`kind::CHANGED`].
pub mod change {
    /// It ended by itself; the status is its code.
    pub const EXITED: u32 = 1;
    /// A signal ended it; the status is its number.
    pub const KILLED: u32 = 2;
    /// A signal ended it, and it left a core file.
    pub const DUMPED: u32 = 3;
    /// A signal stopped it.
    pub const STOPPED: u32 = 5;
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Of [`kind`].
    pub kind: u32,
    /// Bytes of the body.
    pub length: u32,
    /// How many descriptors come with it.
    pub descriptors: u32,
    /// What they mean depends on the kind.
    pub words: [u32; 4],
}

impl Header {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let [a, b, c, d] = self.words;
        let words = [MAGIC, self.kind, self.length, self.descriptors, a, b, c, d];
        let mut bytes = [0; HEADER];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            for (place, byte) in place.iter_mut().zip(word.to_ne_bytes()) {
                *place = byte;
            }
        }
        bytes
    }

    /// What was sent; `None` when it is no header, or says more than is taken.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
        let at = |index: usize| word(bytes, index * 4);
        let header = Header {
            kind: at(1)?,
            length: at(2)?,
            descriptors: at(3)?,
            words: [at(4)?, at(5)?, at(6)?, at(7)?],
        };
        let fits = header.length as usize <= LONGEST_BODY && header.descriptors as usize <= MOST_GIVEN;
        (at(0)? == MAGIC && fits).then_some(header)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The label that two words mean, the low one first.
#[must_use]
pub fn label(words: [u32; 2]) -> u64 {
    u64::from(words[0]) | u64::from(words[1]) << 32
}

/// The words of a label, the low one first.
#[must_use]
pub fn label_words(label: u64) -> [u32; 2] {
    [label as u32, (label >> 32) as u32]
}

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u32,)*
        }

        impl $name {
            /// Its size in bytes, as it is sent.
            pub const SIZE: usize = [$(stringify!($field)),*].len() * 4;

            /// As it is sent.
            #[must_use]
            pub fn encode(&self) -> [u8; $name::SIZE] {
                let mut bytes = [0; $name::SIZE];
                let words = [$(self.$field),*];
                for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
                    for (place, byte) in place.iter_mut().zip(word.to_ne_bytes()) {
                        *place = byte;
                    }
                }
                bytes
            }

            /// The one at `at`, when it is all there.
            #[must_use]
            pub fn decode(bytes: &[u8], at: usize) -> Option<$name> {
                let mut next = at;
                $(let $field = word(bytes, next)?; next = next.checked_add(4)?;)*
                let _ = next;
                Some($name { $($field),* })
            }
        }
    )*};
}

records! {
    /// A birth in a batch.
    Item {
        /// Where its plan begins in the body.
        plan,
        /// How long it is.
        length,
        /// Where the table of its descriptors begins: numbers of four bytes, each an index into the message's.
        table,
        /// How many descriptors its plan has.
        descriptors,
        /// Index of its cgroup's directory among the message's descriptors, or `u32::MAX`.
        cgroup,
        /// [`flag`]s.
        flags,
        /// Its label, or 0.
        label_low,
        /// High word.
        label_high,
        /// The namespaces that it is born in, bits of [`NAMESPACES`].
        namespaces,
        /// Index of the channel of the template that makes it among the message's descriptors, or `u32::MAX` for the nursery itself. Its plan
        /// is a part then, and the last of its descriptors its own channel.
        template,
        /// What opens its filter for one more copy: low word; 0 for the nursery itself.
        key_low,
        /// High word.
        key_high,
        /// Index among the message's descriptors of the other end of a copy's own channel, or `u32::MAX`: the nursery says [`kind::GO`] over it when
        /// it knows of the birth.
        starter,
    }
    /// What came of a birth.
    Born {
        /// Process number, or 0 when there is none. With a fault: that of a child which its parent has yet to reap.
        number,
        /// The operation that failed, or `u32::MAX` when no process could be made.
        op,
        /// Why, or 0.
        errno,
        /// 1 when its pidfd comes with the message.
        pidfd,
    }
    /// A labelled birth that lives.
    Living {
        /// Its label.
        label_low,
        /// High word.
        label_high,
        /// Process number, as the nursery has it.
        number,
    }
    /// Where an embryo lies. Addresses are in two words, low one first.
    Hello {
        /// The end of the stack that the kernel made.
        stack_low,
        /// High word.
        stack_high,
        /// What the stub lies in begins here.
        home_low,
        /// High word.
        home_high,
        /// And has this many bytes.
        home_bytes,
        /// 1 when the stub can leave for a program: the kernel's own page of calls has a way out of it.
        leaves,
    }
}

impl Item {
    /// One of nothing, in the nursery's own cgroup and by the nursery itself.
    pub const EMPTY: Item = Item {
        plan: 0,
        length: 0,
        table: 0,
        descriptors: 0,
        cgroup: u32::MAX,
        flags: 0,
        label_low: 0,
        label_high: 0,
        namespaces: 0,
        template: u32::MAX,
        key_low: 0,
        key_high: 0,
        starter: u32::MAX,
    };
}

/// A checked batch, borrowed from its body.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    body: &'a [u8],
    items: usize,
    given: usize,
}

/// One birth of a checked batch.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// Its plan, unchecked.
    pub plan: &'a [u8],
    /// Indices into the message's descriptors, four bytes each.
    pub table: &'a [u8],
    /// Index of its cgroup's directory.
    pub cgroup: Option<u32>,
    /// [`flag`]s.
    pub flags: u32,
    /// Its label, or 0.
    pub label: u64,
    /// The namespaces that it is born in.
    pub namespaces: u32,
    /// Index of the channel of its template.
    pub template: Option<u32>,
    /// What opens the filter of its template, low word first.
    pub key: [u32; 2],
    /// Index of what a copy is told to go on over.
    pub starter: Option<u32>,
}

impl<'a> Batch<'a> {
    /// Checks every offset of a batch of `items` births that came with `given` descriptors; not the plans in it.
    #[must_use]
    pub fn check(body: &'a [u8], items: u32, given: usize) -> Option<Batch<'a>> {
        let items = items as usize;
        if items > MOST_ITEMS {
            return None;
        }
        let batch = Batch { body, items, given };
        for index in 0..items {
            batch.birth(index)?;
        }
        Some(batch)
    }

    /// Birth `index`.
    #[must_use]
    pub fn birth(&self, index: usize) -> Option<Birth<'a>> {
        if index >= self.items {
            return None;
        }
        let item = Item::decode(self.body, index.checked_mul(Item::SIZE)?)?;
        let part = |at: u32, length: usize| {
            let at = at as usize;
            self.body.get(at..at.checked_add(length)?)
        };
        let table = part(item.table, (item.descriptors as usize).checked_mul(4)?)?;
        let known = |index: u32| (index as usize) < self.given;
        for entry in table.chunks_exact(4) {
            known(word(entry, 0)?).then_some(())?;
        }
        let one = |index: u32| (index != u32::MAX).then_some(index);
        let [cgroup, template, starter] = [item.cgroup, item.template, item.starter].map(one);
        let Item { flags, namespaces, .. } = item;
        let label = label([item.label_low, item.label_high]);
        // A child of somebody else's has its status told by the kernel, and must be held.
        let anothers = flags & flag::PARENT != 0 && (flags & flag::OF_CHILDREN != 0 || label != 0);
        let unknown = flags & !flag::OF_ITEMS != 0 || namespaces & !NAMESPACES != 0;
        let nameless = flags & flag::KEPT != 0 && label == 0;
        // A copy is where its template is.
        let elsewhere = flags & (flag::PARENT | flag::WITHOUT_GROUPS) != 0 || namespaces != 0;
        let misplaced = template.is_some() && (elsewhere || table.is_empty());
        let unmade = template.is_none() && starter.is_some();
        let absent = cgroup.into_iter().chain(template).chain(starter).any(|index| !known(index));
        if unknown || anothers || nameless || misplaced || unmade || absent {
            return None;
        }
        let plan = part(item.plan, item.length as usize)?;
        let key = [item.key_low, item.key_high];
        Some(Birth { plan, table, cgroup, flags, label, namespaces, template, key, starter })
    }
}

impl Birth<'_> {
    /// The descriptors' places among the message's, in the plan's order.
    pub fn descriptors(&self) -> impl Iterator<Item = usize> {
        self.table.chunks_exact(4).filter_map(|entry| word(entry, 0)).map(|index| index as usize)
    }
}

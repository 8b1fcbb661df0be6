//! What a nursery remembers of its labelled births: the labels of those that live, and ends that nobody has taken yet.
//!
//! Safety idea: each has a room of a fixed size, that is mapped when it is first needed and costs what is used of it. An end that finds
//! its room full is not lost: the caller leaves it with the kernel.

use beget_sys::wait::Usage;
use beget_sys::{Errno, Result};

use super::channel::Body;
use super::nursery::MOST_PROCESSES;
use crate::message::MOST_KEPT;

/// The labels of births that have not been reaped, by process number.
pub(super) struct Labels {
    /// Eight bytes for each number, zero for none.
    table: Option<Body<'static>>,
    /// How many there are.
    pub(super) count: usize,
    /// No number above this one ever had any.
    pub(super) highest: u32,
}

impl Labels {
    pub(super) const NONE: Labels = Labels { table: None, count: 0, highest: 0 };

    /// Makes the room for them.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if self.table.is_none() {
            self.table = Some(Body::zeroed(MOST_PROCESSES * 8)?);
        }
        Ok(())
    }

    pub(super) fn of(&self, number: u32) -> u64 {
        let labels = self.table.as_ref().map_or(&[][..], |table| table.bytes().as_chunks().0);
        labels.get(number as usize).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Gives a number that label instead of the one it had; 0 for none.
    pub(super) fn set(&mut self, number: u32, label: u64) {
        let labels = self.table.as_mut().map_or(&mut [][..], |table| table.bytes_mut().as_chunks_mut().0);
        let Some(place) = labels.get_mut(number as usize) else { return };
        let before = u64::from_ne_bytes(core::mem::replace(place, label.to_ne_bytes()));
        self.count = self.count + usize::from(label != 0) - usize::from(before != 0);
        if label != 0 {
            self.highest = self.highest.max(number);
        }
    }
}

/// An end as it is told.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) label: u64,
    pub(super) number: i32,
    pub(super) how: u32,
    pub(super) status: i32,
    /// 1 when whoever is at the channel has been told.
    told: u32,
    pub(super) usage: Usage,
}

impl End {
    pub(super) fn new(label: u64, number: i32, (how, status): (u32, i32), usage: Usage) -> End {
        End { label, number, how, status, told: 0, usage }
    }
}

/// Ends that are to be told until somebody takes them. A free place has the label 0.
pub(super) struct Kept {
    ends: Option<Body<'static>>,
    pub(super) count: usize,
    untold: usize,
    /// Where the search for one that is untold goes on.
    next: usize,
}

impl Kept {
    pub(super) const NONE: Kept = Kept { ends: None, count: 0, untold: 0, next: 0 };

    /// Makes the room for them.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if self.ends.is_none() {
            self.ends = Some(Body::zeroed(MOST_KEPT * size_of::<End>())?);
        }
        Ok(())
    }

    fn places(&mut self) -> &mut [End] {
        let bytes = self.ends.as_mut().map_or(&mut [][..], Body::bytes_mut);
        // SAFETY: any bytes are such numbers, and a mapping is aligned.
        unsafe { bytes.align_to_mut() }.1
    }

    /// The first place from where `label` is looked for on that has the label `wanted`. Labels mostly count up, so it is the first of all.
    fn find(&mut self, label: u64, wanted: u64) -> Option<&mut End> {
        let begin = label as usize % MOST_KEPT;
        let (before, after) = self.places().split_at_mut_checked(begin)?;
        after.iter_mut().chain(before).find(|end| end.label == wanted)
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.ends.is_some() && self.count < MOST_KEPT
    }

    /// Keeps an end.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room.
    pub(super) fn keep(&mut self, end: End) -> Result<()> {
        *self.find(end.label, 0).ok_or(Errno::ENOMEM)? = end;
        self.count += 1;
        self.untold += 1;
        Ok(())
    }

    /// Forgets the end of a label, if there is one.
    pub(super) fn take(&mut self, label: u64) {
        if label == 0 || self.count == 0 {
            return;
        }
        let Some(place) = self.find(label, label) else { return };
        place.label = 0;
        let told = place.told;
        self.count -= 1;
        self.untold -= usize::from(told == 0);
    }

    /// All of them are to be told once more.
    pub(super) fn tell_again(&mut self) {
        for end in self.places() {
            end.told = 0;
        }
        self.untold = self.count;
    }

    pub(super) fn has_untold(&self) -> bool {
        self.untold != 0
    }

    /// Tells ends that were not told yet, as long as `tell` can.
    pub(super) fn tell(&mut self, mut tell: impl FnMut(&End) -> bool) {
        let mut looked_at = 0;
        while self.untold != 0 && looked_at < MOST_KEPT {
            let at = self.next;
            let Some(end) = self.places().get_mut(at) else { return };
            if end.label != 0 && end.told == 0 {
                if !tell(end) {
                    return;
                }
                end.told = 1;
                self.untold -= 1;
            }
            self.next = (at + 1) % MOST_KEPT;
            looked_at += 1;
        }
    }
}

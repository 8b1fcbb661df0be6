//! Births as they are asked for: the body of a nursery's [`BATCH`](crate::message::kind::BATCH), and the descriptors that it names, each of
//! them once.
//!
//! Safety idea: this is the side that wants something; whoever takes it checks every offset of what is written here.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::vec::Vec;

use crate::message::Item;

/// A birth.
#[derive(Clone, Debug)]
pub struct Birth<'a> {
    /// Its plan.
    pub plan: &'a [u8],
    /// What its plan names; `None` for what whoever passes it on puts in.
    pub descriptors: Vec<Option<BorrowedFd<'a>>>,
    /// The folder of the cgroup that it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Of [`crate::message::flag`].
    pub flags: u32,
    /// The namespaces that it is born with.
    pub namespaces: u32,
    /// The template that makes it.
    pub template: Option<Mother<'a>>,
}

/// The template that makes a copy of itself.
#[derive(Clone, Copy, Debug)]
pub struct Mother<'a> {
    /// Its channel.
    pub channel: BorrowedFd<'a>,
    /// What opens its filter for a copy.
    pub key: u64,
    /// Where the copy is to go on as soon as its nursery knows of it: the other end of the copy's own channel.
    pub starter: Option<BorrowedFd<'a>>,
}

/// The body of a batch, and its descriptors. It is the caller's to see that there are no more of either than one message takes
/// ([`MOST_ITEMS`](crate::message::MOST_ITEMS), [`MOST_GIVEN`](crate::message::MOST_GIVEN)).
#[must_use]
pub fn encode<'a>(births: &[Birth<'a>]) -> (Vec<u8>, Vec<BorrowedFd<'a>>) {
    let mut descriptors: Vec<BorrowedFd<'a>> = Vec::new();
    let mut places: HashMap<i32, u32> = HashMap::new();
    let mut place = |fd: BorrowedFd<'a>| {
        *places.entry(fd.as_raw_fd()).or_insert_with(|| {
            descriptors.push(fd);
            descriptors.len() as u32 - 1
        })
    };
    let mut plans: HashMap<(usize, usize), u32> = HashMap::new();
    let begin = births.len() * Item::SIZE;
    let mut items = Vec::with_capacity(begin);
    let mut rest: Vec<u8> = Vec::new();
    for birth in births {
        let table = (begin + rest.len()) as u32;
        for fd in &birth.descriptors {
            rest.extend(fd.map_or(0, &mut place).to_ne_bytes());
        }
        // Births of one command share its plan.
        let plan = *plans.entry((birth.plan.as_ptr() as usize, birth.plan.len())).or_insert_with(|| {
            let plan = (begin + rest.len()) as u32;
            rest.extend_from_slice(birth.plan);
            rest.resize(rest.len().next_multiple_of(4), 0);
            plan
        });
        let key = birth.template.map_or(0, |mother| mother.key);
        let starter = birth.template.and_then(|mother| mother.starter);
        let item = Item {
            plan,
            length: birth.plan.len() as u32,
            table,
            descriptors: birth.descriptors.len() as u32,
            cgroup: birth.cgroup.map_or(u32::MAX, &mut place),
            flags: birth.flags,
            namespaces: birth.namespaces,
            template: birth.template.map_or(u32::MAX, |mother| place(mother.channel)),
            key_low: key as u32,
            key_high: (key >> 32) as u32,
            starter: starter.map_or(u32::MAX, &mut place),
            ..Item::EMPTY
        };
        items.extend(item.encode());
    }
    items.extend(rest);
    (items, descriptors)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use std::vec;

    use crate::message::Batch;

    use super::*;

    #[test]
    fn a_nursery_takes_what_is_written() {
        let files: Vec<std::fs::File> = (0..2).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let plan = [1u8, 2, 3];
        let birth = |flags| Birth {
            plan: &plan,
            descriptors: vec![None, Some(files[1].as_fd()), Some(files[0].as_fd())],
            cgroup: None,
            flags,
            namespaces: 0,
            template: None,
        };
        let (body, descriptors) = encode(&[birth(0), birth(0)]);
        let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(numbers, [files[1].as_raw_fd(), files[0].as_raw_fd()]);
        assert!(Batch::check(&body, 2, descriptors.len()).is_some());
        // Both items are of one plan.
        let one = encode(&[birth(0)]).0.len();
        assert_eq!(body.len(), one + Item::SIZE + 3 * 4);
        let (first, second) = (Item::decode(&body, 0).unwrap(), Item::decode(&body, Item::SIZE).unwrap());
        assert_eq!(first.plan, second.plan);
        assert_ne!(first.table, second.table);
    }
}

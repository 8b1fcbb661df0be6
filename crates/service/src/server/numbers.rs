//! How many descriptors of this process each user has, and how many bytes that wait: nobody takes those of others.
//!
//! A request that brings descriptors has a share of them until it is decided, a domain for what is held for its life, a connection for what it is
//! given and has not taken, or for the half of a packet. Connections themselves are counted where they are.
//!
//! Safety idea: a share is a value, and gives back what it counts when it is dropped, wherever that is.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Descriptors, and bytes.
#[derive(Debug, Default)]
struct Count {
    descriptors: Cell<usize>,
    bytes: Cell<usize>,
}

impl Count {
    fn add(&self, descriptors: usize, bytes: usize) {
        self.descriptors.set(self.descriptors.get() + descriptors);
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn take_away(&self, descriptors: usize, bytes: usize) {
        self.descriptors.set(self.descriptors.get() - descriptors);
        self.bytes.set(self.bytes.get() - bytes);
    }
}

/// What somebody has of both, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    all: Rc<Count>,
    own: Rc<Count>,
    descriptors: usize,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.take_away(self.descriptors, self.bytes);
        self.own.take_away(self.descriptors, self.bytes);
    }
}

/// What everybody has.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    all: Rc<Count>,
    users: HashMap<u32, Rc<Count>>,
}

impl Numbers {
    /// Counts so many as this user's, whether there is room or not.
    pub(crate) fn share(&mut self, user: u32, descriptors: usize, bytes: usize) -> Share {
        if self.users.len() > 64 && !self.users.contains_key(&user) {
            self.users.retain(|_, count| Rc::strong_count(count) > 1);
        }
        let own = Rc::clone(self.users.entry(user).or_default());
        own.add(descriptors, bytes);
        self.all.add(descriptors, bytes);
        Share { all: Rc::clone(&self.all), own, descriptors, bytes }
    }

    /// How many descriptors and bytes are counted.
    pub(crate) fn all(&self) -> (usize, usize) {
        (self.all.descriptors.get(), self.all.bytes.get())
    }

    /// And of this user.
    pub(crate) fn of(&self, user: u32) -> (usize, usize) {
        self.users.get(&user).map_or((0, 0), |count| (count.descriptors.get(), count.bytes.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let mut numbers = Numbers::default();
        let first = numbers.share(1, 3, 10);
        let second = numbers.share(1, 2, 0);
        let third = numbers.share(2, 5, 1);
        assert_eq!((numbers.all(), numbers.of(1), numbers.of(2)), ((10, 11), (5, 10), (5, 1)));
        drop((first, third));
        assert_eq!((numbers.all(), numbers.of(1), numbers.of(2)), ((2, 0), (2, 0), (0, 0)));
        for user in 3..200 {
            numbers.share(user, 1, 1);
        }
        assert!(numbers.users.len() < 100);
        assert_eq!(numbers.of(1), (2, 0));
        drop(second);
        assert_eq!(numbers.all(), (0, 0));
    }
}

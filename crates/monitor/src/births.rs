//! A request for births: looked at whole, and written anew for the nursery that it goes to.
//!
//! Safety idea: what reaches a nursery was encoded here, from parts that were checked, with the descriptors that came with this very request
//! and no others. What a birth is known by, and what is told of it, is the monitor's to say and not the client's.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use beget_plan::message::{self, Batch, Item, LONGEST_BODY, MOST_GIVEN, flag, label_words};
use beget_plan::{Engine, Plan};
use beget_sys::Errno;

use crate::fields::Reader;
use crate::peer::Refusal;
use crate::protocol::{NUMBERS_END, place};

/// What of an item's flags whoever asks may say.
const ALLOWED: u32 = flag::KEPT | flag::UNHELD | flag::WITHOUT_GROUPS;
/// How many descriptors of a nursery's plan the monitor puts in.
pub const PUT_IN: usize = 3;

/// What a nursery that is born in another is known by there: no domain's number.
pub(crate) fn label_of(nursery: u64) -> u64 {
    NUMBERS_END | nursery
}

/// The number of the nursery that is known by this label, if it is one.
pub(crate) fn nursery_of(label: u64) -> Option<u64> {
    (label > NUMBERS_END).then_some(label & !NUMBERS_END)
}

/// A checked request; the batch is borrowed from its body.
#[derive(Debug)]
pub struct Request<'a> {
    /// Whose births they are, or 0.
    pub client: u64,
    /// Where: [`place`].
    pub place: u32,
    /// The number of the nursery that is meant, or 0.
    pub nursery: u64,
    /// All or nothing.
    pub atomic: bool,
    batch: Batch<'a>,
    count: usize,
    /// The labels of its domains, in order.
    pub labels: Vec<u64>,
}

/// A batch as a nursery takes it.
#[derive(Debug)]
pub struct Encoded {
    /// The message's body.
    pub body: Vec<u8>,
    /// Its descriptors.
    pub descriptors: Vec<Rc<OwnedFd>>,
}

fn wrong(words: impl Into<String>) -> Refusal {
    Refusal::new(Errno::EINVAL, words)
}

/// Checks the body of a request that came with `given` descriptors.
///
/// # Errors
/// What is wrong with it: `EINVAL`, or `E2BIG` where it is more than a nursery takes.
pub fn check(body: &[u8], given: usize) -> Result<Request<'_>, Refusal> {
    let mut reader = Reader::new(body);
    let fields = (|| Some((reader.u64()?, reader.u32()?, reader.u64()?, reader.u32()?, reader.u32()?)))();
    let (client, place, nursery, flags, count) =
        fields.ok_or_else(|| wrong("births: the request is cut short"))?;
    let named = match place {
        place::SHARED => nursery == 0,
        place::FRESH | place::PLANNED | place::EXISTING | place::WITHIN => {
            nursery != 0 && nursery < NUMBERS_END
        }
        _ => return Err(wrong("births: there is no such place")),
    };
    if !named || flags & !flag::ATOMIC != 0 {
        return Err(wrong("births: the nursery's number or a flag means nothing"));
    }
    let rest = reader.rest();
    if rest.len() > LONGEST_BODY || given > MOST_GIVEN - PUT_IN {
        return Err(Refusal::new(Errno::E2BIG, "births: they are more than a nursery takes"));
    }
    let lies = || wrong("births: an offset, index or flag in the batch means nothing");
    let batch = Batch::check(rest, count, given).ok_or_else(lies)?;
    let count = count as usize;
    let first = usize::from(matches!(place, place::PLANNED | place::WITHIN));
    if count < 1 && place != place::FRESH {
        return Err(wrong("births: there are none"));
    }
    let mut checked = HashSet::new();
    let mut labels = Vec::with_capacity(count);
    let mut known = HashSet::with_capacity(count);
    for index in 0..count {
        let birth = batch.birth(index).ok_or_else(lies)?;
        let plan = (birth.plan.as_ptr() as usize, birth.plan.len());
        if checked.insert(plan)
            && let Err(malformed) = Plan::check(birth.plan, Engine::Vfork)
        {
            return Err(wrong(format!("births: plan {index} is none: {malformed:?}")));
        }
        if birth.flags & !ALLOWED != 0 {
            return Err(wrong(format!("births: item {index} has a flag that is not for clients")));
        }
        if birth.template.is_some() {
            return Err(wrong(format!("births: item {index} is a template's, which is not for clients")));
        }
        if index < first {
            if birth.label != 0 || birth.flags & flag::KEPT != 0 || birth.table.len() < PUT_IN * 4 {
                return Err(wrong(
                    "births: the plan of a nursery has no label, and three descriptors at least",
                ));
            }
        } else if birth.label == 0 || birth.label >= NUMBERS_END || !known.insert(birth.label) {
            return Err(wrong(format!("births: item {index} has no label of its own")));
        } else {
            labels.push(birth.label);
        }
    }
    let atomic = flags & flag::ATOMIC != 0;
    Ok(Request { client, place, nursery, atomic, batch, count, labels })
}

/// How domains are born.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Their ends are kept until they are taken.
    pub kept: bool,
    /// Their pidfds are wanted, for their numbers mean nothing here.
    pub held: bool,
}

impl Request<'_> {
    /// Whether the first item makes a nursery.
    fn first(&self) -> usize {
        usize::from(matches!(self.place, place::PLANNED | place::WITHIN))
    }

    /// The nursery's own birth, of a request that has one, with what the monitor puts in for its first descriptors.
    #[must_use]
    pub fn nursery(&self, given: &[Rc<OwnedFd>], put_in: [Rc<OwnedFd>; PUT_IN]) -> Option<Encoded> {
        let mut birth = self.batch.birth(0).filter(|_| self.first() == 1)?;
        // So that its parent lasts as long as it does, and tells the next monitor of it.
        birth.label = label_of(self.nursery);
        let mut encoder = Encoder::new(1);
        let own = put_in
            .into_iter()
            .chain(birth.descriptors().skip(PUT_IN).filter_map(|index| given.get(index).cloned()));
        let table: Vec<Rc<OwnedFd>> = own.collect();
        // It is not held: its parent tells of its end.
        let flags = birth.flags & flag::WITHOUT_GROUPS | flag::UNHELD;
        encoder.add(&birth, flags, table, given);
        Some(encoder.finish())
    }

    /// Whether its nursery is in a PID namespace of its own.
    #[must_use]
    pub fn has_own_numbers(&self) -> bool {
        let birth = self.batch.birth(0).filter(|_| self.first() == 1);
        birth.is_some_and(|birth| birth.namespaces & beget_sys::namespace::kind::PROCESSES != 0)
    }

    /// The domains' births.
    #[must_use]
    pub fn domains(&self, given: &[Rc<OwnedFd>], manner: Manner) -> Encoded {
        let mut encoder = Encoder::new(self.labels.len());
        for index in self.first()..self.count {
            let Some(birth) = self.batch.birth(index) else { continue };
            let kept = if manner.kept { flag::KEPT } else { 0 };
            let held = if manner.held { 0 } else { flag::UNHELD };
            let flags = birth.flags & flag::WITHOUT_GROUPS | kept | held;
            let table = birth.descriptors().filter_map(|index| given.get(index).cloned()).collect();
            encoder.add(&birth, flags, table, given);
        }
        encoder.finish()
    }
}

/// Writes a batch: plans and descriptors that several births share are sent once.
struct Encoder {
    begin: usize,
    items: Vec<u8>,
    rest: Vec<u8>,
    plans: HashMap<(usize, usize), u32>,
    places: HashMap<usize, u32>,
    descriptors: Vec<Rc<OwnedFd>>,
}

impl Encoder {
    fn new(count: usize) -> Encoder {
        Encoder {
            begin: count * Item::SIZE,
            items: Vec::with_capacity(count * Item::SIZE),
            rest: Vec::new(),
            plans: HashMap::new(),
            places: HashMap::new(),
            descriptors: Vec::new(),
        }
    }

    fn place(&mut self, fd: &Rc<OwnedFd>) -> u32 {
        *self.places.entry(Rc::as_ptr(fd) as usize).or_insert_with(|| {
            self.descriptors.push(Rc::clone(fd));
            self.descriptors.len() as u32 - 1
        })
    }

    fn at(&self) -> u32 {
        (self.begin + self.rest.len()) as u32
    }

    fn add(
        &mut self,
        birth: &message::Birth<'_>,
        flags: u32,
        table: Vec<Rc<OwnedFd>>,
        given: &[Rc<OwnedFd>],
    ) {
        let begins = self.at();
        let count = table.len() as u32;
        for fd in &table {
            let place = self.place(fd);
            self.rest.extend(place.to_ne_bytes());
        }
        let key = (birth.plan.as_ptr() as usize, birth.plan.len());
        let plan = match self.plans.get(&key) {
            Some(plan) => *plan,
            None => {
                let plan = self.at();
                self.rest.extend_from_slice(birth.plan);
                self.rest.resize(self.rest.len().next_multiple_of(4), 0);
                self.plans.insert(key, plan);
                plan
            }
        };
        let cgroup = birth.cgroup.and_then(|index| given.get(index as usize)).map(|fd| self.place(fd));
        let [label_low, label_high] = label_words(birth.label);
        let item = Item {
            plan,
            length: birth.plan.len() as u32,
            table: begins,
            descriptors: count,
            cgroup: cgroup.unwrap_or(u32::MAX),
            flags,
            label_low,
            label_high,
            namespaces: birth.namespaces,
            ..Item::EMPTY
        };
        self.items.extend(item.encode());
    }

    fn finish(self) -> Encoded {
        let mut body = self.items;
        body.extend(self.rest);
        Encoded { body, descriptors: self.descriptors }
    }
}

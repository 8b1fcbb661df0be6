//! A request's batch, divided by where its births happen.
//!
//! Safety idea: a batch was checked before it comes here; labels are put in that are ours, and what came in their place is gone. Each part
//! has the descriptors that its own plans name, and no others.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;

use beget_monitor::protocol::place;
use beget_plan::message::{Batch, Item, flag, label_words};
use beget_sys::Errno;

/// What is asked of the monitor in one message.
#[derive(Debug)]
pub(crate) struct Births {
    /// [`place`].
    pub(crate) place: u32,
    pub(crate) nursery: u64,
    pub(crate) atomic: bool,
    /// How many items.
    pub(crate) count: u32,
    /// The domains among them, in their order.
    pub(crate) ids: Vec<u64>,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// How a batch is to be divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) atomic: bool,
    /// Its first item makes the nursery of the one domain.
    pub(crate) planned: bool,
    /// The number of the nursery that the next item makes, in that of the domain; or 0.
    pub(crate) spawner: u64,
    /// The nursery that all is born in, where that is made already.
    pub(crate) existing: Option<u64>,
}

/// Divides a batch: what is asked first, and what is asked when that is there, one after the other. `domains` are labels, each with the number of the domain's own
/// nursery, or 0.
///
/// # Errors
/// `EMFILE`, when what several parts need cannot be copied.
pub(crate) fn divide(
    bytes: &[u8],
    given: Vec<OwnedFd>,
    domains: &[(u64, u64)],
    shape: Shape,
) -> Result<(Vec<Births>, VecDeque<Births>), Errno> {
    let Shape { atomic, planned, spawner, existing } = shape;
    let before = usize::from(planned) + usize::from(spawner != 0);
    let labels: Vec<u64> = domains.iter().map(|(id, _)| *id).collect();
    let shared = domains.iter().all(|(_, nursery)| *nursery == 0);
    if before == 0 && (shared || domains.len() == 1) {
        let (place, nursery) = match (existing, domains.first()) {
            (Some(nursery), _) => (place::EXISTING, nursery),
            (None, Some((_, nursery))) if *nursery != 0 => (place::FRESH, *nursery),
            _ => (place::SHARED, 0),
        };
        let mut body = bytes.to_vec();
        label(&mut body, &labels);
        let count = labels.len() as u32;
        return Ok((
            vec![Births { place, nursery, atomic, count, ids: labels, body, descriptors: given }],
            VecDeque::new(),
        ));
    }
    let Some(batch) = Batch::check(bytes, (before + domains.len()) as u32, given.len()) else {
        return Err(Errno::EINVAL);
    };
    let part = |place, nursery, items: &[(usize, u64)]| {
        let (body, descriptors) = select(&batch, items, &given)?;
        let ids = items.iter().map(|(_, id)| *id).filter(|id| *id != 0).collect();
        Ok(Births { place, nursery, atomic, count: items.len() as u32, ids, body, descriptors })
    };
    if let (true, Some((id, nursery))) = (spawner != 0, domains.first()) {
        // The domain's own nursery; in it that for what the domain creates; and only then the domain.
        let own = match planned {
            true => part(place::PLANNED, *nursery, &[(0, 0)])?,
            false => part(place::FRESH, *nursery, &[])?,
        };
        let within = part(place::WITHIN, spawner, &[(usize::from(planned), 0)])?;
        let domain = part(place::EXISTING, *nursery, &[(before, *id)])?;
        return Ok((vec![own], VecDeque::from([within, domain])));
    }
    let mut rest = Vec::new();
    let numbered = domains.iter().enumerate().map(|(index, (id, nursery))| (before + index, *id, *nursery));
    let alone: Vec<(usize, u64)> =
        numbered.clone().filter(|(.., nursery)| *nursery == 0).map(|(index, id, _)| (index, id)).collect();
    if !alone.is_empty() {
        rest.push(part(place::SHARED, 0, &alone)?);
    }
    for (index, id, nursery) in numbered.filter(|(.., nursery)| *nursery != 0) {
        rest.push(match planned {
            true => part(place::PLANNED, nursery, &[(0, 0), (index, id)])?,
            false => part(place::FRESH, nursery, &[(index, id)])?,
        });
    }
    Ok((rest, VecDeque::new()))
}

/// An item of a domain.
fn labelled(mut item: Item, id: u64) -> Item {
    [item.label_low, item.label_high] = label_words(id);
    let ours = flag::KEPT | flag::UNHELD;
    item.flags = if id == 0 { item.flags & !ours } else { item.flags | ours };
    item
}

/// Puts the labels in.
fn label(body: &mut [u8], labels: &[u64]) {
    for (index, id) in labels.iter().enumerate() {
        let at = index * Item::SIZE;
        if let (Some(item), Some(place)) = (Item::decode(body, at), body.get_mut(at..at + Item::SIZE)) {
            place.copy_from_slice(&labelled(item, *id).encode());
        }
    }
}

/// A batch of these items of another, each with its label.
fn select(
    batch: &Batch<'_>,
    items: &[(usize, u64)],
    given: &[OwnedFd],
) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    let mut places: HashMap<usize, u32> = HashMap::new();
    let mut place = |index: usize| match places.get(&index) {
        Some(place) => Ok(*place),
        None => {
            let file = given.get(index).ok_or(Errno::EINVAL)?;
            let copy =
                rustix::io::fcntl_dupfd_cloexec(file, 3).map_err(|errno| Errno(errno.raw_os_error()))?;
            descriptors.push(copy);
            places.insert(index, descriptors.len() as u32 - 1);
            Ok(descriptors.len() as u32 - 1)
        }
    };
    let mut plans: HashMap<(usize, usize), u32> = HashMap::new();
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let begin = items.len() * Item::SIZE;
    for (index, id) in items {
        let birth = batch.birth(*index).ok_or(Errno::EINVAL)?;
        let table = (begin + rest.len()) as u32;
        for index in birth.descriptors() {
            rest.extend(place(index)?.to_ne_bytes());
        }
        let plan = *plans.entry((birth.plan.as_ptr() as usize, birth.plan.len())).or_insert_with(|| {
            let plan = (begin + rest.len()) as u32;
            rest.extend_from_slice(birth.plan);
            rest.resize(rest.len().next_multiple_of(4), 0);
            plan
        });
        let cgroup = birth.cgroup.map_or(Ok(u32::MAX), |index| place(index as usize))?;
        let item = Item {
            plan,
            length: birth.plan.len() as u32,
            table,
            descriptors: (birth.table.len() / 4) as u32,
            cgroup,
            flags: birth.flags,
            namespaces: birth.namespaces,
            ..Item::EMPTY
        };
        head.extend(labelled(item, *id).encode());
    }
    head.extend(rest);
    Ok((head, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// A batch whose plans are words, each with one descriptor: a pipe's end.
    fn batch(plans: &[&str], given: usize) -> (Vec<u8>, Vec<OwnedFd>) {
        let begin = plans.len() * Item::SIZE;
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        for (index, plan) in plans.iter().enumerate() {
            let table = (begin + rest.len()) as u32;
            rest.extend((index as u32).to_ne_bytes());
            let item = Item {
                plan: (begin + rest.len()) as u32,
                length: plan.len() as u32,
                table,
                descriptors: 1,
                label_low: 77,
                ..Item::EMPTY
            };
            rest.extend(plan.bytes());
            head.extend(item.encode());
        }
        head.extend(rest);
        let files = (0..given).map(|_| OwnedFd::from(std::io::pipe().unwrap().0)).collect();
        (head, files)
    }

    fn shape(planned: bool, spawner: u64, existing: Option<u64>) -> Shape {
        Shape { atomic: false, planned, spawner, existing }
    }

    /// An item: its plan, its label, the inode of its descriptor.
    type Told = (String, u64, u64);

    /// What each part holds: place, nursery, items.
    fn told(parts: &[Births]) -> Vec<(u32, u64, Vec<Told>)> {
        let one = |births: &Births| {
            let batch = Batch::check(&births.body, births.count, births.descriptors.len()).unwrap();
            let item = |index| {
                let birth = batch.birth(index).unwrap();
                let place = birth.descriptors().next().unwrap();
                let inode = rustix::fs::fstat(births.descriptors[place].as_fd()).unwrap().st_ino;
                assert_eq!(birth.flags, if birth.label == 0 { 0 } else { flag::KEPT | flag::UNHELD });
                (String::from_utf8(birth.plan.to_vec()).unwrap(), birth.label, inode)
            };
            (births.place, births.nursery, (0..births.count as usize).map(item).collect())
        };
        parts.iter().map(one).collect()
    }

    #[test]
    fn each_is_born_where_it_belongs() {
        let (bytes, files) = batch(&["a", "b", "c"], 3);
        let inodes: Vec<u64> = files.iter().map(|file| rustix::fs::fstat(file).unwrap().st_ino).collect();
        let copies = || files.iter().map(|file| file.try_clone().unwrap()).collect::<Vec<_>>();
        let item = |plan: &str, label, index: usize| (plan.to_owned(), label, inodes[index]);
        // All share one.
        let (first, then) =
            divide(&bytes, copies(), &[(5, 0), (6, 0), (7, 0)], shape(false, 0, None)).unwrap();
        assert!(then.is_empty());
        let all = vec![item("a", 5, 0), item("b", 6, 1), item("c", 7, 2)];
        assert_eq!(told(&first), [(place::SHARED, 0, all.clone())]);
        // In one that is there.
        let (first, _) =
            divide(&bytes, copies(), &[(5, 0), (6, 0), (7, 0)], shape(false, 0, Some(9))).unwrap();
        assert_eq!(told(&first), [(place::EXISTING, 9, all)]);
        // Some have one of their own.
        let (first, _) = divide(&bytes, copies(), &[(5, 5), (6, 0), (7, 7)], shape(false, 0, None)).unwrap();
        let expected = [
            (place::SHARED, 0, vec![item("b", 6, 1)]),
            (place::FRESH, 5, vec![item("a", 5, 0)]),
            (place::FRESH, 7, vec![item("c", 7, 2)]),
        ];
        assert_eq!(told(&first), expected);
        // A private root, and the nursery of a `spawn` capability in it.
        let (first, mut then) = divide(&bytes, copies(), &[(5, 5)], shape(true, 6, None)).unwrap();
        assert_eq!(told(&first), [(place::PLANNED, 5, vec![item("a", 0, 0)])]);
        let expected =
            [(place::WITHIN, 6, vec![item("b", 0, 1)]), (place::EXISTING, 5, vec![item("c", 5, 2)])];
        assert_eq!(told(then.make_contiguous()), expected);
    }
}

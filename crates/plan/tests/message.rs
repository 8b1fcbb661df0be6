//! Messages: what is written reads back, and foreign bytes are an answer.

use beget_plan::message::{Batch, Header, Item, MOST_ITEMS, NAMESPACES, flag, kind, label_words};
use beget_sys::namespace::kind as kind_of;

fn batch(items: &[Item], rest: &[u8]) -> Vec<u8> {
    items.iter().flat_map(Item::encode).chain(rest.iter().copied()).collect()
}

const ONE: Item = Item {
    plan: Item::SIZE as u32 + 4,
    length: 4,
    table: Item::SIZE as u32,
    descriptors: 1,
    flags: flag::STOPS,
    ..Item::EMPTY
};

#[test]
fn a_header_reads_back() {
    let header = Header { kind: kind::BATCH, length: 7, descriptors: 3, words: [1, 2, 3, u32::MAX] };
    assert_eq!(Header::decode(&header.encode()), Some(header));
    let mut changed = header.encode();
    changed[0] ^= 1;
    assert_eq!(Header::decode(&changed), None, "another magic");
    let long = Header { length: u32::MAX, ..header };
    assert_eq!(Header::decode(&long.encode()), None, "longer than anybody takes");
    let many = Header { descriptors: 1 << 20, ..header };
    assert_eq!(Header::decode(&many.encode()), None, "more descriptors than anybody takes");
}

#[test]
fn a_batch_reads_back() {
    let body = batch(&[ONE], &[0, 0, 0, 0, b'p', b'l', b'a', b'n']);
    let checked = Batch::check(&body, 1, 1).expect("a batch");
    let birth = checked.birth(0).expect("its one item");
    assert_eq!((birth.plan, birth.cgroup, birth.flags), (&b"plan"[..], None, flag::STOPS));
    assert_eq!(birth.descriptors().collect::<Vec<_>>(), [0]);
    assert!(checked.birth(1).is_none());
}

#[test]
fn a_label_and_what_goes_with_it_read_back() {
    let label = u64::MAX - 5;
    let [label_low, label_high] = label_words(label);
    assert_eq!(beget_plan::message::label([label_low, label_high]), label);
    let flags = flag::KEPT | flag::UNHELD | flag::WITHOUT_GROUPS;
    let item = Item { flags, label_low, label_high, namespaces: NAMESPACES, ..ONE };
    let body = batch(&[item], &[0, 0, 0, 0, b'p', b'l', b'a', b'n']);
    let birth = Batch::check(&body, 1, 1).and_then(|batch| batch.birth(0)).expect("a batch of one");
    assert_eq!((birth.label, birth.flags, birth.namespaces), (label, flags, NAMESPACES));
}

#[test]
fn offsets_that_lie_are_refused() {
    let rest = [0, 0, 0, 0, b'p', b'l', b'a', b'n'];
    let refused = |item: Item, given| Batch::check(&batch(&[item], &rest), 1, given).is_none();
    assert!(refused(ONE, 0), "a descriptor that did not come");
    assert!(refused(Item { length: 5, ..ONE }, 1), "a plan past the end");
    assert!(refused(Item { plan: u32::MAX, ..ONE }, 1));
    assert!(refused(Item { length: u32::MAX, ..ONE }, 1));
    assert!(refused(Item { table: Item::SIZE as u32 + 6, ..ONE }, 1), "a table past the end");
    assert!(refused(Item { descriptors: u32::MAX, ..ONE }, 1));
    assert!(refused(Item { cgroup: 1, ..ONE }, 1), "a cgroup that did not come");
    assert!(refused(Item { starter: 0, ..ONE }, 1), "nobody to be told to go on");
    assert!(refused(Item { template: 0, starter: 1, ..ONE }, 1), "a channel that did not come");
    assert!(!refused(Item { template: 0, starter: 0, ..ONE }, 1));
    assert!(refused(Item { flags: 64, ..ONE }, 1), "a flag that is none");
    assert!(refused(Item { flags: flag::ATOMIC, ..ONE }, 1), "a flag of batches");
    assert!(refused(Item { flags: flag::KEPT, ..ONE }, 1), "an end without a name to be kept under");
    for flags in [flag::UNHELD, flag::KEPT] {
        let item = Item { flags: flag::PARENT | flags, label_high: 1, ..ONE };
        assert!(refused(item, 1), "what only a parent can do, of another's child");
    }
    assert!(refused(Item { flags: flag::PARENT, label_low: 1, ..ONE }, 1), "a label of another's child");
    assert!(refused(Item { namespaces: kind_of::MOUNTS, ..ONE }, 1), "a namespace that it makes for itself");
    assert!(refused(Item { namespaces: u32::MAX, ..ONE }, 1));
    let body = batch(&[ONE], &rest);
    assert!(Batch::check(&body, 2, 1).is_none(), "more items than there are");
    assert!(Batch::check(&body, MOST_ITEMS as u32 + 1, 1).is_none());
}

proptest::proptest! {
    #[test]
    fn foreign_bytes_are_an_answer_not_a_panic(
        body in proptest::collection::vec(proptest::prop_oneof![0u8..4, proptest::prelude::any::<u8>()], 0..300),
        items in 0u32..20,
        given in 0usize..8,
    ) {
        if let Some(batch) = Batch::check(&body, items, given) {
            for index in 0..items as usize {
                let birth = batch.birth(index).expect("it was checked");
                proptest::prop_assert!(birth.descriptors().all(|place| place < given));
                proptest::prop_assert!(birth.plan.len() <= body.len());
                proptest::prop_assert!(birth.namespaces & !NAMESPACES == 0);
                proptest::prop_assert!(birth.flags & flag::KEPT == 0 || birth.label != 0);
            }
        }
    }
}

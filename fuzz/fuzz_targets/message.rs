//! Any bytes given to a nursery as a batch: an answer, never a panic, and what is accepted refers to nothing that did not come; the
//! plans in it go the way that the nursery sends them.

#![no_main]

use beget_plan::message::{Batch, HEADER, Header, NAMESPACES, flag, label, label_words};
use beget_plan::stub::leave;
use beget_plan::{Engine, Plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(way) = leave::find(bytes) {
        assert_eq!(bytes[way.at..way.at + 2], [0x0f, 0x05]);
    }
    let Some((head, body)) = bytes.split_first_chunk::<HEADER>() else { return };
    let Some(header) = Header::decode(head) else { return };
    assert_eq!(header.encode(), *head);
    let [items, given, ..] = header.words;
    let given = given as usize % 300;
    let Some(batch) = Batch::check(body, items, given) else { return };
    for index in 0..items as usize {
        let birth = batch.birth(index).expect("it was checked");
        assert!(birth.descriptors().all(|place| place < given));
        assert!(birth.cgroup.is_none_or(|place| (place as usize) < given));
        assert_eq!(birth.namespaces & !NAMESPACES, 0);
        assert!(birth.flags & flag::KEPT == 0 || birth.label != 0);
        assert!(birth.flags & flag::PARENT == 0 || birth.label == 0);
        assert_eq!(label(label_words(birth.label)), birth.label);
        if let Ok(plan) = Plan::check(birth.plan, Engine::Vfork) {
            assert!(plan.count() > 0 && plan.ends());
        }
    }
    assert!(batch.birth(items as usize).is_none());
});

//! Any bytes given to the monitor: as a request for births by a service, and as what a nursery says that is a stranger's program. What is
//! accepted refers to what came, keeps to its own numbers, and is written so that a nursery takes it.

#![no_main]

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use beget_monitor::births::{Manner, PUT_IN, check};
use beget_monitor::channel::{News, Read, parse};
use beget_monitor::protocol::NUMBERS_END;
use beget_plan::message::{BORN_AT_ONCE, Batch, LIVING_AT_ONCE, flag};
use libfuzzer_sys::fuzz_target;

fn files(count: usize) -> Vec<Rc<OwnedFd>> {
    (0..count).map(|_| Rc::new(OwnedFd::from(File::open("/dev/null").expect("a file")))).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, body)) = bytes.split_first() else { return };
    let given = usize::from(*head % 5);
    if let Ok(request) = check(body, given) {
        assert!(request.labels.iter().all(|label| *label != 0 && *label < NUMBERS_END));
        let given = files(given);
        for manner in [Manner { kept: true, held: false }, Manner { kept: false, held: true }] {
            let encoded = request.domains(&given, manner);
            let count = request.labels.len();
            let batch =
                Batch::check(&encoded.body, count as u32, encoded.descriptors.len()).expect("a batch");
            for (index, label) in request.labels.iter().enumerate() {
                let birth = batch.birth(index).expect("it was checked");
                assert_eq!((birth.label, birth.flags & flag::KEPT != 0), (*label, manner.kept));
                assert_eq!(birth.flags & (flag::PARENT | flag::STOPS), 0);
            }
        }
        let put_in = files(PUT_IN).try_into().expect("as many");
        if let Some(encoded) = request.nursery(&given, put_in) {
            let batch = Batch::check(&encoded.body, 1, encoded.descriptors.len()).expect("a batch");
            assert!(batch.birth(0).expect("it was checked").label > NUMBERS_END);
        }
    }
    let (mut incoming, mut owned) = (body.to_vec(), VecDeque::new());
    loop {
        let before = incoming.len();
        match parse(&mut incoming, &mut owned) {
            Read::News(news) => {
                assert!(incoming.len() < before);
                match news {
                    News::Born(births) => assert!(births.len() <= BORN_AT_ONCE),
                    News::Living(living, _) => assert!(living.len() <= LIVING_AT_ONCE),
                    News::Changed(..) => {}
                }
            }
            Read::Nothing | Read::Closed => return assert_eq!(incoming.len(), before),
        }
    }
});

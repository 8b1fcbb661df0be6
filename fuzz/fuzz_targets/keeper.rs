//! Any bytes given to the process that keeps a factory, and to whoever asks it, as what they may be: what a requestor gives a product, how one ended,
//! what the factory says of itself. None of them is ever a panic, and what is read is what was written.

#![no_main]

use beget_factory::judge::HoleIdentity;
use beget_factory::keeper::protocol::{Ended, Start};
use beget_factory::remote::{Confinement, Facts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, body)) = bytes.split_first() else { return };
    match head % 4 {
        0 => {
            let Some(start) = Start::decode(body) else { return };
            assert_eq!(start.encode(), body);
            assert!(start.descriptors() <= body.len());
        }
        1 => {
            if let Some(ended) = Ended::decode(body) {
                assert_eq!(ended.encode(), body);
            }
        }
        2 => {
            let Some(answer) = Confinement::decode(body) else { return };
            assert_eq!(answer.encode(), body);
            // It is held to its own holes, and only by the seal to none.
            let own: Vec<HoleIdentity> = answer.holes.iter().map(|hole| hole.identity.clone()).collect();
            assert_eq!((answer.is_confined(&own), answer.compare(&answer)), (answer.sealed, answer.sealed));
            assert!(!answer.is_confined(&[]) || own.is_empty());
        }
        _ => {
            if let Some(facts) = Facts::decode(body) {
                assert_eq!(facts.encode(), body);
            }
        }
    }
});

//! Many threads that share one nursery.

use beget::{Batch, Construct, Nursery};
use beget_tests::{descriptors, in_own_process};

use crate::{behind, children, end, exists, probe};

#[test]
fn twenty_threads_do_everything_at_once() {
    in_own_process("crowds::twenty_threads_do_everything_at_once", || {
        let nursery = Nursery::new().expect("a nursery");
        let parent = behind(&nursery);
        assert!(probe(&["exit", "0"]).status().expect("spawn").success());
        let before = descriptors();
        std::thread::scope(|scope| {
            for thread in 0..20u8 {
                let nursery = &nursery;
                scope.spawn(move || {
                    for round in 0..12 {
                        let born = |words: &[&str]| {
                            probe(words)
                                .nursery(nursery)
                                .spawn()
                                .unwrap_or_else(|error| panic!("{thread}: {error}"))
                        };
                        match (thread + round) % 5 {
                            0 => assert_eq!(end(&born(&["exit", &thread.to_string()])).exit_code(), thread),
                            1 => {
                                let process = born(&["sleep"]);
                                process.kill().expect("kill");
                                assert_eq!(end(&process).exit_code(), 128 + 9);
                            }
                            2 => {
                                let mut command = probe(&["exit", "6"]);
                                let mut batch = Batch::new();
                                batch.add(&mut command, 10).expect("prepare");
                                let all = batch.spawn(nursery).expect("births");
                                assert!(all.into_iter().all(|one| end(&one.expect("born")).exit_code() == 6));
                            }
                            3 => {
                                let mut embryo = nursery.embryo().expect("an embryo");
                                embryo.umask(0o27).expect("umask");
                                let number = embryo.id();
                                drop(embryo);
                                assert!(!exists(number));
                            }
                            _ => {
                                let output =
                                    probe(&["say", "a line"]).nursery(nursery).output().expect("spawn");
                                assert_eq!(output.stdout, b"a line\n");
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(children(parent), []);
        assert_eq!(descriptors(), before);
    });
}

/// Ended by one thread while the others use it: each is told so, and nobody waits for ever.
#[test]
fn its_end_is_told_to_everybody() {
    in_own_process("crowds::its_end_is_told_to_everybody", || {
        for round in 0..20 {
            let nursery = Nursery::new().expect("a nursery");
            let begun = std::sync::Barrier::new(9);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        begun.wait();
                        loop {
                            let process = match probe(&["sleep"]).nursery(&nursery).spawn() {
                                Ok(process) => process,
                                Err(error) => {
                                    let words = "nursery: it has ended, and what was born in it with it";
                                    return assert_eq!(error.to_string(), words);
                                }
                            };
                            if round % 2 == 0 {
                                // Waits until it is ended with all the others.
                                let _ =
                                    process.wait_shared().map(|ended| assert_eq!(ended.exit_code(), 128 + 9));
                            }
                        }
                    });
                }
                begun.wait();
                std::thread::sleep(std::time::Duration::from_millis(round));
                nursery.end();
            });
            assert_eq!(beget_tests::children().len(), 0);
        }
    });
}

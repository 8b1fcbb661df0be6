//! Writing programs and spawning them at once, from several threads.

use std::sync::atomic::{AtomicU32, Ordering};

use beget::{Command, Grant};
use beget_tests::Scratch;

use crate::tiny;

/// How many threads.
pub const THREADS: usize = 8;
const ROUNDS: usize = 150;

/// Each thread writes a new program, closes it and spawns it, over and over.
pub fn busy() {
    let folder = Scratch::new();
    let (ran, was_busy) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (folder, ran, was_busy) = (&folder, &ran, &was_busy);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let path = folder.at(&format!("{thread}-{round}"));
                    tiny::write(&path);
                    let mut command = Command::new(&path);
                    if round % 2 == 0 {
                        command.grant(Grant::Ambient);
                    }
                    match command.status() {
                        Ok(ended) => {
                            assert!(ended.status.success(), "{}", ended.status);
                            ran.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(
                                error.errno(),
                                Some(libc::ETXTBSY),
                                "nothing else may happen: {error}"
                            );
                            assert_eq!(error.part(), format!("program {path}"));
                            was_busy.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let (ran, was_busy) = (ran.into_inner(), was_busy.into_inner());
    assert!(ran > 0, "some ran");
    assert_eq!((ran + was_busy) as usize, THREADS * ROUNDS);
    println!("{was_busy} of {} were busy", ran + was_busy);
}

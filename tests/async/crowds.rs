//! Thousands at once: every status is the right one, no output goes to another, and nothing is left.

use std::sync::Arc;

use beget::Nursery;
use beget_tests::{Need, children, descriptors, in_own_process, skip};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::{allow_descriptors, end, probe, single, soon, threaded, threads, until_childless};

/// What a test of so many children at `each` descriptors may have, or a skip.
fn room(test: &str, count: usize, each: usize) -> bool {
    let enough = allow_descriptors() >= count * each + 100;
    if !enough {
        skip(test, Need::Machine("a hard limit on descriptors of three for each of 5,000 children"));
    }
    enough
}

/// So many children live at the same time, each with a code of its own, and each is awaited by a task of its own.
fn live_at_once(runtime: &Runtime, count: usize, nursery: Option<&Nursery>) {
    runtime.block_on(async {
        // The runtime's own threads are there.
        assert!(soon(probe(&["exit", "0"]).status()).await.unwrap().success());
        let (before, tasks) = (descriptors(), threads());
        let (held, hold) = std::io::pipe().unwrap();
        // A code has eight bits: as many commands, each used again and again.
        let command = |code: usize| {
            let mut command = probe(&["await", &code.to_string()]);
            command.stdin(held.try_clone().unwrap());
            if let Some(nursery) = nursery {
                command.nursery(nursery);
            }
            command
        };
        let mut commands: Vec<_> = (0..256).map(command).collect();
        let mut waits = JoinSet::new();
        for number in 0..count {
            let process = commands[number % 256].spawn().unwrap_or_else(|error| panic!("{number}: {error}"));
            waits.spawn(async move { (number, end(&process).await) });
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop((commands, held));
        if nursery.is_none() {
            assert_eq!(children().len(), count, "all of them live");
        }
        assert_eq!(threads(), tasks, "nobody helps");
        assert!(waits.try_join_next().is_none(), "none has ended");
        drop(hold);
        let mut ended = 0;
        while let Some(done) = soon(waits.join_next()).await {
            let (number, end) = done.unwrap();
            assert_eq!(end.status.code(), Some((number % 256) as i32), "{number}");
            ended += 1;
        }
        assert_eq!((ended, threads(), descriptors()), (count, tasks, before));
    });
}

#[test]
fn five_thousand_live_at_once() {
    in_own_process("crowds::five_thousand_live_at_once", || {
        if room("five_thousand_live_at_once", 5_000, 1) {
            live_at_once(&threaded(), 5_000, None);
            assert_eq!(children(), [].into());
        }
    });
}

#[test]
fn five_thousand_live_at_once_on_one_thread() {
    in_own_process("crowds::five_thousand_live_at_once_on_one_thread", || {
        if room("five_thousand_live_at_once_on_one_thread", 5_000, 1) {
            live_at_once(&single(), 5_000, None);
            assert_eq!((children(), threads()), ([].into(), 2), "the test's own thread, and its runner's");
        }
    });
}

#[test]
fn a_thousand_of_one_nursery_live_at_once() {
    in_own_process("crowds::a_thousand_of_one_nursery_live_at_once", || {
        if room("a_thousand_of_one_nursery_live_at_once", 1_000, 1) {
            let nursery = Nursery::new().unwrap();
            for runtime in [single(), threaded()] {
                live_at_once(&runtime, 1_000, Some(&nursery));
            }
            drop(nursery);
            assert_eq!(children(), [].into());
        }
    });
}

/// Each writes its own number, and more than a pipe holds; all of it comes to whoever asked that child.
#[test]
fn outputs_are_not_mixed() {
    in_own_process("crowds::outputs_are_not_mixed", || {
        if !room("outputs_are_not_mixed", 1_000, 3) {
            return;
        }
        let runtime = threaded();
        runtime.block_on(async {
            let before = descriptors();
            let script = Arc::new("i=0; while [ $i -lt 20 ]; do printf '%05d%05000d' $0 0; i=$((i+1)); done; printf %s $0 >&2; exit $(($0 % 256))");
            let mut outputs = JoinSet::new();
            for number in 0..1_000usize {
                let mut command = beget::tokio::Command::new("/bin/sh");
                command.args(["-c", &script, &number.to_string()]).grant(beget::Grant::Ambient);
                let output = command.output();
                outputs.spawn(async move { (number, soon(output).await.unwrap()) });
            }
            while let Some(done) = outputs.join_next().await {
                let (number, output) = done.unwrap();
                let whole = format!("{number:05}{:05000}", 0).repeat(20);
                assert!(output.stdout == whole.as_bytes(), "{number}");
                assert_eq!(output.stderr, number.to_string().as_bytes());
                assert_eq!(output.ended.exit_code(), (number % 256) as u8);
            }
            until_childless().await;
            assert_eq!(descriptors(), before);
        });
    });
}

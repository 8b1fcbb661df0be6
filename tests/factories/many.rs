//! Many products of one factory: what it costs stays what it was. `BEGET_MANY` is how many.

use std::time::{Duration, Instant};

use beget::{Command, Grant};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::{in_own_process, is_root};

use crate::killed::parent;
use crate::making::{eventually, warm};

/// How much more memory a process may have than after the first part: what allocators and tables grow by.
const GROWTH: u64 = 6 << 20;

fn product(factory: &Factory) -> Duration {
    let begun = Instant::now();
    let end = factory.request().start().expect("a product").wait().expect("its end");
    assert!(end.status.success(), "{end:?}");
    begun.elapsed()
}

/// What a process has: memory in bytes, its share of what it has together with others (`Pss`) where we may see that and all that is resident
/// where not; and descriptors.
fn held(process: u32) -> (u64, usize) {
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let memory = line("smaps_rollup", "Pss:").or_else(|| line("status", "VmRSS:"));
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    (memory.unwrap_or(0) << 10, files)
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn flat(name: &str, pool: Pool, at_once: usize) {
    let most: usize = std::env::var("BEGET_MANY").ok().and_then(|value| value.parse().ok()).unwrap_or(2000);
    // Ten times what one takes in a debug build on a machine that does other things.
    beget_tests::with_time(Duration::from_millis(30) * most as u32);
    let mut command = Command::new("/bin/true");
    command.grant(Grant::Base);
    let mut builder = Factory::builder(command);
    // What an ordinary user may look into, for that is what is looked at here.
    builder.options(Options { pool, opaque: is_root(), ..warm(Ready::Entry) });
    let factory = builder.seal().expect("a factory");
    let part = (most / 4).clamp(1, 1000);
    let run = |count: usize| -> Vec<Duration> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once)
                .map(|_| scope.spawn(|| (0..count / at_once).map(|_| product(&factory)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("all were answered")).collect()
        })
    };
    let look = || {
        let template = factory.template_number().expect("a template");
        eventually("a full pool", || factory.statistics().waiting == pool.size as u64);
        [std::process::id(), parent(template), template].map(held)
    };
    let mut first = run(part);
    let before = look();
    // Bit by bit, so that what is kept of them here is no more than of the first.
    (2..most / part).for_each(|_| drop(run(part)));
    let mut last = run(part);
    // What the factory measures beside its work opens files for a moment.
    let few = || look().iter().zip(&before).all(|(now, then)| now.1 <= then.1);
    eventually("no more descriptors than before", few);
    let after = look();
    let (first, last) = (middle(&mut first), middle(&mut last));
    eprintln!(
        "{name}: {most} products, the middle one of the first {part} {first:?}, of the last {last:?}, × {:.2}; factory, nursery and template: \
         bytes and descriptors {before:?} -> {after:?}",
        last.as_secs_f64() / first.as_secs_f64()
    );
    for ((memory, _), (then, _)) in after.into_iter().zip(before) {
        assert!(memory <= then + GROWTH, "{name}: {before:?} -> {after:?}");
    }
    let done = factory.statistics();
    assert_eq!((done.failed, done.cold, done.deaths, done.templates), (0, 0, 0, 1), "{done:?}");
}

#[test]
fn the_last_of_many_costs_what_the_first_did() {
    in_own_process("many::the_last_of_many_costs_what_the_first_did", || {
        flat("on request", Pool::default(), 1);
        flat("on request, eight at once", Pool::default(), 8);
        flat("pooled", Pool { low_water: 8, ..Pool::of(8) }, 1);
        flat("pooled, eight at once", Pool { low_water: 16, ..Pool::of(16) }, 8);
    });
}

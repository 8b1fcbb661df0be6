//! SIGKILL for a factory's template, its products that wait and that run, its nursery and the guard of that, at any moment, while eight
//! threads ask: each request ends in what it is to be, or in an error that says who was killed, or in a product that was killed itself. None
//! is another's, none runs twice, nothing is left, and the pool is full again.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use beget::{Command, Grant, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::{Scratch, children, descriptors, in_own_process, text, with_time};

use crate::{Random, adopt_orphans, check_noted, children_of, reap_orphans, setting, until};

/// A product reads a word, notes it in a file that all of them have, says it, and ends with this.
const CODE: i32 = 7;

fn factory(scratch: &Scratch, options: Options) -> Factory {
    let noted = scratch.file("noted", "");
    let script = format!("read word; echo $word >> {noted}; echo $word; exit {CODE}");
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).grant(Grant::Base).grant(Grant::Write(scratch.path().to_owned()));
    let mut builder = Factory::builder(command);
    builder.options(options);
    builder.seal().expect("a factory")
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// The right output, and the right end.
    Right,
    /// It was killed: it may have noted its word or not.
    Killed,
    /// There was an error: the same.
    Failed,
}

/// The word of each request, and what came of it.
type Asked = Mutex<HashMap<String, Came>>;

fn ask(factory: &Factory, word: &str) -> Came {
    let (input, mut feed) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut feed, format!("{word}\n").as_bytes()).expect("room");
    drop(feed);
    let mut request = factory.request();
    request.stdin(input).stdout(Stdio::piped());
    let tells = |error: beget::Error| {
        let said = error.to_string();
        let known = ["template", "nursery", "embryo", "killed"].iter().any(|who| said.contains(who));
        assert!(known, "{word}: {said}");
        Came::Failed
    };
    let product = match request.start() {
        Ok(product) => product,
        Err(error) => return tells(error),
    };
    drop(request);
    match product.wait_with_output() {
        Ok(output) if output.status.code() == Some(CODE) => {
            assert_eq!(text(&output.stdout), format!("{word}\n"));
            Came::Right
        }
        Ok(output) => {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{word}: {output:?}");
            let said = text(&output.stdout);
            assert!(said.is_empty() || said == format!("{word}\n"), "{word}: {said}");
            Came::Killed
        }
        Err(error) => tells(error),
    }
}

/// The factory's processes by what they are: its guard, which is our child, its nursery, and what was born there.
fn victims(factory: &Factory) -> Vec<(Target, u32)> {
    let template = factory.template_number();
    let mut found = Vec::new();
    for guard in children() {
        found.push((Target::Guard, guard));
        for nursery in children_of(guard) {
            found.push((Target::Nursery, nursery));
            found.extend(
                children_of(nursery)
                    .into_iter()
                    .map(|one| (if Some(one) == template { Target::Template } else { Target::Product }, one)),
            );
        }
    }
    found
}

/// Who is shot at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Template,
    Product,
    Nursery,
    Guard,
}

fn storm(ready: Option<Ready>, size: usize, targets: &[Target]) {
    adopt_orphans();
    let scratch = Scratch::new();
    let pool = Pool { low_water: size, ..Pool::of(size) };
    let options = Options { ready, pool, answer: Duration::from_secs(5), ..Options::default() };
    // What every nursery after the first uses, too.
    drop(beget::Nursery::new().expect("a nursery"));
    let before = descriptors();
    let factory = factory(&scratch, options);
    let (stop, asked, kills) = (AtomicBool::new(false), Asked::default(), AtomicU64::new(0));
    let lasts = Duration::from_secs(setting("BEGET_STORM", 3));
    with_time(lasts);
    let end = Instant::now() + lasts;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (factory, stop, asked) = (&factory, &stop, &asked);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let word = format!("word-{thread}-{number}");
                    let came = ask(factory, &word);
                    asked.lock().unwrap().insert(word, came);
                }
            });
        }
        let mut random = Random::new(size as u64);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_micros(random.below(100_000)));
            let found = victims(&factory);
            let found: Vec<_> = found.into_iter().filter(|(target, _)| targets.contains(target)).collect();
            if found.is_empty() {
                continue;
            }
            // Who there is one of only is hit as often as one of many.
            let wanted = targets[random.below(targets.len() as u64) as usize];
            let of_it: Vec<_> = found.iter().filter(|(target, _)| *target == wanted).collect();
            if let Some((_, number)) = of_it.get(random.below(of_it.len().max(1) as u64) as usize) {
                // SAFETY: numbers only; below this process a moment ago, and numbers are not given again so soon.
                unsafe { libc::kill(*number as i32, libc::SIGKILL) };
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let asked = asked.into_inner().unwrap();
    until("the pool is full", || {
        let _ = factory.statistics();
        factory.statistics().waiting == size as u64
    });
    assert_eq!(ask(&factory, "word-last"), Came::Right);
    check(&scratch, &asked, &factory);
    let count = |came: Came| asked.values().filter(|one| **one == came).count();
    eprintln!(
        "{targets:?}: {kills:?} kills, {} right, {} killed, {} failed, {:?}",
        count(Came::Right),
        count(Came::Killed),
        count(Came::Failed),
        factory.statistics()
    );
    assert!(count(Came::Right) > 0 && kills.load(Ordering::Relaxed) > 0);
    drop(factory);
    until("nobody is left", || {
        reap_orphans();
        children().is_empty()
    });
    assert_eq!(descriptors(), before, "descriptors are left");
}

fn check(scratch: &Scratch, asked: &HashMap<String, Came>, factory: &Factory) {
    check_noted(&scratch.at("noted"), asked, |came| *came == Came::Right);
    let done = factory.statistics();
    let answered = done.hits + done.warm + done.cold + done.failed;
    assert_eq!(answered, asked.len() as u64 + 1, "{done:?}");
}

#[test]
fn template_and_products_may_be_killed_at_any_moment() {
    in_own_process("factories::template_and_products_may_be_killed_at_any_moment", || {
        storm(Some(Ready::Main), 6, &[Target::Template, Target::Product]);
        storm(Some(Ready::Entry), 0, &[Target::Template, Target::Product]);
    });
}

#[test]
fn nursery_and_guard_may_be_killed_at_any_moment() {
    in_own_process("factories::nursery_and_guard_may_be_killed_at_any_moment", || {
        storm(Some(Ready::Main), 6, &[Target::Template, Target::Product, Target::Nursery, Target::Guard]);
        storm(None, 0, &[Target::Nursery, Target::Product]);
    });
}

//! SIGKILL for whoever has to do with a factory that the service keeps, at any moment: requestors, its template, its products, its nursery and the
//! guard of that, the service and the monitor. Each request ends in what it is to be, or in an error, or in a product that was killed; none is
//! another's, none runs twice, a requestor leaves no product, and the pool is full again.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use beget_tests::{Scratch, beget, in_own_process, text, with_time};

use crate::{Random, Running, adopt_orphans, check_noted, children_of, setting, until};

/// A product reads a word, notes it in a file that all of them have, says it, and ends with this.
const CODE: i32 = 7;
const POOL: usize = 4;
const NAME: &str = "kept";

/// Who is shot at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Requestor,
    Template,
    Product,
    Nursery,
    Guard,
    Service,
    Monitor,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// The right output, and the right end.
    Right,
    /// Somebody was killed: it may have noted its word or not.
    Lost,
}

/// `beget` with these words, which speaks to this service.
fn speak(running: &Running, words: &[&str]) -> Command {
    let mut command = beget();
    command.args(words).env("BEGET_SOCKET", running.socket());
    command
}

fn ask(running: &Running, word: &str, requestors: &Mutex<BTreeSet<u32>>) -> Came {
    let mut command = speak(running, &["factory", "run", NAME]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("beget can be started");
    requestors.lock().unwrap().insert(child.id());
    // One that was killed reads nothing.
    let _ = writeln!(child.stdin.take().expect("a pipe"), "{word}");
    let output = child.wait_with_output().expect("our own child");
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(out.is_empty() || out == format!("{word}\n"), "{word}: {out}");
    match (output.status.code(), output.status.signal()) {
        (Some(CODE), _) => {
            assert_eq!(out, format!("{word}\n"), "{said}");
            Came::Right
        }
        // The product was killed, or the requestor itself.
        (Some(137), _) | (_, Some(libc::SIGKILL)) => Came::Lost,
        (Some(125), _) => {
            let known = ["template", "nursery", "embryo", "killed", "service", "monitor", "factory"];
            assert!(known.iter().any(|who| said.contains(who)), "{word}: {said}");
            Came::Lost
        }
        other => panic!("{word}: {other:?}: {said}"),
    }
}

/// The children of all of a process's threads.
fn children_of_all(process: u32) -> BTreeSet<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
    lists
        .flatten()
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn answer(running: &Running, words: &[&str]) -> serde_json::Value {
    let output = speak(running, words).output().expect("beget can be started");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The factory's processes by what they are.
fn victims(keeper: u32, template: Option<u64>) -> Vec<(Target, u32)> {
    let mut found = Vec::new();
    for guard in children_of_all(keeper) {
        found.push((Target::Guard, guard));
        for nursery in children_of(guard) {
            found.push((Target::Nursery, nursery));
            found.extend(children_of(nursery).into_iter().map(|one| {
                (if Some(u64::from(one)) == template { Target::Template } else { Target::Product }, one)
            }));
        }
    }
    found
}

fn template(running: &Running) -> Option<u64> {
    answer(running, &["factory", "show", "--json", NAME])["options"]["template"].as_str()?.parse().ok()
}

fn waiting(running: &Running) -> Option<u64> {
    answer(running, &["factory", "show", "--json", NAME])["statistics"]["waiting"].as_u64()
}

fn storm(targets: &[Target]) {
    let lasts = Duration::from_secs(setting("BEGET_STORM", 6));
    with_time(lasts);
    adopt_orphans();
    let scratch = Scratch::new();
    let noted = scratch.file("noted", "");
    let running = Running::start(&["--on-monitor-death", "live"]);
    let script = format!("read word; echo $word >> {noted}; echo $word; exit {CODE}");
    let pool = POOL.to_string();
    let mut create =
        vec!["factory", "create", NAME, "--json", "--base", "--write", &noted, "--ready", "main"];
    create.extend(["--pool", &pool, "--low-water", &pool, "--", "sh", "-c", &script]);
    let keeper = answer(&running, &create)["pid"].as_u64().expect("a factory") as u32;
    let asked: Mutex<HashMap<String, Came>> = Mutex::default();
    let (stop, requestors) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let mut kills = 0;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (running, stop, asked, requestors) = (&running, &stop, &asked, &requestors);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let word = format!("word-{thread}-{number}");
                    let came = ask(running, &word, requestors);
                    asked.lock().unwrap().insert(word, came);
                }
            });
        }
        let mut random = Random::new(targets.len() as u64);
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_micros(random.below(150_000)));
            let wanted = targets[random.below(targets.len() as u64) as usize];
            let of_it: Vec<u32> = match wanted {
                Target::Requestor => requestors.lock().unwrap().iter().copied().collect(),
                Target::Service | Target::Monitor => {
                    let state =
                        beget_service::Service::connect(running.socket()).and_then(|mut one| one.state());
                    let part = state
                        .map(|state| if wanted == Target::Service { state.service } else { state.monitor });
                    part.into_iter().filter(|part| running.parts().contains(part)).collect()
                }
                _ => {
                    let found = victims(keeper, template(&running));
                    found
                        .into_iter()
                        .filter(|(target, _)| *target == wanted)
                        .map(|(_, number)| number)
                        .collect()
                }
            };
            if let Some(number) = of_it.get(random.below(of_it.len().max(1) as u64) as usize) {
                // SAFETY: numbers only; of below this process a moment ago, and numbers are not given again so soon. A requestor that has ended
                // is reaped already, or not: none of its number is there.
                unsafe { libc::kill(*number as i32, libc::SIGKILL) };
                kills += 1;
            }
            requestors
                .lock()
                .unwrap()
                .retain(|one| std::fs::exists(format!("/proc/{one}")).is_ok_and(|there| there));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let asked = asked.into_inner().unwrap();
    until("the pool is full", || waiting(&running) == Some(POOL as u64));
    // The first after a death may meet what is not known to be dead yet.
    until("a request is answered", || ask(&running, "word-last", &requestors) == Came::Right);
    check_noted(&noted, &asked, |came| *came == Came::Right);
    let right = asked.values().filter(|came| **came == Came::Right).count();
    eprintln!("{targets:?}: {kills} kills, {} requests, {right} right", asked.len());
    assert!(right > 0 && kills > 0);
    // Of those whose requestor is gone nobody lives: the template is there, and what waits.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let living = victims(keeper, template(&running));
        let count = |target| living.iter().filter(|one| one.0 == target).count();
        if (count(Target::Template), count(Target::Product)) == (1, POOL) {
            break;
        }
        let what = |number| std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        let told: Vec<String> =
            living.iter().map(|(target, number)| format!("{target:?} {}", what(*number))).collect();
        assert!(Instant::now() < end, "not a template and {POOL} products: {}", told.join("\n"));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(speak(&running, &["factory", "destroy", NAME]).status().expect("beget").success());
    running.stop();
}

#[test]
fn whoever_asks_and_whatever_is_made_may_be_killed_at_any_moment() {
    in_own_process("kept::whoever_asks_and_whatever_is_made_may_be_killed_at_any_moment", || {
        storm(&[Target::Requestor, Target::Template, Target::Product, Target::Nursery, Target::Guard]);
    });
}

#[test]
fn service_and_monitor_may_be_killed_under_a_factory_at_any_moment() {
    in_own_process("kept::service_and_monitor_may_be_killed_under_a_factory_at_any_moment", || {
        storm(&[Target::Requestor, Target::Product, Target::Service, Target::Monitor]);
    });
}

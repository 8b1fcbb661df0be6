//! Programs that are hostile before they are ready: their factory fails by name, within its patience, or makes products that are right, and
//! nothing is left behind.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use beget::{Command, Grant, Stdio};
use beget_factory::{Factory, Options, Pool, Ready, Result};
use beget_tests::{Scratch, program, text};

/// How long the program may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(10);

fn factory(name: &str, folder: &str, pool: usize) -> Result<Factory> {
    let attacker = program("product-attacker");
    let mut command = Command::new(&attacker);
    command.args(["before", name, folder]);
    command.grant(Grant::Execute(attacker)).grant(Grant::Write(folder.into())).grant(Grant::Spawn);
    for library in libraries() {
        command.grant(Grant::Execute(library));
    }
    let mut builder = Factory::builder(command);
    let ready = Some(Ready::Stop);
    builder.options(Options { ready, patience: PATIENCE, pool: Pool::of(pool), ..Options::default() });
    builder.seal()
}

/// The libraries of a program in Rust, which are this one's too: to grant these alone is much less to measure than `Grant::Base`.
pub(crate) fn libraries() -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("our own");
    let paths = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    paths.filter(|path| path.contains(".so")).map(PathBuf::from).collect()
}

/// What a product wrote and how it ended; `None` for one that ended by what the program did to itself, and said nothing.
fn product(factory: &Factory, name: &str) -> Result<Option<String>> {
    let mut request = factory.request();
    request.stdout(Stdio::piped());
    let process = request.start()?;
    let mut output = process.stdout.as_ref().expect("a pipe").try_clone().expect("a descriptor");
    let ended = process.wait_timeout(PATIENCE).expect("it is waited for");
    if ended.is_none() {
        let _ = process.kill();
        panic!("{name}: a product does not end");
    }
    let mut written = String::new();
    std::io::Read::read_to_string(&mut output, &mut written).expect("text");
    let status = ended.expect("it ended").status;
    match (status.code(), written.as_str()) {
        (Some(0), "product\n") => Ok(Some(written)),
        (None, "") => Ok(None),
        _ => panic!("{name}: {status:?}, it wrote {written:?}"),
    }
}

/// What came of it, in words.
fn attacked(name: &str, pool: usize) -> String {
    let scratch = Scratch::new();
    let folder = scratch.at("");
    let begun = Instant::now();
    let named = |error: beget::Error| {
        let words = error.to_string();
        assert!(words.contains(": "), "{name}: it names no part: {words}");
        format!("refused: {words}")
    };
    let mut all = Vec::new();
    match factory(name, &folder, pool) {
        Err(error) => all.push(named(error)),
        Ok(factory) => {
            for round in 0..2 {
                let made = product(&factory, name);
                all.push(made.map_or_else(named, |made| made.unwrap_or_else(|| "it ends".to_owned())));
                if round == 0
                    && let Err(error) = factory.replace()
                {
                    all.push(named(error));
                }
            }
        }
    }
    // Nobody is left of it, however it was hidden: all have the folder among their arguments.
    let until = Instant::now() + Duration::from_secs(60);
    while !beget_tests::marked(&folder).is_empty() {
        assert!(Instant::now() < until, "{name}: {:?} are left", beget_tests::marked(&folder));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(begun.elapsed() < PATIENCE * 6, "{name}: {:?}", begun.elapsed());
    all.join(", ")
}

/// All that no factory may be made of, or no second template: what would make products wrong, or answer for them.
const REFUSED: &[&str] = &[
    "hidden-child",
    "channel-tells-",
    "channel-keeps-rights",
    "channel-shut",
    "channel-another",
    "channel-closed",
    "channel-twice",
    "channel-above",
    "channel-in-flight",
    "channel-signals-now",
    "filter-",
    "timer",
    "unforkable-",
    "no-page-of-calls",
    "rulesets",
];

#[test]
fn a_hostile_program_harms_nobody_but_itself() {
    // Its descriptors are counted.
    beget_tests::in_own_process("before::a_hostile_program_harms_nobody_but_itself", attack_all);
}

fn attack_all() {
    // What is made once and kept is there then.
    attacked("nothing", 0);
    let before = beget_tests::descriptors();
    let list =
        std::process::Command::new(program("product-attacker")).arg("list").output().expect("it starts");
    let list = text(&list.stdout);
    let names: Vec<&str> = list.lines().collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (names, next) = (&names, &next);
            scope.spawn(move || {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    println!("{name}");
                    let said = attacked(name, thread % 2 * 2);
                    println!("{name}: {said}");
                    let is_refused = REFUSED.iter().any(|one| name.starts_with(one));
                    assert!(!is_refused || said.contains("refused"), "{name}: {said}");
                    // A template's filter is shut for whoever has not its key: there is no sibling to be found.
                    let is_harmless = *name == "nothing" || name.starts_with("hidden-sibling");
                    assert!(!is_harmless || !said.contains("refused"), "{name}: {said}");
                }
            });
        }
    });
    let until = Instant::now() + Duration::from_secs(20);
    while beget_tests::descriptors() != before {
        assert!(Instant::now() < until, "{before:?} {:?}", beget_tests::descriptors());
        std::thread::sleep(Duration::from_millis(5));
    }
}

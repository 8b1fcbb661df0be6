//! A launcher for the corpus of ways out: starts its words' program as a product of a factory, or by a command with the same grants.
//!
//! ```text
//! through-factory HOW FOLDER PROGRAM ARGUMENT...
//!     HOW  words with commas between: `command`, `cold`, `entry`, `main` or `stop`; `pool`, `inspectable`, `root`, `spawn`
//! ```

use std::time::{Duration, Instant};

use beget::{Command, Grant, Process, Root, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};

fn start(how: &[&str], folder: &str, program: &str, words: &[String]) -> beget::Result<Process> {
    let has = |word: &str| how.contains(&word);
    let mut command = Command::new(program);
    command.grant(Grant::Base).grant(Grant::Execute(program.into())).grant(Grant::Write(folder.into()));
    if has("spawn") {
        command.grant(Grant::Spawn);
    }
    if has("root") {
        command.root(Root::new());
    }
    let streams = [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()];
    let [input, output, error] = streams;
    if has("command") {
        return command.args(words).stdin(input).stdout(output).stderr(error).spawn();
    }
    let ready = how.iter().find_map(|word| word.parse::<Ready>().ok());
    // Its arguments are read before it is ready, but for where nothing of it has run.
    let early = ready.as_ref().is_some_and(|ready| *ready != Ready::Entry);
    if early {
        command.args(words);
    }
    if ready == Some(Ready::Stop) {
        command.arg("stop=1");
    }
    let pool = if has("pool") { Pool { low_water: 2, ..Pool::of(2) } } else { Pool::default() };
    let options = Options { ready, pool, opaque: !has("inspectable"), ..Options::default() };
    let mut builder = Factory::builder(command);
    builder.options(options);
    let factory = builder.seal()?;
    let until = Instant::now() + Duration::from_secs(60);
    while factory.statistics().waiting < pool.size as u64 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut request = factory.request();
    request.stdin(input).stdout(output).stderr(error);
    if !early {
        request.args(words);
    }
    let process = request.start()?;
    let made = factory.statistics();
    let right = if has("cold") {
        made.cold
    } else if has("pool") {
        made.hits
    } else {
        made.warm
    };
    assert_eq!(right, 1, "{made:?}");
    // The factory lives as long as the product does: it is something to get at.
    process.wait_shared()?;
    Ok(process)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [how, folder, program, rest @ ..] = &words[..] else { panic!("HOW FOLDER PROGRAM ARGUMENT...") };
    let how: Vec<&str> = how.split(',').collect();
    match start(&how, folder, program, rest).and_then(|mut process| process.wait()) {
        Ok(_) => {}
        Err(error) => {
            eprintln!("through-factory: {error}");
            std::process::exit(1);
        }
    }
}

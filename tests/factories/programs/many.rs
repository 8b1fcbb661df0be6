//! Very many products of one template: the last does what the first did, and nothing is left.

use beget::Grant;
use beget_factory::{Options, Pool, Ready};

use super::{Input, Run, many, product, program, seal};

#[track_caller]
fn all_the_same(program: super::Program, options: Options, run: &Run) {
    if !program.here {
        return;
    }
    let expected = program.cold(run);
    let warm = match options.ready {
        Some(Ready::Stdin) => Run { words: Vec::new(), ..run.clone() },
        _ => run.clone(),
    };
    let mut command = (program.command)();
    if options.ready == Some(Ready::Stdin) {
        command.args(&run.words);
    }
    let factory = seal(command, options).expect("a factory");
    for number in 0..many().unwrap_or(300) {
        assert_eq!(product(&factory, &warm).expect("a product"), expected, "{} {number}", program.name);
    }
    let done = factory.statistics();
    assert_eq!((done.cold, done.failed, done.deaths, done.templates), (0, 0, 0, 1), "{done:?}");
}

fn run(words: &[&str], input: &str) -> Run {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Run { words, input: Input::Pipe(input.into()), ..Run::default() }
}

fn at(ready: Ready) -> Options {
    Options { ready: Some(ready), ..Options::default() }
}

#[test]
fn of_a_tool_with_arguments() {
    all_the_same(program("sort", &[]), at(Ready::Entry), &run(&["-r"], "b\na\nc\n"));
    all_the_same(
        program("sed", &[]),
        Options { pool: Pool::of(8), ..at(Ready::Main) },
        &run(&["s/a/b/"], "a\n"),
    );
}

#[test]
fn of_shells() {
    let shell = || program("bash", &[Grant::Spawn]);
    all_the_same(shell(), at(Ready::Stdin), &run(&["-s"], "x=(1 2 3); (exit 2); echo ${#x[@]} $?; exit 7\n"));
    let pooled = Options { pool: Pool::of(8), opaque: false, frozen: false, ..at(Ready::Stdin) };
    all_the_same(
        program("dash", &[Grant::Spawn]),
        pooled,
        &run(&["-s"], "echo a | { read b; echo $b; }; sh -c 'kill -ABRT $$'; echo $?\n"),
    );
}

#[test]
fn of_an_interpreter() {
    let words =
        "import json, re\nprint(json.dumps([re.sub('a', 'b', 'aa')]), flush=True)\nimport os; os._exit(4)\n";
    all_the_same(program("/usr/bin/python3", &[Grant::Base]), at(Ready::Stdin), &run(&["-"], words));
}

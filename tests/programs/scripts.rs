//! Scripts: by `env`, with options, with a script as interpreter; naming one grants what it needs to start and nothing beside it.

use beget_tests::Scratch;

use crate::{lacks, run};

#[test]
fn by_env() {
    if lacks("by_env", &["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let neighbour = scratch.file("neighbour", "secret");
    let code = "import sys
print(sys.argv)
try: open(sys.argv[1])
except PermissionError as error: print(error.errno)
";
    let plain = scratch.script("plain", format!("#!/usr/bin/env python3\n{code}"));
    run(&[], &[&plain, &neighbour]).prints(&format!("['{plain}', '{neighbour}']\n13\n"));
    run(&["--read", &neighbour], &[&plain, &neighbour]).prints(&format!("['{plain}', '{neighbour}']\n"));
    let split = scratch
        .script("split", "#!/usr/bin/env -S python3 -B\nimport sys\nprint(sys.flags.dont_write_bytecode)\n");
    run(&[], &[&split]).prints("1\n");
}

#[test]
fn a_script_as_interpreter() {
    let scratch = Scratch::new();
    let inner = scratch.script("inner", "#!/bin/sh\necho inner \"$@\"\n");
    let outer = scratch.script("outer", format!("#!{inner} word\n"));
    run(&[], &[&outer, "a", "b c"]).prints(&format!("inner word {outer} a b c\n"));
    let reading = scratch.script("reading", "#!/bin/sh\nread line < \"$1\" && echo \"$line\"\n");
    let with_line = scratch.file("line", "line\n");
    run(&["--read", &with_line], &[&reading, &with_line]).prints("line\n");
    run(&[], &[&reading, &with_line]).fails("Permission denied");
}

#[test]
fn env_finds_a_program_outside_the_base() {
    let scratch = Scratch::new();
    let cat = std::fs::read("/usr/bin/cat").expect("coreutils are there");
    scratch.script("mycat", cat);
    let script = scratch.script("script", "#!/usr/bin/env mycat\nitself\n");
    let path = format!("PATH={}:/usr/bin", scratch.at(""));
    run(&["--env", &path], &[&script]).prints("#!/usr/bin/env mycat\nitself\n");
    let unlisted = run(&[], &[&script]);
    unlisted.fails("No such file or directory");
    assert_eq!(unlisted.code, Some(127), "env's own code for what it does not find");
}

#[test]
fn env_finds_a_script_outside_the_base() {
    let scratch = Scratch::new();
    // As version managers' shims and package managers' wrappers are.
    scratch.script("tool", "#!/bin/sh\necho tool \"$@\"\n");
    let script = scratch.script("script", "#!/usr/bin/env tool\n");
    let path = format!("PATH={}:/usr/bin", scratch.at(""));
    run(&["--env", &path], &[&script, "a"]).prints(&format!("tool {script} a\n"));
}

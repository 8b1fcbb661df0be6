//! The three functions, in three languages, and none of them: each in a confined child.

use beget::{Command, Grant, Stdio};
use beget_tests::{Need, Scratch, has, skip};

use crate::{answer, client, end, holding, lines};

/// Asks for two capabilities, uses them, and sees the end.
fn converses(command: &mut Command) {
    let mut process = command.spawn().expect("spawn");
    let mut line = lines(&mut process);
    assert_eq!(answer(&process, 2), ["log", "two words"]);
    assert_eq!([line(), line()], ["log: loglog", "two words: two wordstwo words"]);
    // The holder goes: the child is told, and nothing else happens to it.
    drop(process.take_channel().expect("it has one"));
    assert_eq!(line(), "end");
    assert!(end(&process).status.success());
}

#[test]
fn rust() {
    converses(&mut client(&["ask", "log", "two words"]));
}

#[test]
fn c() {
    if !has("cc") {
        return skip("clients::c", Need::Program("cc"));
    }
    const PROGRAM: &str = r#"
#include "beget.h"
#include <stdio.h>
int main(int count, char **words)
{
    int channel = beget_channel(), file;
    char name[BEGET_NAME], text[64];
    for (int index = 1; index < count; index++) {
        if (beget_ask(channel, words[index]) || (file = beget_receive(channel, name)) < 0) {
            perror("channel");
            return 1;
        }
        ssize_t length = read(file, text, sizeof text);
        printf("%s: %.*s\n", name, (int)length, text);
        fflush(stdout);
        close(file);
    }
    if (beget_receive(channel, name) != -1 || errno != EPIPE || beget_ask(channel, "\n") != -1 || errno != EINVAL)
        return 2;
    puts("end");
    return 0;
}
"#;
    let scratch = Scratch::new();
    scratch.file("beget.h", include_str!("../../packaging/include/beget.h"));
    let source = scratch.file("client.c", PROGRAM);
    // As strictly as somebody might, and as C++ would see it.
    let made = scratch.at("client");
    let words =
        ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-o", &made, &source];
    let output = std::process::Command::new("cc").args(words).output().expect("it is there");
    assert!(output.status.success(), "{}", beget_tests::text(&output.stderr));
    let mut command = Command::new(&made);
    command.args(["log", "two words"]).channel(true).grant(Grant::Base);
    converses(command.stdout(Stdio::piped()).stderr(Stdio::inherit()));
    // One that was born without is told so.
    let output = command.channel(false).output().expect("spawn");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn python() {
    if !has("python3") {
        return skip("clients::python", Need::Program("python3"));
    }
    const PROGRAM: &str = "
import os, sys
sys.path.insert(0, sys.argv[1])
import beget
channel = beget.channel()
for name in sys.argv[2:]:
    beget.ask(channel, name)
    name, file = beget.receive(channel)
    assert not os.get_inheritable(file)
    print(f'{name}: {os.read(file, 64).decode()}', flush=True)
try:
    beget.ask(channel, '')
except ValueError:
    pass
try:
    beget.receive(channel)
except EOFError:
    print('end')
";
    let scratch = Scratch::new();
    scratch.file("beget.py", include_str!("../../packaging/python/beget.py"));
    let mut command = Command::new("python3");
    command.args(["-B", "-c", PROGRAM, &scratch.at(""), "log", "two words"]);
    command.channel(true).grant(Grant::Base).grant(Grant::Read(scratch.path().into()));
    converses(command.stdout(Stdio::piped()).stderr(Stdio::inherit()));
}

#[test]
fn whatever_can_receive_a_message_needs_none() {
    let mut process = client(&["plain"]).spawn().expect("spawn");
    process.send("A", holding("what A holds")).expect("it has a channel");
    assert_eq!(lines(&mut process)(), "A: what A holds");
    assert!(end(&process).status.success());
}

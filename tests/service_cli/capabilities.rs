//! Capabilities: a connection in a slot is the right that it is, and no other; what a running domain is given.

use beget_tests::{Need, has, program, skip, text};

use super::served::{Served, until};

/// The words that spawn a domain which runs `beget` on what it holds.
fn inside<'a>(name: &'a str, handed: &'a str, beget: &'a str, script: &'a str) -> Vec<&'a str> {
    let folder = beget.rsplit_once('/').unwrap().0;
    vec![
        "spawn",
        name,
        "--base",
        "--exec",
        folder,
        "--spawn",
        "--stdio",
        "--tied",
        "--capability",
        handed,
        "--",
        "sh",
        "-c",
        script,
        beget,
    ]
}

#[test]
fn a_right_is_that_right_and_no_other() {
    let served = Served::start(&[]);
    let beget = program("beget-under-test");
    let beget = beget.to_str().unwrap();
    // What each right lets one do, by the commands that need it.
    let commands = [
        ("look", "show --socket fd:it"),
        ("wait", "wait --no-hang --socket fd:it"),
        ("send", "send --fd null=/dev/null --socket fd:it"),
        ("signal", "kill --signal CONT --socket fd:it"),
    ];
    served.ok(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    for (right, _) in commands {
        let handed = format!("it=job:{right}");
        for (needed, command) in commands {
            let script = format!("\"$0\" {command} >/dev/null");
            let output = served.run(&inside("watcher", &handed, beget, &script));
            let code = output.status.code();
            let said = text(&output.stderr);
            if right == needed {
                let well = if needed == "wait" { 124 } else { 0 };
                assert_eq!(code, Some(well), "{right}: {command}: {said}");
            } else {
                assert_eq!(code, Some(125), "{right}: {command}: {said}");
            }
        }
    }
    // And nobody but the holder of that right has ended it.
    let output = served.run(&inside("ender", "it=job:signal", beget, "\"$0\" kill --socket fd:it"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    served.fails(137, &["wait", "job"]);
}

#[test]
fn a_running_domain_is_given_a_file_by_name() {
    if !has("python3") {
        return skip("a_running_domain_is_given_a_file_by_name", Need::Program("python3"));
    }
    let served = Served::start(&[]);
    let secret = served.scratch.file("secret", "handed over");
    let log = served.scratch.at("log");
    let script = "
import os, socket
names = os.environ['LISTEN_FDNAMES'].split(':')
channel = socket.socket(fileno=3 + names.index('beget'))
channel.send(b'wanted')
print('asked', flush=True)
name, files, flags, address = socket.recv_fds(channel, 256, 1)
print(name.decode(), os.read(files[0], 100).decode(), flush=True)
";
    served.ok(&["spawn", "reader", "--base", "--stdout", &log, "--", "python3", "-S", "-c", script]);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("asked", || said().contains("asked"));
    served.ok(&["send", "--fd", &format!("it={secret}"), "reader"]);
    until("given", || said().contains("it handed over"));
    served.ok(&["wait", "reader"]);
    // Nobody is there any more.
    let wrong = served.fails(125, &["send", "--fd", &format!("it={secret}"), "reader"]);
    assert!(wrong.contains("reader"), "{wrong}");
    assert!(served.fails(125, &["send", "reader"]).contains("--fd"));
}

#[test]
fn what_a_domain_creates_has_no_more_than_it_and_ends_with_it() {
    let served = Served::start(&[]);
    let beget = program("beget-under-test");
    let beget = beget.to_str().unwrap();
    let folder = beget.rsplit_once('/').unwrap().0;
    let secret = served.scratch.file("secret", "not for it");
    let log = served.scratch.at("log");
    // What it creates asks for a file that its creator cannot read; another holds nothing but the system's own files, and stays.
    let script = format!(
        "\"$0\" spawn --socket fd:spawn --tied --stdio --read {secret} thief --base -- cat {secret} || echo refused
         \"$0\" spawn --socket fd:spawn child --base -- sleep 1000 && echo made
         exec sleep 1000"
    );
    served.ok(&[
        "spawn",
        "maker",
        "--spawner",
        "--spawn",
        "--base",
        "--exec",
        folder,
        "--stdout",
        &log,
        "--stderr",
        &log,
        "--",
        "sh",
        "-c",
        &script,
        beget,
    ]);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("made", || said().contains("made") || said().contains("beget: "));
    assert!(
        said().contains("ermission denied") && said().contains("refused") && said().contains("child\nmade"),
        "{}",
        said()
    );
    let list = served.json(&["ps"]);
    let find = |name: &str| list.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!(find("child")["parent"], find("maker")["id"], "{list}");
    assert!(served.ok(&["ps"]).contains("\n  child "), "below its creator");
    served.ok(&["kill", "maker"]);
    assert_eq!(served.names(), Vec::<String>::new());
    assert!(!said().contains("not for it"), "{}", said());
}

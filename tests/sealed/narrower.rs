//! Fewer grants for one spawn: only what was sealed and is named again is left.

use beget::{Command, Grant, Nursery, Root, Variation};
use beget_tests::{Need, Scratch, skip};

use super::*;

#[test]
fn files_are_those_that_both_allow() {
    let scratch = Scratch::new();
    let names = ["both", "sealed", "asked"];
    for name in names {
        scratch.file(name, "x");
    }
    let at = |name: &str| scratch.at(name);
    let mut command = probe(&["try"]);
    command.args(names.iter().flat_map(|name| ["read".to_owned(), at(name)]));
    command.args(["write".to_owned(), at("both")]);
    command.grants([Grant::Base, Grant::Write(at("both").into()), Grant::Read(at("sealed").into())]);
    let sealed = sealed(command);
    let said = |results: [&str; 4]| {
        let lines =
            names.iter().map(|name| format!("read {}", at(name))).chain([format!("write {}", at("both"))]);
        fine(&lines.zip(results).map(|(line, result)| format!("{line} {result}\n")).collect::<String>())
    };
    assert_eq!(spawned(&sealed, &mut Variation::new()), said(["ok", "ok", "EACCES", "ok"]));
    let mut narrow = Variation::new();
    narrow
        .narrow(&[Grant::Base, Grant::Read(at("both").into()), Grant::Read(at("asked").into())])
        .expect("they can be opened");
    assert_eq!(spawned(&sealed, &mut narrow), said(["ok", "EACCES", "EACCES", "EACCES"]));
    // What was opened for it is what counts, whatever the name means later.
    std::fs::rename(at("both"), at("moved")).expect("our own");
    scratch.file("both", "another");
    assert_eq!(spawned(&sealed, &mut narrow), said(["EACCES", "EACCES", "EACCES", "EACCES"]));
    assert_eq!(spawned(&sealed, &mut Variation::new()), said(["EACCES", "ok", "EACCES", "EACCES"]));
}

#[test]
fn processes_and_sockets_are_those_that_both_allow() {
    let one = |words: &[&str], sealed_grant: Option<Grant>, asked: &[Grant]| {
        let mut command = probe(words);
        command.grant(Grant::Base).grants(sealed_grant);
        let sealed = sealed(command);
        let mut variation = Variation::new();
        variation.narrow(&[&[Grant::Base], asked].concat()).expect("they can be opened");
        let plain = spawned(&sealed, &mut Variation::new()).1;
        let narrow = spawned(&sealed, &mut variation).1;
        // And another one beside it is as it was.
        assert_eq!(spawned(&sealed, &mut Variation::new()).1, plain);
        (plain.trim().to_owned(), narrow.trim().to_owned())
    };
    let pair = |plain: &str, narrow: &str| (plain.to_owned(), narrow.to_owned());
    assert_eq!(one(&["fork"], Some(Grant::Spawn), &[]), pair("ok", "EPERM"));
    assert_eq!(one(&["fork"], Some(Grant::Spawn), &[Grant::Spawn]), pair("ok", "ok"));
    assert_eq!(one(&["fork"], None, &[Grant::Spawn]), pair("EPERM", "EPERM"));
    // AF_INET, SOCK_DGRAM and SOCK_STREAM.
    let (udp, tcp) = (["socket", "2", "2", "0"], ["socket", "2", "1", "0"]);
    assert_eq!(one(&udp, Some(Grant::Net), &[]), pair("ok", "EAFNOSUPPORT"));
    assert_eq!(one(&udp, Some(Grant::Net), &[Grant::Net]), pair("ok", "ok"));
    assert_eq!(one(&udp, Some(Grant::Net), &[Grant::InetDns]), pair("ok", "ok"));
    let narrow = one(&udp, Some(Grant::Net), &[Grant::TcpConnect(80)]);
    assert_eq!(narrow, pair("ok", "EACCES"));
    assert_eq!(one(&tcp, Some(Grant::Net), &[Grant::TcpConnect(80)]), pair("ok", "ok"));
    assert_eq!(one(&tcp, Some(Grant::TcpConnect(80)), &[Grant::Net]), pair("ok", "ok"));
    let narrow = one(&udp, Some(Grant::TcpConnect(80)), &[Grant::Net]);
    assert_eq!(narrow.0, narrow.1);
}

#[test]
fn it_holds_in_a_nursery_and_is_not_pretended_in_a_private_root() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "x");
    let mut command = probe(&["try", "read", &path]);
    command.grants([Grant::Base, Grant::Read(path.clone().into())]);
    let sealed = sealed(command);
    let mut narrow = Variation::new();
    narrow.stdout(Stdio::piped()).narrow(&[Grant::Base]).expect("they can be opened");
    let nursery = Nursery::new().expect("a nursery");
    let process = sealed.spawn(&narrow, Some(&nursery)).expect("spawn");
    let output = process.wait_with_output().expect("wait");
    assert_eq!(text(&output.stdout), format!("read {path} EACCES\n"));

    let mut command = Command::new(program("probe"));
    command.args(["try", "read", &path, "create", "/tmp/own"]).root(Root::new());
    command.grants([Grant::Base, Grant::Read(path.clone().into())]);
    let Ok(sealed) = command.seal() else {
        return skip(
            "it_holds_in_a_nursery_and_is_not_pretended_in_a_private_root",
            Need::Machine("user namespaces"),
        );
    };
    // What would be left to read there is everything; so it is not pretended.
    let error = sealed.spawn(&narrow, None).expect_err("it cannot be").to_string();
    let words = "in a private root all that is there may be read: seal one with fewer grants";
    assert_eq!(error, format!("narrower grants: {words}"));
}

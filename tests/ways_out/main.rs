//! P holds A and B, C gets A: whatever C tries from inside, no way to data, a process, the network or a service that was not
//! granted is open. The corpus first runs bare, as a contrast: nearly all of it is open then, so that closed means closed by us.
//!
//! As an ordinary user only: root's ordinary rights would open ways that are nobody's to close.

use std::collections::BTreeSet;

use beget::Support;
use beget_tests::ways_out::{Targets, Verdict};
use beget_tests::{Need, is_root, program, skip};

fn judge(launcher: &[&str]) -> Vec<Verdict> {
    let launcher: Vec<String> = launcher.iter().map(ToString::to_string).collect();
    let mut targets = Targets::arrange(&program("attacker")).expect("the targets can be made");
    let said = targets.run(&launcher, "").expect("the attacker reaches its end");
    targets.verdicts(&said)
}

fn open(verdicts: &[Verdict]) -> BTreeSet<String> {
    verdicts
        .iter()
        .filter(|verdict| verdict.fails())
        .map(|verdict| format!("{} ({})", verdict.name, verdict.detail))
        .collect()
}

/// `beget run` with what the attacker itself needs, and the one granted folder.
fn beget_run(flags: &[&str]) -> Vec<Verdict> {
    let beget = program("beget-under-test").display().to_string();
    let before = [&beget, "run", "--base", "--exec", "{attacker}", "--write", "{dir}"];
    judge(&[&before, flags, &["--"]].concat())
}

#[test]
fn bare_nearly_everything_is_open() {
    if is_root() {
        return skip("bare_nearly_everything_is_open", Need::OrdinaryUser);
    }
    let open = open(&judge(&["/bin/sh", "-c", "\"$@\"; exit $?", "sh"]));
    // Hundreds on any kernel; what is missing here differs with what the machine has.
    assert!(open.len() > 250, "only {} ways are open bare: the corpus shows nothing here", open.len());
}

#[test]
fn under_beget_no_way_out_is_open() {
    if is_root() {
        return skip("under_beget_no_way_out_is_open", Need::OrdinaryUser);
    }
    for flags in [&[][..], &["--spawn"], &["--only"], &["--tcp-connect", "1"]] {
        assert_eq!(open(&beget_run(flags)), BTreeSet::new(), "with {flags:?}");
    }
    // The right to listen on one port is, to Landlock, the right to listen unbound: SECURITY.md says so, and nothing more is open.
    let mut open = open(&beget_run(&["--tcp-bind", "1", "--spawn"]));
    open.retain(|way| !way.starts_with("net.listen_unbound"));
    assert_eq!(open, BTreeSet::new());
}

#[test]
fn on_older_kernels_no_way_out_is_open() {
    if is_root() {
        return skip("on_older_kernels_no_way_out_is_open", Need::OrdinaryUser);
    }
    for abi in 1..Support::detect().landlock.unwrap_or(0).min(7) {
        let mask = format!("landlock={abi}");
        assert_eq!(open(&beget_run(&["--as-if", &mask])), BTreeSet::new(), "with Landlock ABI {abi}");
    }
}

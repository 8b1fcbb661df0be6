//! Whoever takes part is killed while requests run: nobody is answered wrongly, and nothing is left.

use std::process::{Child, Stdio};

use beget_tests::{mark, marked};

use super::served::{Served, until};

/// A product that runs until it is ended, which all can find by its mark; and whoever asked for it.
fn running(served: &Served, mark: &str) -> Child {
    let before = marked(mark).len();
    let mut command =
        served.beget(&["factory", "run", "sh", "--", &format!("while :; do read x; done # {mark}")]);
    // An input that does not end.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("it can be started");
    // The requestor's own words have the mark too.
    until("a product", || marked(mark).len() >= before + 2);
    child
}

fn gone(mark: &str) {
    until("nothing left", || marked(mark).is_empty());
}

fn factory() -> (Served, String) {
    let served = Served::start(&[]);
    served.factory(&["create", "sh", "--base", "--", "sh", "-c"]);
    (served, mark())
}

#[test]
fn a_requestor_that_is_killed_takes_its_product_along_and_no_other() {
    let (served, mark) = factory();
    let mut one = running(&served, &mark);
    let mut two = running(&served, &mark);
    one.kill().expect("ours");
    one.wait().expect("ours");
    until("one product left", || marked(&mark).len() == 2);
    assert!(two.try_wait().expect("ours").is_none());
    two.kill().expect("ours");
    two.wait().expect("ours");
    gone(&mark);
    served.factory(&["run", "sh", "--", "exit 0"]);
}

#[test]
fn a_factory_that_is_ended_takes_its_products_along_and_says_so() {
    for killed in [true, false] {
        let (served, mark) = factory();
        let child = running(&served, &mark);
        if killed {
            Served::kill(super::keeper(&served, "sh"));
        } else {
            served.factory(&["destroy", "sh"]);
        }
        let output = child.wait_with_output().expect("ours");
        let said = beget_tests::text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains("factory: it has ended"), "{said}");
        gone(&mark);
        until("not listed", || served.factory(&["list"]) == "no factory lives\n");
        let said = served.no_factory(125, &["run", "sh"]);
        assert!(said.contains("factory sh: it has ended"), "{said}");
    }
}

#[test]
fn products_and_factories_outlive_a_service_that_is_killed() {
    let (served, mark) = factory();
    let mut child = running(&served, &mark);
    Served::kill(served.part("service"));
    served.factory(&["run", "sh", "--", "exit 0"]);
    assert!(child.try_wait().expect("ours").is_none());
    child.kill().expect("ours");
    child.wait().expect("ours");
    gone(&mark);
}

#[test]
fn a_factory_ends_with_its_monitor_or_outlives_it_as_the_service_was_told() {
    for policy in ["die", "live"] {
        let served = Served::start(&["--on-monitor-death", policy]);
        served.factory(&["create", "sh", "--base", "--", "sh", "-c"]);
        let mark = mark();
        let mut child = running(&served, &mark);
        Served::kill(served.part("monitor"));
        if policy == "die" {
            let output = child.wait_with_output().expect("ours");
            assert_eq!(output.status.code(), Some(125));
            until("not listed", || served.factory(&["list"]) == "no factory lives\n");
        } else {
            served.factory(&["run", "sh", "--", "exit 0"]);
            assert!(child.try_wait().expect("ours").is_none());
            child.kill().expect("ours");
            child.wait().expect("ours");
        }
        gone(&mark);
    }
}

#[test]
fn a_product_that_is_killed_is_told_as_such() {
    let (served, mark) = factory();
    let child = running(&served, &mark);
    for number in marked(&mark).into_iter().filter(|number| *number != child.id()) {
        Served::kill(number as i32);
    }
    assert_eq!(child.wait_with_output().expect("ours").status.code(), Some(137));
    gone(&mark);
}

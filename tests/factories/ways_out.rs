//! The corpus of ways out, inside products: not one attempt more succeeds than in a process that was started cold with the same grants.

use std::collections::BTreeSet;

use beget::{Command, Grant};
use beget_tests::ways_out::Targets;
use beget_tests::{Need, program, skip};

/// All that is open, of every class.
fn open(how: &str) -> BTreeSet<String> {
    let launcher = [program("through-factory").display().to_string(), how.to_owned(), "{dir}".to_owned()];
    let mut targets = Targets::arrange(&program("attacker")).expect("the targets can be made");
    let said = targets.run(&launcher, "").unwrap_or_else(|error| panic!("{how}: {error}"));
    let verdicts = targets.verdicts(&said);
    assert!(verdicts.len() > 250, "{how}: only {} attempts", verdicts.len());
    verdicts.into_iter().filter(|verdict| verdict.state == "open").map(|verdict| verdict.name).collect()
}

fn no_more_than_cold(warm: &[&str], with: &str, declared: &[&str]) {
    let cold = open(&format!("command{with}"));
    for how in warm {
        let how = format!("{how}{with}");
        let mut more: Vec<String> = open(&how).difference(&cold).cloned().collect();
        more.retain(|way| !declared.contains(&way.as_str()));
        assert_eq!(more, [""; 0], "{how}");
    }
}

#[test]
fn no_more_ways_lead_out_of_a_product_than_out_of_a_command() {
    no_more_than_cold(&["main", "entry,pool", "stop,inspectable"], "", &[]);
}

#[test]
fn nor_where_it_may_create_processes() {
    no_more_than_cold(&["stop,pool", "main"], ",spawn", &[]);
}

#[test]
fn nor_out_of_one_in_a_private_root() {
    let made = Command::new("true").grant(Grant::Base).root(beget::Root::new()).status();
    if made.is_err_and(|error| error.to_string().contains("user namespaces are refused")) {
        return skip("nor_out_of_one_in_a_private_root", Need::Machine("user namespaces"));
    }
    // The root is one for all products of a template, and so are the numbers that its /proc lists: a declared hole.
    no_more_than_cold(&["main,pool", "stop"], ",root,spawn", &["proc.list"]);
}

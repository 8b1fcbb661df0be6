//! What a domain may be asked to be: everything that `beget run` takes, through the service.

use beget_tests::{Need, skip, text};

use super::served::{Served, until};

/// Whether user namespaces are refused here, as what was said tells.
fn is_refused(said: &str) -> bool {
    said.contains("user namespaces are refused")
}

#[test]
fn a_private_root_is_a_nursery_of_its_own() {
    let served = Served::start(&[]);
    let log = served.scratch.at("log");
    let script = "echo $$; ls /; sleep 1000 & exec sleep 1000";
    let output = served.run(&[
        "spawn", "rooted", "--root", "--base", "--spawn", "--tmpfs", "/own", "--stdout", &log, "--", "sh",
        "-c", script,
    ]);
    if is_refused(&text(&output.stderr)) {
        return skip("a_private_root_is_a_nursery_of_its_own", Need::Machine("user namespaces"));
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("it said what it sees", || said().contains("own") && said().contains("usr"));
    let inside: u32 = said().lines().next().unwrap().parse().unwrap();
    let outside = served.json(&["ps"])[0]["pid"].as_u64();
    assert!(inside < 10 && outside != Some(inside.into()), "{inside} {outside:?}");
    assert!(!said().contains("home"), "{}", said());
    let ended = served.json(&["kill", "rooted"]);
    assert_eq!(ended[0]["state"], "killed", "{ended}");
    // And again, at the same name.
    served.ok(&["spawn", "rooted", "--root", "--base", "--tied", "--", "true"]);
}

#[test]
fn limits_of_the_tree_are_kept_or_told() {
    let served = Served::start(&[]);
    let words = [
        "spawn",
        "small",
        "--base",
        "--spawn",
        "--processes",
        "4",
        "--tied",
        "--stdio",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo all",
    ];
    let output = served.run(&words);
    let said = text(&output.stderr);
    if said.contains("promise processes") || said.contains("cgroup") && !said.contains("fork") {
        return skip("limits_of_the_tree_are_kept_or_told", Need::Machine("a cgroup of its own"));
    }
    assert!(!output.status.success() && !text(&output.stdout).contains("all"), "{said}");
    assert!(served.names().is_empty());
}

#[test]
fn settings_and_descriptors_arrive() {
    let served = Served::start(&[]);
    let given = served.scratch.file("given", "read me");
    let log = served.scratch.at("log");
    let script = "echo $LISTEN_FDNAMES $A $B; cat <&3; pwd; umask; ulimit -n";
    served.ok(&[
        "spawn",
        "all",
        "--base",
        "--fd",
        &format!("file={given}"),
        "--env",
        "A=1",
        "--env",
        "B=2",
        "--cwd",
        "/usr",
        "--open-files",
        "77",
        "--stdout",
        &log,
        "--tied",
        "--spawn",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("file:beget 1 2") || said.contains("beget:file 1 2"), "{said}");
    assert!(said.contains("read me/usr\n0022\n77\n"), "{said}");
}

#[test]
fn a_service_of_more_nurseries_serves_the_same() {
    let served = Served::start(&["--nurseries", "3"]);
    let names: Vec<String> = (0..8).map(|number| format!("d{number}")).collect();
    for name in &names {
        served.ok(&["spawn", name, "--base", "--", "sleep", "1000"]);
    }
    assert_eq!(served.names(), names);
    let words: Vec<&str> = ["kill"].into_iter().chain(names.iter().map(String::as_str)).collect();
    served.ok(&words);
    assert!(served.names().is_empty());
}

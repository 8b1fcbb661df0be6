//! What outlives what: each part is killed, as nobody can refuse, while others wait.

use std::process::Stdio;

use super::served::{Served, until};

fn exists(number: i32) -> bool {
    // A zombie has ended.
    let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_service_that_is_killed_loses_nothing() {
    let served = Served::start(&[]);
    let go = served.scratch.at("go");
    let script = format!("while ! [ -e {go} ]; do sleep 0.02; done; exit 5");
    let folder = served.scratch.path().to_str().unwrap();
    served.ok(&["spawn", "job", "--base", "--spawn", "--read", folder, "--", "sh", "-c", &script]);
    let mut waiting =
        served.beget(&["wait", "job"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        let service = served.part("service");
        Served::kill(service);
        until("another service", || {
            let output = served.run(&["serve", "--status"]);
            output.status.success() && served.part("service") != service
        });
        assert_eq!(served.names(), ["job"]);
        assert!(waiting.try_wait().unwrap().is_none());
    }
    std::fs::write(&go, "").unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(5));
    // And it is remembered.
    Served::kill(served.part("service"));
    served.fails(5, &["wait", "job"]);
}

#[test]
fn domains_end_with_their_monitor_when_that_was_chosen() {
    let served = Served::start(&[]);
    let spawned = served.json(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    let number = spawned["pid"].as_i64().unwrap() as i32;
    Served::kill(served.part("monitor"));
    until("ended", || !exists(number));
    assert_ne!(served.run(&["wait", "job"]).status.code(), Some(0));
    // Another one serves.
    until("spawned again", || served.run(&["spawn", "next", "--base", "--", "true"]).status.success());
    served.ok(&["wait", "next"]);
}

#[test]
fn domains_outlive_their_monitor_when_that_was_chosen() {
    let served = Served::start(&["--on-monitor-death", "live"]);
    let spawned = served.json(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    let number = spawned["pid"].as_i64().unwrap() as i32;
    let monitor = served.part("monitor");
    Served::kill(monitor);
    until("another monitor", || {
        let now = served.part("monitor");
        now != 0 && now != monitor
    });
    assert!(exists(number));
    assert_eq!(served.names(), ["job"]);
    let ended = served.json(&["kill", "job"]);
    assert_eq!(ended[0]["signal"], 9, "{ended}");
    assert!(!exists(number));
}

#[test]
fn domains_outlive_everything_and_are_found_again() {
    let mut served = Served::start(&["--on-monitor-death", "live"]);
    let spawned = served.json(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    let number = spawned["pid"].as_i64().unwrap() as i32;
    let parts = [served.part("service"), served.part("monitor")];
    served.supervisor().kill().unwrap();
    served.supervisor().wait().unwrap();
    until("parts ended", || parts.iter().all(|part| !exists(*part)));
    assert!(exists(number));
    served.serve(&["--on-monitor-death", "live"]);
    until("taken over", || served.names() == ["job"]);
    served.ok(&["kill", "job"]);
    assert!(!exists(number));
}

#[test]
fn a_signal_ends_the_service_and_its_domains() {
    let mut served = Served::start(&[]);
    let spawned = served.json(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    let number = spawned["pid"].as_i64().unwrap() as i32;
    let supervisor = served.supervisor().id() as i32;
    // SAFETY: sends a signal to our own child.
    assert_eq!(unsafe { libc::kill(supervisor, libc::SIGTERM) }, 0);
    assert!(served.supervisor().wait().unwrap().success());
    assert!(!exists(number));
}

#[test]
fn a_tied_domain_ends_with_whoever_stays_for_it() {
    let served = Served::start(&[]);
    let words = ["spawn", "job", "--base", "--tied", "--", "sleep", "1000"];
    let mut client = served.beget(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("there", || served.names() == ["job"]);
    client.kill().unwrap();
    client.wait().unwrap();
    until("ended", || served.names().is_empty());
    let output =
        served.run(&["spawn", "code", "--base", "--tied", "--stdio", "--", "sh", "-c", "echo out; exit 9"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(9), &b"out\n"[..]));
}

/// Births and ends go on while the parts are killed: each domain's exit code is told as it was, and none is lost.
#[test]
fn exit_codes_outlive_a_storm() {
    const DOMAINS: usize = 25;
    let served = Served::start(&["--on-monitor-death", "live"]);
    let over = std::sync::atomic::AtomicUsize::new(0);
    let work = |worker: usize| {
        for number in 0..DOMAINS {
            let (name, code) = (format!("w{worker}-{number}"), number as i32 + 1);
            let script = format!("i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; exit {code}");
            // One that was asked for when the monitor was killed was not made, and that is told.
            until("spawned", || {
                let output = served.run(&["spawn", &name, "--base", "--", "sh", "-c", &script]);
                let said = beget_tests::text(&output.stderr);
                assert!(output.status.success() || said.contains("monitor"), "{said}");
                output.status.success()
            });
            served.fails(code, &["wait", &name]);
        }
        over.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let work = &work;
            scope.spawn(move || work(worker));
        }
        let mut turn = 0;
        while over.load(std::sync::atomic::Ordering::Relaxed) < 2 {
            let part = served.part(["service", "monitor"][turn % 2]);
            if part > 1 {
                // It may have been started again meanwhile.
                // SAFETY: sends a signal to a process that the service said is a part of it.
                unsafe { libc::kill(part, libc::SIGKILL) };
            }
            turn += 1;
        }
    });
    assert_eq!(served.names(), Vec::<String>::new());
    let history = served.json(&["history"]);
    assert_eq!(history.as_array().unwrap().len(), 2 * DOMAINS);
}

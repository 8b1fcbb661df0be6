//! The units for systemd: it takes them, and the parts run on sockets that are passed as it passes them.

use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, has, program, skip, text};

use super::served::{Served, until};

const UNITS: &[(&str, &str)] = &[
    ("beget-service.socket", include_str!("../../packaging/systemd/user/beget-service.socket")),
    ("beget-service.service", include_str!("../../packaging/systemd/user/beget-service.service")),
    ("beget-monitor.socket", include_str!("../../packaging/systemd/user/beget-monitor.socket")),
    ("beget-monitor.service", include_str!("../../packaging/systemd/user/beget-monitor.service")),
];
const SYSTEM_UNITS: &[(&str, &str)] = &[
    ("beget-service.socket", include_str!("../../packaging/systemd/system/beget-service.socket")),
    ("beget-service.service", include_str!("../../packaging/systemd/system/beget-service.service")),
    ("beget-monitor.socket", include_str!("../../packaging/systemd/system/beget-monitor.socket")),
    ("beget-monitor.service", include_str!("../../packaging/systemd/system/beget-monitor.service")),
];

#[test]
fn systemd_takes_the_units() {
    if !has("systemd-analyze") {
        return skip("systemd_takes_the_units", Need::Machine("systemd-analyze"));
    }
    for (units, flag) in [(UNITS, "--user"), (SYSTEM_UNITS, "--system")] {
        let scratch = Scratch::new();
        let beget = program("beget-under-test");
        let mut paths = Vec::new();
        for (name, text) in units {
            paths.push(scratch.file(name, text.replace("/usr/bin/beget", beget.to_str().unwrap())));
        }
        let output = finish(
            Command::new("systemd-analyze")
                .args(["verify", "--man=no", flag])
                .args(&paths)
                .env("XDG_RUNTIME_DIR", scratch.path())
                .env("SYSTEMD_UNIT_PATH", format!("{}:", scratch.path().display()))
                .stdin(Stdio::null()),
        );
        // Of other units of the machine it may say what it likes.
        let said = text(&output.stderr);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("beget-")).collect();
        assert!(ours.is_empty(), "{flag}: {said}");
    }
}

/// Both parts, each started by whoever passes it a socket when somebody connects, as systemd does.
#[test]
fn the_parts_run_on_sockets_that_are_passed() {
    let test = "the_parts_run_on_sockets_that_are_passed";
    if !has("systemd-socket-activate") {
        return skip(test, Need::Machine("systemd-socket-activate"));
    }
    let served = Served::none();
    let state = served.scratch.at("s.d");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let at_monitor = format!("{state}/monitor.sock");
    let beget = program("beget-under-test");
    let part = |name: &str, socket: &str, words: &[&str]| {
        let part = format!("{name}-part");
        Command::new("systemd-socket-activate")
            .args(["--seqpacket", "--listen", socket, "--fdname", name, beget.to_str().unwrap(), &part])
            .args(["--state", &state])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(served.scratch.at(name)).unwrap())
            .spawn()
            .unwrap()
    };
    let mut parts =
        [part("monitor", &at_monitor, &[]), part("service", &served.socket(), &["--monitor", &at_monitor])];
    let listens = |path: &str| std::path::Path::new(path).exists();
    until("listening", || listens(&at_monitor) && listens(&served.socket()));
    served.ok(&["spawn", "job", "--base", "--", "sh", "-c", "exit 4"]);
    served.fails(4, &["wait", "job"]);
    served.ok(&["serve", "--stop"]);
    for part in &mut parts {
        assert!(part.wait().unwrap().success());
    }
}

//! The units for systemd: it takes them, and the parts run on sockets that are passed as it passes them.

use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, has, program, skip, text};

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

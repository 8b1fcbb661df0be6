//! An ordinary user: with a cgroup of its own, which somebody delegated, and without.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, is_root, program, run, skip, text};
use serde_json::Value;

use super::groups::trees_can_be_limited;
use super::ran;

const NOBODY: u32 = 65534;

#[test]
fn without_one_it_is_told_what_is_missing() {
    if is_root() {
        return skip("without_one_it_is_told_what_is_missing", Need::OrdinaryUser);
    }
    if run(&["show", "--base", "--memory", "64M"]).status.success() {
        return skip("without_one_it_is_told_what_is_missing", Need::Machine("to have no cgroup of its own"));
    }
    let (code, out, errors) = ran(&["--memory", "64M", "--", "true"]);
    assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1), "{errors}");
    let why = errors
        .strip_prefix("beget: limit --memory: needs a cgroup, and none can be made: ")
        .and_then(|rest| rest.strip_suffix("; give it up with --degrade memory\n"))
        .unwrap_or_else(|| panic!("{errors}"));
    assert!(
        ["permission denied", "memory controller", "mounted"].iter().any(|part| why.contains(part)),
        "{why}"
    );
}

/// A group that belongs to the user nobody, and one below for its processes where it is of version 2.
struct Delegated {
    groups: Vec<PathBuf>,
    joined: Vec<PathBuf>,
}

impl Delegated {
    /// Makes one in each hierarchy that root's own limits are kept in.
    fn make() -> Delegated {
        let mut all = Delegated { groups: Vec::new(), joined: Vec::new() };
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("it can be read");
        let path = |controller: &str| {
            let line = own.lines().find(|line| line.split(':').nth(1) == Some(controller));
            line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("/").trim_start_matches('/').to_owned()
        };
        let shown = run(&["show", "--base", "--memory", "64M", "--processes", "50", "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        let by = |promise: &str| {
            let line = |one: &&Value| one["promise"] == promise;
            let lines = shown["enforced"].as_array().expect("a list");
            lines.iter().find(line).and_then(|line| line["by"].as_str()).unwrap_or_default().to_owned()
        };
        let mut unified = Vec::new();
        for (promise, controller) in [("memory", "memory"), ("processes", "pids")] {
            if by(promise).starts_with("cgroup v2") {
                unified.push(controller);
            } else {
                let place = Path::new("/sys/fs/cgroup").join(controller).join(path(controller));
                let group = all.add(&place);
                all.joined.push(group);
            }
        }
        if !unified.is_empty() {
            let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
            let mount = mounts.into_iter().find(|mount| Path::new(mount).join("cgroup.controllers").exists());
            let root = Path::new(mount.expect("version 2 is mounted"));
            // Root's own runs have enabled them at the top by now, or do so here.
            for controller in &unified {
                std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                    .expect("root may");
            }
            let group = all.add(root);
            let leaf = all.add_to(&group, "leaf");
            all.joined.push(leaf);
        }
        all
    }

    fn add(&mut self, place: &Path) -> PathBuf {
        self.add_to(place, &format!("delegated-by-test-{}", std::process::id()))
    }

    fn add_to(&mut self, place: &Path, name: &str) -> PathBuf {
        let group = place.join(name);
        std::fs::create_dir(&group).expect("root may");
        let own = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), None).expect("root may");
        own(&group);
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
            if group.join(file).exists() {
                own(&group.join(file));
            }
        }
        self.groups.push(group.clone());
        group
    }

    /// Runs `beget` in it, as nobody.
    fn run(&self, beget: &str, words: &[&str]) -> (Option<i32>, String) {
        let join: String = self
            .joined
            .iter()
            .map(|group| format!("echo $$ >{}/cgroup.procs && ", group.display()))
            .collect();
        let script = format!(
            "{join} exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all \"$@\""
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "sh", beget]).args(words).current_dir("/");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        let output = finish(&mut command);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for group in self.groups.iter().rev() {
            // A process that was reaped may be counted for a moment more.
            for _ in 0..1000 {
                match std::fs::remove_dir(group) {
                    Ok(()) => break,
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
                }
            }
        }
    }
}

#[test]
fn with_one_its_trees_are_limited() {
    if !is_root() {
        return skip("with_one_its_trees_are_limited", Need::Root);
    }
    if !trees_can_be_limited("with_one_its_trees_are_limited") {
        return;
    }
    let scratch = Scratch::new();
    let beget = scratch.at("beget");
    std::fs::copy(program("beget-under-test"), &beget).expect("it can be copied");
    let delegated = Delegated::make();
    let flags = ["run", "--base", "--spawn", "--memory", "64M", "--processes", "12", "--json", "--"];
    let inside = |words: &[&str]| {
        let (code, said) = delegated.run(&beget, &[&flags, words].concat());
        let result: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
            .unwrap_or_else(|_| panic!("{said}"));
        (code, said, result)
    };
    let (code, said, result) = inside(&["sh", "-c", "echo as $(id -u)"]);
    assert!(code == Some(0) && said.starts_with("as 65534\n"), "{said}");
    assert_eq!(result["out_of_memory"], false);
    let (code, said, result) = inside(&["perl", "-e", "$x = 'x' x (200 << 20)"]);
    assert_eq!((code, &result["out_of_memory"]), (Some(137), &Value::Bool(true)), "{said}");
    let (_, said, result) = inside(&["bash", "-c", "b() { b | b & }; b 2>/dev/null; sleep 0.2"]);
    assert_eq!(result["tree"]["processes_peak"], 12, "{said}");
    for group in &delegated.groups {
        let below = std::fs::read_dir(group).expect("it is there").flatten();
        let left = below.filter(|entry| entry.file_name().to_string_lossy().starts_with("beget-"));
        assert_eq!(left.count(), 0, "in {}", group.display());
    }
}

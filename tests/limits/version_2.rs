//! Memory by cgroup version 2, whatever the system has that the tests run on: in a kernel of its own, started as a program (user-mode
//! Linux), which sees this system's files and cannot write them. It has no Landlock, so what rests on that is given up there.

use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, has, program, skip, text};
use serde_json::Value;

const KERNEL: &str = "linux.uml";

/// What the kernel starts instead of a system. Its first session is nobody's, so what is tried runs in another.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 group /sys/fs/cgroup; mount -t tmpfs tmp /run
setsid -w sh HERE/tried >/run/log 2>&1 </dev/null
echo END >>/run/log
cat /run/log >/dev/tty0
echo o >/proc/sysrq-trigger
sleep 10
"#;

/// Lines of `name what`, where what is a code, a list or a result.
const TRIED: &str = r#"
given_up="--degrade files --degrade truncation --degrade devices --degrade tracing --degrade signals --degrade abstract-sockets"
hold='$x = "x" x ($ARGV[0] << 20); select(undef, undef, undef, 0.3)'
group=/sys/fs/cgroup
inside() { name=$1; shift; "$@" 2>/run/errors; echo "$name-code $?"; echo "$name $(tail -n 1 /run/errors)"; echo "$name-said $(head -n 1 /run/errors)"; }
beget() { HERE/beget run $given_up --base --json "$@"; }
groups() { echo "$1 $(cd $group && find . -mindepth 1 -type d | sort | tr '\n' ' ')"; }
echo "shown $(HERE/beget show $given_up --base --memory 64M --processes 9 --json | tr -d '\n')"
inside fine beget --memory 200M -- perl -e "$hold" 50
inside hog beget --memory 64M -- perl -e "$hold" 100
inside four beget --spawn --memory 100M -- sh -c "for i in 1 2 3 4; do perl -e '$hold' 40 & done; wait"
groups after
# Killed, it leaves what the next removes.
HERE/beget run $given_up --base --spawn --memory 64M -- sleep 25 &
until grep -qs . $group/beget-*/cgroup.procs; do sleep 0.1; done
kill -9 $!; wait $!
while grep -qs . $group/beget-*/cgroup.procs; do sleep 0.1; done
groups killed
beget --memory 64M -- true 2>/dev/null
groups next
# As under systemd: a group that is nobody's, with the processes in one below.
mkdir -p $group/user/app/scope
echo '+memory +pids' >$group/cgroup.subtree_control
echo '+memory +pids' >$group/user/cgroup.subtree_control
chown -R 65534 $group/user/app
nobody() { sh -c 'echo $$ >'$group/$1'/cgroup.procs && shift && exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$@"' sh "$@"; }
scope() { nobody user/app/scope HERE/beget run $given_up --base --json "$@"; }
inside scope scope --memory 64M --processes 9 -- perl -e "$hold" 100
# What the caller is held to holds for what is made beside it.
echo 32M >$group/user/app/scope/memory.max; echo 5 >$group/user/app/scope/pids.max
inside narrow scope --memory 500M -- perl -e "$hold" 50
inside narrow-processes scope --spawn --processes 50 -- sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
mkdir $group/session
inside session nobody session HERE/beget run $given_up --base --memory 64M -- true
groups end
"#;

struct Told(String);

impl Told {
    fn line(&self, name: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0)).trim()
    }

    fn result(&self, name: &str) -> Value {
        serde_json::from_str(self.line(name)).unwrap_or_else(|_| panic!("{name} in {}", self.0))
    }
}

#[test]
fn a_whole_tree_is_ended_when_its_memory_is_used_up() {
    if !has(KERNEL) {
        let need = Need::Machine("a kernel to start as a program, of the package user-mode-linux");
        return skip("a_whole_tree_is_ended_when_its_memory_is_used_up", need);
    }
    let scratch = Scratch::new();
    let here = scratch.path().to_str().expect("a temporary path is text");
    std::fs::copy(program("beget-under-test"), scratch.at("beget")).expect("it can be copied");
    scratch.file("tried", TRIED.replace("HERE", here));
    let init = scratch.script("init", INIT.replace("HERE", here));
    let mut kernel = Command::new("timeout");
    kernel.args([
        "120",
        KERNEL,
        "mem=768M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        "con=null",
    ]);
    kernel.args(["con0=fd:0,fd:1", &format!("init={init}"), &format!("uml_dir={here}/"), "umid=kernel"]);
    kernel.env("TMPDIR", here).env("HOME", here).stdin(Stdio::null());
    let output = kernel.output().expect("it can be started");
    let told = Told(text(&output.stdout).replace('\r', "") + &text(&output.stderr));
    assert!(told.0.lines().any(|line| line == "END"), "it did not come to its end: {}", told.0);

    let by = |promise: &str| {
        let shown = told.result("shown");
        let lines = shown["enforced"].as_array().expect("a list").clone();
        lines.into_iter().find(|line| line["promise"] == promise).expect("it is promised")["by"].clone()
    };
    assert_eq!((by("memory"), by("processes")), ("cgroup v2 memory.max".into(), "cgroup v2 pids.max".into()));
    let peak = |name: &str| told.result(name)["tree"]["memory_peak"].as_u64().expect("it is known");
    for (name, code, out_of_memory, least, most) in [
        ("fine", "0", false, 50 << 20, 200 << 20),
        ("hog", "137", true, 60 << 20, 64 << 20),
        // The shell among them too, which had little.
        ("four", "137", true, 90 << 20, 100 << 20),
        ("scope", "137", true, 60 << 20, 64 << 20),
        ("narrow", "137", true, 28 << 20, 32 << 20),
    ] {
        assert_eq!(told.line(&format!("{name}-code")), code, "{name} in {}", told.0);
        assert_eq!(told.result(name)["out_of_memory"], out_of_memory, "{name}");
        assert!((least..=most).contains(&peak(name)), "{name}: {}", peak(name));
        assert!(told.result(name)["tree"]["user_time"].as_f64() > Some(0.0), "{name}");
    }
    assert_eq!(told.line("hog-said"), "beget: limit --memory 64M: the program ran out of memory");
    let tree = &told.result("narrow-processes")["tree"];
    assert_eq!(tree["processes_peak"], 5);
    assert!(tree["processes_refused"].as_u64() > Some(0));
    assert_eq!(told.line("session-code"), "125");
    assert!(
        told.line("session").contains("/sys/fs/cgroup/session: permission denied; give it up"),
        "{}",
        told.0
    );
    assert_eq!((told.line("after"), told.line("next")), ("", ""));
    assert!(told.line("killed").starts_with("./beget-"), "{}", told.line("killed"));
    assert_eq!(told.line("end"), "./session ./user ./user/app ./user/app/scope");
}

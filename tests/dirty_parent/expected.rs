//! The whole report that a child must give, made from what was declared. Nothing is left out, so nothing extra passes unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, RawFd};

pub type Report = BTreeMap<String, String>;

/// What `Command::describe` or `beget show --json` declares, in one form.
#[derive(Debug)]
pub struct Declared {
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: Vec<String>,
    pub directory: String,
    pub slots: BTreeMap<i32, String>,
    pub limits: BTreeMap<String, (u64, u64)>,
    pub umask: String,
    pub session: bool,
}

impl Declared {
    pub fn by_library(description: &beget::Description, program: &str) -> Declared {
        let text = |word: &std::ffi::OsString| word.to_str().expect("text").to_owned();
        assert!(!description.ambient && !description.foreground);
        Declared {
            program: program.to_owned(),
            arguments: description.arguments.iter().map(text).collect(),
            environment: description.environment.iter().map(text).collect(),
            directory: description.directory.clone(),
            slots: description.slots.iter().map(|slot| (slot.number, slot.name.clone())).collect(),
            limits: description
                .limits
                .iter()
                .map(|(name, soft, hard)| ((*name).to_owned(), (*soft, *hard)))
                .collect(),
            umask: format!("{:03o}", description.umask),
            session: description.session,
        }
    }

    pub fn by_show(json: &serde_json::Value, program: &str) -> Declared {
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let list = |key: &str| json[key].as_array().expect("a list").iter().map(text).collect();
        let bound = |value: &serde_json::Value| value.as_u64().unwrap_or(u64::MAX);
        let slot = |slot: &serde_json::Value| {
            (slot["number"].as_i64().expect("a number") as i32, text(&slot["name"]))
        };
        assert_eq!(json["foreground"], false);
        Declared {
            program: program.to_owned(),
            arguments: list("arguments"),
            environment: list("environment"),
            directory: text(&json["directory"]),
            slots: json["descriptors"].as_array().expect("a list").iter().map(slot).collect(),
            limits: json["limits"]
                .as_object()
                .expect("an object")
                .iter()
                .map(|(name, limit)| (name.clone(), (bound(&limit["soft"]), bound(&limit["hard"]))))
                .collect(),
            umask: text(&json["umask"]),
            session: json["session"] == true,
        }
    }
}

/// What the probe will say of one of our descriptors.
pub fn seen(fd: RawFd) -> String {
    // SAFETY: the kernel writes one `stat`; numbers otherwise.
    let (status, mode) = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(fd, &mut status), 0, "descriptor {fd} is open");
        (status, libc::fcntl(fd, libc::F_GETFL))
    };
    let kind = match status.st_mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "directory",
        libc::S_IFCHR => "character",
        libc::S_IFIFO => "pipe",
        libc::S_IFSOCK => "socket",
        _ => "anonymous",
    };
    format!("{kind} kept {mode:o} {}:{}", status.st_dev, status.st_ino)
}

fn bound(value: u64) -> String {
    if value == u64::MAX { "none".to_owned() } else { value.to_string() }
}

fn joined(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// What only the running child knows.
pub struct Birth {
    pub pid: u32,
    pub parent: u32,
    pub death_signal: i32,
}

/// The report of a confined child. `descriptors` says which of our descriptors lies in each slot.
pub fn report(declared: &Declared, birth: &Birth, descriptors: &BTreeMap<i32, &dyn AsRawFd>) -> Report {
    let mut all = Report::new();
    let mut put = |key: &str, value: String| assert!(all.insert(key.to_owned(), value).is_none());

    let given: BTreeSet<&i32> = descriptors.keys().collect();
    assert_eq!(
        declared.slots.keys().collect::<BTreeSet<_>>(),
        given,
        "the slots declared are the slots given"
    );
    for (number, fd) in descriptors {
        put(&format!("fd.{number}"), seen(fd.as_raw_fd()));
    }
    put("arg.0", declared.program.clone());
    for (index, argument) in declared.arguments.iter().enumerate() {
        put(&format!("arg.{}", index + 1), argument.clone());
    }
    let named = declared.slots.keys().any(|number| *number > 2);
    let own = named.then(|| format!("LISTEN_PID={}", birth.pid));
    for (index, variable) in own.into_iter().chain(declared.environment.iter().cloned()).enumerate() {
        put(&format!("env.{index}"), variable);
    }
    // The program was executed from the first number that is no slot, which the exec closed.
    let free = (3..).find(|number| !declared.slots.contains_key(number)).expect("there are numbers");
    put("execfn", format!("/dev/fd/{free}"));
    put("comm", "probe".to_owned());
    put("secure", "0".to_owned());
    put("cwd", declared.directory.clone());
    put("umask", declared.umask.clone());
    for set in ["blocked", "pending", "ignored", "handled"] {
        put(&format!("signals.{set}"), format!("{:016x}", 0));
    }
    assert_eq!(declared.limits.len(), 16);
    for (name, (soft, hard)) in &declared.limits {
        put(&format!("limit.{name}"), format!("{} {}", bound(*soft), bound(*hard)));
    }
    let (mut users, mut groups, mut more) = ([0u32; 3], [0u32; 3], [0u32; 4096]);
    // SAFETY: the kernel writes three numbers at each, and at most as many as it is told there is room for.
    let count = unsafe {
        libc::getresuid(&mut users[0], &mut users[1], &mut users[2]);
        libc::getresgid(&mut groups[0], &mut groups[1], &mut groups[2]);
        libc::getgroups(more.len() as i32, more.as_mut_ptr())
    };
    // Who may not change them keeps them.
    let more = if beget_tests::is_root() { &mut [] } else { &mut more[..count as usize] };
    more.sort_unstable();
    put("users", joined(&users));
    put("groups", joined(&groups));
    put("groups.more", joined(more));
    for kind in ["effective", "permitted", "inheritable", "ambient"] {
        put(&format!("capabilities.{kind}"), format!("{:016x}", 0));
    }
    assert!(declared.session);
    put("pid", birth.pid.to_string());
    put("ppid", birth.parent.to_string());
    put("pgid", birth.pid.to_string());
    put("sid", birth.pid.to_string());
    put("keyring", "EPERM".to_owned());
    put("no_new_privs", "1".to_owned());
    put("seccomp", "2".to_owned());
    for absent in ["securebits", "keepcaps", "thp_disabled", "subreaper", "personality"] {
        put(absent, "0".to_owned());
    }
    put("dumpable", "1".to_owned());
    const PR_GET_MDWE: i32 = 66;
    // SAFETY: numbers only; a kernel before 6.3 does not know the option.
    let known = unsafe { libc::prctl(PR_GET_MDWE, 0usize, 0usize, 0usize, 0usize) } != -1;
    put("mdwe", if known { "0" } else { "EINVAL" }.to_owned());
    put("timerslack", "50000".to_owned());
    put("pdeathsig", birth.death_signal.to_string());
    for timer in ["real", "virtual", "profiling"] {
        put(&format!("timer.{timer}"), "off".to_owned());
    }
    put("terminal", "EACCES".to_owned());
    put("terminal.held", String::new());
    // Processor time is the caller's, as the documents say.
    // SAFETY: numbers, and one set that the kernel writes.
    let (nice, policy, processors) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        (libc::getpriority(libc::PRIO_PROCESS, 0), libc::sched_getscheduler(0), libc::CPU_COUNT(&set))
    };
    put("nice", nice.to_string());
    put("policy", policy.to_string());
    put("processors", processors.to_string());
    all
}

/// Fails with the lines that differ.
#[track_caller]
pub fn assert_equal(expected: &Report, reported: &Report) {
    let mut expected = expected.clone();
    // Before Linux 6.14 a program executed by descriptor is called by that descriptor's number.
    let number = expected["execfn"].rsplit('/').next().map(str::to_owned);
    if reported.get("comm") == number.as_ref() {
        expected.extend(number.map(|number| ("comm".to_owned(), number)));
    }
    let keys: BTreeSet<&String> = expected.keys().chain(reported.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| expected.get(*key) != reported.get(*key))
        .map(|key| format!("{key}:\n  declared {:?}\n  reported {:?}", expected.get(key), reported.get(key)))
        .collect();
    assert!(differing.is_empty(), "the child holds something else than declared:\n{}", differing.join("\n"));
}

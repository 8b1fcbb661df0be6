//! Who pays for a product: whoever asked for it, from the product's first step on, and nobody for one that there is not.

use std::path::{Path, PathBuf};

use beget::{Command, Grant, Limit, Stdio};
use beget_factory::{Factory, Options, Pool, Ready, Request};
use beget_tests::{Need, in_own_process, is_root, program, skip};

fn probe(words: &[&str], options: Options) -> Factory {
    let mut command = Command::new(program("probe"));
    command.args(words).grant(Grant::Base);
    let mut builder = Factory::builder(command);
    builder.options(options);
    builder.seal().expect("a factory")
}

fn warm(pool: usize) -> Options {
    Options { ready: Some(Ready::Entry), pool: Pool::of(pool), ..Options::default() }
}

/// The groups that this process made and that are there.
fn groups() -> Vec<PathBuf> {
    fn look(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
            look(&entry.path(), prefix, found);
        }
    }
    let mut found = Vec::new();
    look("/sys/fs/cgroup".as_ref(), &format!("beget-{}-", std::process::id()), &mut found);
    found
}

/// What the kernel says of the groups that a process is in.
fn groups_of(number: u32) -> String {
    std::fs::read_to_string(format!("/proc/{number}/cgroup")).expect("it lives")
}

/// Whether trees can be limited here; where not, a product is refused in words, and the test skips.
fn can_be_limited(factory: &Factory, test: &str) -> bool {
    let mut request = factory.request();
    request.limit(Limit::Memory(64 << 20)).stdin(Stdio::piped());
    match request.start() {
        Ok(mut process) => {
            process.kill().expect("ours");
            process.wait().expect("its end");
            return true;
        }
        Err(error) => assert!(error.part().starts_with("limit --memory"), "{error}"),
    }
    skip(test, if is_root() { Need::Machine("a cgroup that can be limited") } else { Need::Root });
    false
}

fn with(factory: &Factory, limit: Limit) -> Request {
    let mut request = factory.request();
    request.stdin(Stdio::piped()).limit(limit);
    request
}

#[test]
fn a_product_pays_from_the_bank_of_its_requestor() {
    in_own_process("bank::a_product_pays_from_the_bank_of_its_requestor", || {
        let test = "a_product_pays_from_the_bank_of_its_requestor";
        for pool in [0, 2] {
            let factory = probe(&["hold", "100"], warm(pool));
            if !can_be_limited(&factory, test) {
                return;
            }
            let template = factory.template_number().expect("a template");
            let its = groups_of(template);
            assert!(!its.contains("/beget-"), "{its}");
            for (limit, code) in [(32 << 20, 137), (400 << 20, 0)] {
                let ended =
                    with(&factory, Limit::Memory(limit)).start().expect("a product").wait().expect("its end");
                assert_eq!(ended.exit_code(), code, "{ended:?}");
                let peak = ended.tree.and_then(|tree| tree.memory_peak).expect("it is known");
                assert!(peak <= limit && (code != 0 || peak >= 100 << 20), "{peak}");
            }
            // One alone may fork nobody, whatever the pool has born before it was asked for.
            let ended =
                with(&factory, Limit::Processes(1)).start().expect("a product").wait().expect("its end");
            assert_eq!(ended.exit_code(), 0, "{ended:?}");
            // The template was in none of them, and is where it was.
            assert_eq!(groups_of(template), its);
            assert_eq!(groups(), Vec::<PathBuf>::new());
        }
    });
}

#[test]
fn a_request_that_fails_leaves_the_bank_empty() {
    in_own_process("bank::a_request_that_fails_leaves_the_bank_empty", || {
        let test = "a_request_that_fails_leaves_the_bank_empty";
        for pool in [0, 2] {
            let factory = probe(&["await", "7"], warm(pool));
            if !can_be_limited(&factory, test) {
                return;
            }
            for _ in 0..5 {
                let mut request = with(&factory, Limit::Memory(64 << 20));
                // Found out by the copy itself, when it is in its group already.
                request.current_dir_fd(std::fs::File::open("/dev/null").expect("it is there"));
                let error = request.start().expect_err("no directory");
                assert_eq!(error.part(), "working directory", "{error}");
                assert_eq!(groups(), Vec::<PathBuf>::new());
            }
            assert_eq!(factory.statistics().failed, 5);
            let mut held = with(&factory, Limit::Memory(64 << 20)).start().expect("a product");
            let own = groups_of(held.id());
            let name = format!("/beget-{}-", std::process::id());
            assert!(own.lines().any(|line| line.contains(&name)), "{own}");
            drop(held.stdin.take());
            assert_eq!(held.wait().expect("its end").exit_code(), 7);
            assert_eq!(groups(), Vec::<PathBuf>::new());
        }
    });
}

/// A group that a test made, of the hierarchy that processes are born into.
struct Group(PathBuf);

impl Group {
    fn make(test: &str) -> Option<Group> {
        if !is_root() {
            skip(test, Need::Root);
            return None;
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = words.find(|words| words.get(2) == Some(&"cgroup2")).map(|words| words[1].to_owned());
        let made =
            mount.map(|mount| Group(Path::new(&mount).join(format!("beget-test-{}", std::process::id()))));
        let made = made.filter(|group| std::fs::create_dir(&group.0).is_ok());
        if made.is_none() {
            skip(test, Need::Machine("a cgroup2 mount that can be written"));
        }
        made
    }

    fn open(&self) -> std::fs::File {
        std::fs::File::open(&self.0).expect("it was made")
    }

    fn members(&self) -> Vec<u32> {
        let list = std::fs::read_to_string(self.0.join("cgroup.procs")).expect("it was made");
        list.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir(&self.0);
        assert!(std::thread::panicking() || removed.is_ok(), "somebody is left in it: {removed:?}");
    }
}

#[test]
fn a_product_is_in_the_group_that_its_requestor_names_and_nobody_else_is() {
    in_own_process("bank::a_product_is_in_the_group_that_its_requestor_names_and_nobody_else_is", || {
        let test = "a_product_is_in_the_group_that_its_requestor_names_and_nobody_else_is";
        let Some(group) = Group::make(test) else { return };
        for options in [Options::default(), warm(0), warm(2)] {
            let factory = probe(&["await", "7"], options);
            let ask = || {
                let mut request = factory.request();
                request.stdin(Stdio::piped());
                request
            };
            let mut inside = ask().cgroup(group.open()).start().expect("a product");
            let mut outside = ask().start().expect("a product");
            assert_eq!(group.members(), [inside.id()]);
            // Which of its own it is in, the kernel says.
            let name = group.0.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(groups_of(inside.id()).contains(&name) && !groups_of(outside.id()).contains(&name));
            for product in [&mut inside, &mut outside] {
                drop(product.stdin.take());
                assert_eq!(product.wait().expect("its end").exit_code(), 7);
            }
            // Of a request that comes to nothing, nobody is in it.
            let mut lost = ask();
            lost.cgroup(group.open()).current_dir_fd(std::fs::File::open("/dev/null").expect("it is there"));
            let error = lost.start().expect_err("no directory");
            assert!(error.part().starts_with("working directory"), "{error}");
            assert_eq!(group.members(), [] as [u32; 0]);
            let done = factory.statistics();
            assert_eq!(done.failed, 1, "{done:?}");
            assert_eq!(done.hits + done.warm + done.cold, 2, "{done:?}");
        }
    });
}

#[test]
fn what_is_no_group_makes_no_product() {
    let (marks, folder) = (beget_tests::Scratch::new(), std::fs::File::open("/tmp").expect("it is there"));
    for options in [Options::default(), warm(0), warm(2)] {
        let mut command = Command::new("/bin/sh");
        let script = format!("echo >>{}", marks.at("ran"));
        command.arg("-c").arg(script).grant(Grant::Base).grant(Grant::Write(marks.path().to_owned()));
        let mut builder = Factory::builder(command);
        builder.options(options);
        let factory = builder.seal().expect("a factory");
        let mut request = factory.request();
        let error = request.cgroup(folder.try_clone().expect("a copy")).start().expect_err("it is no cgroup");
        let part = error.part();
        assert!(part.starts_with("cgroup") || part == "process", "{error}");
        assert_eq!(factory.statistics().failed, 1);
    }
    assert!(!Path::new(&marks.at("ran")).exists());
}

#[test]
fn a_product_has_the_processors_of_its_requestor() {
    let allowed = |number: u32| -> usize {
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).expect("it is told");
        line.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit.count_ones() as usize).sum()
    };
    let factory = probe(&["await", "7"], warm(1));
    let template = factory.template_number().expect("a template");
    let before = allowed(template);
    let mut process = with(&factory, Limit::Processors(1)).start().expect("a product");
    assert_eq!(allowed(process.id()), 1);
    assert_eq!(allowed(template), before);
    assert_eq!(process.wait().expect("its end").exit_code(), 7);
}

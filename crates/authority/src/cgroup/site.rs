//! Where groups can be made, and what is set in each of them.

use super::directory::Directory;
use super::hierarchy::Place;
use super::{Controller, Wanted};

/// A cgroup below which groups are made.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) directory: Directory,
    /// The hierarchy of version 1 that it is in, if it is.
    separate: Option<Controller>,
    /// What is still to be enabled for the groups below it.
    pub(super) enable: Vec<Controller>,
    pub(super) settings: Vec<Setting>,
}

/// A file of a group and what is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// A kernel without that file does without.
    pub(super) optional: bool,
}

/// More than the kernel can have of processes is no limit, and it refuses the number.
const MOST_PROCESSES: u64 = 1 << 22;

fn must(file: &'static str, value: impl ToString) -> Setting {
    Setting { file, value: value.to_string(), optional: false }
}

fn may(file: &'static str, value: impl ToString) -> Setting {
    Setting { file, value: value.to_string(), optional: true }
}

fn processes(count: u64) -> String {
    if count > MOST_PROCESSES { "max".to_owned() } else { count.to_string() }
}

impl Site {
    pub(super) fn is_unified(&self) -> bool {
        self.separate.is_none()
    }

    /// The mechanism that keeps a limit, as `show` has it.
    pub(super) fn words(&self, controller: Controller) -> &'static str {
        match (controller, self.is_unified()) {
            (Controller::Memory, true) => "cgroup v2 memory.max",
            (Controller::Pids, true) => "cgroup v2 pids.max",
            (Controller::Memory, false) => "cgroup v1 memory.limit_in_bytes",
            (Controller::Pids, false) => "cgroup v1 pids.max",
        }
    }
}

/// A place of version 2, in the caller's group or the nearest above it.
///
/// # Errors
/// What the caller's own group lacks.
pub(super) fn unified(own: Option<&Place>, wanted: &[Wanted]) -> Result<Site, String> {
    let own = own.ok_or("no cgroup filesystem is mounted here")?;
    let mut why = None;
    let mut ceilings = Ceilings::default();
    for below in own.below.ancestors() {
        let directory = Directory::open(&own.at(below))?;
        match usable(&directory, wanted) {
            Ok(enable) => {
                let settings = ceilings.applied_to(unified_settings(wanted));
                return Ok(Site { directory, separate: None, enable, settings });
            }
            Err(lack) => _ = why.get_or_insert(lack),
        }
        ceilings.lower_to(&directory);
    }
    Err(why.unwrap_or_default())
}

/// The same in a group that the caller names.
///
/// # Errors
/// What that group lacks.
pub(super) fn below(directory: Directory, wanted: &[Wanted]) -> Result<Site, String> {
    let enable = usable(&directory, wanted)?;
    Ok(Site { directory, separate: None, enable, settings: unified_settings(wanted) })
}

/// Where a group lies that somebody else made.
pub(super) fn handed(directory: Directory, unified: bool) -> Site {
    // What is limited there is known to whoever made the group; here it is only removed.
    let separate = (!unified).then_some(Controller::Pids);
    Site { directory, separate, enable: Vec::new(), settings: Vec::new() }
}

/// A place of version 1: the caller's own group.
///
/// # Errors
/// It cannot be written to.
pub(super) fn separate(own: &Place, (controller, most): Wanted) -> Result<Site, String> {
    let directory = Directory::open(&own.at(&own.below))?;
    directory.may_write(".")?;
    let settings = match controller {
        // With swap it may have as much in all, and no more.
        Controller::Memory => {
            vec![must("memory.limit_in_bytes", most), may("memory.memsw.limit_in_bytes", most)]
        }
        Controller::Pids => vec![must("pids.max", processes(most))],
    };
    Ok(Site { directory, separate: Some(controller), enable: Vec::new(), settings })
}

fn unified_settings(wanted: &[Wanted]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (controller, most) in wanted {
        match controller {
            // A tree that lost one of its processes is of no use, so all of it ends.
            Controller::Memory => settings.extend([
                must("memory.max", most),
                may("memory.swap.max", 0),
                may("memory.oom.group", 1),
            ]),
            Controller::Pids => settings.push(must("pids.max", processes(*most))),
        }
    }
    settings
}

/// Whether limited groups can be made below `directory`; gives what must be enabled for them first.
fn usable(directory: &Directory, wanted: &[Wanted]) -> Result<Vec<Controller>, String> {
    let path = directory.path.display();
    let list = |file: &str| directory.read(file).unwrap_or_default();
    let (there, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|one| one == name);
    for (controller, _) in wanted {
        if !has(&there, controller.name()) {
            return Err(format!("the cgroup {path} has no {controller} controller"));
        }
    }
    for entry in [".", "cgroup.procs"] {
        directory.may_write(entry).map_err(|why| format!("the cgroup {why}"))?;
    }
    let missing: Vec<Controller> =
        wanted.iter().map(|(controller, _)| *controller).filter(|one| !has(&enabled, one.name())).collect();
    // The root of all has none; it may have processes as well.
    let Some(kind) = directory.read("cgroup.type") else { return may_enable(directory, missing) };
    if kind.trim_end() != "domain" {
        return Err(format!(
            "the cgroup {path} is {}, so it has no limited groups below it",
            kind.trim_end()
        ));
    }
    // Not even where the kernel would enable it: what is made there then is no domain, and no process is born in it.
    if !list("cgroup.procs").trim().is_empty() {
        return Err(format!(
            "the cgroup {path} has processes itself, so it can have no limited groups below it"
        ));
    }
    may_enable(directory, missing)
}

fn may_enable(directory: &Directory, missing: Vec<Controller>) -> Result<Vec<Controller>, String> {
    if !missing.is_empty() {
        directory.may_write("cgroup.subtree_control").map_err(|why| format!("the cgroup {why}"))?;
    }
    Ok(missing)
}

/// The caller's own limits, of the groups that a new one would not be below.
#[derive(Debug, Default)]
struct Ceilings {
    counts: Vec<(&'static str, u64)>,
    /// Quota and period, in microseconds.
    processor: Option<(u64, u64)>,
}

const COUNTED: [&str; 4] = ["memory.max", "memory.high", "memory.swap.max", "pids.max"];

impl Ceilings {
    fn lower_to(&mut self, directory: &Directory) {
        for file in COUNTED {
            let limit: Option<u64> = directory.read(file).and_then(|text| text.trim().parse().ok());
            let Some(limit) = limit else { continue };
            match self.counts.iter_mut().find(|(known, _)| *known == file) {
                Some((_, least)) => *least = limit.min(*least),
                None => self.counts.push((file, limit)),
            }
        }
        let share = directory.read("cpu.max").and_then(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        });
        if let Some((quota, period)) = share {
            let less = |(other, its): (u64, u64)| {
                u128::from(quota) * u128::from(its) < u128::from(other) * u128::from(period)
            };
            if self.processor.is_none_or(less) {
                self.processor = Some((quota, period));
            }
        }
    }

    fn applied_to(self, mut settings: Vec<Setting>) -> Vec<Setting> {
        for (file, most) in self.counts {
            match settings.iter_mut().find(|setting| setting.file == file) {
                Some(asked) => {
                    let asked_for = asked.value.parse().unwrap_or(u64::MAX);
                    asked.value = asked_for.min(most).to_string();
                }
                None => settings.push(must(file, most)),
            }
        }
        if let Some((quota, period)) = self.processor {
            settings.push(must("cpu.max", format!("{quota} {period}")));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// A tree of files that looks like cgroups: what is decided from their words, not that the kernel agrees.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let path = std::env::temp_dir().join(format!("beget-site-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).expect("the temporary folder can be written");
            Tree(path)
        }

        fn group(&self, below: &str, files: &[(&str, &str)]) {
            let path = self.0.join(below);
            std::fs::create_dir_all(&path).expect("our own folder");
            let usual = [
                ("cgroup.controllers", "memory pids\n"),
                ("cgroup.subtree_control", "\n"),
                ("cgroup.procs", "\n"),
                ("cgroup.type", "domain\n"),
            ];
            for (file, text) in usual.iter().chain(files) {
                std::fs::write(path.join(file), text).expect("our own folder");
            }
        }

        fn unified(&self, below: &str, wanted: &[Wanted]) -> Result<Site, String> {
            unified(Some(&Place { mount: self.0.clone(), below: below.into() }), wanted)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const MEMORY: Wanted = (Controller::Memory, 1 << 20);
    const PIDS: Wanted = (Controller::Pids, 10);

    fn set(site: &Site) -> Vec<(&str, &str)> {
        site.settings.iter().map(|setting| (setting.file, setting.value.as_str())).collect()
    }

    #[test]
    fn an_empty_group_of_ones_own_will_do() {
        let tree = Tree::new("own");
        tree.group("a", &[]);
        let site = tree.unified("a", &[MEMORY, PIDS]).expect("it is delegated");
        assert_eq!(site.directory.path, tree.0.join("a"));
        assert_eq!(site.enable, [Controller::Memory, Controller::Pids]);
        let expected = [
            ("memory.max", "1048576"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "10"),
        ];
        assert_eq!(set(&site), expected);
    }

    /// The caller sits in a leaf, as under systemd: the group above is used, and the leaf's limits hold there too.
    #[test]
    fn a_group_beside_the_callers_has_the_callers_limits() {
        let tree = Tree::new("beside");
        tree.group("a", &[("cgroup.subtree_control", "memory pids\n"), ("memory.max", "5\n")]);
        let limits = [
            ("cgroup.procs", "1\n"),
            ("memory.max", "4096\n"),
            ("memory.high", "max\n"),
            ("pids.max", "3000\n"),
            ("cpu.max", "50000 100000\n"),
        ];
        tree.group("a/b", &limits);
        tree.group(
            "a/b/c",
            &[("cgroup.procs", "1\n"), ("memory.max", "8192\n"), ("cpu.max", "max 100000\n")],
        );
        let site = tree.unified("a/b/c", &[MEMORY, PIDS]).expect("the one above is delegated");
        assert_eq!(site.directory.path, tree.0.join("a"));
        assert!(site.enable.is_empty());
        let set = set(&site);
        for expected in [("memory.max", "4096"), ("pids.max", "10"), ("cpu.max", "50000 100000")] {
            assert!(set.contains(&expected), "{expected:?} in {set:?}");
        }
        assert_eq!(set.len(), 5, "{set:?}");
    }

    #[test]
    fn a_group_that_processes_are_in_has_none_below() {
        let tree = Tree::new("busy");
        tree.group("a", &[("cgroup.procs", "1\n")]);
        for wanted in [MEMORY, PIDS] {
            let why = tree.unified("a", &[wanted]).expect_err("it has processes itself");
            assert!(why.contains("has processes itself"), "{why}");
        }
    }

    #[test]
    fn what_is_missing_is_told_of_the_callers_own_group() {
        let tree = Tree::new("missing");
        tree.group("a", &[("cgroup.controllers", "hugetlb\n")]);
        let why = tree.unified("a", &[MEMORY]).expect_err("there is no such controller");
        assert!(why.ends_with("/a has no memory controller"), "{why}");
        tree.group("a", &[("cgroup.type", "threaded\n")]);
        assert!(tree.unified("a", &[MEMORY]).is_err_and(|why| why.contains("threaded")));
        assert!(tree.unified("a/b", &[MEMORY]).is_err_and(|why| why.contains("no such file")));
        assert!(unified(None, &[MEMORY]).is_err_and(|why| why.contains("mounted")));
    }

    #[test]
    fn a_number_beyond_the_kernels_is_no_limit() {
        let place = Place { mount: std::env::temp_dir(), below: Path::new("").to_owned() };
        let site = separate(&place, (Controller::Pids, u64::MAX)).expect("it can be written");
        assert_eq!(set(&site), [("pids.max", "max")]);
    }
}

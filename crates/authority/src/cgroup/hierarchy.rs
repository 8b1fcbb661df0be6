//! Where the caller is among the cgroups, and where their hierarchies are mounted: `/proc/self/cgroup` and `/proc/self/mountinfo`
//! (`man 5 proc`), as text.

use std::path::{Component, Path, PathBuf};

use super::Controller;

/// What `/proc/self/cgroup` says: the caller's path in each hierarchy.
#[derive(Debug, Default)]
pub(super) struct Controllers {
    unified: Option<String>,
    separate: Vec<(Vec<String>, String)>,
}

impl Controllers {
    /// Reads lines of `number:controllers:path`; version 2 is the one without controllers.
    pub(super) fn parse(text: &str) -> Controllers {
        let mut all = Controllers::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
            if names.is_empty() {
                all.unified = Some(path.to_owned());
            } else {
                all.separate.push((names.split(',').map(str::to_owned).collect(), path.to_owned()));
            }
        }
        all
    }
}

/// A cgroup of the caller's: the mount it is reached through, and its path below that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mount: PathBuf,
    pub(super) below: PathBuf,
}

impl Place {
    /// The path of a group of the same mount.
    pub(super) fn at(&self, below: &Path) -> PathBuf {
        // Joining nothing would add a slash.
        if below.as_os_str().is_empty() { self.mount.clone() } else { self.mount.join(below) }
    }
}

/// The hierarchies that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    pub(super) unified: Option<Place>,
    memory: Option<Place>,
    pids: Option<Place>,
}

impl Hierarchies {
    /// Where the caller's groups are mounted. One that no mount shows, as from inside another cgroup namespace, is none.
    pub(super) fn find(mountinfo: &str, own: &Controllers) -> Hierarchies {
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let unified = own.unified.as_ref().and_then(|path| {
            mounts.iter().filter(|mount| mount.kind == "cgroup2").find_map(|mount| mount.place(path))
        });
        let separate = |controller: Controller| {
            let is_named = |names: &[String]| names.iter().any(|name| name == controller.name());
            let (_, path) = own.separate.iter().find(|(names, _)| is_named(names))?;
            let mounts = mounts.iter().filter(|mount| mount.kind == "cgroup" && is_named(&mount.options));
            mounts.into_iter().find_map(|mount| mount.place(path))
        };
        Hierarchies { unified, memory: separate(Controller::Memory), pids: separate(Controller::Pids) }
    }

    /// The caller's group in the hierarchy of version 1 that a controller has to itself.
    pub(super) fn separate(&self, controller: Controller) -> Option<&Place> {
        match controller {
            Controller::Memory => self.memory.as_ref(),
            Controller::Pids => self.pids.as_ref(),
        }
    }
}

/// A line of `mountinfo`.
struct Mount {
    /// Which directory of the filesystem is mounted.
    root: String,
    at: PathBuf,
    kind: String,
    /// The filesystem's own options, among which version 1 has its controllers.
    options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, at) = (unescape(before.next()?), unescape(before.next()?));
        let mut after = after.split(' ');
        let kind = after.next()?.to_owned();
        let options = after.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
        Some(Mount { root, at: PathBuf::from(at), kind, options })
    }

    /// Where a path of this hierarchy is, if it lies in what is mounted.
    fn place(&self, path: &str) -> Option<Place> {
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        // Outside the caller's cgroup namespace.
        let outside = below.components().any(|part| part == Component::ParentDir);
        (!outside).then(|| Place { mount: self.at.clone(), below: below.to_owned() })
    }
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                whole.push(char::from(byte));
                whole.push_str(&part[3..]);
            }
            _ => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(mount: &str, below: &str) -> Option<Place> {
        Some(Place { mount: mount.into(), below: below.into() })
    }

    #[test]
    fn a_system_of_version_2() {
        let mounts = "26 20 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                      27 20 0:24 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n";
        let own = Controllers::parse("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n");
        let found = Hierarchies::find(mounts, &own);
        let below = "user.slice/user-1000.slice/user@1000.service/app.slice/x.scope";
        assert_eq!(found, Hierarchies { unified: place("/sys/fs/cgroup", below), ..Hierarchies::default() });
    }

    #[test]
    fn a_hybrid_system() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      39 31 0:36 / /sys/fs/cgroup/pids\\040and\\134more rw - cgroup cgroup rw,pids,clone_children\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = Controllers::parse("9:name=systemd:/\n8:pids:/a\n4:cpu,memory:/b/c\n0::/\n");
        let found = Hierarchies::find(mounts, &own);
        assert_eq!(found.unified, place("/sys/fs/cgroup/unified", ""));
        assert_eq!(found.memory, place("/sys/fs/cgroup/memory", "b/c"));
        assert_eq!(found.pids, place("/sys/fs/cgroup/pids and\\more", "a"));
    }

    #[test]
    fn what_is_mounted_is_a_part_of_the_hierarchy() {
        let mounts = "1 1 0:1 /docker/1234 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n\
                      1 1 0:1 /docker/12 /elsewhere ro - cgroup2 cgroup2 rw\n";
        let found = |path: &str| Hierarchies::find(mounts, &Controllers::parse(path)).unified;
        assert_eq!(found("0::/docker/1234\n"), place("/sys/fs/cgroup", ""));
        assert_eq!(found("0::/docker/12/x:y\n"), place("/elsewhere", "x:y"));
        assert_eq!(found("0::/docker/123\n"), None, "a name is not a part of another");
        assert_eq!(found("0::/\n"), None);
    }

    #[test]
    fn a_group_outside_the_namespace_is_none() {
        let mounts = "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Hierarchies::find(mounts, &Controllers::parse("0::/../x\n")).unified, None);
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in ["", "\n\n", "x", "1:2", " - ", "1 2 3 4 - cgroup2", "a b c d e - cgroup2 x", "\\"] {
            assert_eq!(
                Hierarchies::find(text, &Controllers::parse(text)),
                Hierarchies::default(),
                "{text:?}"
            );
        }
        assert_eq!(unescape("\\04"), "\\04");
        assert_eq!(unescape("\\999\\040"), "\\999 ");
    }
}

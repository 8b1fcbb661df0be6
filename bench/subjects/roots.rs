//! A private root as a whole command, beside bwrap and crun with the same files.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use beget_authority::root::{Item, Root};
use beget_authority::{Authority, Support};
use serde_json::{Value, json};

use super::commands::rows;
use super::parts::authority;
use crate::folder::Folder;
use crate::measure::{Entry, Pairs, Series, minima, race, timed};
use crate::options::Options;
use crate::report::{Goal, Report, Table};
use crate::ways::{Line, OtherMounts, Programs, installed, own_command, own_musl_command};

const SAME: &str = "bwrap --unshare-all, the same files,";
const CRUN: &str = "crun run, the same files,";

/// What `--root --base` shows of the old root, and the links beside it.
pub(super) fn layout() -> Result<Authority, String> {
    authority(Support::detect(), true, Some(&Root::new()))
}

struct Shown {
    files: Vec<(PathBuf, PathBuf)>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Shown {
    fn look(program: &Path) -> Result<Shown, String> {
        let authority = layout()?;
        let mut shown = Shown { files: Vec::new(), links: Vec::new() };
        // Everybody makes these himself.
        let own = |at: &Path| at.starts_with("/dev") || at.starts_with("/proc");
        for item in authority.layout.iter().flat_map(|layout| &layout.items).filter(|item| !own(item.at())) {
            match item {
                Item::Bind { source, at, .. } => shown.files.push((source.path.clone(), at.clone())),
                Item::Link { at, target } => shown.links.push((target.clone(), at.clone())),
                _ => {}
            }
        }
        if !program.starts_with("/usr") && !program.starts_with("/bin") {
            shown.files.push((program.to_owned(), program.to_owned()));
        }
        Ok(shown)
    }

    /// As bwrap has it.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["--unshare-all".to_owned()];
        let mut add = |flag: &str, from: &Path, at: &Path| {
            words.extend([flag.to_owned(), from.display().to_string(), at.display().to_string()]);
        };
        self.links.iter().for_each(|(target, at)| add("--symlink", target, at));
        words.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(str::to_owned));
        let mut add = |flag: &str, from: &Path, at: &Path| {
            words.extend([flag.to_owned(), from.display().to_string(), at.display().to_string()]);
        };
        self.files.iter().for_each(|(from, at)| add("--ro-bind", from, at));
        words
    }

    /// As an OCI runtime has it.
    fn configuration(&self, program: &str) -> Value {
        let mount = |kind: &str, at: &Path, source: &Path, options: &[&str]| json!({"type": kind, "destination": at, "source": source, "options": options});
        let own =
            |kind: &str, at: &str, options: &[&str]| mount(kind, Path::new(at), Path::new(kind), options);
        let mut mounts = vec![
            own("proc", "/proc", &[]),
            own("tmpfs", "/dev", &["nosuid", "mode=755", "size=1m"]),
            own("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            own("tmpfs", "/dev/shm", &["nosuid", "nodev", "mode=1777"]),
            own("tmpfs", "/tmp", &["nosuid", "nodev", "mode=1777"]),
        ];
        let read_only = ["rbind", "nosuid", "nodev", "ro"];
        mounts.extend(self.files.iter().map(|(from, at)| mount("bind", at, from, &read_only)));
        let kinds = ["user", "pid", "mount", "ipc", "uts", "cgroup", "network"];
        // SAFETY: asks numbers.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let map = |outside: u32| json!([{"containerID": 0, "hostID": outside, "size": 1}]);
        json!({
            "ociVersion": "1.0.0",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": [program],
                "env": ["PATH=/usr/bin:/bin"],
                "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": {}
            },
            "root": {"path": "rootfs", "readonly": true},
            "hostname": "crun",
            "mounts": mounts,
            "linux": {
                "namespaces": kinds.map(|kind| json!({"type": kind})),
                "uidMappings": map(user),
                "gidMappings": map(group)
            }
        })
    }
}

/// A bundle for an OCI runtime, in a folder that goes away.
struct Bundle(Folder);

impl Bundle {
    fn make(shown: &Shown, program: &str) -> Result<Bundle, String> {
        let bundle = Bundle(Folder::make("beget-bench-root", false)?);
        let failed = |error: std::io::Error| format!("bundle: {error}");
        let root = bundle.0.path().join("rootfs");
        std::fs::create_dir_all(&root).map_err(failed)?;
        for (target, at) in &shown.links {
            let at = root.join(at.strip_prefix("/").unwrap_or(at));
            std::fs::create_dir_all(at.parent().unwrap_or(&root)).map_err(failed)?;
            symlink(target, at).map_err(failed)?;
        }
        let text = shown.configuration(program).to_string();
        std::fs::write(bundle.0.path().join("config.json"), text).map_err(failed)?;
        Ok(bundle)
    }

    fn line(&self) -> Result<Line, String> {
        let (state, bundle) = (self.0.path().join("state"), self.0.path().display().to_string());
        let (state, name) = (state.display().to_string(), "beget-bench");
        let words = ["--root", &state, "--cgroup-manager=disabled", "run", "--bundle", &bundle, name];
        Line::new(&installed("crun")?, &words)
    }
}

type Peer = (String, Result<Line, String>);

fn peers(what: &str, program: &str, shown: &Shown) -> Vec<Peer> {
    let line = |path: Result<PathBuf, String>, words: &[&str]| {
        path.and_then(|path| Line::new(&path, &[words, &[program]].concat()))
    };
    let words = shown.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ours = |name: &str, path: Result<PathBuf, String>, words: &[&str]| {
        (format!("{name} {} {what}", words.join(" ")), line(path, words))
    };
    vec![
        (what.to_owned(), Line::new(Path::new(program), &[])),
        ours("beget", own_command(), &["run", "--base", "--"]),
        ours("beget", own_command(), &["run", "--root", "--base", "--"]),
        ours("beget", own_command(), &["run", "--root", "--base", "--net", "--"]),
        ours("beget (musl)", own_musl_command(), &["run", "--root", "--base", "--"]),
        (format!("{SAME} {what}"), line(installed("bwrap"), &words)),
        ours("bwrap", installed("bwrap"), &["--unshare-all", "--ro-bind", "/", "/"]),
    ]
}

/// crun as it is, or among other mounts where it refuses these.
fn crun(bundle: &Bundle, table: &mut Table) -> Result<(Line, Option<OtherMounts>), String> {
    let line = bundle.line()?;
    let Err(why) = line.run() else { return Ok((line, None)) };
    let mounts = OtherMounts::enter().map_err(|error| format!("{why}; with other mounts: {error}"))?;
    line.run()
        .map_err(|error| format!("it fails here, also where cgroup version 2 alone is mounted ({error})"))?;
    table.note(
        "crun refuses a system with both versions of cgroups mounted: everybody of this table ran in a mount namespace with version 2 alone; \
         crun made no cgroup",
    );
    Ok((line, Some(mounts)))
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let columns =
        [&["command"], &Table::TIMES[..], &["× bwrap, same files", "min ×", "above bare", "× bare"]].concat();
    for (what, name, seconds) in [("true", "dynamic true", 14.0), ("tiny", "tiny", 7.0)] {
        let Some(program) = programs.get(name) else { continue };
        let path = program.path.to_str().map_err(|error| error.to_string())?;
        let mut table = Table::new(format!("A private root, whole commands around {name}, us"), &columns);
        let shown = Shown::look(Path::new(path))?;
        let bundle = Bundle::make(&shown, path)?;
        let mut lines = Vec::new();
        let mut take = |name: String, line: Result<Line, String>, table: &mut Table| match line {
            Ok(line) => lines.push((name, line)),
            Err(why) => table.note(format!("{name}: skipped: {why}")),
        };
        for (name, line) in peers(what, path, &shown) {
            take(name, line, &mut table);
        }
        let (crun, mounts) = match crun(&bundle, &mut table) {
            Ok((line, mounts)) => (Ok(line), mounts),
            Err(why) => (Err(why), None),
        };
        take(format!("{CRUN} {what}"), crun, &mut table);
        let entries =
            lines.iter().map(|(name, line)| Entry::new(name, || timed(|| line.run()))).collect::<Vec<_>>();
        let series = race(&format!("roots: {what}"), options.time(seconds), entries);
        drop(mounts);
        rows(&mut table, &series, &format!("{SAME} {what}"));
        table.note(format!(
            "shown by all of them: {} files and folders, {} links",
            shown.files.len(),
            shown.links.len()
        ));
        table.note("what bwrap and crun leave behind to end by itself has no processor time here");
        report.tables.push(table);
        for ours in ["beget", "beget (musl)"] {
            let ours = format!("{ours} run --root --base -- {what}");
            for mark in [SAME, CRUN] {
                report.goals.extend(goal(&series, &ours, &format!("{mark} {what}")));
            }
        }
    }
    Ok(())
}

fn goal(series: &[Series], ours: &str, mark: &str) -> Option<Goal> {
    let find = |name: &str| series.iter().find(|one| one.name == name).map(|one| one.measure(0));
    let these = find(ours)?;
    let against = find(mark);
    Some(Goal {
        what: ours.to_owned(),
        reach: format!("≤ {mark}"),
        measured: against.and_then(|against| Pairs::ratio(these, against)),
        by_minima: against.and_then(|against| minima(these, against, |ours, against| ours / against)),
        most: 1.0,
        size: None,
    })
}

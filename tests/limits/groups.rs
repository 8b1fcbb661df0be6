//! What the tests of cgroups share: whether trees can be limited here, and which groups somebody has left.

use std::path::{Path, PathBuf};

use beget_tests::{Need, is_root, run, skip};

/// Whether this user's trees can be limited here; where not, says so and why it may be.
pub fn trees_can_be_limited(test: &str) -> bool {
    let shown = run(&["show", "--base", "--memory", "64M", "--processes", "50"]);
    if shown.status.success() {
        return true;
    }
    // Root makes them where it pleases, if the system lets anybody.
    skip(test, if is_root() { Need::Machine("a cgroup that can be limited") } else { Need::Root });
    false
}

/// The groups that this process number made and that are there, anywhere.
pub fn groups_of(maker: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), &format!("beget-{maker}-"), &mut found);
    found
}

fn look(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
        look(&entry.path(), prefix, found);
    }
}

//! The links on the way to a file: a private root has them too, so that the file is found by the name that it was asked for by.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows.
const MOST: usize = 40;

/// Each link on the way along `path`, with what it says, in order; and where the way ends.
pub(crate) fn along(path: &Path) -> (Vec<(PathBuf, PathBuf)>, PathBuf) {
    walk(path, |place| std::fs::read_link(place).ok())
}

/// The same where `says` tells what the link at a place says, if there is one.
pub(crate) fn walk(
    path: &Path,
    says: impl Fn(&Path) -> Option<PathBuf>,
) -> (Vec<(PathBuf, PathBuf)>, PathBuf) {
    let mut links = Vec::new();
    let mut place = PathBuf::from("/");
    let mut rest = parts(path);
    if path.is_relative() {
        place = std::env::current_dir().unwrap_or(place);
    }
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            place.pop();
            continue;
        }
        let next = place.join(&part);
        match says(&next) {
            Some(target) if links.len() < MOST => {
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                let mut before = parts(&target);
                before.append(&mut rest);
                rest = before;
                links.push((next, target));
            }
            _ => place = next,
        }
    }
    (links, place)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

//! The links on the way to a file: a private root has them too, so that the file is found by the name that it was asked for by.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::Opened;

/// As many as the kernel follows.
const MOST: usize = 40;

/// What each name on a way turned out to be: grants lie in the same few folders, and each is asked about once.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// What a link says; `None` for what is none.
    known: HashMap<OsString, Option<PathBuf>>,
}

impl Ways {
    /// Each link on the way along `path`, with what it says, in order; and where the way ends.
    pub(crate) fn along(&mut self, path: &Path) -> (Vec<(PathBuf, PathBuf)>, PathBuf) {
        walk(path, |place| self.look(place))
    }

    /// Where a granted file is, without links. A wrong answer, because somebody changed the way meanwhile, is found out where it is used: what is
    /// there must be the file that was opened.
    pub(crate) fn place(&mut self, one: &Opened) -> PathBuf {
        if one.named { self.along(&one.path).1 } else { one.real_path() }
    }

    /// What the link at `path` says.
    pub(crate) fn look(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.known.get(path.as_os_str()) {
            return known.clone();
        }
        let link = std::fs::read_link(path).ok();
        self.known.insert(path.into(), link.clone());
        link
    }
}

/// The same where `says` tells what the link at a place says, if there is one.
pub(crate) fn walk(
    path: &Path,
    mut says: impl FnMut(&Path) -> Option<PathBuf>,
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

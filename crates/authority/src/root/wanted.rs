//! What is wanted at each place, found by the place's bytes.
//!
//! Every place is absolute and written in one way only, so its bytes say as much as its parts; comparing parts took longer than all that the kernel
//! is asked for while a root is laid out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::places::What;

/// What is wanted, by place.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<OsString, What>);

impl Wanted {
    pub(super) fn get(&self, at: &Path) -> Option<&What> {
        self.0.get(at.as_os_str())
    }

    pub(super) fn get_mut(&mut self, at: &Path) -> Option<&mut What> {
        self.0.get_mut(at.as_os_str())
    }

    pub(super) fn insert(&mut self, at: PathBuf, what: What) {
        self.0.insert(at.into_os_string(), what);
    }

    /// Wants this where nothing else is wanted.
    pub(super) fn offer(&mut self, at: PathBuf, what: What) {
        self.0.entry(at.into_os_string()).or_insert(what);
    }

    pub(super) fn remove(&mut self, at: &Path) {
        self.0.remove(at.as_os_str());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &What)> {
        self.0.iter().map(|(at, what)| (Path::new(at), what))
    }

    /// All of it, the root first, then what lies in it, and so on down.
    pub(super) fn by_depth(self) -> Vec<(PathBuf, What)> {
        let mut all: Vec<(PathBuf, What)> =
            self.0.into_iter().map(|(at, what)| (PathBuf::from(at), what)).collect();
        all.sort_by_cached_key(|(at, _)| match at.as_os_str().as_bytes() {
            b"/" => 0,
            place => place.iter().filter(|byte| **byte == b'/').count(),
        });
        all
    }
}

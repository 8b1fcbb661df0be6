//! A whole private root: what to make, in the order in which it must be made.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Root;
use super::order::{in_order, make_kept};
use super::places::Places;
use crate::error::Error;
use crate::{Opened, Rights};

/// A part of the old root that is shown: its descriptor, and its name without links.
#[derive(Debug)]
pub struct Source {
    /// The file, opened.
    pub file: Arc<OwnedFd>,
    /// Its name.
    pub path: PathBuf,
}

/// One thing to make. Places are absolute.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is an operation of beget-plan, with the same fields")]
pub enum Item {
    Directory { at: PathBuf, mode: u32 },
    File { at: PathBuf, contents: Vec<u8>, mode: u32 },
    Link { at: PathBuf, target: PathBuf },
    Bind { source: Source, at: PathBuf, attributes: u32 },
    Mount { filesystem: &'static str, options: Vec<(&'static str, String)>, at: PathBuf, attributes: u32 },
    Seal { at: PathBuf, attributes: u32 },
}

impl Item {
    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        match self {
            Item::Directory { at, .. }
            | Item::File { at, .. }
            | Item::Link { at, .. }
            | Item::Bind { at, .. }
            | Item::Mount { at, .. }
            | Item::Seal { at, .. } => at,
        }
    }
}

/// A whole private root.
#[derive(Debug)]
pub struct Layout {
    /// What to make, in order.
    pub items: Vec<Item>,
    /// The attributes of the root itself.
    pub attributes: u32,
    /// Its name of the machine.
    pub host_name: String,
    /// The numbers of user and group inside, where they are others than outside.
    pub identity: (Option<u32>, Option<u32>),
    /// Folders that changes are kept in, and the mode of what they are changes of.
    kept: Vec<(PathBuf, u32)>,
    /// Where what is made inside may be used, and how: rules for a Landlock ruleset that its files cannot be opened for before.
    pub allowed: Vec<(PathBuf, Rights)>,
}

impl Layout {
    /// Works out the root that holds `opened` and what `root` adds. `landlock`: there is a ruleset that decides what may be executed.
    ///
    /// # Errors
    /// Two things at one place; a place that is not absolute; what cannot be opened.
    pub fn new(root: &Root, opened: &[Opened], base: bool, landlock: bool) -> Result<Layout, Error> {
        let places = Places::of(root, opened, base, landlock)?;
        let (attributes, identity) = (places.of_the_root(), (root.user, root.group));
        let Places { wanted, allowed, kept, .. } = places;
        let items = in_order(wanted)?;
        Ok(Layout { items, attributes, host_name: root.host_name.clone(), identity, kept, allowed })
    }

    /// Makes the folders that changes are kept in, where they are not there yet.
    ///
    /// # Errors
    /// Those of making a folder.
    pub fn make_kept(&self) -> Result<(), Error> {
        self.kept.iter().try_for_each(|(folder, mode)| make_kept(folder, *mode))
    }
}

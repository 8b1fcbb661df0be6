//! What of a private root is shown from outside, and that nothing is made there.
//!
//! Safety idea: a granted folder is the caller's own, so whatever were made in it to hold a file or a mount would be made outside, and stay.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::links;
use super::places::{What, wrong};
use super::wanted::Wanted;
use crate::error::Error;

/// The places, and the folders on the way to them, that are in a folder shown from outside: they must be there already.
///
/// # Errors
/// What could only be made outside.
pub(super) fn places(wanted: &Wanted) -> Result<BTreeSet<OsString>, Error> {
    let mut places = BTreeSet::new();
    for (at, what) in wanted.iter() {
        let mut above = at;
        while let Some((folder, rest)) = shown(wanted, above) {
            if above == at {
                check(at, what, folder, &rest)?;
            }
            places.insert(above.into());
            let Some(next) = above.parent().filter(|next| !places.contains(next.as_os_str())) else { break };
            above = next;
        }
    }
    Ok(places)
}

/// The folder shown from outside that `at` lies in, and where in it, when that is what the next folder above is.
fn shown<'a>(wanted: &'a Wanted, at: &Path) -> Option<(&'a What, PathBuf)> {
    let says = |place: &Path| match wanted.get(place) {
        Some(What::Link { target }) => Some(target.clone()),
        _ => None,
    };
    let folder = links::walk(at.parent()?, says).1;
    let (above, what) = folder.ancestors().find_map(|above| Some((above, wanted.get(above)?)))?;
    let rest = folder.strip_prefix(above).ok()?.join(at.file_name()?);
    matches!(what, What::Bind { .. } | What::Scratch { keep: Some(_), .. }).then_some((what, rest))
}

fn check(at: &Path, what: &What, folder: &What, rest: &Path) -> Result<(), Error> {
    let is_there = match folder {
        What::Bind { source, .. } => is_there(&source.path, rest),
        // What is there is known when the layers are put together.
        _ => None,
    };
    let why = match what {
        What::File { .. } | What::Link { .. } => {
            "it lies in a folder that is shown from outside, where nothing is made: it would stay there"
        }
        What::Directory if is_there == Some(true) => return Ok(()),
        // Where it cannot be told, the mount tells.
        What::Bind { .. } | What::Mount { .. } | What::Scratch { .. } if is_there != Some(false) => {
            return Ok(());
        }
        _ => "it is not there in the folder that is shown from outside, and is not made: it would stay there",
    };
    Err(wrong(&format!("root: {}", at.display()), why))
}

/// Whether `rest` is there, if it can be told here: a link on the way may lead elsewhere in the root.
fn is_there(folder: &Path, rest: &Path) -> Option<bool> {
    let mut place = folder.to_owned();
    for part in rest.components() {
        place.push(part);
        match std::fs::symlink_metadata(&place) {
            Ok(status) if status.is_symlink() => return None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(false),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(true)
}

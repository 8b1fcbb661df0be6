//! The order in which a private root is made: folders before what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use beget_sys::namespace::attribute;

use super::ROOM;
use super::layout::Item;
use super::places::{PLAIN, What, wrong};
use crate::error::Error;

/// The order: by depth, each with the folders it lies in before it, and what is sealed last.
pub(super) fn in_order(wanted: BTreeMap<PathBuf, What>) -> Result<Vec<Item>, Error> {
    let mut wanted: Vec<(PathBuf, What)> = wanted.into_iter().collect();
    wanted.sort_by_key(|(at, _)| at.components().count());
    let mut items = Vec::with_capacity(wanted.len() * 2 + 8);
    let mut made: BTreeSet<PathBuf> = [PathBuf::from("/")].into();
    let own_devices =
        wanted.iter().any(|(at, what)| at == Path::new("/dev") && matches!(what, What::Mount { .. }));
    for (at, what) in wanted {
        let above: Vec<PathBuf> = at.ancestors().skip(1).map(Path::to_owned).collect();
        for folder in above.into_iter().rev() {
            if made.insert(folder.clone()) {
                items.push(Item::Directory { at: folder, mode: 0o755 });
            }
        }
        made.insert(at.clone());
        make(at, what, &mut items)?;
    }
    if own_devices {
        items.push(Item::Seal { at: PathBuf::from("/dev"), attributes: PLAIN | attribute::READ_ONLY });
    }
    Ok(items)
}

fn make(at: PathBuf, what: What, items: &mut Vec<Item>) -> Result<(), Error> {
    let is_root = at == Path::new("/");
    match what {
        What::Directory => items.push(Item::Directory { at, mode: 0o755 }),
        What::File { contents } => items.push(Item::File { at, contents, mode: 0o444 }),
        What::Link { target } => items.push(Item::Link { at, target }),
        What::Bind { source, directory, attributes, .. } => {
            match directory {
                true if is_root => {}
                true => items.push(Item::Directory { at: at.clone(), mode: 0o755 }),
                false => items.push(Item::File { at: at.clone(), contents: Vec::new(), mode: 0o444 }),
            }
            items.push(Item::Bind { source, at, attributes });
        }
        What::Mount { filesystem, options, attributes } => {
            items.push(Item::Directory { at: at.clone(), mode: 0o755 });
            items.push(Item::Mount { filesystem, options, at, attributes });
        }
        What::Scratch { lower, status, keep } => {
            // What the overlay is made of is mounted at its own place first, and covered by it.
            let mode = status.permissions().mode() & 0o1777;
            items.push(Item::Directory { at: at.clone(), mode: 0o755 });
            let options = vec![("size", ROOM.to_string()), ("mode", "700".to_owned())];
            items.push(Item::Mount { filesystem: "tmpfs", options, at: at.clone(), attributes: PLAIN });
            let lower_at = at.join("lower");
            items.push(Item::Directory { at: lower_at.clone(), mode: 0o700 });
            let attributes = PLAIN | attribute::READ_ONLY;
            items.push(Item::Bind { source: lower, at: lower_at.clone(), attributes });
            let kept = at.join("kept");
            items.push(Item::Directory { at: kept.clone(), mode: 0o700 });
            match keep {
                Some(source) => items.push(Item::Bind { source, at: kept.clone(), attributes: PLAIN }),
                None => {
                    items.push(Item::Directory { at: kept.join(CHANGES), mode });
                    items.push(Item::Directory { at: kept.join(WORK), mode: 0o700 });
                }
            }
            let inside = |path: &Path| {
                let text = path.strip_prefix("/").unwrap_or(path).display().to_string();
                if text.contains([':', ',', '\\']) {
                    let part = format!("root: --scratch {}", at.display());
                    return Err(wrong(
                        &part,
                        "its name has a colon, a comma or a backslash, which overlayfs takes for its own",
                    ));
                }
                Ok(text)
            };
            let options = vec![
                ("lowerdir", inside(&lower_at)?),
                ("upperdir", inside(&kept.join(CHANGES))?),
                ("workdir", inside(&kept.join(WORK))?),
                // Whoever is privileged only in a user namespace of its own may not use `trusted.` attributes.
                ("userxattr", String::new()),
            ];
            items.push(Item::Mount { filesystem: "overlay", options, at, attributes: PLAIN });
        }
    }
    Ok(())
}

/// What was changed, below a folder that is kept.
const CHANGES: &str = "changes";
/// What overlayfs works in.
const WORK: &str = ".work";

pub(super) fn make_kept(folder: &Path, mode: u32) -> std::io::Result<()> {
    for (name, mode) in [(CHANGES, mode), (WORK, 0o700)] {
        let path = folder.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

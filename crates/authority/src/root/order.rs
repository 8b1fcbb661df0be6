//! The order in which a private root is made: folders before what is in them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use beget_sys::namespace::attribute;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::layout::Item;
use super::places::{PLAIN, What, failed, wrong};
use super::wanted::Wanted;
use super::{ROOM, outside};
use crate::error::Error;

/// The order: by depth, each with the folders it lies in before it, and what is sealed last.
pub(super) fn in_order(wanted: Wanted) -> Result<Vec<Item>, Error> {
    let mut made = outside::places(&wanted)?;
    made.insert("/".into());
    let wanted = wanted.by_depth();
    let mut items = Vec::with_capacity(wanted.len() * 2 + 8);
    let own_devices =
        wanted.iter().any(|(at, what)| at == Path::new("/dev") && matches!(what, What::Mount { .. }));
    for (at, what) in wanted {
        let above = at.ancestors().skip(1);
        let missing: Vec<&Path> = above.filter(|folder| !made.contains(folder.as_os_str())).collect();
        for folder in missing.into_iter().rev() {
            made.insert(folder.into());
            items.push(Item::Directory { at: folder.to_owned(), mode: 0o755 });
        }
        if made.insert(at.clone().into_os_string()) {
            items.extend(place(&at, &what));
        }
        make(at, what, &mut items)?;
    }
    if own_devices {
        items.push(Item::Seal { at: PathBuf::from("/dev"), attributes: PLAIN | attribute::READ_ONLY });
    }
    Ok(items)
}

/// What is made to put it at.
fn place(at: &Path, what: &What) -> Option<Item> {
    let at = at.to_owned();
    match what {
        What::File { .. } | What::Link { .. } => None,
        What::Bind { directory: false, .. } => Some(Item::File { at, contents: Vec::new(), mode: 0o444 }),
        _ => Some(Item::Directory { at, mode: 0o755 }),
    }
}

fn make(at: PathBuf, what: What, items: &mut Vec<Item>) -> Result<(), Error> {
    match what {
        What::Directory => {}
        What::File { contents } => items.push(Item::File { at, contents, mode: 0o444 }),
        What::Link { target } => items.push(Item::Link { at, target }),
        What::Bind { source, attributes, .. } => items.push(Item::Bind { source, at, attributes }),
        What::Mount { filesystem, options, attributes } => {
            items.push(Item::Mount { filesystem, options, at, attributes });
        }
        What::Scratch { lower, status, keep } => {
            // What the overlay is made of is mounted at its own place first, and covered by it.
            let mode = status.permissions().mode() & 0o1777;
            let options = vec![("size", ROOM.to_string()), ("mode", "700".to_owned())];
            items.push(Item::Mount { filesystem: "tmpfs", options, at: at.clone(), attributes: PLAIN });
            let lower_at = at.join("lower");
            items.push(Item::Directory { at: lower_at.clone(), mode: 0o700 });
            let attributes = PLAIN | attribute::READ_ONLY;
            items.push(Item::Bind { source: lower, at: lower_at.clone(), attributes });
            let kept = at.join("kept");
            items.push(Item::Directory { at: kept.clone(), mode: 0o700 });
            match keep {
                // Nor does a link lead out that was put there just now.
                Some(source) => {
                    let attributes = PLAIN | attribute::NO_LINKS;
                    items.push(Item::Bind { source, at: kept.clone(), attributes });
                }
                None => {
                    items.push(Item::Directory { at: kept.join(CHANGES), mode });
                    items.push(Item::Directory { at: kept.join(WORK), mode: 0o700 });
                }
            }
            let inside = |path: &Path| overlay_name(&at, path);
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

/// The name of a layer of the overlay at `at`, as it is said to the kernel.
fn overlay_name(at: &Path, layer: &Path) -> Result<String, Error> {
    /// `fsconfig` takes no longer text.
    const MOST: usize = 255;
    let name = layer.strip_prefix("/").unwrap_or(layer);
    let why = match name.to_str() {
        None => "its name is not UTF-8; put it at another place, SRC:DST",
        Some(name) if name.contains([':', ',', '\\']) => {
            "its name has a colon, a comma or a backslash, which overlayfs takes for its own"
        }
        Some(name) if name.len() > MOST => {
            "its name is too long for overlayfs; put it at another place, SRC:DST"
        }
        Some(name) => return Ok(name.to_owned()),
    };
    Err(wrong(&format!("root: --scratch {}", at.display()), why))
}

/// What was changed, below a folder that is kept.
const CHANGES: &str = "changes";
/// What overlayfs works in.
const WORK: &str = ".work";

/// One that is there already must be a folder itself: through a link that an earlier program left, this one's changes would go elsewhere.
pub(super) fn make_kept(folder: &Path, mode: u32) -> Result<(), Error> {
    for (name, mode) in [(CHANGES, mode), (WORK, 0o700)] {
        let path = folder.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let done = match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) => rustix::fs::open(&path, flags, Mode::empty())
                .and_then(|made| rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))),
            Err(Errno::EXIST) => rustix::fs::open(&path, flags | OFlags::PATH, Mode::empty()).map(drop),
            Err(errno) => Err(errno),
        };
        done.map_err(|errno| failed(&path, &errno.into()))?;
    }
    Ok(())
}

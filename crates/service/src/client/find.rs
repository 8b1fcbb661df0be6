//! Where the service of this user listens.
//!
//! Safety idea: a folder that anybody could have made, such as one in `/tmp`, is believed only when it is ours and closed to all others, and
//! no link is followed to it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use beget_sys::Errno;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::error::{Error, Fault, Result};

/// The variable that names the socket where no flag does.
pub const VARIABLE: &str = "BEGET_SOCKET";

/// Where the service of this user listens: what `BEGET_SOCKET` says; for root `/run/beget/service.sock`; else `service.sock` in the folder
/// `beget` of `XDG_RUNTIME_DIR`, or in `/tmp/beget-UID` where there is no such variable.
#[must_use]
pub fn socket_path() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = rustix::process::geteuid().as_raw();
    named(VARIABLE).unwrap_or_else(|| {
        let folder = match named("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute()) {
            _ if user == 0 => PathBuf::from("/run/beget"),
            Some(folder) => folder.join("beget"),
            None => PathBuf::from(format!("/tmp/beget-{user}")),
        };
        folder.join("service.sock")
    })
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno(errno.raw_os_error())
}

/// Makes the folder that [`socket_path`] names, if it is not there: root's may be looked into by others, who may be served; an ordinary
/// user's is closed to them. The folder of a socket that somebody named is theirs to make.
///
/// # Errors
/// It cannot be made; one in `/tmp` belongs to somebody else, or is open to others, or is a link.
pub fn make_folder(socket: &Path) -> Result<()> {
    let Some(folder) = socket.parent() else { return Ok(()) };
    let root = rustix::process::geteuid().is_root();
    let is_default = folder.ends_with("beget") || is_common(folder);
    if is_default {
        let mode = Mode::from_raw_mode(if root { 0o755 } else { 0o700 });
        match rustix::fs::mkdir(folder, mode) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(why) => return Err(failed(folder, why)),
        }
    }
    if is_common(folder) { check(folder) } else { Ok(()) }
}

/// Whether this is the place in `/tmp` where anybody could have been first.
fn is_common(folder: &Path) -> bool {
    folder == Path::new(&format!("/tmp/beget-{}", rustix::process::geteuid().as_raw()))
}

fn failed(folder: &Path, why: rustix::io::Errno) -> Error {
    Error::kernel(format!("folder {}", folder.display()), errno(why), Fault::Caller)
}

/// Checks that a folder is ours, and closed to others.
fn check(folder: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(opened) => opened,
        // Then nobody listens there.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(why) => return Err(failed(folder, why)),
    };
    let state = rustix::fs::statat(&opened, "", AtFlags::EMPTY_PATH).map_err(|why| failed(folder, why))?;
    if state.st_uid != rustix::process::geteuid().as_raw() || state.st_mode & 0o077 != 0 {
        let words = "it is not this user's own, or open to others, who could put a socket there; set XDG_RUNTIME_DIR, or name a socket";
        return Err(Error::new(format!("folder {}", folder.display()), words, Fault::Caller));
    }
    Ok(())
}

/// Connects to whoever listens there.
///
/// # Errors
/// [`Fault::NotRunning`] when nobody does; the kernel's own.
pub(crate) fn connect(socket: &Path) -> Result<OwnedFd> {
    let part = || format!("service {}", socket.display());
    if let Some(folder) = socket.parent().filter(|folder| is_common(folder)) {
        check(folder)?;
    }
    let failed = |why| Error::kernel(part(), errno(why), Fault::Kernel);
    let address = SocketAddrUnix::new(socket).map_err(failed)?;
    let own =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    loop {
        match rustix::net::connect(&own, &address) {
            Ok(()) => return Ok(own),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => {
                return Err(Error::new(part(), "no service listens there", Fault::NotRunning));
            }
            Err(rustix::io::Errno::PROTOTYPE) => {
                return Err(Error::new(part(), "what listens there is no service of Beget", Fault::Confused));
            }
            Err(why) => return Err(failed(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_open_is_not_believed() {
        let folder = std::env::temp_dir().join(format!("beget-find-{}", std::process::id()));
        assert_eq!(connect(&folder.join("service.sock")).unwrap_err().fault(), Fault::NotRunning);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(check(&folder).is_ok());
        for mode in [0o701, 0o710, 0o722] {
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(check(&folder).is_err());
        }
        let link = folder.with_extension("link");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(check(&link).is_err());
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(check(&folder).is_ok());
    }
}

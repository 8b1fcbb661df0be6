//! The sockets that the service listens at, its folder, and the lock that says that there is one service.
//!
//! Safety idea: the lock decides who may remove a socket that is there: it goes with the process that holds it, however that ends. The
//! folder of the state is this user's own, or is refused.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use beget_sys::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno as Why;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::FAILED;
use crate::domains::Failure;

/// What may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The folder beside a socket in which the service keeps its state.
pub(super) fn state_folder(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".d");
    PathBuf::from(name)
}

fn failed(part: &str, path: &Path, why: Why) -> Failure {
    (format!("{part} {}: {}", path.display(), Errno(why.raw_os_error())), FAILED)
}

/// A folder of the state, and the lock on it.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) folder: PathBuf,
    _lock: OwnedFd,
}

fn open_folder(folder: &Path) -> Result<OwnedFd, Why> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty())
}

/// Whether a socket can be made here: nothing is made for one that cannot.
fn look_at(socket: &Path) -> Result<(), Failure> {
    SocketAddrUnix::new(socket).map_err(|why| failed("service", socket, why))?;
    match rustix::fs::lstat(socket) {
        Ok(state) if !rustix::fs::FileType::from_raw_mode(state.st_mode).is_socket() => {
            let words = "something is there that is no socket";
            Err((format!("service {}: {words}", socket.display()), FAILED))
        }
        _ => Ok(()),
    }
}

/// Makes the folder of the state and takes its lock.
pub(super) fn lock(socket: &Path) -> Result<Locked, Failure> {
    look_at(socket)?;
    let folder = state_folder(socket);
    match rustix::fs::mkdir(&folder, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Why::EXIST) => {}
        Err(why) => return Err(failed("folder", &folder, why)),
    }
    let lock = open_folder(&folder).map_err(|why| failed("folder", &folder, why))?;
    let state =
        rustix::fs::statat(&lock, "", AtFlags::EMPTY_PATH).map_err(|why| failed("folder", &folder, why))?;
    if state.st_uid != rustix::process::geteuid().as_raw() || state.st_mode & 0o077 != 0 {
        let words = "it is not this user's own, or open to others";
        return Err((format!("folder {}: {words}", folder.display()), FAILED));
    }
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Locked { folder, _lock: lock }),
        Err(Why::WOULDBLOCK) => {
            let words = "one runs already; `beget serve --stop` ends it";
            Err((format!("service {}: {words}", socket.display()), FAILED))
        }
        Err(why) => Err(failed("folder", &folder, why)),
    }
}

/// Waits until nobody holds the lock of the service at this socket.
pub(super) fn wait_for_end(socket: &Path) {
    if let Ok(folder) = open_folder(&state_folder(socket)) {
        while rustix::fs::flock(&folder, FlockOperation::LockShared) == Err(Why::INTR) {}
    }
}

/// Listens at this path, in the place of whatever was left there by one that was killed. The caller has the lock.
pub(super) fn listen(path: &Path, mode: u32) -> Result<OwnedFd, Failure> {
    let wrong = |why| failed("service", path, why);
    match rustix::fs::lstat(path) {
        Ok(state) if rustix::fs::FileType::from_raw_mode(state.st_mode).is_socket() => {
            rustix::fs::unlink(path).map_err(wrong)?;
        }
        // What is no socket is not ours to remove.
        Ok(_) => return Err(wrong(Why::EXIST)),
        Err(Why::NOENT) => {}
        Err(why) => return Err(wrong(why)),
    }
    let address = SocketAddrUnix::new(path).map_err(wrong)?;
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None).map_err(wrong)?;
    // Nobody can connect before it listens, and it listens when its mode is right.
    rustix::net::bind(&socket, &address).map_err(wrong)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(wrong)?;
    rustix::net::listen(&socket, BACKLOG).map_err(wrong)?;
    Ok(socket)
}

/// The sockets that systemd passed to us, by the names that they have (`man 3 sd_listen_fds_with_names`); none when they are for another
/// process.
pub(super) fn passed() -> Vec<(String, OwnedFd)> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Vec::new();
    }
    let count: i32 = variable("LISTEN_FDS").parse().unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let mut names = names.split(':');
    let taken = (3..3 + count.clamp(0, 64)).filter_map(|number| {
        let name = names.next().unwrap_or_default().to_owned();
        beget_sys::descriptor::take_up(number).ok().map(|file| (name, file))
    });
    taken.collect()
}

/// The one of that name, which must be a socket that listens for packets.
pub(super) fn take(passed: &mut Vec<(String, OwnedFd)>, name: &str) -> Result<Option<OwnedFd>, Failure> {
    let Some(place) = passed.iter().position(|(other, _)| other == name) else { return Ok(None) };
    let (_, socket) = passed.swap_remove(place);
    let listens = rustix::net::sockopt::socket_acceptconn(socket.as_fd()).unwrap_or(false);
    let kind = rustix::net::sockopt::socket_type(socket.as_fd());
    if !listens || kind != Ok(SocketType::SEQPACKET) {
        let words = "what was passed is no listening socket for packets (ListenSequentialPacket=)";
        return Err((format!("socket {name}: {words}"), FAILED));
    }
    Ok(Some(socket))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_holds_the_lock_and_a_stale_socket_is_replaced() {
        let folder = std::env::temp_dir().join(format!("beget-lock-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("s");
        let locked = lock(&socket).unwrap();
        assert!(lock(&socket).unwrap_err().0.contains("one runs already"));
        let first = listen(&socket, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        drop(listen(&socket, 0o666).unwrap());
        drop(locked);
        assert!(lock(&socket).is_ok());
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(&socket, "mine").unwrap();
        assert!(listen(&socket, 0o600).is_err());
        assert!(lock(&socket).unwrap_err().0.contains("no socket"));
        std::fs::remove_file(&socket).unwrap();
        // Nothing is left of one whose path is too long.
        let long = folder.join("x".repeat(120));
        assert!(lock(&long).unwrap_err().0.contains("name too long"));
        assert!(!state_folder(&long).exists());
        std::fs::set_permissions(state_folder(&socket), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(lock(&socket).unwrap_err().0.contains("open to others"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

//! Who is at the other end of a Unix socket: whoever connected it, or made the pair.
//!
//! Safety idea: the kernel noted it then; nothing that the other end says takes part in it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, Result, arch, nr};

const SOL_SOCKET: usize = 1;
const SO_PEERCRED: usize = 17;
const SO_PEERGROUPS: usize = 59;
const SO_PEERPIDFD: usize = 77;

/// Process, user and group of the other end (`man 7 unix`, `SO_PEERCRED`). The process is 0 where it is in a namespace that cannot be seen.
///
/// # Errors
/// `ENOTSOCK`, `EBADF`; one that nobody has connected has the user and group 2³²-1.
pub fn credentials(socket: BorrowedFd<'_>) -> Result<[u32; 3]> {
    let mut answer = [0u32; 3];
    let mut length = size_of_val(&answer) as u32;
    let (at, size) = (answer.as_mut_ptr() as usize, &raw mut length as usize);
    // SAFETY: the kernel writes at most `length` bytes there, and the new length.
    unsafe { arch::call5(nr::GETSOCKOPT, socket.as_raw_fd() as usize, SOL_SOCKET, SO_PEERCRED, at, size) }?;
    if length as usize == size_of_val(&answer) { Ok(answer) } else { Err(Errno::EINVAL) }
}

/// Its supplementary groups (`SO_PEERGROUPS`, Linux 4.13).
///
/// # Errors
/// `ENODATA` when nobody has connected it; `ENOTSOCK`, `EBADF`.
pub fn groups(socket: BorrowedFd<'_>) -> Result<std::vec::Vec<u32>> {
    let mut groups = std::vec![0u32; 64];
    loop {
        let mut length = (groups.len() * 4) as u32;
        let (at, size) = (groups.as_mut_ptr() as usize, &raw mut length as usize);
        // SAFETY: as above.
        let got = unsafe {
            arch::call5(nr::GETSOCKOPT, socket.as_raw_fd() as usize, SOL_SOCKET, SO_PEERGROUPS, at, size)
        };
        match got {
            // It says how many bytes there are.
            Err(Errno::ERANGE) if length as usize > groups.len() * 4 => groups.resize(length as usize / 4, 0),
            Err(errno) => return Err(errno),
            Ok(_) => {
                groups.truncate(length as usize / 4);
                return Ok(groups);
            }
        }
    }
}

/// A descriptor for its process, close-on-exec (`SO_PEERPIDFD`, Linux 6.5).
///
/// # Errors
/// `ENOPROTOOPT` before Linux 6.5; `ESRCH` or `EINVAL` when it has ended and is reaped (before Linux 6.16); `ENODATA`; `EMFILE`.
pub fn process(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut pidfd = -1i32;
    let mut length = 4u32;
    let (at, size) = (&raw mut pidfd as usize, &raw mut length as usize);
    // SAFETY: as above.
    unsafe { arch::call5(nr::GETSOCKOPT, socket.as_raw_fd() as usize, SOL_SOCKET, SO_PEERPIDFD, at, size) }?;
    if pidfd < 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: the kernel gave us this descriptor a moment ago.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let [process, ..] = super::credentials(one.as_fd()).expect("somebody is there");
        assert_eq!(process, std::process::id());
        let own = crate::process::groups().expect("our own groups");
        let groups = super::groups(one.as_fd()).expect("somebody is there");
        assert_eq!(groups, own.iter().map(|group| u32::from_ne_bytes(*group)).collect::<std::vec::Vec<_>>());
        if let Ok(pidfd) = super::process(one.as_fd()) {
            let number = crate::wait::number(pidfd.as_fd());
            assert!(number.is_err() || number == Ok(process));
        }
    }
}

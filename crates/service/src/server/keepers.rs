//! The birth of a process that keeps a factory: the one birth that the service writes itself.
//!
//! A keeper opens and builds with all the rights of whoever asked for it, so its plan takes nothing away from it but the right to gain more; it is
//! born in a nursery of its own, with exactly that user's credentials, and ends all that it made when it ends.
//!
//! Safety idea: what a keeper says of its factory is believed because nobody else could say what it runs: neither program, arguments,
//! environment nor any descriptor but its first connection comes from whoever asked.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_monitor::fields::Reader;
use beget_plan::births::{Birth, encode};
use beget_plan::{Draft, Op};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Server;
use super::checks::{Refusal, malformed};
use super::connections::is_packet_socket;
use crate::protocol::{Spawn, Wanted, error, wanted};

/// The argument with which a keeper's program is executed.
pub const KEEPER: &str = "keeper-part";
/// The name of the slot that its first connection is in, beside its channel in the slot `beget`.
pub const KEEPER_BUILD: &str = "build";

/// Where its program is until the exec.
const PROGRAM: i32 = 5;

/// The plan, for the descriptors program, `/dev/null`, channel and first connection.
fn plan() -> Vec<u8> {
    let mut draft = Draft::new();
    draft.push(Op::NewSession {});
    draft.push(Op::Raise { floor: PROGRAM as u32 + 1 });
    for (source, slot, closing) in [(1, 0, 0), (1, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0), (0, PROGRAM, 1)] {
        draft.push(Op::Place { source, slot, closing });
    }
    draft.push(Op::Close { first: PROGRAM as u32 + 1, last: u32::MAX });
    draft.push(Op::Umask { mode: 0o22 });
    draft.push(Op::NoNewPrivileges {});
    draft.push(Op::SignalMask { mask: 0 });
    let text = |text: String| CString::new(text).unwrap_or_default();
    let arguments = [text("beget".to_owned()), text(KEEPER.to_owned())];
    let names = text(format!("LISTEN_FDNAMES=beget:{KEEPER_BUILD}"));
    let environment = [text("LISTEN_FDS=2".to_owned()), names];
    let arguments = draft.strings(arguments.iter().map(CString::as_c_str));
    let environment = draft.strings(environment.iter().map(CString::as_c_str));
    draft.push(Op::Execute { program: PROGRAM, arguments, environment, listening: 1 });
    draft.encode(4)
}

/// Says of a request that was checked that its domain is a keeper, which no request can say itself.
pub(crate) fn mark(spawn: &mut Spawn) {
    for domain in &mut spawn.domains {
        domain.flags |= wanted::KEEPER;
    }
}

impl Server {
    /// The request that makes a keeper, and the descriptors that it brings; `None` when what was asked is none.
    ///
    /// # Errors
    /// A refusal: no factory is kept here, or the kernel has no more descriptors.
    pub(crate) fn keeper(
        &self,
        body: &[u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<Option<Spawn>, Refusal> {
        let mut reader = Reader::new(body);
        let read = (|| {
            let token = reader.raw(16)?.try_into().ok()?;
            Some((token, reader.str()?.to_owned(), reader.ends()?))
        })();
        let Some((token, name, ())) = read else { return Ok(None) };
        let Some(program) = &self.options.keeper else {
            return Err((
                error::NO_RIGHT,
                0,
                "this service was not given a program that keeps factories".to_owned(),
            ));
        };
        let (Some(first), true) = (descriptors.pop(), descriptors.is_empty()) else { return Ok(None) };
        if !is_packet_socket(&first) {
            return Err(malformed("a keeper's first connection is a socket that keeps packets apart"));
        }
        let failed = |errno: Errno| {
            (error::KERNEL, errno.raw_os_error() as u32, "a keeper cannot be given what it needs".to_owned())
        };
        let program = rustix::io::fcntl_dupfd_cloexec(program, 3).map_err(failed)?;
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let (ours, theirs) = beget_channel::Holder::pair().map_err(|_| failed(Errno::MFILE))?;
        let plan = plan();
        let given: [BorrowedFd<'_>; 4] = [program.as_fd(), null.as_fd(), theirs.as_fd(), first.as_fd()];
        let birth = Birth {
            plan: &plan,
            descriptors: given.into_iter().map(Some).collect(),
            cgroup: None,
            flags: 0,
            namespaces: 0,
            template: None,
        };
        // Each is named once, so they come in this order.
        let (batch, _) = encode(&[birth]);
        descriptors.extend([ours.into(), program, null, theirs, first]);
        let domain = Wanted {
            name,
            program: "beget keeper".to_owned(),
            capabilities: vec!["factory".to_owned()],
            holdings: b"\"a factory: beget factory show tells of its products\"".to_vec(),
            flags: wanted::CHANNEL | wanted::CAPABILITY,
            own: 1,
            ..Wanted::default()
        };
        Ok(Some(Spawn { token, domains: vec![domain], batch, ..Spawn::default() }))
    }
}

#[cfg(test)]
mod tests {
    use beget_plan::{Engine, Plan};

    #[test]
    fn the_plan_is_one() {
        let plan = super::plan();
        let checked = Plan::check(&plan, Engine::Vfork);
        assert!(checked.is_ok(), "{:?}", checked.err());
    }
}

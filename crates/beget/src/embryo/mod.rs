//! The embryo: a real process, suspended and empty, built through a handle, then started.
//!
//! Safety idea: whoever holds the one end of its channel holds the right to build it, and nobody else. To start it is to give that
//! right up: the channel is closed at both ends, and what took orders at the other end is gone from its memory, before the first
//! instruction of its program.

mod channel;
mod construct;
mod load;
mod part;
mod program;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use beget_plan::Registers;
use beget_plan::stub::role;
use beget_plan::{Draft, Engine, Fault as Failed, Op, Plan, link};
use beget_sys::process::Child;
use beget_sys::signal::SignalSet;
use beget_sys::{Errno, wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use beget_authority::keyring::{self, Keyring};
use beget_authority::{Authority, Enforced, Grant, Opened, Request as AuthorityRequest, Support, limit};

pub(crate) use channel::{Channel, Place, Taken, gone};
pub use construct::Construct;
pub use load::{Layout, Placement};
pub(crate) use load::{Load, write as write_load};
use load::{Loaded, c_strings};
pub use part::{Answer, Part, Protection};
pub use program::{Program, Symbol};
pub(crate) use program::{Source, loader_of};

use crate::confine::{self, Places};
use crate::end::Ended;
use crate::error::{Error, Fault, Result};
use crate::nursery::{Delivery, Inner, News, Nursery, Request, stub};
use crate::process::{Parent, Process};
use crate::writer::{Step, tell};

/// A process that has run no client code: it has memory of its own, which is empty, no descriptor but the one over which it is
/// told what to become, and the limits, signals and session of a fresh child.
///
/// What it is told it does to itself: see [`Construct`]. It has its creator's user and groups and cannot gain rights by what is
/// loaded into it: a set-user-ID image gains nothing, for no exec looks at its mode. A debugger may be attached to it by its number.
///
/// Dropping it ends it, and nothing of it is left; so does the end of its creator, and of its nursery.
#[derive(Debug)]
pub struct Embryo {
    birth: Birth,
    channel: Channel,
    /// One past the highest slot that was named: from there on numbers are the stub's.
    slots: u32,
    environment: BTreeMap<OsString, OsString>,
    loaded: Option<Loaded>,
    mask: SignalSet,
    /// The program that was loaded, and its loader: what it is confined to holds them.
    files: Vec<Opened>,
    /// Grants whose rules live only as long as somebody holds their files.
    held: Arc<Vec<Opened>>,
}

/// The process itself, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) nursery: Arc<Inner>,
    /// Taken when the embryo has become a process.
    pub(crate) child: Option<(Child, Arc<News>)>,
}

impl Nursery {
    /// Makes an embryo.
    ///
    /// # Errors
    /// Those of a birth; a nursery that has ended.
    pub fn embryo(&self) -> Result<Embryo> {
        self.bear(true)
    }

    /// Makes one that stays in the nursery's session, for a plan that decides on that.
    pub(crate) fn embryo_in_place(&self) -> Result<Embryo> {
        self.bear(false)
    }

    fn bear(&self, session: bool) -> Result<Embryo> {
        let (link, theirs) = link::pair().map_err(|errno| Error::kernel("embryo", errno, Fault::Kernel))?;
        let plan = birth_plan(session)?;
        let request = Request {
            plan: &plan,
            descriptors: vec![theirs.as_fd(), stub()?.as_fd()],
            cgroup: None,
            own: false,
            stops: true,
            template: None,
        };
        let delivery = self.inner.deliver(&[request], false)?.pop();
        let child = match delivery {
            Some(Delivery::Child(child, news)) => (child, news),
            Some(Delivery::None(errno)) => return Err(Error::kernel("embryo", errno, Fault::Kernel)),
            Some(Delivery::Failed(fault)) => {
                let checked = Plan::check(&plan, Engine::Vfork).map_err(Error::malformed_plan)?;
                let step = checked.op(fault.op as usize).map_or("plan", Op::name);
                return Err(Error::kernel(format!("embryo: {step}"), fault.errno, Fault::Kernel));
            }
            Some(Delivery::Own(_)) | None => {
                return Err(Error::new("embryo", "it was not born", Fault::Beget));
            }
        };
        Ok(Embryo {
            birth: Birth { nursery: Arc::clone(&self.inner), child: Some(child) },
            channel: Channel::new(link),
            slots: 0,
            environment: BTreeMap::new(),
            loaded: None,
            mask: SignalSet::EMPTY,
            files: Vec::new(),
            held: Arc::default(),
        })
    }
}

/// What an embryo is born with: the fresh defaults of a child, and the stub.
fn birth_plan(session: bool) -> Result<Vec<u8>> {
    const PROGRAM: i32 = 1;
    let resources = limit::resources(&[], &[], false)?;
    let mut draft = Draft::new();
    if session {
        draft.push(Op::NewSession {});
        draft.push(Op::NoNewPrivileges {});
    }
    draft.push(Op::Raise { floor: 2 });
    draft.push(Op::Place { source: 0, slot: beget_plan::stub::CHANNEL, closing: 0 });
    draft.push(Op::Place { source: 1, slot: PROGRAM, closing: 1 });
    draft.push(Op::Close { first: 2, last: u32::MAX });
    draft.push(Op::Umask { mode: 0o022 });
    draft.push(Op::Personality { value: 0 });
    draft.push(Op::TimerSlack { nanoseconds: 50_000 });
    for one in resources {
        draft.push(Op::Limit { resource: one.number, soft: one.bounds.soft, hard: one.bounds.hard });
    }
    draft.push(Op::SignalMask { mask: SignalSet::ALL.0 });
    let arguments = draft.strings([role::EMBRYO]);
    let environment = draft.strings([]);
    draft.push(Op::Execute { program: PROGRAM, arguments, environment, listening: 0 });
    Ok(draft.encode(2))
}

impl Construct for Embryo {
    fn apply(&mut self, part: &Part<'_>) -> Result<Vec<Answer>> {
        let plan = part.encode();
        part.check(&plan)?;
        let slots = self.slots.max(part.slots);
        match self.channel.tell(slots, &plan, &part.descriptors)? {
            Taken::Done(answers) => {
                self.slots = slots;
                part.read_answers(&answers)
            }
            // The channel could not be moved out of the way: no descriptor can have such a number.
            Taken::Failed(Failed { op: u32::MAX, errno: Errno::EBADF | Errno::EINVAL })
                if slots > self.slots =>
            {
                Err(part.slot_error())
            }
            Taken::Failed(fault) => {
                if fault.op != u32::MAX {
                    self.slots = slots;
                }
                Err(part.error(fault))
            }
            Taken::Left => Err(gone()),
        }
    }
}

impl Embryo {
    /// Its process number: for a debugger, for messages.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.birth.child.as_ref().map_or(0, |(child, _)| child.number)
    }

    /// How it ended, if somebody ended it; an embryo does not end by itself.
    ///
    /// # Errors
    /// One that was not started is told as that.
    pub fn wait(&self) -> Result<Ended> {
        let ended = match &self.birth.child {
            Some((child, news)) => {
                let mut watched = [PollFd::new(&child.pidfd, PollFlags::IN)];
                let has_ended = matches!(poll(&mut watched, Some(&Timespec::default())), Ok(1..));
                match self.birth.nursery.status(news, has_ended) {
                    None if has_ended => return Err(gone()),
                    ended => ended,
                }
            }
            None => None,
        };
        ended.ok_or_else(|| Error::new("embryo", "not started", Fault::Caller))
    }

    /// Gives a variable to the program that is loaded or executed later.
    pub fn set_env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Embryo {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// The signals that its program starts with blocked, instead of none.
    pub fn signal_mask(&mut self, mask: SignalSet) -> &mut Embryo {
        self.mask = mask;
        self
    }

    /// Loads a program without an exec: its segments, its loader, and its first stack with these arguments, the first of which is
    /// its name for itself. Nothing of it runs before [`start`](Embryo::start).
    ///
    /// One load succeeds; what another embryo loads is at other addresses.
    ///
    /// # Errors
    /// `EEXIST` where something is mapped already, at the place of a program that must be there; `E2BIG`; those of mapping. The memory
    /// of an embryo is then as it was.
    pub fn load(&mut self, program: &Program, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
        if self.loaded.is_some() {
            return Err(Error::new(
                program.source.part.as_str(),
                "a program is loaded already",
                Fault::Caller,
            ));
        }
        let arguments: Vec<OsString> = arguments.iter().map(|text| text.as_ref().to_owned()).collect();
        let arguments = c_strings(&arguments, "argument")?;
        let environment = self.variables()?;
        let comm = Path::new(OsStr::from_bytes(program.path.as_bytes())).file_name();
        let comm = comm.and_then(|name| CString::new(name.as_bytes()).ok()).unwrap_or_default();
        let load = Load {
            program: &program.source,
            loader: program.loader.as_ref(),
            arguments: &arguments,
            environment: &environment,
            name: &program.path,
            comm: &comm,
            user: None,
            group: None,
        };
        let place = self.channel.place()?.clone();
        let mut part = Part::new();
        let loaded = write_load(&load, &place, &mut part)?;
        self.apply_load(&part, &loaded)?;
        let whole =
            program.source.is_whole().and_then(|()| program.loader.as_ref().map_or(Ok(()), Source::is_whole));
        if let Err(error) = whole {
            self.unload(&loaded, part.len());
            return Err(error);
        }
        self.files = program.files()?;
        self.loaded = Some(loaded);
        Ok(())
    }

    /// `NAME=VALUE` strings.
    fn variables(&self) -> Result<Vec<CString>> {
        let one = |(name, value): (&OsString, &OsString)| {
            [name.as_os_str(), OsStr::new("="), value].into_iter().collect::<OsString>()
        };
        c_strings(&self.environment.iter().map(one).collect::<Vec<_>>(), "variable")
    }

    fn apply_load(&mut self, part: &Part<'_>, loaded: &Loaded) -> Result<()> {
        let plan = part.encode();
        match self.channel.tell(self.slots, &plan, &part.descriptors)? {
            Taken::Done(_) => Ok(()),
            Taken::Left => Err(gone()),
            Taken::Failed(fault) => {
                self.unload(loaded, fault.op as usize);
                Err(part.error(fault))
            }
        }
    }

    /// Takes back what the first `done` operations of a load have reserved.
    fn unload(&mut self, loaded: &Loaded, done: usize) {
        let mut part = Part::new();
        for (_, range) in loaded.reserved.iter().filter(|(op, _)| *op < done) {
            part.unmap(range.start, range.end - range.start);
        }
        let _ = self.apply(&part);
    }

    /// Where the loaded program lies, and its loader.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.loaded.as_ref().map(|loaded| loaded.layout.clone())
    }

    /// Confines it, for ever, to these grants and what it has been given: as [`Command`](crate::Command) confines a child, with the
    /// program that was loaded and its loader among what it may read and execute. Gives what keeps each promise.
    ///
    /// What is done to it afterwards is done by a confined process: its memory and slots can still be changed, its rights cannot.
    ///
    /// # Errors
    /// A grant that cannot be opened, a promise that this kernel cannot keep, an operation that the kernel refuses. What was done
    /// until then stays done: rights that were given up do not come back.
    pub fn confine(&mut self, grants: &[Grant]) -> Result<Vec<Enforced>> {
        let keyring = keyring::look();
        let mut authority = Authority::prepare(AuthorityRequest {
            grants,
            limits: &[],
            root: None,
            root_given_up: false,
            files: std::mem::take(&mut self.files),
            only: false,
            degraded: &[],
            support: Support::detect(),
            program_slot: None,
            own_group: true,
            own_session: true,
            // It may be given either at any time.
            given_sockets: true,
            keep_modes: true,
            discreet: false,
            listener: false,
            keyring: keyring != Keyring::None,
            groups: Arc::default(),
        })?;
        let mut part = Part::new();
        let slot = self.slots as i32;
        let mut places = Places::default();
        if let Some(ruleset) = &authority.ruleset {
            part.grant(slot, ruleset.as_fd());
            places.ruleset = Some(slot);
        }
        confine::write(&authority, keyring, true, places, &mut part.writer)?;
        if places.ruleset.is_some() {
            part.close(slot);
        }
        self.apply(&part)?;
        drop(part);
        drop(authority.forget_opened());
        self.held = Arc::new(std::mem::take(&mut authority.opened));
        Ok(authority.enforced)
    }

    /// The registers that its program starts with, for one that was put into its memory by hand; what a load has set is replaced.
    ///
    /// The others are zero or of no meaning: the call that takes the stub away leaves something in them.
    pub fn set_registers(&mut self, registers: Registers) -> &mut Embryo {
        match &mut self.loaded {
            Some(loaded) => loaded.registers = registers,
            None => {
                let layout = Layout { program: Placement::default(), loader: None };
                self.loaded = Some(Loaded { registers, layout, reserved: Vec::new() });
            }
        }
        self
    }

    /// Ends its construction: the channel is closed at both ends and the stub unmapped before the first instruction of the program.
    ///
    /// # Errors
    /// One with nothing to start; a stack pointer where there is no memory. The embryo has ended then.
    pub fn start(self) -> Result<Process> {
        let loaded =
            self.loaded.as_ref().ok_or_else(|| Error::new("embryo", "nothing was loaded", Fault::Caller))?;
        let mut part = Part::new();
        let words: Vec<u8> = loaded.registers.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
        let registers = part.writer.draft.bytes(&words);
        let registers = beget_plan::op::Span { at: registers.at, count: registers.count / 8 };
        part.push(Op::SignalMask { mask: self.mask.0 }, "signal mask");
        part.push(Op::Enter { registers, stop: 0 }, "start");
        self.finish(&part)
    }

    /// Ends its construction by an exec: `program` is executed with these arguments, the first of which is its name for itself.
    ///
    /// # Errors
    /// Those of `execveat`. The embryo has ended then.
    pub fn execute(mut self, program: BorrowedFd<'_>, arguments: &[impl AsRef<OsStr>]) -> Result<Process> {
        let arguments: Vec<OsString> = arguments.iter().map(|text| text.as_ref().to_owned()).collect();
        let arguments = c_strings(&arguments, "argument")?;
        let environment = self.variables()?;
        let mut part = Part::new();
        let source = part.lend(program);
        let slot = self.slots as i32;
        self.slots += 1;
        part.push(Op::Place { source, slot, closing: 1 }, "program");
        part.push(Op::SignalMask { mask: self.mask.0 }, "signal mask");
        let arguments = part.writer.draft.strings(arguments.iter().map(CString::as_c_str));
        let environment = part.writer.draft.strings(environment.iter().map(CString::as_c_str));
        part.push(Op::Execute { program: slot, arguments, environment, listening: 0 }, "program");
        self.finish(&part)
    }

    fn finish(self, part: &Part<'_>) -> Result<Process> {
        let slots = self.slots;
        self.become_process(slots, &part.encode(), &part.descriptors, &part.writer.steps)
    }

    fn into_process(self) -> Result<Process> {
        let mut process = self.birth.into_process()?;
        process.held = self.held;
        Ok(process)
    }

    /// Runs a whole plan in it, written for a child with so many slots, and gives the process that it became.
    pub(crate) fn become_process(
        mut self,
        slots: u32,
        plan: &[u8],
        descriptors: &[BorrowedFd<'_>],
        steps: &[Step],
    ) -> Result<Process> {
        match self.channel.tell(slots, plan, descriptors)? {
            Taken::Left => self.into_process(),
            Taken::Failed(fault) => Err(tell(fault, steps)),
            Taken::Done(_) => Err(Error::new("embryo", "it did not start", Fault::Beget)),
        }
    }

    /// Where things are in it.
    pub(crate) fn place(&mut self) -> Result<Place> {
        self.channel.place().cloned()
    }
}

/// The pidfd.
impl AsFd for Embryo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.birth.child {
            Some((child, _)) => child.pidfd.as_fd(),
            None => self.channel.as_fd(),
        }
    }
}

impl Birth {
    /// The process that it has become.
    pub(crate) fn into_process(mut self) -> Result<Process> {
        let (child, news) = self.child.take().ok_or_else(gone)?;
        Ok(Process::new(child, Parent::Nursery(Arc::clone(&self.nursery), news)))
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        const SIGKILL: i32 = 9;
        let Some((child, news)) = self.child.take() else { return };
        let _ = wait::send_signal(child.pidfd.as_fd(), SIGKILL);
        self.nursery.await_end(&child, &news);
        self.nursery.forget(&news);
    }
}

//! A product that is asked for: what is the requestor's own, and the start.
//!
//! Safety idea: a requestor gives of its own and never takes of the builder's: there is nothing here that reads a product, and the data of
//! a request becomes operations on this side of it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use beget::{Grant, Limit, Part, Process, Product, Provision, Register, Stdio, Variation};

use crate::adapter::{Adapter, Exchange, JOB};
use crate::arguments::Arguments;
use crate::factory::Inner;
use crate::live::Live;
use crate::pool::Waiting;
use crate::statistics::count;
use crate::{Error, Fault, Ready, Result};

/// How often a request is made again that was lost before anything of it ran.
const ATTEMPTS: usize = 4;

/// A product that is asked for. What it is given here is its own alone: no other product has it, and the builder never sees it.
#[derive(Clone, Debug)]
pub struct Request {
    factory: Arc<Inner>,
    variation: Variation,
    unique: bool,
}

macro_rules! delegated {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl Request {
            $(
                $(#[$doc])*
                pub fn $name(&mut self $(, $argument: $kind)*) -> &mut Request {
                    self.variation.$name($($argument),*);
                    self
                }
            )*
        }
    };
}

delegated! {
    /// Adds an argument after the builder's own. Where the ready point is past reading them, [`start`](Request::start) says so.
    arg(argument: impl AsRef<OsStr>);
    /// Adds arguments.
    args(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>);
    /// Gives a variable, instead of the builder's of that name. Where the ready point is past reading them, [`start`](Request::start) says so.
    env(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>);
    /// Gives standard input; without this it is closed.
    stdin(stream: impl Into<Stdio>);
    /// Gives standard output; without this it is closed.
    stdout(stream: impl Into<Stdio>);
    /// Gives standard error; without this it is closed.
    stderr(stream: impl Into<Stdio>);
    /// Gives a descriptor at a slot of this number, which the builder has put nothing into.
    fd(number: i32, file: impl Into<OwnedFd>);
    /// Gives a descriptor in the next free slot, by this name. `LISTEN_FDS` and `LISTEN_FDNAMES` tell of it where the ready point is before the
    /// program reads its variables; `LISTEN_PID` is not a copy's number.
    slot(name: impl Into<String>, file: impl Into<OwnedFd>);
    /// Sets a limit, which must be narrower than the builder's: space and processor time are the requestor's to give.
    limit(limit: Limit);
    /// The working directory, by a directory that is open.
    current_dir_fd(directory: impl Into<OwnedFd>);
    /// The cgroup that it is in, as its open directory: what pays for it.
    cgroup(directory: impl Into<OwnedFd>);
}

/// What came of an attempt.
enum Attempt {
    Made(Box<Process>),
    /// Nothing of it ran: it can be made again.
    Lost,
    Failed(Error),
}

/// A product that was told everything, and runs.
struct Told {
    process: Process,
    exchange: Option<Exchange>,
    provision: Provision,
}

/// Ends one that came to nothing.
fn end(process: &Process) {
    let _ = process.kill();
    let _ = process.wait_shared();
}

impl Request {
    pub(crate) fn new(factory: Arc<Inner>) -> Request {
        Request { factory, variation: Variation::new(), unique: false }
    }

    /// Holds this product to these grants besides: only what both allow is left.
    ///
    /// # Errors
    /// Those of [`Variation::narrow`].
    pub fn narrow(&mut self, grants: &[Grant]) -> Result<&mut Request> {
        self.variation.narrow(grants)?;
        Ok(self)
    }

    /// Refuses a product that shares what its program has taken for random before it was copied, or a layout of memory, with another.
    pub fn unique(&mut self, unique: bool) -> &mut Request {
        self.unique = unique;
        self
    }

    /// Starts it.
    ///
    /// From the pool when one waits there, else as a copy that is made now, else from the beginning; [`Statistics`](crate::Statistics) tell
    /// which.
    ///
    /// # Errors
    /// What the ready point cannot be given any more (arguments, variables); a stream or number that the program has closed, or put something of its
    /// own at, before it was ready, and which stays as it left it where nothing is asked for; a limit that is wider than the builder's; a product that is
    /// to be unique of a factory whose are not; those of the kernel's; one whose nursery was killed while it ran already; a process that is a
    /// copy (`fork`) of the one that sealed the factory. Nothing is left of it then, in its cgroup neither.
    pub fn start(&self) -> Result<Process> {
        self.factory.check_own()?;
        let made = self.make();
        if made.is_err() {
            count(&self.factory.counters.failed);
        }
        made
    }

    fn make(&self) -> Result<Process> {
        let factory = &self.factory;
        if factory.options.ready.is_none() {
            return self.make_cold();
        }
        if self.unique && !factory.adapter.as_ref().is_some_and(|adapter| adapter.acknowledges()) {
            let words = "its products share what was random before they were copied (shared-randomness), and this one is to be unique";
            return Err(Error::new("factory: product", words, Fault::Caller));
        }
        if factory.options.pool.size == 0 {
            factory.look_after();
        }
        for _ in 0..ATTEMPTS {
            let Some(waiting) = factory.pool.take(factory.options.pool.low_water) else { break };
            match self.make_waiting(waiting) {
                Attempt::Made(process) => {
                    count(&factory.counters.hits);
                    return Ok(*process);
                }
                Attempt::Failed(error) => return Err(error),
                Attempt::Lost => {}
            }
        }
        for _ in 0..ATTEMPTS {
            let Ok(live) = factory.live() else { break };
            match self.make_warm(&live) {
                Attempt::Made(process) => {
                    count(&factory.counters.warm);
                    return Ok(*process);
                }
                Attempt::Failed(error) => return Err(error),
                Attempt::Lost => factory.lost_if_ended(&live),
            }
        }
        // There is no start from the beginning that an adapter could give a job to, and a program that stops itself would stay stopped.
        if factory.adapter.is_none() && factory.options.ready != Some(Ready::Stop) {
            return self.make_cold();
        }
        let live = factory.live()?;
        match self.make_warm(&live) {
            Attempt::Made(process) => {
                count(&factory.counters.warm);
                Ok(*process)
            }
            Attempt::Failed(error) => Err(error),
            Attempt::Lost => Err(Error::new("factory: template", "it ends again and again", Fault::Kernel)),
        }
    }

    fn make_cold(&self) -> Result<Process> {
        let nursery = self.factory.own_nursery()?;
        let _unmarked = self.factory.begin_birth();
        let process = self.factory.sealed.spawn(&self.variation, nursery.as_ref())?;
        // It runs already, and nobody would hold it.
        self.factory.mark(process.id(), process.as_fd()).inspect_err(|_| end(&process))?;
        count(&self.factory.counters.cold);
        Ok(process)
    }

    fn make_waiting(&self, waiting: Waiting) -> Attempt {
        let Waiting { product, live } = waiting;
        self.tell(&live, Some(product))
    }

    fn make_warm(&self, live: &Live) -> Attempt {
        self.tell(live, None)
    }

    /// Tells a copy what is this request's alone, and to go on.
    fn tell(&self, live: &Live, product: Option<Product>) -> Attempt {
        match self.try_tell(live, product) {
            Ok(Told { process, exchange, provision }) => match self.finish(process, exchange, provision) {
                Ok(process) => Attempt::Made(Box::new(process)),
                // Of one that was told to go on something may have run: it is not made again, whatever the error.
                Err(error) => Attempt::Failed(error),
            },
            // Its channel was closed before it could be told to go on.
            Err(error) if error.errno() == Some(beget_sys::Errno::EPIPE.0) => Attempt::Lost,
            Err(error) => Attempt::Failed(error),
        }
    }

    /// Everything up to its going on. An `EPIPE` of this says that nothing of it ran; whatever the error, nothing runs any more.
    fn try_tell(&self, live: &Live, product: Option<Product>) -> Result<Told> {
        // What can be wrong with the request itself shows before there is a copy.
        let mut provision = self.factory.sealed.provide(&live.template, &self.variation)?;
        self.respect(live, &mut provision)?;
        let fresh = live.survey.fresh()?;
        let mut part = Part::new();
        fresh.add_to(&mut part);
        provision.add_to(&mut part)?;
        let job = self.factory.adapter.as_ref().map(|adapter| self.job(adapter.as_ref(), &provision));
        let (exchange, theirs) = job.transpose()?.unzip();
        let registers = match &theirs {
            Some(theirs) => {
                part.grant(JOB, theirs.as_fd());
                Vec::new()
            }
            None => self.rewrite(live, &provision, &mut part)?,
        };
        let process = match product {
            Some(product) => {
                // Before it runs: it is not to be had without its brand.
                self.factory.mark(product.id(), product.as_fd())?;
                product.start_with(&live.template, part, &registers)?
            }
            None => {
                // It may run before it has its brand; whoever asks for that meanwhile waits.
                let unmarked = self.factory.begin_birth();
                let beginning = live.start(part, &registers)?;
                self.factory.mark(beginning.id(), beginning.as_fd())?;
                drop(unmarked);
                beginning.wait()?
            }
        };
        // The copy's end of the line is its alone from here on, and its closing is seen.
        Ok(Told { process, exchange, provision })
    }

    /// What is left to do when it runs.
    fn finish(&self, process: Process, exchange: Option<Exchange>, provision: Provision) -> Result<Process> {
        if let Some(exchange) = exchange
            && let Err(error) = exchange.finish(self.factory.options.patience)
        {
            end(&process);
            return Err(error);
        }
        provision.hand_over(process)
    }

    /// Leaves the program what it has made its own before it was ready. What is asked for at such a number could not be had: a program that was started
    /// with it would have something else there by now, or would have put its own elsewhere.
    fn respect(&self, live: &Live, provision: &mut Provision) -> Result<()> {
        let numbers: Vec<i32> = provision.numbers().collect();
        for number in numbers {
            let Some(why) = live.survey.taken(number) else { continue };
            let stream = usize::try_from(number).ok().and_then(|one| ["stdin", "stdout", "stderr"].get(one));
            match stream {
                Some(_) if !self.variation.gives_stream(number as usize) => provision.leave(number),
                _ => {
                    let part = stream.map_or_else(|| format!("slot {number}"), |name| (*name).to_owned());
                    let words = format!("{why} before it was ready");
                    return Err(Error::new(format!("factory: {part}"), words, Fault::Caller));
                }
            }
        }
        Ok(())
    }

    /// Arguments and variables into the copy's memory, where they are other than the template's. What it has of its own whatever is asked for, it
    /// has from its birth.
    fn rewrite(
        &self,
        live: &Live,
        provision: &Provision,
        part: &mut Part<'_>,
    ) -> Result<Vec<(Register, u64)>> {
        let text = |text: &CString| OsStr::from_bytes(text.as_bytes()).to_owned();
        let arguments: Option<Vec<OsString>> = (!self.variation.arguments().is_empty())
            .then(|| provision.arguments().iter().map(text).collect());
        // Slots are told of where the program has yet to read its variables; a request that asks for nothing else is not refused for them.
        let told = self.variation.gives_slots()
            && live.point.arguments.as_ref().is_some_and(Arguments::takes_environment);
        let environment = (told || !self.variation.environment().is_empty()).then(|| pairs(provision));
        if arguments.is_none() && environment.is_none() {
            return Ok(Vec::new());
        }
        live.point.rewrite(part, arguments.as_deref(), environment.as_deref())
    }

    /// The job of this product, and the copy's end of the line that it is told over.
    fn job(&self, adapter: &dyn Adapter, provision: &Provision) -> Result<(Exchange, OwnedFd)> {
        let job = adapter.job(self.variation.arguments(), &pairs(provision))?;
        Exchange::begin(adapter.name(), &job)
    }
}

/// The variables that a product has, names and values.
pub(crate) fn pairs(provision: &Provision) -> Vec<(OsString, OsString)> {
    let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let pair = |one: &CString| {
        let mut parts = one.as_bytes().splitn(2, |byte| *byte == b'=');
        (owned(parts.next().unwrap_or_default()), owned(parts.next().unwrap_or_default()))
    };
    provision.environment().iter().map(pair).collect()
}

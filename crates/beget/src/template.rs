//! A template, which makes copies of itself, and a product, which is one: suspended, and given things until it is started.
//!
//! Safety idea: a copy is born held by all that holds its template, and puts on one more ruleset before it is told anything, so that it is in a
//! domain of its own and reaches neither its template nor another copy. What opens its template's filter for a copy is a number
//! that no copy has. Whoever holds a product's channel has it built, and nobody else; starting it gives that up.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_authority::limit::Resource;
use beget_authority::{Support, apart, filter};
use beget_plan::births::Mother;
use beget_plan::link::{self, Link};
use beget_plan::op::Span;
use beget_plan::{Fault as Failed, Op, Register};
use beget_sys::Errno;
use beget_sys::message::MOST_DESCRIPTORS;
use beget_sys::seccomp::Instruction;

use crate::command::{Layouts, Prepared};
use crate::embryo::{Answer, Birth, Channel, Construct, Part, Taken, gone};
use crate::error::{Error, Fault, Result};
use crate::nursery::{Delivery, Nursery, Request};
use crate::process::Process;
use crate::writer::{Step, tell};

/// What every copy is held to.
pub(crate) struct Hold {
    pub(crate) own_session: bool,
    /// The limit of open files, which the template does without.
    pub(crate) files: Option<Resource>,
    pub(crate) prepared: Arc<Prepared>,
    /// What puts a copy into a domain of its own, where that is not the whole ruleset once more.
    apart: Option<OwnedFd>,
    /// What the template's filter, which a copy is born with, lacks for it.
    filter: Option<Vec<Instruction>>,
    /// What opens that filter for one more copy.
    key: u64,
}

/// Without the key.
impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("own_session", &self.own_session)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Hold {
    pub(crate) fn new(
        own_session: bool,
        files: Option<Resource>,
        prepared: Arc<Prepared>,
        key: u64,
        support: Support,
    ) -> Result<Hold> {
        let policy = prepared.authority.policy;
        // Some kernels refuse to move files between folders in a domain that says nothing of files, although those outside say that it may.
        let moves = policy.is_none_or(|policy| policy.creates);
        let apart = if moves || prepared.authority.ruleset.is_none() { None } else { apart(support)? };
        let filter = policy.and_then(|policy| filter::for_copy(&policy));
        Ok(Hold { own_session, files, prepared, apart, filter, key })
    }
}

/// The right to have a template make copies of itself: an unmodified program that was stopped where it is ready, with a stub beside it.
///
/// It is made by [`Command::spawn_template`](crate::Command::spawn_template) and whoever puts the stub into the process; until then nothing
/// answers. Dropping it closes its channel, and the template ends.
#[derive(Debug)]
pub struct Template {
    nursery: Nursery,
    channel: OwnedFd,
    hold: Hold,
    pub(crate) layouts: Layouts,
}

/// A copy of a template: an embryo whose memory is the program's, and whose descriptors below [`Template::SCRATCH`] are.
///
/// Dropping it ends it, and nothing of it is left.
#[derive(Debug)]
pub struct Product {
    birth: Birth,
    channel: Channel,
    /// The words of what it was told at its birth, as long as it has not answered to that.
    first: Option<Vec<Step>>,
    held: Arc<Vec<beget_authority::Opened>>,
}

impl Template {
    /// The number of the template's channel in the template, and of each copy's in that.
    pub const CHANNEL: i32 = 1000;
    /// A number that a copy uses for a moment: the program's own are below it.
    pub const SCRATCH: i32 = Template::CHANNEL - 1;
    /// How many open files a template may have at least: its channel, and what comes over it.
    pub const NUMBERS: u64 = Template::CHANNEL as u64 + 280;

    pub(crate) fn new(nursery: Nursery, channel: OwnedFd, hold: Hold) -> Template {
        Template { nursery, channel, hold, layouts: Layouts::default() }
    }

    /// The nursery whose children template and products are.
    #[must_use]
    pub fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    /// What its program was started with.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.hold.prepared
    }

    /// What every copy does first: a session of its own where the template has one, then a domain of its own.
    #[must_use]
    pub fn first_part(&self) -> Part<'_> {
        let mut part = Part::new();
        if self.hold.own_session {
            part.push(Op::NewSession {}, "session");
        }
        let whole = || self.hold.prepared.authority.ruleset.as_deref();
        if let Some(ruleset) = self.hold.apart.as_ref().or_else(whole) {
            let source = part.lend(ruleset.as_fd());
            let (slot, first) = (Template::SCRATCH, Template::SCRATCH as u32);
            part.push(Op::Place { source, slot, closing: 1 }, "Landlock ruleset");
            part.push(Op::Landlock { slot }, "Landlock ruleset");
            part.push(Op::Close { first, last: first }, "closing descriptors");
        }
        // The rest of it a copy is born with.
        if let Some(filter) = &self.hold.filter {
            let instructions = part.writer.draft.filter(filter);
            part.push(Op::Filter { instructions }, "seccomp filter");
        }
        part
    }

    /// Has a copy made that does `part` first and then waits to be told more; that it has done so is looked at by the next thing that it is
    /// told, or by [`Product::wait_ready`].
    ///
    /// # Errors
    /// Those of a birth; a template or nursery that has ended.
    pub fn product(&self, part: &Part<'_>) -> Result<Product> {
        let (link, theirs) = pair()?;
        let channel = self.channel_of(link)?;
        let (birth, steps) = self.bear(part, theirs, None, || {})?;
        Ok(Product { birth, channel, first: Some(steps), held: self.held() })
    }

    /// Has a copy made that does `part` and goes on as its program at once.
    ///
    /// # Errors
    /// As for [`begin`](Template::begin) and [`Beginning::wait`]: nothing is left of the copy then.
    pub fn start(&self, part: Part<'_>) -> Result<Process> {
        self.start_with(part, &[])
    }

    /// The same, with other values in these registers.
    ///
    /// # Errors
    /// As for [`start`](Template::start).
    pub fn start_with(&self, part: Part<'_>, registers: &[(Register, u64)]) -> Result<Process> {
        self.begin(&Part::new(), part, registers)?.wait()
    }

    /// Has a copy made that does what is `first`, then `part`, and goes on as its program at once, with other values in these registers: all of that is
    /// said in one go.
    ///
    /// It goes on only when its nursery knows of it, and says so: one that is lost between a template that is killed and its nursery ends, and has
    /// run nothing.
    ///
    /// # Errors
    /// As for [`product`](Template::product); nothing of the copy has run then, if the number of the error is `EPIPE`.
    pub fn begin(
        &self,
        first: &Part<'_>,
        mut part: Part<'_>,
        registers: &[(Register, u64)],
    ) -> Result<Beginning> {
        /// What surely fits where nobody reads yet.
        const SHORT: usize = 16 << 10;
        self.finish(&mut part, registers);
        let plan = part.encode();
        part.check(&plan)?;
        let ahead = plan.len() <= SHORT && part.descriptors.len() <= MOST_DESCRIPTORS;
        let (link, theirs) = pair()?;
        let mut channel = self.channel_of(link)?;
        let mut said = Ok(());
        let say = || {
            if ahead {
                said = channel.say_ahead(Template::CHANNEL as u32, &plan, &part.descriptors);
            }
        };
        let born = self.bear(first, theirs, ahead.then(|| channel.as_fd()), say);
        let (birth, steps) = match born.and_then(|born| said.map(|()| born)) {
            Ok(born) => born,
            // All that it was told: it went on, whatever became of the nursery that let it.
            Err(error) if channel.give_up() > 1 => {
                let words = format!("{error}; a product that it made has run");
                return Err(Error::new("nursery", words, Fault::Kernel));
            }
            Err(error) => return Err(error),
        };
        let mut product = Product { birth, channel, first: Some(steps), held: self.held() };
        if !ahead {
            product.say(&plan, &part.descriptors)?;
        }
        Ok(Beginning { product, steps: part.writer.steps })
    }

    fn held(&self) -> Arc<Vec<beget_authority::Opened>> {
        Arc::clone(&self.hold.prepared.held)
    }

    fn channel_of(&self, link: Link) -> Result<Channel> {
        let channel = Channel::of_copy(link);
        if let Some(patience) = self.nursery.inner.patience() {
            channel.set_patience(patience)?;
        }
        Ok(channel)
    }

    /// Adds what comes last: the limit of open files, and going on.
    fn finish(&self, part: &mut Part<'_>, registers: &[(Register, u64)]) {
        if let Some(limit) = part.open_files.or(self.hold.files) {
            part.set_limit(limit);
        }
        let pairs = registers.iter().flat_map(|(register, value)| [*register as u64, *value]);
        let bytes: Vec<u8> = pairs.flat_map(u64::to_ne_bytes).collect();
        let changes = Span { count: registers.len() as u32, ..part.writer.draft.bytes(&bytes) };
        part.push(Op::Resume { changes }, "going on");
    }

    fn bear(
        &self,
        part: &Part<'_>,
        theirs: OwnedFd,
        starter: Option<BorrowedFd<'_>>,
        meanwhile: impl FnOnce(),
    ) -> Result<(Birth, Vec<Step>)> {
        let plan = part.encode();
        part.check(&plan)?;
        let mut descriptors = part.descriptors.clone();
        descriptors.push(theirs.as_fd());
        let request = Request {
            plan: &plan,
            descriptors,
            cgroup: None,
            own: false,
            stops: true,
            template: Some(Mother { channel: self.channel.as_fd(), key: self.hold.key, starter }),
        };
        let child = match self.nursery.inner.deliver_one(&request, meanwhile)? {
            Delivery::Child(child, news) => (child, news),
            Delivery::None(Errno::EPIPE) => {
                return Err(Error::new("template", "it has ended", Fault::Kernel).with_errno(Errno::EPIPE));
            }
            Delivery::None(errno) => return Err(Error::kernel("template", errno, Fault::Kernel)),
            _ => return Err(Error::new("template", "its answer means nothing", Fault::Beget)),
        };
        let steps = part.writer.steps.clone();
        Ok((Birth { nursery: Arc::clone(&self.nursery.inner), child: Some(child) }, steps))
    }
}

fn pair() -> Result<(Link, OwnedFd)> {
    link::pair().map_err(|errno| Error::kernel("product", errno, Fault::Kernel))
}

/// The channel itself: readable when the template has ended.
impl AsFd for Template {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Product {
    /// Its process number: for messages, and for whoever looks at its memory.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.birth.child.as_ref().map_or(0, |(child, _)| child.number)
    }

    /// Waits until it has done what it was told at its birth.
    ///
    /// # Errors
    /// Those of the operations; one that has ended.
    pub fn wait_ready(&mut self) -> Result<()> {
        let Some(steps) = self.first.take() else { return Ok(()) };
        match self.hear()? {
            Taken::Done(_) => Ok(()),
            Taken::Left => Err(gone()),
            Taken::Failed(fault) => Err(tell(fault, &steps)),
        }
    }

    /// Sends a part; one that does not take it in time has run nothing, and is as good as gone.
    fn say(&mut self, plan: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.channel.say(Template::CHANNEL as u32, plan, descriptors).map_err(|error| match error.errno() {
            Some(errno) if errno == Errno::EAGAIN.0 => gone(),
            _ => error,
        })
    }

    /// What came of a part. One that somebody stopped is killed when its time is over: what it said before that still counts, so that it is
    /// known whether any of its program ran.
    fn hear(&mut self) -> Result<Taken> {
        const SIGKILL: i32 = 9;
        match self.channel.hear() {
            Err(error) if error.errno() == Some(Errno::EAGAIN.0) => {
                let _ = beget_sys::wait::send_signal(self.as_fd(), SIGKILL);
                self.channel.hear()
            }
            heard => heard,
        }
    }

    /// Ends its construction: does `part`, closes the channel at both ends, and goes on as the program, the stub unmapped.
    ///
    /// # Errors
    /// Those of the operations, of its birth too. It has ended then.
    pub fn start(self, template: &Template, part: Part<'_>) -> Result<Process> {
        self.start_with(template, part, &[])
    }

    /// The same, with other values in these registers.
    ///
    /// # Errors
    /// As for [`start`](Product::start).
    pub fn start_with(
        mut self,
        template: &Template,
        mut part: Part<'_>,
        registers: &[(Register, u64)],
    ) -> Result<Process> {
        template.finish(&mut part, registers);
        let plan = part.encode();
        part.check(&plan)?;
        // Before it is known whether it is ready: it reads one after the other.
        self.say(&plan, &part.descriptors)?;
        Beginning { product: self, steps: part.writer.steps }.wait()
    }
}

/// A copy that was told everything, and goes on as its program when that is done.
///
/// Dropping it ends it, and nothing of it is left.
#[derive(Debug)]
pub struct Beginning {
    product: Product,
    /// The words of all that it was told last.
    steps: Vec<Step>,
}

impl Beginning {
    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.product.id()
    }

    /// Waits until it goes on: from then on it is any process.
    ///
    /// # Errors
    /// Those of the operations, of its birth too; one that has ended before it went on. Nothing of its program has run then, and nothing of it is left.
    pub fn wait(self) -> Result<Process> {
        let Beginning { mut product, steps } = self;
        product.wait_ready()?;
        product.channel.await_answer();
        match product.hear()? {
            // The last that it does before it goes on.
            Taken::Done(_) => {
                let mut process = product.birth.into_process()?;
                process.held = product.held;
                Ok(process)
            }
            Taken::Failed(fault) => Err(tell(fault, &steps)),
            // It was ended before that, and nothing of its program has run.
            Taken::Left => Err(gone()),
        }
    }
}

/// The pidfd.
impl AsFd for Beginning {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.product.as_fd()
    }
}

impl Construct for Product {
    fn apply(&mut self, part: &Part<'_>) -> Result<Vec<Answer>> {
        self.wait_ready()?;
        let plan = part.encode();
        part.check(&plan)?;
        self.say(&plan, &part.descriptors)?;
        match self.hear()? {
            Taken::Done(answers) => part.read_answers(&answers),
            Taken::Failed(Failed { op, errno }) => Err(tell(Failed { op, errno }, &part.writer.steps)),
            Taken::Left => Err(gone()),
        }
    }
}

/// The pidfd.
impl AsFd for Product {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.birth.child {
            Some((child, _)) => child.pidfd.as_fd(),
            None => self.channel.as_fd(),
        }
    }
}

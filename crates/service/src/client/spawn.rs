//! Domains that are to be made: what is asked of the service, and what comes of it.
//!
//! Safety idea: everything that a domain is given goes with the request, as a descriptor; a request that is repeated has the same token, and
//! makes nothing twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use beget::{NurseryPlan, Parcel};
use beget_monitor::fields::Reader;
use beget_monitor::packet::{Connection, Packet};
use beget_plan::births::{Birth, encode};
use beget_plan::message::{MOST_ITEMS, flag};
use beget_sys::Errno;

use super::domain::{Domain, milliseconds};
use super::error::{Error, Fault, Result};
use super::link::{Link, random};
use super::service::{PATIENCE, Service};
use crate::protocol::{Spawn, Wanted, kind, right, subject, wanted};

/// How long until a request is made anew that found no monitor.
pub(crate) const SOON: Duration = Duration::from_millis(5);

/// A domain that is wanted: what it will be, and what the service does for it.
#[derive(Debug)]
pub struct Wish {
    parcel: Parcel,
    name: String,
    holdings: Vec<u8>,
    capabilities: Vec<String>,
    timeout: Option<Duration>,
    grace: Duration,
    tied: bool,
    spawner: Option<OwnedFd>,
}

/// Setters, each of which gives the wish back.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($this:ident, $argument:ident: $kind:ty) $body:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $argument: $kind) -> Self {
            let $this = &mut self;
            $body;
            self
        }
    )*};
}

impl Wish {
    /// A domain of this parcel ([`beget::Command::parcel`]), without a name of its own, which lives until it ends.
    #[must_use]
    pub fn new(parcel: Parcel) -> Wish {
        Wish {
            parcel,
            name: String::new(),
            holdings: Vec::new(),
            capabilities: Vec::new(),
            timeout: None,
            grace: Duration::ZERO,
            tied: false,
            spawner: None,
        }
    }

    setters! {
        /// Its name: up to 64 letters, digits, `-`, `_` and `.`, and not only digits. Without one the service chooses.
        name(this, name: impl Into<String>) this.name = name.into();
        /// What it holds and what enforces that, as JSON, for whoever looks closer.
        holdings(this, json: impl Into<Vec<u8>>) this.holdings = json.into();
        /// What it holds, in a word each, for lists.
        capabilities(this, words: Vec<String>) this.capabilities = words;
        /// It is ended after this time.
        timeout(this, time: Duration) this.timeout = Some(time);
        /// How long it may take to end when it is asked to, before it is ended.
        grace(this, time: Duration) this.grace = time;
        /// It is ended when nobody holds the capability that comes of this request, nor one made of that.
        tied(this, tied: bool) this.tied = tied;
        /// The service's end of the `spawn` capability that it is given in a slot, of [`spawner_pair`]. For a parcel that was made with
        /// [`beget::ParcelOptions::spawner`].
        spawner(this, end: OwnedFd) this.spawner = Some(end);
    }

    /// As it lies in the request.
    fn wanted(&self) -> (Wanted, Vec<BorrowedFd<'_>>) {
        let parcel = &self.parcel;
        let mut flags = wanted::CAPABILITY;
        for (is_so, flag) in [
            (parcel.alone(), wanted::ALONE),
            (parcel.channel().is_some(), wanted::CHANNEL),
            (self.tied, wanted::TIED),
            (parcel.nursery.is_some(), wanted::ROOT),
        ] {
            flags |= if is_so { flag } else { 0 };
        }
        let mut own: Vec<BorrowedFd<'_>> = parcel.channel().into_iter().collect();
        own.extend(self.spawner.as_ref().map(AsFd::as_fd));
        let (folders, groups): (Vec<_>, Vec<_>) =
            parcel.groups().map(|place| (place.folder, place.name.to_owned())).unzip();
        own.extend(folders);
        // Whoever holds these holds their locks: nobody takes the groups for such as were left behind.
        own.extend(parcel.groups().map(|place| place.group));
        own.extend(parcel.held());
        let wanted = Wanted {
            name: self.name.clone(),
            program: parcel.description().program.to_string_lossy().into_owned(),
            capabilities: self.capabilities.clone(),
            holdings: self.holdings.clone(),
            flags,
            timeout: self.timeout.map_or(0, |time| milliseconds(time).max(1)),
            grace: milliseconds(self.grace),
            groups,
            own: own.len() as u32,
        };
        (wanted, own)
    }

    fn birth(&self) -> Birth<'_> {
        Birth {
            plan: self.parcel.plan(),
            descriptors: self.parcel.descriptors().into_iter().map(Some).collect(),
            cgroup: self.parcel.cgroup(),
            flags: 0,
            namespaces: 0,
            template: None,
        }
    }
}

fn birth_of_nursery(nursery: &NurseryPlan) -> Birth<'_> {
    let of_its_maker = std::iter::repeat_n(None, NurseryPlan::OF_ITS_MAKER);
    Birth {
        plan: nursery.plan(),
        descriptors: of_its_maker.chain(nursery.descriptors().into_iter().map(Some)).collect(),
        cgroup: nursery.cgroup(),
        flags: if nursery.without_groups() { flag::WITHOUT_GROUPS } else { 0 },
        namespaces: nursery.namespaces(),
        template: None,
    }
}

/// Both ends of a `spawn` capability: the service's, for [`Wish::spawner`], and the one that the domain is given, in the slot `spawn`.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn spawner_pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        Connection::pair().map_err(|errno| Error::kernel("slot spawn", errno, Fault::Kernel))?;
    Ok((ours.into_socket(), theirs))
}

/// Who is asked to make domains, which is a right in either case.
trait Maker {
    fn part(&self) -> &str;
    /// Where its session was made, if it is one.
    fn home(&self) -> Option<&Path>;
    fn ask_for(&mut self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Packet>;
}

impl Maker for Service {
    fn part(&self) -> &str {
        &self.part
    }

    fn home(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn ask_for(&mut self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Packet> {
        self.ask(kind::SPAWN, body, descriptors, &[kind::SPAWNED])
    }
}

impl Maker for Spawner {
    fn part(&self) -> &str {
        SPAWNER
    }

    fn home(&self) -> Option<&Path> {
        None
    }

    fn ask_for(&mut self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Packet> {
        self.link.ask(SPAWNER, kind::SPAWN, body, descriptors, &[kind::SPAWNED])
    }
}

const SPAWNER: &str = "slot spawn";

/// The `spawn` capability of a domain: what it makes is confined as that domain is, can be given nothing that it does not hold, and ends
/// when it ends.
#[derive(Debug)]
pub struct Spawner {
    link: Link,
}

impl Spawner {
    pub(crate) fn new(link: Link) -> Spawner {
        Spawner { link }
    }

    /// Takes the capability that a domain was given, in the slot `spawn`.
    ///
    /// # Errors
    /// [`Fault::NoRight`] when it is a right to something else; [`Fault::Gone`].
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<Spawner> {
        match Capability::from_fd(socket)? {
            Capability::Spawner(spawner) => Ok(spawner),
            _ => Err(Error::new(SPAWNER, "it is no right to create domains", Fault::NoRight)),
        }
    }

    /// Makes a domain, and gives a capability to it; see [`Service::spawn`].
    ///
    /// # Errors
    /// Those of [`Service::spawn`].
    pub fn spawn(&mut self, wish: Wish) -> Result<Domain> {
        one(make(self, vec![wish], false)?)
    }

    /// Makes many in one request; see [`Service::batch`].
    ///
    /// # Errors
    /// Those of [`Service::batch`].
    pub fn batch(&mut self, wishes: Vec<Wish>, atomic: bool) -> Result<Vec<Result<Domain>>> {
        make(self, wishes, atomic)
    }
}

/// A connection to the service, by what it is a right to.
#[derive(Debug)]
pub enum Capability {
    /// To everything of one user.
    Session(Service),
    /// To one domain.
    Domain(Domain),
    /// To create domains, for the domain that holds it.
    Spawner(Spawner),
}

impl Capability {
    /// Takes a connection that was handed on, and asks the service what it is a right to.
    ///
    /// # Errors
    /// [`Fault::Gone`] when there is no service any more; [`Fault::Confused`] when it is no connection to one.
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<Capability> {
        const PART: &str = "capability";
        let mut link = Link::new(socket.into())?;
        let welcome = link.hello(PART, None)?;
        match welcome.subject {
            subject::SESSION => Ok(Capability::Session(Service::of(link))),
            subject::DOMAIN => Ok(Capability::Domain(Domain::of(link, welcome))),
            subject::SPAWNER => Ok(Capability::Spawner(Spawner::new(link))),
            _ => Err(Error::confused(PART)),
        }
    }
}

impl Service {
    /// Makes a domain, and gives a capability to it.
    ///
    /// # Errors
    /// [`Fault::Birth`] when its birth failed, in the words of its parcel; [`Fault::NameTaken`]; [`Fault::Caller`] for what is no name;
    /// [`Fault::Limit`]; [`Fault::Monitor`] when there is none for 10 seconds; [`Fault::Gone`]. Nothing is left behind then. When the
    /// monitor is killed in the middle, what may have begun ends with it, and the domain is asked for anew.
    pub fn spawn(&mut self, wish: Wish) -> Result<Domain> {
        one(make(self, vec![wish], false)?)
    }

    /// Makes many in one request: each for itself, or (`atomic`) all of them or none. That takes parcels that were made with
    /// [`beget::ParcelOptions::together`], each of which cannot create processes, or is the only one: then none has run when another
    /// cannot be made.
    ///
    /// # Errors
    /// Those of [`spawn`](Service::spawn) that are about the whole request. Those about one domain are in its place; where it is all or
    /// none, one that was not made for another's sake says so.
    pub fn batch(&mut self, wishes: Vec<Wish>, atomic: bool) -> Result<Vec<Result<Domain>>> {
        make(self, wishes, atomic)
    }
}

fn one(mut made: Vec<Result<Domain>>) -> Result<Domain> {
    made.pop().unwrap_or_else(|| Err(Error::confused("service")))
}

fn make(maker: &mut impl Maker, wishes: Vec<Wish>, atomic: bool) -> Result<Vec<Result<Domain>>> {
    let alone = wishes.len() == 1;
    if let Some(wish) =
        wishes.iter().find(|wish| !alone && (wish.parcel.nursery.is_some() || wish.parcel.spawner.is_some()))
    {
        let words = "one with a private root or the spawn capability is made by itself";
        return Err(Error::new(format!("domain {}", wish.name), words, Fault::Caller));
    }
    if let Some(wish) = wishes.iter().find(|wish| wish.spawner.is_some() != wish.parcel.spawner.is_some()) {
        let words = "it has a nursery for what it creates, or an end to ask there, and not both";
        return Err(Error::new(format!("domain {}", wish.name), words, Fault::Caller));
    }
    if let Some(wish) = wishes.iter().find(|wish| wish.parcel.together() != atomic) {
        let words = match atomic {
            true => "its parcel was not made for all or nothing: see `ParcelOptions::together`",
            false => "its parcel was made for all or nothing, and would wait for others for ever",
        };
        return Err(Error::new(format!("domain {}", wish.name), words, Fault::Caller));
    }
    let nurseries: Vec<&NurseryPlan> =
        wishes.iter().flat_map(|wish| [&wish.parcel.nursery, &wish.parcel.spawner]).flatten().collect();
    let mut births: Vec<Birth<'_>> = nurseries.iter().map(|nursery| birth_of_nursery(nursery)).collect();
    births.extend(wishes.iter().map(Wish::birth));
    if births.len() > MOST_ITEMS {
        let words = format!("{} births; one request takes {MOST_ITEMS}", births.len());
        return Err(Error::new("batch", words, Fault::Caller));
    }
    let (batch, named) = encode(&births);
    let (domains, own): (Vec<Wanted>, Vec<Vec<BorrowedFd<'_>>>) = wishes.iter().map(Wish::wanted).unzip();
    let mut descriptors: Vec<BorrowedFd<'_>> = own.into_iter().flatten().collect();
    descriptors.extend(named);
    let mut spawn = Spawn {
        token: random()?,
        atomic,
        planned: wishes.iter().any(|wish| wish.parcel.nursery.is_some()),
        spawner: wishes.iter().any(|wish| wish.parcel.spawner.is_some()),
        domains,
        batch,
    };
    let until = Instant::now() + PATIENCE;
    let answer = loop {
        match maker.ask_for(&spawn.encode(), &descriptors) {
            // Nothing was made, or it has ended with the monitor; what it would have been made of is all still here.
            Err(error) if had_no_monitor(&error) && Instant::now() < until => {
                std::thread::sleep(SOON);
                spawn.token = random()?;
            }
            answer => break answer,
        }
    };
    drop((births, descriptors));
    let answer = answer.map_err(|error| match (&wishes[..], error.fault()) {
        ([wish], Fault::NameTaken | Fault::Malformed | Fault::Limit) if !wish.name.is_empty() => {
            error.about(format!("domain {}", wish.name))
        }
        _ => error,
    })?;
    take_made(maker, answer, wishes)
}

/// Whether the monitor was killed meanwhile, or was not there yet: another is started in its place.
pub(crate) fn had_no_monitor(error: &Error) -> bool {
    error.fault() == Fault::Monitor && error.errno().is_none_or(|errno| errno == Errno::EPIPE.0)
}

fn take_made(maker: &impl Maker, answer: Packet, wishes: Vec<Wish>) -> Result<Vec<Result<Domain>>> {
    let confused = || Error::confused(maker.part());
    let Packet { body, descriptors, .. } = answer;
    let mut reader = Reader::new(&body);
    let head = (|| Some((reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?)))();
    let (operation, errno, whose, count) = head.ok_or_else(confused)?;
    if errno != 0 {
        let parcel = wishes.first().map(|wish| &wish.parcel);
        let nursery = match whose {
            1 => parcel.and_then(|parcel| parcel.nursery.as_ref()),
            _ => parcel.and_then(|parcel| parcel.spawner.as_ref()),
        };
        return Err(nursery.map_or_else(confused, |nursery| nursery.explain(operation, errno as i32).into()));
    }
    if count as usize != wishes.len() {
        return Err(confused());
    }
    let mut descriptors = descriptors.into_iter();
    let mut made = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let one = (|| {
            let (id, name) = (reader.u64()?, reader.str()?);
            Some((id, name, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?))
        })();
        let (id, name, _pid, operation, errno, held) = one.ok_or_else(confused)?;
        made.push(if errno != 0 {
            Err(wish.parcel.explain(operation, errno as i32).into())
        } else {
            // Its cgroups are the service's to remove now.
            wish.parcel.delivered();
            match held {
                1 => {
                    let socket = descriptors.next().ok_or_else(confused)?;
                    Domain::new(socket, id, right::DOMAIN, name, maker.home())
                }
                _ => {
                    let words = "it runs, but the service had no number left for a capability to it";
                    Err(Error::new(format!("domain {name}"), words, Fault::Limit))
                }
            }
        });
    }
    Ok(made)
}

//! A factory: sealed, asked for products, and for what it can say of them.
//!
//! Safety idea: what a product is made of was opened, judged and measured before the seal, and nothing of it is opened anew. A request that
//! is lost with a template or a waiting product has run nothing, and is made again; one that has run is told as it went.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use beget::{Nursery, Sealed};

use crate::adapter::Adapter;
use crate::brand::Brand;
use crate::facts::{Facts, TemplateFacts};
use crate::filling::keep_pool;
use crate::judge::{Confinement, Hole, HoleIdentity, Holes, Inventory};
use crate::live::Live;
use crate::memory::Frozen;
use crate::options::Options;
use crate::pool::Pool;
use crate::request::Request;
use crate::saved::{Image, Info};
use crate::statistics::{Counters, Statistics, count};
use crate::survey::{Hazard, Kind};
use crate::{Builder, Error, Fault, Result};

/// How long a factory whose template ended waits before it makes another: at first, and at most.
pub(crate) const PATIENCE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(10)];
/// How often it looks whether what its template was made from has changed.
const LOOK: Duration = Duration::from_secs(1);

/// A sealed factory. Clones are the same factory; when the last is dropped its template and its pool end. Products that somebody holds run
/// on; with the last copy of a template the nursery ends that they were born in, and with that everything that they left behind.
///
/// Whoever may send signals to its processes can end or stop them at any moment. A request that is lost so before anything of it ran is made
/// again, by another template, in another nursery; one that ran is told as it went, and is never run twice. What is stopped counts as lost
/// after [`Options::answer`]. Where template after template ends without a product, the next is made after a pause, and requests start from
/// the beginning meanwhile.
///
/// Whoever holds one may ask for products and ask what they reach. It gives no way into the template, nor into what a builder has put in;
/// between parties of one user that are not confined themselves this holds for an [opaque](Options::opaque) factory only, see SECURITY.md.
///
/// ```
/// use beget::{Command, Grant, Limit, Stdio};
/// use beget_factory::judge::Access;
/// use beget_factory::{Factory, Options, Ready};
///
/// let mut command = Command::new("/bin/sh");
/// command.args(["-c", "read line; echo $line"]).grant(Grant::Base);
/// let mut builder = Factory::builder(command);
/// // The builder's, and a way out: the other end of the pipe is told what is written there.
/// let (_log, theirs) = std::io::pipe()?;
/// assert!(builder.insert("log", theirs)?.hole().is_some_and(|hole| hole.identity.access().allows(Access::WRITE)));
/// builder.options(Options { ready: Some(Ready::Main), ..Options::default() });
/// let factory = builder.seal()?;
///
/// // A requestor asks first, and gives what is its own.
/// let kinds: Vec<&str> = factory.holes().iter().map(|hole| hole.identity.kind()).collect();
/// assert!(kinds.contains(&"pipe") && !factory.is_confined(&[]));
/// let (input, mut feed) = std::io::pipe()?;
/// std::io::Write::write_all(&mut feed, b"hello\n")?;
/// let mut request = factory.request();
/// request.stdin(input).stdout(Stdio::piped()).limit(Limit::OpenFiles(64));
/// let output = request.start()?.wait_with_output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// println!("{}", factory.facts());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Factory {
    pub(crate) inner: Arc<Inner>,
}

/// The right to ask questions about a factory, and nothing else.
#[derive(Clone, Debug)]
pub struct Verifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) sealed: Sealed,
    /// What its cold products are born in, unless each has a root of its own. A template and its copies have one of theirs.
    nursery: RwLock<Nursery>,
    /// The process that sealed it: a copy of that shares its channels, and is to leave them alone.
    creator: u32,
    pub(crate) options: Options,
    pub(crate) adapter: Option<Arc<dyn Adapter>>,
    pub(crate) inventory: Inventory,
    /// What its templates are made from, instead of starting the program.
    image: Option<Image>,
    pub(crate) warm: RwLock<Option<Arc<Live>>>,
    /// Held by whoever makes a template.
    making: Mutex<Making>,
    /// The last template that ended by itself had made nothing.
    barren: AtomicBool,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Counters,
    brand: Mutex<Brand>,
    /// Who makes a product that may run before it has its brand reads this.
    births: RwLock<()>,
}

/// How the last attempts to make a template went.
#[derive(Debug, Default)]
struct Making {
    /// None is made before then.
    not_before: Option<Instant>,
    patience: Duration,
    why: Option<Error>,
    looked: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Factory {
    /// Begins one that makes what this command would start: its program, arguments and environment, grants, slots and limits.
    #[must_use]
    pub fn builder(command: beget::Command) -> Builder {
        Builder::new(command)
    }

    /// Makes its first template, when it is to have one, and begins to fill its pool.
    pub(crate) fn begin(
        sealed: Sealed,
        options: Options,
        adapter: Option<Arc<dyn Adapter>>,
        inventory: Inventory,
        image: Option<Image>,
    ) -> Result<Factory> {
        let inner = Arc::new(Inner {
            sealed,
            nursery: RwLock::new(nursery(&options)?),
            creator: std::process::id(),
            options,
            adapter,
            inventory,
            image,
            warm: RwLock::new(None),
            making: Mutex::default(),
            barren: AtomicBool::new(false),
            pool: Arc::default(),
            counters: Counters::default(),
            brand: Mutex::default(),
            births: RwLock::default(),
        });
        if inner.options.ready.is_some() {
            inner.live()?;
        }
        if inner.options.pool.size > 0 && inner.options.ready.is_some() {
            let weak = Arc::downgrade(&inner);
            let thread = std::thread::Builder::new().name("beget-pool".to_owned());
            thread
                .spawn(move || keep_pool(&weak))
                .map_err(|error| Error::io("factory: the thread of its pool", error))?;
        }
        Ok(Factory { inner })
    }

    /// A product that is asked for.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::new(Arc::clone(&self.inner))
    }

    /// The right to ask questions alone.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { inner: Arc::clone(&self.inner) }
    }

    /// How it makes its products.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// What the saved image says of itself that its templates are made from, if they are.
    #[must_use]
    pub fn image(&self) -> Option<Info> {
        self.inner.image.as_ref().map(Image::info)
    }

    /// Has its program get ready once more, and saves what it is then (of one that was made of an image: that very image), for a factory of this or another time and machine
    /// ([`Builder::image`]); `note` is kept with it. What products hold and are held to is not saved. The file holds the program's memory, and so
    /// whatever secrets that has.
    ///
    /// # Errors
    /// A cold factory has nothing to save; what cannot be saved truly, by name; those of making a template, and of writing.
    pub fn save(&self, note: &[u8], file: &File) -> Result<Info> {
        let inner = &self.inner;
        let ready = inner.options.ready.as_ref();
        let ready = ready.ok_or_else(|| {
            Error::new("factory: image", "a cold factory has nothing to save", Fault::Caller)
        })?;
        if let Some(image) = &inner.image {
            return image.copy_into(file);
        }
        let adapter = inner.adapter.as_ref().map(|adapter| adapter.name());
        Live::save(&inner.sealed, &inner.options, ready, inner.own_nursery()?.as_ref(), (adapter, note), file)
    }

    /// What it has done.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.inner.counters.read(self.inner.pool.len())
    }

    /// Has a new template made, and the pool filled with copies of that; requests are answered meanwhile.
    ///
    /// # Errors
    /// Those of making one; the old one serves on then. A cold factory has none.
    pub fn replace(&self) -> Result<()> {
        self.inner.check_own()?;
        if self.inner.options.ready.is_none() {
            return Err(Error::new("factory: template", "a cold factory has none", Fault::Caller));
        }
        let mut making = lock(&self.inner.making);
        self.inner.make(&mut making)?;
        drop(making);
        count(&self.inner.counters.replaced);
        Ok(())
    }
}

macro_rules! questions {
    ($($name:ident),*) => {$(
        impl $name {
            /// What its products reach, and how that is known. The first who asks this, or any question of holes, has the folders looked through that
            /// are granted, as they are then: some tenths of a second for a whole system. From then on the answer is the same.
            #[must_use]
            pub fn confinement(&self) -> &Confinement {
                self.inner.inventory.answer()
            }

            /// Through what its products could tell somebody something.
            #[must_use]
            pub fn holes(&self) -> &[Hole] {
                &self.confinement().holes
            }

            /// Whether it has no holes but these.
            #[must_use]
            pub fn is_confined(&self, authorised: &[HoleIdentity]) -> bool {
                self.confinement().is_confined(authorised)
            }

            /// Whether its holes are among those of `other` (KeyKOS's test).
            #[must_use]
            pub fn compare(&self, other: &Confinement) -> bool {
                self.confinement().compare(other)
            }

            /// What a requestor is to know of its products: how they differ from what a start from the beginning would give.
            #[must_use]
            pub fn hazards(&self) -> Vec<Hazard> {
                let warm = self.inner.warm.read().unwrap_or_else(PoisonError::into_inner);
                warm.as_ref().map(|live| live.survey.hazards().to_vec()).unwrap_or_default()
            }

            /// What was done to the memory of its template, so that copies cost little; `None` for a cold factory.
            #[must_use]
            pub fn frozen(&self) -> Option<Frozen> {
                let warm = self.inner.warm.read().unwrap_or_else(PoisonError::into_inner);
                warm.as_ref().map(|live| live.frozen.clone())
            }

            /// How it makes its products, and what it has done.
            #[must_use]
            pub fn facts(&self) -> Facts {
                self.inner.facts()
            }

            /// Whether the process behind a pidfd is a product of this factory, and lives (its brand). It is true of no other process, and of
            /// none that got a product's number.
            ///
            /// # Errors
            /// A descriptor that is no pidfd.
            pub fn is_product(&self, pidfd: BorrowedFd<'_>) -> Result<bool> {
                self.inner.is_product(pidfd)
            }
        }
    )*};
}

questions!(Factory, Verifier);

/// As a constituent of another it counts as its holes do.
impl Holes for Factory {
    fn is_sealed(&self) -> bool {
        true
    }

    fn holes(&self) -> &[Hole] {
        Factory::holes(self)
    }
}

/// As that of its factory.
impl Holes for Verifier {
    fn is_sealed(&self) -> bool {
        true
    }

    fn holes(&self) -> &[Hole] {
        Verifier::holes(self)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.check_own().is_err() {
            // What waits and serves is another process's, which goes on with it; and a thread that had a lock is not in this one.
            std::mem::forget(Arc::clone(&self.pool));
            let warm = self.warm.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(warm.take());
            return;
        }
        drop(self.pool.close());
    }
}

impl Inner {
    pub(crate) fn mark(&self, number: u32, pidfd: BorrowedFd<'_>) -> Result<()> {
        lock(&self.brand).mark(number, pidfd)
    }

    /// As long as this is kept there may be a product that runs and is not marked yet.
    pub(crate) fn begin_birth(&self) -> RwLockReadGuard<'_, ()> {
        self.births.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_product(&self, pidfd: BorrowedFd<'_>) -> Result<bool> {
        if lock(&self.brand).is_on(pidfd)? {
            return Ok(true);
        }
        drop(self.births.write().unwrap_or_else(PoisonError::into_inner));
        lock(&self.brand).is_on(pidfd)
    }

    /// Refuses the copy that a process made of itself (`fork`), before anything is taken of what the two share.
    ///
    /// # Errors
    /// In such a copy.
    pub(crate) fn check_own(&self) -> Result<()> {
        if self.creator == std::process::id() {
            return Ok(());
        }
        let words = "it belongs to the process that this one is a copy of";
        Err(Error::new("factory", words, Fault::Caller))
    }

    /// The template that serves; makes one where there is none any more, or another is due.
    pub(crate) fn live(&self) -> Result<Arc<Live>> {
        if let Some(live) = self.serving() {
            return Ok(live);
        }
        let mut making = lock(&self.making);
        // Somebody else may have made it meanwhile.
        if let Some(live) = self.serving() {
            return Ok(live);
        }
        if self.barren.swap(false, Ordering::Relaxed) {
            making.wait_longer(None);
        }
        if let Some(not_before) = making.not_before.filter(|moment| *moment > Instant::now()) {
            let words = making.why.as_ref().map_or("it ended".to_owned(), ToString::to_string);
            let left = not_before.saturating_duration_since(Instant::now());
            let words = format!("{words}; another is made in {} ms", left.as_millis());
            return Err(Error::new("factory: template", words, Fault::Kernel));
        }
        self.make(&mut making)
    }

    /// The one that serves, if its end is not due.
    pub(crate) fn serving(&self) -> Option<Arc<Live>> {
        let warm = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        if !warm.serves() {
            self.lost(&warm);
            return None;
        }
        Some(warm)
    }

    /// Notes that a template has ended by itself.
    pub(crate) fn lost(&self, live: &Arc<Live>) {
        let mut warm = self.warm.write().unwrap_or_else(PoisonError::into_inner);
        if warm.as_ref().is_some_and(|present| Arc::ptr_eq(present, live)) {
            *warm = None;
            drop(warm);
            count(&self.counters.deaths);
            // One that never made anything has cost more than it gave.
            self.barren.store(live.made.load(Ordering::Relaxed) == 0, Ordering::Relaxed);
            self.pool.nudge();
        }
    }

    /// The same for one that did not do what it was asked to, if it is so.
    pub(crate) fn lost_if_ended(&self, live: &Arc<Live>) {
        if !live.serves() {
            self.lost(live);
        }
    }

    /// Makes a template and has it serve instead of the present one, whose last products are made by whoever holds it still.
    fn make(&self, making: &mut Making) -> Result<Arc<Live>> {
        let ready = self.options.ready.as_ref();
        let ready =
            ready.ok_or_else(|| Error::new("factory: template", "a cold factory has none", Fault::Caller))?;
        // In a root or a nursery that is its own: there every other process is one that it made, however well that is hidden.
        let own = if self.sealed.command().has_root() { None } else { Some(nursery(&self.options)) };
        let own = own.transpose().inspect_err(|error| making.wait_longer(Some(error.clone())))?;
        match Live::make(&self.sealed, &self.options, ready, own.as_ref(), self.image.as_ref()) {
            Ok(mut live) => {
                if let Some(adapter) = self.adapter.as_ref().filter(|adapter| adapter.acknowledges()) {
                    live.survey
                        .acknowledge(Kind::SharedRandomness, &format!("seeded anew by {}", adapter.name()));
                }
                let live = Arc::new(live);
                let before =
                    self.warm.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&live));
                (making.not_before, making.patience, making.why) = (None, Duration::ZERO, None);
                count(&self.counters.templates);
                drop(self.pool.take_old(&live));
                self.pool.nudge();
                drop(before);
                Ok(live)
            }
            Err(error) => {
                making.wait_longer(Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Looks whether another template is due, and makes it.
    pub(crate) fn look_after(&self) {
        let Some(live) = self.serving() else { return };
        let due = self.options.renew.is_some_and(|most| live.made.load(Ordering::Relaxed) >= most);
        let Ok(mut making) = self.making.try_lock() else { return };
        let looked = making.looked.is_some_and(|moment| moment.elapsed() < LOOK);
        if !due {
            if looked {
                return;
            }
            making.looked = Some(Instant::now());
            if !live.is_outdated() {
                return;
            }
        }
        if making.not_before.is_some_and(|moment| moment > Instant::now()) {
            return;
        }
        if self.make(&mut making).is_ok() {
            count(&self.counters.replaced);
        }
    }
}

impl Making {
    fn wait_longer(&mut self, why: Option<Error>) {
        let [least, most] = PATIENCE;
        self.patience = (self.patience * 2).clamp(least, most);
        self.not_before = Some(Instant::now() + self.patience);
        self.why = why;
    }
}

/// What a factory's processes are born in.
fn nursery(options: &Options) -> Result<Nursery> {
    let nursery = Nursery::new()?;
    nursery.set_patience(options.answer)?;
    Ok(nursery)
}

impl Inner {
    /// The nursery that its cold products are born in, another where that was killed; none where each has a root of its own.
    pub(crate) fn own_nursery(&self) -> Result<Option<Nursery>> {
        if self.sealed.command().has_root() {
            return Ok(None);
        }
        let present = self.nursery.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !present.has_ended() {
            return Ok(Some(present));
        }
        let mut place = self.nursery.write().unwrap_or_else(PoisonError::into_inner);
        if place.has_ended() {
            *place = nursery(&self.options)?;
        }
        Ok(Some(place.clone()))
    }

    fn facts(&self) -> Facts {
        let warm = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone();
        let template = warm.map(|live| TemplateFacts {
            number: live.number(),
            since: live.since,
            made: live.made.load(Ordering::Relaxed),
            frozen: live.frozen.clone(),
            prefault: live.ahead(),
            hazards: live.survey.hazards().to_vec(),
        });
        Facts {
            ready: self.options.ready.clone(),
            pool: self.options.pool.size,
            opaque: self.options.opaque && self.options.ready.is_some(),
            adapter: self.adapter.as_ref().map(|adapter| adapter.name().to_owned()),
            template,
            statistics: self.counters.read(self.pool.len()),
        }
    }
}

impl Factory {
    /// The process number of its template, for messages and tests; `None` when there is none at this moment.
    #[must_use]
    pub fn template_number(&self) -> Option<u32> {
        let warm = self.inner.warm.read().unwrap_or_else(PoisonError::into_inner);
        warm.as_ref().map(|live| live.number())
    }
}

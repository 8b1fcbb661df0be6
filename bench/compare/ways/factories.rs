//! Factories: a sealed description that C is made by, from its beginning, as a copy of a program that has begun, or from those that wait.

use std::time::{Duration, Instant};

use beget::Command;
use beget_factory::{Factory, Options, Pool, Ready};

use super::Purpose;
use super::{Born, Given, Way, told};

/// How many wait.
const WAITING: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

struct Sealed {
    factory: Factory,
}

impl Sealed {
    fn of(given: &Given<'_>, ready: Option<Ready>, pool: usize) -> Result<Box<dyn Way>, String> {
        let mut command = Command::new(given.program);
        command.args(given.words());
        let mut builder = Factory::builder(command);
        // Only root may trace what is closed to other processes of its user.
        let opaque = given.purpose != Purpose::Trace || is_root();
        // Filled again at once, so that it is at rest when the next is asked for; but not where calls are counted, for who fills it
        // has no part in the birth.
        let low_water = if given.purpose == Purpose::Trace { pool.min(1) } else { pool };
        let pool = Pool { low_water, ..Pool::of(pool) };
        builder.options(Options { ready, pool, opaque, ..Options::default() });
        let mut sealed = Sealed { factory: builder.seal().map_err(told)? };
        sealed.learned()?;
        sealed.rest()?;
        Ok(Box::new(sealed))
    }

    /// What products write to is learned by a first one, which is over before anybody is timed.
    fn learned(&self) -> Result<(), String> {
        let learns = || self.factory.facts().template.is_some_and(|template| template.prefault.is_none());
        let pooled = self.factory.options().pool.size > 0;
        until("what products write to is never learned", || !pooled || !learns())
    }
}

fn is_root() -> bool {
    // SAFETY: asks a number.
    unsafe { libc::geteuid() == 0 }
}

fn until(words: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            return Err(words.to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

impl Way for Sealed {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let mut request = self.factory.request();
        if !given.forget {
            request.stdin(given.a()?);
        }
        request.stdout(given.out()?).stderr(given.null()?);
        Ok(Born::Ours(vec![request.start().map_err(told)?]))
    }

    fn rest(&mut self) -> Result<(), String> {
        let low = self.factory.options().pool.low_water as u64;
        until("the pool is never full", || self.factory.statistics().waiting >= low)
    }
}

/// Each from its beginning.
pub(super) fn cold(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Sealed::of(given, None, 0)
}

/// Copies of one that waits for its input.
pub(super) fn warm(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Sealed::of(given, Some(Ready::Stdin), 0)
}

/// Copies that wait.
pub(super) fn pooled(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Sealed::of(given, Some(Ready::Stdin), WAITING)
}

//! Descriptors that the runtime's event loop watches, and futures side by side.
//!
//! Safety idea: what is watched is owned, and its descriptor stays the same for as long as it is watched.

use std::future::poll_fn;
use std::io::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use ::tokio::io::Interest;
use ::tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use ::tokio::runtime::{Handle, Id};

/// A descriptor that is watched until it is readable.
#[derive(Debug)]
pub(super) struct Watched<T: AsFd>(AsyncFd<Fixed<T>>);

/// The guard of a readiness: to be cleared when there was nothing to be had after all.
pub(super) type Ready<'a, T> = AsyncFdReadyGuard<'a, Fixed<T>>;

/// Something with one descriptor. Private, so that nobody puts another into its place.
#[derive(Debug)]
pub(super) struct Fixed<T>(T);

impl<T: AsFd> AsRawFd for Fixed<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Watched<T> {
    /// Has the current runtime watch it.
    pub(super) fn new(thing: T) -> Result<Watched<T>> {
        #[allow(
            deprecated,
            reason = "what takes its place is unsafe, for a type may change its descriptor; here it is private, and does not"
        )]
        let watched = AsyncFd::try_with_interest(Fixed(thing), Interest::READABLE);
        Ok(Watched(watched.map_err(std::io::Error::from)?))
    }

    /// Watches another descriptor of the same file, which goes when this goes.
    pub(super) fn another(fd: BorrowedFd<'_>) -> Result<Watched<OwnedFd>> {
        Watched::new(fd.try_clone_to_owned()?)
    }

    pub(super) fn get(&self) -> &T {
        &self.0.get_ref().0
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.0.get_mut().0
    }

    /// Waits until it is readable; several tasks may. Fails when the runtime is shut down.
    pub(super) async fn readable(&self) -> Result<Ready<'_, T>> {
        self.0.readable().await
    }
}

/// The watches over a nursery's socket: one for each runtime that has processes of it.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Vec<(Id, Weak<Watched<OwnedFd>>)>>);

impl Watches {
    /// The one of this runtime, which is the current one.
    pub(super) fn of(&self, runtime: &Handle, socket: BorrowedFd<'_>) -> Result<Arc<Watched<OwnedFd>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, watch)| watch.strong_count() > 0);
        let id = runtime.id();
        let known = all.iter().find(|(of, _)| *of == id).and_then(|(_, watch)| watch.upgrade());
        if let Some(watch) = known {
            return Ok(watch);
        }
        let watch = Arc::new(Watched::<OwnedFd>::another(socket)?);
        all.push((id, Arc::downgrade(&watch)));
        Ok(watch)
    }
}

/// The result of whichever future is done first; the other is dropped.
pub(super) async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Pending => other.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// Runs both until they are done, or one has failed.
pub(super) async fn both<E>(
    one: impl Future<Output = std::result::Result<(), E>>,
    other: impl Future<Output = std::result::Result<(), E>>,
) -> std::result::Result<(), E> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut done = [false; 2];
    poll_fn(|context| {
        if !done[0]
            && let Poll::Ready(result) = one.as_mut().poll(context)
        {
            result?;
            done[0] = true;
        }
        if !done[1]
            && let Poll::Ready(result) = other.as_mut().poll(context)
        {
            result?;
            done[1] = true;
        }
        if done == [true; 2] { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

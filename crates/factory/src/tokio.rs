//! Products that are asked for by tasks of [tokio](https://docs.rs/tokio), and awaited there. For the feature `tokio`.
//!
//! ```
//! use beget::{Command, Grant, Stdio};
//! use beget_factory::{Factory, Options, Ready};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! let mut command = Command::new("/bin/echo");
//! command.grant(Grant::Base).arg("made");
//! let mut builder = Factory::builder(command);
//! builder.options(Options { ready: Some(Ready::Entry), ..Options::default() });
//! let factory = builder.seal()?;
//! # runtime.block_on(async {
//! let mut request = factory.request();
//! request.arg("for a task").stdout(Stdio::piped());
//! // As many at once as there is use for.
//! let product = beget_factory::tokio::start(&request).await?;
//! assert_eq!(product.wait_with_output().await?.stdout, b"made for a task\n");
//! # Ok::<(), beget::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What blocks
//!
//! Nothing on the runtime's own threads: a request is made on its threads for blocking work (`tokio::task::spawn_blocking`), for it waits for the
//! answer of a copy, or, when a template is to be made anew, for a program that gets ready. Building and sealing a factory blocks, and is for
//! `spawn_blocking` where that matters.
//!
//! # Safety idea
//!
//! A product that nobody waits for any more, because its future was dropped while it was made, is ended as soon as it is there.

use beget::tokio::Process;

use crate::{Error, Fault, Request, Result};

/// A product that was made, and is to be taken by the task that asked for it.
struct Made(Option<beget::Process>);

impl Drop for Made {
    fn drop(&mut self) {
        let Some(process) = self.0.take() else { return };
        // On a thread for blocking work, or at the end of the runtime: whoever asked for it is gone.
        let _ = process.kill();
        let _ = process.wait_timeout(std::time::Duration::from_secs(1));
    }
}

/// Starts a product, as [`Request::start`] does, and gives one that tasks wait for. The request can be used again, by several tasks at once.
///
/// Cancel safe: of a product that is made after the future was dropped nothing is left.
///
/// # Errors
/// Those of [`Request::start`]; a thread outside any runtime, or a runtime that is shut down.
///
/// # Panics
/// In a runtime whose event loop was not enabled (`enable_io`), as what watches a descriptor does there.
pub async fn start(request: &Request) -> Result<Process> {
    let request = request.clone();
    let handle = ::tokio::runtime::Handle::try_current()
        .map_err(|error| Error::new("tokio", error.to_string(), Fault::Caller))?;
    let made = handle.spawn_blocking(move || request.start().map(|process| Made(Some(process)))).await;
    let mut made = made.map_err(|error| Error::new("tokio", error.to_string(), Fault::Caller))??;
    let process = made.0.take().ok_or_else(|| Error::new("tokio", "it is there no more", Fault::Beget))?;
    Process::try_from(process)
}

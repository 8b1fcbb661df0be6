//! The same names for programs that run on [tokio](https://docs.rs/tokio): processes whose end is awaited, and whose pipes are read and
//! written, without a thread that waits. For the feature `tokio`, which is off by default.
//!
//! ```
//! use beget::tokio::Command;
//! use beget::{Grant, Stdio};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! # runtime.block_on(async {
//! let mut command = Command::new("/bin/cat");
//! command.grant(Grant::Base).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
//!
//! let mut process = command.spawn()?;
//! let mut input = process.stdin.take().expect("it is piped");
//! input.write_all(b"hello").await?;
//! drop(input);
//!
//! let mut said = String::new();
//! process.stdout.take().expect("it is piped").read_to_string(&mut said).await?;
//! assert_eq!(said, "hello");
//! assert!(process.wait().await?.success());
//!
//! // A command used again opens nothing anew; its futures are independent of it, and of each other.
//! let mut command = Command::new("/bin/echo");
//! command.grant(Grant::Base).arg("one of many");
//! let (first, second) = (command.output(), command.output());
//! assert_eq!(first.await?.stdout, second.await?.stdout);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a nursery or an embryo gives is awaited in the same way:
//!
//! ```
//! use beget::{Batch, Command, Grant, Nursery, tokio::Process};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! # runtime.block_on(async {
//! let nursery = Nursery::new()?;
//! let mut command = Command::new("/bin/true");
//! command.grant(Grant::Base);
//! let mut batch = Batch::new();
//! batch.add(&mut command, 10)?;
//! for process in batch.spawn(&nursery)? {
//!     assert!(Process::try_from(process?)?.wait().await?.success());
//! }
//! beget::tokio::end(&nursery).await?;
//! # Ok::<(), beget::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it does it
//!
//! A process is awaited by its pidfd, which the runtime's own event loop watches; how a child of a nursery ended is read from the
//! nursery's socket, which that loop watches too, one descriptor more for a nursery and a runtime. There is no SIGCHLD handler, no
//! thread of Beget's own, and nothing runs on the runtime's threads for blocking work. It works on both kinds of runtime.
//!
//! # What blocks
//!
//! A birth blocks the thread that asks for it until the child has executed its program, as with `tokio::process`: some hundred
//! microseconds, more where grants are opened for the first time. So do the calls that make a [`Nursery`](crate::Nursery) or an
//! [`Embryo`](crate::Embryo), a [`Batch`](crate::Batch), and the drop of the last handle of a nursery that is not this module's. Whoever
//! learns first that a child with limits on its whole tree has ended ends what it left in its cgroup, and blocks until that is done.
//! Whoever cannot spare that time does so in `tokio::task::spawn_blocking`, inside the runtime's context.
//!
//! # Panics
//!
//! What makes a process panics in a runtime whose event loop was not enabled (`enable_io`), as everything of tokio's does that watches a
//! descriptor; outside any runtime it is an error. Nothing is left of a child that was born for it.

mod channel;
mod command;
mod process;
mod refusals;
mod watch;

pub use command::Command;
pub use process::{Process, end};
pub use refusals::Refusals;
pub(crate) use watch::Watches;

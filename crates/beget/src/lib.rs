//! Creates processes on Linux. A child begins with nothing, and holds exactly what it was given.
//!
//! [`Command`] has the method names that users of [`std::process::Command`] know. The difference is what happens when a method is
//! *not* called: then the child has no such thing. No descriptor, not even standard output; no variable; no file that it may
//! open; no socket; no right to signal, trace or start another process.
//!
//! ```
//! use beget::{Command, Grant, Stdio};
//!
//! let output = Command::new("/bin/sh")
//!     .args(["-c", "echo $GREETING; cat /etc/passwd | wc -c"])
//!     .env("GREETING", "hello")
//!     .grant(Grant::Base)
//!     .stdout(Stdio::piped())
//!     .output()?;
//! // `echo` is a part of the shell; a pipe would need processes, and those were not granted.
//! assert_eq!(output.stdout, b"hello\n");
//! assert!(!output.status.success());
//! # Ok::<(), beget::Error>(())
//! ```
//!
//! A [`Nursery`] is where children are born that are to end with this process, or that need what a child which shares its memory cannot
//! have; an [`Embryo`] is a process that is built by hand:
//!
//! ```
//! use beget::{Construct, Nursery, Program};
//! use std::io::Read;
//! use std::os::fd::AsFd;
//!
//! let (mut reader, writer) = std::io::pipe()?;
//! let mut embryo = Nursery::shared()?.embryo()?;
//! embryo.grant(1, writer.as_fd())?;
//! embryo.load(&Program::open("/bin/echo")?, &["echo", "hello"])?;
//! drop(writer);
//! let mut process = embryo.start()?;
//! let mut said = String::new();
//! reader.read_to_string(&mut said)?;
//! assert_eq!(said, "hello\n");
//! assert!(process.wait()?.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Fork`] is a copy of this process that goes on in its own code and holds only what it is given; [`fork_with`] is short for one with grants alone.
//!
//! # Features
//!
//! `tokio`, off by default: the same names for programs that run on tokio, in the module `tokio`. Without it nothing of an async runtime
//! is built.
//!
//! With a [`Root`] what was not granted does not exist, where the system allows user namespaces:
//!
//! ```
//! use beget::{Command, Grant, Root, Stdio};
//!
//! let output = Command::new("/bin/cat")
//!     .args(["/greeting"])
//!     .grant(Grant::Base)
//!     .root(Root::new().file("/greeting", "hello"))
//!     .stdout(Stdio::piped())
//!     .output();
//! match output {
//!     Ok(output) => assert_eq!(output.stdout, b"hello"),
//!     // It says what is refused, and what would be lost without it.
//!     Err(error) => assert_eq!(error.part(), "promise root"),
//! }
//! ```
//!
//! # Safety idea
//!
//! A birth is a plan, built here from descriptors that are already open, and run by the interpreter of `beget-plan` in the new
//! process; nothing is looked up by name there. This crate forbids `unsafe`.
//!
//! # What it does not do
//!
//! Without a [`Root`] it makes no namespaces: the names and attributes of the user's own files stay visible by path; see SECURITY.md. A child
//! that was born without a [`Nursery`] of its own may leave grandchildren behind.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod channel;
mod command;
mod confine;
mod description;
mod embryo;
mod end;
mod error;
mod fork;
mod nursery;
mod parcel;
mod process;
mod program;
mod pty;
mod refusals;
mod stdio;
mod template;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;
mod writer;

pub use beget_authority::cgroup::TreeUsage;
pub use beget_authority::limit::Resource;
pub use beget_authority::root::ROOM;
pub use beget_authority::{Enforced, Grant, Limit, Promise, Rights, Root, Support};
pub use beget_plan::Current;
pub use beget_plan::{Register, Registers};
pub use beget_sys::process::Bounds;
pub use beget_sys::signal::SignalSet;
pub use command::{
    Batch, Command, DEFAULT_PATH, GivenFile, GivenStream, Loader, Provision, Renewal, Sealed, Variation,
};
pub use description::{Description, File, Slot};
pub use embryo::{Answer, Construct, Embryo, Layout, Part, Placement, Program, Protection, Symbol};
pub use end::{Ended, Usage};
pub use error::{Error, Fault, Result};
pub use fork::{Fork, fork_with};
pub use nursery::Nursery;
pub use parcel::{NurseryPlan, Parcel, ParcelOptions};
pub use process::{Output, Process};
pub use pty::{Pty, WindowSize};
pub use refusals::{Refusal, Refusals};
pub use stdio::Stdio;
pub use template::{Beginning, Product, Template};

/// The examples of the README are run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

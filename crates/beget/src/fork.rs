//! A copy of this process that holds only its grants.
//!
//! Safety idea: the usual way to make a process is the primitive one here, and `fork` is emulated with it: the same operations of the same plan
//! by the same interpreter, so that forgetting something means that the copy lacks it, and never that it holds too much.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use beget_authority::{Grant, Limit, Promise, Support};
use beget_sys::signal::SignalSet;

use crate::command::Command;
use crate::description::Description;
use crate::error::Result;
use crate::process::Process;
use crate::stdio::Stdio;

/// A copy of the calling process, which goes on in its code, and holds nothing but what it is given here.
///
/// It is `fork` turned round. There the copy holds everything but what somebody remembered to close; here it holds the descriptors that are
/// [kept](Fork::keep), the streams that are set, and what is [granted](Fork::grant). Everything else is as for a child of a
/// [`Command`], by the same operations: signals at their defaults (also SIGPIPE, which Rust programs ignore), a session of its own, `/` as its
/// directory, limits, an empty keyring, no capabilities, Landlock and the filter. A number that was not kept stays taken, by something that can
/// be neither read nor written, so that no [`OwnedFd`] of the caller's comes to mean something else in the copy.
///
/// ```
/// use beget::{Fork, Stdio};
/// use std::fs::File;
/// use std::io::{Read, Write, pipe};
///
/// let (mut reader, writer) = pipe()?;
/// let secret = File::open("/etc/passwd")?;
/// let mut process = Fork::new().keep(&writer).spawn(|| {
///     // The caller's memory is here, and its number means nothing.
///     let read = (&secret).read(&mut [0; 16]).is_ok() || File::open("/etc/passwd").is_ok();
///     (&writer).write_all(if read { b"leaked" } else { b"held" }).is_err().into()
/// })?;
/// drop(writer);
/// let mut said = String::new();
/// reader.read_to_string(&mut said)?;
/// assert_eq!(said, "held");
/// assert!(process.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it is not
///
/// - **Memory goes along.** The copy has the caller's: its variables, what it read before, keys and passwords, the layout of its addresses, the state
///   of its generators of random numbers, where no library renews that at a `fork`. A child of a [`Command`] has none of this, and costs less.
/// - **One thread.** A process with more is refused, and so is one that shares memory that it may write to with others, which would be a way out that
///   nobody granted. Both are read in `/proc`, without which nothing is copied.
/// - What the caller's values do when they are dropped, those that the code takes with it do twice, here and there.
///
/// # How it ends
///
/// With the number that its code gives; with 101 where that panics, which unwinds no further; what was written to [`std::io::stdout`] is flushed.
/// What is to happen at the end of the caller (`atexit`, values in its functions) does not happen in the copy.
#[derive(Debug)]
pub struct Fork<'a> {
    command: Command,
    kept: Vec<BorrowedFd<'a>>,
}

impl Default for Fork<'_> {
    fn default() -> Self {
        Fork::new()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*);)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $($argument: $kind),*) -> &mut Self {
            self.command.$name($($argument),*);
            self
        }
    )*};
}

impl<'a> Fork<'a> {
    /// A copy that is given nothing.
    #[must_use]
    pub fn new() -> Fork<'a> {
        Fork { command: Command::for_copy(), kept: Vec::new() }
    }

    /// The copy keeps a descriptor, at the number that it has, with the offset that both share. Of a directory it may also read what is below.
    pub fn keep(&mut self, file: &'a impl AsFd) -> &mut Self {
        self.kept.push(file.as_fd());
        self
    }

    setters! {
        /// Gives one capability.
        grant(grant: Grant);
        /// Gives capabilities.
        grants(grants: impl IntoIterator<Item = Grant>);
        /// Gives standard input; without this it can be read no more.
        stdin(stream: impl Into<Stdio>);
        /// Gives standard output; without this what is written there is lost.
        stdout(stream: impl Into<Stdio>);
        /// Gives standard error; without this what is written there is lost, the words of a panic too.
        stderr(stream: impl Into<Stdio>);
        /// The working directory, instead of `/`. Being there grants nothing.
        current_dir(path: impl AsRef<Path>);
        /// The same, by a directory that is open already.
        current_dir_fd(directory: impl Into<OwnedFd>);
        /// Sets a limit; the last of a kind counts. As for [`Command::limit`].
        limit(limit: Limit);
        /// Lets a promise go unkept where this kernel has no mechanism for it.
        degrade(promise: Promise);
        /// It marks no file; as for [`Command::discreet`].
        discreet(discreet: bool);
        /// Joins the process group of that number, in the caller's session; 0 makes one. Instead of a session of its own.
        process_group(group: i32);
        /// Whether it gets a session of its own, as it does by default.
        session(own: bool);
        /// The file mode creation mask, instead of `022`.
        umask(mask: u32);
        /// The signals it starts with blocked, instead of none.
        signal_mask(mask: SignalSet);
        /// Kills it when this process ends (`PR_SET_PDEATHSIG`).
        die_with_thread(die: bool);
        /// Kills it, and waits for it, when its [`Process`] is dropped.
        kill_on_drop(kill: bool);
        /// The most that [`Process::wait_with_output`] collects, in bytes; as for [`Command::output_limit`].
        output_limit(bytes: u64);
        /// Asks for [`Refusals`](crate::Refusals), which the caller must then serve.
        tell_refusals(tell: bool);
        /// What to take the kernel for.
        support(support: Support);
    }

    /// Makes the copy, and has it run `code`, whose number is its exit code. Returns when it holds what it is to hold, and no more.
    ///
    /// # Errors
    /// This process has more than one thread, shares memory that it may write to, or has no `/proc` to tell: then nothing was made. Else those of
    /// [`Command::spawn`], but for its program: one sentence that names the part at fault, and nothing is left behind but the SIGCHLD that every
    /// end of a child sends.
    pub fn spawn(&mut self, code: impl FnOnce() -> u8) -> Result<Process> {
        self.command.fork(&self.kept, code)
    }

    /// What the copy would hold, and which mechanism enforces each line; its program is this process's. Nothing is started.
    ///
    /// # Errors
    /// Those of [`spawn`](Fork::spawn), as far as they show before the birth.
    pub fn describe(&self) -> Result<Description> {
        self.command.describe_copy(&self.kept)
    }
}

/// Makes a copy of the calling process that holds only `grants`, and runs `code`, whose number is its exit code. [`Fork`] says more, and gives
/// descriptors and streams too.
///
/// ```
/// use beget::{Grant, fork_with};
///
/// let mut process = fork_with([Grant::Read("/usr".into())], || {
///     let granted = std::fs::read_dir("/usr").is_ok();
///     let other = std::fs::read_dir("/etc").is_ok();
///     u8::from(!granted || other)
/// })?;
/// assert!(process.wait()?.success());
/// # Ok::<(), beget::Error>(())
/// ```
///
/// # Errors
/// Those of [`Fork::spawn`].
pub fn fork_with(grants: impl IntoIterator<Item = Grant>, code: impl FnOnce() -> u8) -> Result<Process> {
    Fork::new().grants(grants).spawn(code)
}

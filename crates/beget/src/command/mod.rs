//! How a child is asked for.

mod batch;
mod describe;
mod direct;
mod fork;
mod given;
mod opening;
mod parcel;
mod prepare;
mod provision;
mod root;
mod sealed;
mod slots;
mod spawn;
mod template;
mod variation;
mod write;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beget_authority::{Grant, Limit, Opened, Promise, Root, Support};
use beget_sys::signal::SignalSet;

use crate::description::Description;
use crate::end::Ended;
use crate::error::{Error, Fault, Result};
use crate::nursery::Nursery;
use crate::process::{Output, Process};
use crate::pty::Pty;
use crate::stdio::{Kind, Stdio};

use variation::Narrower;

pub use batch::Batch;
pub use given::{GivenFile, GivenStream};
pub(crate) use parcel::Stock;
pub(crate) use prepare::Prepared;
pub(crate) use provision::Layouts;
pub use provision::Provision;
pub use sealed::{Renewal, Sealed};
pub(crate) use spawn::{Own, Pipes};
pub use variation::Variation;

/// The `PATH` in which a program without a slash is looked up when the child was given none.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Who leads the child's process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// The child, in a session of its own.
    Session,
    /// The group of this number, or the child when 0.
    Join(i32),
    /// Nothing is changed.
    Caller,
}

/// Another user and groups than the caller's.
#[derive(Clone, Debug, Default)]
struct Credentials {
    user: Option<u32>,
    group: Option<u32>,
    groups: Option<Vec<u32>>,
}

impl Credentials {
    fn are_changed(&self) -> bool {
        self.user.is_some() || self.group.is_some() || self.groups.is_some()
    }
}

/// Who puts the program into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loader {
    /// The kernel, by an exec.
    #[default]
    Kernel,
    /// Beget, in an [`Embryo`](crate::Embryo), without one. With [`Command::only`] the program then cannot execute anything at all.
    ///
    /// `/proc/PID/exe` means the stub then, for only privilege may change it: a program that looks there for its own folder
    /// (`$ORIGIN`) finds another. Set-user-ID bits and file capabilities do not count, and no security module sees an exec.
    Direct,
}

/// A child to be: built with the names of [`std::process::Command`], given nothing by default.
///
/// The fresh defaults of what cannot be absent: working directory `/`, umask `022`, every signal unblocked (but for SIGCONT when it is
/// [`suspended`](Command::suspended)) and at its default,
/// a session of its own without a terminal, no core files, 1024 open files, 8 MiB of stack, other limits as high as the caller's
/// hard ones, plain personality, timer slack of 50 us, an empty session keyring; no capabilities and no supplementary groups
/// where the caller has the right to drop them. Processor time (niceness, affinity, cgroup, `oom_score_adj`), huge pages
/// (`PR_SET_THP_DISABLE`) and the secure bits of capabilities are the caller's.
///
/// A relative program path or directory is the caller's, wherever the child starts. What is built is kept: the second spawn of the same command opens nothing anew. Paths are opened at the first spawn.
pub struct Command {
    program: OsString,
    arg0: Option<OsString>,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: Directory,
    streams: [Option<Kind>; 3],
    named: Vec<(String, Arc<OwnedFd>)>,
    numbered: BTreeMap<i32, Arc<OwnedFd>>,
    grants: Vec<Grant>,
    limits: Vec<Limit>,
    degraded: Vec<Promise>,
    only: bool,
    group: Group,
    terminal: Option<Arc<OwnedFd>>,
    foreground: bool,
    umask: u32,
    mask: SignalSet,
    cgroup: Option<Arc<OwnedFd>>,
    die_with_thread: bool,
    kill_on_drop: bool,
    output_limit: Option<u64>,
    tell_refusals: bool,
    discreet: bool,
    channel: bool,
    nursery: Option<Nursery>,
    own_tree: bool,
    root: Option<Root>,
    /// This system refuses it, and the command goes on without.
    root_given_up: bool,
    own_child: bool,
    credentials: Credentials,
    loader: Loader,
    suspended: bool,
    in_batch: bool,
    /// It is to become a template.
    copies: Option<u64>,
    /// It is to be a copy of a template: born already, it joins what others are born in.
    copied: bool,
    /// It is a copy of this process, and executes nothing.
    forks: bool,
    /// How many of the named slots were there when it was sealed; the others come after its channel's.
    sealed_names: Option<usize>,
    /// What a sealed one is held to besides.
    narrower: Option<Arc<Narrower>>,
    support: Support,
    callers_path: Option<OsString>,
    prepared: Option<Arc<Prepared>>,
    /// The same for [`Command::output`], which gives pipes to that one child.
    prepared_to_collect: Option<Arc<Prepared>>,
    /// The same for [`Command::parcel`].
    stock: Option<Arc<Stock>>,
}

/// Names only: the values of variables are often secrets, and what is printed for debugging is often kept.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("variables", &self.environment.keys().collect::<Vec<_>>())
            .field("grants", &self.grants)
            .field("limits", &self.limits)
            .field("degraded", &self.degraded)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
enum Directory {
    Path(PathBuf),
    Opened(Arc<OwnedFd>),
}

/// Setters, of the blocking face and of the asynchronous one: each forgets what was prepared, changes one field and gives the command
/// back.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($this:ident $(, $argument:ident: $kind:ty)*) $body:block)*) => {
        impl Command {$(
            $(#[$doc])*
            pub fn $name(&mut self $(, $argument: $kind)*) -> &mut Command {
                (self.prepared, self.prepared_to_collect, self.stock) = (None, None, None);
                let $this = &mut *self;
                $body
                self
            }
        )*}

        /// What is given; the same as of [`beget::Command`](crate::Command).
        #[cfg(feature = "tokio")]
        impl crate::tokio::Command {$(
            $(#[$doc])*
            pub fn $name(&mut self $(, $argument: $kind)*) -> &mut Self {
                self.blocking.$name($($argument),*);
                self
            }
        )*}
    };
}

impl Command {
    /// A command for `program`: a path, or a name that is looked up in the child's `PATH` variable, or in [`DEFAULT_PATH`].
    ///
    /// Naming the program grants it, its `#!` interpreter and its loader, to read and execute. Its libraries come by grants.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            arg0: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: Directory::Path(PathBuf::from("/")),
            streams: [None, None, None],
            named: Vec::new(),
            numbered: BTreeMap::new(),
            grants: Vec::new(),
            limits: Vec::new(),
            degraded: Vec::new(),
            only: false,
            group: Group::Session,
            terminal: None,
            foreground: false,
            umask: 0o022,
            mask: SignalSet::EMPTY,
            cgroup: None,
            die_with_thread: false,
            kill_on_drop: false,
            output_limit: None,
            tell_refusals: false,
            discreet: false,
            channel: false,
            nursery: None,
            own_tree: false,
            root: None,
            root_given_up: false,
            own_child: false,
            credentials: Credentials::default(),
            loader: Loader::Kernel,
            suspended: false,
            in_batch: false,
            copies: None,
            copied: false,
            forks: false,
            sealed_names: None,
            narrower: None,
            support: Support::detect(),
            callers_path: std::env::var_os("PATH"),
            prepared: None,
            prepared_to_collect: None,
            stock: None,
        }
    }
}

setters! {
    /// The program's name for itself, `argv[0]`; without this, the name it was asked for by. A script's interpreter ignores it.
    arg0(this, name: impl AsRef<OsStr>) { this.arg0 = Some(name.as_ref().to_owned()); }
    /// Adds an argument.
    arg(this, argument: impl AsRef<OsStr>) { this.arguments.push(argument.as_ref().to_owned()); }
    /// Adds arguments.
    args(this, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        this.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
    }
    /// Gives a variable. No other is passed on.
    env(this, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        this.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
    }
    /// Gives variables.
    envs(this, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) {
        let owned = |(name, value): (_, _)| (AsRef::<OsStr>::as_ref(&name).to_owned(), AsRef::<OsStr>::as_ref(&value).to_owned());
        this.environment.extend(variables.into_iter().map(owned));
    }
    /// Takes a given variable back.
    env_remove(this, name: impl AsRef<OsStr>) { this.environment.remove(name.as_ref()); }
    /// Takes all given variables back.
    env_clear(this) { this.environment.clear(); }
    /// The working directory, instead of `/`. Being there grants nothing.
    current_dir(this, path: impl AsRef<Path>) { this.directory = Directory::Path(path.as_ref().to_owned()); }
    /// The same, by a directory that is open already.
    current_dir_fd(this, directory: impl Into<OwnedFd>) { this.directory = Directory::Opened(Arc::new(directory.into())); }
    /// Gives standard input; without this it is closed.
    stdin(this, stream: impl Into<Stdio>) { this.streams[0] = Some(stream.into().0); }
    /// Gives standard output; without this it is closed, and a program that writes there fails.
    stdout(this, stream: impl Into<Stdio>) { this.streams[1] = Some(stream.into().0); }
    /// Gives standard error; without this it is closed.
    stderr(this, stream: impl Into<Stdio>) { this.streams[2] = Some(stream.into().0); }
    /// Gives a descriptor by name, in the next free slot from 3. Names reach the program by the `LISTEN_FDS` and
    /// `LISTEN_FDNAMES` convention (`man 3 sd_listen_fds_with_names`); they may not hold a colon or control characters.
    slot(this, name: impl Into<String>, file: impl Into<OwnedFd>) { this.named.push((name.into(), Arc::new(file.into()))); }
    /// Gives a descriptor at a slot of this number.
    fd(this, number: i32, file: impl Into<OwnedFd>) { this.numbered.insert(number, Arc::new(file.into())); }
    /// Gives one capability.
    grant(this, grant: Grant) { this.grants.push(grant); }
    /// Gives capabilities.
    grants(this, grants: impl IntoIterator<Item = Grant>) { this.grants.extend(grants); }
    /// Sets a limit; the last of a kind counts. A limit on the whole tree ([`Limit::Memory`], [`Limit::Processes`]) makes a cgroup for
    /// each child, which tells what the tree used ([`Ended::tree`]). What the child leaves in it when it ends is ended as soon
    /// as somebody learns of the end from its [`Process`], who waits for that: a moment, or ten seconds for what the kernel cannot end.
    limit(this, limit: Limit) { this.limits.push(limit); }
    /// Lets a promise go unkept where this kernel has no mechanism for it. The [`Description`] lists what is not enforced.
    degrade(this, promise: Promise) { this.degraded.push(promise); }
    /// No other program is executed by `execve`, and no memory is executed as a file. A loader or an interpreter can still map
    /// and run code: this promises no more than it says.
    only(this, only: bool) { this.only = only; }
    /// Joins the process group of that number, in the caller's session; 0 makes one. Instead of a session of its own.
    process_group(this, group: i32) { this.group = Group::Join(group); }
    /// Whether it gets a session of its own, as it does by default; else it stays in the caller's session and group.
    session(this, own: bool) { this.group = if own { Group::Session } else { Group::Caller }; }
    /// Makes a terminal the controlling one of its session. Give it as a stream too if the program is to use it. Takes back what
    /// [`pty`](Command::pty) gave.
    controlling_terminal(this, terminal: impl Into<OwnedFd>) {
        this.terminal = Some(Arc::new(terminal.into()));
        this.streams.iter_mut().for_each(|stream| { stream.take_if(|kind| matches!(kind, Kind::Pty)); });
    }
    /// Makes its process group the foreground one of the terminal that is its standard input, before it runs.
    foreground(this, foreground: bool) { this.foreground = foreground; }
    /// The file mode creation mask, instead of `022`.
    umask(this, mask: u32) { this.umask = mask & 0o777; }
    /// The signals it starts with blocked, instead of none.
    signal_mask(this, mask: SignalSet) { this.mask = mask; }
    /// The cgroup it is born in, as its open directory (`CLONE_INTO_CGROUP`, Linux 5.7). With a limit on its whole tree it is born
    /// in one of its own below this, which must be one that such a group can be made in.
    cgroup(this, directory: impl Into<OwnedFd>) { this.cgroup = Some(Arc::new(directory.into())); }
    /// Kills it when the *thread* that spawned it ends (`PR_SET_PDEATHSIG`): of use to a program whose main thread spawns and
    /// stays, and to no other. What is born in a nursery ends with the whole process instead, whatever thread made it.
    die_with_thread(this, die: bool) { this.die_with_thread = die; }
    /// Kills it, and waits for it, when its [`Process`] is dropped.
    kill_on_drop(this, kill: bool) { this.kill_on_drop = kill; }
    /// The most that [`output`](Command::output) and [`Process::wait_with_output`] collect from its standard output and error
    /// together, in bytes. One that writes more is ended, with its tree if that is its own ([`own_tree`](Command::own_tree)), and
    /// [`Output::limited`] says so: endless output does not fill this process's memory. What it writes elsewhere is not counted.
    output_limit(this, bytes: u64) { this.output_limit = Some(bytes); }
    /// Asks for [`Refusals`](crate::Refusals), which the caller must then serve.
    tell_refusals(this, tell: bool) { this.tell_refusals = tell; }
    /// It marks no file: no lock, lease, mode, owner or time of one is changed, through whatever descriptor or path, its own files included
    /// ([`Promise::Marks`]). Whoever may only read a file can lock it for all to see, and its owner can change the rest. Programs that cannot do
    /// without are few: those that lock what they read (SQLite), and those that give their files modes (tar, cp -p).
    discreet(this, discreet: bool) { this.discreet = discreet; }
    /// Whether it is born with a channel, over which its [`Process`] sends it capabilities while it runs, and is told what it asks for:
    /// [`Process::send`], [`Process::asked`]. Its end lies in the named slot `beget`, the next free one after the other named slots.
    channel(this, channel: bool) { this.channel = channel; }
    /// It is born in this nursery: a child of it, not of this process. Without this a nursery is used only where one is needed.
    nursery(this, nursery: &Nursery) { this.nursery = Some(nursery.clone()); }
    /// It is born in a nursery of its own, which ends, with everything that descends from it, when its [`Process`] is dropped or
    /// this process ends, however it does, and at [`Process::kill_tree`].
    own_tree(this, own: bool) { this.own_tree = own; }
    /// It is born in a private root of its own: what is not granted does not exist there. Its first process is a nursery, so it has a
    /// tree of its own too. The working directory is looked up inside; a directory given open would lead out, and is an error.
    root(this, root: Root) { (this.root, this.root_given_up) = (Some(root), false); }
    /// It becomes a child of this process although a nursery makes it (`CLONE_PARENT`). For a nursery without a guard
    /// ([`Nursery::bare`]); the nursery does not end it then, nor what descends from it.
    own_child(this, own: bool) { this.own_child = own; }
    /// Its user (`man 2 setresuid`). With a user, a group or groups of its own it has no supplementary groups but those given. Takes
    /// CAP_SETUID, and a nursery, for a child that shares memory would change its creator too.
    uid(this, user: u32) { this.credentials.user = Some(user); }
    /// Its group.
    gid(this, group: u32) { this.credentials.group = Some(group); }
    /// Its supplementary groups.
    groups(this, groups: &[u32]) { this.credentials.groups = Some(groups.to_vec()); }
    /// Who puts its program into memory.
    loader(this, loader: Loader) { this.loader = loader; }
    /// It stops (SIGSTOP) before the first instruction of its program, for a debugger to be attached, until somebody continues it. It
    /// has SIGCONT blocked then, which changes nothing about being continued; whoever continues it when a tracer is there spares a
    /// debugger one stop to be told of ([`Process::is_traced`]).
    suspended(this, suspended: bool) { this.suspended = suspended; }
    /// What to take the kernel for: [`Support::with_landlock_at_most`] shows what would hold on an older one.
    support(this, support: Support) { this.support = support; }
}

impl Command {
    /// The same command once more, with the same open files and nothing prepared.
    fn again(&self) -> Command {
        Command {
            program: self.program.clone(),
            arg0: self.arg0.clone(),
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            streams: self.streams.clone(),
            named: self.named.clone(),
            numbered: self.numbered.clone(),
            grants: self.grants.clone(),
            limits: self.limits.clone(),
            degraded: self.degraded.clone(),
            terminal: self.terminal.clone(),
            cgroup: self.cgroup.clone(),
            nursery: self.nursery.clone(),
            root: self.root.clone(),
            credentials: self.credentials.clone(),
            callers_path: self.callers_path.clone(),
            narrower: self.narrower.clone(),
            prepared: None,
            prepared_to_collect: None,
            stock: None,
            ..*self
        }
    }

    /// Gives the other end of a pseudo-terminal as standard input, output and error, and makes it the controlling terminal of a session
    /// of its own, which it may also open by its name and as `/dev/tty`. A stream that is set afterwards is what it is set to.
    ///
    /// The command holds that end from now on: drop it, or the master never tells the end of what is written.
    ///
    /// # Errors
    /// `EMFILE`, and what else keeps the other end from being opened.
    pub fn pty(&mut self, pty: &Pty) -> Result<&mut Command> {
        self.session(true).controlling_terminal(pty.slave()?);
        self.streams = [Some(Kind::Pty), Some(Kind::Pty), Some(Kind::Pty)];
        Ok(self)
    }

    /// Starts it.
    ///
    /// # Errors
    /// One sentence that names the part at fault: a grant that cannot be opened, a promise that this kernel cannot keep, a
    /// program that is not there or cannot run, an operation that the kernel refused. Nothing is left behind.
    pub fn spawn(&mut self) -> Result<Process> {
        prepare::check_streams(&self.streams)?;
        let (prepared, opened) = self.prepare()?;
        let process = spawn::spawn(self, &prepared).or_else(|error| {
            self.do_without_root(error)?;
            self.spawn()
        });
        // Closed only now, when the child runs already; in it they are closed at its birth.
        drop(opened);
        process
    }

    /// Starts it and waits for its end.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) and [`Process::wait`].
    pub fn status(&mut self) -> Result<Ended> {
        self.spawn()?.wait()
    }

    /// Starts it with pipes at the standard output and error that were not set, and collects what it writes. Standard input that was
    /// not set stays closed.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) and [`Process::wait_with_output`].
    pub fn output(&mut self) -> Result<Output> {
        self.spawn_to_collect()?.wait_with_output()
    }

    /// Starts it with pipes at the standard output and error that were not set.
    pub(crate) fn spawn_to_collect(&mut self) -> Result<Process> {
        let unset = [1, 2].map(|stream| self.streams[stream].is_none().then_some(stream));
        if unset == [None, None] {
            return self.spawn();
        }
        for stream in unset.into_iter().flatten() {
            self.streams[stream] = Some(Kind::Piped);
        }
        std::mem::swap(&mut self.prepared, &mut self.prepared_to_collect);
        let process = self.spawn();
        std::mem::swap(&mut self.prepared, &mut self.prepared_to_collect);
        for stream in unset.into_iter().flatten() {
            self.streams[stream] = None;
        }
        process
    }

    /// What the child would hold, and which mechanism enforces each line. Opens what a spawn would open, and starts nothing.
    ///
    /// # Errors
    /// Those of a spawn, as far as they show before the birth.
    pub fn describe(&mut self) -> Result<Description> {
        if self.private_root().is_some() {
            Nursery::could_be_in_root().or_else(|error| self.do_without_root(error))?;
        }
        Ok(describe::describe(self, &prepare::prepare(self)?))
    }

    /// What spawns share, and what was opened for it just now and is not needed any more.
    fn prepare(&mut self) -> Result<(Arc<Prepared>, Vec<Opened>)> {
        match &self.prepared {
            Some(prepared) if prepared.fits(self) => Ok((Arc::clone(prepared), Vec::new())),
            _ => {
                let mut prepared = prepare::prepare(self)?;
                let opened = prepared.hold();
                let prepared = Arc::new(prepared);
                self.prepared = Some(Arc::clone(&prepared));
                Ok((prepared, opened))
            }
        }
    }

    /// Prepares it for a nursery, whichever that will be, and for a stop if it is to be made together with others. What was prepared
    /// for other spawns stays.
    fn prepare_for_batch(&mut self, stops: bool) -> Result<Arc<Prepared>> {
        (self.in_batch, self.suspended) = (true, stops);
        let prepared = prepare::prepare(self);
        (self.in_batch, self.suspended) = (false, false);
        let mut prepared = prepared?;
        drop(prepared.hold());
        Ok(Arc::new(prepared))
    }

    /// Goes on without a private root where `error` says that there can be none here, and that was given up; else gives the error back. One
    /// that something was put into is not given up: the program was to have that. [`spawn`](Command::spawn) does so by itself; whoever
    /// has a [`Parcel`](crate::Parcel) delivered learns only then that there can be none.
    ///
    /// # Errors
    /// `error`, with how it is given up.
    pub fn do_without_root(&mut self, error: Error) -> Result<()> {
        if error.fault() != Fault::Unkept || self.private_root().is_none() {
            return Err(error);
        }
        if !self.degraded.contains(&Promise::Root) {
            return Err(error.and("give it up with --degrade root"));
        }
        if !self.root.as_ref().is_some_and(Root::is_empty) {
            return Err(error.and("it cannot be given up, for something was put into it"));
        }
        (self.prepared, self.prepared_to_collect, self.stock) = (None, None, None);
        self.root_given_up = true;
        Ok(())
    }

    /// The private root that it is to have.
    fn private_root(&self) -> Option<&Root> {
        self.root.as_ref().filter(|_| !self.root_given_up)
    }

    /// Whether it takes a process with memory of its own to run its plan.
    fn needs_embryo(&self) -> bool {
        self.credentials.user.is_some() || self.credentials.group.is_some() || self.loader == Loader::Direct
    }

    /// Whether its parent is a nursery.
    fn uses_nursery(&self) -> bool {
        let asked = self.in_batch || self.nursery.is_some() || self.own_tree || self.private_root().is_some();
        !self.own_child && (asked || self.needs_embryo())
    }

    /// Whether its terminal is one of its own, which it may open by name.
    fn has_pty(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream, Some(Kind::Pty)))
    }

    fn has_ambient(&self) -> bool {
        self.grants.contains(&Grant::Ambient)
    }

    /// The variables that were given, by name.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    fn child_path(&self) -> &OsStr {
        self.environment.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str)
    }
}

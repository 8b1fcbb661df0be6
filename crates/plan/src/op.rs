//! The operations: the reviewed list of what can happen in a newborn process.
//!
//! An operation is 32 bytes: a code and up to seven words. Each names the engines that may run it: one that would change the
//! process a `vfork` child shares its memory with is legal only where the newborn has memory of its own.

/// Bits of [`Op::Map`] and [`Op::Protect`].
pub mod mapping {
    /// It may be read.
    pub const READ: u32 = 1;
    /// It may be written, which changes the process's own copy only.
    pub const WRITE: u32 = 2;
    /// It may be executed.
    pub const EXECUTE: u32 = 4;
    /// What is mapped there already is replaced; else the operation fails with `EEXIST`.
    pub const REPLACE: u32 = 8;
    /// For [`Op::Protect`](super::Op::Protect): down to the end of a stack, and what it will grow by.
    pub const DOWN: u32 = 16;
    /// No file.
    pub const NO_FILE: u32 = u32::MAX;
}

/// Where a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A child that shares the memory of its creator until it executes a program.
    Vfork,
    /// A process with memory of its own.
    Fresh,
}

/// The words of an operation after its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) words: [u32; 7],
    next: usize,
}

impl Words {
    pub(crate) fn of(words: [u32; 7]) -> Words {
        Words { words, next: 0 }
    }

    fn put(&mut self, word: u32) {
        if let Some(place) = self.words.get_mut(self.next) {
            *place = word;
        }
        self.next += 1;
    }

    fn take(&mut self) -> u32 {
        let word = self.words.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        word
    }

    /// Whether every word that was not taken is zero: a plan says nothing that is not looked at.
    fn is_spent(&self) -> bool {
        self.words.iter().skip(self.next).all(|word| *word == 0)
    }
}

trait Field: Copy {
    fn put(self, words: &mut Words);
    fn take(words: &mut Words) -> Self;
}

impl Field for u32 {
    fn put(self, words: &mut Words) {
        words.put(self);
    }
    fn take(words: &mut Words) -> u32 {
        words.take()
    }
}

impl Field for i32 {
    fn put(self, words: &mut Words) {
        words.put(self as u32);
    }
    fn take(words: &mut Words) -> i32 {
        words.take() as i32
    }
}

impl Field for u64 {
    fn put(self, words: &mut Words) {
        words.put(self as u32);
        words.put((self >> 32) as u32);
    }
    fn take(words: &mut Words) -> u64 {
        u64::from(words.take()) | u64::from(words.take()) << 32
    }
}

/// A run of bytes, instructions or strings in the plan's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, in bytes from the beginning of the data.
    pub at: u32,
    /// How many bytes, instructions or strings it holds.
    pub count: u32,
}

impl Field for Span {
    fn put(self, words: &mut Words) {
        words.put(self.at);
        words.put(self.count);
    }
    fn take(words: &mut Words) -> Span {
        Span { at: words.take(), count: words.take() }
    }
}

/// What a program that is entered finds in the registers. The others are zero, or what the call that takes the stub away leaves in
/// them (`rax`, `rcx`, `rdx`, `rsi`, `rdi`, `r8` to `r11`): the processor's own call convention promises nobody more of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Where it begins.
    pub instruction: u64,
    /// The stack pointer.
    pub stack: u64,
    /// `rbx`.
    pub rbx: u64,
    /// `rbp`.
    pub rbp: u64,
    /// `r12`.
    pub r12: u64,
    /// `r13`.
    pub r13: u64,
    /// `r14`.
    pub r14: u64,
    /// `r15`.
    pub r15: u64,
}

impl Registers {
    /// As a plan holds them.
    #[must_use]
    pub fn words(&self) -> [u64; 8] {
        let Registers { instruction, stack, rbx, rbp, r12, r13, r14, r15 } = *self;
        [instruction, stack, rbx, rbp, r12, r13, r14, r15]
    }
}

/// A register of a program that goes on, as the kernel numbers them in `struct ucontext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// `r8`.
    R8 = 0,
    /// `r9`.
    R9 = 1,
    /// `rdi`, the first argument of a function.
    Rdi = 8,
    /// `rsi`, the second.
    Rsi = 9,
    /// `rdx`, the third.
    Rdx = 12,
    /// `rax`, the value of a call.
    Rax = 13,
    /// `rcx`, the fourth argument of a function.
    Rcx = 14,
    /// The stack pointer.
    Rsp = 15,
    /// Where it goes on.
    Rip = 16,
}

impl Register {
    /// How many there are of the kernel's numbers, those without a name here among them.
    pub const COUNT: u64 = 17;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $code:literal $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* } $engines:ident;)*) => {
        /// One operation. The number is its code in an encoded plan.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $kind),* },)*
        }

        impl Op {
            /// Its code and words.
            pub(crate) fn encode(self) -> (u32, [u32; 7]) {
                let mut words = Words::default();
                let code = match self {
                    $(Op::$name { $($field),* } => { $($field.put(&mut words);)* $code })*
                };
                (code, words.words)
            }

            /// The operation that a code and words mean, or none.
            pub(crate) fn decode(code: u32, words: [u32; 7]) -> Option<Op> {
                let mut words = Words::of(words);
                let op = match code {
                    $($code => Op::$name { $($field: <$kind as Field>::take(&mut words)),* },)*
                    _ => return None,
                };
                words.is_spent().then_some(op)
            }

            /// Whether `engine` may run it.
            #[must_use]
            pub const fn runs_in(self, engine: Engine) -> bool {
                match self {
                    $(Op::$name { .. } => operations!(@engines $engines engine),)*
                }
            }

            /// Its name, as messages and the documents have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Op::$name { .. } => stringify!($name),)*
                }
            }
        }
    };
    (@engines any $engine:ident) => { { let _ = $engine; true } };
    (@engines fresh $engine:ident) => { matches!($engine, Engine::Fresh) };
}

operations! {
    /// Gives every signal its default disposition; an exec would keep the ignored ones.
    1 DefaultSignals {} any;
    /// Starts a session of its own, without a terminal.
    2 NewSession {} any;
    /// Joins a process group; 0 makes one.
    3 ProcessGroup { /// The group.
        group: i32 } any;
    /// Moves the given descriptors that lie below `floor` above it, so that placing one cannot overwrite another.
    4 Raise { /// Lowest number they may have.
        floor: u32 } any;
    /// Puts a given descriptor into a slot.
    5 Place { /// Index into the descriptors that came with the plan.
        source: u32, /// The slot's number.
        slot: i32, /// 1 when an exec closes it, 0 when the program is to have it.
        closing: u32 } any;
    /// Closes every descriptor in a range.
    6 Close { /// The first number.
        first: u32, /// The last number.
        last: u32 } any;
    /// Puts the own process group in the foreground of the terminal in a slot.
    7 Foreground { /// The terminal.
        slot: i32 } any;
    /// Makes the terminal in a slot the session's.
    8 ControllingTerminal { /// The terminal.
        slot: i32 } any;
    /// Makes the directory in a slot the working directory.
    9 ChangeDirectory { /// The directory.
        slot: i32 } any;
    /// Makes a directory that came with the plan the working directory.
    39 ChangeDirectoryTo { /// Index into the descriptors that came with the plan.
        source: u32 } any;
    /// Sets the file mode creation mask.
    10 Umask { /// The mask.
        mode: u32 } any;
    /// Sets the execution domain.
    11 Personality { /// 0 is plain Linux.
        value: u32 } any;
    /// Sets how late timers may fire.
    12 TimerSlack { /// In nanoseconds.
        nanoseconds: u64 } any;
    /// Sets a resource limit.
    13 Limit { /// `RLIMIT_*`.
        resource: u32, /// What is enforced.
        soft: u64, /// How far the soft one may be raised.
        hard: u64 } any;
    /// Keeps it to some processors.
    14 Processors { /// Bytes of the mask, lowest processor first.
        mask: Span } any;
    /// Has a signal sent to it when the thread that made it ends, and fails with `ESRCH` when the parent is gone already.
    15 DieWithParent { /// The signal.
        signal: i32, /// The parent's process number.
        parent: i32 } any;
    /// Joins the cgroup whose `cgroup.procs` is open for writing in a slot. For a process alone: it takes all its threads along.
    60 JoinCgroup { /// The file.
        slot: i32 } any;
    /// Joins the session keyring of that name if it has that serial number, or is the user's own, empty, and can never hold a key; else a new
    /// one without a name.
    16 JoinKeyring { /// Where its name begins in the data.
        name: u32, /// Its serial number.
        serial: i32 } any;
    /// Makes the empty keyring of that name, which is not there yet, and joins it.
    28 MakeKeyring { /// Where its name begins in the data.
        name: u32 } any;
    /// Replaces the supplementary groups.
    17 Groups { /// Numbers of four bytes.
        groups: Span } any;
    /// Gives up every capability of the root user.
    18 DropCapabilities {} any;
    /// No exec gives more rights, for ever.
    19 NoNewPrivileges {} any;
    /// Binds it to the Landlock ruleset in a slot, for ever.
    20 Landlock { /// The ruleset.
        slot: i32 } any;
    /// Puts a seccomp filter on it, for ever.
    21 Filter { /// Instructions of eight bytes. One whose code has [`OWN_NUMBER`][beget_sys::seccomp::code::OWN_NUMBER] is given the newborn's number.
        instructions: Span } any;
    /// The same with a listener, which is sent over the socket in a slot; when the kernel refuses a second listener, the other
    /// filter goes on instead and nothing is sent.
    22 FilterWithListener { /// The filter that asks the listener.
        asking: Span, /// The filter that does not.
        refusing: Span, /// Where the listener is sent.
        socket: i32 } any;
    /// Sets the signal mask; last, so that a signal cannot end it half made.
    23 SignalMask { /// Bit N-1 blocks signal N.
        mask: u64 } any;
    /// Sets the real, effective and saved group.
    24 SetGroup { /// The group.
        group: u32 } fresh;
    /// Sets the real, effective and saved user.
    25 SetUser { /// The user.
        user: u32 } fresh;
    /// Sets whether others of this user may look into it.
    26 Dumpable { /// 0 or 1.
        value: u32 } fresh;
    /// Maps memory, or a part of a file, and answers with its address in eight bytes.
    29 Map { /// Where, or 0 for wherever the kernel likes.
        at: u64, /// Bytes.
        length: u64, /// Where in the file it begins, in pages.
        page: u32, /// What may be done there, and whether it may replace what is there: bits of [`mapping`].
        how: u32, /// Index into the descriptors that came with the plan; [`mapping::NO_FILE`] for memory of no file.
        source: u32 } fresh;
    /// Removes mappings.
    30 Unmap { /// Where.
        at: u64, /// Bytes.
        length: u64 } fresh;
    /// Changes what may be done with memory.
    31 Protect { /// Where.
        at: u64, /// Bytes.
        length: u64, /// Bits of [`mapping`].
        how: u32 } fresh;
    /// Writes into memory.
    32 Write { /// Where.
        at: u64, /// What.
        bytes: Span } fresh;
    /// Answers with what is in memory.
    33 Read { /// Where.
        at: u64, /// Bytes.
        length: u32 } fresh;
    /// Has memory be there before it is used, so that the program finds it without a fault. It changes nothing of what is in it: a kernel
    /// that has no such advice (before Linux 5.14) is not an error.
    62 Populate { /// Pairs of numbers of eight bytes: where, and how many bytes; whole pages.
        ranges: Span, /// [`mapping::READ`] as if it was read, or [`mapping::WRITE`] as if it was written to.
        how: u32 } fresh;
    /// Tells the kernel where the parts of the program's memory are, for `/proc` and `brk`.
    34 MemoryMap { /// [`beget_sys::process::MemoryMap`], 13 numbers of eight bytes.
        fields: Span, /// Index of the executable file into the descriptors that came with the plan, or [`mapping::NO_FILE`]. A kernel
        /// that refuses to set it, or has no such call at all, is not an error.
        executable: u32 } fresh;
    /// Sets the name that `ps` shows.
    35 Name { /// Where it begins in the data.
        name: u32 } any;
    /// Has the exec that follows stop the process before the first instruction of its program.
    37 StopAtExec {} any;
    /// Leaves for a program that was put into memory, and takes away all that is not the program's. Ends a plan.
    38 Enter { /// [`Registers`], eight numbers of eight bytes.
        registers: Span, /// 1 to stop first, with the channel closed, until somebody continues it.
        stop: u32 } fresh;
    /// Writes which numbers of users and groups outside mean which inside a new user namespace, and gives up `setgroups` there, without
    /// which the kernel lets nobody write that of its own.
    40 MapUsers { /// Index of `/proc` into the descriptors that came with the plan.
        source: u32, /// Lines of `/proc/PID/uid_map`.
        users: Span, /// Lines of `/proc/PID/gid_map`.
        groups: Span } any;
    /// Gives it new namespaces.
    41 Namespaces { /// Bits of [`beget_sys::namespace::kind`].
        kinds: u32 } any;
    /// Begins a root of its own: an empty filesystem in memory over the old root, which stays what names from the root mean until
    /// [`Op::BecomeRoot`]; the names of the operations between are looked up inside it, relative, and no link leads out.
    /// The file mode creation mask is none from here on.
    42 NewRoot { /// Options of `tmpfs`, names and values by turns: offsets of strings.
        options: Span } any;
    /// Makes a directory in the new root, unless it is there.
    43 MakeDirectory { /// Where its folder's name begins in the data.
        folder: u32, /// Its own name.
        name: u32, /// Its mode.
        mode: u32 } any;
    /// Makes a file in the new root; where it is to hold nothing, one that is there will do.
    44 MakeFile { /// Where its folder's name begins in the data.
        folder: u32, /// Its own name.
        name: u32, /// What it holds.
        contents: Span, /// Its mode.
        mode: u32 } any;
    /// Makes a symbolic link in the new root.
    45 MakeLink { /// Where its folder's name begins in the data.
        folder: u32, /// Its own name.
        name: u32, /// What it says.
        target: u32 } any;
    /// Shows a part of the old root in the new one, with all that is mounted below.
    46 Bind { /// Index into the descriptors that came with the plan: the file that must be there.
        source: u32, /// Its name from the old root, without links.
        path: u32, /// Where in the new root.
        at: u32, /// Bits of [`beget_sys::namespace::attribute`].
        attributes: u32 } any;
    /// Mounts a new filesystem in the new root.
    47 Mount { /// Where its kind's name begins in the data.
        filesystem: u32, /// Options, names and values by turns: offsets of strings.
        options: Span, /// Where in the new root.
        at: u32, /// Bits of [`beget_sys::namespace::attribute`].
        attributes: u32 } any;
    /// Gives a mount in the new root attributes that it did not have while things were put into it.
    48 Seal { /// Where in the new root.
        at: u32, /// Bits of [`beget_sys::namespace::attribute`].
        attributes: u32 } any;
    /// Makes the new root the root, and takes the old one away.
    49 BecomeRoot { /// Bits of [`beget_sys::namespace::attribute`].
        attributes: u32 } any;
    /// Names the machine, in a namespace of names of its own.
    50 HostName { /// The name.
        name: Span } any;
    /// Brings up the loopback interface, in a network namespace of its own.
    51 Loopback {} any;
    /// Opens a file by its name in the root that its nursery was given, to be executed or to be the working directory; it must be the one
    /// that came with the plan.
    52 Open { /// Where its name begins in the data.
        path: u32, /// The slot that it is put in, closed by an exec.
        slot: i32, /// Index into the descriptors that came with the plan, or [`mapping::NO_FILE`].
        source: u32 } any;
    /// Makes a directory in the root that its nursery was given the working directory.
    53 EnterDirectory { /// Where its name begins in the data.
        path: u32 } any;
    /// Allows something below a place in the root that its nursery was given, in a Landlock ruleset that is not in force yet.
    54 Allow { /// The ruleset.
        slot: i32, /// Where the place's name begins in the data.
        path: u32, /// Bits of [`beget_sys::landlock::fs`].
        rights: u64 } any;
    /// Goes on where the template of this process was stopped, and takes away all that is not the program's. Ends a plan.
    61 Resume { /// What is otherwise than there: pairs of numbers of eight bytes, a [`Register`]'s number and its value.
        changes: Span } fresh;
    /// Executes the program in a slot. Ends a plan.
    27 Execute { /// The program.
        program: i32, /// Its arguments: offsets, of four bytes each, of strings.
        arguments: Span, /// Its environment, likewise.
        environment: Span, /// 1 to add `LISTEN_PID` with the newborn's number.
        listening: u32 } any;
}

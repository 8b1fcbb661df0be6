//! What can go wrong when a program is copied: each thing by name, in words, and what is done about it.
//!
//! Safety idea: there is no fourth answer. What is found is cured, told to whoever asks for a product, or the reason why there is none.

use std::fmt;

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Another thread: a copy has one.
    Threads,
    /// A process that the program made: a copy is not its parent.
    Children,
    /// The template's channel is not as it was given, or somebody else in the program has it too.
    Channel,
    /// A descriptor with a number that is not the program's to use.
    Number,
    /// One of the descriptors that each product is given anew was changed.
    Standard,
    /// An open file, whose offset copies would share.
    File,
    /// A file that can be written: all products change the same one.
    Writable,
    /// A pipe that copies would share.
    Pipe,
    /// A socket that copies would share.
    Socket,
    /// A terminal.
    Terminal,
    /// A device other than a terminal, with a state that copies would share.
    Device,
    /// Another object of the kernel's: an epoll set, a timer, a ring.
    Object,
    /// A lock on a file, which the template holds for as long as it lives.
    Lock,
    /// Memory that copies would share, and can be written.
    SharedMemory,
    /// Memory that a copy does not have, or not as the program believes.
    Memory,
    /// A mapped file that is not on disk any more as it was mapped.
    Replaced,
    /// A timer, which no copy has.
    Timer,
    /// A signal that waits, which no copy gets.
    Signal,
    /// A lock of the C library's that the kernel watches over.
    RobustLock,
    /// Namespaces that the program made.
    Namespace,
    /// Another user or group than it was born with.
    Credentials,
    /// A filter of system calls that the program put on itself.
    Filter,
    /// The template's process number, remembered in memory.
    CachedNumber,
    /// What was random in the template is the same in all products.
    SharedRandomness,
    /// What it wrote before it was ready, which no product writes.
    EarlyOutput,
    /// What it may have seen of its standard streams before it was ready, which a product's may not be like.
    EarlyLook,
}

impl Kind {
    /// Its name, as listings have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Threads => "threads",
            Kind::Children => "children",
            Kind::Channel => "channel",
            Kind::Number => "descriptor-number",
            Kind::Standard => "standard-descriptor",
            Kind::File => "open-file",
            Kind::Writable => "writable-file",
            Kind::Pipe => "pipe",
            Kind::Socket => "socket",
            Kind::Terminal => "terminal",
            Kind::Device => "device",
            Kind::Object => "kernel-object",
            Kind::Lock => "file-lock",
            Kind::SharedMemory => "shared-memory",
            Kind::Memory => "memory",
            Kind::Replaced => "replaced-file",
            Kind::Timer => "timer",
            Kind::Signal => "signal",
            Kind::RobustLock => "robust-lock",
            Kind::Namespace => "namespace",
            Kind::Credentials => "credentials",
            Kind::Filter => "filter",
            Kind::CachedNumber => "cached-process-number",
            Kind::SharedRandomness => "shared-randomness",
            Kind::EarlyOutput => "early-output",
            Kind::EarlyLook => "early-look",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is left of it in a product, and this is why.
    Cured(String),
    /// It stays, and whoever asks for a product is told.
    Declared,
    /// No product can be made, and this is why.
    Refused(String),
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// What kind of thing it is.
    pub kind: Kind,
    /// It, in words: which descriptor, which thread.
    pub what: String,
    /// What is done about it.
    pub verdict: Verdict,
}

impl Hazard {
    pub(super) fn refused(kind: Kind, what: impl Into<String>, why: impl Into<String>) -> Hazard {
        Hazard { kind, what: what.into(), verdict: Verdict::Refused(why.into()) }
    }

    pub(super) fn declared(kind: Kind, what: impl Into<String>) -> Hazard {
        Hazard { kind, what: what.into(), verdict: Verdict::Declared }
    }

    pub(super) fn cured(kind: Kind, what: impl Into<String>, how: impl Into<String>) -> Hazard {
        Hazard { kind, what: what.into(), verdict: Verdict::Cured(how.into()) }
    }

    /// Whether it is why no product can be made.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused(_))
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Cured(how) => write!(f, "{}: {} (cured: {how})", self.kind, self.what),
            Verdict::Declared => write!(f, "{}: {}", self.kind, self.what),
            Verdict::Refused(why) => write!(f, "{}: {} ({why})", self.kind, self.what),
        }
    }
}

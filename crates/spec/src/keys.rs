//! Every key of a spec, once: its name, what it says, what it takes and what that does. The reader, the schema and the words about a
//! mistyped key are made from this table, and nothing is accepted that is not in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Grant, Limit, Loader, Promise, Root};

use crate::spec::Spec;

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the schema is made in a test"))]
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
}

/// What a key takes, and what it does with that.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Text without variables.
    Text(fn(&mut Spec, String)),
    /// The profiles that this one begins with.
    Extends,
    /// Profiles by name.
    Profiles,
    /// A program: a path, or a name without a slash.
    Program,
    /// Text, each with variables.
    Texts(fn(&mut Spec, OsString)),
    /// A path.
    Path(fn(&mut Spec, PathBuf)),
    /// A list of paths, each at its own name or at another place in a private root.
    Grants(fn(PathBuf) -> Grant),
    /// Whether it has this.
    Grant(fn() -> Grant),
    Ports(fn(u16) -> Grant),
    Bool(fn(&mut Spec, bool)),
    /// Variables by name.
    Environment,
    /// Names of variables.
    Pass,
    /// Descriptors by name.
    Descriptors,
    Size(fn(&mut Spec, u64)),
    /// A duration; of none only where that is said.
    Duration(Least, fn(&mut Spec, Duration)),
    /// A whole number from 0 to this.
    Count(u64, fn(&mut Spec, u64)),
    /// One of these words.
    Word(fn() -> Vec<&'static str>, fn(&mut Spec, &str)),
    /// Some of these words.
    Words(fn() -> Vec<&'static str>, fn(&mut Spec, &str)),
    Table(&'static [Key]),
    /// Whether there is a private root, or what lies in it.
    Root(&'static [Key]),
    /// Folders to write whose changes go elsewhere.
    Scratch,
    /// Places in memory, with their sizes.
    Memory,
    /// Places in a private root.
    Places(fn(Root, PathBuf) -> Root),
    /// Places in a private root, each with a text.
    Placed(fn(Root, PathBuf, OsString) -> Root),
}

/// The least that a duration may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    None,
    Some,
}

impl Kind {
    /// What it takes, in words.
    pub(crate) fn wants(&self) -> &'static str {
        match self {
            Kind::Text(_) | Kind::Program => "text",
            Kind::Path(_) => "a path",
            Kind::Extends => "a list of profiles, such as [\"NAME\", \"FILE.toml\", \"FILE.toml#NAME\"]",
            Kind::Profiles => "a table of profiles, as [profile.NAME]",
            Kind::Texts(_) => "a list of text",
            Kind::Grants(_) => "a list of paths",
            Kind::Ports(_) => "a list of ports from 0 to 65535",
            Kind::Grant(_) | Kind::Bool(_) => "true or false",
            Kind::Environment => "a table, as { NAME = \"value\" }",
            Kind::Pass => "a list of names",
            Kind::Descriptors => {
                "a table, as { NAME = \"path\" } or { NAME = { path = \"path\", write = true } }"
            }
            Kind::Size(_) => "a size, such as \"512M\", or a number of bytes",
            Kind::Duration(..) => "a duration, such as \"90s\", or a number of seconds",
            Kind::Count(..) => "a whole number",
            Kind::Word(..) => "a word",
            Kind::Words(..) => "a list of words",
            Kind::Table(_) => "a table",
            Kind::Root(_) => "true or false, or a table",
            Kind::Scratch => {
                "a list, each as \"path\" or { path = \"path\", at = \"/place\", keep = \"folder\" }"
            }
            Kind::Memory => "a list, each as \"/place\" or { at = \"/place\", size = \"64M\" }",
            Kind::Places(_) => "a list of places, each absolute",
            Kind::Placed(_) => "a table, as { \"/place\" = \"text\" }",
        }
    }
}

const fn key(name: &'static str, help: &'static str, kind: Kind) -> Key {
    Key { name, help, kind }
}

/// The keys of a profile, in the order in which they take effect.
pub(crate) const KEYS: &[Key] = &[
    key(
        "description",
        "What the profile is for, in a line; it is not inherited",
        Kind::Text(|spec, text| {
            spec.description = Some(text);
        }),
    ),
    key(
        "extends",
        "Profiles that this one begins with, in order: NAME in this file or a shipped one, FILE.toml, FILE.toml#NAME. Lists are \
         appended to theirs, everything else replaces theirs; a program of its own takes their arguments away",
        Kind::Extends,
    ),
    key(
        "program",
        "The program: a path, or a name that is looked up in the child's PATH. The command line may name another",
        Kind::Program,
    ),
    key("arguments", "Its arguments", Kind::Texts(|spec, text| spec.arguments.push(text))),
    key("base", "The system's own program files, as --base", Kind::Grant(|| Grant::Base)),
    key("read", "Paths to read, with all below them, as --read", Kind::Grants(Grant::Read)),
    key("write", "Paths to read and write, with all below them, as --write", Kind::Grants(Grant::Write)),
    key("exec", "Paths to read and execute, with all below them, as --exec", Kind::Grants(Grant::Execute)),
    key("env", "Variables and their values, as --env NAME=VALUE", Kind::Environment),
    key(
        "env-pass",
        "Names of variables that have the value that the caller has, as --env NAME; not set there is an error",
        Kind::Pass,
    ),
    key(
        "fd",
        "Descriptors by name: a file opened for reading, or for writing too, as --fd NAME=PATH[:rw]",
        Kind::Descriptors,
    ),
    key(
        "tcp-connect",
        "TCP ports to connect to, of any host, as --tcp-connect",
        Kind::Ports(Grant::TcpConnect),
    ),
    key("tcp-bind", "TCP ports to bind and listen on, as --tcp-bind", Kind::Ports(Grant::TcpBind)),
    key("inet-dns", "Ask name servers, as --inet-dns", Kind::Grant(|| Grant::InetDns)),
    key("net", "The whole network, as --net", Kind::Grant(|| Grant::Net)),
    key("unix", "Unix sockets to connect to, as --unix; needs a root", Kind::Grants(Grant::Unix)),
    key(
        "loopback",
        "A loopback interface of its own, as --loopback; needs a root",
        Kind::Grant(|| Grant::Loopback),
    ),
    key("root", "A private root, as --root, and what lies in it beside what is granted", Kind::Root(ROOT)),
    key("spawn", "Create processes, as --spawn", Kind::Grant(|| Grant::Spawn)),
    key("limits", "Limits", Kind::Table(LIMITS)),
    key(
        "cwd",
        "Where it starts, instead of in /, as --cwd",
        Kind::Path(|spec, path| spec.directory = Some(path)),
    ),
    key("only", "Execute no other program, as --only", Kind::Bool(|spec, only| spec.only = only)),
    key(
        "discreet",
        "Mark no file, as --discreet; products of a factory never do",
        Kind::Bool(|spec, discreet| spec.discreet = discreet),
    ),
    key(
        "loader",
        "Who puts the program into memory, as --loader",
        Kind::Word(
            || vec!["kernel", "direct"],
            |spec, word| {
                spec.loader = if word == "direct" { Loader::Direct } else { Loader::Kernel };
            },
        ),
    ),
    key(
        "suspend",
        "Stop before the first instruction, as --suspend",
        Kind::Bool(|spec, stop| spec.suspend = stop),
    ),
    key("pty", "A terminal of its own, as --pty", Kind::Bool(|spec, pty| spec.pty = pty)),
    key("log", "Where its output is recorded, as --log", Kind::Path(|spec, path| spec.log = Some(path))),
    key(
        "degrade",
        "Promises to give up where the kernel cannot keep them, as --degrade",
        Kind::Words(
            || Promise::ALL.iter().map(|promise| promise.word()).collect(),
            |spec, word| spec.degraded.extend(word.parse::<Promise>()),
        ),
    ),
    key("profile", "Profiles by name, chosen with --profile", Kind::Profiles),
];

/// The keys of `[limits]`.
const LIMITS: &[Key] = &[
    key(
        "memory",
        "Memory of all its processes together, as --memory",
        Kind::Size(|spec, size| {
            spec.limits.push(Limit::Memory(size));
        }),
    ),
    key(
        "cpus",
        "Processors it runs on, as --cpus",
        Kind::Count(u32::MAX as u64, |spec, count| {
            spec.limits.push(Limit::Processors(u32::try_from(count).unwrap_or(u32::MAX)));
        }),
    ),
    key(
        "processes",
        "Processes and threads at once, as --processes",
        Kind::Count(u64::MAX, |spec, count| {
            spec.limits.push(Limit::Processes(count));
        }),
    ),
    key(
        "open-files",
        "Open files of each process, as --open-files",
        Kind::Count(u64::MAX, |spec, count| {
            spec.limits.push(Limit::OpenFiles(count));
        }),
    ),
    key(
        "timeout",
        "End the whole tree after this time, as --timeout",
        Kind::Duration(Least::Some, |spec, time| {
            spec.timeout = Some(time);
        }),
    ),
    key(
        "grace",
        "First ask it to end, and end it this much later, as --grace",
        Kind::Duration(Least::None, |spec, time| {
            spec.grace = time;
        }),
    ),
    key(
        "output-limit",
        "End the whole tree when it has written this much, as --output-limit",
        Kind::Size(|spec, size| spec.output_limit = Some(size)),
    ),
];

/// The keys of `[root]`.
const ROOT: &[Key] = &[
    key(
        "scratch",
        "Folders to write whose originals stay: what is changed is gone at the end or kept, as --scratch and --keep",
        Kind::Scratch,
    ),
    key("tmpfs", "Empty folders in memory, to write, as --tmpfs", Kind::Memory),
    key("tmp", "Room in /tmp, as --tmp", Kind::Size(|spec, size| inside(spec, |root| root.tmp_size(size)))),
    key(
        "file",
        "Files and what they hold, as --file",
        Kind::Placed(|root, at, text| root.file(at, text.into_vec())),
    ),
    key(
        "symlink",
        "Symbolic links and what they say, as --symlink",
        Kind::Placed(|root, at, target| root.symlink(at, PathBuf::from(target))),
    ),
    key("dir", "Empty folders, to read, as --dir", Kind::Places(|root, at| root.directory(at))),
    key(
        "hostname",
        "The machine's name, as --hostname",
        Kind::Text(|spec, name| inside(spec, |root| root.host_name(name))),
    ),
    key(
        "uid",
        "The user's number as seen inside, as --uid",
        Kind::Count(u32::MAX as u64, |spec, number| {
            inside(spec, |root| root.uid(u32::try_from(number).unwrap_or(u32::MAX)));
        }),
    ),
    key(
        "gid",
        "The group's number as seen inside, as --gid",
        Kind::Count(u32::MAX as u64, |spec, number| {
            inside(spec, |root| root.gid(u32::try_from(number).unwrap_or(u32::MAX)));
        }),
    ),
];

/// Changes what lies in the private root.
pub(crate) fn inside(spec: &mut Spec, change: impl FnOnce(Root) -> Root) {
    spec.inside = change(std::mem::take(&mut spec.inside));
}

/// The names of all keys, those of tables as `limits.memory`.
#[must_use]
pub fn keys() -> Vec<String> {
    let mut names = Vec::new();
    for key in KEYS {
        names.push(key.name.to_owned());
        if let Kind::Table(keys) | Kind::Root(keys) = key.kind {
            names.extend(keys.iter().map(|inner| format!("{}.{}", key.name, inner.name)));
        }
    }
    names
}

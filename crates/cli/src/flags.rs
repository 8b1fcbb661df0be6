//! Every flag, once: its name, its value, what it says in help, and what it does. Help is written from this table and nothing is
//! accepted that is not in it. Those of the service's commands are in a table of their own.

mod bench;
mod factory;
pub(crate) mod service;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use beget::{Grant, Limit, Root};

use crate::options::Options;

/// The commands that say what a program holds.
const BIRTH: &[&str] = &["run", "show", "check", "spawn", "factory-create", "factory-load"];
/// The same, and what a requestor may give a product of a factory, or hold it to besides.
const PRODUCT: &[&str] = &["run", "show", "check", "spawn", "factory-create", "factory-load", "factory-run"];
/// Those of which it is to be said: a factory's products are so in any case.
const DOMAIN: &[&str] = &["run", "show", "check", "spawn"];
/// Those that stay for a time of their own beside it.
const TIMED: &[&str] = &["run", "show", "check", "spawn", "factory-run"];
/// Those of them that stay beside it.
const BESIDE: &[&str] = &["run", "show", "check"];

/// The group a flag is listed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Specs,
    Grants,
    Root,
    Limits,
    How,
    Service,
    Factory,
    Measuring,
}

impl Group {
    pub(crate) const ALL: [Group; 8] = [
        Group::Specs,
        Group::Factory,
        Group::Grants,
        Group::Root,
        Group::Limits,
        Group::How,
        Group::Service,
        Group::Measuring,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Specs => "SPECS: what flags say, from a file; flags add to it",
            Group::Grants => "GRANTS: what the program holds; nothing else is there",
            Group::Root => "ROOT: a tree of files of its own, where what is not granted does not exist",
            Group::Limits => "LIMITS",
            Group::How => "HOW",
            Group::Service => "SERVICE",
            Group::Factory => "FACTORY: how its products are made",
            Group::Measuring => "MEASURING",
        }
    }
}

/// What a flag does with its value, empty for a flag without one.
type Apply = fn(&mut Options, OsString) -> Result<(), String>;

/// A flag.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// The value's name; empty for a flag without one.
    pub(crate) value: &'static str,
    pub(crate) group: Group,
    pub(crate) help: &'static str,
    pub(crate) apply: Apply,
    /// The commands that take it.
    pub(crate) of: &'static [&'static str],
}

impl Flag {
    const fn of(self, of: &'static [&'static str]) -> Flag {
        Flag { of, ..self }
    }
}

/// All of them, of every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().chain(service::FLAGS).chain(factory::FLAGS).chain(bench::FLAGS)
}

/// Those that a command takes, in the order that help has.
pub(crate) fn of(command: &str) -> impl Iterator<Item = &'static Flag> {
    all().filter(move |flag| flag.of.contains(&command))
}

const fn flag(
    name: &'static str,
    value: &'static str,
    group: Group,
    help: &'static str,
    apply: Apply,
) -> Flag {
    Flag { name, value, group, help, apply, of: BIRTH }
}

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "not UTF-8".to_owned())
}

fn number<T: std::str::FromStr>(value: &OsStr) -> Result<T, String> {
    text(value)?.parse().map_err(|_| format!("{} is no whole number, or out of range", value.display()))
}

fn some(value: OsString, what: &str) -> Result<OsString, String> {
    if value.is_empty() { Err(format!("wants {what}")) } else { Ok(value) }
}

fn grant(options: &mut Options, grant: Grant) -> Result<(), String> {
    options.spec.grants.push(grant);
    Ok(())
}

/// What a program holds, and how it is run, in the order that help has.
const FLAGS: &[Flag] = &[
    flag(
        "spec",
        "FILE",
        Group::Specs,
        "begin with what this TOML file says; relative paths in it start at its folder",
        |options, value| {
            options.from.file = Some(PathBuf::from(some(value, "a file")?));
            Ok(())
        },
    ),
    flag(
        "profile",
        "PROFILE",
        Group::Specs,
        "the profile of that name in the file; without --spec one that is shipped, see\n`beget profiles`",
        |options, value| {
            options.from.profile = Some(text(&some(value, "a profile's name")?)?.to_owned());
            Ok(())
        },
    ),
    flag(
        "set",
        "NAME=VALUE",
        Group::Specs,
        "the value of ${NAME} in the file; one that is . or .. or begins with ./ or ../ is a\npath from here and made absolute",
        set,
    ),
    flag(
        "read",
        "PATH[:DST]",
        Group::Grants,
        "read PATH and all below it; links are followed now, and what was granted is what\n`show` prints. A file is granted itself, not its name: an atomic save\nreplaces it, so grant the folder. With --root it can lie at another place, DST",
        |options, value| file(options, value, Grant::Read),
    )
    .of(PRODUCT),
    flag(
        "write",
        "PATH[:DST]",
        Group::Grants,
        "read, write, create, remove, rename and truncate there; no devices. Root without\ncapabilities writes only what the file modes give it",
        |options, value| file(options, value, Grant::Write),
    )
    .of(PRODUCT),
    flag("exec", "PATH[:DST]", Group::Grants, "read and execute", |options, value| {
        file(options, value, Grant::Execute)
    })
    .of(PRODUCT),
    flag(
        "base",
        "",
        Group::Grants,
        "the system's own program files: /usr, the public files of /etc, /dev/null and its like",
        |options, _| grant(options, Grant::Base),
    )
    .of(PRODUCT),
    flag(
        "fd",
        "NAME=N|NAME=PATH[:rw]",
        Group::Grants,
        "an open descriptor of the caller, or PATH opened for reading (:rw to write too), a folder\nwith all below it, in the next free slot from 3; names by the LISTEN_FDS and LISTEN_FDNAMES\nconvention",
        fd,
    )
    .of(PRODUCT),
    flag(
        "env",
        "NAME[=VALUE]",
        Group::Grants,
        "a variable; no other is passed. PATH is /usr/local/bin:/usr/bin:/bin unless given",
        env,
    )
    .of(PRODUCT),
    flag("tcp-connect", "PORT", Group::Grants, "connect to this TCP port, of any host", |options, value| {
        grant(options, Grant::TcpConnect(number(&value)?))
    })
    .of(PRODUCT),
    flag("tcp-bind", "PORT", Group::Grants, "bind this TCP port and listen", |options, value| {
        grant(options, Grant::TcpBind(number(&value)?))
    })
    .of(PRODUCT),
    flag(
        "inet-dns",
        "",
        Group::Grants,
        "ask name servers: UDP, to any place, and TCP port 53",
        |options, _| grant(options, Grant::InetDns),
    )
    .of(PRODUCT),
    flag("net", "", Group::Grants, "the whole network, but no Unix sockets", |options, _| {
        grant(options, Grant::Net)
    })
    .of(PRODUCT),
    flag(
        "unix",
        "PATH",
        Group::Grants,
        "connect to the Unix socket at PATH; needs --root, where of others only those exist that\nlie in granted folders",
        |options, value| file(options, value, Grant::Unix),
    ),
    flag(
        "loopback",
        "",
        Group::Grants,
        "sockets of a loopback interface of its own, which reach nothing outside; needs --root",
        |options, _| grant(options, Grant::Loopback),
    ),
    flag(
        "spawn",
        "",
        Group::Grants,
        "create processes; they hold no more than the program does",
        |options, _| grant(options, Grant::Spawn),
    ),
    flag(
        "root",
        "",
        Group::Root,
        "a private root: what is not granted does not exist. /proc, /dev and /tmp are its own,\nand so are the numbers of processes and users, IPC, and the network unless granted",
        |options, _| {
            options.spec.root = true;
            Ok(())
        },
    ),
    flag(
        "scratch",
        "PATH[:DST]",
        Group::Root,
        "the folder PATH to write, with what is changed in memory and gone at the end: the\noriginal stays as it is",
        |options, value| {
            let (path, at) = placed(value);
            inside(options, |root| {
                let root = root.scratch(path);
                if let Some(at) = at { root.scratch_at(at) } else { root }
            })
        },
    ),
    flag(
        "keep",
        "DIR",
        Group::Root,
        "what the --scratch before it changes is kept in DIR/changes, and found there by the\nnext that names it",
        |options, value| {
            if !options.spec.inside.ends_in_scratch() {
                return Err("comes right after the --scratch whose changes it keeps".into());
            }
            inside(options, |root| root.keep(value))
        },
    ),
    flag(
        "tmpfs",
        "DST[=SIZE]",
        Group::Root,
        "an empty folder in memory at DST, to write; 512M unless a SIZE is given",
        |options, value| {
            let (at, size) = match assignment(&value) {
                Some((at, size)) => (at, beget_spec::size(text(&size)?)?),
                None => (PathBuf::from(value), beget::ROOM),
            };
            inside(options, |root| root.tmpfs(at, size))
        },
    ),
    flag("tmp", "SIZE", Group::Root, "room in /tmp, instead of 512M", |options, value| {
        let size = beget_spec::size(text(&value)?)?;
        inside(options, |root| root.tmp_size(size))
    }),
    flag("file", "DST=TEXT", Group::Root, "a file at DST that holds TEXT, to read", |options, value| {
        let (at, text) = assignment(&value).ok_or("wants DST=TEXT")?;
        inside(options, |root| root.file(at, text.into_vec()))
    }),
    flag(
        "symlink",
        "DST=TARGET",
        Group::Root,
        "a symbolic link at DST that says TARGET",
        |options, value| {
            let (at, target) = assignment(&value).ok_or("wants DST=TARGET")?;
            inside(options, |root| root.symlink(at, PathBuf::from(target)))
        },
    ),
    flag("dir", "DST", Group::Root, "an empty folder at DST, to read", |options, value| {
        inside(options, |root| root.directory(PathBuf::from(value)))
    }),
    flag("hostname", "NAME", Group::Root, "the machine's name, instead of beget", |options, value| {
        let name = text(&value)?.to_owned();
        inside(options, |root| root.host_name(name))
    }),
    flag("uid", "N", Group::Root, "the user's number as seen inside, instead of yours", |options, value| {
        let user = number(&value)?;
        inside(options, |root| root.uid(user))
    }),
    flag("gid", "N", Group::Root, "the group's number as seen inside, instead of yours", |options, value| {
        let group = number(&value)?;
        inside(options, |root| root.gid(group))
    }),
    flag(
        "memory",
        "SIZE",
        Group::Limits,
        "memory of all its processes together, such as 512M, without swap; when it is used up the\nprogram is ended, or with cgroup version 1 one of its processes, and `run` says so.\nNeeds a cgroup that you may make, as in a systemd user session; where there is none,\n--degrade memory limits each process for itself",
        |options, value| {
            options.spec.limits.push(Limit::Memory(beget_spec::size(text(&value)?)?));
            Ok(())
        },
    )
    .of(PRODUCT),
    flag("cpus", "N", Group::Limits, "processors it runs on", |options, value| {
        options.spec.limits.push(Limit::Processors(number(&value)?));
        Ok(())
    })
    .of(PRODUCT),
    flag(
        "processes",
        "N",
        Group::Limits,
        "processes and threads at once, its own among them. Needs a cgroup too; where there is\nnone, --degrade processes counts all processes of this user",
        |options, value| {
            options.spec.limits.push(Limit::Processes(number(&value)?));
            Ok(())
        },
    )
    .of(PRODUCT),
    flag(
        "open-files",
        "N",
        Group::Limits,
        "open files of each process, instead of 1024",
        |options, value| {
            options.spec.limits.push(Limit::OpenFiles(number(&value)?));
            Ok(())
        },
    )
    .of(PRODUCT),
    flag(
        "timeout",
        "DURATION",
        Group::Limits,
        "end the whole tree after this time, such as 90s, 5m or 1.5h",
        |options, value| {
            let time = beget_spec::duration(text(&value)?)?;
            if time.is_zero() {
                return Err("wants more than no time".into());
            }
            options.spec.timeout = Some(time);
            Ok(())
        },
    )
    .of(TIMED),
    flag(
        "grace",
        "DURATION",
        Group::Limits,
        "with --timeout: first ask the program's process group to end (SIGTERM), and end the\ntree this much later; without it that is done at once",
        |options, value| {
            options.spec.grace = beget_spec::duration(text(&value)?)?;
            Ok(())
        },
    )
    .of(TIMED),
    flag(
        "output-limit",
        "SIZE",
        Group::Limits,
        "end the whole tree when it has written this much to standard output and error, or to\nthe terminal of --pty; all up to that is delivered",
        |options, value| {
            options.spec.output_limit = Some(beget_spec::size(text(&value)?)?);
            Ok(())
        },
    )
    .of(BESIDE),
    flag(
        "cwd",
        "DIR",
        Group::How,
        "start there instead of in /, where relative arguments are looked for; being there\ngrants nothing",
        |options, value| {
            options.spec.directory = Some(PathBuf::from(value));
            Ok(())
        },
    )
    .of(PRODUCT),
    flag(
        "only",
        "",
        Group::How,
        "execute no other program; a loader or an interpreter can still map code",
        |options, _| {
            options.spec.only = true;
            Ok(())
        },
    ),
    flag(
        "discreet",
        "",
        Group::How,
        "mark no file, its own included: no lock, lease, mode, owner or time of one is changed,\nwhich whoever may only read it could do for others to see. Products of a factory never do",
        |options, _| {
            options.spec.discreet = true;
            Ok(())
        },
    )
    .of(DOMAIN),
    flag(
        "loader",
        "kernel|direct",
        Group::How,
        "who puts the program into memory: the kernel, by an exec, or Beget, without one; with\n--only it can then execute nothing at all. /proc/PID/exe is not the program then",
        |options, value| {
            options.spec.loader = beget_spec::loader(text(&value)?)?;
            Ok(())
        },
    )
    .of(BESIDE),
    flag(
        "suspend",
        "",
        Group::How,
        "stop before the program's first instruction, tell its process number and wait, for a\ndebugger to attach (gdb -p) or somebody to continue it (kill -CONT); it has SIGCONT\nblocked from then on",
        |options, _| {
            options.spec.suspend = true;
            Ok(())
        },
    )
    .of(BESIDE),
    flag(
        "pty",
        "",
        Group::How,
        "a terminal of its own for its three streams, in a session of its own; ours is passed\non key by key, and nothing of it can be read, set or typed from inside. Where standard\ninput is no terminal, its end is typed as ctrl-D. --env TERM tells programs its kind",
        |options, _| {
            options.spec.pty = true;
            Ok(())
        },
    )
    .of(BESIDE),
    flag(
        "log",
        "FILE",
        Group::How,
        "record the output in FILE, with times, as an asciicast (version 2, for `asciinema\nplay`); what is typed is not recorded. Without --pty the program writes to pipes",
        |options, value| {
            options.spec.log = Some(PathBuf::from(value));
            Ok(())
        },
    )
    .of(BESIDE),
    flag(
        "degrade",
        "PROMISE",
        Group::How,
        "go on where this kernel cannot keep the promise; `show` lists what is not enforced",
        |options, value| {
            options.spec.degraded.push(text(&value)?.parse()?);
            Ok(())
        },
    ),
    flag(
        "as-if",
        "landlock=N|none, cgroup=none",
        Group::How,
        "take the kernel's Landlock for ABI N at most, or for none, or the system for one\nwithout cgroups: to see what would hold there",
        as_if,
    ),
    flag(
        "json",
        "",
        Group::How,
        "print JSON; `run` does it at the end, with the result, on standard error",
        |options, _| {
            options.json = true;
            Ok(())
        },
    )
    .of(BESIDE),
];

fn set(options: &mut Options, value: OsString) -> Result<(), String> {
    let bytes = value.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').ok_or("wants NAME=VALUE")?;
    let name = text(OsStr::from_bytes(&bytes[..at]))?;
    options.from.variables.set(name, OsStr::from_bytes(&bytes[at + 1..]))
}

/// A file, or one at another place: `SRC:DST`, where DST begins with a slash.
fn file(options: &mut Options, value: OsString, make: fn(PathBuf) -> Grant) -> Result<(), String> {
    grant(
        options,
        match placed(value) {
            (path, None) => make(path),
            (path, Some(at)) => Grant::At(Box::new(make(path)), at),
        },
    )
}

fn placed(value: OsString) -> (PathBuf, Option<PathBuf>) {
    let bytes = value.as_bytes();
    match bytes.windows(2).rposition(|two| two == b":/") {
        Some(at) if at > 0 => {
            let part = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            (part(&bytes[..at]), Some(part(&bytes[at + 1..])))
        }
        _ => (PathBuf::from(value), None),
    }
}

/// `DST=VALUE`.
fn assignment(value: &OsStr) -> Option<(PathBuf, OsString)> {
    let bytes = value.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Some((part(&bytes[..at]).into(), part(&bytes[at + 1..])))
}

fn inside(options: &mut Options, change: impl FnOnce(Root) -> Root) -> Result<(), String> {
    options.spec.inside = change(std::mem::take(&mut options.spec.inside));
    Ok(())
}

fn env(options: &mut Options, value: OsString) -> Result<(), String> {
    let bytes = value.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        None => (
            bytes,
            std::env::var_os(OsStr::from_bytes(bytes)).ok_or("not set here, so there is nothing to pass")?,
        ),
    };
    options.spec.environment.push((OsStr::from_bytes(name).to_owned(), Some(value)));
    Ok(())
}

fn fd(options: &mut Options, value: OsString) -> Result<(), String> {
    options.spec.descriptors.push(service::descriptor(&value)?);
    Ok(())
}

fn as_if(options: &mut Options, value: OsString) -> Result<(), String> {
    let value = text(&value)?;
    if value == "cgroup=none" {
        options.support = options.support.without_cgroups();
        return Ok(());
    }
    let abi = value.strip_prefix("landlock=").ok_or("wants landlock=N, landlock=none or cgroup=none")?;
    let abi = if abi == "none" { None } else { Some(number(OsStr::new(abi))?) };
    options.support = options.support.with_landlock_at_most(abi);
    Ok(())
}

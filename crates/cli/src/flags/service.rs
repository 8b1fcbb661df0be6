//! The flags of the commands that speak to the service.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use beget_spec::{Descriptor, Source};

use super::{Apply, Flag, Group, number, some, text};
use crate::options::{Handed, Options, Rights, Socket};

const fn flag(
    of: &'static [&'static str],
    name: &'static str,
    value: &'static str,
    help: &'static str,
    apply: Apply,
) -> Flag {
    Flag { name, value, group: Group::Service, help, apply, of }
}

/// The commands that speak to a service that runs.
const CLIENTS: &[&str] = &["spawn", "ps", "wait", "kill", "send", "history", "top"];

fn file(value: OsString) -> Result<PathBuf, String> {
    some(value, "a file").map(PathBuf::from)
}

fn stream(options: &mut Options, at: usize, value: OsString) -> Result<(), String> {
    options.service.streams[at] = Some(file(value)?);
    Ok(())
}

fn capability(options: &mut Options, value: OsString) -> Result<(), String> {
    let wants = "wants SLOT=NAME or SLOT=NAME:RIGHT";
    let (slot, rest) = text(&value)?.split_once('=').ok_or(wants)?;
    let (domain, rights) = rest.split_once(':').unwrap_or((rest, "all"));
    if slot.is_empty() || domain.is_empty() {
        return Err(wants.into());
    }
    let of_factory = |words: &str| {
        let known =
            |word| beget_factory::remote::right::named(word).filter(|_| word != "all" && word != "build");
        words.split(',').try_fold(0, |all, word| Some(all | known(word)?))
    };
    let rights = match of_factory(rights) {
        Some(rights) => Rights::Factory(rights),
        None => Rights::Domain(beget_service::rights(rights)?),
    };
    options.service.capabilities.push(Handed { slot: slot.into(), domain: domain.into(), rights });
    Ok(())
}

/// All of them, in the order that help has.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        &["spawn"],
        "stdio",
        "",
        "our own standard input, output and error; without it they are /dev/null",
        |options, _| {
            options.service.own_streams = true;
            Ok(())
        },
    ),
    flag(&["spawn"], "stdin", "FILE", "read standard input from FILE", |options, value| {
        stream(options, 0, value)
    }),
    flag(
        &["spawn"],
        "stdout",
        "FILE",
        "append standard output to FILE, which is made if it is not there",
        |options, value| stream(options, 1, value),
    ),
    flag(&["spawn"], "stderr", "FILE", "append standard error to FILE, likewise", |options, value| {
        stream(options, 2, value)
    }),
    flag(
        &["spawn", "send"],
        "capability",
        "SLOT=NAME[:RIGHT]",
        "in the slot SLOT a capability to the domain NAME, with some of its rights: look, wait,\nsignal, send, several with commas between, or all of them; or to the factory NAME:\nrequest, verify, manage",
        capability,
    ),
    flag(
        &["spawn"],
        "spawner",
        "",
        "in the slot spawn the capability to create domains, which hold no more than this one",
        |options, _| {
            options.service.spawner = true;
            Ok(())
        },
    ),
    flag(
        &["spawn"],
        "tied",
        "",
        "stay until it has ended and end with its exit code; it is ended when we are, however\nthat comes",
        |options, _| {
            options.service.tied = true;
            Ok(())
        },
    ),
    flag(
        &["wait"],
        "timeout",
        "DURATION",
        "wait no longer; the exit code is 124 when one has not ended by then",
        |options, value| {
            options.service.timeout = Some(beget_spec::duration(text(&value)?)?);
            Ok(())
        },
    ),
    flag(&["wait"], "no-hang", "", "do not wait: say how it ended if it has", |options, _| {
        options.service.no_hang = true;
        Ok(())
    }),
    flag(
        &["kill"],
        "signal",
        "SIGNAL",
        "send its first process this signal, by name or number, and do no more",
        |options, value| {
            options.service.signal = Some(signal(text(&value)?)?);
            Ok(())
        },
    ),
    flag(
        &["kill"],
        "grace",
        "DURATION",
        "ask it to end (SIGTERM), and wait this long before it is ended",
        |options, value| {
            options.service.grace = Some(beget_spec::duration(text(&value)?)?);
            Ok(())
        },
    ),
    flag(
        &["send"],
        "fd",
        "NAME=N|NAME=PATH[:rw]",
        "an open descriptor of ours, or PATH opened for reading (:rw to write too), by the name\nNAME; several are sent in this order",
        |options, value| {
            options.service.sent.push(descriptor(&value)?);
            Ok(())
        },
    ),
    flag(&["history"], "limit", "N", "no more than the last N, instead of all", |options, value| {
        options.service.limit = Some(number(&value)?);
        Ok(())
    }),
    flag(
        &["serve"],
        "manifest",
        "FILE",
        "start the domains that this TOML file says, in order of what they need of each other,\nand again when they end, as it says",
        |options, value| {
            options.service.manifest = Some(file(value)?);
            Ok(())
        },
    ),
    flag(
        &["serve"],
        "on-monitor-death",
        "die|live",
        "what becomes of the domains when the monitor is killed: they end with it, as they do\nunless told otherwise, or live on until another one has taken them over",
        |options, value| {
            options.service.lives_on = match text(&value)? {
                "die" => false,
                "live" => true,
                _ => return Err("wants die or live".into()),
            };
            Ok(())
        },
    ),
    flag(
        &["serve"],
        "nurseries",
        "N",
        "processes in which domains are born, for each user; one unless told otherwise. More let\nbirths use more processors",
        |options, value| {
            let count = number(&value)?;
            if !(1..=256).contains(&count) {
                return Err("wants a number from 1 to 256".into());
            }
            options.service.nurseries = Some(count);
            Ok(())
        },
    ),
    flag(
        &["serve"],
        "other-users",
        "",
        "serve other users too, each with its own rights; takes root",
        |options, _| {
            options.service.other_users = true;
            Ok(())
        },
    ),
    flag(
        &["serve"],
        "history",
        "N",
        "remember the last N domains that have ended, instead of 1000",
        |options, value| {
            options.service.history = Some(number(&value)?);
            Ok(())
        },
    ),
    flag(&["serve"], "stop", "", "end the service that runs, and all its domains", |options, _| {
        options.service.stop = true;
        Ok(())
    }),
    flag(&["serve"], "status", "", "say what the service that runs says of itself", |options, _| {
        options.service.status = true;
        Ok(())
    }),
    flag(
        &["serve"],
        "socket",
        "PATH",
        "listen at PATH, instead of what BEGET_SOCKET says, or where this user's service is\nlooked for",
        |options, value| {
            options.service.socket = Some(Socket::Path(file(value)?));
            Ok(())
        },
    ),
    flag(
        CLIENTS,
        "socket",
        "PATH|fd:SLOT",
        "the service that listens at PATH; or what we were started with in the slot of that name:\na session, or a capability to one domain, which is then meant without a NAME",
        |options, value| {
            options.service.socket = Some(Socket::of(value)?);
            Ok(())
        },
    ),
    flag(
        &["show"],
        "socket",
        "PATH|fd:SLOT",
        "show a domain of the service that listens at PATH; or the one that a capability in the\nslot of that name is a right to",
        |options, value| {
            options.service.socket = Some(Socket::of(value)?);
            Ok(())
        },
    ),
    flag(
        &["serve", "spawn", "ps", "wait", "kill", "send", "history"],
        "json",
        "",
        "print JSON",
        |options, _| {
            options.json = true;
            Ok(())
        },
    ),
];

/// `NAME=N` or `NAME=PATH[:rw]`.
pub(super) fn descriptor(value: &OsStr) -> Result<Descriptor, String> {
    let bytes = value.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').ok_or("wants NAME=N or NAME=PATH")?;
    let (name, what) = (text(OsStr::from_bytes(&bytes[..at]))?.to_owned(), &bytes[at + 1..]);
    let digits = what.strip_prefix(b"-").unwrap_or(what);
    let source = if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        Source::Number(text(OsStr::from_bytes(what))?.parse().map_err(|_| "bad file descriptor")?)
    } else {
        let (path, writing) = match what.strip_suffix(b":rw") {
            Some(path) => (path, true),
            None => (what, false),
        };
        Source::Path { path: PathBuf::from(OsString::from_vec(path.to_vec())), writing }
    };
    Ok(Descriptor { name, source })
}

/// The signals that have a name everywhere, by `man 7 signal`.
pub(crate) const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// A signal by its number or its name, with or without SIG.
fn signal(word: &str) -> Result<i32, String> {
    let upper = word.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = named.or_else(|| word.parse().ok().filter(|number| (1..=64).contains(number)));
    number.ok_or_else(|| format!("{word:?} is no signal; write TERM, SIGTERM or 15"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for word in ["TERM", "sigterm", "15"] {
            assert_eq!(signal(word), Ok(15), "{word}");
        }
        for word in ["", "SIG", "0", "65", "-9", "TERMINATE"] {
            assert!(signal(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_command_has_one_flag_of_a_name() {
        for entry in crate::commands::COMMANDS {
            let mut names: Vec<&str> = super::super::of(entry.name).map(|flag| flag.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", entry.name);
        }
    }
}

//! From arguments to options, by the table of flags.

use std::ffi::OsString;

use beget_spec::distance;
use lexopt::Arg;

use crate::commands::{Entry, Takes};
use crate::flags;
use crate::options::{Options, Socket};

/// What the arguments ask for.
pub(crate) enum Parsed {
    Help,
    Options(Box<Options>),
}

/// What is wrong with them, and, when it is in a file, the line that it is in.
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) excerpt: String,
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong { message, excerpt: String::new() }
    }
}

impl From<beget_spec::Error> for Wrong {
    fn from(error: beget_spec::Error) -> Wrong {
        Wrong { message: error.to_string(), excerpt: error.excerpt().to_owned() }
    }
}

/// Reads the arguments after the command's name. With a spec, they are read a second time on top of what it says.
pub(crate) fn parse(command: &Entry, arguments: &[OsString]) -> Result<Parsed, Wrong> {
    let mut options = Options::new();
    if !take(command, &mut options, arguments)? {
        return Ok(Parsed::Help);
    }
    if options.from.is_nothing() {
        if let Some(name) = options.from.variables.unused().next() {
            return Err(
                format!("flag --set {name}: wants --spec or --profile, in which ${{{name}}} stands").into()
            );
        }
    } else {
        let spec = options.from.read()?;
        if let Some(name) = options.from.variables.unused().next() {
            return Err(format!("flag --set {name}: there is no ${{{name}}} in what was read").into());
        }
        options = Options { spec, ..Options::new() };
        take(command, &mut options, arguments)?;
    }
    if command.takes == Takes::Program && !options.spec.grace.is_zero() && options.spec.timeout.is_none() {
        return Err("limit --grace: wants --timeout too".to_owned().into());
    }
    if options.bench.write && !(options.bench.only.is_empty() && options.bench.slow.is_empty()) {
        return Err("flag --write: wants a whole run, without --only and --slow".to_owned().into());
    }
    let usage = || format!("usage: beget {} {}", command.typed(), command.usage);
    if options.spec.program.is_none()
        && ["run", "spawn", "factory-create", "factory-load"].contains(&command.name)
    {
        return Err(format!("program: none was given; {}", usage()).into());
    }
    let held = options.service.socket.as_ref().is_some_and(Socket::is_held);
    match command.takes {
        Takes::Domain | Takes::Domains if held && !options.service.names.is_empty() => {
            let why = "a capability is a right to one domain, which has no need of a name";
            return Err(format!("argument {}: {why}", options.service.names[0].display()).into());
        }
        Takes::Domain | Takes::Domains | Takes::NameAndArguments
            if !held && options.service.names.is_empty() =>
        {
            return Err(format!("{}: no name was given; {}", command.of_what(), usage()).into());
        }
        _ => {}
    }
    Ok(Parsed::Options(Box::new(options)))
}

/// Applies the flags. The first argument that is none is the program, and what follows belongs to it; or it is the name of a domain, by
/// what the command takes. False when help was asked for.
fn take(command: &Entry, options: &mut Options, arguments: &[OsString]) -> Result<bool, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let name = match parser.next().map_err(no_value)? {
            None => break,
            Some(Arg::Short('h') | Arg::Long("help")) => return Ok(false),
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(letter)) => {
                return Err(format!("flag -{letter}: no such flag; see beget help"));
            }
            Some(Arg::Value(word)) => {
                let left = parser.raw_args().map_err(|error| error.to_string())?.as_slice().len();
                let before = arguments.len().checked_sub(left + 2).and_then(|at| arguments.get(at));
                let apart = before.is_some_and(|before| before == "--");
                let named = !options.service.names.is_empty();
                match command.takes {
                    Takes::Domains => options.service.names.push(word),
                    Takes::Domain if !named => options.service.names.push(word),
                    Takes::NameAndProgram if !named && !apart => options.service.names.push(word),
                    Takes::NameAndArguments if !named && !apart && !held(options) => {
                        options.service.names.push(word);
                    }
                    Takes::NameAndArguments => {
                        options.spec.arguments.push(word);
                        let rest = parser.raw_args().map_err(|error| error.to_string())?;
                        options.spec.arguments.extend(rest);
                        break;
                    }
                    Takes::Program | Takes::NameAndProgram => {
                        options.spec.program = Some(word);
                        options.apart = apart;
                        options.spec.arguments =
                            parser.raw_args().map_err(|error| error.to_string())?.collect();
                        break;
                    }
                    _ => return Err(format!("argument {}: one too many", word.display())),
                }
                continue;
            }
        };
        let Some(flag) = flags::of(command.name).find(|flag| flag.name == name) else {
            return Err(format!("flag --{name}: no such flag{}", nearest(command, &name)));
        };
        let value = if flag.value.is_empty() {
            OsString::new()
        } else {
            parser.value().map_err(|_| format!("flag --{name}: wants {}", flag.value))?
        };
        let shown = value.clone();
        (flag.apply)(options, value)
            .map_err(|why| format!("flag {}: {why}", format!("--{name} {}", shown.display()).trim_end()))?;
        options.note(flag, shown);
    }
    Ok(true)
}

/// A capability was named, which needs no name beside it.
fn held(options: &Options) -> bool {
    options.service.socket.as_ref().is_some_and(Socket::is_held)
}

/// What the splitter says of a flag that was given a value and takes none.
fn no_value(error: lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => format!("flag {option}: takes no value"),
        other => other.to_string(),
    }
}

/// `; did you mean --X?` for the flag that differs least, if it differs little.
fn nearest(command: &Entry, name: &str) -> String {
    let best = flags::of(command.name).map(|flag| (distance(name, flag.name), flag.name)).min();
    let other = flags::all().find(|flag| flag.name == name);
    match (best, other) {
        (_, Some(flag)) => {
            let other = flag.of[0].replacen("factory-", "factory ", 1);
            format!(" of {}; {other} has it", command.typed())
        }
        (Some((distance, flag)), _) if distance <= 2 => format!("; did you mean --{flag}?"),
        _ => "; see beget help".to_owned(),
    }
}

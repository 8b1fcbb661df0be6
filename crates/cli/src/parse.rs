//! From arguments to options, by the table of flags.

use std::ffi::OsString;

use beget_spec::distance;
use lexopt::Arg;

use crate::flags::{Command, FLAGS};
use crate::options::Options;

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
pub(crate) fn parse(command: Command, arguments: &[OsString]) -> Result<Parsed, Wrong> {
    let mut options = Options::new();
    if !take(&mut options, arguments)? {
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
        take(&mut options, arguments)?;
    }
    if !options.spec.grace.is_zero() && options.spec.timeout.is_none() {
        return Err("limit --grace: wants --timeout too".to_owned().into());
    }
    if options.spec.program.is_none() && command == Command::Run {
        let usage = "usage: beget run [FLAGS] -- PROGRAM [ARG...]";
        return Err(format!("program: no name was given; {usage}").into());
    }
    Ok(Parsed::Options(Box::new(options)))
}

/// Applies the flags. The first argument that is none is the program; what follows belongs to it. False when help was asked for.
fn take(options: &mut Options, arguments: &[OsString]) -> Result<bool, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let name = match parser.next().map_err(no_value)? {
            None => break,
            Some(Arg::Short('h') | Arg::Long("help")) => return Ok(false),
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(letter)) => {
                return Err(format!("flag -{letter}: no such flag; see beget help"));
            }
            Some(Arg::Value(program)) => {
                options.spec.program = Some(program);
                options.spec.arguments = parser.raw_args().map_err(|error| error.to_string())?.collect();
                break;
            }
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            return Err(format!("flag --{name}: no such flag{}", nearest(&name)));
        };
        let value = if flag.value.is_empty() {
            OsString::new()
        } else {
            parser.value().map_err(|_| format!("flag --{name}: wants {}", flag.value))?
        };
        let shown = value.clone();
        (flag.apply)(options, value)
            .map_err(|why| format!("flag {}: {why}", format!("--{name} {}", shown.display()).trim_end()))?;
    }
    Ok(true)
}

/// What the splitter says of a flag that was given a value and takes none.
fn no_value(error: lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => format!("flag {option}: takes no value"),
        other => other.to_string(),
    }
}

/// `; did you mean --X?` for the flag that differs least, if it differs little.
fn nearest(name: &str) -> String {
    let best = FLAGS.iter().map(|flag| (distance(name, flag.name), flag.name)).min();
    match best {
        Some((distance, flag)) if distance <= 2 => format!("; did you mean --{flag}?"),
        _ => "; see beget help".to_owned(),
    }
}

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

/// Reads the arguments after the command's name. The first that is no flag is the program; what follows belongs to it.
pub(crate) fn parse(command: Command, arguments: &[OsString]) -> Result<Parsed, String> {
    let mut options = Options::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let name = match parser.next().map_err(no_value)? {
            None => break,
            Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Parsed::Help),
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
        (flag.apply)(&mut options, value)
            .map_err(|why| format!("flag {}: {why}", format!("--{name} {}", shown.display()).trim_end()))?;
    }
    if options.spec.program.is_none() && command == Command::Run {
        return Err("program: no name was given; usage: beget run [FLAGS] -- PROGRAM [ARG...]".into());
    }
    Ok(Parsed::Options(Box::new(options)))
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

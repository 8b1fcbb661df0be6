//! The command line.

use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// A short run.
    pub quick: bool,
    /// Where the whole report goes as JSON.
    pub json: Option<PathBuf>,
    /// Where it goes as Markdown.
    pub write: Option<PathBuf>,
    /// Everything on this one processor.
    pub pin: Option<usize>,
    /// Only subjects whose name begins so.
    pub only: Option<String>,
}

/// The help text.
pub const HELP: &str = "\
usage: beget-bench [--quick] [--pin N] [--only SUBJECT] [--json FILE] [--write FILE]

  --quick         about two minutes, instead of 8
  --pin N         everything on processor N: steadier on a machine with other work, unfair to peers that use two processes
  --only SUBJECT  floors, spawn, async (built with the feature `async`), confined, embryos, batches, commands, roots, filter, service or factories
  --json FILE     everything, for other programs
  --write FILE    everything, as Markdown
";

impl Options {
    /// Reads the arguments; `None` asks for help.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Options>, String> {
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("flag {argument}: wants a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--write" => options.write = Some(value()?.into()),
                "--pin" => options.pin = Some(value()?.parse().map_err(|_| "flag --pin: wants a number")?),
                "--only" => options.only = Some(value()?),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("flag {other}: no such flag\n{HELP}")),
            }
        }
        Ok(Some(options))
    }

    /// Whether a subject is to be measured.
    pub fn wants(&self, subject: &str) -> bool {
        self.only.as_deref().is_none_or(|only| subject.starts_with(only))
    }

    /// The time for something that gets `seconds` of a long run.
    pub fn time(&self, seconds: f64) -> f64 {
        const SHORT: f64 = 0.15;
        if self.quick { seconds * SHORT } else { seconds }
    }
}

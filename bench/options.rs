//! What a run is asked for. The words for it are in the command line's own table of flags.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// What was asked for; [`crate::bench`] and [`crate::compare`] say which of it they look at.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A short run: fewer rounds, wider ranges.
    pub quick: bool,
    /// Names are listed, and nothing is measured.
    pub list: bool,
    /// Only what has one of these names; all when there is none.
    pub only: Vec<String>,
    /// Where everything goes as JSON.
    pub json: Option<Output>,
    /// Where everything goes as one page for a browser.
    pub html: Option<PathBuf>,
    /// Results of an earlier run, which this one is told beside.
    pub against: Option<PathBuf>,
    /// The results and the figures in documents of this repository are written.
    pub write: bool,
    /// Ways that are slowed down on purpose, by name, each by so much.
    pub slow: Vec<(String, Duration)>,
    /// Everything on the processor of this number.
    pub pin: Option<usize>,
}

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard output, which has nothing else then.
    Standard,
    /// To a file, which is made or replaced.
    File(PathBuf),
}

impl Output {
    /// Finds out whether it can be written, and leaves it as it is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Output::File(path) = self else { return Ok(()) };
        let tried = match File::create_new(path) {
            Ok(_) => std::fs::remove_file(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).open(path).map(drop)
            }
            Err(error) => Err(error),
        };
        tried.map_err(|error| format!("{}: {}", path.display(), crate::words(&error)))
    }
}

impl Options {
    /// Finds out whether everything can be written that is asked for.
    pub(crate) fn check_outputs(&self) -> Result<(), String> {
        let page = self.html.clone().map(Output::File);
        self.json.iter().chain(&page).try_for_each(Output::check)
    }

    /// Whether this is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// The time for something that gets `seconds` of a long run.
    pub(crate) fn time(&self, seconds: f64) -> f64 {
        const SHORT: f64 = 0.15;
        if self.quick { seconds * SHORT } else { seconds }
    }
}

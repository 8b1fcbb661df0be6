//! Recordings in the asciicast format, version 2: a line of JSON that says what follows, then one for each piece of output, with its
//! time. What is typed is not recorded: passwords are.
//!
//! Safety idea: whatever the program writes, each line is JSON, and a line that cannot be written whole is taken back.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use beget::WindowSize;
use beget_spec::Spec;
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::{Value, json};

/// A recording.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
    started: Instant,
    /// Bytes of whole lines.
    length: u64,
    /// Of the two outputs, or the one of a terminal.
    decoders: [Decoder; 2],
    /// Why nothing is recorded any more.
    pub(super) failure: Option<String>,
}

impl Log {
    /// Makes the file, for its owner alone, or empties the one that is there.
    pub(super) fn open(path: &Path) -> Result<Log, String> {
        let failed = |errno: rustix::io::Errno| format!("log {}: {}", path.display(), words(errno.into()));
        // Neither a pipe with a name nor a terminal may make us wait or become ours, and a link that an earlier program left where it may
        // write must not choose what is emptied.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file: OwnedFd = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Err(rustix::io::Errno::LOOP) => return Err(format!("log {}: a symbolic link", path.display())),
            other => other.map_err(failed)?,
        };
        let status = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(format!("log {}: not a regular file", path.display()));
        }
        rustix::fs::ftruncate(&file, 0).map_err(failed)?;
        // The signal for a file that grows beyond a limit would end us; the error is told.
        const SIGXFSZ: i32 = 25;
        beget_sys::signal::ignore(SIGXFSZ).map_err(|errno| format!("signals: {errno}"))?;
        Ok(Log {
            file: file.into(),
            path: path.to_owned(),
            started: Instant::now(),
            length: 0,
            decoders: [Decoder::default(), Decoder::default()],
            failure: None,
        })
    }

    /// The first line. Times count from here.
    pub(super) fn begin(&mut self, spec: &Spec, size: WindowSize) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let words = spec.program.iter().chain(&spec.arguments);
        let command: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        let mut header = json!({
            "version": 2,
            "width": size.columns,
            "height": size.rows,
            "timestamp": now,
            "command": command.join(" "),
        });
        let variables = spec.environment.iter().filter(|(name, _)| name == "TERM" || name == "SHELL");
        let variables: serde_json::Map<String, Value> = variables
            .filter_map(|(name, value)| {
                let value = value.clone().or_else(|| std::env::var_os(name))?;
                Some((name.to_string_lossy().into_owned(), value.to_string_lossy().into()))
            })
            .collect();
        if !variables.is_empty() {
            header["env"] = variables.into();
        }
        self.started = Instant::now();
        self.write(&header);
    }

    /// What was written to one of the outputs. That of a pipe is told as a terminal would show it, with a carriage return at each line's
    /// end.
    pub(super) fn output(&mut self, number: usize, bytes: &[u8], piped: bool) {
        if self.failure.is_none() {
            let text = self.decoders[number].decode(bytes, piped);
            self.event("o", &text);
        }
    }

    /// The window has another size.
    pub(super) fn resize(&mut self, size: WindowSize) {
        self.event("r", &format!("{}x{}", size.columns, size.rows));
    }

    /// Nothing more is written: what looked like the beginning of a letter is none.
    pub(super) fn end(&mut self) {
        let rest: String = self.decoders.iter_mut().map(Decoder::end).collect();
        self.event("o", &rest);
    }

    fn event(&mut self, kind: &str, text: &str) {
        if !text.is_empty() {
            let time = seconds(self.started.elapsed());
            self.write(&json!([time, kind, text]));
        }
    }

    /// One write a line: if we are killed, the lines before are there.
    fn write(&mut self, line: &Value) {
        if self.failure.is_some() {
            return;
        }
        let line = format!("{line}\n");
        match self.file.write_all(line.as_bytes()) {
            Ok(()) => self.length += line.len() as u64,
            Err(error) => {
                let _ = self.file.set_len(self.length);
                let (path, why) = (self.path.display(), words(error));
                self.failure = Some(format!("log {path}: {why}; the recording ends there"));
            }
        }
    }
}

/// The words of an error, as everywhere.
fn words(error: std::io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), |number| beget_sys::Errno(number).to_string())
}

/// To the microsecond.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// A word as a shell would read it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Bytes to text, across the places where a read ended.
#[derive(Debug, Default)]
struct Decoder {
    /// The beginning of a letter.
    carried: Vec<u8>,
    /// The last was a carriage return.
    returned: bool,
}

impl Decoder {
    fn decode(&mut self, bytes: &[u8], returns: bool) -> String {
        let bytes = [&std::mem::take(&mut self.carried), bytes].concat();
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.push(chunk.valid(), returns, &mut text);
            let is_cut = |bytes| std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
            // The rest of a letter can only come where nothing came yet.
            if chunks.peek().is_none() && is_cut(chunk.invalid()) {
                self.carried = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                self.returned = false;
            }
        }
        text
    }

    fn push(&mut self, letters: &str, returns: bool, text: &mut String) {
        for letter in letters.chars() {
            if returns && letter == '\n' && !self.returned {
                text.push('\r');
            }
            text.push(letter);
            self.returned = letter == '\r';
        }
    }

    fn end(&mut self) -> String {
        let cut = !std::mem::take(&mut self.carried).is_empty();
        if cut { char::REPLACEMENT_CHARACTER.to_string() } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut at every place, it is the same text.
    #[test]
    fn text_does_not_depend_on_where_a_read_ended() {
        let bytes = b"caf\xc3\xa9 \xf0\x9f\x90\xa7\xff\xe2\x82\r\n\xf0\x9f \n\xe2\x82";
        let whole = "caf\u{e9} \u{1f427}\u{fffd}\u{fffd}\r\n\u{fffd} \r\n\u{fffd}";
        for cut in 0..=bytes.len() {
            for second in cut..=bytes.len() {
                let mut decoder = Decoder::default();
                let parts = [&bytes[..cut], &bytes[cut..second], &bytes[second..]];
                let mut text: String = parts.iter().map(|part| decoder.decode(part, true)).collect();
                text += &decoder.end();
                assert_eq!(text, whole, "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(quoted("/bin/echo"), "/bin/echo");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's 1"), "'it'\\''s 1'");
    }
}

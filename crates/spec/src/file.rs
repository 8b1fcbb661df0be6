//! A spec's file: its text, and where in it something is.
//!
//! Safety idea: what is read is bounded, and a pipe or a device in a file's place is refused rather than waited for.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::error::{Error, Result};

/// The largest file that is read, in bytes.
pub const LARGEST: usize = 4 << 20;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name in messages.
    pub(crate) name: String,
    /// What its relative paths start from; none for a shipped profile.
    pub(crate) folder: Option<PathBuf>,
    /// What it holds.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn read(path: &Path) -> Result<File> {
        let name = path.display().to_string();
        let failed = |words: &dyn std::fmt::Display| Error::new(format!("spec {name}"), words);
        let errno = |errno: rustix::io::Errno| failed(&beget_sys::Errno(errno.raw_os_error()));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(errno)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).map_err(errno)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(failed(&"is no regular file"));
        }
        let bytes = read_all(&file).map_err(errno)?;
        if bytes.len() > LARGEST {
            return Err(File::too_large(&name));
        }
        let folder = Some(path.parent().unwrap_or(Path::new("")).to_owned());
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            File { name: name.clone(), folder: None, text }.error(good..good + 1, "is not UTF-8")
        })?;
        Ok(File { name, folder, text })
    }

    pub(crate) fn too_large(name: &str) -> Error {
        Error::new(format!("spec {name}"), format!("is larger than {} MiB", LARGEST >> 20))
    }

    /// An error about this stretch of the text.
    pub(crate) fn error(&self, at: Range<usize>, words: impl std::fmt::Display) -> Error {
        let mut start = at.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let whole = self.text[line_start..].lines().next().unwrap_or("");
        let marked = self.text.get(start..at.end).and_then(|text| text.lines().next()).unwrap_or("");
        let part = format!("spec {}:{line}:{column}", self.name);
        Error::new(part, words).with_excerpt(excerpt(line, whole, column - 1, marked.chars().count()))
    }
}

/// The line, and a mark under what is meant. Of a long line only what lies around it is shown.
fn excerpt(number: usize, line: &str, column: usize, width: usize) -> String {
    const BEFORE: usize = 60;
    const SHOWN: usize = 120;
    let from = column.saturating_sub(BEFORE);
    let turns = |letter| matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |letter: char| {
        if letter.is_control() && letter != '\t' || turns(letter) { '\u{fffd}' } else { letter }
    };
    let shown: String = line.chars().skip(from).take(SHOWN).map(plain).collect();
    let space = |letter: char| if letter == '\t' { '\t' } else { ' ' };
    let indent: String = line.chars().skip(from).take(column - from).map(space).collect();
    let width = width.min(shown.chars().count().saturating_sub(column - from)).max(1);
    let gutter = " ".repeat(number.to_string().len());
    format!("  {number} | {shown}\n  {gutter} | {indent}{}\n", "^".repeat(width))
}

fn read_all(file: &OwnedFd) -> std::result::Result<Vec<u8>, rustix::io::Errno> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0u8; 1 << 16];
    // One byte more than is allowed tells that there is more.
    while bytes.len() <= LARGEST {
        match rustix::io::read(file, &mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(bytes)
}

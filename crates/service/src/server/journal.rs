//! The journal: a file to which everything that happens is appended before anybody is told of it.
//!
//! ```text
//! magic, version (8 bytes), then records: length, checksum of what follows (4 bytes each), the event
//! ```
//!
//! What the kernel has taken outlives this process, however that ends; it is not forced to a disk, for domains do not outlive the machine
//! either. A record that was half written when the service was killed is cut off, and what was to follow it was never told to anybody.
//!
//! Safety idea: a record is believed only when its checksum is right. The file is written anew from time to time, beside the old one, and takes
//! its place by a rename: at every moment one of the two is there whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::event::Event;

const MAGIC: &[u8; 8] = b"BGTJRNL\x01";
/// The file, and the one that takes its place.
const NAME: &str = "journal";
const NEW: &str = "journal.new";
/// The journal is written anew when it has grown by this much, and by twice what was worth keeping.
const GROWTH: u64 = 1 << 20;
/// Room that is kept free for what follows births: for each domain, and beside that.
const FOR_EACH: u64 = 1 << 10;
const MARGIN: u64 = 256 << 10;
/// A longer event is none: a request's body is shorter.
const LONGEST: usize = 32 << 20;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    file: File,
    length: u64,
    /// Its length when it was written anew.
    kept: u64,
    /// Up to where the file system has promised room.
    promised: u64,
    /// What is to be written before anything else leaves this process.
    pending: Vec<u8>,
}

/// CRC-32 as of IEEE 802.3, four bits at a time.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 4 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum: u32, byte| {
        let sum = TABLE[((sum ^ u32::from(*byte)) & 15) as usize] ^ sum >> 4;
        TABLE[((sum ^ u32::from(*byte) >> 4) & 15) as usize] ^ sum >> 4
    })
}

fn record(into: &mut Vec<u8>, event: &Event) {
    let bytes = event.encode();
    into.extend((bytes.len() as u32).to_ne_bytes());
    into.extend(checksum(&bytes).to_ne_bytes());
    into.extend(bytes);
}

/// Takes a file apart: `each` gets every event, in order; gives the length of what was whole. A file that is none of ours has nothing whole in it.
pub(crate) fn read(bytes: &[u8], mut each: impl FnMut(Event)) -> usize {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return 0 };
    loop {
        let whole = bytes.len() - rest.len();
        let Some((head, after)) = rest.split_first_chunk::<8>() else { return whole };
        let [length, sum] =
            [0, 4].map(|at| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let Some((event, after)) = after.split_at_checked(length as usize) else { return whole };
        if length as usize > LONGEST || checksum(event) != sum {
            return whole;
        }
        let Some(event) = Event::decode(event) else { return whole };
        each(event);
        rest = after;
    }
}

impl Journal {
    /// Opens the one in this folder, or begins it; `each` gets what is in it. A tail that is not whole is cut off.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn open(folder: &Path, each: impl FnMut(Event)) -> io::Result<Journal> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(folder.join(NAME))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = read(&bytes, each) as u64;
        let folder = folder.to_owned();
        let mut journal =
            Journal { folder, file, length: whole, kept: whole / 3, promised: 0, pending: Vec::new() };
        journal.file.set_len(whole)?;
        if whole == 0 {
            journal.pending.extend(MAGIC);
            journal.flush()?;
        }
        Ok(journal)
    }

    /// Appends an event; it lies in this process until [`flush`](Journal::flush).
    pub(crate) fn append(&mut self, event: &Event) {
        record(&mut self.pending, event);
    }

    /// Hands what was appended to the kernel.
    ///
    /// # Errors
    /// Those of the file system: a full disk. The journal is whole up to a record that is not, and no more can be appended by this process.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.write_all(&self.pending)?;
            self.length += self.pending.len() as u64;
            self.pending.clear();
            // What one large batch took is not held for ever.
            self.pending.shrink_to(64 << 10);
        }
        Ok(())
    }

    /// Has the file system promise room for so many bytes of births, and for all that may have to be said of this many domains until they are
    /// forgotten: so a birth that could not be told of to the end is refused, and an end always finds room. A file system that promises
    /// nothing is taken to have it.
    ///
    /// # Errors
    /// `ENOSPC`, `EDQUOT`: nothing was changed.
    pub(crate) fn make_room(&mut self, bytes: u64, domains: u64) -> Result<(), Errno> {
        let end = self.length + self.pending.len() as u64 + bytes + domains * FOR_EACH + MARGIN;
        if end <= self.promised {
            return Ok(());
        }
        // A little more, so that not each birth asks; if that is not to be had, just this.
        for end in [end + MARGIN, end] {
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.length, end - self.length)
            {
                Ok(()) => {
                    self.promised = end;
                    return Ok(());
                }
                Err(Errno::NOSPC | Errno::DQUOT | Errno::INTR) => {}
                Err(_) => return Ok(()),
            }
        }
        Err(Errno::NOSPC)
    }

    /// Whether most of it is of no use any more.
    pub(crate) fn is_long(&self) -> bool {
        self.length > GROWTH + 3 * self.kept
    }

    /// Writes it anew with `events` alone, which must say all that is known, what is appended and not flushed included.
    ///
    /// # Errors
    /// Those of the file system; the old one is as it was, and goes on.
    pub(crate) fn rewrite(&mut self, events: impl Iterator<Item = Event>) -> io::Result<()> {
        let path = self.folder.join(NEW);
        let written = self.write_anew(&path, events);
        if written.is_err() {
            let _ = std::fs::remove_file(&path);
            // Not tried again with every event.
            self.kept = self.length;
        }
        written
    }

    fn write_anew(&mut self, path: &Path, events: impl Iterator<Item = Event>) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        let (mut length, mut bytes) = (0, MAGIC.to_vec());
        for event in events {
            record(&mut bytes, &event);
            if bytes.len() > 1 << 20 {
                file.write_all(&bytes)?;
                length += bytes.len() as u64;
                bytes.clear();
            }
        }
        file.write_all(&bytes)?;
        length += bytes.len() as u64;
        std::fs::rename(path, self.folder.join(NAME))?;
        self.file = file;
        (self.length, self.kept, self.promised) = (length, length, 0);
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        (0..5).map(|id| Event::Asked(id, "x".repeat(id as usize * 7))).collect()
    }

    fn image(events: &[Event]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MAGIC.to_vec();
        let mut ends = vec![bytes.len()];
        for event in events {
            record(&mut bytes, event);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read_all(bytes: &[u8]) -> (usize, Vec<Event>) {
        let mut found = Vec::new();
        (read(bytes, |event| found.push(event)), found)
    }

    #[test]
    fn the_checksum_is_that_of_everybody() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_journal_cut_off_anywhere_has_every_whole_record() {
        let events = events();
        let (bytes, ends) = image(&events);
        for length in 0..=bytes.len() {
            let (whole, found) = read_all(&bytes[..length]);
            let count = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(found, events[..count.saturating_sub(1)]);
            assert_eq!(whole, if count == 0 { 0 } else { ends[count - 1] });
        }
    }

    #[test]
    fn a_bit_that_changed_ends_what_is_believed() {
        let events = events();
        let (bytes, ends) = image(&events);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let before = ends.iter().filter(|end| **end <= bit / 8).count();
            let (whole, found) = read_all(&bytes);
            assert_eq!(found, events[..before.saturating_sub(1)], "bit {bit}");
            assert_eq!(whole, if before == 0 { 0 } else { ends[before - 1] });
        }
    }

    #[test]
    fn what_is_appended_is_there_for_the_next() {
        let folder = std::env::temp_dir().join(format!("beget-journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let open = || {
            let mut found = Vec::new();
            let journal = Journal::open(&folder, |event| found.push(event)).unwrap();
            (journal, found)
        };
        let (mut journal, found) = open();
        assert_eq!(found, []);
        let events = events();
        events.iter().for_each(|event| journal.append(event));
        assert_eq!(open().1, [], "not flushed");
        journal.flush().unwrap();
        assert_eq!(open().1, events);
        // A half written one: what comes after it is appended where it began.
        let mut torn = Vec::new();
        record(&mut torn, &events[4]);
        journal.pending.extend(&torn[..torn.len() - 1]);
        journal.flush().unwrap();
        let (mut journal, found) = open();
        assert_eq!(found, events);
        journal.append(&Event::Clean(7));
        journal.flush().unwrap();
        assert_eq!(open().1.last(), Some(&Event::Clean(7)));
        journal.append(&Event::Clean(8));
        journal.rewrite([Event::Clean(8)].into_iter()).unwrap();
        journal.append(&Event::Clean(9));
        journal.flush().unwrap();
        assert_eq!(open().1, [Event::Clean(8), Event::Clean(9)]);
        assert!(!journal.is_long());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

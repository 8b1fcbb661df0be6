//! Where foreign bytes come from: a file, a descriptor, memory.
//!
//! Safety idea: a source may change, shrink or lie between two reads, so nothing is read twice and nothing is believed of its size
//! but that a range beyond it is an error; a short read is an answer of its own, and never leaves old bytes in a buffer unnoticed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any place.
pub trait Source {
    /// How many there are.
    ///
    /// # Errors
    /// Those of the system that holds them.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on and says how much there was: 0 at the end and beyond it.
    ///
    /// # Errors
    /// Those of the system that holds them.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }
}

impl Source for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Source for BorrowedFd<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(self)?.st_size.unsigned_abs())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::pread(self, buffer, offset)?)
    }
}

impl Source for OwnedFd {
    fn size(&self) -> io::Result<u64> {
        self.as_fd().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Source::read_at(&self.as_fd(), offset, buffer)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

/// Fills `buffer` from `offset` on, as far as there is something. Offsets that no file can have are past the end, not an error.
pub(crate) fn fill<S: Source + ?Sized>(source: &S, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
        return Ok(0);
    }
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        match source.read_at(at, &mut buffer[done..]) {
            Ok(0) => break,
            // A source of somebody else's making may say more than it was asked for.
            Ok(count) => done += count.min(buffer.len() - done),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Fills all of `buffer` from `offset` on; `false` when there is less.
pub(crate) fn exactly<S: Source + ?Sized>(source: &S, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
    Ok(fill(source, offset, buffer)? == buffer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_answer_and_no_error() {
        let file = File::open("/proc/self/exe").unwrap();
        let size = Source::size(&file).unwrap();
        let owned = OwnedFd::from(file.try_clone().unwrap());
        let memory = std::fs::read("/proc/self/exe").unwrap();
        let sources: [&dyn Source; 4] = [&file, &owned, &owned.as_fd(), &memory.as_slice()];
        for source in sources {
            assert_eq!(source.size().unwrap(), size);
            let mut four = [0; 4];
            assert!(exactly(source, 0, &mut four).unwrap());
            assert_eq!(&four, b"\x7fELF");
            assert!(exactly(source, size - 4, &mut four).unwrap());
            for beyond in
                [size - 3, size, size + 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX]
            {
                assert!(!exactly(source, beyond, &mut four).unwrap(), "{beyond}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let folder = File::open("/").unwrap();
        assert_eq!(fill(&folder, 0, &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}

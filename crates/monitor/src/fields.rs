//! The bodies of messages: numbers and strings one after the other.
//!
//! Safety idea: a reader gives what is there or nothing; it never believes a length before it has looked at what is left.

/// Writes a body.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty body.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Adds a number of four bytes.
    pub fn u32(&mut self, number: u32) -> &mut Writer {
        self.0.extend(number.to_ne_bytes());
        self
    }

    /// Adds a number of eight bytes.
    pub fn u64(&mut self, number: u64) -> &mut Writer {
        self.0.extend(number.to_ne_bytes());
        self
    }

    /// Adds bytes as they are, without their length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Writer {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds bytes with their length before them.
    ///
    /// # Panics
    /// When there are more than a number of four bytes counts.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.u32(u32::try_from(bytes.len()).expect("a part of a message is short")).raw(bytes)
    }

    /// Adds a string with its length before it.
    pub fn str(&mut self, string: &str) -> &mut Writer {
        self.bytes(string.as_bytes())
    }

    /// The body so far.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0
    }

    /// The body.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a body.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From its beginning.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Reader<'a> {
        Reader(body)
    }

    /// The next `length` bytes.
    pub fn raw(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next number of four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.raw(4)?.try_into().ok()?))
    }

    /// The next number of eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.raw(8)?.try_into().ok()?))
    }

    /// The next bytes that have their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.raw(length as usize)
    }

    /// The next string; `None` also where it is no UTF-8.
    pub fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Nothing is left: whoever wrote this has said no more than was understood.
    #[must_use]
    pub fn ends(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut body = Writer::new();
        body.u32(7).u64(u64::MAX).str("name").bytes(&[1, 2]).raw(&[9]);
        let mut reader = Reader::new(body.body());
        assert_eq!((reader.u32(), reader.u64()), (Some(7), Some(u64::MAX)));
        assert_eq!((reader.str(), reader.bytes()), (Some("name"), Some(&[1, 2][..])));
        assert_eq!(reader.ends(), None);
        assert_eq!(reader.rest(), [9]);
        assert_eq!(reader.ends(), Some(()));
    }

    #[test]
    fn a_length_that_lies_is_nothing() {
        let mut reader = Reader::new(&[255, 255, 255, 255, 1]);
        assert_eq!(reader.bytes(), None);
        assert_eq!(Reader::new(&[1, 0, 0, 0, 0xff]).str(), None);
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), None);
    }
}

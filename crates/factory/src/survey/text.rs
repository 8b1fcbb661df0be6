//! What `/proc` says of a process, read from its text.
//!
//! Safety idea: names in it are the program's to choose. Fields are taken from where no name can reach them: before the path, after the last
//! parenthesis; and what cannot be understood is an answer of its own, never a zero.

/// One mapping of `smaps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// `rwxp`, with `s` for shared.
    pub(crate) rights: [u8; 4],
    pub(crate) inode: u64,
    /// As the kernel wrote it: a newline in it as `\012`, ` (deleted)` behind it.
    pub(crate) path: Vec<u8>,
    /// `VmFlags`, two letters each.
    pub(crate) flags: Vec<[u8; 2]>,
    /// KiB that belong to no file, or not any more.
    pub(crate) anonymous: u64,
}

impl Mapping {
    pub(crate) fn has(&self, flag: &[u8; 2]) -> bool {
        self.flags.contains(flag)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.rights[3] == b's'
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.rights[1] == b'w'
    }

    /// Its path as words for people.
    pub(crate) fn name(&self) -> String {
        let path = String::from_utf8_lossy(&self.path);
        if path.is_empty() { "memory without a name".to_owned() } else { path.into_owned() }
    }
}

/// The mappings of `smaps`; `None` for a text that is not one.
pub(crate) fn mappings(smaps: &[u8]) -> Option<Vec<Mapping>> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in smaps.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A key ends in a colon; a range has none, and comes first in its line.
        let first = line.split(|byte| *byte == b' ').next()?;
        if let Some(key) = first.strip_suffix(b":") {
            let last = found.last_mut()?;
            match key {
                b"VmFlags" => {
                    let flags = line.get(first.len()..)?.split(|byte| *byte == b' ');
                    last.flags = flags.filter_map(|flag| flag.try_into().ok()).collect();
                }
                b"Anonymous" => last.anonymous = number(line.get(first.len()..)?, 10)?,
                _ => {}
            }
        } else {
            found.push(header(line)?);
        }
    }
    Some(found)
}

/// `7f0000-7f1000 rw-s 00000000 00:01 309079      /memfd:a b (deleted)`.
fn header(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let range = fields.next()?;
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (start, end) = (number(range.get(..dash)?, 16)?, number(range.get(dash + 1..)?, 16)?);
    let rights = fields.next()?.try_into().ok()?;
    let (_offset, _device) = (fields.next()?, fields.next()?);
    let inode = number(fields.next()?, 10)?;
    // The path stands behind spaces that fill its column, and may itself begin with none: it begins with `/` or `[` or a letter.
    let path = fields.next().unwrap_or_default().trim_ascii_start().to_vec();
    Some(Mapping { start, end, rights, inode, path, ..Mapping::default() })
}

/// A path of `maps` without the kernel's escape of newlines.
pub(crate) fn unescaped(path: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((first, more)) = rest.split_first() {
        match rest.strip_prefix(b"\\012") {
            Some(after) => {
                plain.push(b'\n');
                rest = after;
            }
            None => {
                plain.push(*first);
                rest = more;
            }
        }
    }
    plain
}

/// The number that the text begins with, after spaces; what follows must be no digit of it.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    u64::from_str_radix(text.split(' ').next()?, radix).ok()
}

/// What `fdinfo` says of an open descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) position: u64,
    /// As `open` takes them, `O_CLOEXEC` too.
    pub(crate) flags: u32,
    /// Locks that are held through it, a line each.
    pub(crate) locks: Vec<String>,
    /// For an eventfd: its count, its own number, and whether it is a semaphore.
    pub(crate) counter: Option<(u64, u64, bool)>,
}

/// Reads `fdinfo`; `None` for a text that lacks position or flags.
pub(crate) fn described(text: &str) -> Option<Described> {
    let value = |key: &str| {
        let of = |line: &str| line.strip_prefix(key).map(|rest| rest.trim().to_owned());
        text.lines().find_map(of)
    };
    let decimal = |key| value(key).and_then(|text| text.parse::<u64>().ok());
    let count = value("eventfd-count:").and_then(|text| u64::from_str_radix(&text, 16).ok());
    let counter = count.zip(decimal("eventfd-id:")).zip(decimal("eventfd-semaphore:"));
    Some(Described {
        position: decimal("pos:")?,
        flags: u32::from_str_radix(&value("flags:")?, 8).ok()?,
        locks: text
            .lines()
            .filter_map(|line| line.strip_prefix("lock:"))
            .map(|l| l.trim().to_owned())
            .collect(),
        counter: counter.map(|((count, own), semaphore)| (count, own, semaphore == 1)),
    })
}

/// The value of one line of `status`.
pub(crate) fn status<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// A set of signals of `status`, bit N-1 for signal N.
pub(crate) fn signals(text: &str, key: &str) -> Option<u64> {
    u64::from_str_radix(status(text, key)?, 16).ok()
}

/// The limit of open files, soft and hard, as `limits` has it.
pub(crate) fn open_files(text: &str) -> Option<[u64; 2]> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_ascii_whitespace().map(|number| match number {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some([numbers.next()??, numbers.next()??])
}

/// Process group and session of `stat`, whatever the program's name is.
pub(crate) fn group_and_session(stat: &str) -> Option<(i32, i32)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &[u8] =
        b"7f0f667d2000-7f0f667d3000 rw-s 00000000 00:01 309079                     /memfd:a b\\012c (deleted)
Size:                  4 kB
Anonymous:             0 kB
VmFlags: rd wr sh mr mw me ms \n\
00400000-00401000 r-xp 00001000 fe:00 325745                     /usr/bin/a b
Anonymous:            12 kB
ProtectionKey:         0
VmFlags: rd ex mr mw me \n\
7ffe1000-7ffe2000 rw-p 00000000 00:00 0 \n\
VmFlags: rd wr mr mw me ac \n";

    #[test]
    fn mappings_are_read_with_odd_names() {
        let found = mappings(SMAPS).expect("a text of the kernel's");
        let [shared, text, nameless] = &found[..] else { panic!("{found:?}") };
        assert_eq!((shared.start, shared.end, shared.inode), (0x7f0f_667d_2000, 0x7f0f_667d_3000, 309_079));
        assert_eq!(shared.path, b"/memfd:a b\\012c (deleted)");
        assert_eq!(unescaped(&shared.path), b"/memfd:a b\nc (deleted)");
        assert!(shared.is_shared() && shared.is_writable() && shared.has(b"mw") && !shared.has(b"dc"));
        assert_eq!((text.path.as_slice(), text.anonymous), (&b"/usr/bin/a b"[..], 12));
        assert!(!text.is_shared() && !text.is_writable() && text.has(b"ex"));
        assert_eq!((nameless.path.len(), nameless.name().as_str()), (0, "memory without a name"));
    }

    #[test]
    fn a_path_that_looks_like_a_key_is_none() {
        let text = b"1000-2000 r--p 00000000 00:01 5    VmFlags: dc\nVmFlags: rd \n";
        let found = mappings(text).expect("a text of the kernel's");
        assert_eq!((found[0].path.as_slice(), found[0].has(b"dc")), (&b"VmFlags: dc"[..], false));
    }

    #[test]
    fn what_is_no_list_of_mappings_is_nothing() {
        for text in
            ["VmFlags: rd", "1000 r--p 0 0 0", "zz-1000 r--p 00000000 00:01 5 /x", "1000-2000 r--p 0 0 x"]
        {
            assert_eq!(mappings(text.as_bytes()), None, "{text}");
        }
        assert_eq!(mappings(b""), Some(vec![]));
    }

    #[test]
    fn descriptors_are_read() {
        let file = described(
            "pos:\t170\nflags:\t02100001\nmnt_id:\t27\nino:\t5\nlock:\t1: FLOCK  ADVISORY  WRITE 7 fe:00:5 0 EOF\n",
        );
        let file = file.expect("a text of the kernel's");
        assert_eq!((file.position, file.flags), (170, 0o2_100_001));
        assert_eq!(file.locks, ["1: FLOCK  ADVISORY  WRITE 7 fe:00:5 0 EOF"]);
        let text = "pos:\t0\nflags:\t02000002\neventfd-count:               1f\neventfd-id: 3\neventfd-semaphore: 1\n";
        assert_eq!(described(text).expect("a text of the kernel's").counter, Some((31, 3, true)));
        // Older kernels do not say whether it is a semaphore: then nothing is known of it.
        let older = "pos:\t0\nflags:\t02\neventfd-count: 1\neventfd-id: 3\n";
        assert_eq!(described(older).expect("a text of the kernel's").counter, None);
        assert_eq!(described("flags:\t02\n"), None);
        assert_eq!(described("pos:\t0\nflags:\t9\n"), None);
    }

    #[test]
    fn a_name_cannot_pretend_to_be_a_field() {
        assert_eq!(group_and_session("7 (a) S 1 2 3) R 4 50 60 0"), Some((50, 60)));
        assert_eq!(group_and_session("7 (a b\nc) R 4 50 60 0"), Some((50, 60)));
        assert_eq!(group_and_session("7 R 4 50 60 0"), None);
        let text = "Name:\tSigPnd:\\n\nSigPnd:\t0000000000000200\nShdPnd:\tx\n";
        assert_eq!((signals(text, "SigPnd"), signals(text, "ShdPnd")), (Some(0x200), None));
        assert_eq!(status(text, "Sig"), None);
    }
}

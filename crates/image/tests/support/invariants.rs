//! What must hold of whatever was accepted, however the bytes came to be. The fuzzers use it too.

use std::ffi::{CStr, CString};

use beget_image::{Content, FirstStack, Image, Kind, Mapping, Placed, Source, program_bias};

const PAGE: u64 = 4096;
const END: u64 = 0x7fff_ffff_f000;

/// Reads an image and puts it where `random` says; checks all that was accepted. Whether it was.
pub(crate) fn image<S: Source + ?Sized>(source: &S, random: u64) -> bool {
    let Ok(image) = Image::read(source) else { return false };
    let size = source.size().expect("it was told a moment ago");
    assert!(image.file_bytes_needed() <= size);
    assert!(image.alignment().is_power_of_two() && image.alignment() >= PAGE);
    assert!((1..=1024).contains(&image.header_count()));
    if let Some(path) = image.interpreter() {
        assert!(!path.as_os_str().is_empty() && !path.as_os_str().as_encoded_bytes().contains(&0));
    }
    let bias = program_bias(&image, random);
    assert!(image.kind() == Kind::Anywhere || bias == 0);
    assert!(bias.is_multiple_of(image.alignment()));
    if image.kind() == Kind::Fixed {
        assert!(image.place(0).is_ok(), "what has one place only can be put there");
    }
    for bias in [bias, 0, random, random & !(image.alignment() - 1)] {
        if let Ok(placed) = image.place(bias) {
            assert!(bias.is_multiple_of(image.alignment()));
            placed_well(size, &image, &placed, bias);
        }
    }
    true
}

fn placed_well(size: u64, image: &Image, placed: &Placed, bias: u64) {
    assert!(placed.span.start >= 0x1_0000 && placed.span.end <= END);
    assert!(placed.span.contains(&placed.entry));
    assert!(placed.headers == 0 || placed.span.contains(&placed.headers));
    assert!(placed.span.start < placed.end && placed.end <= placed.span.end);
    assert!(placed.code.start <= placed.code.end && placed.code.end <= placed.end);
    assert!(placed.data.start <= placed.data.end && placed.data.end <= placed.end);
    let mut free = placed.span.start;
    for mapping in &placed.mappings {
        assert!(mapping.at >= free && mapping.length > 0, "disjoint and ascending");
        free = mapping.at + mapping.length;
        assert!(mapping.at % PAGE == 0 && mapping.length % PAGE == 0);
        if let Content::File { offset } = mapping.content {
            assert!(offset % PAGE == 0);
            // The last page may be begun by the file only, never missed.
            assert!(offset + mapping.length <= size.next_multiple_of(PAGE));
        }
    }
    assert!(free <= placed.span.end);
    for (at, length) in &placed.zeros {
        let mapping = mapping(placed, *at);
        assert!(*length > 0 && *length < PAGE && (at + length) % PAGE == 0);
        assert!(mapping.protection.write() && mapping.content != Content::Zero);
        let bytes_of_a_segment = |segment: &beget_image::Segment| {
            segment.address + bias < at + length && segment.address + bias + segment.in_file > *at
        };
        assert!(!image.segments().iter().any(bytes_of_a_segment), "what is cleared is nobody's");
    }
    // Page by page, as mapping one over the other would leave it: the last segment that touches a page has it.
    let segments = image.segments();
    for segment in segments {
        let (from, to) = (segment.address + bias, segment.address + bias + segment.in_memory);
        let file_end = from + segment.in_file;
        for address in [from, file_end.saturating_sub(1).max(from), file_end.min(to - 1), to - 1] {
            let page = address & !(PAGE - 1);
            let touches = |segment: &&beget_image::Segment| {
                let range = segment.range();
                range.start + bias < page + PAGE && range.end + bias > page
            };
            let owner = segments.iter().rfind(touches).expect("its own segment at least");
            let has = mapping(placed, address);
            assert_eq!(has.protection, owner.protection);
            let start = owner.address + bias;
            let in_file = owner.in_file > 0 && start + owner.in_file > page;
            let expected = (owner.offset + page).wrapping_sub(start);
            match has.content {
                Content::File { offset } => {
                    assert!(in_file);
                    assert_eq!(offset + (page - has.at), expected, "the file's page is the segment's");
                }
                Content::Zero => assert!(!in_file),
            }
        }
    }
}

fn mapping(placed: &Placed, address: u64) -> &Mapping {
    let holds = |mapping: &&Mapping| mapping.at <= address && address - mapping.at < mapping.length;
    placed.mappings.iter().find(holds).expect("every byte of a segment is mapped")
}

/// Reads symbols and asks for some; checks all that was accepted. Whether it was.
pub(crate) fn symbols(bytes: &[u8], address: u64) -> bool {
    let Ok(symbols) = beget_image::Symbols::read(bytes) else { return false };
    assert!(symbols.count() <= bytes.size().expect("it is memory") as usize / 24);
    for address in [address, 0, 1, 0x1000, u64::MAX] {
        let Some(symbol) = symbols.at(address) else { continue };
        assert_eq!(symbol.address.checked_add(symbol.offset), Some(address));
        assert!(symbol.size == 0 || symbol.offset < symbol.size);
        assert!(!symbol.name.contains(&0));
        let named = symbols.named(symbol.name).expect("it was told a moment ago");
        assert!(named.address <= symbol.address && named.name == symbol.name);
        assert!(named.offset == 0);
    }
    true
}

/// Builds a stack and reads it back as a program would. Whether there was one.
pub(crate) fn stack(first: &FirstStack<'_>) -> bool {
    let Ok(built) = first.build() else { return false };
    let memory = Memory { at: built.at, bytes: &built.bytes };
    assert_eq!(built.at % 16, 0);
    assert_eq!(built.at + built.bytes.len() as u64, first.top);
    assert_eq!(memory.word(first.top - 8), 0);
    let mut at = built.at + 8;
    let mut next = || {
        at += 8;
        memory.word(at - 8)
    };

    let empty = [CString::default()];
    let expected = if first.arguments.is_empty() { &empty[..] } else { first.arguments };
    assert_eq!(memory.word(built.at), expected.len() as u64);
    let mut total = expected.len() * 8 + first.environment.len() * 8;
    // Strings follow each other without a byte between, arguments first, and are where the ranges say.
    let mut place = built.arguments.start;
    for argument in expected {
        assert_eq!(next(), place);
        assert_eq!(memory.string(place), argument.as_c_str());
        place += argument.as_bytes_with_nul().len() as u64;
        total += argument.as_bytes_with_nul().len();
    }
    assert_eq!(next(), 0);
    assert_eq!((built.arguments.end, built.environment.start), (place, place));
    for variable in first.environment {
        assert_eq!(next(), place);
        assert_eq!(memory.string(place), variable.as_c_str());
        place += variable.as_bytes_with_nul().len() as u64;
        total += variable.as_bytes_with_nul().len();
    }
    assert_eq!(next(), 0);
    assert_eq!(built.environment.end, place);
    assert_eq!(place + first.name.to_bytes_with_nul().len() as u64 + 8, first.top);
    total += first.name.to_bytes_with_nul().len();
    assert!(total as u64 <= first.limit);

    let mut vector = Vec::new();
    let mut entries = Vec::new();
    loop {
        let (key, value) = (next(), next());
        vector.extend([key, value].into_iter().flat_map(u64::to_le_bytes));
        if key == 0 {
            assert_eq!(value, 0);
            break;
        }
        entries.push((key, value));
    }
    let vectors_end = at;
    assert_eq!(vector, built.auxiliary);
    for (key, value) in &entries {
        match key {
            15 => assert_eq!(memory.string(*value), first.platform),
            24 => panic!("there is no base platform"),
            25 => assert_eq!(memory.slice(*value, 16), first.random),
            31 => assert_eq!((memory.string(*value), *value), (first.name, place)),
            _ => assert!(first.auxiliary.contains(&(*key, *value))),
        }
        if [15, 25, 31].contains(key) {
            assert!(*value >= vectors_end);
        }
    }
    for key in [15, 25, 31] {
        assert!(entries.iter().any(|(found, _)| *found == key));
    }
    let keys = |entries: &[(u64, u64)]| -> Vec<u64> {
        entries.iter().map(|(key, _)| *key).filter(|key| ![0, 15, 24, 25, 31].contains(key)).collect()
    };
    assert_eq!(keys(&entries), keys(first.auxiliary), "in the caller's order");
    true
}

struct Memory<'a> {
    at: u64,
    bytes: &'a [u8],
}

impl Memory<'_> {
    fn slice(&self, at: u64, length: usize) -> &[u8] {
        &self.bytes[at.checked_sub(self.at).expect("above the pointer") as usize..][..length]
    }

    fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.slice(at, 8).try_into().expect("eight bytes"))
    }

    fn string(&self, at: u64) -> &CStr {
        let from = &self.bytes[at.checked_sub(self.at).expect("above the pointer") as usize..];
        CStr::from_bytes_until_nul(from).expect("a string ends below the top")
    }
}

/// Reads the header of a saved image, whatever its file would be long; checks all that was accepted. Whether it was.
pub(crate) fn frozen(bytes: &[u8]) -> bool {
    use beget_image::frozen::{CHUNK, Frozen, PREAMBLE, Preamble, Source};
    let start = &bytes[..bytes.len().min(PREAMBLE)];
    // The file is as long as its own words say, for it may be far longer than what is here.
    let words =
        |at: usize| bytes.get(at..at + 8).map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap()));
    let Ok(preamble) = Preamble::read(start, words(24).saturating_add(words(32))) else { return false };
    assert!(
        preamble.contents % PAGE == 0 && preamble.length % PAGE == 0 && preamble.header <= preamble.contents
    );
    let Some(header) = usize::try_from(preamble.header).ok().and_then(|length| bytes.get(..length)) else {
        return false;
    };
    let Ok(frozen) = Frozen::read(header, &preamble) else { return false };
    assert!(frozen.write() == header, "what is read has one form");
    assert_eq!(frozen.length(), preamble.length);
    assert_eq!(frozen.chunks.len() as u64, preamble.length.div_ceil(CHUNK));
    let mut free = 0x1000;
    for mapping in &frozen.mappings {
        assert!(
            mapping.range.start >= free
                && mapping.range.start < mapping.range.end
                && mapping.range.end <= END
        );
        assert!(mapping.range.start % PAGE == 0 && mapping.range.end % PAGE == 0);
        free = mapping.range.end;
        if let Source::File { file, offset, shared } = mapping.source {
            assert!((file as usize) < frozen.files.len() && offset % PAGE == 0);
            assert!(!shared || mapping.rights & 2 == 0);
        }
    }
    for special in &frozen.system.kernel {
        let apart = |range: &std::ops::Range<u64>| {
            range.end <= special.range.start || special.range.end <= range.start
        };
        assert!(frozen.mappings.iter().all(|mapping| apart(&mapping.range)));
    }
    let mut at = 0;
    for (run, begins) in frozen.contents() {
        assert_eq!(begins, at);
        at += run.range.end - run.range.start;
        let mapping = &frozen.mappings[run.mapping as usize];
        assert!(mapping.range.start <= run.range.start && run.range.end <= mapping.range.end);
        assert!(run.range.start % PAGE == 0 && run.range.end % PAGE == 0);
    }
    for one in &frozen.descriptors {
        assert!((3..999).contains(&one.number) && (one.file as usize) < frozen.files.len());
    }
    assert!((frozen.program.executable as usize) < frozen.files.len());
    true
}

//! Several hundred broken executables: each is refused in its own words, or what is made of it can be mapped.

mod support;

use beget_image::{Content, Error, Image, Kind, brk_start, program_bias};
use support::{Entry, INTERPRETER, LOAD, Made, R, STACK, TLS, W, X, invariants, load, put};

fn words(made: &Made) -> String {
    match Image::read(made.bytes().as_slice()) {
        Err(Error::Malformed(words)) => words.into_owned(),
        other => panic!("{made:x?} was not refused as malformed: {other:?}"),
    }
}

#[test]
fn what_was_made_whole_is_accepted() {
    for made in [Made::program(), Made::fixed()] {
        let image = Image::read(made.bytes().as_slice()).unwrap();
        let bias = program_bias(&image, 5);
        let placed = image.place(bias).unwrap();
        assert_eq!(bias == 0, image.kind() == Kind::Fixed);
        let base = placed.span.start;
        let shape: Vec<_> = placed
            .mappings
            .iter()
            .map(|one| (one.at - base, one.length, one.protection.bits(), one.content))
            .collect();
        assert_eq!(
            shape,
            [
                (0, 0x2000, 5, Content::File { offset: 0 }),
                (0x2000, 0x1000, 1, Content::File { offset: 0x2000 }),
                (0x4000, 0x1000, 3, Content::File { offset: 0x3000 }),
                (0x5000, 0x3000, 3, Content::Zero),
            ]
        );
        assert_eq!(placed.zeros, [(base + 0x4f90, 0x70)]);
        assert_eq!((placed.entry - base, placed.headers - base, placed.header_count), (0x1000, 64, 3));
        assert_eq!((placed.code.start - base, placed.code.end - base), (0, 0x1234));
        assert_eq!((placed.data.start - base, placed.data.end - base), (0x4f00, 0x4f90));
        assert_eq!((placed.end - base, placed.span.end - base), (0x7700, 0x8000));
        assert_eq!(image.file_bytes_needed(), 0x3f90);
        assert_eq!((image.executable_stack(), image.has_tls(), image.interpreter()), (None, false, None));
    }
}

#[test]
fn each_fault_is_told_in_its_own_words() {
    let end = 0x7fff_ffff_f000;
    let table: &[(Made, &str)] = &[
        (
            Made::program().with(1, |one| one.in_memory -= 1),
            "segment 1 has more bytes in the file than in memory",
        ),
        (
            Made::program().with(1, |one| one.in_memory = 0),
            "segment 1 has more bytes in the file than in memory",
        ),
        (
            Made::program().with(1, |one| one.offset += 1),
            "segment 1 begins at another place of its page than in the file",
        ),
        (Made::program().with(2, |one| one.address += 8), "segment 2 begins at another place of its page"),
        (Made::program().with(2, |one| one.in_file += 1), "cut short: a segment ends past its 16272 bytes"),
        (
            Made::program().with(2, |one| one.offset = u64::MAX - 0xff),
            "cut short: a segment ends past its 16272 bytes",
        ),
        (Made::program().with(1, |one| one.address = 0x1000), "segment 1 overlaps the one before it"),
        (Made::program().with(2, |one| one.address = 0x1f00), "segment 2 is out of order"),
        (Made::program().with(0, |one| one.address = 0x1_0000), "segment 1 is out of order"),
        (Made::program().with(2, |one| one.in_memory = u64::MAX), "segment 2 ends past user memory"),
        (Made::program().with(2, |one| one.in_memory = i64::MAX as u64), "segment 2 ends past user memory"),
        (Made::program().with(2, |one| one.address = end - 0x100), "segment 2 ends past user memory"),
        (Made::program().with(2, |one| one.address = u64::MAX - 0xff), "segment 2 ends past user memory"),
        (Made::program().with(2, |one| one.address = 1 << 63 | 0xf00), "segment 2 ends past user memory"),
        (
            Made::program().with(2, |one| one.address = 0x4000_0000_0f00),
            "spans more than half of user memory",
        ),
        (
            Made::program().with(2, |one| one.in_memory = 0x4000_0000_0000),
            "spans more than half of user memory",
        ),
        (Made { kind: 2, ..Made::program() }, "segment 0 lies too low for user memory"),
        (Made { entries: vec![Entry { kind: 6, ..Entry::default() }], ..Made::program() }, "nothing to load"),
        (Made { entries: vec![load(R | X, 0, 0, 0)], ..Made::program() }, "nothing to load"),
        (Made { entries: Vec::new(), ..Made::program() }, "malformed segment table"),
        (Made { table_at: u64::MAX, ..Made::program() }, "cut short in its segment table"),
        (Made { table_at: i64::MAX as u64 - 8, ..Made::program() }, "cut short in its segment table"),
        (Made { table_at: 0x3f90 - 3 * 56 + 1, ..Made::program() }, "cut short in its segment table"),
        (Made { entry: 0x1234, ..Made::program() }, "entry is in no executable segment"),
        (Made { entry: 0x2000, ..Made::program() }, "entry is in no executable segment"),
        (Made { entry: u64::MAX, ..Made::program() }, "entry is in no executable segment"),
        (Made { kind: 1, ..Made::program() }, "an ELF file that is no executable"),
        (Made { kind: 4, ..Made::program() }, "an ELF file that is no executable"),
    ];
    for (made, expected) in table {
        let words = words(made);
        assert!(words.starts_with("an ELF ") && words.contains(expected), "{words}: not {expected}");
    }
    let many = Made { entries: vec![Made::program().entries[0]; 1025], size: 0x2_0000, ..Made::program() };
    assert!(words(&many).ends_with("malformed segment table"));
    assert_eq!(words(&Made { size: 0, ..Made::program() }), "neither an ELF executable nor a script with #!");
    assert_eq!(
        words(&Made { size: 63, entries: vec![], ..Made::program() }),
        "neither an ELF executable nor a script with #!"
    );
}

#[test]
fn the_loader_name_is_the_first_and_whole() {
    let name = |offset, in_file| Entry {
        kind: INTERPRETER,
        offset,
        in_file,
        in_memory: in_file,
        ..Entry::default()
    };
    let read = |entries: &[Entry], bytes: &[u8]| {
        let made = entries.iter().fold(Made::program(), |made, entry| made.and(*entry));
        let mut elf = made.bytes();
        put(&mut elf, 0x800, bytes);
        Image::read(elf.as_slice())
            .map(|image| image.interpreter().map(|path| path.to_str().unwrap().to_owned()))
    };
    assert_eq!(read(&[name(0x800, 8)], b"/lib/ld\0").unwrap().as_deref(), Some("/lib/ld"));
    assert_eq!(read(&[name(0x800, 8), name(0, 0)], b"/lib/ld\0").unwrap().as_deref(), Some("/lib/ld"));
    for (entry, bytes) in [
        (name(0x800, 7), b"/lib/ld\0"),
        (name(0x800, 8), b"/lib\0ld\0"),
        (name(0x800, 1), b"\0ib/ld \0"),
        (name(0x800, 0), b"/lib/ld\0"),
        (name(0x3f90, 8), b"/lib/ld\0"),
        (name(u64::MAX, 8), b"/lib/ld\0"),
        (name(0x800, u64::MAX), b"/lib/ld\0"),
        (name(0x800, 0x2000), b"/lib/ld\0"),
    ] {
        let words = read(&[entry], bytes).unwrap_err().to_string();
        assert_eq!(words, "an ELF executable with a malformed loader name", "{entry:x?}");
    }
}

#[test]
fn stack_and_thread_local_variables_are_told() {
    let stack = |flags| Entry { kind: STACK, flags, ..Entry::default() };
    let read = |made: &Made| Image::read(made.bytes().as_slice()).unwrap();
    assert_eq!(read(&Made::program().and(stack(R | W))).executable_stack(), Some(false));
    assert_eq!(read(&Made::program().and(stack(R | W)).and(stack(R | W | X))).executable_stack(), Some(true));
    assert!(read(&Made::program().and(Entry { kind: TLS, ..Entry::default() })).has_tls());
}

#[test]
fn alignments_that_are_none_do_not_count() {
    let bias = |alignment| {
        let made = Made::program().with(1, |one| one.alignment = alignment);
        let image = Image::read(made.bytes().as_slice()).unwrap();
        (image.alignment(), program_bias(&image, u64::MAX))
    };
    let usual = 0x5655_5555_3000;
    for (asked, got, place) in [
        (0, 0x1000, usual),
        (1, 0x1000, usual),
        (0x1001, 0x1000, usual),
        (0x3000, 0x1000, usual),
        (u64::MAX, 0x1000, usual),
        (0x20_0000, 0x20_0000, 0x5655_5540_0000),
        (1 << 46, 1 << 46, 1 << 46),
        (1 << 63, 1 << 63, 0),
    ] {
        assert_eq!(bias(asked), (got, place), "{asked:x}");
    }
}

#[test]
fn a_page_that_two_segments_share_is_the_later_ones() {
    // Code ends and data begins in one page, which is the file's first page both times; then nothing but zeros in the next.
    let zeros = Entry { in_file: 0, in_memory: 0x1000, ..load(R | W, 0x123, 0x1a00, 0) };
    let entries = vec![
        load(R | X, 0, 0, 0x800),
        load(R | W, 0x800, 0x800, 0x100),
        Entry { in_memory: 0x1000, ..load(R | W, 0x900, 0x900, 0x80) },
        zeros,
    ];
    let made = Made { entry: 0x400, entries, ..Made::program() };
    let image = Image::read(made.bytes().as_slice()).unwrap();
    let placed = image.place(0x10_0000).unwrap();
    let shape: Vec<_> =
        placed.mappings.iter().map(|one| (one.at, one.length, one.protection.bits(), one.content)).collect();
    assert_eq!(
        shape,
        [(0x10_0000, 0x1000, 3, Content::File { offset: 0 }), (0x10_1000, 0x2000, 3, Content::Zero)],
        "the kernel maps the last one over the others"
    );
    assert_eq!(placed.zeros, [(0x10_0980, 0x680)]);
    assert!(invariants::image(made.bytes().as_slice(), 0x10_0000));
}

#[test]
fn what_a_later_segment_brings_is_not_cleared() {
    let data = |from: u64, in_file, in_memory| Entry { in_memory, ..load(R | W, from, from, in_file) };
    let entries = vec![load(R | X, 0, 0, 0x800), data(0x800, 0x100, 0x180), data(0x980, 0x80, 0x80)];
    let made = Made { entry: 0x400, entries, ..Made::program() };
    let placed = Image::read(made.bytes().as_slice()).unwrap().place(0x10_0000).unwrap();
    assert_eq!(placed.zeros, []);
    assert!(invariants::image(made.bytes().as_slice(), 0x10_0000));
}

#[test]
fn bounds_hold_to_the_byte() {
    let read =
        |made: &Made| Image::read(made.bytes().as_slice()).map(|_| ()).map_err(|error| error.to_string());
    let refused = |made: &Made, words| assert!(read(made).expect_err(words).ends_with(words), "{words}");
    // A fixed program that ends where user memory does.
    let end = 0x7fff_ffff_f000;
    let high = |size| {
        let entries = vec![
            load(R | X, 0, end - 0x3000, 0x400),
            Entry { in_memory: size, ..load(R | W, 0, end - 0x1000, 0) },
        ];
        Made { kind: 2, entry: end - 0x2d00, entries, ..Made::program() }
    };
    assert_eq!(read(&high(0x1000)), Ok(()));
    refused(&high(0x1001), "segment 1 ends past user memory");
    // One that begins where it does.
    let low = |at: u64| {
        let mut made = Made { kind: 2, ..Made::program() };
        made.entry += at;
        made.entries.iter_mut().for_each(|entry| entry.address += at);
        made
    };
    assert_eq!(read(&low(0x1_0000)), Ok(()));
    refused(&low(0xf000), "segment 0 lies too low for user memory");
    // Segments may touch, not overlap.
    let touching = |size| Made::program().with(1, |one| one.in_memory = size);
    assert_eq!(read(&touching(0x4f00 - 0x2000)), Ok(()));
    refused(&touching(0x4f01 - 0x2000), "segment 2 overlaps the one before it");
    let mut other_order = Made::program().bytes();
    other_order[5] = 2;
    assert!(Image::read(other_order.as_slice()).unwrap_err().to_string().contains("another machine"));
}

#[test]
fn where_the_kernel_looks_twice_the_same_one_counts() {
    // The table is in two segments: the last of them has it.
    let made = Made::program().with(1, |one| one.offset = 0);
    assert_eq!(Image::read(made.bytes().as_slice()).unwrap().headers(), Some(0x2040));
    // In none.
    let made = Made { table_at: 0x1400, ..Made::program() }.with(0, |one| one.in_file = 0x1234);
    let placed = Image::read(made.bytes().as_slice()).unwrap().place(0x1_0000).unwrap();
    assert_eq!(placed.headers, 0);
    // Code ends with its bytes in the file.
    let made = Made::program().with(2, |one| one.flags = R | W | X);
    let placed = Image::read(made.bytes().as_slice()).unwrap().place(0x1_0000).unwrap();
    assert_eq!(placed.code, 0x1_0000..0x1_4f90);
}

#[test]
fn one_with_addresses_of_its_own_goes_to_the_same_place() {
    let mut made = Made { kind: 3, ..Made::fixed() };
    let image = Image::read(made.bytes().as_slice()).unwrap();
    let usual = program_bias(&Image::read(Made::program().bytes().as_slice()).unwrap(), 99);
    assert_eq!(usual, 0x5555_5555_4000 + 99 * 0x1000);
    assert_eq!(image.place(program_bias(&image, 99)).unwrap().span.start, usual);
    // One that is higher than that already stays.
    made.entry += 0x6000_0000_0000;
    made.entries.iter_mut().for_each(|entry| entry.address += 0x6000_0000_0000);
    assert_eq!(program_bias(&Image::read(made.bytes().as_slice()).unwrap(), 99), 0);
}

#[test]
fn the_heap_begins_above_the_program() {
    assert_eq!((brk_start(0x5000, None), brk_start(0x5001, None)), (0x5000, 0x6000));
    assert_eq!((brk_start(0x5001, Some(0)), brk_start(0x5001, Some(3))), (0x7000, 0xa000));
    assert_eq!(brk_start(0, Some(u64::MAX)), 1 << 30);
    assert_eq!(brk_start(0x7fff_ffff_e001, Some(u64::MAX)), 0x7fff_ffff_f000);
}

#[test]
fn bytes_of_the_file_stay_where_nobody_may_clear_them() {
    let made = Made::program().with(2, |one| one.flags = R);
    let placed = Image::read(made.bytes().as_slice()).unwrap().place(0x10_0000).unwrap();
    assert_eq!(placed.zeros, []);
    assert!(!placed.mappings.last().unwrap().protection.write(), "stricter than the kernel");
}

#[test]
fn places_that_cannot_be_are_refused() {
    let fixed = Image::read(Made::fixed().bytes().as_slice()).unwrap();
    let program = Image::read(Made::program().bytes().as_slice()).unwrap();
    let last = 0x7fff_ffff_f000 - 0x8000;
    assert!(fixed.place(0).is_ok() && program.place(0x1_0000).is_ok() && program.place(last).is_ok());
    for (image, bias) in [
        (&fixed, 0x1000),
        (&fixed, !0xfff),
        (&program, 0),
        (&program, 0xf000),
        (&program, 0x1_0001),
        (&program, last + 0x1000),
        (&program, 1 << 63),
        (&program, !0xfff),
    ] {
        assert!(matches!(image.place(bias), Err(Error::Misplaced(_))), "{bias:x}");
    }
}

/// Every field of the header and of every entry, with every value that lies at an edge of something.
#[test]
fn whatever_a_field_says_there_is_an_answer() {
    let mut values: Vec<u64> =
        vec![0, 1, 2, 3, 7, 8, 55, 56, 57, 63, 64, 0xfff, 0x1000, 0x1001, 0x3f90, 0x3f91, 0x4000];
    values.extend((12..64).step_by(3).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]));
    values.extend([
        0x7fff_ffff_efff,
        0x7fff_ffff_f000,
        0x7fff_ffff_f001,
        i64::MAX as u64,
        u64::MAX - 0xfff,
        u64::MAX,
    ]);
    let header = [(16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (52, 2), (54, 2), (56, 2)];
    let entry = [(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8), (48, 8)];
    let entries = (0..3).flat_map(|index| entry.map(|(at, size)| (64 + 56 * index + at, size)));
    let (mut tried, mut accepted) = (0, 0);
    for (at, size) in header.into_iter().chain(entries) {
        for made in [Made::program(), Made::fixed()] {
            let whole = made.bytes();
            for value in &values {
                let mut broken = whole.clone();
                put(&mut broken, at, &value.to_le_bytes()[..size]);
                tried += 1;
                let random = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                accepted += usize::from(invariants::image(broken.as_slice(), random));
            }
        }
    }
    assert!(tried > 2000 && accepted > 100 && accepted < tried, "{accepted} of {tried}");
}

/// Every pair of the entries' fields with the most troublesome values.
#[test]
fn whatever_two_fields_say_there_is_an_answer() {
    let fields: Vec<usize> =
        (0..3).flat_map(|index| [8, 16, 32, 40].map(|at| 64 + 56 * index + at)).collect();
    let values = [0u64, 0x1000, 0x2fff, 0x5000, 1 << 46, 0x7fff_ffff_e000, i64::MAX as u64, !0xfff, u64::MAX];
    let whole = Made::fixed().bytes();
    for (one, other) in fields.iter().flat_map(|one| fields.iter().map(move |other| (*one, *other))) {
        for (first, second) in values.iter().flat_map(|one| values.iter().map(move |other| (*one, *other))) {
            let mut broken = whole.clone();
            put(&mut broken, one, &first.to_le_bytes());
            put(&mut broken, other, &second.to_le_bytes());
            invariants::image(broken.as_slice(), first ^ second);
        }
    }
}

#[test]
fn cut_anywhere_it_is_refused() {
    let whole = Made::program().and(Entry { kind: LOAD, ..Entry::default() }).bytes();
    for length in (0..300).chain((300..whole.len()).step_by(37)) {
        assert!(Image::read(&whole[..length]).is_err(), "cut at {length}");
    }
}

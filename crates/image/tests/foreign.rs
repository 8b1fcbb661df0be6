//! Bytes that nobody meant: an answer, never a panic, and what is accepted holds.

mod support;

use std::ffi::CString;

use beget_image::{Excess, FirstStack, Symbols};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Made, invariants, put, with_symbols};

const FUNCTION: u8 = 0x12;
const LOCAL: u8 = 0x02;

fn strings() -> impl Strategy<Value = Vec<CString>> {
    let string = vec(1u8.., 0..40).prop_map(|bytes| CString::new(bytes).unwrap());
    vec(string, 0..20)
}

proptest! {
    #[test]
    fn any_bytes_are_no_image(bytes in vec(any::<u8>(), 0..400), random: u64) {
        let headed = [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".as_slice(), &bytes].concat();
        for bytes in [bytes, headed] {
            invariants::image(bytes.as_slice(), random);
            invariants::symbols(&bytes, random);
        }
    }

    #[test]
    fn a_changed_image_is_an_answer(
        changes in vec((0usize..240, any::<u8>()), 0..6),
        longer in vec((0usize..30, prop_oneof![0u64..0x8000, any::<u64>()]), 0..3),
        random: u64,
    ) {
        for made in [Made::program(), Made::fixed()] {
            let mut bytes = made.bytes();
            for (at, byte) in &changes {
                bytes[*at] = *byte;
            }
            for (at, value) in &longer {
                put(&mut bytes, at * 8, &value.to_le_bytes());
            }
            invariants::image(bytes.as_slice(), random);
        }
    }

    #[test]
    fn changed_symbols_are_an_answer(changes in vec((0usize..430, any::<u8>()), 0..8), address in 0u64..0x3000) {
        let symbols = [("main", FUNCTION, 3, 0x1000, 0x10), ("helper", LOCAL, 3, 0x1010, 0), ("ifunc", 0x1a, 3, 0x1100, 4)];
        let mut bytes = with_symbols(2, &symbols);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        invariants::symbols(&bytes, address);
    }

    /// Against a search that looks at every symbol.
    #[test]
    fn the_nearest_function_is_found(
        places in vec((0u64..0x1800, prop_oneof![Just(0u64), 1u64..0x40]), 0..30),
        asked in vec(0u64..0x2800, 20),
    ) {
        let names: Vec<String> = (0..places.len()).map(|index| format!("f{index}")).collect();
        let made: Vec<_> =
            names.iter().zip(&places).map(|(name, (at, size))| (name.as_str(), FUNCTION, 3, *at, *size)).collect();
        let bytes = with_symbols(2, &made);
        let symbols = Symbols::read(bytes.as_slice()).unwrap();
        prop_assert_eq!(symbols.count(), places.len());
        for address in asked {
            let nearest = places.iter().map(|place| place.0).filter(|at| *at <= address).max();
            let holds = |size: u64, at: u64| if size == 0 { address < 0x2000 } else { address - at < size };
            let expected = nearest.filter(|at| places.iter().any(|place| place.0 == *at && holds(place.1, *at)));
            prop_assert_eq!(symbols.at(address).map(|found| found.address), expected);
        }
    }

    #[test]
    fn a_stack_reads_back_as_it_was_meant(
        (arguments, environment) in (strings(), strings()),
        name in vec(1u8.., 0..60),
        random: [u8; 16],
        auxiliary in vec((0u64..40, any::<u64>()), 0..30),
        pages in 0u64..0x8_0000_0000,
        shift: u64,
        limit in 0u64..4000,
    ) {
        let name = CString::new(name).unwrap();
        let first = FirstStack {
            arguments: &arguments,
            environment: &environment,
            name: &name,
            platform: c"x86_64",
            random,
            auxiliary: &auxiliary,
            top: pages * 4096,
            shift,
            limit,
        };
        let built = invariants::stack(&first);
        let strings = arguments.iter().chain(&environment);
        let none = arguments.is_empty() as u64 * 9;
        let needed = strings.map(|one| one.count_bytes() as u64 + 9).sum::<u64>() + name.count_bytes() as u64 + 1 + none;
        prop_assert_eq!(built, needed <= limit && pages * 4096 >= 0x2_0000 && pages * 4096 <= 0x7fff_ffff_f000, "{}", pages);
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let long = |bytes: usize| CString::new(vec![b'x'; bytes - 1]).unwrap();
    let build = |arguments: &[CString], environment: &[CString], limit| {
        let first = FirstStack {
            arguments,
            environment,
            name: c"/bin/x",
            platform: c"x86_64",
            random: [7; 16],
            auxiliary: &[],
            top: 0x7fff_ffff_f000,
            shift: 0,
            limit,
        };
        assert_eq!(invariants::stack(&first), first.build().is_ok());
        first.build().map(|built| built.bytes.len())
    };
    let most = 6 << 20;
    assert!(build(&[long(131_072)], &[long(131_072)], most).is_ok());
    assert_eq!(build(&[long(131_073)], &[], most), Err(Excess::String(131_073)));
    assert_eq!(build(&[], &[long(131_073)], most), Err(Excess::String(131_073)));
    let (arguments, environment) = ([c"a".to_owned(), c"bc".to_owned()], [c"D=e".to_owned()]);
    let bytes = 2 + 3 + 4 + 3 * 8 + 7;
    assert!(build(&arguments, &environment, bytes).is_ok());
    assert_eq!(build(&arguments, &environment, bytes - 1), Err(Excess::Total { bytes, limit: bytes - 1 }));
    assert!(build(&vec![c"".to_owned(); 600_000], &[], most).is_ok());
    assert!(build(&vec![c"".to_owned(); 700_000], &[], most).is_err());
}

#[test]
fn a_top_that_is_none_is_refused() {
    let build = |top| {
        let first = FirstStack {
            arguments: &[],
            environment: &[],
            name: c"x",
            platform: c"x86_64",
            random: [7; 16],
            auxiliary: &[],
            top,
            shift: 0,
            limit: 100,
        };
        first.build().map(|built| built.at)
    };
    assert!(build(0x7fff_ffff_f000).is_ok() && build(0x2_0000).is_ok());
    for top in [
        0,
        0x1000,
        0x1_0000,
        0x2_0001,
        0x2_0800,
        0x7fff_ffff_ffff,
        0x8000_0000_0000,
        u64::MAX - 0xfff,
        u64::MAX,
    ] {
        assert_eq!(build(top), Err(Excess::Top(top)));
    }
}

#[test]
fn symbols_that_are_not_there_are_refused() {
    let symbols =
        [("main", FUNCTION, 3, 0x1000, 0x10), ("gone", FUNCTION, 0, 0, 0), ("data", 0x11, 3, 0x1800, 8)];
    let whole = with_symbols(2, &symbols);
    let read =
        |bytes: &[u8]| Symbols::read(bytes).map(|symbols| symbols.count()).map_err(|error| error.to_string());
    assert_eq!(read(&whole), Ok(1), "neither what others define nor what is no function");
    assert_eq!(read(&with_symbols(11, &symbols)), Ok(1), "the dynamic ones serve");
    assert_eq!(read(&with_symbols(7, &symbols)), Ok(0), "none at all");
    let sections = whole.len() - 4 * 64;
    for (at, value, words) in [
        (40, u64::MAX, "cut short in its section table"),
        (40, whole.len() as u64 - 255, "cut short in its section table"),
        (sections + 64 + 24, u64::MAX, "cut short in its symbols"),
        (sections + 64 + 24, whole.len() as u64 - 95, "cut short in its symbols"),
        (sections + 64 + 32, 95, "malformed symbol table"),
        (sections + 64 + 32, 24 << 40, "more than 64 MiB"),
        (sections + 128 + 32, u64::MAX, "more than 64 MiB"),
        (sections + 128 + 32, (64 << 20) - 96, "cut short in its symbols"),
        (sections + 64 + 40, 1, "symbols have no names"),
        (sections + 64 + 40, 9, "symbols have no names"),
        (sections + 64 + 56, 23, "malformed symbol table"),
        (sections + 128 + 32, 3, "malformed table of names"),
        (sections + 128 + 32, 1, "whose name is not there"),
        (58, 63 | 4 << 16, "malformed section table"),
    ] {
        let mut broken = whole.clone();
        // The link is four bytes, and so are two halves; all else is eight.
        let size = if at == 58 || at == sections + 64 + 40 { 4 } else { 8 };
        put(&mut broken, at, &value.to_le_bytes()[..size]);
        let said = read(&broken).expect_err(words);
        assert!(said.starts_with("an ELF file") && said.contains(words), "{at}: {said}, not {words}");
    }
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn the_better_of_two_names_is_told() {
    let bytes = with_symbols(
        2,
        &[
            ("label", FUNCTION, 3, 0x1000, 0),
            ("inner", LOCAL, 3, 0x1000, 8),
            ("outer", FUNCTION, 3, 0x1000, 8),
        ],
    );
    let symbols = Symbols::read(bytes.as_slice()).unwrap();
    let name = |address| symbols.at(address).map(|symbol| symbol.name_lossy().into_owned());
    assert_eq!(name(0x1007).as_deref(), Some("outer"));
    assert_eq!(name(0x1008).as_deref(), Some("label"), "it has no size, and its section goes on");
    assert_eq!((name(0xfff), name(0x2000)), (None, None));
    assert_eq!(symbols.named(b"inner").unwrap().size, 8);
    let bytes = with_symbols(2, &[("label", FUNCTION, 3, 0x1000, 0), ("inner", LOCAL, 3, 0x1000, 8)]);
    let sized = Symbols::read(bytes.as_slice()).unwrap();
    assert_eq!(sized.at(0x1004).unwrap().name, b"inner", "it says that it goes so far");
    assert!(symbols.named(b"inner\0outer").is_none() && symbols.named(b"inne").is_none());
}

//! The programs of this machine: what is computed here is what the kernel did.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use beget_image::{Content, FirstStack, Image, Placed, Symbols, program_bias};

/// What `/proc/PID` tells of a process: mappings by page (protection, offset and file), auxiliary vector, numbers of `stat`.
struct Seen {
    pages: HashMap<u64, (String, u64, String)>,
    auxiliary: HashMap<u64, u64>,
    stat: Vec<u64>,
    stack_end: u64,
}

impl Seen {
    fn of(auxiliary: &[u8], stat: &str, maps: &str) -> Seen {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let auxiliary = auxiliary.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect();
        let after_name = stat.rsplit(") ").next().unwrap();
        // Numbered from 1 as in proc_pid_stat(5); the first three are not numbers, or not ours.
        let stat = [0; 4]
            .into_iter()
            .chain(after_name.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)));
        let (mut pages, mut stack_end) = (HashMap::new(), 0);
        for line in maps.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words[0].split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end, offset) = (number(start), number(end), number(words[2]));
            let file = words.get(5).copied().unwrap_or_default();
            if file == "[stack]" {
                stack_end = end;
            }
            if start < 0x7fff_ffff_f000 {
                for page in (start..end).step_by(4096) {
                    pages.insert(page, (words[1].to_owned(), offset + (page - start), file.to_owned()));
                }
            }
        }
        Seen { pages, auxiliary, stat: stat.collect(), stack_end }
    }

    fn own() -> Seen {
        let text = |path| fs::read_to_string(path).unwrap();
        Seen::of(&fs::read("/proc/self/auxv").unwrap(), &text("/proc/self/stat"), &text("/proc/self/maps"))
    }

    /// A dynamic program that tells of itself.
    fn cat() -> Seen {
        let output = Command::new("/bin/cat")
            .args(["/proc/self/auxv", "/proc/self/stat", "/proc/self/maps"])
            .output()
            .unwrap();
        let end = output.stdout.chunks_exact(16).position(|pair| pair[..8] == [0; 8]).unwrap() * 16 + 16;
        let rest = String::from_utf8_lossy(&output.stdout[end..]).into_owned();
        let (stat, maps) = rest.split_once('\n').unwrap();
        Seen::of(&output.stdout[..end], stat, maps)
    }

    /// Every page is mapped from where it was to be, and may be used as it was to be, or was made read-only since by the program
    /// itself.
    fn holds(&self, placed: &Placed, path: &Path) {
        let mut compared = 0;
        for mapping in &placed.mappings {
            for page in (mapping.at..mapping.at + mapping.length).step_by(4096) {
                let (protection, offset, file) = self.pages.get(&page).expect("it is mapped");
                let bit = |index: usize, letter| protection.as_bytes()[index] == letter;
                let wanted = mapping.protection;
                assert_eq!((bit(0, b'r'), bit(2, b'x')), (wanted.read(), wanted.execute()), "{page:x}");
                assert!(wanted.write() || !bit(1, b'w'), "{page:x}");
                match mapping.content {
                    Content::File { offset: from } => {
                        assert_eq!(*offset, from + (page - mapping.at), "{page:x}");
                        assert_eq!(fs::canonicalize(file).unwrap(), path);
                    }
                    Content::Zero => assert!(file.is_empty() || file == "[heap]", "{page:x} is of {file}"),
                }
                compared += 1;
            }
        }
        assert!(compared > 3, "{compared} pages");
    }

    fn agrees(&self, image: &Image, path: &Path) {
        let bias = self.auxiliary[&9] - image.entry();
        let placed = image.place(bias).unwrap();
        self.holds(&placed, path);
        assert_eq!(placed.entry, self.auxiliary[&9], "AT_ENTRY");
        assert_eq!(placed.headers, self.auxiliary[&3], "AT_PHDR");
        assert_eq!(placed.header_count as u64, self.auxiliary[&5], "AT_PHNUM");
        assert_eq!(
            (placed.code.start, placed.code.end),
            (self.stat[26], self.stat[27]),
            "start_code, end_code"
        );
        assert_eq!(
            (placed.data.start, placed.data.end),
            (self.stat[45], self.stat[46]),
            "start_data, end_data"
        );
    }
}

#[test]
fn this_very_program_lies_where_it_would_be_put() {
    let path = std::env::current_exe().unwrap();
    let image = Image::read(&File::open(&path).unwrap()).unwrap();
    Seen::own().agrees(&image, &fs::canonicalize(path).unwrap());
}

#[test]
fn a_dynamic_program_and_its_loader_lie_where_they_would_be_put() {
    let seen = Seen::cat();
    let path = fs::canonicalize("/bin/cat").unwrap();
    let image = Image::read(&File::open(&path).unwrap()).unwrap();
    seen.agrees(&image, &path);
    let Some(loader) = image.interpreter() else { return };
    let path = fs::canonicalize(loader).unwrap();
    let loader = Image::read(&File::open(&path).unwrap()).unwrap();
    assert_eq!(loader.interpreter(), None);
    seen.holds(&loader.place(seen.auxiliary[&7]).unwrap(), &path);
    // Where the kernel put a position-independent program is a place that could have been chosen here.
    if image.kind() == beget_image::Kind::Anywhere {
        let bias = seen.auxiliary[&9] - image.entry();
        assert!(bias >= program_bias(&image, 0) && bias <= program_bias(&image, u64::MAX), "{bias:x}");
        let end = image.place(bias).unwrap().end;
        let heap = seen.stat[47];
        assert!(heap >= beget_image::brk_start(end, None), "{heap:x}");
        assert!(heap <= beget_image::brk_start(end, Some((1 << 18) - 1)), "{heap:x}");
    }
}

#[test]
fn every_program_of_the_system_can_be_read() {
    let (mut images, mut refused) = (0, Vec::new());
    for entry in fs::read_dir("/usr/bin").unwrap().flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        let mut magic = [0; 4];
        if file.read_at(&mut magic, 0).ok() != Some(4) || &magic != b"\x7fELF" {
            continue;
        }
        match Image::read(&file) {
            Ok(image) => {
                images += 1;
                let placed = image.place(program_bias(&image, 12_345));
                assert!(placed.is_ok(), "{}: {placed:?}", path.display());
                let symbols = Symbols::read(&file);
                assert!(symbols.is_ok(), "{}: {symbols:?}", path.display());
            }
            Err(error) => refused.push(format!("{}: {error}", path.display())),
        }
    }
    assert!(images > 20 && refused.is_empty(), "{images} read, {refused:#?} refused");
}

/// The kernel's own first stack of this process, against one built from the same parts: byte for byte.
#[test]
fn the_first_stack_is_the_kernels() {
    let seen = Seen::own();
    let strings = |path: &str| -> Vec<CString> {
        let bytes = fs::read(path).unwrap();
        let parts = bytes.split_inclusive(|byte| *byte == 0);
        parts.map(|part| CString::from_vec_with_nul(part.to_vec()).unwrap()).collect()
    };
    let memory = File::open("/proc/self/mem").unwrap();
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        memory.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    let string = |at: u64| {
        let bytes = read(at, 256.min((seen.stack_end - at) as usize));
        CString::new(bytes.split(|byte| *byte == 0).next().unwrap()).unwrap()
    };
    let vector = fs::read("/proc/self/auxv").unwrap();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let auxiliary: Vec<(u64, u64)> = vector
        .chunks_exact(16)
        .map(|pair| (word(&pair[..8]), word(&pair[8..])))
        .take_while(|pair| pair.0 != 0)
        .collect();
    let start = seen.stat[28];
    let (arguments, environment) = (strings("/proc/self/cmdline"), strings("/proc/self/environ"));
    let (name, platform) = (string(seen.auxiliary[&31]), string(seen.auxiliary[&15]));
    let mut first = FirstStack {
        arguments: &arguments,
        environment: &environment,
        name: &name,
        platform: &platform,
        random: read(seen.auxiliary[&25], 16).try_into().unwrap(),
        auxiliary: &auxiliary,
        top: seen.stack_end,
        shift: 0,
        limit: 6 << 20,
    };
    // The gap was random: it is what makes the stack begin where it does.
    let built =
        (0..8192).step_by(16).chain([8191]).map(|shift| FirstStack { shift, ..first }.build().unwrap());
    let built = built.into_iter().find(|built| built.at == start && built.auxiliary == vector);
    let built = built.expect("one gap gives the kernel's own place");
    assert_eq!(built.bytes, read(start, built.bytes.len()));
    assert_eq!(
        (built.arguments.start, built.arguments.end),
        (seen.stat[48], seen.stat[49]),
        "arg_start, arg_end"
    );
    assert_eq!(
        (built.environment.start, built.environment.end),
        (seen.stat[50], seen.stat[51]),
        "env_start, env_end"
    );
    first.limit = 0;
    assert!(first.build().is_err());
}

#[test]
fn a_function_is_found_by_its_name_and_by_its_address() {
    #[inline(never)]
    fn somewhere() -> usize {
        std::hint::black_box(7)
    }
    let path = std::env::current_exe().unwrap();
    let file = File::open(&path).unwrap();
    let (image, symbols) = (Image::read(&file).unwrap(), Symbols::read(&file).unwrap());
    let bias = Seen::own().auxiliary[&9] - image.entry();
    let address = somewhere as fn() -> usize as usize as u64 - bias;
    let found = symbols.at(address + 1).expect("this function is in this program");
    assert!(found.name_lossy().contains("somewhere"), "{}", found.name_lossy());
    assert_eq!((found.address, found.offset, somewhere()), (address, 1, 7));
    assert_eq!(symbols.named(found.name).unwrap().address, address);
    assert_eq!(symbols.at(image.entry()).unwrap().name, b"_start");
    assert_eq!(symbols.named(b"no function of ours"), None);
}

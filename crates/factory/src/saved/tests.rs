//! Files that are not as they were, and files that somebody made to do harm: an error, told with its reason, and never more.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use beget::{Command, Grant, Nursery, Stdio};
use beget_image::frozen::{Frozen, Mapping, Preamble, Source};

use super::format::{self, Seal};
use super::*;
use crate::ready::Ready;
use crate::tracee::Tracee;

const LONG: Duration = Duration::from_secs(60);

/// What is done to a header.
type Change<'a> = &'a dyn Fn(&mut Frozen);

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("beget-saved-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("the temporary folder can be written");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn new_file(path: &Path) -> File {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path).expect("a new file")
}

fn cat() -> Command {
    let mut command = Command::new("/bin/cat");
    command.grant(Grant::Base).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A saved `cat`, at its entry.
fn saved(folder: &Folder) -> PathBuf {
    let path = folder.0.join("whole");
    let nursery = Nursery::new().expect("a nursery");
    let (process, _template) = cat().nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    tracee.run_until_ready(&Ready::Entry, LONG).expect("it gets to its entry");
    let saving = Saving { ready: &Ready::Entry, adapter: None, note: b"", planted: None };
    save(&mut tracee, &saving, &new_file(&path)).expect("it is saved");
    path
}

/// A copy of an image with another header, sealed as if it had been made so.
fn changed(whole: &Path, change: impl FnOnce(&mut Frozen)) -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let file = File::open(whole).expect("it is there");
    let opened = format::open(&file).expect("it is whole");
    let mut contents = vec![0; opened.preamble.length as usize];
    file.read_exact_at(&mut contents, opened.preamble.contents).expect("it is whole");
    let mut frozen = opened.frozen;
    change(&mut frozen);
    contents.resize(frozen.length() as usize, 0);
    frozen.chunks = contents.chunks(64 << 10).map(format::sha256).collect();
    let header = frozen.write();
    let preamble = Preamble::of(header.len() as u64, contents.len() as u64);
    let name = format!("changed-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let file = new_file(&whole.with_file_name(name));
    file.write_all_at(&header, 0).expect("room");
    file.write_all_at(&Seal::new(&header).write(&preamble), preamble.header).expect("room");
    file.write_all_at(&contents, preamble.contents).expect("room");
    file
}

/// Why it cannot be loaded.
fn refusal(file: File) -> String {
    match load(file) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    }
}

fn load(file: File) -> crate::Result<Loaded> {
    let nursery = Nursery::new().expect("a nursery");
    Image::open(file, Verify::Whole)?.load(cat().nursery(&nursery))
}

/// A copy, some bytes of which are others.
fn overwritten(whole: &Path, name: &str, at: u64, bytes: &[u8]) -> File {
    let path = whole.with_file_name(name);
    std::fs::copy(whole, &path).expect("it can be copied");
    let file = File::options().read(true).write(true).open(path).expect("it is there");
    file.write_all_at(bytes, at).expect("room");
    file
}

#[test]
fn a_file_that_was_changed_is_refused() {
    let folder = Folder::new();
    let whole = saved(&folder);
    let open = |file: File, verify| Image::open(file, verify).map(drop).map_err(|error| error.to_string());
    let size = std::fs::metadata(&whole).expect("it is there").len();
    let opened = format::open(&File::open(&whole).expect("it is there")).expect("it is whole");
    let Preamble { header, contents, .. } = opened.preamble;
    for verify in [Verify::Whole, Verify::Sealed, Verify::Lazy] {
        assert_eq!(open(File::open(&whole).expect("it is there"), verify), Ok(()));
        let last = overwritten(&whole, "last", header - 1, &[opened.seal.root[0] ^ 0x55; 1]);
        assert_eq!(open(last, verify), Err("image: header: it was changed: its digest is another".into()));
        let seal = overwritten(&whole, "seal", header + 500, &[1]);
        assert_eq!(open(seal, verify), Err("image: seal: it is not as it was made".into()));
        for end in [0, 10, 47, header - 1, header + 5, contents, size - 1] {
            let short = overwritten(&whole, "short", 0, &[]);
            short.set_len(end).expect("it can be cut");
            let words = open(short, verify).expect_err("it was cut off");
            let meant = ["cut off", "not a saved image", "ends within"];
            assert!(meant.iter().any(|meant| words.contains(meant)), "{end}: {words}");
        }
        let long = overwritten(&whole, "long", size, b"more");
        assert_eq!(open(long, verify), Err("image: file: there are 4 bytes behind its end".into()));
        let other = overwritten(&whole, "other", 8, &[9]);
        assert!(open(other, verify).is_err_and(|words| words.contains("version 9")));
    }
    // Some page of it, and the very last byte.
    for at in [contents + 4096 + 17, size - 1] {
        let mut byte = [0];
        File::open(&whole).expect("it is there").read_exact_at(&mut byte, at).expect("it is there");
        let flipped = || overwritten(&whole, "flipped", at, &[byte[0] ^ 4]);
        for verify in [Verify::Whole, Verify::Sealed] {
            let words = open(flipped(), verify).expect_err("it was changed");
            assert!(words.starts_with("image: contents: they were changed"), "{words}");
        }
        // What is not looked at is not promised.
        assert_eq!(open(flipped(), Verify::Lazy), Ok(()));
    }
}

#[test]
fn a_file_that_others_may_change_is_copied_or_refused() {
    let folder = Folder::new();
    let whole = saved(&folder);
    std::fs::set_permissions(&whole, Permissions::from_mode(0o620)).expect("it is ours");
    for verify in [Verify::Whole, Verify::Lazy] {
        let error =
            Image::open(File::open(&whole).expect("it is there"), verify).expect_err("others may write it");
        assert!(error.to_string().contains("others may change it"), "{error}");
    }
    let image = Image::open(File::open(&whole).expect("it is there"), Verify::Sealed).expect("it is copied");
    // What is loaded is the copy.
    std::fs::write(&whole, b"").expect("it can be written");
    let nursery = Nursery::new().expect("a nursery");
    image.load(cat().nursery(&nursery)).expect("it is loaded");
}

#[test]
fn another_machine_kernel_or_program_is_told() {
    let folder = Folder::new();
    let whole = saved(&folder);
    load(changed(&whole, |_| {})).expect("it is the same");
    let told = |change: fn(&mut Frozen)| refusal(changed(&whole, change));
    for (words, meant) in [
        (told(|it| it.system.machine = b"aarch64".to_vec()), "saved on aarch64, and this is x86_64"),
        (told(|it| it.system.processor.extend(b" warp")), "processor: this one has no warp"),
        (told(|it| it.system.extended |= 1 << 40), "its state has the parts"),
        (told(|it| it.system.calls = [0; 32]), "page of calls is another than that of Linux"),
        (told(|it| it.system.kernel.truncate(1)), "page of calls"),
        (told(|it| it.thread.extended.truncate(512)), "its state is of another size"),
        (told(|it| it.program.executable ^= 1), "the command executes /"),
        (
            told(|it| {
                let executable = it.program.executable as usize;
                let library = it.files.iter_mut().enumerate().find(|(index, _)| *index != executable);
                library.expect("it has libraries").1.digest = [0; 32];
            }),
            "it was changed: its digest is not that of the file that was saved with",
        ),
        (
            told(|it| {
                let executable = it.program.executable as usize;
                let library = it.files.iter_mut().enumerate().find(|(index, _)| *index != executable);
                library.expect("it has libraries").1.path = b"/usr/lib/gone.so".to_vec();
            }),
            "file /usr/lib/gone.so: no such file",
        ),
    ] {
        assert!(words.contains(meant), "{words}: {meant}");
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    const END: u64 = beget_image::frozen::END;
    let folder = Folder::new();
    let whole = saved(&folder);
    let plain = |range| Mapping { range, rights: 3, advice: 0, source: Source::Anonymous };
    let changes: [(&str, Change<'_>); 11] = [
        ("all memory there is", &|it| {
            it.mappings = vec![plain(0x1000..END)];
            it.runs.clear();
            it.system.kernel.clear();
        }),
        ("all memory but what the kernel has", &|it| {
            let first = it.system.kernel[0].range.start;
            it.mappings = vec![plain(0x1_0000..first)];
            it.runs.clear();
        }),
        ("an instruction of the kernel's", &|it| it.thread.registers[16] = 1 << 63),
        ("a base of the kernel's", &|it| it.thread.registers[21] = u64::MAX),
        ("sequences that lie nowhere", &|it| it.thread.sequences = [0x10_0000, 32, 1]),
        ("sequences at the end of everything", &|it| it.thread.sequences = [u64::MAX - 3, 32, 1]),
        ("a number that is kept nowhere", &|it| it.thread.numbers = [u64::MAX - 1, 0]),
        ("a layout that is none", &|it| it.program.memory = [u64::MAX; 11]),
        ("a directory that is not there", &|it| it.program.directory = b"/nowhere".to_vec()),
        ("a state of the processor that cannot be", &|it| it.thread.extended.fill(0xff)),
        ("a signal stack that is none", &|it| it.thread.stack = [5, 77, 1]),
    ];
    for (what, change) in changes {
        let words = match load(changed(&whole, change)) {
            Ok(_) => panic!("{what}: it was loaded"),
            Err(error) => error.to_string(),
        };
        assert!(words.starts_with("image: ") || words.starts_with("template: "), "{what}: {words}");
    }
}

#[test]
fn a_program_that_goes_on_nowhere_ends_alone() {
    let folder = Folder::new();
    let whole = saved(&folder);
    let changes: [Change<'_>; 4] = [
        &|it| it.thread.registers[16] = 0x10_0000,
        &|it| it.thread.registers[19] = 0,
        // No memory at all: no stack, no code.
        &|it| {
            it.mappings.clear();
            it.runs.clear();
            (it.thread.sequences, it.thread.numbers, it.program.ready) = ([0; 3], [0; 2], b"stop".to_vec());
        },
        // Restartable sequences that span all memory lie in the program's own: the stub is not sent elsewhere.
        &|it| it.thread.locks = [u64::MAX - 64, 24],
    ];
    for change in changes {
        let loaded = match load(changed(&whole, change)) {
            Ok(loaded) => loaded,
            // The kernel may say so at once.
            Err(_) => continue,
        };
        for _ in 0..2 {
            let product = loaded.template.start(loaded.template.first_part()).expect("a copy");
            let ended = product.wait_timeout(LONG).expect("it is waited for").expect("it ends");
            let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
            assert!(signal.is_some() || ended.status.code() == Some(0), "{:?}", ended.status);
        }
    }
}

#[test]
fn a_signature_is_held_against_the_keys_that_are_trusted() {
    let folder = Folder::new();
    let whole = saved(&folder);
    let (key, other) = (SecretKey::generate().expect("a key"), SecretKey::generate().expect("a key"));
    let file = || File::options().read(true).write(true).open(&whole).expect("it is there");
    let image = || Image::open(file(), Verify::Whole).expect("it is whole");
    let told = |keys: &[PublicKey]| image().signed_by(keys).map_err(|error| error.to_string());
    assert_eq!(told(&[key.public()]), Err("image: signature: it is not signed".into()));
    let digest = image().info().digest;
    assert_eq!(sign(&file(), &key).expect("it is signed"), key.public());
    assert_eq!(sign(&file(), &key).expect("it is signed"), key.public());
    assert_eq!(image().info().signers, [key.public()]);
    assert_eq!(image().info().digest, digest);
    assert_eq!(told(&[other.public(), key.public()]), Ok(key.public()));
    let words = told(&[other.public()]).expect_err("another's");
    assert!(words.contains(&format!("but by {}", key.public())), "{words}");
    // Said to be signed by somebody who did not.
    let opened = format::open(&file()).expect("it is whole");
    let forged = Seal { signatures: vec![(other.public(), [7; 64])], ..opened.seal };
    file().write_all_at(&forged.write(&opened.preamble), opened.preamble.header).expect("room");
    let words = told(&[other.public()]).expect_err("it is forged");
    assert_eq!(words, format!("image: signature: the signature of {} does not hold", other.public()));
    // Who signs replaces what does not hold; and there is room for eight.
    sign(&file(), &other).expect("it is signed");
    assert_eq!(told(&[other.public()]), Ok(other.public()));
    for _ in 1..8 {
        sign(&file(), &SecretKey::generate().expect("a key")).expect("it is signed");
    }
    let error = sign(&file(), &key).expect_err("it is full");
    assert!(error.to_string().contains("room for no more"), "{error}");
    assert_eq!(inspect(&file()).expect("it is whole").signers.len(), 8);
}

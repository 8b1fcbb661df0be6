//! Saving a stopped program: looking at all that it is, and writing that.
//!
//! Safety idea: what is not understood is refused, before a byte is written. The file is no image until its first bytes are there, which are
//! written last.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use beget::{Process, Template};
use beget_image::frozen::{
    CHUNK, Descriptor, Frozen, KnownFile, LONGEST, LONGEST_NOTE, MAGIC, Preamble, Program,
};
use beget_sys::memory::{PAGE, how};
use beget_sys::nr;

use super::areas::{self, Area};
use super::format::{self, Seal};
use super::image::Info;
use super::{capture, memory, refused, shown, system, thread};
use crate::ready::Ready;
use crate::tracee::{Context, Planted, Tracee};
use crate::{Error, Fault, Result};

/// What is said of an image beside what is found.
#[derive(Clone, Copy, Debug)]
pub struct Saving<'a> {
    /// Where the program is ready: for whoever loads it.
    pub ready: &'a Ready,
    /// The adapter that speaks to it there, if one does: whoever loads it must have it too.
    pub adapter: Option<&'a str>,
    /// Text that is kept with it and covered by its digest, as a factory's own description; at most 1 MiB.
    pub note: &'a [u8],
    /// The stub, where it was planted already: it is not part of what is saved.
    pub planted: Option<&'a Planted>,
}

/// The ready point, and behind a space the adapter that speaks to the program there.
fn readiness(saving: &Saving<'_>) -> String {
    let adapter = saving.adapter.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}{adapter}", saving.ready)
}

/// Saves a stopped program into `file`, which is empty or loses what it holds: its memory, the state of its thread, what it does with
/// signals, its working directory, mask and name, and its own regular files that are open for reading. The program stays as it was.
///
/// The file holds the program's memory, and so whatever secrets it has: it is for its owner alone to read.
///
/// # Errors
/// A program that has what cannot be saved truly, told by name: other threads, descriptors of its own that are anything but regular files open
/// for reading, memory that is shared and can be written, armed timers, signals that wait; one whose program file is not at its path any more.
/// Those of tracing, and of writing; what was written then is no image.
pub fn save(tracee: &mut Tracee, saving: &Saving<'_>, file: &File) -> Result<Info> {
    save_as(tracee, saving, file, None)
}

/// Saves the program of a template that serves, as [`save`] does, and lets it serve on: what its copies go on with. [`Saving::planted`] is what
/// was put there. Whoever asks the template for a copy meanwhile waits, and so does its nursery.
///
/// # Errors
/// As for [`save`]; a template that may not be traced, or has ended. It serves on whatever goes wrong.
pub fn save_serving(template: &Process, saving: &Saving<'_>, file: &File) -> Result<Info> {
    let planted = saving.planted.ok_or_else(|| refused("template", "it is not told where its stub is"))?;
    let mut tracee = Tracee::pause(template)?;
    let ready = Context::read(&tracee, planted.frame());
    let saved = ready.and_then(|ready| save_as(&mut tracee, saving, file, Some(ready)));
    let resumed = tracee.resume();
    let info = saved?;
    resumed.map(|()| info)
}

fn save_as(tracee: &mut Tracee, saving: &Saving<'_>, file: &File, ready: Option<Context>) -> Result<Info> {
    if saving.note.len() > LONGEST_NOTE {
        return Err(refused("note", format!("it is longer than {LONGEST_NOTE} bytes")));
    }
    let process = Seen::of(tracee.number());
    process.is_alone(ready.is_some())?;
    let areas = process.areas()?;
    let (rights, flags) = ((how::READ | how::WRITE) as u64, (how::PRIVATE | how::ANONYMOUS) as u64);
    let scratch = tracee.call("scratch", nr::MMAP, [0, PAGE as u64, rights, flags, u64::MAX, 0])?;
    let told = Told::of(tracee, scratch, ready);
    tracee.call("scratch", nr::MUNMAP, [scratch, PAGE as u64, 0, 0, 0, 0])?;
    let Told { thread, signals, heap_end } = told?;
    let extended = thread::features(&thread.extended)
        .ok_or_else(|| refused("processor", "it does not tell which state it keeps"))?;
    let mut files = Files { root: process.path("root"), ..Files::default() };
    let program = process.program(&mut files, saving, heap_end)?;
    let descriptors = process.descriptors(&mut files)?;
    let mut frozen = Frozen {
        system: system::look(tracee, &areas, extended)?,
        program,
        thread,
        signals,
        descriptors,
        note: saving.note.to_vec(),
        ..Frozen::default()
    };
    let left_out: Vec<_> = saving.planted.map_or_else(Vec::new, Planted::ranges);
    let captured = capture::all(tracee, &areas, &left_out, &mut files)?;
    (frozen.mappings, frozen.runs, frozen.files) = (captured.mappings, captured.runs, files.known);
    write(tracee, frozen, file)
}

/// Writes contents, then the header that makes the file an image.
fn write(tracee: &Tracee, mut frozen: Frozen, file: &File) -> Result<Info> {
    let unwritten = |error| Error::io("image: file", error);
    file.set_len(0).map_err(unwritten)?;
    let length = frozen.length();
    frozen.chunks = vec![[0; 32]; length.div_ceil(CHUNK) as usize];
    // A header is as long whatever its digests are.
    let preamble = Preamble::of(frozen.write().len() as u64, length);
    if preamble.header > LONGEST {
        return Err(refused("header", "the program has more mappings than an image can hold"));
    }
    let mut pages = memory::Pages::new(tracee, &frozen);
    let mut chunks = Vec::new();
    for at in (0..length).step_by(CHUNK as usize) {
        let part = pages.next((length - at).min(CHUNK) as usize)?;
        file.write_all_at(part, preamble.contents + at).map_err(unwritten)?;
        chunks.push(format::sha256(part));
    }
    frozen.chunks = chunks;
    // Empty contents leave the file too short.
    file.set_len(preamble.file()).map_err(unwritten)?;
    let header = frozen.write();
    let seal = Seal::new(&header);
    // What would be refused when it is read is not written.
    Frozen::read(&header, &preamble).map_err(|error| refused("header", error.to_string()))?;
    file.write_all_at(&seal.write(&preamble), preamble.header).map_err(unwritten)?;
    file.write_all_at(&header, 0).map_err(unwritten)?;
    file.sync_all().map_err(unwritten)?;
    Ok(Info::of(&frozen, &preamble, &seal))
}

/// What is asked of the kernel from inside.
struct Told {
    thread: beget_image::frozen::Thread,
    signals: Vec<beget_image::frozen::Disposition>,
    heap_end: u64,
}

impl Told {
    fn of(tracee: &mut Tracee, scratch: u64, ready: Option<Context>) -> Result<Told> {
        for timer in 0..3 {
            tracee.call("timers", nr::GETITIMER, [timer, scratch, 0, 0, 0, 0])?;
            for at in [16, 24] {
                if tracee.word(scratch + at)? != 0 {
                    return Err(refused("timers", "one is armed (setitimer, alarm)"));
                }
            }
        }
        let heap_end = tracee.call("heap", nr::BRK, [0; 6])?;
        Ok(Told {
            thread: thread::take(tracee, scratch, ready)?,
            signals: thread::take_signals(tracee, scratch)?,
            heap_end,
        })
    }
}

/// The regular files that a program has mapped or open, each known by its digest.
#[derive(Debug, Default)]
pub(super) struct Files {
    root: PathBuf,
    pub(super) known: Vec<KnownFile>,
    by_identity: HashMap<(u64, u64), u32>,
    /// Kept open to be compared with what is in memory.
    opened: Vec<File>,
}

impl Files {
    /// The file of this name in the program's root, when it is the very one of that device and number; and its index.
    pub(super) fn find(&mut self, path: &[u8], device: u64, inode: u64) -> Result<Option<u32>> {
        if let Some(index) = self.by_identity.get(&(device, inode)) {
            return Ok(Some(*index));
        }
        let Some(relative) = path.strip_prefix(b"/") else { return Ok(None) };
        let name = self.root.join(std::ffi::OsStr::from_bytes(relative));
        // Looked at before it is opened: opening a device may do something.
        let is_it = |metadata: &std::fs::Metadata| {
            metadata.is_file() && (metadata.dev(), metadata.ino()) == (device, inode)
        };
        if !std::fs::metadata(&name).is_ok_and(|metadata| is_it(&metadata)) {
            return Ok(None);
        }
        let Ok(file) = File::open(&name) else { return Ok(None) };
        let told = |error| Error::io(format!("image: {}", shown(path)), error);
        if !is_it(&file.metadata().map_err(told)?) {
            return Ok(None);
        }
        // What a loaded program is made of is saved with it: the image that it came from may go.
        let mut start = MAGIC.map(|_| 0);
        if file.read_exact_at(&mut start, 0).is_ok() && start == MAGIC {
            return Ok(None);
        }
        let (size, digest) = format::digest_of(&file).map_err(told)?;
        let index = self.known.len() as u32;
        self.known.push(KnownFile { path: path.to_vec(), size, digest });
        self.by_identity.insert((device, inode), index);
        self.opened.push(file);
        Ok(Some(index))
    }

    pub(super) fn open(&self, index: u32) -> Option<&File> {
        self.opened.get(index as usize)
    }
}

/// What `/proc` tells of a process.
struct Seen {
    folder: PathBuf,
}

impl Seen {
    fn of(number: i32) -> Seen {
        Seen { folder: PathBuf::from(format!("/proc/{number}")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        std::fs::read(self.path(name)).map_err(|error| Error::io(format!("image: {name}"), error))
    }

    fn link(&self, name: &str) -> Result<Vec<u8>> {
        let target = std::fs::read_link(self.path(name));
        target
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .map_err(|error| Error::io(format!("image: {name}"), error))
    }

    fn number(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn areas(&self) -> Result<Vec<Area>> {
        areas::read_all(&self.read("smaps")?)
            .ok_or_else(|| Error::new("image: smaps", "it is not understood", Fault::Beget))
    }

    /// A field of `status`.
    fn status(&self, key: &str) -> Result<String> {
        let text = String::from_utf8_lossy(&self.read("status")?).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().trim().to_owned())
    }

    /// Nothing is there that is neither memory nor descriptor.
    fn is_alone(&self, serves: bool) -> Result<()> {
        let threads = self.status("Threads")?;
        if threads != "1" {
            return Err(refused("threads", format!("it has {threads}, and one can be saved")));
        }
        /// Sent by whoever seized it, to end its stop.
        const SIGCONT: u64 = 1 << 17;
        for key in ["SigPnd", "ShdPnd"] {
            let waiting = u64::from_str_radix(&self.status(key)?, 16).unwrap_or(u64::MAX) & !SIGCONT;
            // A template takes none, and none of those that wait there is a copy's.
            if !serves && waiting != 0 {
                return Err(refused("signals", "some wait to be delivered"));
            }
        }
        // A kernel without it (CONFIG_PROC_CHILDREN) has no such file; then the survey of a template finds them.
        let children = self.read(&format!("task/{}/children", self.number()));
        if children.is_ok_and(|text| !text.trim_ascii().is_empty()) {
            return Err(refused("children", "it has some, which would not be there again"));
        }
        let shadow = self.status("x86_Thread_features")?;
        if !shadow.is_empty() {
            return Err(refused("processor", format!("it uses {shadow}")));
        }
        // Of a kernel that has no POSIX timers there is no such file.
        if std::fs::read(self.path("timers")).is_ok_and(|text| !text.is_empty()) {
            return Err(refused("timers", "it has made some (timer_create)"));
        }
        if self.read("personality").is_ok_and(|text| text.iter().any(|digit| !b"0\n".contains(digit))) {
            return Err(refused("personality", "it is not plain Linux"));
        }
        let parent = Seen::of(self.status("PPid")?.parse().unwrap_or(0));
        let filters =
            |seen: &Seen| seen.status("Seccomp_filters").ok().and_then(|count| count.parse::<u32>().ok());
        if let (Some(own), Some(inherited)) = (filters(self), filters(&parent))
            && own > inherited + 1
        {
            return Err(refused(
                "filters",
                "it has put on some itself (seccomp), which would not be there again",
            ));
        }
        Ok(())
    }

    fn program(&self, files: &mut Files, saving: &Saving<'_>, heap_end: u64) -> Result<Program> {
        let path = self.link("exe")?;
        let metadata =
            std::fs::metadata(self.path("exe")).map_err(|error| Error::io("image: program", error))?;
        let executable = files.find(&path, metadata.dev(), metadata.ino())?;
        let executable = executable
            .ok_or_else(|| refused("program", format!("it is not the file at {} any more", shown(&path))))?;
        let directory = self.link("cwd")?;
        let umask = u32::from_str_radix(&self.status("Umask")?, 8);
        let name = self.read("comm")?;
        Ok(Program {
            executable,
            name: name.strip_suffix(b"\n").unwrap_or(&name).to_vec(),
            directory,
            umask: umask.map_err(|_| refused("umask", "the kernel does not tell it"))?,
            ready: readiness(saving).into_bytes(),
            memory: self.layout(heap_end)?,
            auxiliary: self.read("auxv")?,
        })
    }

    /// Where the parts of its memory are, as `PR_SET_MM_MAP` has them.
    fn layout(&self, heap_end: u64) -> Result<[u64; 11]> {
        let text = self.read("stat")?;
        // The name before the last parenthesis may hold anything.
        let behind = text.iter().rposition(|byte| *byte == b')').and_then(|at| text.get(at + 1..));
        let fields: Vec<u64> = String::from_utf8_lossy(behind.unwrap_or_default())
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // Counted from 1 in `man 5 proc_pid_stat`; two were before.
        let field = |number: usize| fields.get(number - 3).copied();
        let found = [26, 27, 45, 46, 47, 28, 48, 49, 50, 51].map(field);
        let [Some(code), Some(code_end), Some(data), Some(data_end), Some(heap), rest @ ..] = found else {
            return Err(refused("layout", "the kernel does not tell it"));
        };
        let [Some(stack), Some(arguments), Some(arguments_end), Some(variables), Some(variables_end)] = rest
        else {
            return Err(refused("layout", "the kernel does not tell it"));
        };
        Ok([
            code,
            code_end,
            data,
            data_end,
            heap,
            heap_end,
            stack,
            arguments,
            arguments_end,
            variables,
            variables_end,
        ])
    }

    /// Descriptors of its own; the standard ones are those of whoever loads it.
    fn descriptors(&self, files: &mut Files) -> Result<Vec<Descriptor>> {
        const STANDARD: u32 = 2;
        let mut numbers = Vec::new();
        let told = |error| Error::io("image: descriptors", error);
        for entry in std::fs::read_dir(self.path("fd")).map_err(told)? {
            let name = entry.map_err(told)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        numbers.retain(|number| *number > STANDARD && *number != Template::CHANNEL as u32);
        numbers.sort_unstable();
        let mut descriptors: Vec<Descriptor> = Vec::new();
        for number in numbers {
            let one = self.descriptor(files, number)?;
            if descriptors.iter().any(|other| other.file == one.file) {
                let words = "it is of the same file as another, and may share its place in it";
                return Err(refused(&format!("descriptor {number}"), words));
            }
            descriptors.push(one);
        }
        Ok(descriptors)
    }

    fn descriptor(&self, files: &mut Files, number: u32) -> Result<Descriptor> {
        const ACCESS_OR_PATH: u32 = 0o10_000_003;
        const DIRECTORY: u32 = 0o200_000;
        const CLOSING: u32 = 0o2_000_000;
        /// What a descriptor that is open for reading may have been opened with; what is of no effect there is left out.
        const KEPT: u32 = 0o1_000_000 | 0o4000 | 0o100_000 | 0o400_000;
        let part = format!("descriptor {number}");
        let name = self.link(&format!("fd/{number}"))?;
        let metadata = std::fs::metadata(self.path(&format!("fd/{number}")));
        let metadata = metadata.map_err(|error| Error::io(format!("image: {part}"), error))?;
        if !metadata.is_file() {
            return Err(refused(&part, format!("it is no regular file: {}", shown(&name))));
        }
        let text = String::from_utf8_lossy(&self.read(&format!("fdinfo/{number}"))?).into_owned();
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
        let (Some(flags), Some(Ok(offset))) = (flags, field("pos:").map(str::parse)) else {
            return Err(refused(&part, "the kernel does not tell how it was opened"));
        };
        if flags & (ACCESS_OR_PATH | DIRECTORY) != 0 {
            return Err(refused(&part, format!("it is open for more than reading: {}", shown(&name))));
        }
        if field("lock:").is_some() {
            return Err(refused(&part, format!("it is locked: {}", shown(&name))));
        }
        let Some(file) = files.find(&name, metadata.dev(), metadata.ino())? else {
            return Err(refused(&part, format!("it is not the file at {} any more", shown(&name))));
        };
        Ok(Descriptor { number, file, offset, flags: flags & KEPT, closing: flags & CLOSING != 0 })
    }
}

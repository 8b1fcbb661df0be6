//! Starting a saved program again: in a process of a command's, stopped before the first instruction of what that executed.
//!
//! Safety idea: all is done by calls of the system that the new process is made to make, under the rules that the command holds it to; where
//! the image says something that cannot be, the kernel says so, and the process is ended. No instruction of the image's runs here.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use beget::{Command, Process, Template};
use beget_image::frozen::{Descriptor, FIRST, Frozen, KnownFile, Mapping, Run, Source};
use beget_sys::memory::{PAGE, how};
use beget_sys::nr;
use beget_sys::process::MemoryMap;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::areas::{self, Area};
use super::image::Image;
use super::{format, memory, refused, shown, system, thread};
use crate::arguments::Arguments;
use crate::ready::{Point, Ready};
use crate::tracee::Tracee;
use crate::{Error, Fault, Result};

/// Memory that the process works in: a page of code, and the rest for what calls are given.
const SCRATCH: u64 = 16 * PAGE as u64;
/// How far down a stack is made; what a program has by default.
const STACK: u64 = 8 << 20;
/// What the kernel keeps free below a stack.
const GUARD: u64 = 256 * PAGE as u64;

impl Image {
    /// Makes a stopped program of it again, as [`Tracee::run_until_ready`] leaves one, in a new process of `command`: to be frozen, planted, and
    /// let serve. What it is held to, its limits, user, session and standard descriptors are the command's; it must execute the image's program
    /// ([`Info::program`](super::Info)), and what is granted must let it read the files that are mapped.
    ///
    /// # Errors
    /// Another program; a file that is not there or is another by its digest; another page of calls of the kernel, features of the processor
    /// that are missing; what the kernel refuses; those of [`Command::spawn_template`].
    pub fn restore(&self, command: &mut Command) -> Result<Restored> {
        let (process, template) = command.spawn_template()?;
        let mut tracee = Tracee::seize(process)?;
        let point = self.restore_into(&mut tracee, template.as_fd())?;
        Ok(Restored { tracee, template, point })
    }

    /// The same in a process that is there, stopped before the first instruction of the image's program, whose template's channel is `template`.
    ///
    /// # Errors
    /// As for [`restore`](Image::restore), but for those of the process's birth.
    pub fn restore_into(&self, tracee: &mut Tracee, template: BorrowedFd<'_>) -> Result<Point> {
        let ready: Ready = self.info().ready.parse()?;
        // What it was started with is looked for in what is mapped of files, by their names.
        let data = !matches!(ready, Ready::Entry | Ready::Main);
        Restoring::new(tracee, self)?.all(template, data)?;
        let arguments = Arguments::of(tracee, &ready)?;
        Ok(Point { ready, arguments })
    }

    /// The same, with the stub planted, serving: a template as any other.
    ///
    /// # Errors
    /// As for [`restore`](Image::restore) and [`Tracee::plant`].
    pub fn load(&self, command: &mut Command) -> Result<Loaded> {
        let Restored { mut tracee, template, point } = self.restore(command)?;
        let planted = tracee.plant()?;
        Ok(Loaded { process: tracee.serve(&planted)?, template, point })
    }
}

/// A saved program that is stopped where it was.
#[derive(Debug)]
pub struct Restored {
    /// The process.
    pub tracee: Tracee,
    /// The right to have copies made of it, when the stub is in it.
    pub template: Template,
    /// What is known of its ready point.
    pub point: Point,
}

/// A template of a saved program.
#[derive(Debug)]
pub struct Loaded {
    /// The process that serves.
    pub process: Process,
    /// The right to have copies made of it.
    pub template: Template,
    /// What is known of its ready point.
    pub point: Point,
}

struct Restoring<'t> {
    tracee: &'t mut Tracee,
    image: &'t Image,
    frozen: &'t Frozen,
    /// What the new process has mapped.
    areas: Vec<Area>,
    scratch: u64,
}

/// Where so many bytes are free that nothing taken is in the way.
fn free(taken: &[Range<u64>], length: u64) -> Option<u64> {
    // Far from where programs and their stacks are, and where a wish of the kernel's own for an address never leads.
    const FROM: u64 = 0x1000_0000_0000;
    let mut taken: Vec<&Range<u64>> = taken.iter().filter(|range| range.end > FROM).collect();
    taken.sort_by_key(|range| range.start);
    let mut at = FROM;
    for range in taken {
        if at.checked_add(length)? <= range.start {
            break;
        }
        at = at.max(range.end);
    }
    at.checked_add(length).filter(|end| *end <= beget_image::frozen::END)?;
    Some(at)
}

impl<'t> Restoring<'t> {
    fn new(tracee: &'t mut Tracee, image: &'t Image) -> Result<Restoring<'t>> {
        let smaps = std::fs::read(format!("/proc/{}/smaps", tracee.number()));
        let smaps = smaps.map_err(|error| Error::io("image: smaps", error))?;
        let areas = areas::read_all(&smaps)
            .ok_or_else(|| Error::new("image: smaps", "it is not understood", Fault::Beget))?;
        Ok(Restoring { tracee, image, frozen: &image.opened.frozen, areas, scratch: 0 })
    }

    fn all(&mut self, channel: BorrowedFd<'_>, data: bool) -> Result<()> {
        self.compare()?;
        self.begin()?;
        self.clear()?;
        self.move_kernels()?;
        let image = self.receive(channel)?;
        self.map_all(image, data)?;
        self.close(image)?;
        self.describe()?;
        self.open_all()?;
        thread::give(self.tracee, self.data(), &self.frozen.thread, &self.frozen.signals)?;
        // From here on calls are made where every process makes them.
        self.tracee.call_from(None);
        self.tracee.call("end of scratch", nr::MUNMAP, [self.scratch, SCRATCH, 0, 0, 0, 0])?;
        thread::give_registers(self.tracee, &self.frozen.thread)
    }

    /// Machine, kernel, program.
    fn compare(&mut self) -> Result<()> {
        let mut extended = vec![0; 64 << 10];
        let length = beget_sys::trace::extended_state(self.tracee.number(), &mut extended);
        extended.truncate(length.map_err(|errno| super::failed("processor state", errno))?);
        let here = system::look(self.tracee, &self.areas, thread::features(&extended).unwrap_or(0))?;
        system::compare(&self.frozen.system, &here)?;
        if extended.len() != self.frozen.thread.extended.len() {
            return Err(refused("processor", "its state is of another size"));
        }
        let known = usize::try_from(self.frozen.program.executable).ok();
        let Some(program) = known.and_then(|index| self.frozen.files.get(index)) else {
            return Err(refused("program", "it is not told"));
        };
        let path = format!("/proc/{}/exe", self.tracee.number());
        let there = std::fs::read_link(&path).unwrap_or_default();
        let words = format!("the command executes {}", there.display());
        check_file(&File::open(path), program, &words)
    }

    /// Makes the memory that calls are made from, out of the way of everything.
    fn begin(&mut self) -> Result<()> {
        /// `syscall`, and nothing behind it.
        const CODE: [u8; 4] = [0x0f, 0x05, 0x0f, 0x0b];
        let mut taken: Vec<Range<u64>> = self.areas.iter().map(|area| area.range.clone()).collect();
        taken.extend(self.frozen.mappings.iter().map(|mapping| mapping.range.clone()));
        taken.extend(self.frozen.system.kernel.iter().map(|special| special.range.clone()));
        // The kernel's own are put behind it on their way.
        let length = SCRATCH
            + self.frozen.system.kernel.iter().map(|one| one.range.end - one.range.start).sum::<u64>();
        let at = free(&taken, length).ok_or_else(|| refused("memory", "it leaves no room"))?;
        let (rights, flags) = (how::READ | how::WRITE, how::PRIVATE | how::ANONYMOUS | how::FIXED_NOREPLACE);
        let made =
            self.tracee.call("scratch", nr::MMAP, [at, SCRATCH, rights as u64, flags as u64, u64::MAX, 0])?;
        if made != at {
            return Err(refused("memory", "the kernel gives no room where it is free"));
        }
        self.tracee.write(at, &CODE)?;
        let executable = (how::READ | how::EXECUTE) as u64;
        self.tracee.call("scratch", nr::MPROTECT, [at, PAGE as u64, executable, 0, 0, 0])?;
        self.scratch = at;
        self.tracee.call_from(Some(at));
        Ok(())
    }

    /// Where calls are given things.
    fn data(&self) -> u64 {
        self.scratch + PAGE as u64
    }

    /// Takes away all that the command's program had mapped.
    fn clear(&mut self) -> Result<()> {
        for area in self.areas.iter().filter(|area| !system::is_kernels(area) && !system::is_outside(area)) {
            let Range { start, end } = area.range;
            self.tracee.call("memory of the command", nr::MUNMAP, [start, end - start, 0, 0, 0, 0])?;
        }
        Ok(())
    }

    /// Brings the kernel's own mappings to where the saved program knows them.
    fn move_kernels(&mut self) -> Result<()> {
        let now = self.areas.iter().filter(|area| system::is_kernels(area)).map(|area| area.range.clone());
        let pairs: Vec<_> =
            now.zip(self.frozen.system.kernel.iter().map(|special| special.range.clone())).collect();
        if pairs.iter().all(|(from, to)| from == to) {
            return Ok(());
        }
        let mut aside = self.scratch + SCRATCH;
        let mut places = Vec::new();
        for (from, to) in pairs {
            let length = from.end - from.start;
            self.move_one(from.start, aside, length)?;
            places.push((aside, to.start, length));
            aside += length;
        }
        for (from, to, length) in places {
            self.move_one(from, to, length)?;
        }
        Ok(())
    }

    fn move_one(&mut self, from: u64, to: u64, length: u64) -> Result<()> {
        const MAY_MOVE_TO: u64 = 1 | 2;
        self.tracee.call("page of calls", nr::MREMAP, [from, length, length, MAY_MOVE_TO, to, 0]).map(drop)
    }

    /// Gives it the image, over the channel that is the template's; and its number there.
    fn receive(&mut self, channel: BorrowedFd<'_>) -> Result<u64> {
        const AT_ONCE: u64 = 0x40;
        const CLOSE_ON_EXEC: u64 = 0x4000_0000;
        let file = [self.image.file.as_fd()];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut given = SendAncillaryBuffer::new(&mut room);
        given.push(SendAncillaryMessage::ScmRights(&file));
        let sent = sendmsg(channel, &[IoSlice::new(b"i")], &mut given, SendFlags::NOSIGNAL);
        sent.map_err(|errno| Error::io("image: channel", errno))?;
        // `struct msghdr`, then `struct iovec`, the byte, and the room for one descriptor.
        let at = self.data();
        let (vector, byte, control) = (at + 64, at + 96, at + 128);
        let words = [0, 0, vector, 1, control, 24, 0, 0, byte, 1];
        self.tracee.write(at, &words.map(u64::to_ne_bytes).concat())?;
        let number = Template::CHANNEL as u64;
        self.tracee.call("channel", nr::RECVMSG, [number, at, AT_ONCE | CLOSE_ON_EXEC, 0, 0, 0])?;
        if self.tracee.word(control)? != 20 {
            return Err(refused("channel", "no descriptor came over it"));
        }
        Ok(self.tracee.word(control + 16)? & 0xffff_ffff)
    }

    fn close(&mut self, number: u64) -> Result<()> {
        self.tracee.call("closing", nr::CLOSE, [number, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Opens a file by the name that it had, inside, and holds it against its digest; gives its number there.
    fn open(&mut self, file: &KnownFile, flags: u32) -> Result<u64> {
        const HERE: u64 = -100i64 as u64;
        const CLOSE_ON_EXEC: u32 = 0o2_000_000;
        /// So that nothing waits that is no regular file by now.
        const AT_ONCE: u32 = 0o4000;
        let part = format!("file {}", shown(&file.path));
        self.write_name(&file.path)?;
        let arguments = [HERE, self.data(), (flags | CLOSE_ON_EXEC | AT_ONCE).into(), 0, 0, 0];
        let number = self.tracee.try_call(nr::OPENAT, arguments)?;
        let number = number.map_err(|errno| super::failed(&part, errno))?;
        let opened = File::open(format!("/proc/{}/fd/{number}", self.tracee.number()));
        check_file(&opened, file, "it was changed")?;
        Ok(number)
    }

    fn write_name(&mut self, name: &[u8]) -> Result<()> {
        if name.len() as u64 >= SCRATCH - PAGE as u64 {
            return Err(refused("file", "its name is too long"));
        }
        self.tracee.write(self.data(), &[name, b"\0"].concat())
    }

    /// All of its memory; each file is open as long as its own mappings are made.
    fn map_all(&mut self, image: u64, data: bool) -> Result<()> {
        let frozen = self.frozen;
        let mut runs: Vec<Vec<(&Run, u64)>> = vec![Vec::new(); frozen.mappings.len()];
        for (run, at) in frozen.contents() {
            if let Some(of) = runs.get_mut(run.mapping as usize) {
                of.push((run, at));
            }
        }
        let mut order: Vec<usize> = (0..frozen.mappings.len()).collect();
        let file = |index: &usize| match frozen.mappings.get(*index).map(|mapping| mapping.source) {
            Some(Source::File { file, .. }) => Some(file),
            _ => None,
        };
        order.sort_by_key(file);
        let mut opened: Option<(u32, u64)> = None;
        for index in order {
            let (Some(mapping), Some(runs)) = (frozen.mappings.get(index), runs.get(index)) else { continue };
            if let Source::File { file, .. } = mapping.source
                && opened.is_none_or(|(other, _)| other != file)
            {
                if let Some((_, number)) = opened.take() {
                    self.close(number)?;
                }
                let known =
                    frozen.files.get(file as usize).ok_or_else(|| refused("file", "it is not told"))?;
                opened = Some((file, self.open(known, 0)?));
            }
            let from = memory::From {
                image,
                file: &self.image.file,
                contents: self.image.opened.preamble.contents,
                own: opened.map(|(_, number)| number),
                data,
                lowest: self.lowest(mapping),
            };
            memory::make(self.tracee, mapping, runs, &from)?;
        }
        opened.map_or(Ok(()), |(_, number)| self.close(number))
    }

    /// How far down a stack may be made: to where it would grow, or something else is.
    fn lowest(&self, mapping: &Mapping) -> u64 {
        let below = self.frozen.mappings.iter().map(|other| other.range.end);
        let kernels = self.frozen.system.kernel.iter().map(|special| special.range.end);
        let next = below.chain(kernels).filter(|end| *end <= mapping.range.start).max().unwrap_or(FIRST);
        mapping.range.end.saturating_sub(STACK).max(next.saturating_add(GUARD)).min(mapping.range.start)
    }

    /// Tells the kernel where the parts of its memory are, its name, directory and mask.
    fn describe(&mut self) -> Result<()> {
        const SET_MEMORY: u64 = 35;
        const MAP: u64 = 14;
        const SET_NAME: u64 = 15;
        let (program, at) = (&self.frozen.program, self.data());
        self.write_name(&program.name)?;
        self.tracee.call("name", nr::PRCTL, [SET_NAME, at, 0, 0, 0, 0])?;
        self.tracee.call("umask", nr::UMASK, [program.umask.into(), 0, 0, 0, 0, 0])?;
        self.write_name(&program.directory)?;
        let part = format!("working directory {}", shown(&program.directory));
        self.tracee.call(&part, nr::CHDIR, [at, 0, 0, 0, 0, 0])?;
        let vector = at + size_of::<MemoryMap>().next_multiple_of(16) as u64;
        let mut map: Vec<u8> = program.memory.iter().flat_map(|word| word.to_ne_bytes()).collect();
        map.extend(vector.to_ne_bytes());
        map.extend((program.auxiliary.len() as u32).to_ne_bytes());
        // The executable stays.
        map.extend(u32::MAX.to_ne_bytes());
        self.tracee.write(at, &map)?;
        self.tracee.write(vector, &program.auxiliary)?;
        let size = size_of::<MemoryMap>() as u64;
        self.tracee.call("layout", nr::PRCTL, [SET_MEMORY, MAP, at, size, 0, 0]).map(drop)
    }

    /// Its own descriptors.
    fn open_all(&mut self) -> Result<()> {
        for one in &self.frozen.descriptors {
            self.open_one(one)?;
        }
        Ok(())
    }

    fn open_one(&mut self, one: &Descriptor) -> Result<()> {
        const CLOSE_ON_EXEC: u64 = 0o2_000_000;
        const SET_FLAGS: u64 = 4;
        let part = format!("descriptor {}", one.number);
        let number = u64::from(one.number);
        let path = format!("/proc/{}/fd/{number}", self.tracee.number());
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(refused(&part, "the command gives something else there"));
        }
        let Some(known) = self.frozen.files.get(one.file as usize) else {
            return Err(refused(&part, "its file is not told"));
        };
        let opened = self.open(known, one.flags)?;
        if opened != number {
            let closing = if one.closing { CLOSE_ON_EXEC } else { 0 };
            self.tracee.call(&part, nr::DUP3, [opened, number, closing, 0, 0, 0])?;
            self.close(opened)?;
        } else if !one.closing {
            const SET_CLOSING: u64 = 2;
            self.tracee.call(&part, nr::FCNTL, [number, SET_CLOSING, 0, 0, 0, 0])?;
        }
        self.tracee.call(&part, nr::FCNTL, [number, SET_FLAGS, one.flags.into(), 0, 0, 0])?;
        self.tracee.call(&part, nr::LSEEK, [number, one.offset, 0, 0, 0, 0]).map(drop)
    }
}

/// Holds a file that was opened against what is known of it.
fn check_file(file: &std::io::Result<File>, known: &KnownFile, words: &str) -> Result<()> {
    let part = format!("file {}", shown(&known.path));
    let file = file.as_ref().map_err(|error| match error.raw_os_error() {
        Some(number) => super::failed(&part, beget_sys::Errno(number)),
        None => refused(&part, error.to_string()),
    })?;
    let told = |error| Error::io(format!("image: {part}"), error);
    let metadata = file.metadata().map_err(told)?;
    if !metadata.is_file() {
        return Err(refused(&part, "it is no regular file"));
    }
    if metadata.len() != known.size || format::digest_of(file).map_err(told)?.1 != known.digest {
        return Err(refused(
            &part,
            format!("{words}: its digest is not that of the file that was saved with"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_out_of_everybodys_way() {
        const FROM: u64 = 0x1000_0000_0000;
        assert_eq!(free(&[], 0x1000), Some(FROM));
        assert_eq!(free(&[0..FROM, FROM + 0x1000..FROM + 0x2000], 0x1000), Some(FROM));
        let close = FROM..FROM + 0x2000;
        assert_eq!(free(&[0..1, close.clone(), FROM + 0x2800..FROM + 0x3000], 0x1000), Some(FROM + 0x3000));
        assert_eq!(free(&[close, FROM + 0x2000..beget_image::frozen::END], 0x1000), None);
        assert_eq!(free(&[], u64::MAX), None);
    }
}

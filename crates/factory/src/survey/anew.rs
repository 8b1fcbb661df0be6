//! What each product can be given of its own: the files, pipes and counters that a program made, and whether they can be made anew.
//!
//! Safety idea: a file is tried before it is promised. A pipe is made anew only when nothing is in it, for then one end cannot tell it from another.

use beget_sys::nr;
use rustix::fs::{FileType, OFlags, SealFlags};

use super::birth::{self, Open};
use super::descriptors::{Descriptors, flags, lasting, may_write, name, slot};
use super::fresh::{self, Anew, Source};
use super::hazard::Kind;
use crate::Result;
use crate::tracee::Tracee;

impl Descriptors<'_> {
    /// Files and directories: each product opens them anew.
    pub(super) fn files(&mut self, tracee: &mut Tracee, mut left: Vec<i32>) -> Result<()> {
        while let Some(first) = left.first().copied() {
            let together = self.sharing(tracee, first, &left)?;
            left.retain(|number| !together.contains(number));
            self.file(tracee.number(), &together);
        }
        Ok(())
    }

    /// Which of these numbers are the same open file description as `first`: its offset is moved, and whose moves with it is.
    fn sharing(&mut self, tracee: &mut Tracee, first: i32, all: &[i32]) -> Result<Vec<i32>> {
        let Some(open) = self.table.get(&first).cloned() else { return Ok(vec![first]) };
        let alike = |number: &&i32| {
            self.table.get(number).is_some_and(|other| {
                other.identity.is(&open.identity)
                    && lasting(other) == lasting(&open)
                    && other.described.position == open.described.position
            })
        };
        let alike: Vec<i32> = all.iter().filter(alike).copied().collect();
        if alike.len() < 2 || flags(&open).contains(OFlags::PATH) {
            return Ok(vec![first]);
        }
        let (number, before) = (tracee.number(), open.described.position);
        let mut seek = |at: u64| tracee.call("an offset", nr::LSEEK, [first as u64, at, 0, 0, 0, 0]);
        seek(before + 1)?;
        let mut moved = vec![];
        for other in alike {
            if birth::description(number, other)?.position == before + 1 {
                moved.push(other);
            }
        }
        seek(before)?;
        Ok(moved)
    }

    /// One open file, in these slots.
    fn file(&mut self, process: i32, slots: &[i32]) {
        let Some((number, open)) =
            slots.first().and_then(|number| Some((*number, self.table.get(number)?.clone())))
        else {
            return;
        };
        let what = name(number, &open);
        let given = self.is_as_given(number, &open);
        let held = rustix::fs::open(
            format!("/proc/{process}/fd/{number}"),
            OFlags::PATH | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let held = match held {
            Ok(held) => held,
            Err(errno) => return self.refuse(Kind::File, what, format!("it cannot be held: {errno}")),
        };
        /// Numbers of file systems whose files are about a process, or are queues.
        const PROC: u64 = 0x9fa0;
        const MESSAGE_QUEUES: u64 = 0x1980_0202;
        match rustix::fs::fstatfs(&held).map(|system| system.f_type as u64) {
            Ok(PROC) => {
                return self.refuse(Kind::File, what, "it tells of the template, and not of a product");
            }
            Ok(MESSAGE_QUEUES) => {
                return self.refuse(Kind::Object, what, "all products would share the queue");
            }
            Ok(_) => {}
            Err(errno) => return self.refuse(Kind::File, what, format!("its file system: {errno}")),
        }
        if flags(&open).contains(OFlags::PATH) {
            return;
        }
        let (flags, position) = (lasting(&open), open.described.position);
        let tried = match fresh::reopen(&held, flags, position) {
            Ok(tried) => tried,
            Err(_) if given => {
                return self.declare(
                    Kind::File,
                    format!("{what}, was given to the template: all products share its offset"),
                );
            }
            Err(errno) => {
                return self.refuse(
                    Kind::File,
                    what,
                    format!("all products would share its offset, and it cannot be opened anew: {errno}"),
                );
            }
        };
        let is_file = open.identity.file_type() == FileType::RegularFile;
        if is_file && may_write(&open) {
            let sealed =
                rustix::fs::fcntl_get_seals(&tried).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
            if open.links == 0 && !sealed && !given {
                return self.refuse(
                    Kind::Writable,
                    what,
                    "it has no name and is the program's own, and all products would share what is in it",
                );
            }
            if !sealed {
                self.declare(Kind::Writable, format!("{what}: all products can write it"));
            }
        }
        self.cure(Kind::File, what.clone(), format!("each product opens it anew, at {position}"));
        let slots = slots.iter().filter_map(|number| Some(slot(*number, self.table.get(number)?))).collect();
        let source = Source::File { inode: held, flags, position };
        self.anew.push(Anew { what, source, slots, writing: Vec::new() });
    }

    /// A pipe that the program made.
    pub(super) fn pipe(&mut self, tracee: &Tracee, inode: u64) -> Result<()> {
        let ends: Vec<(i32, Open)> = self
            .table
            .iter()
            .filter(|(_, open)| open.identity.inode == inode && open.identity.file_type() == FileType::Fifo)
            .map(|(number, open)| (*number, open.clone()))
            .collect();
        let Some((first, open)) = ends.first().cloned() else { return Ok(()) };
        let (writers, readers): (Vec<_>, Vec<_>) =
            ends.iter().cloned().partition(|(_, open)| may_write(open));
        let alike = |ends: &[(i32, Open)]| {
            ends.windows(2).all(|pair| matches!(pair, [(_, one), (_, two)] if lasting(one) == lasting(two)))
        };
        if ends.iter().any(|(_, open)| flags(open).contains(OFlags::RDWR))
            || !alike(&readers)
            || !alike(&writers)
        {
            let why = "all products would share it, and it was opened in more ways than a pipe is made in";
            self.refuse(Kind::Pipe, name(first, &open), why);
            return Ok(());
        }
        // For a moment there is a reader more, which reads nothing.
        let path = format!("/proc/{}/fd/{first}", tracee.number());
        let reader = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let what = name(first, &open);
        let state = reader.and_then(|reader| {
            Ok((rustix::io::ioctl_fionread(&reader)?, rustix::pipe::fcntl_getpipe_size(&reader)?))
        });
        match state {
            Ok((0, capacity)) => {
                self.cure(Kind::Pipe, what.clone(), "it is empty, and each product has one of its own");
                let flags =
                    |ends: &[(i32, Open)]| ends.first().map_or(OFlags::empty(), |(_, open)| lasting(open));
                let source = Source::Pipe { reading: flags(&readers), writing: flags(&writers), capacity };
                let slots =
                    |ends: &[(i32, Open)]| ends.iter().map(|(number, open)| slot(*number, open)).collect();
                self.anew.push(Anew { what, source, slots: slots(&readers), writing: slots(&writers) });
            }
            Ok((bytes, _)) => {
                let why = format!("{bytes} bytes are in it, which one product alone would read");
                self.refuse(Kind::Pipe, what, why);
            }
            Err(errno) => self.refuse(Kind::Pipe, what, format!("it cannot be looked into: {errno}")),
        }
        Ok(())
    }

    /// An eventfd, by its own number.
    pub(super) fn counter(&mut self, own: u64) {
        let is = |open: &Open| open.described.counter.is_some_and(|(_, number, _)| number == own);
        let all: Vec<(i32, Open)> = self
            .table
            .iter()
            .filter(|(_, open)| is(open))
            .map(|(number, open)| (*number, open.clone()))
            .collect();
        let Some((first, open)) = all.first() else { return };
        let Some((count, _, semaphore)) = open.described.counter else { return };
        let what = name(*first, open);
        self.cure(Kind::Object, what.clone(), format!("each product has one of its own, at {count}"));
        let slots = all.iter().map(|(number, open)| slot(*number, open)).collect();
        let source = Source::Counter { count, semaphore, flags: lasting(open) };
        self.anew.push(Anew { what, source, slots, writing: Vec::new() });
    }
}

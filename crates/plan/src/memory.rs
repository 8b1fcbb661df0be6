//! The operations on memory, in the process whose memory it is.
//!
//! Safety idea: what the runner of the interpreter lies in is out of reach; a failed operation leaves memory as it was, so what a call
//! of the kernel's would do in part is tried before it is done.

use beget_sys::memory::{self, how};
use beget_sys::process::{self, MemoryMap};
use beget_sys::{Errno, Result};

use crate::op::mapping;

/// What belongs to whoever runs the interpreter, and is not for a plan's operations to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The first descriptor that is the runner's.
    pub floor: i32,
    /// The addresses where the runner lies.
    pub memory: [Range; 5],
}

/// Addresses from the first to the one before the second.
pub type Range = (usize, usize);

impl Home {
    /// Nothing is kept: for a newborn that runs a whole plan and becomes its program.
    pub const NONE: Home = Home { floor: i32::MAX, memory: [(0, 0); 5] };

    pub(crate) fn keeps(&self, at: u64, length: u64) -> bool {
        let (from, to) = (at as usize, (at as usize).saturating_add(length as usize));
        self.memory.iter().any(|(first, end)| from < *end && *first < to)
    }

    pub(crate) fn slot(&self, slot: i32) -> Result<i32> {
        if slot < self.floor { Ok(slot) } else { Err(Errno::EBADF) }
    }
}

const _: () = {
    // The bits of an operation are the kernel's own, so that they need no translation.
    assert!(mapping::READ as usize == how::READ);
    assert!(mapping::WRITE as usize == how::WRITE);
    assert!(mapping::EXECUTE as usize == how::EXECUTE);
};

const RIGHTS: u32 = mapping::READ | mapping::WRITE | mapping::EXECUTE;

fn whole_pages(at: u64, length: u64) -> Result<(usize, usize)> {
    let page = memory::PAGE as u64;
    let length = length.checked_next_multiple_of(page).ok_or(Errno::ENOMEM)?;
    at.checked_add(length).ok_or(Errno::ENOMEM)?;
    if length == 0 || !at.is_multiple_of(page) {
        Err(Errno::EINVAL)
    } else {
        Ok((at as usize, length as usize))
    }
}

/// # Safety
/// The memory is the process's own, and nobody uses what is replaced.
pub(crate) unsafe fn map(home: &Home, at: u64, length: u64, page: u32, bits: u32, fd: i32) -> Result<usize> {
    let (at, length) = whole_pages(at, length)?;
    let mut flags = how::PRIVATE;
    if at != 0 {
        flags |= if bits & mapping::REPLACE != 0 { how::FIXED } else { how::FIXED_NOREPLACE };
    }
    if home.keeps(at as u64, length as u64) && at != 0 {
        return Err(Errno::EEXIST);
    }
    if fd < 0 {
        flags |= how::ANONYMOUS;
    }
    let (rights, offset) = ((bits & RIGHTS) as usize, page as usize * memory::PAGE);
    // SAFETY: the caller's promise; the runner's own memory is not there.
    let mapped = unsafe { memory::map(at, length, rights, flags, fd, offset) }?;
    if at != 0 && mapped != at {
        // A kernel before 4.17 takes the address for a hint.
        // SAFETY: mapped a moment ago, and told to nobody.
        let _ = unsafe { memory::unmap(mapped, length) };
        return Err(Errno::EEXIST);
    }
    Ok(mapped)
}

/// # Safety
/// The memory is the process's own, and nobody uses what goes away.
pub(crate) unsafe fn unmap(home: &Home, at: u64, length: u64) -> Result<()> {
    let (at, length) = free(home, at, length)?;
    // SAFETY: the caller's promise; the runner's own memory is not there.
    unsafe { memory::unmap(at, length) }
}

fn free(home: &Home, at: u64, length: u64) -> Result<(usize, usize)> {
    let range = whole_pages(at, length)?;
    if home.keeps(range.0 as u64, range.1 as u64) { Err(Errno::EBUSY) } else { Ok(range) }
}

/// # Safety
/// The memory is the process's own.
pub(crate) unsafe fn protect(home: &Home, at: u64, length: u64, bits: u32) -> Result<()> {
    let (at, length) = free(home, at, length)?;
    let mut rights = (bits & RIGHTS) as usize;
    if bits & mapping::DOWN != 0 {
        rights |= how::DOWN;
    }
    // A hole in the range would be found when what lies before it is changed already.
    memory::advise(at, length, memory::advice::NORMAL)?;
    // SAFETY: the caller's promise; the runner's own memory is not there.
    unsafe { memory::protect(at, length, rights) }
}

/// # Safety
/// The memory is the process's own.
pub(crate) unsafe fn write(home: &Home, at: u64, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if home.keeps(at, bytes.len() as u64) {
        return Err(Errno::EBUSY);
    }
    // SAFETY: the caller's promise; the runner's own memory is not there.
    unsafe { memory::copy_to(at as usize, bytes) }
}

/// Has memory be there. The runner's own may be among it: nothing changes in it.
pub(crate) fn populate(ranges: &[u8], how: u32) -> Result<()> {
    let write = how == mapping::WRITE;
    let advice = if write { memory::advice::POPULATE_WRITE } else { memory::advice::POPULATE_READ };
    let (numbers, _) = ranges.as_chunks();
    let (pairs, _) = numbers.as_chunks();
    for [at, length] in pairs {
        let (at, length) = whole_pages(u64::from_ne_bytes(*at), u64::from_ne_bytes(*length))?;
        match memory::advise(at, length, advice) {
            // A kernel that has no such advice refuses it for our own stack too.
            Err(Errno::EINVAL) if !memory::can_populate() => return Ok(()),
            done => done?,
        }
    }
    Ok(())
}

/// Tells the kernel where things are. What only privilege may set is left out where there is none.
pub(crate) fn tell_map(fields: &[u8], executable: i32) -> Result<()> {
    let mut words = [0u64; size_of::<MemoryMap>() / 8];
    for (word, bytes) in words.iter_mut().zip(fields.chunks_exact(8)) {
        *word = bytes.try_into().map(u64::from_ne_bytes).map_err(|_| Errno::EINVAL)?;
    }
    let [c0, c1, d0, d1, h0, h1, stack, a0, a1, e0, e1, auxiliary, rest] = words;
    let mut map = MemoryMap {
        code: [c0, c1],
        data: [d0, d1],
        heap: [h0, h1],
        stack,
        arguments: [a0, a1],
        environment: [e0, e1],
        auxiliary,
        auxiliary_size: rest as u32,
        executable: executable as u32,
    };
    if executable >= 0 && process::set_memory_map(&map).is_ok() {
        return Ok(());
    }
    map.executable = u32::MAX;
    match process::set_memory_map(&map) {
        // The kernel was built without it, which changes what `/proc` shows and nothing that the program does.
        Err(Errno::EINVAL) if process::memory_map_size().is_err() => Ok(()),
        other => other,
    }
}

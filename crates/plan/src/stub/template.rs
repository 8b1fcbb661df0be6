//! The template's side: a program that was stopped where it is ready, with the stub put beside it. Asked to, it makes copies of itself; each
//! is an embryo, told over a channel of its own what it is to be given, until it goes on where the program was stopped.
//!
//! Safety idea: the program's own memory is not touched. What the stub must know of it lies in one page that cannot be written, and so do
//! the registers that it goes on with. A copy gives up the template's channel before it does anything else, and the stub is gone from its
//! memory before the program's next instruction.
//! What opens its filter for a copy it is told with each request, and it lies in no memory that a product has.

use beget_sys::nr;
use beget_sys::process::{self, Born as Newborn, Copied};

use super::channel::{self, Came, Line, ROOM};
use super::embryo::Embryo;
use super::leave::Whereabouts;
use super::{Start, answers};
use crate::message::{Born, Header, kind};

/// The entry of the first stack's vector that says where the [`Passage`] is. No entry of the kernel's has such a key.
pub const PASSAGE: u64 = u32::from_ne_bytes(*b"BGTP") as u64;

/// The instructions that take a stub away and give the program its registers back: `munmap` with what is in `rdi` and `rsi`, then
/// `rt_sigreturn`. They need no stack but the frame, and stay in a product's memory: two calls that any program may make.
pub const EXIT: [u8; 16] = {
    let ([unmap, _, ..], [back, _, ..]) = (nr::MUNMAP.to_le_bytes(), nr::RT_SIGRETURN.to_le_bytes());
    // mov eax, munmap; syscall; mov eax, rt_sigreturn; syscall; ud2
    [0xb8, unmap, 0, 0, 0, 0x0f, 0x05, 0xb8, back, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b]
};

/// What the stub in a template is told of the program around it. It lies in the template's memory, where it cannot be written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// The number of the template's channel, and of each copy's; all below are the program's.
    pub channel: u64,
    /// Where the program's C library keeps the number of its thread, for the kernel to zero at its end; 0 for nowhere.
    pub thread_number: u64,
    /// 1 when a copy's own number is to be written there by the kernel.
    pub set_number: u64,
    /// Another place where a copy's number is to be written, or 0.
    pub second_number: u64,
    /// Where its list of locks is that the kernel releases, or 0, and the bytes of its head.
    pub locks: [u64; 2],
    /// Where [`EXIT`] is.
    pub exit: u64,
    /// Where the frame is that `rt_sigreturn` takes: its second word.
    pub frame: u64,
    /// All that stays in a product's memory: the first address, and bytes.
    pub lasting: [u64; 2],
}

impl Passage {
    /// Its size in bytes, as it lies in memory.
    pub const SIZE: usize = size_of::<Passage>();

    /// As it lies in memory.
    #[must_use]
    pub fn encode(&self) -> [u8; Passage::SIZE] {
        let Passage { channel, thread_number, set_number, second_number, locks, exit, frame, lasting } =
            *self;
        let [head, length] = locks;
        let [first, bytes] = lasting;
        let words =
            [channel, thread_number, set_number, second_number, head, length, exit, frame, first, bytes];
        let mut encoded = [0; Passage::SIZE];
        for (place, word) in encoded.chunks_exact_mut(8).zip(words) {
            for (place, byte) in place.iter_mut().zip(word.to_ne_bytes()) {
                *place = byte;
            }
        }
        encoded
    }

    /// The addresses that stay, as a range.
    pub(super) fn range(&self) -> (usize, usize) {
        let [first, bytes] = self.lasting;
        (first as usize, first.saturating_add(bytes) as usize)
    }
}

/// Serves until the channel is closed.
///
/// # Safety
/// As for [`play`](super::play), but that the memory around home and workplace is a program's, which `start` tells the [`Passage`] of.
pub(super) unsafe fn live(start: &Start, workplace: &mut [u64]) -> ! {
    let Some(at) = start.value(PASSAGE).filter(|at| *at != 0) else { process::exit(125) };
    // SAFETY: whoever put the stub here says that this is one.
    let passage = unsafe { *(at as *const Passage) };
    let (socket, from) =
        (passage.channel as i32, Whereabouts { calls: None, home: start.home, passage: Some(passage) });
    let line = Line::alone(socket);
    let Some((asked, rest)) = workplace.split_at_mut_checked(ROOM) else { process::exit(125) };
    let Some(mut embryo) = Embryo::new(from, socket, rest) else { process::exit(125) };
    loop {
        let (header, body, count) = match channel::receive(line, embryo.numbers, asked) {
            Came::Message(header, body, count) if header.kind == kind::YIELD && count > 0 => {
                (header, body, count)
            }
            Came::TooMuch(Header { kind: kind::YIELD, .. }, errno) => {
                tell(line, answers::nothing(errno), -1);
                continue;
            }
            // Nobody asks any more.
            _ => process::exit(0),
        };
        let [in_cgroup, low, high, _] = header.words;
        let given = count - usize::from(in_cgroup == 1);
        let cgroup = if in_cgroup == 1 { embryo.numbers.get(given).copied() } else { None };
        let copied = Copied {
            cgroup,
            thread_number: passage.thread_number as usize,
            set_number: passage.set_number == 1,
            key: [low, high],
        };
        // SAFETY: one thread, says whoever put the stub here, and what a C library would do is done by whoever wrote the passage.
        match unsafe { process::copy_beside(copied) } {
            Ok(None) => {
                channel::close(cgroup.as_slice());
                // SAFETY: what is told of the program is true of its copy.
                unsafe { become_another(&passage) };
                let own = given.saturating_sub(1);
                let Some(channel) = embryo.numbers.get(own).copied() else { process::exit(125) };
                embryo.socket = channel;
                // SAFETY: the copy is for what it is told, but for its home; the template's channel makes room for its own.
                unsafe {
                    embryo.take((socket, false), body, own);
                    embryo.serve()
                }
            }
            Ok(Some(Newborn { number, pidfd })) => {
                tell(line, Born { number, op: 0, errno: 0, pidfd: 1 }, pidfd);
                channel::close(&[pidfd]);
            }
            Err(errno) => tell(line, answers::nothing(errno), -1),
        }
        drop(body);
        channel::close(embryo.numbers.get(..count).unwrap_or_default());
    }
}

/// Tells kernel and C library that the copy is a thread of its own.
///
/// # Safety
/// What the passage says of the program must be true.
unsafe fn become_another(passage: &Passage) {
    let [head, length] = passage.locks;
    if head != 0 {
        // SAFETY: the program's own list, as it told the kernel before. Without it a lock could outlive its holder; nothing else is lost.
        let _ = unsafe { process::set_robust_list(head as usize, length as usize) };
    }
    if passage.second_number != 0 {
        let own = process::process().unwrap_or(0) as u32;
        // SAFETY: the program's own note of its thread's number, says whoever wrote the passage.
        unsafe { (passage.second_number as *mut u32).write(own) };
    }
}

fn tell(line: Line, born: Born, pidfd: i32) {
    let header = Header {
        kind: kind::BORN,
        length: Born::SIZE as u32,
        descriptors: u32::from(pidfd >= 0),
        words: [1, 0, 0, 0],
    };
    let pidfds = [pidfd];
    let given = if pidfd >= 0 { &pidfds[..] } else { &[] };
    // Whoever is gone is found out by the next receive.
    let _ = channel::answer(line, &header, [&born.encode(), &[]], given);
}

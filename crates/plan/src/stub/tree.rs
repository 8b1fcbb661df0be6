//! Ending everything below this process, which is a subreaper: what loses its parent becomes its child.
//!
//! Safety idea: only direct children are signalled, and they are reaped only here, so a number cannot have come to mean another
//! process. All are killed before any is waited for; one that ends hands its own children on, so each round goes one generation deeper.

use beget_sys::wait::{self, Change, Usage, option};
use beget_sys::{Errno, descriptor, signal};

const SIGKILL: i32 = 9;

/// What a child that ended is told as: its number, how it ended, what it used.
pub(super) type Ended = (i32, Change, Usage);

/// How many bits there are for what is known of a process number.
pub(super) const BITS: usize = 4;
/// How many numbers' bits are in one byte.
pub(super) const IN_A_BYTE: usize = 8 / BITS;
/// The bits of the lowest of them.
pub(super) const MASK: u8 = 0xff >> (8 - BITS);

/// Kills and reaps until nothing is left. `known` has [`BITS`] bits for each process number, not zero for a child, for when the system
/// lists none; `reaped` is told of each end.
pub(super) fn end_all(known: &[u8], mut reaped: impl FnMut(Ended)) {
    while has_children() {
        if !kill_listed() {
            let mut found = false;
            for (index, _) in known.iter().enumerate().filter(|(_, known)| **known != 0) {
                for number in index * IN_A_BYTE..(index + 1) * IN_A_BYTE {
                    found |= number > 0 && kill_child(number as i32);
                }
            }
            if !found {
                return;
            }
        }
        // Whoever was killed ends; the first is waited for, and whatever else has ended by then is taken too.
        let mut options = option::EXITED | option::ALL;
        loop {
            match wait::any(options) {
                Ok(Some(ended)) => {
                    reaped(ended);
                    options |= option::NO_HANG;
                }
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
    }
}

const LOOK: u32 = option::EXITED | option::ALL | option::NO_HANG | option::NO_WAIT;

fn has_children() -> bool {
    wait::any(LOOK) != Err(Errno::ECHILD)
}

/// Kills a child of ours; `false` when it is none.
fn kill_child(number: i32) -> bool {
    wait::child(number, LOOK) != Err(Errno::ECHILD) && signal::kill(number, SIGKILL).is_ok()
}

/// Kills each child that the system lists; this process has one thread. The list may be of another namespace's numbers, which mean
/// nothing here, or somebody else. `false` when there was none.
fn kill_listed() -> bool {
    let Ok(list) = descriptor::open_to_read(c"/proc/thread-self/children") else { return false };
    let mut found = false;
    let (mut chunk, mut number) = ([0u8; 1024], 0i32);
    loop {
        let length = match descriptor::read(list, &mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(_) => break,
        };
        for byte in chunk.get(..length).unwrap_or_default() {
            match byte {
                b'0'..=b'9' => number = number.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')),
                _ if number > 0 => {
                    found |= kill_child(number);
                    number = 0;
                }
                _ => {}
            }
        }
    }
    if number > 0 {
        found |= kill_child(number);
    }
    // SAFETY: opened above.
    let _ = unsafe { descriptor::close(list) };
    found
}

//! The first stack: what a program finds when it starts.
//!
//! ```text
//! at   argc, argv..., 0, envp..., 0, auxiliary vector..., AT_NULL
//!      padding, random bytes (AT_RANDOM), platform (AT_PLATFORM), a random gap
//!      argument strings, environment strings, name (AT_EXECFN), 8 zero bytes
//! top
//! ```
//!
//! Safety idea: everything is added up first and refused if it is too much; each part is then written from the top down, so that
//! a pointer is always the address at which its bytes were just put.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Range;

use crate::image::{END, LOWEST};
use crate::place::PAGE;

/// The longest string, with its NUL (`MAX_ARG_STRLEN`).
const LONGEST: usize = 128 << 10;
/// The gap is less than this.
const GAP: u64 = 8192;

const NULL: u64 = 0;
const PLATFORM: u64 = 15;
const BASE_PLATFORM: u64 = 24;
const RANDOM: u64 = 25;
const EXECFN: u64 = 31;

/// What a first stack is made from.
#[derive(Clone, Copy, Debug)]
pub struct FirstStack<'a> {
    /// The arguments, the name first. For none at all the program gets one that is empty, as since Linux 5.18.
    pub arguments: &'a [CString],
    /// The environment.
    pub environment: &'a [CString],
    /// What was started (`AT_EXECFN`).
    pub name: &'a CStr,
    /// The machine (`AT_PLATFORM`): `x86_64`.
    pub platform: &'a CStr,
    /// What stack protectors and pointer guards are made from (`AT_RANDOM`).
    pub random: [u8; 16],
    /// The auxiliary vector. `AT_RANDOM`, `AT_EXECFN` and `AT_PLATFORM` get their addresses where they stand, or at the end;
    /// `AT_BASE_PLATFORM`, which x86_64 has not, and `AT_NULL`, which ends the vector, are left out.
    pub auxiliary: &'a [(u64, u64)],
    /// The end of the stack's mapping: a multiple of the page size.
    pub top: u64,
    /// A random number: the gap between strings and vectors, modulo 8192.
    pub shift: u64,
    /// The most bytes that arguments, environment, their pointers and the name may take: for the kernel a quarter of the stack's
    /// limit, and 6 MiB at most.
    pub limit: u64,
}

/// A first stack, built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The stack pointer: where the count of arguments lies. A multiple of 16.
    pub at: u64,
    /// What lies from there to the top.
    pub bytes: Vec<u8>,
    /// Where the argument strings lie (`arg_start`, `arg_end`).
    pub arguments: Range<u64>,
    /// Where the environment strings lie (`env_start`, `env_end`): after the arguments.
    pub environment: Range<u64>,
    /// The auxiliary vector as it lies there, with its end: what `/proc/PID/auxv` should show.
    pub auxiliary: Vec<u8>,
}

/// Why there is no stack. The kernel says `E2BIG` for the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// A string of so many bytes, with its NUL: one may have 128 KiB.
    String(usize),
    /// Arguments and environment take so many bytes, and may take `limit`.
    Total {
        /// What they take.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },
    /// The top is no page's end in user memory, or there is no room below it.
    Top(u64),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::String(bytes) => {
                write!(f, "an argument or a variable of {bytes} bytes is too long: it may have {LONGEST}")
            }
            Excess::Total { bytes, limit } => {
                write!(f, "arguments and environment take {bytes} bytes and may take {limit}")
            }
            Excess::Top(top) => write!(f, "there is no room for a stack below {top:#x}"),
        }
    }
}

impl std::error::Error for Excess {}

impl FirstStack<'_> {
    /// Builds it.
    ///
    /// # Errors
    /// [`Excess`]: a string or all of them are too long, or the stack would not fit below `top`.
    pub fn build(&self) -> Result<Built, Excess> {
        let none = [CString::default()];
        let arguments = if self.arguments.is_empty() { &none } else { self.arguments };
        let strings = self.measure(arguments)?;
        let entries = arguments.len() + self.environment.len() + 3 + 2 * (self.auxiliary.len() + 4);
        let room = strings + self.platform.to_bytes_with_nul().len() + entries * 8 + GAP as usize + 64;
        if !self.top.is_multiple_of(PAGE) || self.top > END || self.top < LOWEST + room as u64 {
            return Err(Excess::Top(self.top));
        }

        let mut down = Down { bytes: vec![0; room], at: room, top: self.top };
        down.put(&[0; 8]);
        let name = down.put(self.name.to_bytes_with_nul());
        let environment = down.strings(self.environment);
        let environment_at = down.address();
        let arguments = down.strings(arguments);
        let arguments_at = down.address();
        down.skip(self.shift % GAP);
        down.skip(down.address() % 16);
        let platform = down.put(self.platform.to_bytes_with_nul());
        let random = down.put(&self.random);

        let auxiliary = self.vector(&[(RANDOM, random), (EXECFN, name), (PLATFORM, platform)]);
        let count = arguments.len() as u64;
        let words = [count].into_iter().chain(arguments).chain([0]).chain(environment).chain([0]);
        let mut vectors: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        vectors.extend_from_slice(&auxiliary);
        // Padding goes above the vectors: the stack pointer points to their first word.
        down.skip((down.address() - vectors.len() as u64) % 16);
        let at = down.put(&vectors);
        let bytes = down.bytes.split_off(down.at);
        let (arguments, environment) = (arguments_at..environment_at, environment_at..name);
        Ok(Built { at, bytes, arguments, environment, auxiliary })
    }

    /// Bytes of all strings.
    fn measure(&self, arguments: &[CString]) -> Result<usize, Excess> {
        let lengths = arguments.iter().chain(self.environment).map(|string| string.as_bytes_with_nul().len());
        let lengths = lengths.chain([self.name.to_bytes_with_nul().len()]);
        if let Some(length) = lengths.clone().find(|length| *length > LONGEST) {
            return Err(Excess::String(length));
        }
        let strings: usize = lengths.sum();
        let bytes = (strings + 8 * (arguments.len() + self.environment.len())) as u64;
        if bytes > self.limit {
            return Err(Excess::Total { bytes, limit: self.limit });
        }
        Ok(strings)
    }

    /// The auxiliary vector with our own entries, and its end.
    fn vector(&self, own: &[(u64, u64)]) -> Vec<u8> {
        let ours = |key| own.iter().find(|(own, _)| *own == key).copied();
        let kept = self.auxiliary.iter().filter(|(key, _)| ![NULL, BASE_PLATFORM].contains(key));
        let mut entries: Vec<(u64, u64)> = kept.map(|entry| ours(entry.0).unwrap_or(*entry)).collect();
        for entry in own {
            if !entries.contains(entry) {
                entries.push(*entry);
            }
        }
        entries.push((NULL, 0));
        entries.into_iter().flat_map(|(key, value)| [key, value]).flat_map(u64::to_le_bytes).collect()
    }
}

/// Bytes written from the top down. There is room for all: it was added up before.
struct Down {
    bytes: Vec<u8>,
    at: usize,
    top: u64,
}

impl Down {
    fn address(&self) -> u64 {
        self.top - (self.bytes.len() - self.at) as u64
    }

    fn skip(&mut self, bytes: u64) {
        self.at -= bytes as usize;
    }

    /// Puts bytes below what is there and says where.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        self.at -= bytes.len();
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.address()
    }

    /// Puts strings, so that they lie in their order, and says where each is.
    fn strings(&mut self, strings: &[CString]) -> Vec<u64> {
        let mut places: Vec<u64> =
            strings.iter().rev().map(|string| self.put(string.as_bytes_with_nul())).collect();
        places.reverse();
        places
    }
}

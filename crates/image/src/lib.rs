//! What a process runs: an image as it will be mapped, the first stack, the symbols.
//!
//! [`Image::read`] takes an ELF executable apart and checks it whole; [`Image::place`] says which bytes go where, page by page;
//! [`FirstStack::build`] writes what a program finds when it starts; [`Symbols`] tells which function an address is in. This is
//! what the kernel does in `execve` (`fs/binfmt_elf.c` and `fs/exec.c`, as of Linux 6.18), computed outside of it.
//!
//! # Safety idea
//!
//! Everything read here was written by somebody else. Whatever the bytes are, there is an answer: numbers that were checked
//! against each other and against the file, or an [`Error`]. Nothing panics, and nothing is allocated that a small file cannot
//! justify. There is no `unsafe`.
//!
//! # What this crate does not do
//!
//! It touches no process: mapping, writing and starting belong to whoever holds one. It does not relocate: a loader or a static
//! program's own start does that. It reads x86_64, 64 bits, little-endian, and nothing else.
//!
//! ```
//! use beget_image::{Image, program_bias};
//!
//! let program = std::fs::File::open("/bin/sh")?;
//! let image = Image::read(&program)?;
//! let placed = image.place(program_bias(&image, 0))?;
//! assert!(placed.code.contains(&placed.entry));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod elf;
mod error;
pub mod frozen;
mod image;
mod place;
mod placement;
mod source;
mod stack;
mod symbols;

pub use elf::{Headers, Kind};
pub use error::{Error, Result};
pub use image::{Image, Segment};
pub use place::{Content, Mapping, Placed, Protection};
pub use placement::{brk_start, program_bias};
pub use source::Source;
pub use stack::{Built, Excess, FirstStack};
pub use symbols::{Symbol, Symbols};

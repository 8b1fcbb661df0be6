//! Writing a plan.
//!
//! A draft keeps the operations and the data they refer to, and encodes both. It checks nothing: [`Plan::check`] does.
//!
//! [`Plan::check`]: crate::Plan::check

use std::ffi::CStr;
use std::vec::Vec;

use beget_sys::seccomp::Instruction;

use crate::encoding::{MAGIC, VERSION};
use crate::op::{Op, Span};

/// A plan being written.
#[derive(Debug, Default, Clone)]
pub struct Draft {
    ops: Vec<Op>,
    data: Vec<u8>,
}

impl Draft {
    /// An empty one.
    #[must_use]
    pub fn new() -> Draft {
        Draft::default()
    }

    /// Adds an operation and gives its place.
    pub fn push(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// The operations so far.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Span {
        let span = Span { at: self.data.len() as u32, count: bytes.len() as u32 };
        self.data.extend_from_slice(bytes);
        span
    }

    /// Adds a string and gives its place.
    pub fn string(&mut self, string: &CStr) -> u32 {
        self.bytes(string.to_bytes_with_nul()).at
    }

    /// Adds strings and the table that finds them.
    pub fn strings<'s>(&mut self, strings: impl IntoIterator<Item = &'s CStr>) -> Span {
        let places: Vec<u32> = strings.into_iter().map(|string| self.string(string)).collect();
        self.numbers(&places)
    }

    /// Adds numbers of four bytes.
    pub fn numbers(&mut self, numbers: &[u32]) -> Span {
        let at = self.data.len() as u32;
        self.data.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        Span { at, count: numbers.len() as u32 }
    }

    /// Adds a filter.
    pub fn filter(&mut self, instructions: &[Instruction]) -> Span {
        let at = self.data.len() as u32;
        for instruction in instructions {
            self.data.extend(instruction.code.to_ne_bytes());
            self.data.extend([instruction.jump_true, instruction.jump_false]);
            self.data.extend(instruction.k.to_ne_bytes());
        }
        Span { at, count: instructions.len() as u32 }
    }

    /// Encodes the plan, for `descriptors` descriptors.
    #[must_use]
    pub fn encode(&self, descriptors: usize) -> Vec<u8> {
        let length = crate::encoding::HEADER + self.ops.len() * crate::encoding::RECORD + self.data.len() + 1;
        let header = [MAGIC, VERSION, length as u32, self.ops.len() as u32, descriptors as u32, 0, 0, 0];
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        for op in &self.ops {
            let (code, words) = op.encode();
            bytes.extend(code.to_ne_bytes());
            bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        bytes.extend_from_slice(&self.data);
        bytes.push(0);
        bytes
    }
}

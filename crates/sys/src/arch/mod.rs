//! The one place with assembler: how a system call is made, and how a child starts on a stack of its own.

mod x86_64;

pub(crate) use x86_64::{call0, call1, call2, call3, call4, call5, call6, clone_onto, fault};

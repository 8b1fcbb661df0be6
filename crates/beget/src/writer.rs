//! A plan being written: each operation together with the words that an error of it will be told in.

use std::borrow::Cow;

use beget_plan::{Draft, Op};

use crate::error::{Error, Fault};

/// What an operation is called when it fails, and whose fault that is then.
pub(crate) type Step = (Cow<'static, str>, Fault);

/// Operations with their words.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) draft: Draft,
    pub(crate) steps: Vec<Step>,
}

impl Writer {
    pub(crate) fn push(&mut self, op: Op, words: impl Into<Cow<'static, str>>) {
        self.push_asked(op, words, Fault::Kernel);
    }

    /// An operation whose failure is more likely the caller's fault than the kernel's.
    pub(crate) fn push_asked(&mut self, op: Op, words: impl Into<Cow<'static, str>>, fault: Fault) {
        self.draft.push(op);
        self.steps.push((words.into(), fault));
    }
}

/// What a failed operation is told as.
pub(crate) fn tell(fault: beget_plan::Fault, steps: &[Step]) -> Error {
    use beget_sys::Errno;
    match steps.get(fault.op as usize) {
        Some((words, whose)) => {
            let too_long = *whose == Fault::NotRunnable && fault.errno == Errno::E2BIG;
            Error::kernel(words.clone(), fault.errno, if too_long { Fault::Caller } else { *whose })
        }
        // Not an operation, but the message: there was no memory for it, or no number for a descriptor.
        None if fault.op == u32::MAX => Error::kernel("message to the child", fault.errno, Fault::Kernel),
        None => Error::kernel(format!("operation {}", fault.op), fault.errno, Fault::Beget),
    }
}

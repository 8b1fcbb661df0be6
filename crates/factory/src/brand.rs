//! Which processes are products of a factory.
//!
//! Safety idea: a product is known by what the kernel never gives twice, not by its number; the number only says where to look.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use beget_sys::wait;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Result;
use crate::judge::ProcessIdentity;

/// When there are fewer, what has ended among them is not looked for.
const FEW: usize = 1024;

/// Whether the process of this number is that one.
fn lives(number: u32, identity: &ProcessIdentity) -> bool {
    let process = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pidfd = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok());
    pidfd.and_then(|pidfd| ProcessIdentity::of(pidfd.as_fd()).ok()).as_ref() == Some(identity)
}

/// The products that live, and some that have ended.
#[derive(Debug)]
pub(crate) struct Brand {
    products: HashMap<u32, ProcessIdentity>,
    /// When there are so many, what has ended is thrown out.
    most: usize,
}

impl Default for Brand {
    fn default() -> Brand {
        Brand { products: HashMap::new(), most: FEW }
    }
}

impl Brand {
    /// Remembers a product of this number.
    pub(crate) fn mark(&mut self, number: u32, pidfd: BorrowedFd<'_>) -> Result<()> {
        if self.products.len() >= self.most {
            self.products.retain(|number, identity| lives(*number, identity));
            self.most = FEW.max(self.products.len() * 2);
        }
        self.products.insert(number, ProcessIdentity::of(pidfd)?);
        Ok(())
    }

    /// Whether the process behind a pidfd is one of them, and lives.
    pub(crate) fn is_on(&self, pidfd: BorrowedFd<'_>) -> Result<bool> {
        let Ok(number) = wait::number(pidfd) else { return Ok(false) };
        let Some(known) = self.products.get(&number) else { return Ok(false) };
        Ok(*known == ProcessIdentity::of(pidfd)?)
    }
}

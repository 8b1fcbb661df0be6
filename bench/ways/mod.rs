//! The ways of starting a process that are compared, what they start, and from what kind of parent.

mod asked;
mod calls;
mod forked;
mod parents;
mod programs;

pub use asked::Asked;
pub use calls::{
    Stack, confined, fork_exec, fork_exit, posix_spawn, posix_spawned, reaped, std_command, unconfined,
    vfork_exec, vfork_exit,
};
pub use forked::Child;
pub use parents::Parent;
pub use programs::{Program, Programs};

//! The ways of starting a process that are compared, what they start, and from what kind of parent.

mod asked;
mod calls;
mod forked;
mod lines;
mod mounts;
mod parents;
mod programs;

pub use asked::Asked;
pub use calls::{
    Stack, confined, fork_exec, fork_exit, posix_spawn, posix_spawned, reaped, std_command, unconfined,
    vfork_exec, vfork_exit, vfork_exit_in,
};
pub use forked::Child;
pub use lines::{Line, find, installed, own_command, own_musl_command};
pub use mounts::OtherMounts;
pub use parents::Parent;
pub use programs::{Program, Programs};

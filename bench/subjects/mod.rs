//! What is measured, one file a subject.

mod batches;
mod commands;
mod confined;
mod embryos;
mod factories;
mod factory_memory;
mod factory_python;
mod factory_service;
mod filter;
mod floors;
mod limits;
mod loads;
mod memory;
mod namespaces;
mod parts;
mod root_parts;
mod roots;
mod services;
mod spawn;
#[cfg(feature = "async")]
mod tasks;

use crate::options::Options;
use crate::report::Report;
use crate::ways::Programs;

/// Measures, and adds to the report.
pub type Subject = fn(&Options, &Programs, &mut Report) -> Result<(), String>;

/// What each of them is about, by name, in the order in which they are shown.
const ABOUT: &[(&str, &str)] = &[
    ("floors", "what the kernel itself needs: a call, a CPUID, vfork, fork, an exec"),
    (
        "spawn",
        "the library with nothing confined, beside posix_spawn, fork and vfork, from parents of several kinds",
    ),
    #[cfg(feature = "async")]
    ("async", "births that tasks await, beside tokio's own"),
    ("confined", "the library with everything confined, mechanism by mechanism and step by step"),
    ("embryos", "nurseries, embryos, loads without an exec, and the memory of what waits"),
    ("batches", "a thousand births in one message, beside loops of posix_spawn"),
    ("commands", "beget run as a whole command, beside bwrap, unshare, firejail and sandlock"),
    ("roots", "a private root, beside bwrap and crun with the same files; namespaces; limits of whole trees"),
    ("filter", "the seccomp filter: to put it on, and what it costs each call afterwards"),
    (
        "service",
        "births through the service, one by one and a thousand at once, and while ten thousand domains live",
    ),
    (
        "factories",
        "products copied from a program that was started once: true, Python, and the memory of a pool",
    ),
];

/// The names that there are, with what they are about.
pub fn about() -> impl Iterator<Item = (&'static str, &'static str)> {
    ABOUT.iter().copied()
}

/// In the order in which they are measured and shown.
pub const ALL: &[(&str, Subject)] = &[
    ("floors", floors::measure),
    ("spawn", spawn::measure),
    #[cfg(feature = "async")]
    ("async", tasks::measure),
    ("confined", confined::measure),
    ("confined", parts::measure),
    ("embryos", embryos::measure),
    ("embryos", loads::measure),
    ("embryos", memory::measure),
    ("batches", batches::measure),
    ("commands", commands::measure),
    ("roots", roots::measure),
    ("roots", namespaces::measure),
    ("roots", root_parts::measure),
    ("roots", limits::measure),
    ("filter", filter::measure),
    ("service", services::measure),
    ("factories", factories::measure),
    ("factories", factory_service::measure),
    ("factories", factory_python::measure),
    ("factories", factory_memory::measure),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_says_what_it_is_about() {
        let mut names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        names.dedup();
        assert_eq!(names, about().map(|(name, _)| name).collect::<Vec<_>>());
    }
}

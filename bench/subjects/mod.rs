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

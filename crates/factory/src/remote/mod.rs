//! A factory that another process keeps, by capability: the same questions and requests as of one in this process.
//!
//! A capability is a connection. [`RemoteBuilder`] is the right to build, until it is sealed; [`RemoteFactory`] the right to have products made, or to
//! ask questions, or both: what [`rights`](RemoteFactory::rights) says. The process that keeps a factory is started by the process service
//! (`beget_service::Service::keeper`), whose word it is that the answers come from Beget's own code and not from the builder.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let capability = std::os::unix::net::UnixDatagram::unbound()?;
//! use beget_factory::remote::RemoteFactory;
//!
//! let factory = RemoteFactory::from_fd(capability)?;
//! let answer = factory.confinement()?;
//! assert!(answer.is_confined(&[]), "{:?}", answer.holes);
//! let product = factory.request().arg("one").stdout(std::io::stdout())?.start()?;
//! println!("{:?}", product.wait()?.status);
//! # Ok(())
//! # }
//! ```
//!
//! Safety idea: what comes back is read as a stranger's: an answer that means nothing is an error, and what came with it is closed. What a requestor
//! gives goes straight to the keeper, and to nobody between.

mod answer;
mod builder;
mod factory;
mod line;
mod product;

pub use answer::{Confinement, Facts};
pub use builder::RemoteBuilder;
pub use factory::{RemoteFactory, RemoteRequest};
pub use product::{Ended, RemoteProduct};

pub use crate::keeper::protocol::right;

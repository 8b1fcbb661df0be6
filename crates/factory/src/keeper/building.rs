//! The right to build, from the first request to the seal.
//!
//! Safety idea: there is one such connection, and after the seal it is answered with nothing but that it is sealed; whoever holds it then has no more
//! than anybody.

use std::os::fd::{AsFd, OwnedFd};

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};

use super::Plan;
use super::protocol::{error, kind, right};
use super::told::{self, Refusal, hello};
use crate::{Builder, Factory};

/// The connection that builds.
#[derive(Debug)]
pub(super) struct Building {
    connection: Connection,
    scratch: Scratch,
    /// The number of the request to seal.
    sealing: u64,
}

impl Building {
    pub(super) fn new(socket: OwnedFd) -> Building {
        Building { connection: Connection::new(socket), scratch: Scratch::default(), sealing: 0 }
    }

    /// Builds until it is sealed; `None` when whoever built is gone, or speaks no sense.
    pub(super) fn until_sealed(&mut self, plan: &impl Plan) -> Option<Factory> {
        let mut builder = None;
        loop {
            let packet = match self.connection.receive(&mut self.scratch, true) {
                Ok(Came::Packet(packet)) => packet,
                Ok(Came::Lost(_, request, errno)) => {
                    let refusal = Refusal::kernel("what came with it found no place here", errno);
                    self.refuse(request, &refusal);
                    continue;
                }
                _ => return None,
            };
            let request = packet.request;
            if packet.kind == kind::SEAL {
                self.sealing = request;
                let sealed = match builder.take() {
                    Some(builder) => Builder::seal(builder).map_err(Refusal::from),
                    None => Err(Refusal::new(error::UNBUILT, "nothing was said yet of what is built")),
                };
                match sealed {
                    Ok(factory) => return Some(factory),
                    Err(refusal) => self.refuse(request, &refusal),
                }
                continue;
            }
            match self.answer(&mut builder, packet, plan) {
                Ok((kind, body)) => drop(self.connection.send(kind, request, &body, &[])),
                Err(refusal) if refusal.code == error::MALFORMED => {
                    self.refuse(0, &refusal);
                    return None;
                }
                Err(refusal) => self.refuse(request, &refusal),
            }
        }
    }

    fn answer(
        &self,
        builder: &mut Option<Builder>,
        packet: Packet,
        plan: &impl Plan,
    ) -> std::result::Result<(u16, Vec<u8>), Refusal> {
        let Packet { kind, body, descriptors, .. } = packet;
        let mut reader = Reader::new(&body);
        match kind {
            kind::HELLO => return hello(&body, right::BUILD),
            kind::BUILD => {
                let told = reader.bytes().filter(|_| reader.ends().is_some() && !descriptors.is_empty());
                let told = told.ok_or_else(|| Refusal::malformed("what is to be built is none"))?;
                if builder.is_some() {
                    return Err(Refusal::new(error::UNBUILT, "it was said already what is built"));
                }
                *builder = Some(plan.builder(told, descriptors)?);
                return Ok((kind::DONE, Vec::new()));
            }
            kind::INSERT | kind::CONFINEMENT => {}
            _ => {
                return Err(Refusal::new(
                    error::NO_RIGHT,
                    "the capability is no right to that before the seal",
                ));
            }
        }
        let builder = builder.as_mut();
        let builder =
            builder.ok_or_else(|| Refusal::new(error::UNBUILT, "nothing was said yet of what is built"))?;
        if kind == kind::CONFINEMENT {
            return Ok((kind::CONFINEMENT_IS, told::confinement(&builder.confinement()).encode()));
        }
        let mut descriptors = descriptors.into_iter();
        let name = reader.str().filter(|_| reader.ends().is_some());
        let (Some(name), Some(file), None) = (name, descriptors.next(), descriptors.next()) else {
            return Err(Refusal::malformed("what is to be inserted is none"));
        };
        let mut body = Writer::new();
        body.str(&builder.insert(name, file)?.to_string());
        Ok((kind::LINE, body.into_body()))
    }

    fn refuse(&self, request: u64, refusal: &Refusal) {
        let _ = self.connection.send(kind::ERROR, request, &refusal.encode(), &[]);
    }

    /// Gives the builder the first right to the sealed factory; `false` when there is nobody any more. From then on a thread answers that it is
    /// sealed, until the other end is closed.
    pub(super) fn tell_sealed(self, first: OwnedFd) -> bool {
        if self.connection.send(kind::SEALED, self.sealing, &[], &[first.as_fd()]).is_err() {
            return false;
        }
        let Building { mut connection, mut scratch, .. } = self;
        let thread = std::thread::Builder::new().name("beget-sealed".to_owned());
        let _ = thread.spawn(move || {
            while let Ok(came) = connection.receive(&mut scratch, true) {
                let request = match came {
                    Came::Packet(packet) => packet.request,
                    Came::Lost(_, request, _) => request,
                    Came::Closed | Came::Malformed(_) => return,
                };
                let refusal = Refusal::new(error::SEALED, "it is sealed");
                if connection.send(kind::ERROR, request, &refusal.encode(), &[]).is_err() {
                    return;
                }
            }
        });
        true
    }
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Refusal {
        Refusal::of(&error)
    }
}

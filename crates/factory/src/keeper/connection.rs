//! A connection to a sealed factory: what is asked over it, and the products that came of it.
//!
//! Safety idea: one thread serves one connection, so whoever never reads, or asks without an end, keeps only himself waiting. When the connection is
//! closed, by whom and however that may be, its products are ended.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use beget::Process;
use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, poll};

use super::begin;
use super::kept::Kept;
use super::protocol::{Ended, Start, error, kind, right};
use super::told::{self, Refusal, hello};

/// The highest number of a signal.
const HIGHEST_SIGNAL: u32 = 64;

/// A product, and whether it lives on without its connection.
#[derive(Debug)]
struct Running {
    process: Process,
    lasting: bool,
}

/// What is answered: its kind, its body, its descriptors.
type Answer = (u16, Vec<u8>, Vec<OwnedFd>);

/// A connection.
#[derive(Debug)]
pub(super) struct Served<'k> {
    kept: &'k Arc<Kept>,
    connection: Connection,
    scratch: Scratch,
    rights: u32,
    /// By the request that started each.
    products: HashMap<u64, Running>,
}

impl<'k> Served<'k> {
    pub(super) fn new(kept: &'k Arc<Kept>, socket: OwnedFd, rights: u32) -> Served<'k> {
        let (connection, scratch) = (Connection::new(socket), Scratch::default());
        Served { kept, connection, scratch, rights, products: HashMap::new() }
    }

    /// Answers what is asked, and tells how products ended.
    pub(super) fn until_closed(mut self) {
        loop {
            let (asked, ended) = self.wait();
            for number in ended {
                if !self.tell_end(number) {
                    return;
                }
            }
            if asked && !self.serve_one() {
                return;
            }
        }
    }

    /// Waits for something: whether a request has come, and which products have ended.
    fn wait(&self) -> (bool, Vec<u64>) {
        let mut watched = vec![PollFd::new(&self.connection, PollFlags::IN)];
        let numbers: Vec<u64> = self.products.keys().copied().collect();
        watched.extend(self.products.values().map(|one| PollFd::new(&one.process, PollFlags::IN)));
        if poll(&mut watched, None).is_err() {
            return (false, Vec::new());
        }
        let happened: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        let ended =
            numbers.iter().zip(&happened[1..]).filter(|(_, ended)| **ended).map(|(number, _)| *number);
        (happened[0], ended.collect())
    }

    /// Tells how a product ended; `false` when there is nobody any more.
    fn tell_end(&mut self, number: u64) -> bool {
        let Some(one) = self.products.get(&number) else { return true };
        let ended = match one.process.try_wait() {
            // A debugger keeps its end from us.
            Ok(None) => {
                std::thread::sleep(std::time::Duration::from_millis(1));
                return true;
            }
            Ok(Some(ended)) => Ended {
                status: Some(ended.status.into_raw()),
                times: ended.usage.map_or([0; 2], |usage| {
                    [usage.user_time, usage.system_time].map(|time| time.as_micros() as u64)
                }),
                memory_peak: ended.usage.map_or(0, |usage| usage.memory_peak),
            },
            Err(_) => Ended::default(),
        };
        self.products.remove(&number);
        self.connection.send(kind::ENDED, number, &ended.encode(), &[]).is_ok()
    }

    /// Takes one request and answers it; `false` when there will be no other.
    fn serve_one(&mut self) -> bool {
        let packet = match self.connection.receive(&mut self.scratch, false) {
            Ok(Came::Packet(packet)) => packet,
            Ok(Came::Lost(_, request, errno)) => {
                return self
                    .refuse(request, &Refusal::kernel("what came with it found no place here", errno));
            }
            Ok(Came::Malformed(why)) => {
                self.refuse(0, &Refusal::malformed(why));
                return false;
            }
            Ok(Came::Closed) => return false,
            Err(_) => return true,
        };
        let request = packet.request;
        match self.answer(packet) {
            Ok((kind, body, descriptors)) => {
                let given: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                match self.connection.send(kind, request, &body, &given) {
                    Ok(()) => true,
                    Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => false,
                    // What was to be given cannot be: then nothing was done.
                    Err(errno) => {
                        self.end(request);
                        self.refuse(request, &Refusal::kernel("the answer cannot be sent", errno))
                    }
                }
            }
            Err(refusal) if refusal.code == error::MALFORMED => {
                self.refuse(0, &refusal);
                false
            }
            Err(refusal) => self.refuse(request, &refusal),
        }
    }

    fn refuse(&self, request: u64, refusal: &Refusal) -> bool {
        self.connection.send(kind::ERROR, request, &refusal.encode(), &[]).is_ok()
    }

    fn answer(&mut self, packet: Packet) -> Result<Answer, Refusal> {
        let Packet { kind, request, body, descriptors } = packet;
        let needed = match kind {
            kind::HELLO | kind::ATTENUATE => 0,
            kind::START | kind::SIGNAL => right::REQUEST,
            kind::CONFINEMENT | kind::IS_PRODUCT | kind::IS_CAPABILITY => right::VERIFY,
            kind::FACTS => right::VERIFY | right::REQUEST,
            kind::REPLACE | kind::SAVE => right::MANAGE,
            kind::BUILD | kind::INSERT | kind::SEAL => {
                return Err(Refusal::new(error::SEALED, "it is sealed"));
            }
            _ => return Err(Refusal::malformed("nothing of this kind can be asked")),
        };
        if needed != 0 && self.rights & needed == 0 {
            return Err(Refusal::new(error::NO_RIGHT, "the capability is no right to that"));
        }
        if request == 0 {
            return Err(Refusal::malformed("a request has a number"));
        }
        if kind == kind::START {
            return self.start(request, &body, descriptors);
        }
        let mut reader = Reader::new(&body);
        let nothing = |body: &[u8], descriptors: &[OwnedFd]| match body.is_empty() && descriptors.is_empty() {
            true => Ok(()),
            false => Err(Refusal::malformed("the request's body is none")),
        };
        let factory = &self.kept.factory;
        match kind {
            kind::HELLO => hello(&body, self.rights).map(|(kind, body)| (kind, body, Vec::new())),
            kind::SIGNAL => {
                let (Some(number), Some(signal), Some(())) = (reader.u64(), reader.u32(), reader.ends())
                else {
                    return Err(Refusal::malformed("the request's body is none"));
                };
                self.signal(number, signal)
            }
            kind::ATTENUATE => {
                let (Some(rights), Some(())) = (reader.u32(), reader.ends()) else {
                    return Err(Refusal::malformed("the request's body is none"));
                };
                self.attenuate(rights)
            }
            kind::IS_PRODUCT | kind::IS_CAPABILITY => {
                let [file] = &descriptors[..] else {
                    return Err(Refusal::malformed("it is about one descriptor"));
                };
                nothing(&body, &[])?;
                let mut writer = Writer::new();
                writer.u32(match kind {
                    kind::IS_PRODUCT => factory.is_product(file.as_fd())?.into(),
                    _ => self.kept.capabilities.rights(file),
                });
                Ok((kind::NUMBER, writer.into_body(), Vec::new()))
            }
            kind::SAVE => {
                nothing(&body, &[])?;
                let mut descriptors = descriptors.into_iter();
                let (Some(file), None) = (descriptors.next(), descriptors.next()) else {
                    return Err(Refusal::malformed("it is about one descriptor"));
                };
                let info = factory.save(&[], &file.into())?;
                let mut writer = Writer::new();
                writer.str(&told::digest(&info));
                Ok((kind::LINE, writer.into_body(), Vec::new()))
            }
            kind::CONFINEMENT => {
                nothing(&body, &descriptors)?;
                Ok((kind::CONFINEMENT_IS, told::confinement(factory.confinement()).encode(), Vec::new()))
            }
            kind::FACTS => {
                nothing(&body, &descriptors)?;
                Ok((kind::FACTS_ARE, told::facts(factory).encode(), Vec::new()))
            }
            _ => {
                nothing(&body, &descriptors)?;
                factory.replace()?;
                Ok((kind::DONE, Vec::new(), Vec::new()))
            }
        }
    }

    fn start(&mut self, request: u64, body: &[u8], descriptors: Vec<OwnedFd>) -> Result<Answer, Refusal> {
        let start = Start::decode(body).filter(|start| start.descriptors() == descriptors.len());
        let start = start.ok_or_else(|| Refusal::malformed("what is given to the product is none"))?;
        if self.products.contains_key(&request) {
            return Err(Refusal::malformed("a product of this number runs"));
        }
        let lasting = start.lasting;
        let process = requested(&self.kept.factory, start, descriptors)?;
        let pidfd = process.as_fd().try_clone_to_owned();
        let mut writer = Writer::new();
        writer.u32(process.id());
        // From here on it is ended with the connection, also when it cannot be told of.
        self.products.insert(request, Running { process, lasting });
        let pidfd = pidfd.map_err(|error| {
            self.end(request);
            Refusal::kernel("the answer cannot be sent", Errno(error.raw_os_error().unwrap_or(0)))
        })?;
        Ok((kind::STARTED, writer.into_body(), vec![pidfd]))
    }

    fn signal(&self, number: u64, signal: u32) -> Result<Answer, Refusal> {
        if signal > HIGHEST_SIGNAL {
            return Err(Refusal::kernel(&format!("signal {signal}"), Errno::EINVAL));
        }
        const SIGKILL: u32 = 9;
        // One that has ended is no error.
        if let Some(one) = self.products.get(&number) {
            match signal {
                SIGKILL => finish(&one.process),
                _ => one.process.signal(signal as i32)?,
            }
        }
        Ok((kind::DONE, Vec::new(), Vec::new()))
    }

    fn attenuate(&self, rights: u32) -> Result<Answer, Refusal> {
        if rights == 0 || rights & !self.rights != 0 {
            return Err(Refusal::new(error::NO_RIGHT, "this connection has not all of these rights"));
        }
        let made = self.kept.capabilities.make(rights)?;
        begin(self.kept, made.ours, rights, Some(made.cookie));
        let mut writer = Writer::new();
        writer.u32(rights);
        Ok((kind::CAPABILITY, writer.into_body(), vec![made.theirs]))
    }

    /// Ends the product of a request.
    fn end(&mut self, request: u64) {
        if let Some(one) = self.products.remove(&request) {
            finish(&one.process);
        }
    }
}

/// Ends a product, with all that it started where that is known.
fn finish(process: &Process) {
    let _ = process.kill();
    if process.nursery().is_some() {
        let _ = process.kill_tree();
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        for one in self.products.values().filter(|one| !one.lasting) {
            finish(&one.process);
        }
    }
}

/// Has the factory make a product, given this.
fn requested(factory: &crate::Factory, start: Start, descriptors: Vec<OwnedFd>) -> crate::Result<Process> {
    let mut request = factory.request();
    request.args(&start.arguments).unique(start.unique);
    for (name, value) in &start.environment {
        request.env(name, value);
    }
    for limit in &start.limits {
        request.limit(*limit);
    }
    if !start.narrow.is_empty() {
        request.narrow(&start.narrow)?;
    }
    let mut descriptors = descriptors.into_iter();
    for (number, file) in start.numbers.iter().zip(descriptors.by_ref()) {
        match number {
            0 => request.stdin(file),
            1 => request.stdout(file),
            2 => request.stderr(file),
            number => request.fd(*number as i32, file),
        };
    }
    for (name, file) in start.slots.iter().zip(descriptors.by_ref()) {
        request.slot(name.as_str(), file);
    }
    if let Some(directory) = start.directory.then(|| descriptors.next()).flatten() {
        request.current_dir_fd(directory);
    }
    if let Some(group) = start.cgroup.then(|| descriptors.next()).flatten() {
        request.cgroup(group);
    }
    request.start()
}

//! A template that serves, and everything that is known of it.
//!
//! Safety idea: whatever stands in the way of true copies is found out while the program is stopped, before the stub serves; until then its
//! end is certain, for the thread that traces it holds it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use beget::{
    Beginning, Construct, Nursery, Part, Process, Product, Register, Sealed, Stdio, Template, Variation,
};
use beget_sys::nr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::adapter::{Exchange, JOB};
use crate::memory::{self, Frozen, Mapping, Prefault};
use crate::options::Options;
use crate::ready::{Point, Ready};
use crate::saved::{self, Image, Info, Saving};
use crate::survey::{self, Expectations, Kind, Survey};
use crate::tracee::Tracee;
use crate::{Error, Result};

/// The most that is kept of what a program said before it was ready.
const MOST_SAID: u64 = 4096;

/// What a template has for standard streams: pipes that are held at our end, so that it waits where it reads.
#[derive(Debug)]
struct Placeholders {
    _input: OwnedFd,
    outputs: [OwnedFd; 2],
}

impl Placeholders {
    fn make(variation: &mut Variation) -> Result<Placeholders> {
        let pipe = || std::io::pipe().map_err(|error| Error::io("factory: a pipe for its template", error));
        let (input, feed) = pipe()?;
        let (out, stdout) = pipe()?;
        let (error, stderr) = pipe()?;
        variation.stdin(Stdio::from(input)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
        let outputs = [out, error].map(OwnedFd::from);
        for output in &outputs {
            // As much as it may write before it is ready, for nobody reads until then.
            let _ = rustix::pipe::fcntl_setpipe_size(output, 1 << 20);
        }
        Ok(Placeholders { _input: feed.into(), outputs })
    }

    /// How many bytes it wrote before it was ready, to standard output and to standard error.
    fn written(&self) -> [u64; 2] {
        self.outputs.each_ref().map(|output| rustix::io::ioctl_fionread(output).unwrap_or(0))
    }

    /// What a requestor is to know of the streams that its program had until it was ready, and that no product has.
    fn declare(&self, ready: &Ready, saved: bool, survey: &mut Survey) {
        let [out, error] = self.written();
        if out + error > 0 {
            let what = format!(
                "before it was ready it wrote {out} bytes to standard output and {error} to standard error, which no product \
                 writes: {:?}",
                self.said()
            );
            survey.declare(Kind::EarlyOutput, what);
        }
        // At its entry and at its main a program has not looked at them yet.
        if !matches!(ready, Ready::Entry | Ready::Main) {
            let what = "until it was ready its standard streams were pipes: what it decided by that (prompts, buffers, whether it can \
                        seek) holds in products that are given others";
            survey.declare(Kind::EarlyLook, what.to_owned());
            if saved {
                let what =
                    "what it wrote before it was saved, which its image does not have, no product writes";
                survey.declare(Kind::EarlyOutput, what.to_owned());
            }
        }
    }

    /// What the program said before it was ready: of use where it does not get there.
    fn said(&self) -> String {
        let mut text = Vec::new();
        for output in self.outputs.iter().rev() {
            let _ = rustix::io::ioctl_fionbio(output, true);
            if let Ok(copy) = output.try_clone() {
                let _ = std::fs::File::from(copy).take(MOST_SAID).read_to_end(&mut text);
            }
        }
        String::from_utf8_lossy(&text).trim_end().to_owned()
    }
}

/// A template that serves.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) template: Template,
    process: Process,
    _placeholders: Placeholders,
    pub(crate) point: Point,
    pub(crate) survey: Survey,
    /// What was done to its memory.
    pub(crate) frozen: Frozen,
    mappings: Vec<Mapping>,
    /// What its products write to and read, once that is learned.
    prefault: OnceLock<Prefault>,
    learning: AtomicBool,
    /// When it began to serve.
    pub(crate) since: SystemTime,
    /// How many products it has made.
    pub(crate) made: AtomicU64,
    /// It was asked, and its channel was closed: it has ended, or is about to, or did not answer in time.
    gone: AtomicBool,
}

/// The parts of a template that has begun to serve.
struct Begun {
    template: Template,
    process: Process,
    point: Point,
    survey: Survey,
    frozen: Frozen,
    mappings: Vec<Mapping>,
}

/// It ends with its channel; one that somebody has stopped would see that only when it goes on.
impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

impl Live {
    /// Starts the program, has it get ready, and puts the stub beside it.
    ///
    /// # Errors
    /// A program that does not get ready, with what it said; what cannot be copied truly, all of it by name.
    pub(crate) fn make(
        sealed: &Sealed,
        options: &Options,
        ready: &Ready,
        nursery: Option<&Nursery>,
        image: Option<&Image>,
    ) -> Result<Live> {
        let mut variation = Variation::new();
        let placeholders = Placeholders::make(&mut variation)?;
        let begun = Live::begin(sealed, options, ready, &variation, nursery, image);
        // Ours alone from here on: a program that has ended would be waited for at them.
        drop(variation);
        match begun {
            Ok(Begun { template, process, point, mut survey, frozen, mappings }) => {
                placeholders.declare(ready, image.is_some(), &mut survey);
                if sealed.command().descriptors_given().next().is_some() {
                    let what = "LISTEN_PID, among its variables, is the template's number";
                    survey.declare(Kind::CachedNumber, what.to_owned());
                }
                Ok(Live {
                    template,
                    process,
                    _placeholders: placeholders,
                    point,
                    survey,
                    frozen,
                    mappings,
                    prefault: OnceLock::new(),
                    learning: AtomicBool::new(false),
                    since: SystemTime::now(),
                    made: AtomicU64::new(0),
                    gone: AtomicBool::new(false),
                })
            }
            Err(error) => Err(match placeholders.said() {
                said if said.is_empty() => error,
                said => error.and(&format!("it said: {said}")),
            }),
        }
    }

    fn begin(
        sealed: &Sealed,
        options: &Options,
        ready: &Ready,
        variation: &Variation,
        nursery: Option<&Nursery>,
        image: Option<&Image>,
    ) -> Result<Begun> {
        const SET_DUMPABLE: u64 = 4;
        let (process, template) = sealed.spawn_template(variation, nursery)?;
        if nursery.is_none() {
            template.nursery().set_patience(options.answer)?;
        }
        let mut tracee = Tracee::seize(process)?;
        let before = Expectations::at_birth(&tracee)?;
        // Every other child of its nursery is its own.
        let before = before.alone();
        let point = match image {
            Some(image) => image.restore_into(&mut tracee, template.as_fd())?,
            None => tracee.run_until_ready(ready, options.patience)?,
        };
        let survey = survey::survey(&mut tracee, &before)?;
        survey::drain(&template)?;
        let frozen = match options.frozen {
            true => memory::freeze(&mut tracee, template.as_fd(), None)?,
            false => Frozen::default(),
        };
        let planted = tracee.plant()?;
        let mappings = memory::mappings(tracee.number())?;
        // Last: from then on an ordinary user looks into it no more, and neither do we.
        if options.opaque {
            tracee.call("closing it to others", nr::PRCTL, [SET_DUMPABLE, 0, 0, 0, 0, 0])?;
        }
        let process = tracee.serve(&planted)?;
        Ok(Begun { template, process, point, survey, frozen, mappings })
    }

    /// Starts the program, has it get ready, and saves what it is then; nothing of it is left.
    ///
    /// # Errors
    /// As for [`make`](Live::make); what cannot be saved truly, by name; those of writing.
    pub(crate) fn save(
        sealed: &Sealed,
        options: &Options,
        ready: &Ready,
        nursery: Option<&Nursery>,
        (adapter, note): (Option<&str>, &[u8]),
        file: &File,
    ) -> Result<Info> {
        let mut variation = Variation::new();
        let _placeholders = Placeholders::make(&mut variation)?;
        let (process, _template) = sealed.spawn_template(&variation, nursery)?;
        drop(variation);
        let mut tracee = Tracee::seize(process)?;
        tracee.run_until_ready(ready, options.patience)?;
        saved::save(&mut tracee, &Saving { ready, adapter, note, planted: None }, file)
    }

    /// Its process number.
    pub(crate) fn number(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still serves.
    pub(crate) fn serves(&self) -> bool {
        if self.gone.load(Ordering::Relaxed) {
            return false;
        }
        // Its channel is readable for a moment whenever it answers its nursery.
        let mut watched = [PollFd::new(&self.process, PollFlags::IN)];
        matches!(poll(&mut watched, Some(&Timespec::default())), Ok(0))
    }

    /// Whether one of the files that it was made from is another now.
    pub(crate) fn is_outdated(&self) -> bool {
        self.survey.files().iter().any(|file| !file.is_current())
    }

    /// A copy that waits, has done what every copy does first, and has there already what products write to.
    pub(crate) fn product(&self) -> Result<Product> {
        let mut part = self.first_part()?;
        if let Some(prefault) = self.prefault.get().filter(|prefault| !prefault.writes.is_empty()) {
            part.populate(true, &prefault.writes);
        }
        self.note(self.template.product(&part))
    }

    /// A copy that goes on as soon as it has done what every copy does first, and `part`.
    pub(crate) fn start(&self, part: Part<'_>, registers: &[(Register, u64)]) -> Result<Beginning> {
        self.note(self.template.begin(&self.first_part()?, part, registers))
    }

    fn first_part(&self) -> Result<Part<'_>> {
        let mut part = self.template.first_part();
        self.point.refresh(&mut part)?;
        Ok(part)
    }

    fn note<T>(&self, made: Result<T>) -> Result<T> {
        match &made {
            Ok(_) => _ = self.made.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                // It may take a moment still until its process is seen to have ended; one that was stopped has not.
                let closed = error.errno() == Some(beget_sys::Errno::EPIPE.0);
                self.gone.fetch_or(closed, Ordering::Relaxed);
            }
        }
        made
    }

    /// How many bytes a product that waits has of its own.
    pub(crate) fn waiting_memory(&self) -> u64 {
        /// What the stub works in, and the tables of its memory.
        const LEAST: u64 = 128 << 10;
        LEAST + self.prefault.get().map_or(0, Prefault::bytes)
    }

    /// Has a product that waits, and was born before it was known, have there what products write to.
    pub(crate) fn write_ahead(&self, product: &mut Product) {
        let Some(prefault) = self.prefault.get().filter(|prefault| !prefault.writes.is_empty()) else {
            return;
        };
        let mut part = Part::new();
        part.populate(true, &prefault.writes);
        let _ = product.apply(&part);
    }

    /// Has a product that waits read what products before it have read. One that cannot is found out when it is asked for.
    pub(crate) fn read_ahead(&self, product: &mut Product) {
        let Some(prefault) = self.prefault.get().filter(|prefault| !prefault.reads.is_empty()) else {
            return;
        };
        let mut part = Part::new();
        part.populate(false, &prefault.reads);
        let _ = product.apply(&part);
    }

    /// Whether nobody has begun to learn what products write to; from now on somebody has.
    pub(crate) fn is_to_learn(&self) -> bool {
        !self.learning.swap(true, Ordering::Relaxed)
    }

    /// How many bytes are there already in a product that waits; `None` while that is not known.
    pub(crate) fn ahead(&self) -> Option<u64> {
        self.prefault.get().map(Prefault::bytes)
    }

    /// Learns what products write to and read from one that is given nothing, and whose end nobody waits for. `unseen`: it can tell nobody what
    /// it does, so that nobody sees that it ran; else nothing is learned.
    pub(crate) fn learn(&self, rehearsal: Option<Rehearsal>) {
        /// Longer than most that is worth to be learned from takes.
        const MOST: Duration = Duration::from_millis(500);
        let learned = rehearsal.map(|rehearsal| self.learn_once(&rehearsal, MOST).unwrap_or_default());
        let _ = self.prefault.set(learned.unwrap_or_default());
    }

    fn learn_once(&self, rehearsal: &Rehearsal, most: Duration) -> Result<Prefault> {
        let mut first = self.template.first_part();
        // Nothing that is a requestor's is in it.
        first.set_dumpable(true);
        let product = self.template.product(&first)?;
        let failed = |error| Error::io("factory: learning", error);
        let null = std::fs::File::options().write(true).open("/dev/null").map_err(failed)?;
        let (input, mut feed) = std::io::pipe().map_err(failed)?;
        feed.write_all(&rehearsal.input).map_err(failed)?;
        drop(feed);
        let fresh = self.survey.fresh()?;
        let mut part = Part::new();
        fresh.add_to(&mut part);
        for (slot, file) in (0..).zip([input.as_fd(), null.as_fd(), null.as_fd()]) {
            if self.survey.taken(slot).is_none() {
                part.grant(slot, file);
            }
        }
        let registers = match &rehearsal.job {
            Some((_, theirs)) => {
                part.grant(JOB, theirs.as_fd());
                Vec::new()
            }
            None => self.point.rewrite(&mut part, None, None)?,
        };
        memory::learn(product, &self.template, &self.mappings, &part, &registers, most)
    }
}

/// What a copy is given that only shows what products write to.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// On standard input.
    pub(crate) input: Vec<u8>,
    /// The job of a runtime's, and the copy's end of the line.
    pub(crate) job: Option<(Exchange, OwnedFd)>,
}

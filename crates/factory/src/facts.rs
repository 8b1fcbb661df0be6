//! What a factory tells of how it makes its products.
//!
//! Safety idea: nothing here is the program's word: it is what was found and done from outside, and counted on this side.

use std::fmt;
use std::time::SystemTime;

use crate::memory::Frozen;
use crate::survey::{Hazard, Verdict};
use crate::{Ready, Statistics};

/// The template that serves at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateFacts {
    /// Its process number, for messages.
    pub number: u32,
    /// When it began to serve.
    pub since: SystemTime,
    /// How many products it has made, those that wait among them.
    pub made: u64,
    /// What was done to its memory.
    pub frozen: Frozen,
    /// How many bytes each product that waits has of its own already, learned from one that ran; `None` where nothing was learned yet.
    pub prefault: Option<u64>,
    /// How its products differ from what a start from the beginning would give, and what was done so that they do not.
    pub hazards: Vec<Hazard>,
}

/// How a factory makes its products, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Where its template is stopped; `None` for a cold one.
    pub ready: Option<Ready>,
    /// How many products wait at most.
    pub pool: usize,
    /// Whether its products are closed to other processes of their user. One that is started from the beginning never is: a program that was executed is
    /// open to its user.
    pub opaque: bool,
    /// The runtime that an adapter speaks to.
    pub adapter: Option<String>,
    /// The template; `None` for a cold factory, and while another is made.
    pub template: Option<TemplateFacts>,
    /// What it has done.
    pub statistics: Statistics,
}

/// Some lines for a person.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.ready, &self.adapter) {
            (None, _) => writeln!(f, "cold: each product is started from the beginning")?,
            (Some(_), Some(adapter)) => writeln!(f, "warm: copies of a {adapter} that takes jobs")?,
            (Some(ready), None) => writeln!(f, "warm: copies from {ready}")?,
        }
        let closed =
            if self.opaque { "closed to others of their user" } else { "open to others of their user" };
        writeln!(f, "products are {closed}; at most {} wait", self.pool)?;
        let done = &self.statistics;
        let (hits, warm, cold, failed) = (done.hits, done.warm, done.cold, done.failed);
        writeln!(
            f,
            "requests: {hits} from the pool, {warm} copied, {cold} from the beginning, {failed} failed"
        )?;
        let (templates, deaths, replaced) = (done.templates, done.deaths, done.replaced);
        writeln!(f, "templates: {templates} made, {deaths} ended by themselves, {replaced} replaced")?;
        let Some(template) = &self.template else { return Ok(()) };
        let Frozen { bytes, huge, rest, .. } = &template.frozen;
        let (number, made) = (template.number, template.made);
        writeln!(f, "template: process {number}, {made} products")?;
        writeln!(
            f,
            "memory: {bytes} bytes frozen, {huge} of the others in huge pages, {rest} copied by page"
        )?;
        if let Some(prefault) = template.prefault {
            writeln!(f, "each that waits has {prefault} bytes of its own already")?;
        }
        let told = template.hazards.iter().filter(|hazard| !matches!(hazard.verdict, Verdict::Cured(_)));
        for hazard in told {
            writeln!(f, "differs from a fresh start: {hazard}")?;
        }
        Ok(())
    }
}

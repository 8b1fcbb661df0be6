//! What a factory says, as it is told over a connection: answers, and why something was not done.
//!
//! Safety idea: nothing is added to what the factory says of itself, and nothing left out.

use beget::Fault;
use beget_monitor::fields::{Reader, Writer};
use beget_sys::Errno;

use super::protocol::{VERSIONS, error, kind};
use crate::judge;
use crate::remote::{Confinement, Facts};
use crate::saved::Info;
use crate::{Error, Factory};

/// Why a request is not done.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u32,
    errno: i32,
    /// Empty for the factory as a whole.
    part: String,
    words: String,
}

impl Refusal {
    pub(super) fn new(code: u32, words: &str) -> Refusal {
        Refusal { code, errno: 0, part: String::new(), words: words.to_owned() }
    }

    pub(super) fn malformed(words: &str) -> Refusal {
        Refusal::new(error::MALFORMED, words)
    }

    pub(super) fn kernel(part: &str, errno: Errno) -> Refusal {
        Refusal { code: error::KERNEL, errno: errno.0, part: part.to_owned(), words: errno.to_string() }
    }

    pub(super) fn of(error: &Error) -> Refusal {
        let code = match error.fault() {
            Fault::NotFound => error::NOT_FOUND,
            Fault::NotRunnable => error::NOT_RUNNABLE,
            Fault::Kernel => error::KERNEL,
            Fault::Unkept => error::UNKEPT,
            Fault::StatusTaken => error::STATUS_TAKEN,
            Fault::Beget => error::BEGET,
            _ => error::CALLER,
        };
        let (part, sentence) = (error.part().to_owned(), error.to_string());
        let words = sentence.strip_prefix(&*part).and_then(|rest| rest.strip_prefix(": "));
        let words = words.unwrap_or(&sentence).to_owned();
        Refusal { code, errno: error.errno().unwrap_or(0), part, words }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(self.code).u32(self.errno as u32).str(&self.part).str(&self.words);
        writer.into_body()
    }
}

/// Answers who asks what a connection is a right to.
pub(super) fn hello(body: &[u8], rights: u32) -> Result<(u16, Vec<u8>), Refusal> {
    let mut reader = Reader::new(body);
    let (Some(lowest), Some(highest), Some(())) = (reader.u32(), reader.u32(), reader.ends()) else {
        return Err(Refusal::malformed("the request's body is none"));
    };
    let version = highest.min(VERSIONS[1]);
    if version < lowest.max(VERSIONS[0]) {
        return Err(Refusal::new(error::VERSION, "no version in common"));
    }
    let mut writer = Writer::new();
    writer.u32(version).u32(rights);
    Ok((kind::WELCOME, writer.into_body()))
}

/// The answer about confinement.
pub(super) fn confinement(answer: &judge::Confinement) -> Confinement {
    let constituent = |one: &judge::Constituent| {
        let sentence = one.to_string();
        let what = sentence.strip_prefix(&*one.name).map_or(&*sentence, str::trim_start).to_owned();
        (one.name.clone(), what, one.digest.map(|digest| digest.to_string()))
    };
    Confinement {
        sealed: answer.sealed,
        holes: answer.holes.clone(),
        constituents: answer.constituents.iter().map(constituent).collect(),
        image: answer.image.map(|digest| digest.to_string()),
        lines: answer.lines(),
        out_of_scope: answer.out_of_scope.iter().map(|line| (*line).to_owned()).collect(),
    }
}

/// The digest of a saved image, as people write it.
pub(super) fn digest(info: &Info) -> String {
    info.digest.iter().fold("sha256-image:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// How products are made, and what that did.
pub(super) fn facts(factory: &Factory) -> Facts {
    let options = factory.options();
    let mut said: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| said.push((name.to_owned(), value));
    say("ready", options.ready.as_ref().map_or("cold".to_owned(), ToString::to_string));
    say("isolation", if factory.facts().opaque { "opaque" } else { "inspectable" }.to_owned());
    say("frozen", options.frozen.to_string());
    say("pool", options.pool.size.to_string());
    say("low_water", options.pool.low_water.to_string());
    say("renew", options.renew.map_or("never".to_owned(), |count| format!("after {count} products")));
    let image = factory.image();
    if let Some(info) = &image {
        say("image", digest(info));
    }
    let facts = factory.facts();
    if let Some(adapter) = facts.adapter {
        say("adapter", adapter);
    }
    if let Some(template) = facts.template {
        let since = template.since.duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        say("template", template.number.to_string());
        say("template_since", since.to_string());
        say("template_products", template.made.to_string());
        say("frozen_bytes", template.frozen.bytes.to_string());
        say("huge_bytes", template.frozen.huge.to_string());
        say("prefault_bytes", template.prefault.map_or("unknown".to_owned(), |bytes| bytes.to_string()));
    }
    let counted = facts.statistics;
    let statistics = [
        ("hits", counted.hits),
        ("warm", counted.warm),
        ("cold", counted.cold),
        ("failed", counted.failed),
        ("templates", counted.templates),
        ("deaths", counted.deaths),
        ("replaced", counted.replaced),
        ("waiting", counted.waiting),
    ];
    let hazard = |hazard: &crate::survey::Hazard| {
        let (name, sentence) = (hazard.kind.name().to_owned(), hazard.to_string());
        let what = sentence.split_once(": ").map_or(&*sentence, |(_, what)| what).to_owned();
        (name, what)
    };
    let mut hazards: Vec<(String, String)> = factory.hazards().iter().map(hazard).collect();
    if let Some(info) = &image {
        let split =
            |line: &&str| line.split_once(": ").map(|(name, what)| (name.replace(' ', "-"), what.to_owned()));
        hazards.extend(info.hazards().iter().filter_map(split));
    }
    Facts {
        options: said,
        hazards,
        statistics: statistics.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}

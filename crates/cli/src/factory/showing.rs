//! `beget factory show`: what a factory's products reach, and what it did.
//!
//! Safety idea: what is shown is the keeper's own answer; names in it are shown, and not obeyed.

use beget_factory::remote::{Confinement, Facts};
use serde_json::{Map, Value, json};

use super::{factory, of_factory};
use crate::domains::{Failure, cut, print_json};
use crate::options::Options;
use crate::show::Table;
use crate::tell;

/// Tells of a factory.
pub(crate) fn show(options: &Options) -> Result<u8, Failure> {
    let factory = factory(options, "verify")?;
    let confinement = factory.confinement().map_err(of_factory)?;
    let facts = factory.facts().map_err(of_factory)?;
    let name = options.service.names.first().map(|name| name.to_string_lossy().into_owned());
    if options.json {
        return print_json(&as_json(name.as_deref(), &confinement, &facts));
    }
    tell(&as_table(name.as_deref().unwrap_or("by capability"), &confinement, &facts))
}

fn as_json(name: Option<&str>, confinement: &Confinement, facts: &Facts) -> Value {
    let holes = confinement
        .holes
        .iter()
        .map(|hole| json!({"identity": hole.identity.to_string(), "what": hole.what, "reason": hole.reason}));
    let constituents = confinement
        .constituents
        .iter()
        .map(|(name, what, digest)| json!({"name": name, "what": what, "digest": digest}));
    let pairs = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    };
    let counted: Map<String, Value> =
        facts.statistics.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
    json!({
        "name": name,
        "sealed": confinement.sealed,
        "confined": confinement.is_confined(&[]),
        "holes": holes.collect::<Vec<_>>(),
        "constituents": constituents.collect::<Vec<_>>(),
        "digest": confinement.image,
        "held": confinement.lines,
        "out_of_scope": confinement.out_of_scope,
        "options": pairs(&facts.options),
        "hazards": facts.hazards.iter().map(|(name, what)| json!({"name": name, "what": what})).collect::<Vec<_>>(),
        "statistics": counted,
    })
}

fn as_table(name: &str, confinement: &Confinement, facts: &Facts) -> String {
    let mut table = Table::new();
    table.row("name", name, "");
    let confined = match (confinement.sealed, confinement.holes.len()) {
        (false, _) => "no: it is not sealed".to_owned(),
        (true, 0) => "yes: a product can tell nobody, as far as this speaks".to_owned(),
        (true, 1) => "but for one hole".to_owned(),
        (true, count) => format!("but for {count} holes"),
    };
    table.row("confined", confined, "");
    table.row("digest", confinement.image.as_deref().unwrap_or("none"), "");
    for (name, value) in &facts.options {
        table.row(name.replace('_', "-"), value, "");
    }
    table.end_section("FACTORY");
    for hole in &confinement.holes {
        table.row(&hole.what, hole.identity.to_string(), &hole.reason);
    }
    table.end_section(match confinement.holes.is_empty() {
        true => "HOLES  none: on no way that is known here can a product tell anybody anything",
        false => "HOLES  on which a product could tell somebody something",
    });
    for (name, what, digest) in &confinement.constituents {
        // The first of its digits: `--json` has them all.
        let digest = digest.as_deref().map(|digest| cut(digest, 24));
        table.row(name, digest.unwrap_or_default(), what);
    }
    table.end_section("CONSTITUENTS  what every product is given");
    let above = |line: &&String| {
        confinement
            .constituents
            .iter()
            .any(|one| line.strip_prefix(&*one.0).is_some_and(|rest| rest.starts_with(": ")))
    };
    for line in confinement.lines.iter().filter(|line| !above(line)) {
        table.row(line, "", "");
    }
    table.end_section("HELD BY  the kernel, beside what stands above");
    for line in &confinement.out_of_scope {
        table.row(line, "", "");
    }
    table.end_section("OUT OF SCOPE");
    for (name, what) in &facts.hazards {
        table.row(name, what, "");
    }
    table.end_section("HAZARDS  how products differ from a fresh start");
    for (name, count) in &facts.statistics {
        table.row(name, count.to_string(), "");
    }
    table.end_section("STATISTICS");
    table.finish()
}

//! Manifests: domains that a service starts by itself, in order of what they need of each other.
//!
//! A manifest is TOML with a table for each domain, `[domain.NAME]`, which holds the keys of a spec and those of [`DOMAIN_KEYS`]; and with
//! profiles, as a spec has them, which the domains can extend.
//!
//! Safety idea: all of it is read and put in order before anything is started: a need that is not there, or a circle of needs, is an error
//! that shows it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::file::File;
use crate::load;
use crate::node::{self, Entry, Node, Value};
use crate::read::{hint, nearest};
use crate::spec::Spec;
use crate::variables::{Expanded, Variables};
use crate::words;

/// When a domain that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    Never,
    /// When it ended with another code than 0, or by a signal.
    OnFailure,
    /// Always.
    Always,
}

/// A domain that a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub spec: Spec,
    /// Domains that are started before it.
    pub needs: Vec<String>,
    /// When it is started again.
    pub restart: Restart,
    /// How long is waited before it is started again the first time; each further time in a row twice as long, up to a minute.
    pub backoff: Duration,
    /// So often in a row it may be started again, without having run for a minute; no number for as often as it ends.
    pub restarts: Option<u32>,
    /// Files for its three standard streams; the last two are appended to.
    pub streams: [Option<PathBuf>; 3],
    /// It holds the capability to create domains.
    pub spawner: bool,
    /// Capabilities to other domains, which are started before it: slot, and name with rights, as `web:look,wait`.
    pub capabilities: Vec<(String, String)>,
}

/// The keys of a domain that a spec has not: each with what it says.
pub const DOMAIN_KEYS: &[(&str, &str)] = &[
    ("needs", "Domains that are started before it"),
    ("restart", "When it is started again: never, on-failure or always"),
    (
        "backoff",
        "How long is waited before it is started again; twice as long each time in a row. 1s unless given",
    ),
    ("restarts", "So often in a row it may be started again; without it there is no limit"),
    ("stdin", "A file for its standard input; /dev/null unless given"),
    ("stdout", "A file that its standard output is appended to; /dev/null unless given"),
    ("stderr", "A file that its standard error is appended to; /dev/null unless given"),
    ("spawner", "The capability to create domains, in the slot spawn, as --spawner"),
    (
        "capability",
        "Capabilities to other domains by slot, as { SLOT = \"NAME:look,wait\" }; they are needs too",
    ),
];

/// The domains of a manifest, each after those that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The domains.
    pub domains: Vec<Wanted>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Those of [`Spec::read`]; a domain that is needed and not there; a circle of needs; a name that no domain may have.
    pub fn read(path: &Path) -> Result<Manifest> {
        Manifest::of_file(File::read(path)?)
    }

    fn of_file(file: File) -> Result<Manifest> {
        let mut entries = node::parse(&file)?;
        let Some(at) = entries.iter().position(|entry| entry.name == "domain") else {
            return Err(file.error(0..0, "a manifest has domains, as [domain.NAME]"));
        };
        let domains = entries.remove(at);
        if let Some(other) = entries.iter().find(|entry| entry.name != "profile") {
            let words =
                format!("unknown key {:?}; a manifest has [domain.NAME] and [profile.NAME]", other.name);
            return Err(file.error(other.at.clone(), words));
        }
        let Value::Table(domains) = domains.node.value else {
            return Err(file.error(domains.at, "\"domain\" wants a table of domains, as [domain.NAME]"));
        };
        let mut wanted = Vec::new();
        let mut specs = Vec::new();
        let mut places = BTreeMap::new();
        for Entry { name, at, node } in domains {
            let Node { value: Value::Table(entries), at: node_at } = node else {
                return Err(file.error(node.at, format!("domain {name:?} wants a table")));
            };
            check_name(&file, &name, &at)?;
            places.insert(name.clone(), at.clone());
            let (own, rest): (Vec<Entry>, Vec<Entry>) = entries
                .into_iter()
                .partition(|entry| DOMAIN_KEYS.iter().any(|(known, _)| *known == entry.name));
            wanted.push(own_keys(&file, &name, own)?);
            specs.push(Entry { name, at, node: Node { at: node_at, value: Value::Table(rest) } });
        }
        let file = load::domains(file, entries, specs, |name, spec| {
            let place = wanted.iter_mut().find(|domain| domain.name == name);
            place.into_iter().for_each(|domain| domain.spec = spec.clone());
        })?;
        for domain in &wanted {
            check_spec(&file, domain, &places[&domain.name])?;
        }
        Ok(Manifest { domains: in_order(&file, wanted, &places)? })
    }
}

fn check_name(file: &File, name: &str, at: &Range<usize>) -> Result<()> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || name.len() > 64 || !letters || name.bytes().all(|byte| byte.is_ascii_digit()) {
        let words = "no name for a domain: it is up to 64 letters, digits, -, _ and ., and not only digits";
        return Err(file.error(at.clone(), format!("{name:?} is {words}")));
    }
    Ok(())
}

/// What somebody who stays beside a program does, and a service does not.
fn check_spec(file: &File, domain: &Wanted, at: &Range<usize>) -> Result<()> {
    let spec = &domain.spec;
    let asked = [
        (spec.program.is_none(), "has no program"),
        (spec.pty, "\"pty\" needs somebody who stays beside it; use beget run"),
        (spec.log.is_some(), "\"log\" needs somebody who stays beside it; use stdout and stderr"),
        (spec.output_limit.is_some(), "\"output-limit\" needs somebody who stays beside it"),
        (spec.suspend, "\"suspend\" needs somebody who stays beside it"),
        (spec.loader != beget::Loader::Kernel, "\"loader\" can only be the kernel's for a domain"),
    ];
    match asked.iter().find(|(wrong, _)| *wrong) {
        Some((_, words)) => Err(file.error(at.clone(), format!("domain {:?}: {words}", domain.name))),
        None => Ok(()),
    }
}

fn own_keys(file: &File, name: &str, entries: Vec<Entry>) -> Result<Wanted> {
    let mut domain = Wanted { name: name.to_owned(), backoff: Duration::from_secs(1), ..Wanted::default() };
    for entry in entries {
        let (key, node) = (entry.name.as_str(), &entry.node);
        let wants = |what: &str| {
            file.error(node.at.clone(), format!("{key:?} wants {what}, not {}", node.value.kind()))
        };
        match (key, &node.value) {
            ("needs", Value::List(list)) => {
                for node in list {
                    let Value::Text(need) = &node.value else { return Err(wants("a list of names")) };
                    domain.needs.push(need.clone());
                }
            }
            ("needs", _) => return Err(wants("a list of names")),
            ("restart", Value::Text(word)) => {
                domain.restart = match word.as_str() {
                    "never" => Restart::Never,
                    "on-failure" => Restart::OnFailure,
                    "always" => Restart::Always,
                    _ => {
                        let words = hint(word, &["never", "on-failure", "always"]);
                        return Err(file.error(node.at.clone(), format!("no restart {word:?}{words}")));
                    }
                };
            }
            ("restart", _) => return Err(wants("never, on-failure or always")),
            ("backoff", Value::Text(text)) => {
                domain.backoff = words::duration(text).map_err(|words| file.error(node.at.clone(), words))?;
            }
            ("backoff", Value::Integer(seconds)) => {
                let seconds = u64::try_from(*seconds);
                domain.backoff = Duration::from_secs(seconds.map_err(|_| wants("a number of seconds"))?);
            }
            ("backoff", _) => return Err(wants("a duration, such as \"500ms\", or a number of seconds")),
            ("restarts", Value::Integer(count)) => {
                let count = u32::try_from(*count);
                domain.restarts = Some(count.map_err(|_| wants("a number from 0 to 4294967295"))?);
            }
            ("restarts", _) => return Err(wants("a whole number")),
            ("stdin" | "stdout" | "stderr", Value::Text(_)) => {
                let place = ["stdin", "stdout", "stderr"].iter().position(|known| *known == key);
                domain.streams[place.unwrap_or(0)] = Some(path(file, node)?);
            }
            ("stdin" | "stdout" | "stderr", _) => return Err(wants("a path")),
            ("spawner", Value::Bool(spawner)) => domain.spawner = *spawner,
            ("spawner", _) => return Err(wants("true or false")),
            (_, Value::Table(slots)) => {
                for slot in slots {
                    let Value::Text(text) = &slot.node.value else {
                        return Err(wants("a table, as { SLOT = \"NAME:look\" }"));
                    };
                    domain.capabilities.push((slot.name.clone(), text.clone()));
                    domain.needs.push(text.split(':').next().unwrap_or(text).to_owned());
                }
            }
            _ => return Err(wants("a table, as { SLOT = \"NAME:look\" }")),
        }
    }
    Ok(domain)
}

fn path(file: &File, node: &Node) -> Result<PathBuf> {
    let variables = Variables::new();
    let reader = crate::read::Reader { file, variables: &variables, watch: None };
    let Value::Text(text) = &node.value else { return Err(file.error(node.at.clone(), "wants a path")) };
    reader.path(node, Expanded { value: text.into(), begins: None })
}

/// Each after those that it needs; of those that could come next the first in the file.
fn in_order(
    file: &File,
    mut waiting: Vec<Wanted>,
    places: &BTreeMap<String, Range<usize>>,
) -> Result<Vec<Wanted>> {
    for domain in &waiting {
        if let Some(need) = domain.needs.iter().find(|need| !places.contains_key(*need)) {
            let names: Vec<&str> = places.keys().map(String::as_str).collect();
            let near = nearest(need, &names);
            let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let words = format!("domain {:?} needs {need:?}, which is not there{near}", domain.name);
            return Err(file.error(places[&domain.name].clone(), words));
        }
    }
    let mut ordered: Vec<Wanted> = Vec::new();
    while !waiting.is_empty() {
        let is_there = |need: &String| ordered.iter().any(|other| other.name == *need);
        let Some(next) = waiting.iter().position(|domain| domain.needs.iter().all(is_there)) else {
            let circle = circle(&waiting);
            let words = format!("needs itself: {}", circle.join(" needs "));
            return Err(file.error(places[&circle[0]].clone(), words));
        };
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

/// Names that need each other in a circle, where none of those that wait can come next.
fn circle(waiting: &[Wanted]) -> Vec<String> {
    let mut chain = vec![waiting[0].name.clone()];
    loop {
        let last = waiting.iter().find(|domain| Some(&domain.name) == chain.last());
        let is_waiting = |need: &&String| waiting.iter().any(|other| other.name == **need);
        let Some(need) = last.and_then(|last| last.needs.iter().find(is_waiting)) else { return chain };
        let start = chain.iter().position(|name| name == need);
        chain.push(need.clone());
        if let Some(start) = start {
            return chain.split_off(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Manifest> {
        Manifest::of_file(File {
            name: "site".to_owned(),
            folder: Some("/srv".into()),
            text: text.to_owned(),
        })
    }

    fn wrong(text: &str) -> String {
        of(text).expect_err(text).to_string()
    }

    #[test]
    fn domains_come_after_what_they_need() {
        let text = "
            [profile.server]
            base = true
            [domain.web]
            extends = ['server']
            program = 'server'
            needs = ['db', 'log']
            restart = 'on-failure'
            backoff = '250ms'
            restarts = 3
            stdout = 'web.log'
            [domain.db]
            extends = ['server']
            program = '/bin/db'
            capability = { log = 'log:send' }
            [domain.log]
            program = '/bin/log'
            restart = 'always'
            spawner = true
        ";
        let manifest = of(text).unwrap();
        let names: Vec<&str> = manifest.domains.iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!(names, ["log", "db", "web"]);
        let web = &manifest.domains[2];
        // Each that extends a profile has all of it.
        assert!(manifest.domains[1..].iter().all(|domain| domain.spec.has(&beget::Grant::Base)));
        assert_eq!(
            (web.restart, web.backoff, web.restarts),
            (Restart::OnFailure, Duration::from_millis(250), Some(3))
        );
        assert_eq!(web.streams[1].as_deref(), Some(Path::new("/srv/web.log")));
        assert_eq!(manifest.domains[1].capabilities, [("log".to_owned(), "log:send".to_owned())]);
        assert!(manifest.domains[0].spawner && manifest.domains[0].restart == Restart::Always);
    }

    #[test]
    fn what_cannot_be_started_is_told_before_anything_is() {
        let cases = [
            ("", "site:1:1: a manifest has domains"),
            ("base = true\n[domain.a]\nprogram = 'a'", "unknown key \"base\""),
            (
                "[domain.a]\nprogram = 'a'\nneeds = ['wbe']\n[domain.web]\nprogram = 'b'",
                "needs \"wbe\", which is not there; did you mean",
            ),
            (
                "[domain.a]\nprogram = 'a'\nneeds = ['b']\n[domain.b]\nprogram = 'b'\nneeds = ['c']\n[domain.c]\nprogram = 'c'\nneeds = ['b']",
                "needs itself: b needs c needs b",
            ),
            ("[domain.a]\nprogram = 'a'\nneeds = ['a']", "needs itself: a needs a"),
            ("[domain.a]\nbase = true", "domain \"a\": has no program"),
            ("[domain.a]\nprogram = 'a'\npty = true", "stays beside it"),
            ("[domain.a]\nprogram = 'a'\nrestart = 'alway'", "did you mean \"always\"?"),
            ("[domain.a]\nprogram = 'a'\nrestarts = -1", "wants a number"),
            ("[domain.a]\nprogram = 'a'\nraed = ['/']", "unknown key \"raed\"; did you mean \"read\"?"),
            ("[domain.7]\nprogram = 'a'", "no name for a domain"),
            ("[domain.'a b']\nprogram = 'a'", "no name for a domain"),
            ("domain = 3", "wants a table of domains"),
            ("[domain]\na = 3", "domain \"a\" wants a table"),
        ];
        for (text, words) in cases {
            let said = wrong(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}

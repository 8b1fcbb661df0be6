//! From what a profile says to the fields of a [`Spec`], by the table of keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beget::Grant;

use crate::descriptor::{Descriptor, Source};
use crate::error::{Error, Result};
use crate::file::File;
use crate::keys::{KEYS, Key, Kind, Least, inside};
use crate::node::{Entry, Node, Value};
use crate::spec::Spec;
use crate::variables::{Expanded, Variables};
use crate::words;

/// Where a profile stands, and the variables it is read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a File,
    pub(crate) variables: &'a Variables,
    pub(crate) watch: Option<&'a Watch<'a>>,
}

/// What was said of a part of a spec when it was used, while the place of that part is looked for.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    /// The part, a colon, and what was wrong with it.
    pub(crate) message: &'a str,
    pub(crate) found: RefCell<Option<Error>>,
}

/// Says what is wrong with a key before anything of the profile takes effect: the first that is unknown, in the order of the file.
pub(crate) fn check_names(file: &File, keys: &[Key], entries: &[Entry]) -> Result<()> {
    for entry in entries {
        let Some(key) = keys.iter().find(|key| key.name == entry.name) else {
            return Err(file.error(entry.at.clone(), unknown(&entry.name, keys)));
        };
        if let (Kind::Table(keys) | Kind::Root(keys), Value::Table(entries)) = (&key.kind, &entry.node.value)
        {
            check_names(file, keys, entries)?;
        }
    }
    Ok(())
}

fn unknown(name: &str, keys: &[Key]) -> String {
    const FEW: usize = 12;
    let table = KEYS.iter().find(|key| {
        matches!(key.kind, Kind::Table(inner) | Kind::Root(inner) if !std::ptr::eq(inner, keys) && inner.iter().any(|key| key.name == name))
    });
    if let Some(table) = table {
        return format!("unknown key {name:?} here; it belongs under [{}]", table.name);
    }
    if !std::ptr::eq(keys, KEYS) && KEYS.iter().any(|key| key.name == name) {
        return format!("unknown key {name:?} here; it belongs to the profile itself, above its tables");
    }
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    match nearest(name, &names) {
        Some(right) => format!("unknown key {name:?}; did you mean {right:?}?"),
        None if names.len() <= FEW => format!("unknown key {name:?}; there are {}", names.join(", ")),
        None => format!("unknown key {name:?}"),
    }
}

/// The word that differs least, if it differs little.
pub(crate) fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    const MOST: usize = 64;
    if word.len() > MOST {
        return None;
    }
    let (distance, right) = words.iter().map(|right| (words::distance(word, right), *right)).min()?;
    (distance <= 2 && distance < right.chars().count()).then_some(right)
}

/// `; did you mean "X"?`, or all there are.
pub(crate) fn hint(word: &str, words: &[&str]) -> String {
    const MANY: usize = 30;
    match nearest(word, words) {
        Some(right) => format!("; did you mean {right:?}?"),
        None if words.is_empty() || words.len() > MANY => String::new(),
        None => format!("; there are {}", words.join(", ")),
    }
}

impl Reader<'_> {
    /// Remembers this place when the message is about this part.
    fn watch(&self, at: &Range<usize>, part: std::fmt::Arguments<'_>) {
        let Some(watch) = self.watch else { return };
        let rest = watch.message.strip_prefix(&part.to_string());
        if rest.is_some_and(|rest| rest.starts_with(": ")) {
            watch.found.replace(Some(self.error(at, watch.message)));
        }
    }

    pub(crate) fn error(&self, at: &Range<usize>, words: impl std::fmt::Display) -> Error {
        self.file.error(at.clone(), words)
    }

    /// Gives the spec what these entries say.
    pub(crate) fn apply(&self, spec: &mut Spec, keys: &[Key], entries: &[Entry]) -> Result<()> {
        let mut first: Option<(usize, Error)> = None;
        for key in keys {
            let Some(entry) = entries.iter().find(|entry| entry.name == key.name) else { continue };
            let start = entry.at.start;
            if let Err(error) = self.key(spec, key, &entry.node)
                && first.as_ref().is_none_or(|(at, _)| *at > start)
            {
                first = Some((start, error));
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    }

    fn key(&self, spec: &mut Spec, key: &Key, node: &Node) -> Result<()> {
        let limits = spec.limits.len();
        self.give(spec, key, node)?;
        // A table's own keys have been here already.
        if !matches!(key.kind, Kind::Table(_) | Kind::Root(_)) {
            for limit in &spec.limits[limits..] {
                self.watch(&node.at, format_args!("limit {limit}"));
            }
        }
        Ok(())
    }

    fn give(&self, spec: &mut Spec, key: &Key, node: &Node) -> Result<()> {
        let wrong = |node: &Node| self.wants(key, node);
        let list = || match &node.value {
            Value::List(list) => Ok(list.as_slice()),
            _ => Err(wrong(node)),
        };
        match &key.kind {
            // Both are followed before anything else is read.
            Kind::Extends | Kind::Profiles => {}
            Kind::Text(set) => set(spec, self.text(key, node)?.to_owned()),
            Kind::Program => {
                let program = self.expanded(key, node)?;
                spec.arguments.clear();
                let named = !program.value.as_bytes().contains(&b'/');
                let program = if named { program.value } else { self.path(node, program)?.into_os_string() };
                self.watch(&node.at, format_args!("program {}", program.display()));
                spec.program = Some(program);
            }
            Kind::Texts(set) => {
                for node in list()? {
                    set(spec, self.expanded(key, node)?.value);
                }
            }
            Kind::Path(set) => {
                let path = self.path(node, self.expanded(key, node)?)?;
                self.watch(&node.at, format_args!("working directory {}", path.display()));
                set(spec, path);
            }
            Kind::Grants(grant) => {
                for node in list()? {
                    let parts = self.parts(key, &node.at, node, &["path", "at"])?;
                    let mut grant = grant(self.path(parts["path"], self.expanded(key, parts["path"])?)?);
                    if let Some(at) = parts.get("at") {
                        grant = Grant::At(Box::new(grant), self.place(key, at)?);
                    }
                    self.watch(&node.at, format_args!("grant {grant}"));
                    self.watch(&node.at, format_args!("grant {}", grant.plain()));
                    spec.grants.push(grant);
                }
            }
            Kind::Grant(grant) => {
                let grant = grant();
                spec.grants.retain(|other| *other != grant);
                if self.truth(key, node)? {
                    spec.grants.push(grant);
                }
            }
            Kind::Ports(grant) => {
                for node in list()? {
                    let Value::Integer(port) = node.value else { return Err(wrong(node)) };
                    let port = u16::try_from(port);
                    spec.grants.push(grant(
                        port.map_err(|_| self.error(&node.at, "a port is a number from 0 to 65535"))?,
                    ));
                }
            }
            Kind::Bool(set) => set(spec, self.truth(key, node)?),
            Kind::Environment => {
                for entry in self.table(key, node)? {
                    let name = self.variable_name(&entry.name, &entry.at)?;
                    let value = match &entry.node.value {
                        Value::Text(_) => self.expanded(key, &entry.node)?.value,
                        other => {
                            let words = format!("the value of {name} wants text, not {}", other.kind());
                            return Err(self.error(&entry.node.at, words));
                        }
                    };
                    spec.environment.push((name.into(), Some(value)));
                }
            }
            Kind::Pass => {
                for node in list()? {
                    let name = self.variable_name(self.text(key, node)?, &node.at)?;
                    self.watch(&node.at, format_args!("flag --env {name}"));
                    spec.environment.push((name.into(), None));
                }
            }
            Kind::Descriptors => {
                for entry in self.table(key, node)? {
                    let descriptor = self.descriptor(key, entry)?;
                    self.watch(&entry.at, format_args!("grant --fd {descriptor}"));
                    spec.descriptors.push(descriptor);
                }
            }
            Kind::Size(set) => set(spec, self.size(key, node)?),
            Kind::Duration(least, set) => set(spec, self.duration(key, node, *least)?),
            Kind::Count(most, set) => {
                let Value::Integer(count) = node.value else { return Err(wrong(node)) };
                let count = u64::try_from(count).ok().filter(|count| count <= most);
                set(
                    spec,
                    count.ok_or_else(|| {
                        self.error(&node.at, format!("wants a whole number from 0 to {most}"))
                    })?,
                );
            }
            Kind::Word(words, set) => set(spec, self.word(key, node, &words())?),
            Kind::Words(words, set) => {
                for node in list()? {
                    set(spec, self.word(key, node, &words())?);
                }
            }
            Kind::Table(keys) => self.apply(spec, keys, self.table(key, node)?)?,
            Kind::Root(keys) => match &node.value {
                Value::Bool(root) => spec.root = *root,
                Value::Table(entries) => {
                    spec.root = true;
                    self.apply(spec, keys, entries)?;
                }
                _ => return Err(wrong(node)),
            },
            Kind::Scratch => {
                for node in list()? {
                    let parts = self.parts(key, &node.at, node, &["path", "at", "keep"])?;
                    let path = self.path(parts["path"], self.expanded(key, parts["path"])?)?;
                    let at = parts.get("at").map(|at| self.place(key, at)).transpose()?;
                    let keep = parts
                        .get("keep")
                        .map(|keep| self.path(keep, self.expanded(key, keep)?))
                        .transpose()?;
                    self.watch(&node.at, format_args!("root: --scratch {}", path.display()));
                    inside(spec, |root| {
                        let root = root.scratch(path);
                        let root = if let Some(at) = at { root.scratch_at(at) } else { root };
                        if let Some(keep) = keep { root.keep(keep) } else { root }
                    });
                }
            }
            Kind::Memory => {
                for node in list()? {
                    let parts = self.parts(key, &node.at, node, &["at", "size"])?;
                    let at = self.place(key, parts["at"])?;
                    let size = parts.get("size").map_or(Ok(beget::ROOM), |size| self.size(key, size))?;
                    inside(spec, |root| root.tmpfs(at, size));
                }
            }
            Kind::Places(put) => {
                for node in list()? {
                    let at = self.place(key, node)?;
                    inside(spec, |root| put(root, at));
                }
            }
            Kind::Placed(put) => {
                for entry in self.table(key, node)? {
                    if !entry.name.starts_with('/') {
                        return Err(self.error(&entry.at, "a place in a root is absolute"));
                    }
                    self.watch(&entry.at, format_args!("root: {}", entry.name));
                    let text = self.expanded(key, &entry.node)?.value;
                    inside(spec, |root| put(root, PathBuf::from(&entry.name), text));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn wants(&self, key: &Key, node: &Node) -> Error {
        self.error(&node.at, format!("{:?} wants {}, not {}", key.name, key.kind.wants(), node.value.kind()))
    }

    pub(crate) fn text<'n>(&self, key: &Key, node: &'n Node) -> Result<&'n str> {
        let Value::Text(text) = &node.value else {
            let inside = if matches!(key.kind, Kind::Text(_)) { "" } else { " as an entry" };
            return Err(match &key.kind {
                Kind::Text(_) | Kind::Program | Kind::Path(_) | Kind::Word(..) => self.wants(key, node),
                _ => self
                    .error(&node.at, format!("{:?} wants text{inside}, not {}", key.name, node.value.kind())),
            });
        };
        if text.contains('\0') {
            return Err(self.error(&node.at, "holds a zero byte, which nothing in Linux can take"));
        }
        Ok(text)
    }

    fn table<'n>(&self, key: &Key, node: &'n Node) -> Result<&'n [Entry]> {
        match &node.value {
            Value::Table(entries) => Ok(entries),
            _ => Err(self.wants(key, node)),
        }
    }

    fn truth(&self, key: &Key, node: &Node) -> Result<bool> {
        match node.value {
            Value::Bool(truth) => Ok(truth),
            _ => Err(self.wants(key, node)),
        }
    }

    pub(crate) fn expanded(&self, key: &Key, node: &Node) -> Result<Expanded> {
        let text = self.text(key, node)?;
        self.variables.expand(text).map_err(|wrong| {
            let what = &wrong.what;
            // Where it stands in the file, unless it is written there with escapes.
            let inside = self.file.text.get(node.at.clone()).and_then(|text| text.find(what.as_str()));
            let at = inside.map_or(node.at.clone(), |start| {
                let start = node.at.start + start;
                start..start + what.len()
            });
            match what.strip_prefix("${").and_then(|name| name.strip_suffix('}')) {
                Some(name) if wrong.unset => {
                    self.error(&at, format!("variable {name} is not set; give it with --set {name}=VALUE"))
                }
                _ => self.error(&at, format!("{what} is no variable; write ${{NAME}}, or $$ for a $")),
            }
        })
    }

    /// A path, from the file's folder. What begins with a variable is absolute: the file's folder is not where the person stands who
    /// gave that.
    pub(crate) fn path(&self, node: &Node, path: Expanded) -> Result<PathBuf> {
        let Expanded { value, begins } = path;
        match (&begins, &self.file.folder) {
            _ if value.is_empty() => Err(self.error(&node.at, "a path is not empty")),
            _ if Path::new(&value).is_absolute() => Ok(value.into()),
            (Some(name), _) => {
                let words =
                    format!("variable {name} begins a path and is relative; write --set {name}=./VALUE");
                Err(self.error(&node.at, words))
            }
            (None, Some(folder)) => Ok(folder.join(value)),
            (None, None) => Err(self.error(&node.at, "wants an absolute path, for it has no folder")),
        }
    }

    /// A place in a private root.
    fn place(&self, key: &Key, node: &Node) -> Result<PathBuf> {
        let place = PathBuf::from(self.expanded(key, node)?.value);
        self.watch(&node.at, format_args!("root: {}", place.display()));
        if place.is_absolute() {
            Ok(place)
        } else {
            Err(self.error(&node.at, "a place in a root is absolute"))
        }
    }

    fn variable_name<'n>(&self, name: &'n str, at: &Range<usize>) -> Result<&'n str> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(
                self.error(at, format!("{name:?} is no name for a variable; it is not empty and has no ="))
            );
        }
        Ok(name)
    }

    /// What an entry says that is text, or a table with these keys of which the first must be there.
    fn parts<'n>(
        &self,
        key: &Key,
        at: &Range<usize>,
        node: &'n Node,
        names: &[&str],
    ) -> Result<BTreeMap<String, &'n Node>> {
        let entries = match &node.value {
            Value::Text(_) => return Ok(BTreeMap::from([(names[0].to_owned(), node)])),
            Value::Table(entries) => entries,
            other => {
                let words = format!("an entry of {:?} wants text or a table, not {}", key.name, other.kind());
                return Err(self.error(&node.at, words));
            }
        };
        if let Some(other) = entries.iter().find(|entry| !names.contains(&entry.name.as_str())) {
            return Err(
                self.error(&other.at, format!("unknown key {:?}{}", other.name, hint(&other.name, names)))
            );
        }
        if !entries.iter().any(|entry| entry.name == names[0]) {
            return Err(self.error(at, format!("an entry of {:?} has no {}", key.name, names[0])));
        }
        Ok(entries.iter().map(|entry| (entry.name.clone(), &entry.node)).collect())
    }

    fn descriptor(&self, key: &Key, entry: &Entry) -> Result<Descriptor> {
        let parts = self.parts(key, &entry.at, &entry.node, &["path", "write"])?;
        let writing = match parts.get("write").map(|node| (node, &node.value)) {
            None => false,
            Some((_, Value::Bool(truth))) => *truth,
            Some((node, other)) => {
                return Err(
                    self.error(&node.at, format!("\"write\" wants true or false, not {}", other.kind()))
                );
            }
        };
        let path = self.path(parts["path"], self.expanded(key, parts["path"])?)?;
        Ok(Descriptor { name: entry.name.clone(), source: Source::Path { path, writing } })
    }

    fn size(&self, key: &Key, node: &Node) -> Result<u64> {
        match &node.value {
            Value::Integer(bytes) => u64::try_from(*bytes).map_err(|_| {
                self.error(&node.at, format!("{:?} wants a number of bytes from 0 to {}", key.name, u64::MAX))
            }),
            Value::Text(text) => words::size(text).map_err(|words| self.error(&node.at, words)),
            _ => Err(self.wants(key, node)),
        }
    }

    fn duration(&self, key: &Key, node: &Node, least: Least) -> Result<Duration> {
        let time = match &node.value {
            Value::Integer(seconds) => u64::try_from(*seconds).map(Duration::from_secs).map_err(|_| {
                self.error(
                    &node.at,
                    format!("{:?} wants a number of seconds from 0 to {}", key.name, u64::MAX),
                )
            })?,
            Value::Text(text) => words::duration(text).map_err(|words| self.error(&node.at, words))?,
            _ => return Err(self.wants(key, node)),
        };
        if time.is_zero() && least == Least::Some {
            return Err(self.error(&node.at, format!("{:?} wants more than no time", key.name)));
        }
        Ok(time)
    }

    fn word<'n>(&self, key: &Key, node: &'n Node, words: &[&str]) -> Result<&'n str> {
        let text = self.text(key, node)?;
        if words.contains(&text) {
            return Ok(text);
        }
        Err(self.error(&node.at, format!("no {} {text:?}{}", of(key.name), hint(text, words))))
    }
}

/// What a word of this key is called.
fn of(key: &str) -> &str {
    match key {
        "degrade" => "promise",
        other => other,
    }
}

//! Profiles: found by name, in a file or among those that are shipped, with what they extend.
//!
//! Safety idea: every profile is read once, in an order that the files alone decide, and a chain that comes back to itself, or gets
//! too long, is an error that shows it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::{File, LARGEST};
use crate::keys::{KEYS, Key, Kind};
use crate::node::{self, Entry, Node, Value};
use crate::read::{Reader, Watch, check_names, hint, nearest};
use crate::shipped;
use crate::spec::Spec;
use crate::variables::Variables;

/// How long a chain of profiles that extend each other may be.
const DEEPEST: usize = 16;
/// How many files one spec may consist of.
const MOST_FILES: usize = 64;

impl Spec {
    /// Reads the spec in a file: its top-level keys, or the profile of that name in it.
    ///
    /// # Errors
    /// One sentence, with file, line and column: it cannot be read, is larger than 4 MiB or no TOML; a key, a word or a profile that
    /// is not known; a value of another type; a variable that is not set; `extends` that goes in a circle or deeper than 16.
    pub fn read(path: &Path, profile: Option<&str>, variables: &Variables) -> Result<Spec> {
        let mut loader = Loader::new(variables);
        let file = loader.file(path)?;
        let name = loader.documents[file].file.name.clone();
        if let Some(profile) = profile {
            if let Some(words) = loader.documents[file].missing(profile) {
                return Err(Error::new(format!("spec {name}"), format!("no profile {profile:?}{words}")));
            }
        } else if let Some(names) = loader.documents[file].only_names() {
            let words = format!("has only named profiles; choose one with --profile: {names}");
            return Err(Error::new(format!("spec {name}"), words));
        }
        loader.spec(file, profile)
    }

    /// Where in a spec a part of it stands: what was told of its command, told of its place instead. The arguments are those of
    /// [`Spec::read`], or of [`Spec::shipped`] without a path, and the message an error's whole text, such as `grant --read /srv/x: no such
    /// file or directory`. None when the spec has no such part; the file is read again.
    #[must_use]
    pub fn locate(
        path: Option<&Path>,
        profile: Option<&str>,
        variables: &Variables,
        message: &str,
    ) -> Option<Error> {
        let watch = Watch { message, found: RefCell::new(None) };
        let mut loader = Loader::new(variables);
        loader.watch = Some(&watch);
        let (file, profile) = match path {
            Some(path) => (loader.file(path).ok()?, profile),
            None => (loader.shipped(profile?).ok()??, None),
        };
        loader.spec(file, profile).ok()?;
        watch.found.into_inner()
    }

    /// Reads the spec in this text, which messages call `name`: its top-level keys. It has no folder, so its paths are absolute or
    /// begin with a variable.
    ///
    /// ```
    /// use beget_spec::{Spec, Variables};
    ///
    /// let mut variables = Variables::new();
    /// variables.set("GREETING", "hello")?;
    /// let text = "base = true\nprogram = 'echo'\narguments = ['${GREETING}']";
    /// let spec = Spec::parse("greeter", text, &variables).map_err(|error| error.to_string())?;
    /// let mut command = spec.command().map_err(|error| error.to_string())?;
    /// assert_eq!(command.output().map_err(|error| error.to_string())?.stdout, b"hello\n");
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Spec::read`].
    pub fn parse(name: &str, text: &str, variables: &Variables) -> Result<Spec> {
        if text.len() > LARGEST {
            return Err(File::too_large(name));
        }
        let file = File { name: name.to_owned(), folder: None, text: text.to_owned() };
        let mut loader = Loader::new(variables);
        let file = loader.add(PathBuf::from("\0"), file)?;
        loader.spec(file, None)
    }

    /// The spec that these entries of another file say.
    #[cfg(feature = "serde")]
    pub(crate) fn of_entries(entries: Vec<Entry>, variables: &Variables) -> Result<Spec> {
        let file = File { name: String::new(), folder: None, text: String::new() };
        let document = Document::new(file, entries);
        document.check()?;
        let mut loader = Loader::new(variables);
        loader.documents.push(document);
        loader.spec(0, None)
    }

    /// The profile of this name that is shipped.
    ///
    /// # Errors
    /// There is none, or it wants a variable that is not set.
    pub fn shipped(name: &str, variables: &Variables) -> Result<Spec> {
        let mut loader = Loader::new(variables);
        match loader.shipped(name)? {
            Some(file) => loader.spec(file, None),
            None => {
                let hint = hint(name, shipped::NAMES);
                Err(Error::new(format!("profile {name}"), format!("no such profile is shipped{hint}")))
            }
        }
    }
}

/// Reads the domains of a manifest: each is a profile beside those that the file has, and is given to `take` with its name.
pub(crate) fn domains(
    file: File,
    entries: Vec<Entry>,
    domains: Vec<Entry>,
    mut take: impl FnMut(&str, &Spec),
) -> Result<File> {
    let variables = Variables::new();
    let count = domains.len();
    let mut document = Document::new(file, entries);
    document.check()?;
    for domain in &domains {
        if let Value::Table(entries) = &domain.node.value {
            if let Some(inner) = entries.iter().find(|entry| entry.name == "profile") {
                return Err(document.file.error(inner.at.clone(), "a domain holds no profiles"));
            }
            check_names(&document.file, KEYS, entries)?;
        }
    }
    document.domains = domains;
    let mut loader = Loader::new(&variables);
    loader.documents.push(document);
    for at in 0..count {
        let name = loader.documents[0].domains[at].name.clone();
        let mut spec = loader.spec(0, Some(&format!("{DOMAIN}{name}")))?;
        spec.description = None;
        take(&name, &spec);
    }
    Ok(loader.documents.swap_remove(0).file)
}

/// What the name of a domain has before it where the names of profiles are looked up. A name in a file that begins so means the same.
const DOMAIN: &str = "\0domain ";

/// A file and what it says.
struct Document {
    file: File,
    entries: Vec<Entry>,
    /// Those of a manifest.
    domains: Vec<Entry>,
    /// Where among the profiles one of a name stands.
    by_name: BTreeMap<String, usize>,
}

impl Document {
    fn new(file: File, entries: Vec<Entry>) -> Document {
        let mut document = Document { file, entries, domains: Vec::new(), by_name: BTreeMap::new() };
        let names = document.profiles().iter().enumerate();
        document.by_name = names.map(|(at, profile)| (profile.name.clone(), at)).collect();
        document
    }

    fn profiles(&self) -> &[Entry] {
        match self.entries.iter().find(|entry| entry.name == "profile").map(|entry| &entry.node.value) {
            Some(Value::Table(profiles)) => profiles,
            _ => &[],
        }
    }

    fn profile(&self, name: &str) -> Option<&[Entry]> {
        if let Some(domain) = name.strip_prefix(DOMAIN) {
            let entry = self.domains.iter().find(|entry| entry.name == domain)?;
            let Value::Table(entries) = &entry.node.value else { return None };
            return Some(entries);
        }
        match &self.profiles()[*self.by_name.get(name)?].node.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        self.profiles().iter().map(|profile| profile.name.as_str()).collect()
    }

    /// What to add to the words that it has no such profile, if it has none.
    fn missing(&self, name: &str) -> Option<String> {
        let names = self.names();
        let words = || if names.is_empty() { "; it has none".to_owned() } else { hint(name, &names) };
        self.profile(name).is_none().then(words)
    }

    /// The names of its profiles, where it says nothing else.
    fn only_names(&self) -> Option<String> {
        let nothing_else = self.entries.iter().all(|entry| entry.name == "profile");
        (nothing_else && !self.profiles().is_empty()).then(|| self.names().join(", "))
    }

    /// Names are known at every level, also in the profiles that are not used: a mistyped key is found before the day it matters.
    fn check(&self) -> Result<()> {
        check_names(&self.file, KEYS, &self.entries)?;
        let Some(key) = self.entries.iter().find(|entry| entry.name == "profile") else { return Ok(()) };
        if !matches!(key.node.value, Value::Table(_)) {
            let words =
                format!("\"profile\" wants {}, not {}", Kind::Profiles.wants(), key.node.value.kind());
            return Err(self.file.error(key.node.at.clone(), words));
        }
        for profile in self.profiles() {
            let Value::Table(entries) = &profile.node.value else {
                let words =
                    format!("profile {:?} wants a table, not {}", profile.name, profile.node.value.kind());
                let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                let words = match nearest(&profile.name, &names) {
                    Some(key) => format!("{words}; is a name missing, as in [profile.NAME], above {key:?}?"),
                    None => words,
                };
                return Err(self.file.error(profile.at.clone(), words));
            };
            if let Some(inner) = entries.iter().find(|entry| entry.name == "profile") {
                return Err(self.file.error(inner.at.clone(), "a profile holds no profiles"));
            }
            check_names(&self.file, KEYS, entries)?;
        }
        Ok(())
    }
}

/// A profile: the number of its document, and its name there.
type Place = (usize, Option<String>);

struct Loader<'a> {
    variables: &'a Variables,
    watch: Option<&'a Watch<'a>>,
    documents: Vec<Document>,
    /// By where they really are; shipped ones by name.
    known: BTreeMap<PathBuf, usize>,
    done: BTreeSet<Place>,
    /// From the one asked for to the one that is read.
    chain: Vec<Place>,
}

impl<'a> Loader<'a> {
    fn new(variables: &'a Variables) -> Loader<'a> {
        Loader {
            variables,
            watch: None,
            documents: Vec::new(),
            known: BTreeMap::new(),
            done: BTreeSet::new(),
            chain: Vec::new(),
        }
    }

    fn spec(&mut self, file: usize, profile: Option<&str>) -> Result<Spec> {
        let mut spec = Spec::default();
        // What one spec has taken from a profile, the next of the same file takes too.
        (self.done, self.chain) = (BTreeSet::new(), Vec::new());
        self.apply(&mut spec, (file, profile.map(str::to_owned)))?;
        // Of descriptors of one name the last is meant; the command would refuse two.
        let mut names = BTreeSet::new();
        let mut last: Vec<_> =
            spec.descriptors.into_iter().rev().filter(|one| names.insert(one.name.clone())).collect();
        last.reverse();
        spec.descriptors = last;
        Ok(spec)
    }

    fn file(&mut self, path: &Path) -> Result<usize> {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Some(number) = self.known.get(&real) {
            return Ok(*number);
        }
        if self.documents.len() >= MOST_FILES {
            return Err(Error::new(
                format!("spec {}", path.display()),
                format!("is one of more than {MOST_FILES} files"),
            ));
        }
        self.add(real, File::read(path)?)
    }

    fn shipped(&mut self, name: &str) -> Result<Option<usize>> {
        let key = PathBuf::from(format!("\0{name}"));
        if let Some(number) = self.known.get(&key) {
            return Ok(Some(*number));
        }
        let Some(text) = shipped::text(name) else { return Ok(None) };
        let file = File { name: format!("profile {name}"), folder: None, text: text.to_owned() };
        self.add(key, file).map(Some)
    }

    fn add(&mut self, key: PathBuf, file: File) -> Result<usize> {
        let entries = node::parse(&file)?;
        let document = Document::new(file, entries);
        document.check()?;
        self.documents.push(document);
        self.known.insert(key, self.documents.len() - 1);
        Ok(self.documents.len() - 1)
    }

    /// First what it extends, then what it says itself.
    fn apply(&mut self, spec: &mut Spec, place: Place) -> Result<()> {
        if self.done.contains(&place) {
            return Ok(());
        }
        self.chain.push(place.clone());
        for (at, extended) in self.extended(&place)? {
            if let Some(start) = self.chain.iter().position(|other| *other == extended) {
                let words = format!("extends itself: {}", self.shown(&self.chain[start..], &extended));
                return Err(self.documents[place.0].file.error(at, words));
            }
            if self.chain.len() >= DEEPEST {
                let words = format!("extends deeper than {DEEPEST}: {}", self.shown(&self.chain, &extended));
                return Err(self.documents[place.0].file.error(at, words));
            }
            self.apply(spec, extended)?;
        }
        let document = &self.documents[place.0];
        let reader = Reader { file: &document.file, variables: self.variables, watch: self.watch };
        let entries = match &place.1 {
            Some(name) => document.profile(name).unwrap_or(&[]),
            None => &document.entries,
        };
        // It says what a profile is for, not what those are for that are made from it.
        spec.description = None;
        reader.apply(spec, KEYS, entries)?;
        self.chain.pop();
        self.done.insert(place);
        Ok(())
    }

    /// What a profile extends, and where it says so.
    fn extended(&mut self, place: &Place) -> Result<Vec<(std::ops::Range<usize>, Place)>> {
        let names = {
            let document = &self.documents[place.0];
            let entries = match &place.1 {
                Some(name) => document.profile(name).unwrap_or(&[]),
                None => &document.entries,
            };
            let Some(entry) = entries.iter().find(|entry| entry.name == "extends") else {
                return Ok(Vec::new());
            };
            let reader = Reader { file: &document.file, variables: self.variables, watch: self.watch };
            let key = KEYS.iter().find(|key| matches!(key.kind, Kind::Extends));
            let key: &Key = key.unwrap_or(&KEYS[0]);
            let Value::List(list) = &entry.node.value else { return Err(reader.wants(key, &entry.node)) };
            let named = |node: &Node| Ok((node.at.clone(), wanted(&reader, key, node)?));
            list.iter().map(named).collect::<Result<Vec<_>>>()?
        };
        let mut places = Vec::with_capacity(names.len());
        for (at, (path, profile)) in names {
            let extended = self.find(place, path, profile).map_err(|missing| match missing {
                Missing::Words(words) => {
                    let chain = self.chain_shown();
                    self.documents[place.0].file.error(at.clone(), format!("{words}{chain}"))
                }
                Missing::Error(error) => error,
            })?;
            places.push((at, extended));
        }
        Ok(places)
    }

    fn find(
        &mut self,
        place: &Place,
        path: Option<PathBuf>,
        profile: Option<String>,
    ) -> std::result::Result<Place, Missing> {
        let Some(path) = path else {
            let name = profile.unwrap_or_default();
            if self.documents[place.0].profile(&name).is_some() {
                return Ok((place.0, Some(name)));
            }
            if let Some(number) = self.shipped(&name).map_err(Missing::Error)? {
                return Ok((number, None));
            }
            let mut names = self.documents[place.0].names();
            names.extend(shipped::NAMES);
            return Err(Missing::Words(format!("no profile {name:?}{}", hint(&name, &names))));
        };
        let number = match std::fs::symlink_metadata(&path) {
            Err(error) => {
                let words = error.raw_os_error().map(|number| beget_sys::Errno(number).to_string());
                return Err(Missing::Words(format!("{}: {}", path.display(), words.unwrap_or_default())));
            }
            Ok(_) => self.file(&path).map_err(Missing::Error)?,
        };
        if let Some(name) = &profile
            && let Some(words) = self.documents[number].missing(name)
        {
            return Err(Missing::Words(format!("no profile {name:?} in {}{words}", path.display())));
        }
        Ok((number, profile))
    }

    /// The way to what is missing, where it is longer than one step.
    fn chain_shown(&self) -> String {
        match self.chain.split_last() {
            Some((last, before)) if !before.is_empty() => {
                format!("; asked for by {}", self.shown(before, last))
            }
            _ => String::new(),
        }
    }

    fn shown(&self, chain: &[Place], last: &Place) -> String {
        let name = |(file, profile): &Place| {
            let file = &self.documents[*file].file.name;
            profile.as_ref().map_or(file.clone(), |profile| format!("{file}#{profile}"))
        };
        let names: Vec<String> = chain.iter().chain([last]).map(name).collect();
        names.join(", which extends ")
    }
}

/// Why something extended was not found.
enum Missing {
    /// To be told where it is asked for.
    Words(String),
    /// The file is there, and wrong.
    Error(Error),
}

/// What an entry of `extends` means: a file, a profile, or a profile in a file.
fn wanted(reader: &Reader<'_>, key: &Key, node: &Node) -> Result<(Option<PathBuf>, Option<String>)> {
    let expanded = reader.expanded(key, node)?;
    let Some(text) = expanded.value.to_str().map(str::to_owned) else {
        return Err(reader.error(&node.at, "is not UTF-8"));
    };
    let (file, profile) = match text.split_once('#') {
        Some((file, profile)) => (file, Some(profile.to_owned())),
        None => (text.as_str(), None),
    };
    if profile.is_none() && !file.contains('/') && !file.ends_with(".toml") {
        return Ok((None, Some(text)));
    }
    let path = crate::variables::Expanded { value: file.into(), begins: expanded.begins };
    Ok((Some(reader.path(node, path)?), profile))
}

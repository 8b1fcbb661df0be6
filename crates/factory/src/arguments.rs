//! Arguments and environment of a product, where its program has not used the template's yet: at its entry and at its `main`.
//!
//! At the entry a new first stack is written below the old one, as the kernel would have built it. What the loader and the C library have
//! kept of the old one by then (`environ`, the program's name) is found by value in their memory, and pointed to the new. At `main` the three
//! arguments of that function are new, in memory of their own, for the old frame is in use.
//!
//! Safety idea: a word is changed only if it holds exactly what it must, and all that hold it are; where somebody else may have kept what
//! cannot be found, the request is refused rather than half done.

use std::ffi::{CStr, CString, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use beget::{Part, Protection, Register};
use beget_image::{Built, FirstStack};

use crate::ready::Ready;
use crate::tracee::{Mapping, Object, Objects, Tracee, key};
use crate::{Error, Fault, Result};

const PAGE: u64 = 4096;
const WORD: u64 = 8;
/// More strings than the kernel lets a program have, and the longest of them.
const MOST_STRINGS: usize = 1 << 20;
const LONGEST: usize = 128 << 10;
/// What may be looked at of one mapping: more data than any image has, but for what it only reserves.
const MOST_DATA: u64 = 256 << 20;

/// What a C library starts a program with.
const LIBRARY_START: &str = "__libc_start_main";

/// What it keeps of a program's arguments for its messages, in the program where it is linked into that.
const LIBRARY_OWN: [&str; 2] = ["_dl_argv", "__libc_argv"];

/// Where the new ones go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Below this stack pointer, which becomes another.
    Stack(u64),
    /// Around this address, where nothing is for a long way.
    Free(u64),
}

/// What a word of a program's memory points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The pointers to its environment.
    Environment,
    /// The pointers to its arguments.
    Arguments,
    /// This many bytes into its name.
    Name(usize),
}

/// A word in which something was kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: u64,
    meaning: Meaning,
    writable: bool,
    /// By the loader or the C library, which keeps the count of arguments for messages only.
    by_library: bool,
}

/// What a program was started with, and where that is kept.
#[derive(Clone, Debug)]
pub struct Arguments {
    place: Place,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    auxiliary: Vec<(u64, u64)>,
    executable_name: CString,
    platform: CString,
    /// Where `AT_RANDOM` points.
    random: u64,
    /// Bytes that both may take.
    limit: u64,
    kept: Vec<Kept>,
    /// The environment is another by now than it was started with, or is kept where it was not found.
    own_environment: bool,
}

fn impossible(what: &str, ready: &Ready, why: &str) -> Error {
    Error::new(
        format!("factory: {what}"),
        format!("not possible at this ready point ({ready}): {why}"),
        Fault::Caller,
    )
}

/// As [`Point::rewrite`](crate::Point::rewrite) says.
pub(crate) fn rewrite(
    ready: &Ready,
    started: Option<&Arguments>,
    part: &mut Part<'_>,
    arguments: Option<&[OsString]>,
    environment: Option<&[(OsString, OsString)]>,
) -> Result<Vec<(Register, u64)>> {
    let Some(started) = started else {
        let given = arguments.map(|_| "arguments").or(environment.map(|_| "environment"));
        return match given {
            Some(what) => Err(impossible(what, ready, "the program has used its own by then")),
            None => Ok(Vec::new()),
        };
    };
    let arguments = arguments.map(strings).transpose()?;
    let environment = environment.map(variables).transpose()?;
    started.write(ready, part, arguments, environment)
}

fn string(what: &str, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| Error::new(format!("factory: {what}"), "it has a NUL byte", Fault::Caller))
}

fn strings(given: &[OsString]) -> Result<Vec<CString>> {
    let number = |index: usize| format!("argument {index}");
    given.iter().enumerate().map(|(index, text)| string(&number(index), text.as_bytes())).collect()
}

fn variables(given: &[(OsString, OsString)]) -> Result<Vec<CString>> {
    let one = |(name, value): &(OsString, OsString)| {
        let what = format!("environment {}", name.display());
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(Error::new(format!("factory: {what}"), "a variable has no such name", Fault::Caller));
        }
        string(&what, &[name.as_bytes(), value.as_bytes()].join(&b'='))
    };
    given.iter().map(one).collect()
}

impl Arguments {
    /// Those of a program that is stopped at its entry or at `main`.
    pub(crate) fn of(tracee: &Tracee, ready: &Ready) -> Result<Option<Arguments>> {
        let registers = &tracee.registers;
        let objects = tracee.objects()?;
        let (place, count, lists) = match ready {
            Ready::Entry => {
                let at = registers.rsp;
                let count = tracee.word(at)?;
                let arguments = at + WORD;
                let environment = count.saturating_add(1).saturating_mul(WORD).saturating_add(arguments);
                (Place::Stack(at), count, [arguments, environment])
            }
            Ready::Main => {
                let count = u64::from(registers.rdi as u32);
                (Place::Free(objects.far_from_all()?), count, [registers.rsi, registers.rdx])
            }
            _ => return Ok(None),
        };
        let arguments = list(tracee, lists[0])?;
        if arguments.len() as u64 != count {
            let words =
                format!("the program was started with {count} arguments, and there are {}", arguments.len());
            return Err(Error::new("template: arguments", words, Fault::NotRunnable));
        }
        let environment = list(tracee, lists[1])?;
        let name_at = tracee.word(lists[0])?;
        let name_bytes = arguments.first().map_or(0, |name| name.as_bytes().len());
        let kept = kept(tracee, &objects, lists, name_at..name_at + name_bytes as u64 + 1)?;
        let none = !kept.iter().any(|kept| kept.meaning == Meaning::Environment);
        let lost = none
            && (*ready == Ready::Main
                || (objects.has_loader() && objects.function(LIBRARY_START)?.is_some()));
        let own_environment = lost || is_elsewhere(tracee, &objects, lists[1])?;
        let text = |key| objects.value(key).map_or(Ok(CString::default()), |at| one(tracee, at));
        Ok(Some(Arguments {
            place,
            executable_name: text(key::EXECUTABLE_NAME)?,
            platform: text(key::PLATFORM)?,
            random: objects.value(key::RANDOM).unwrap_or(0),
            auxiliary: objects.auxiliary.clone(),
            limit: limit(tracee)?,
            own_environment,
            arguments,
            environment,
            kept,
        }))
    }

    /// What the program was started with.
    #[must_use]
    pub fn arguments(&self) -> &[CString] {
        &self.arguments
    }

    /// The variables that it was started with, `NAME=VALUE`.
    #[must_use]
    pub fn environment(&self) -> &[CString] {
        &self.environment
    }

    /// Whether a copy's variables can be others than these.
    pub(crate) fn takes_environment(&self) -> bool {
        !self.own_environment
    }

    /// Other random bytes for a copy, where nobody has used the template's yet.
    pub(crate) fn refresh(&self, part: &mut Part<'_>) -> Result<()> {
        if self.random != 0 && matches!(self.place, Place::Stack(_)) {
            part.write(self.random, &random()?);
        }
        Ok(())
    }

    fn write(
        &self,
        ready: &Ready,
        part: &mut Part<'_>,
        arguments: Option<Vec<CString>>,
        environment: Option<Vec<CString>>,
    ) -> Result<Vec<(Register, u64)>> {
        if arguments.is_none() && environment.is_none() {
            self.refresh(part)?;
            return Ok(Vec::new());
        }
        let random = random()?;
        if environment.is_some() && self.own_environment {
            return Err(impossible(
                "environment",
                ready,
                "the program has made it its own, or keeps it where it is not found",
            ));
        }
        if let Some(new) = &arguments {
            // The count is kept beside it, where it cannot be told from any other number.
            let foreign = |kept: &Kept| kept.meaning == Meaning::Arguments && !kept.by_library;
            if new.len().max(1) != self.arguments.len() && self.kept.iter().any(foreign) {
                return Err(impossible("arguments", ready, "the program has kept how many it has"));
            }
        }
        let (named, varied) = (arguments.is_some(), environment.is_some());
        let arguments = arguments.unwrap_or_else(|| self.arguments.clone());
        let environment = environment.unwrap_or_else(|| self.environment.clone());
        let count = arguments.len().max(1) as u64;
        let built = self.build(part, &arguments, &environment, random)?;
        part.write(built.at, &built.bytes);
        let new_arguments = built.at + WORD;
        let new_environment = new_arguments + (count + 1) * WORD;
        let name = arguments.first().map_or(c"", |name| name.as_c_str());
        for kept in &self.kept {
            let value = match kept.meaning {
                Meaning::Environment if varied => new_environment,
                Meaning::Arguments if named => new_arguments,
                Meaning::Name(0) if named => built.arguments.start,
                Meaning::Name(offset) if named && offset == base(&self.arguments) => {
                    built.arguments.start + base(&arguments) as u64
                }
                _ => continue,
            };
            kept.write(part, value);
        }
        if named && self.arguments.first().map(CString::as_c_str) != Some(name) {
            let shown = name.to_bytes_with_nul().get(base(&arguments)..).map(CStr::from_bytes_with_nul);
            if let Some(Ok(shown)) = shown {
                part.set_name(shown);
            }
        }
        Ok(match self.place {
            Place::Stack(_) => vec![(Register::Rsp, built.at)],
            Place::Free(_) => {
                let mut registers = vec![];
                if named {
                    registers.extend([(Register::Rdi, count), (Register::Rsi, new_arguments)]);
                }
                if varied {
                    registers.push((Register::Rdx, new_environment));
                }
                registers
            }
        })
    }

    /// Builds what is to be written, and has memory mapped for it where there is none.
    fn build(
        &self,
        part: &mut Part<'_>,
        arguments: &[CString],
        environment: &[CString],
        random: [u8; 16],
    ) -> Result<Built> {
        let mut stack = FirstStack {
            arguments,
            environment,
            name: &self.executable_name,
            platform: &self.platform,
            random,
            auxiliary: &self.auxiliary,
            top: 0,
            shift: 0,
            limit: self.limit,
        };
        let build = |stack: &FirstStack<'_>| {
            stack
                .build()
                .map_err(|excess| Error::new("factory: arguments", excess.to_string(), Fault::Caller))
        };
        match self.place {
            Place::Stack(at) => {
                stack.top = at & !(PAGE - 1);
                build(&stack)
            }
            Place::Free(at) => {
                stack.top = at;
                let built = build(&stack)?;
                let first = built.at & !(PAGE - 1);
                part.map(first, at - first, Protection::WRITE);
                Ok(built)
            }
        }
    }
}

impl Kept {
    /// Changes it in a product. What was protected after it was set is so again.
    fn write(&self, part: &mut Part<'_>, value: u64) {
        let page = self.at & !(PAGE - 1);
        if !self.writable {
            part.protect(page, PAGE, Protection::WRITE);
        }
        part.write(self.at, &value.to_ne_bytes());
        if !self.writable {
            part.protect(page, PAGE, Protection::READ);
        }
    }
}

/// Where the last component of the first argument begins.
fn base(arguments: &[CString]) -> usize {
    let name = arguments.first().map_or(&b""[..], |name| name.as_bytes());
    name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("factory: random numbers", errno))?;
    Ok(bytes)
}

/// As the kernel: a quarter of the stack, and never more than three quarters of 8 MiB.
fn limit(tracee: &Tracee) -> Result<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", tracee.number()));
    let limits = limits.map_err(|error| Error::io("template: its limits", error))?;
    let stack = limits.lines().find_map(|line| line.strip_prefix("Max stack size"));
    let soft = stack.and_then(|rest| rest.split_ascii_whitespace().next()).and_then(|word| word.parse().ok());
    Ok(soft.unwrap_or(u64::MAX).clamp(512 << 10, 24 << 20) / 4)
}

/// The string at an address.
fn one(tracee: &Tracee, at: u64) -> Result<CString> {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST {
        let next = at + bytes.len() as u64;
        // To the end of its page, behind which there may be nothing.
        let mut piece = vec![0; (PAGE - next % PAGE).min(256) as usize];
        tracee.read(next, &mut piece)?;
        let end = piece.iter().position(|byte| *byte == 0);
        bytes.extend(piece.get(..end.unwrap_or(piece.len())).unwrap_or_default());
        if end.is_some() {
            break;
        }
    }
    string("template: arguments", &bytes)
}

/// The strings of a list that ends in a null pointer.
fn list(tracee: &Tracee, at: u64) -> Result<Vec<CString>> {
    let mut all = Vec::new();
    while all.len() < MOST_STRINGS {
        match tracee.word(at + all.len() as u64 * WORD)? {
            0 => return Ok(all),
            string => all.push(one(tracee, string)?),
        }
    }
    Err(Error::new("template: arguments", "there is no end of them", Fault::NotRunnable))
}

/// All words of the program's and its libraries' data that point to what it was started with.
fn kept(tracee: &Tracee, objects: &Objects, lists: [u64; 2], name: Range<u64>) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    let [arguments, environment] = lists;
    for object in objects.all()? {
        let first = kept.len();
        for mapping in data(objects, &object.mappings) {
            let Range { start, end } = mapping.range;
            let mut bytes = vec![0; (end - start).min(MOST_DATA) as usize];
            tracee.read(start, &mut bytes)?;
            for (index, word) in bytes.as_chunks().0.iter().enumerate() {
                let word = u64::from_ne_bytes(*word);
                let meaning = match word {
                    // Most words, and no address of these.
                    0 => continue,
                    _ if word == environment => Meaning::Environment,
                    _ if word == arguments => Meaning::Arguments,
                    _ if name.contains(&word) => Meaning::Name((word - name.start) as usize),
                    _ => continue,
                };
                let at = start + index as u64 * WORD;
                kept.push(Kept { at, meaning, writable: mapping.writable, by_library: false });
            }
        }
        let found = kept.get_mut(first..).unwrap_or_default();
        // To read an object's symbols takes as long as all else here.
        if found.iter().any(|kept| kept.meaning == Meaning::Arguments) {
            let library = is_library(objects, &object)?;
            let known = LIBRARY_OWN.map(|name| objects.variable_of(&object, name));
            for kept in found {
                kept.by_library = library || known.contains(&Some(kept.at));
            }
        }
    }
    Ok(kept)
}

/// Whether what the C library takes for the environment is another than this: a constructor has changed it.
fn is_elsewhere(tracee: &Tracee, objects: &Objects, environment: u64) -> Result<bool> {
    for object in objects.all()? {
        // 0 where it is not set yet, and where another object has taken its place.
        if let Some(at) = objects.variable_of(&object, "environ")
            && tracee.word(at).is_ok_and(|word| ![0, environment].contains(&word))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is the loader, or the C library apart from the program.
fn is_library(objects: &Objects, object: &Object) -> Result<bool> {
    let own = object.mappings == objects.program()?.mappings;
    let loader = objects.value(key::BASE).filter(|base| *base != 0);
    let loads = object.mappings.first().is_some_and(|first| Some(first.range.start) == loader);
    Ok(!own && (loads || objects.function_of(object, LIBRARY_START).is_some()))
}

/// The mappings of an object's variables: those that can be written, the zeroed memory after them, and before them what was protected
/// when it was set.
fn data<'a>(objects: &'a Objects, of: &'a [Mapping]) -> Vec<&'a Mapping> {
    let mut all: Vec<&Mapping> = Vec::new();
    for (index, mapping) in of.iter().enumerate().filter(|(_, mapping)| mapping.writable) {
        let before = index.checked_sub(1).and_then(|index| of.get(index));
        all.extend(before.filter(|before| {
            !before.executable && !before.writable && before.range.end == mapping.range.start
        }));
        all.push(mapping);
        let follows = |after: &&Mapping| {
            after.range.start == mapping.range.end
                && after.file.0 == 0
                && after.path.is_empty()
                && after.writable
        };
        all.extend(objects.mappings.iter().find(follows));
    }
    all
}

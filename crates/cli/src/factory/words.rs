//! What a keeper is told to build: the words of a command line, with what they name.
//!
//! Safety idea: words give nothing. Paths in them are opened by the keeper, with the builder's own rights; numbers of descriptors are replaced by
//! the descriptors that came, in their order; a variable that was to be passed has its value in the words.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use beget_monitor::fields::{Reader, Writer};
use beget_spec::{Descriptor, Source, Spec};

use crate::domains::Failure;
use crate::options::Options;
use crate::{FAILED, commands, parse};

/// As they are sent.
pub(super) fn encode(options: &Options) -> Result<Vec<u8>, Failure> {
    let spec = &options.spec;
    let mut words = options.said.clone();
    // What a file says is to be passed has its value here.
    for (name, _) in spec.environment.iter().filter(|(_, value)| value.is_none()) {
        let value = std::env::var_os(name).ok_or_else(|| {
            (format!("flag --env {}: not set here, so there is nothing to pass", name.display()), FAILED)
        })?;
        let mut both = name.clone();
        both.push("=");
        both.push(value);
        words.extend(["--env".into(), both]);
    }
    words.extend(options.service.names.iter().cloned());
    words.push("--".into());
    words.extend(spec.program.iter().chain(&spec.arguments).cloned());
    let mut writer = Writer::new();
    writer.u32(options.factory.image.is_some().into());
    writer.u32(words.len() as u32);
    for word in &words {
        writer.bytes(word.as_bytes());
    }
    Ok(writer.into_body())
}

/// The descriptors of ours that they name by number, in their order.
pub(super) fn given(spec: &Spec) -> Result<Vec<OwnedFd>, Failure> {
    let by_number = |one: &&Descriptor| matches!(one.source, Source::Number(_));
    let open = |one: &Descriptor| one.open().map_err(|errno| (format!("grant --fd {one}: {errno}"), FAILED));
    spec.descriptors.iter().filter(by_number).map(open).collect()
}

/// What was sent, and the descriptors by name: those of ours in place of their numbers, and such as are opened now.
///
/// # Errors
/// A sentence.
pub(super) fn decode(told: &[u8], given: Vec<OwnedFd>) -> Result<(Options, Vec<(String, OwnedFd)>), String> {
    let none = || "request: what is to be built is none".to_owned();
    let mut reader = Reader::new(told);
    let loads = reader.u32().ok_or_else(none)? == 1;
    let count = reader.u32().ok_or_else(none)?;
    let words: Option<Vec<OsString>> =
        (0..count).map(|_| reader.bytes().map(|bytes| OsString::from_vec(bytes.to_vec()))).collect();
    let words = words.filter(|_| reader.ends().is_some()).ok_or_else(none)?;
    let command = if loads { "factory-load" } else { "factory-create" };
    let entry = commands::find(command).ok_or_else(none)?;
    let mut options = match parse::parse(entry, &words) {
        Ok(parse::Parsed::Options(options)) => *options,
        Ok(parse::Parsed::Help) => return Err(none()),
        Err(wrong) => return Err(wrong.message),
    };
    let spec = &mut options.spec;
    // Where a file says that it is passed, the words that were added say its value.
    let passed: Vec<OsString> =
        spec.environment.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name.clone()).collect();
    spec.environment.retain(|(name, value)| value.is_some() || !passed.contains(name));
    let mut given = given.into_iter();
    let mut files = Vec::new();
    for one in std::mem::take(&mut spec.descriptors) {
        let file = match one.source {
            Source::Number(_) => given.next().ok_or_else(none)?,
            _ => one.open().map_err(|errno| format!("grant --fd {one}: {errno}"))?,
        };
        files.push((one.name, file));
    }
    if given.next().is_some() { Err(none()) } else { Ok((options, files)) }
}

/// Borrowed, as a request takes them.
pub(super) fn borrowed(files: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(std::os::fd::AsFd::as_fd).collect()
}

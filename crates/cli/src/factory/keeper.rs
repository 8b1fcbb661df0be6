//! The process that keeps a factory, as the service starts it. It is not for people, and help does not list it.
//!
//! Safety idea: it is closed to others of its user before it reads anything, and knows nothing but what comes over its first connection.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use beget_factory::adapter::{Perl, Python};
use beget_factory::saved::{Image, PublicKey, Verify};
use beget_factory::{Builder, Error, Factory, Fault, keeper};
use beget_service::KEEPER_BUILD;

use super::words;
use crate::FAILED;
use crate::domains::Failure;
use crate::options::{Options, Runtime, Socket};

/// Keeps a factory until nobody is left who could ask for anything.
pub(crate) fn keep() -> Result<u8, Failure> {
    let failed = |error: Error| (error.to_string(), FAILED);
    keeper::close_to_others().map_err(failed)?;
    let _ = rustix::thread::set_name(c"beget-keeper");
    let held = |slot: &str| Socket::held(slot).map_err(|message| (message, FAILED));
    let (first, channel) = (held(KEEPER_BUILD)?, held("beget")?);
    // The slots that they came in are nobody's who is executed.
    for slot in [3, 4] {
        let closing = beget_sys::descriptor::close_on_exec(slot);
        closing.map_err(|errno| (format!("descriptor {slot}: {errno}"), FAILED))?;
    }
    keeper::keep(first, Some(channel), &build).map_err(failed)?;
    Ok(0)
}

/// What is told, as a builder.
fn build(told: &[u8], given: Vec<OwnedFd>) -> beget_factory::Result<Builder> {
    let mut given = given.into_iter();
    let caller = |sentence: String| {
        let (part, words) = sentence.split_once(": ").unwrap_or(("request", &sentence));
        Error::new(part, words, Fault::Caller)
    };
    let directory = given.next().ok_or_else(|| caller("request: it has no directory".to_owned()))?;
    rustix::process::fchdir(&directory).map_err(|errno| Error::io("working directory", errno))?;
    let (options, files) = words::decode(told, given.collect()).map_err(caller)?;
    let mut builder = builder(&options)?;
    for (name, file) in files {
        builder.insert(&name, file)?;
    }
    Ok(builder)
}

fn builder(options: &Options) -> beget_factory::Result<Builder> {
    let caller = |error: beget_spec::Error| {
        let sentence = error.to_string();
        let (part, words) = sentence.split_once(": ").unwrap_or(("spec", &sentence));
        Error::new(part, words, Fault::Caller)
    };
    let mut command = options.spec.command().map_err(caller)?;
    command.support(options.support);
    let mut builder = Factory::builder(command);
    builder.options(options.factory.options.clone());
    if let Some(path) = &options.factory.image {
        builder.image(image(path, &options.factory.signers)?)?;
    }
    let preload = &options.factory.preload;
    match options.factory.runtime {
        Some(Runtime::Python) => _ = builder.adapter(Python::new().preload(preload)),
        Some(Runtime::Perl) => _ = builder.adapter(Perl::new().preload(preload)),
        None => {}
    }
    Ok(builder)
}

/// A saved image, signed by whom it must be. It is copied, so that whoever may write the file changes nothing afterwards.
fn image(path: &Path, signers: &[PathBuf]) -> beget_factory::Result<Image> {
    let part = |path: &Path| format!("image {}", path.display());
    let file = File::open(path).map_err(|error| Error::io(part(path), error))?;
    let image = Image::open(file, Verify::Sealed)?;
    if !signers.is_empty() {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Error::io(format!("key {}", path.display()), error))?;
            PublicKey::from_pem(&text)
        };
        let keys: Vec<PublicKey> = signers.iter().map(read).collect::<Result<_, _>>()?;
        image.signed_by(&keys)?;
    }
    Ok(image)
}

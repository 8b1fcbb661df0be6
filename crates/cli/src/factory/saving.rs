//! `beget factory save`.
//!
//! Safety idea: the file is made new, closed to others, and given to the keeper open; what was begun and not ended is taken away.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use beget_factory::saved::{SecretKey, sign};

use super::{factory, of_factory};
use crate::domains::Failure;
use crate::options::Options;
use crate::{FAILED, tell};

/// Saves a factory's program, and signs it where that was asked for.
pub(crate) fn save(options: &Options) -> Result<u8, Failure> {
    let asked = &options.factory;
    let path = asked.output.as_deref();
    let path = path.ok_or_else(|| ("flag --output: no file was named to save to".to_owned(), FAILED))?;
    let key = asked.key.as_deref().map(key).transpose()?;
    let factory = factory(options, "manage")?;
    let file = make(path)?;
    let saved = factory.save(&file).map_err(of_factory).and_then(|digest| {
        if let Some(key) = &key {
            sign(&file, key).map_err(of_factory)?;
        }
        Ok(digest)
    });
    match saved {
        Ok(digest) => tell(&format!("{digest}\n")),
        Err(failure) => {
            let _ = std::fs::remove_file(path);
            Err(failure)
        }
    }
}

/// A file that was not there.
fn make(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| (format!("flag --output {}: {}", path.display(), words(&error)), FAILED))
}

fn key(path: &Path) -> Result<SecretKey, Failure> {
    let failed = |words: String| (format!("flag --sign-with {}: {words}", path.display()), FAILED);
    let text = std::fs::read_to_string(path).map_err(|error| failed(words(&error)))?;
    SecretKey::from_pem(&text).map_err(|error| failed(error.to_string()))
}

fn words(error: &std::io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), |number| beget_sys::Errno(number).to_string())
}

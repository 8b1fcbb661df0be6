//! Runtime adapters: what makes an interpreter's copies unlike each other, and tells each its job.
//!
//! A program that was copied knows nothing of it: its random numbers go on where the template's were. An adapter is for programs that can be
//! told: it has the interpreter run a few lines of its own before it is ready, which in each copy read a **job** at descriptor [`JOB`], make
//! anew whatever must differ, say so, and only then run what the job says. The protocol is short, so that others can write one:
//!
//! 1. In the template the adapter's lines import what is wanted, and come to the ready point ([`Ready::Stop`]: they send themselves `SIGSTOP`).
//! 2. A copy has one end of a stream socket at [`JOB`]. It reads four bytes, a number in the machine's own order, and as many bytes as that
//!    says: the job, in whatever form the adapter gave it. [`pack`] is one that every language can read.
//! 3. It makes anew what would be the same in every copy, writes the one byte [`ACKNOWLEDGED`], and closes the descriptor.
//! 4. It runs the job.
//!
//! # Safety idea
//!
//! Silence is a refusal: a copy that closes its end without that byte, writes another, ends, or is not done in time is killed, and its request
//! fails. Nothing of a job is run before the byte is written.

mod exchange;
mod perl;
mod python;

pub use exchange::Exchange;
pub use perl::Perl;
pub use python::Python;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use beget::Command;

use crate::{Error, Fault, Ready, Result};

/// The descriptor at which a copy reads its job.
pub const JOB: i32 = 998;

/// What a copy writes when it is unlike the others.
pub const ACKNOWLEDGED: u8 = b'1';

/// What knows one interpreter.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// Its name, for errors and descriptions.
    fn name(&self) -> &str;

    /// Adds to the factory's command what makes the interpreter run the adapter's lines. What the command has as arguments already are the
    /// interpreter's own flags. Called once, when the factory is sealed.
    ///
    /// # Errors
    /// A command that cannot be an interpreter's.
    fn prepare(&self, command: &mut Command) -> Result<()>;

    /// Where those lines are ready.
    fn ready(&self) -> Ready {
        Ready::Stop
    }

    /// The job of one product. `arguments` are what would stand after the interpreter's own flags on its command line; `environment` is all
    /// that the product is to have, in any order.
    ///
    /// # Errors
    /// What a copy cannot be any more, because it must be so when the interpreter starts; a string with a zero in it.
    fn job(&self, arguments: &[OsString], environment: &[(OsString, OsString)]) -> Result<Vec<u8>>;

    /// Whether a copy says that it is unlike the others. One that does not shares its random numbers with them.
    fn acknowledges(&self) -> bool {
        true
    }
}

/// Arguments and environment as a list of strings, each ended by a zero: how many arguments, they, how many variables, they as `NAME=VALUE`,
/// and 32 hexadecimal digits that nobody else is given, for interpreters that cannot ask the kernel for such.
///
/// # Errors
/// A string with a zero in it, a variable's name that is empty or has `=` in it; no random numbers.
pub fn pack(name: &str, arguments: &[OsString], environment: &[(OsString, OsString)]) -> Result<Vec<u8>> {
    let mut job = Vec::new();
    let mut string = |bytes: &[&[u8]]| {
        let refused = bytes.iter().any(|piece| piece.contains(&0));
        bytes.iter().for_each(|piece| job.extend_from_slice(piece));
        job.push(0);
        if refused { Err(refuse(name, "a string of it has a zero byte")) } else { Ok(()) }
    };
    string(&[arguments.len().to_string().as_bytes()])?;
    for argument in arguments {
        string(&[argument.as_bytes()])?;
    }
    string(&[environment.len().to_string().as_bytes()])?;
    for (variable, value) in environment {
        if variable.is_empty() || variable.as_bytes().contains(&b'=') {
            return Err(refuse(name, format!("{variable:?} is no variable's name")));
        }
        string(&[variable.as_bytes(), b"=", value.as_bytes()])?;
    }
    let mut seed = [0_u8; 16];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io(format!("factory: {name}: random numbers"), errno))?;
    string(&[format!("{:032x}", u128::from_ne_bytes(seed)).as_bytes()])?;
    Ok(job)
}

/// A job that is none for this adapter.
fn refuse(name: &str, words: impl Into<String>) -> Error {
    Error::new(format!("factory: {name}: a product's job"), words, Fault::Caller)
}

/// The first of the arguments, where that says what is to be run and can be one: a flag of the interpreter is the builder's. `valued` are the
/// flags that say what is to be run, with the word after them or attached.
fn check_first(name: &str, arguments: &[OsString], valued: &[u8]) -> Result<()> {
    let first = arguments.first().map_or(&b""[..], |first| first.as_bytes());
    match first {
        [b'-', flag, rest @ ..] if valued.contains(flag) => {
            let lacks = rest.is_empty() && arguments.len() < 2;
            if lacks { Err(refuse(name, format!("-{} wants a value", char::from(*flag)))) } else { Ok(()) }
        }
        [b'-', _, ..] => {
            let flag = OsStr::from_bytes(first).to_string_lossy();
            Err(refuse(
                name,
                format!("{flag} is for when the interpreter starts: it is the factory's to give"),
            ))
        }
        _ => Ok(()),
    }
}

/// The variables that a template started with: where the interpreter looks at one only then, a product has the same.
#[derive(Debug, Default)]
struct StartedWith(Mutex<BTreeMap<OsString, OsString>>);

impl StartedWith {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<OsString, OsString>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, command: &Command) {
        *self.lock() = command.get_envs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    fn check(
        &self,
        name: &str,
        environment: &[(OsString, OsString)],
        is_early: impl Fn(&OsStr) -> bool,
    ) -> Result<()> {
        let given: BTreeMap<&OsStr, &OsStr> =
            environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())).collect();
        let own = self.lock();
        let own: BTreeMap<&OsStr, &OsStr> =
            own.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())).collect();
        for variable in given.keys().chain(own.keys()).filter(|variable| is_early(variable)) {
            if given.get(variable) != own.get(variable) {
                let words =
                    format!("variable {} is for when the interpreter starts", variable.to_string_lossy());
                return Err(refuse(name, format!("{words}: it is the factory's to give")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_job_is_counted_strings() {
        let job = pack("x", &words(&["-c", ""]), &[("A".into(), "b=c".into())]).expect("a job");
        let (told, seed) = job.split_at(job.len() - 33);
        assert_eq!(told, b"2\0-c\0\x001\0A=b=c\0");
        assert!(seed[..32].iter().all(u8::is_ascii_hexdigit) && seed[32] == 0);
    }

    #[test]
    fn what_cannot_be_in_a_job_is_named() {
        let error = pack("x", &words(&["a\0b"]), &[]).expect_err("no argument");
        assert_eq!(error.to_string(), "factory: x: a product's job: a string of it has a zero byte");
        for name in ["", "A=B"] {
            let error = pack("x", &[], &[(name.into(), "c".into())]).expect_err("no variable");
            assert!(error.to_string().contains("is no variable's name"), "{error}");
        }
    }
}

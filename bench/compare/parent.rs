//! P: the process that holds A and B and has C made, one way, as often as it is told to.
//!
//! Safety idea: each way has a P of its own, so that what one way leaves in its process is nothing to another; what tells P what to do
//! is closed on exec and at a number of its own, so that no C has it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::mark::Mark;
use super::stage::Holdings;
use super::ways::{self, Given, Purpose};
use crate::measure::now;

/// The program that P and C are.
pub(super) fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))
}

/// Is a P until it is told that it is over, or its control is closed: the words are the way, the purpose, and the folder of the scene.
pub(super) fn parent(words: &[OsString]) -> u8 {
    let Ok(control) = control() else { return 1 };
    // As any program's process is; one whose file this user may execute and not read is closed to others, and would hide what C reaches.
    let _ = beget_sys::process::set_dumpable(1);
    let mut answers = &control;
    let mut say = |value: Value| answers.write_all(format!("{value}\n").as_bytes());
    let mut prepared = match prepare(words) {
        Ok(prepared) => prepared,
        Err(why) => {
            let _ = say(json!({ "error": why }));
            return 1;
        }
    };
    if say(json!({ "ready": std::process::id() })).is_err() {
        return 1;
    }
    for line in BufReader::new(&control).lines() {
        let answer = match line.as_deref() {
            Ok("go") => prepared.once(false),
            Ok("forget") => prepared.once(true),
            _ => return 0,
        };
        if say(answer.unwrap_or_else(|why| json!({ "error": why }))).is_err() {
            break;
        }
    }
    // Nobody has said that it is over: whoever compared was killed.
    1
}

/// The control moves from standard input to a number that is closed on exec; standard input is empty then.
fn control() -> Result<UnixStream, String> {
    let failed = |error: std::io::Error| error.to_string();
    let moved = {
        use std::os::fd::AsFd;
        std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?
    };
    let null = std::fs::File::open("/dev/null").map_err(failed)?;
    // SAFETY: standard input is nobody's but this process's, which reads nothing from it.
    if unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), 0) } < 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    Ok(moved.into())
}

struct Prepared {
    holdings: Holdings,
    program: PathBuf,
    purpose: Purpose,
    way: Box<dyn ways::Way>,
}

fn prepare(words: &[OsString]) -> Result<Prepared, String> {
    let [name, purpose, folder] = words else { return Err("P: wants a way, a purpose and a folder".into()) };
    let purpose = Purpose::ALL.into_iter().find(|(_, word)| purpose == word).ok_or("P: no such purpose")?.0;
    let entry = ways::find(&name.to_string_lossy()).ok_or("P: no such way")?;
    let holdings = Holdings::open(Path::new(folder))?;
    let program = program()?;
    let given = Given { holdings: &holdings, program: &program, purpose, report: None, forget: false };
    let way = (entry.make)(&given)?;
    Ok(Prepared { holdings, program, purpose, way })
}

impl Prepared {
    /// Has one C made and waits for its end.
    fn once(&mut self, forget: bool) -> Result<Value, String> {
        self.holdings.rewind()?;
        let (reader, report) = match self.purpose {
            Purpose::Look => {
                let (reader, writer) = std::io::pipe().map_err(|error| format!("pipe: {error}"))?;
                (Some(reader), Some(OwnedFd::from(writer)))
            }
            _ => (None, None),
        };
        let given = Given {
            holdings: &self.holdings,
            program: &self.program,
            purpose: self.purpose,
            report: report.as_ref(),
            forget,
        };
        let traced = self.purpose == Purpose::Trace;
        let set = |mark: Mark| {
            if traced {
                mark.set();
            }
        };
        let begin = now();
        set(Mark::Begin);
        let born = self.way.start(&given);
        set(Mark::Born);
        let ended = born.and_then(|born| {
            let count = born.count();
            born.wait().map(|code| (code, count))
        });
        let time = now() - begin;
        set(Mark::End);
        drop(report);
        let report = reader.map_or(Ok(String::new()), |reader| written(&reader))?;
        self.way.rest()?;
        Ok(match ended {
            Ok((code, count)) => json!({ "us": time / count as f64, "code": code, "report": report }),
            // What was refused before there was a C is an end too: it is seen at once.
            Err(why) => json!({ "refused": why, "report": report }),
        })
    }
}

/// What C wrote: it has ended, and all of it lies in the pipe, which somebody else may still hold open.
fn written(reader: &std::io::PipeReader) -> Result<String, String> {
    use std::os::fd::AsRawFd;
    // SAFETY: a flag of a descriptor that we own.
    if unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        return Err(format!("report: {}", std::io::Error::last_os_error()));
    }
    let (mut text, mut reader) = (Vec::new(), reader);
    match reader.read_to_end(&mut text) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(format!("report: {error}")),
        _ => Ok(String::from_utf8_lossy(&text).into_owned()),
    }
}

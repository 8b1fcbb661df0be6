//! A P as seen by whoever compares: started, told to have a C made, and ended.
//!
//! Safety idea: a P that does not answer is killed, and what it began ends with it where the way allows that.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::parent::program;
use super::stage::Scene;
use super::ways::Purpose;
use super::ways::{self, Entry};

/// How long a P may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a P says of one C.
#[derive(Clone, Debug)]
pub(super) enum Once {
    /// C was there and has ended.
    Ended {
        /// From the request to C's end, in microseconds.
        us: f64,
        /// Its exit code, or 128 and a signal.
        code: i64,
        /// What it reported.
        report: String,
    },
    /// There was none: the way itself refused.
    Refused(String),
}

/// A P.
pub(super) struct Player {
    name: &'static str,
    control: BufReader<UnixStream>,
    child: Child,
    words: std::path::PathBuf,
    seen: usize,
}

impl Player {
    /// Starts one, and waits until it is ready.
    pub(super) fn start(entry: &Entry, purpose: Purpose, scene: &Scene) -> Result<Player, String> {
        let failed = |error: std::io::Error| format!("P: {error}");
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        control.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let words = scene.folder().join(format!("words-{}-{}", entry.name, purpose.word()));
        let error = std::fs::File::options().create(true).append(true).open(&words).map_err(failed)?;
        let own = program()?;
        let mut command = if ["subprocess", "forkserver"].contains(&entry.name) {
            let script = scene.folder().join("peers.py");
            if !script.exists() {
                scene.file("peers.py", ways::PYTHON.as_bytes())?;
            }
            let mut command = Command::new(ways::installed("python3")?);
            command.arg("-S").arg(script).args([entry.name, purpose.word()]).arg(scene.folder()).arg(&own);
            command
        } else {
            let mut command = Command::new(&own);
            command.args([super::PARENT, entry.name, purpose.word()]).arg(scene.folder());
            command
        };
        // In a group of its own, so that an interrupt from the terminal ends us and leaves it to end in order.
        let child = command
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(error)
            .spawn()
            .map_err(|error| format!("P: {error}"))?;
        drop(command);
        let mut player = Player { name: entry.name, control: BufReader::new(control), child, words, seen: 0 };
        player.answer()?;
        Ok(player)
    }

    /// Its process number.
    pub(super) fn number(&self) -> u32 {
        self.child.id()
    }

    /// Has it made one C.
    pub(super) fn once(&mut self, forget: bool) -> Result<Once, String> {
        let word = if forget { b"forget\n".as_slice() } else { b"go\n" };
        self.control.get_mut().write_all(word).map_err(|error| format!("P: {error}"))?;
        let answer = self.answer()?;
        if let Some(why) = answer["refused"].as_str() {
            return Ok(Once::Refused(why.to_owned()));
        }
        let (us, code) = (answer["us"].as_f64(), answer["code"].as_i64());
        let (us, code) = us.zip(code).ok_or_else(|| format!("P says {answer}"))?;
        Ok(Once::Ended { us, code, report: answer["report"].as_str().unwrap_or_default().to_owned() })
    }

    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let read = self.control.read_line(&mut line);
        match read {
            Ok(0) => return Err(self.last_words().unwrap_or_else(|| "P ended".to_owned())),
            Err(error) => {
                let _ = self.child.kill();
                return Err(format!("P does not answer: {error}"));
            }
            Ok(_) => {}
        }
        let answer: Value = serde_json::from_str(&line).map_err(|error| format!("P says {line}: {error}"))?;
        match answer["error"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer),
        }
    }

    /// The last line that it, or what it started, wrote to standard error since it was asked for the last time.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let text = std::fs::read(&self.words).unwrap_or_default();
        let fresh = String::from_utf8_lossy(text.get(self.seen..).unwrap_or_default()).into_owned();
        self.seen = text.len();
        fresh.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }
}

impl Drop for Player {
    /// It ends when its control is closed, with what it keeps.
    fn drop(&mut self) {
        let _ = self.control.get_mut().write_all(b"end\n");
        let _ = self.control.get_ref().shutdown(Shutdown::Both);
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Player({})", self.name)
    }
}

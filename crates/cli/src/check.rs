//! `beget check`: what this kernel can enforce, or whether it can keep what a spec asks.

use beget::{Command, Description, Enforced, Grant, Limit, Promise, Root, Support};
use beget_spec::Spec;
use serde_json::json;

use crate::options::Options;
use crate::show::Table;
use crate::{FAILED, tell};

/// The exit code when something cannot be kept.
const UNKEPT: u8 = 1;
/// What stands for a program that is not named.
const PROGRAM: &str = "/bin/true";

/// A promise, and what keeps it here.
struct Line {
    promise: Promise,
    by: Option<&'static str>,
    /// What is done in its place when it is given up.
    instead: Option<&'static str>,
    /// What is to be known beside that.
    note: String,
}

impl Line {
    fn of(line: &Enforced) -> Line {
        Line { promise: line.promise, by: line.by, instead: line.instead, note: String::new() }
    }

    fn note(&self) -> String {
        match (self.by, self.instead) {
            (Some(_), _) => self.note.clone(),
            (None, None) if !self.note.is_empty() => self.note.clone(),
            (None, None) => self.promise.what_it_needs().to_owned(),
            (None, Some(instead)) => {
                let word = self.promise.word();
                format!("{}; given up with --degrade {word}, a {instead}", self.promise.what_it_needs())
            }
        }
    }
}

/// Prints it. With a spec, or with flags that ask for something, only what they ask for.
pub(crate) fn check(mut options: Options) -> Result<u8, (String, u8)> {
    let asked = options.spec != Spec::default();
    let lines = if asked { of_spec(&mut options)? } else { of_kernel(options.support)? };
    let tried = if asked { None } else { Some(try_child(options.support, &lines)) };
    let kept = lines.iter().all(|line| line.by.is_some() || options.spec.degraded.contains(&line.promise))
        && tried.as_ref().is_none_or(Result::is_ok);
    let text = if options.json {
        let promises: Vec<_> = lines
            .iter()
            .map(|line| {
                let given_up = options.spec.degraded.contains(&line.promise);
                json!({"promise": line.promise.word(), "what": line.promise.what(), "by": line.by,
                       "given_up": line.by.is_none() && given_up, "note": line.note()})
            })
            .collect();
        let child = tried.as_ref().map(|tried| tried.as_ref().err().map_or("works", String::as_str));
        let value = json!({
            "kept": kept,
            "landlock": options.support.landlock,
            "filter": options.support.filter,
            "confined_child": child,
            "promises": promises,
        });
        format!("{value:#}\n")
    } else {
        as_table(&options, &lines, tried.as_ref())
    };
    tell(&text).map(|_| if kept { 0 } else { UNKEPT })
}

fn as_table(options: &Options, lines: &[Line], tried: Option<&Result<(), String>>) -> String {
    let mut table = Table::new();
    let landlock = options.support.landlock.map_or("none".to_owned(), |abi| format!("ABI {abi}"));
    table.row("landlock", landlock, "");
    table.row("seccomp filters", if options.support.filter { "yes" } else { "none" }, "");
    if let Some(tried) = tried {
        let words = tried.as_ref().err().map_or("works: one was started", String::as_str);
        table.row("a confined child", words, "");
    }
    table.end_section("KERNEL");
    for line in lines {
        let given_up = options.spec.degraded.contains(&line.promise);
        let by = line.by.unwrap_or(if given_up { "NOT ENFORCED: given up" } else { "CANNOT BE KEPT" });
        table.row(line.promise.word(), by, line.note());
    }
    table.end_section("PROMISES");
    table.finish()
}

/// What keeps the promises of what was asked for.
fn of_spec(options: &mut Options) -> Result<Vec<Line>, (String, u8)> {
    options.spec.program.get_or_insert_with(|| PROGRAM.into());
    let mut command = options.command(None).map_err(|message| (message, FAILED))?;
    let description = describe(&mut command)?;
    let line = |line: &Enforced| match line.promise {
        Promise::Root if line.by.is_some() => try_root(options.support),
        _ => Line::of(line),
    };
    Ok(description.enforced.iter().map(line).collect())
}

/// What keeps every promise there is.
fn of_kernel(support: Support) -> Result<Vec<Line>, (String, u8)> {
    let everything = |spawn: bool| {
        let mut command = Command::new(PROGRAM);
        command.support(support).grant(Grant::TcpConnect(443));
        // So little that no limit of this user's is below it.
        command
            .limit(Limit::Memory(1 << 20))
            .limit(Limit::Processes(1))
            .limit(Limit::Processors(1))
            .discreet(true);
        if spawn {
            command.grant(Grant::Spawn);
        }
        command
    };
    let alone = describe(&mut everything(false))?;
    let by_alone =
        |promise| alone.enforced.iter().find(|line| line.promise == promise).and_then(|line| line.by);
    let together = describe(&mut everything(true))?;
    let line = |line: &Enforced| match by_alone(line.promise).filter(|_| line.by.is_none()) {
        Some(alone) => {
            Line { by: Some(alone), note: "but not together with --spawn".to_owned(), ..Line::of(line) }
        }
        None => Line::of(line),
    };
    let others = together.enforced.iter().filter(|line| line.promise != Promise::Root).map(line);
    Ok([try_root(support)].into_iter().chain(others).collect())
}

fn describe(command: &mut Command) -> Result<Description, (String, u8)> {
    for promise in Promise::ALL {
        command.degrade(*promise);
    }
    command.describe().map_err(|error| (error.to_string(), error.exit_code()))
}

/// Starts a child in a private root, for whether this user may have one shows only then.
fn try_root(support: Support) -> Line {
    const BY: &str = "user, mount, PID, IPC, UTS and cgroup namespaces: one was started";
    let mut command = Command::new(PROGRAM);
    command.support(support).grant(Grant::Base).root(Root::new());
    for promise in Promise::ALL.iter().filter(|promise| **promise != Promise::Root) {
        command.degrade(*promise);
    }
    let line = |by, note: String| Line { promise: Promise::Root, by, instead: None, note };
    match command.status() {
        Ok(ended) if ended.status.success() => line(Some(BY), String::new()),
        Ok(ended) => line(None, format!("{PROGRAM} ended with {} in one", ended.exit_code())),
        Err(error) => {
            let words = error.to_string();
            line(None, words.strip_prefix("promise root: ").unwrap_or(&words).to_owned())
        }
    }
}

/// Starts a child that is held to all that can be kept, for a feature that is there may still be refused to us.
fn try_child(support: Support, lines: &[Line]) -> Result<(), String> {
    let mut command = Command::new(PROGRAM);
    command.support(support).grant(Grant::Base);
    for line in lines {
        match line.promise {
            promise if line.by.is_none() => command.degrade(promise),
            Promise::Memory => command.limit(Limit::Memory(64 << 20)),
            Promise::Processes => command.limit(Limit::Processes(16)),
            Promise::Processors => command.limit(Limit::Processors(1)),
            Promise::Marks => command.discreet(true),
            _ => continue,
        };
    }
    let ended = command.status().map_err(|error| error.to_string())?;
    if ended.status.success() { Ok(()) } else { Err(format!("{PROGRAM} ended with {}", ended.exit_code())) }
}

//! `beget show`: what the child of the same `run` would hold, and what enforces each line.

use std::fmt::Write;

use beget::Description;
use serde_json::{Value, json};

use crate::options::Options;
use crate::terminal::Terminal;
use crate::{FAILED, relay, units};

/// Prints it.
pub(crate) fn show(mut options: Options) -> Result<u8, (String, u8)> {
    if let Some(outcome) = crate::domains::show_if_there(&options) {
        return outcome;
    }
    let may_be_name = crate::domains::may_be_name(&options).is_some();
    options.spec.program.get_or_insert_with(|| "/bin/true".into());
    let mut terminal = if options.spec.pty { None } else { Terminal::find() };
    let mut command = options.command(terminal.as_mut()).map_err(|message| (message, FAILED))?;
    // Dropped only when it is described: without its master a terminal has hung up.
    let _pty = relay::give_streams(&options.spec, &mut command).map_err(|message| (message, FAILED))?;
    let description = command.describe().map_err(|error| {
        let either = may_be_name && error.fault() == beget::Fault::NotFound;
        let more = if either { "; nor has a domain this name" } else { "" };
        (format!("{error}{more}"), error.exit_code())
    })?;
    let text = if options.json {
        format!("{:#}\n", as_json(&description, &options))
    } else {
        as_table(&description, &options)
    };
    crate::tell(&text)
}

/// Resources that are counted in bytes.
const IN_BYTES: [&str; 8] = ["fsize", "data", "stack", "core", "rss", "memlock", "as", "msgqueue"];

fn limit(name: &str, value: u64) -> String {
    match value {
        u64::MAX => "none".to_owned(),
        _ if IN_BYTES.contains(&name) => units::bytes(value),
        _ => value.to_string(),
    }
}

/// Rows of three columns under a heading.
pub(crate) struct Table {
    text: String,
    rows: Vec<[String; 3]>,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table { text: String::new(), rows: Vec::new() }
    }

    /// The text, which ends in one line's end.
    pub(crate) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\n');
        self.text
    }

    /// What names hold is shown, not obeyed: a line's end in one must not make a line of the table.
    pub(crate) fn row(&mut self, a: impl AsRef<str>, b: impl AsRef<str>, c: impl AsRef<str>) {
        self.rows.push([crate::plain(a.as_ref()), crate::plain(b.as_ref()), crate::plain(c.as_ref())]);
    }

    pub(crate) fn end_section(&mut self, title: &str) {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        let _ = writeln!(self.text, "{title}");
        for [a, b, c] in self.rows.drain(..) {
            let line = format!("  {a:<first$}  {b:<second$}  {c}");
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
        self.text.push('\n');
    }
}

fn as_table(description: &Description, options: &Options) -> String {
    let mut table = Table::new();
    table.row(
        "program",
        description.program.display().to_string(),
        if description.interpreted { "a script; its interpreter is executed" } else { "" },
    );
    if description.privileged {
        table.row("", "set-uid or set-gid", "gains nothing: no_new_privs");
    }
    table.row("arguments", format!("{}", description.arguments.len()), "");
    table.row("directory", &description.directory, "grants nothing");
    table.row("umask", format!("{:03o}", description.umask), "");
    let leader = match (description.session, description.foreground) {
        (true, _) if options.spec.pty => "a session of its own, with a terminal of its own",
        (true, _) => "a session of its own, without a terminal",
        (false, true) => "a process group of its own, in the terminal's foreground",
        (false, false) => "a process group of its own, in the terminal's background",
    };
    table.row("session", leader, "");
    table.row(
        "processes",
        if description.spawn { "may create processes" } else { "itself and its threads" },
        "",
    );
    table.row(
        "time",
        options.spec.timeout.map_or("no limit".to_owned(), |time| format!("{} s", time.as_secs_f64())),
        match options.spec.timeout {
            Some(_) if !options.spec.grace.is_zero() => {
                format!("then {} s to heed SIGTERM", options.spec.grace.as_secs_f64())
            }
            _ => String::new(),
        },
    );
    table.row(
        "output",
        options.spec.output_limit.map_or("no limit".to_owned(), units::bytes),
        if options.spec.log.is_some() { "recorded" } else { "" },
    );
    table.end_section("PROGRAM");

    for slot in &description.slots {
        let kind = match (slot.terminal, slot.readable) {
            (true, _) if slot.own => "a terminal of its own",
            (true, true) => "the terminal",
            (true, false) => "the terminal, only to write",
            _ => "",
        };
        table.row(slot.number.to_string(), &slot.name, kind);
    }
    table.end_section("DESCRIPTORS  every other number is closed");
    for variable in &description.environment {
        let variable = variable.to_string_lossy();
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        table.row(name, value, "");
    }
    if !description.slots.iter().all(|slot| slot.number < 3) {
        table.row("LISTEN_PID", "the child's own number", "");
    }
    table.end_section("ENVIRONMENT  no other variable is passed");
    for file in &description.files {
        let below = if file.below { "and all below" } else { "" };
        table.row(file.path.display().to_string(), file.rights.to_string(), below);
    }
    table.end_section("FILES  no other is opened, made, removed or executed");
    if !description.root.is_empty() {
        for (at, what) in &description.root {
            table.row(at.display().to_string(), what, "");
        }
        table.end_section("ROOT  nothing else exists, and / is read-only");
    }
    for grant in &description.network {
        table.row(grant.to_string(), "", "");
    }
    table.end_section(if description.network.is_empty() { "NETWORK  none" } else { "NETWORK" });
    for (name, soft, hard) in &description.limits {
        table.row(
            *name,
            limit(name, *soft),
            if soft == hard { String::new() } else { format!("may raise to {}", limit(name, *hard)) },
        );
    }
    table.end_section("RESOURCE LIMITS  of each process");
    for line in &description.enforced {
        let by = match (line.by, line.instead) {
            (Some(by), _) => by.to_owned(),
            (None, Some(instead)) => format!("NOT ENFORCED: given up for a {instead}"),
            (None, None) => "NOT ENFORCED: given up".to_owned(),
        };
        table.row(line.promise.word(), by, line.promise.what());
    }
    table.end_section("ENFORCED BY");
    for open in stays_open(description, options) {
        table.row(open, "", "");
    }
    table.end_section("STAYS OPEN");
    table.finish()
}

/// What the library knows to stay open, and what comes of passing output on.
fn stays_open(description: &Description, options: &Options) -> Vec<&'static str> {
    let mut open = description.stays_open();
    let shown = [1, 2].into_iter().any(|stream| crate::terminal::to_write_only(stream).is_some());
    let said = open.iter().any(|line| line.starts_with("the terminal: what is drawn"));
    if relay::is_wanted(&options.spec) && shown && !said {
        open.push("the terminal: what is drawn on it, for the program's output is shown there");
    }
    open
}

pub(crate) fn as_json(description: &Description, options: &Options) -> Value {
    let text = |value: &std::ffi::OsString| value.to_string_lossy().into_owned();
    let number = |value: u64| if value == u64::MAX { Value::Null } else { json!(value) };
    let limits: serde_json::Map<String, Value> = description
        .limits
        .iter()
        .map(|(name, soft, hard)| ((*name).to_owned(), json!({"soft": number(*soft), "hard": number(*hard)})))
        .collect();
    json!({
        "program": description.program.to_string_lossy(),
        "interpreted": description.interpreted,
        "set_uid": description.privileged,
        "arguments": description.arguments.iter().map(text).collect::<Vec<_>>(),
        "environment": description.environment.iter().map(text).collect::<Vec<_>>(),
        "directory": description.directory,
        "umask": format!("{:03o}", description.umask),
        "session": description.session,
        "foreground": description.foreground,
        "spawn": description.spawn,
        "timeout": options.spec.timeout.map(|time| time.as_secs_f64()),
        "grace": options.spec.timeout.map(|_| options.spec.grace.as_secs_f64()),
        "output_limit": options.spec.output_limit,
        "log": options.spec.log.as_ref().map(|path| path.to_string_lossy()),
        "descriptors": description.slots.iter().map(|slot| json!({"number": slot.number, "name": slot.name, "terminal": slot.terminal, "own": slot.own})).collect::<Vec<_>>(),
        "files": description.files.iter().map(|file| json!({"path": file.path.to_string_lossy(), "rights": file.rights.to_string(), "below": file.below})).collect::<Vec<_>>(),
        "root": description.root.iter().map(|(at, what)| json!({"at": at.to_string_lossy(), "what": what})).collect::<Vec<_>>(),
        "network": description.network.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "limits": limits,
        "enforced": description.enforced.iter().map(|line| json!({"promise": line.promise.word(), "what": line.promise.what(), "by": line.by, "instead": line.instead})).collect::<Vec<_>>(),
        "stays_open": stays_open(description, options),
        "landlock": description.support.landlock,
        "operations": description.operations,
    })
}

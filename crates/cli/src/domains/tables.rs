//! Lists of domains, for people: aligned, and in colour only on a terminal.
//!
//! Safety idea: what a name or a program's path holds is shown, never obeyed.

use std::fmt::Write;
use std::io::IsTerminal;

use beget_service::protocol::{Life, Record};

use super::record::state;
use crate::units;

/// How a list is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    colour: bool,
    /// The last column is cut there, on a terminal.
    width: usize,
}

impl Look {
    /// For standard output as it is.
    pub(crate) fn of_output() -> Look {
        let output = std::io::stdout();
        if !output.is_terminal() {
            return Look { colour: false, width: usize::MAX };
        }
        let columns = rustix::termios::tcgetwinsize(&output).map_or(0, |size| usize::from(size.ws_col));
        let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        let colour = !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Look { colour, width: if columns == 0 { usize::MAX } else { columns.max(40) } }
    }
}

/// How it is: with its code, or its signal's name.
pub(crate) fn state_in_full(record: &Record) -> String {
    match record.life {
        Life::Exited(code) => format!("exited {code}"),
        Life::Killed(signal) => {
            let known = crate::flags::service::SIGNALS.iter().find(|(_, number)| *number as u32 == signal);
            known.map_or_else(|| format!("killed {signal}"), |(name, _)| format!("killed {name}"))
        }
        _ => state(record).to_owned(),
    }
}

fn colour(life: Life) -> &'static str {
    match life {
        Life::Running => "\x1b[32m",
        Life::Exited(0) => "",
        Life::Embryo => "\x1b[33m",
        _ => "\x1b[31m",
    }
}

/// Rows under a heading. The second column has the state's colour; the last is cut where the terminal ends.
fn set(heading: &[&str], rows: Vec<(Life, Vec<String>)>, right: &[usize], look: Look) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|(_, row)| row[column].chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    let heading: Vec<String> = heading.iter().map(|word| (*word).to_owned()).collect();
    let mut line = |row: &[String], life: Option<Life>| {
        let mut used = 0;
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let last = column + 1 == row.len();
            let padding = widths[column].saturating_sub(cell.chars().count());
            let (before, after) = if right.contains(&column) { (padding, 0) } else { (0, padding) };
            let room = look.width.saturating_sub(used).max(8);
            let cell = if last { cut(cell, room) } else { cell.clone() };
            let paint = life.filter(|_| look.colour && column == 1).map_or("", colour);
            let plain = if paint.is_empty() { "" } else { "\x1b[0m" };
            let _ = write!(line, "{:before$}{paint}{cell}{plain}{:after$}  ", "", "");
            used += widths[column] + 2;
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(&heading, None);
    for (life, row) in &rows {
        line(row, Some(*life));
    }
    text
}

/// At most so many letters.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// What it holds, in a line.
pub(crate) fn held(record: &Record) -> String {
    crate::plain(&record.capabilities.join(" "))
}

/// Those that live, each below its creator.
pub(crate) fn living(records: &[(usize, Record)], now: u64, look: Look) -> String {
    if records.is_empty() {
        return "no domain lives\n".to_owned();
    }
    let row = |(depth, record): &(usize, Record)| {
        let name = format!("{:1$}{2}", "", depth * 2, crate::plain(&record.name));
        let age = units::age(now.saturating_sub(record.started));
        let cells = vec![name, state_in_full(record), record.pid.to_string(), age];
        let rest = [units::short(record.memory), crate::plain(&record.program), held(record)];
        (record.life, cells.into_iter().chain(rest).collect())
    };
    let heading = ["NAME", "STATE", "PID", "AGE", "MEMORY", "PROGRAM", "HOLDS"];
    set(&heading, records.iter().map(row).collect(), &[2, 3, 4], look)
}

/// Factories that live.
pub(crate) fn factories(records: &[Record], now: u64) -> String {
    if records.is_empty() {
        return "no factory lives\n".to_owned();
    }
    let row = |record: &Record| {
        let age = units::age(now.saturating_sub(record.started));
        let cells = vec![crate::plain(&record.name), state_in_full(record), record.pid.to_string(), age];
        (record.life, cells.into_iter().chain([units::short(record.memory)]).collect())
    };
    let heading = ["NAME", "STATE", "PID", "AGE", "MEMORY"];
    set(&heading, records.iter().map(row).collect(), &[2, 3, 4], Look::of_output())
}

/// Those that have ended.
pub(crate) fn ended(records: &[Record], look: Look) -> String {
    if records.is_empty() {
        return "no domain has ended yet\n".to_owned();
    }
    let row = |record: &Record| {
        let time = units::age(record.ended.saturating_sub(record.started));
        let cells =
            vec![crate::plain(&record.name), state_in_full(record), units::moment(record.ended), time];
        let rest =
            [units::short(record.memory_peak), crate::plain(&record.program), crate::plain(&record.report)];
        (record.life, cells.into_iter().chain(rest).collect())
    };
    let heading = ["NAME", "STATE", "ENDED", "TIME", "PEAK", "PROGRAM", "WHY"];
    set(&heading, records.iter().map(row).collect(), &[3, 4], look)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: false, width: usize::MAX };

    fn record(name: &str, life: Life) -> Record {
        Record {
            name: name.to_owned(),
            program: "/bin/sleep".to_owned(),
            life,
            pid: 12,
            started: 1000,
            ended: 66_000,
            memory: 5 << 20,
            memory_peak: 6 << 20,
            capabilities: vec!["--base".to_owned(), "beget".to_owned()],
            ..Record::default()
        }
    }

    #[test]
    fn columns_are_aligned_and_children_indented() {
        let records = vec![(0, record("web", Life::Running)), (1, record("worker\x1b[2J", Life::Embryo))];
        let expected = "\
NAME               STATE    PID   AGE  MEMORY  PROGRAM     HOLDS
web                running   12  1m5s    5.0M  /bin/sleep  --base beget
  worker\\u{1b}[2J  embryo    12  1m5s    5.0M  /bin/sleep  --base beget
";
        assert_eq!(living(&records, 66_000, PLAIN), expected);
    }

    #[test]
    fn colour_changes_nothing_else_and_the_last_column_is_cut() {
        let records = vec![(0, record("web", Life::Running))];
        let plain = living(&records, 66_000, PLAIN);
        let coloured = living(&records, 66_000, Look { colour: true, ..PLAIN });
        assert!(coloured.contains("\x1b[32mrunning\x1b[0m"));
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[0m", ""), plain);
        let narrow = living(&records, 66_000, Look { width: 55, ..PLAIN });
        assert!(narrow.lines().all(|line| line.chars().count() <= 55), "{narrow}");
        assert!(narrow.contains("--base b…"), "{narrow}");
    }

    #[test]
    fn how_it_ended_is_told_by_name() {
        let text = ended(&[record("web", Life::Killed(15)), record("job", Life::Exited(3))], PLAIN);
        assert!(text.contains("killed TERM") && text.contains("exited 3"), "{text}");
        assert!(text.contains("1970-01-01T00:01:06.000Z  1m5s  6.0M"), "{text}");
    }
}

//! What `beget top` shows: from records and the keys that were pressed to lines of text, without a terminal.
//!
//! Safety idea: names and programs are shown, never obeyed, and no line is longer than the terminal is wide.

use std::collections::HashMap;

use beget_service::protocol::Record;

use crate::domains::{by_parent, cut, held, state_in_full};
use crate::units;

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// By name, each below its creator.
    Tree,
    Processor,
    Memory,
    Age,
    State,
}

impl Sort {
    fn next(self) -> Sort {
        match self {
            Sort::Tree => Sort::Processor,
            Sort::Processor => Sort::Memory,
            Sort::Memory => Sort::Age,
            Sort::Age => Sort::State,
            Sort::State => Sort::Tree,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sort::Tree => "name",
            Sort::Processor => "processor",
            Sort::Memory => "memory",
            Sort::Age => "age",
            Sort::State => "state",
        }
    }
}

/// What the keys are for at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    List,
    Filter,
    /// The domain of this name and number would be ended.
    Confirm(String, u64),
    Help,
}

/// What a key asks for beyond what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Nothing,
    Leave,
    /// End the domain of this name.
    Kill(String),
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Letter(char),
    Up,
    Down,
    Enter,
    Escape,
    Backspace,
}

/// The keys in what a terminal sent. What is none of ours is left out.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    while let Some(first) = rest.chars().next() {
        let (key, length) = match first {
            '\x1b' => match rest.as_bytes().get(1..3) {
                Some(b"[A" | b"OA") => (Some(Key::Up), 3),
                Some(b"[B" | b"OB") => (Some(Key::Down), 3),
                Some([b'[' | b'O', _]) => {
                    // Another key: its sequence ends in a letter or a tilde.
                    let end = rest[2..].find(|letter: char| ('@'..='~').contains(&letter));
                    (None, end.map_or(rest.len(), |end| 3 + end))
                }
                _ => (Some(Key::Escape), 1),
            },
            '\r' | '\n' => (Some(Key::Enter), 1),
            '\x7f' | '\x08' => (Some(Key::Backspace), 1),
            letter if letter.is_control() => (None, letter.len_utf8()),
            letter => (Some(Key::Letter(letter)), letter.len_utf8()),
        };
        keys.extend(key);
        rest = &rest[length.min(rest.len())..];
    }
    keys
}

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    records: Vec<(usize, Record)>,
    /// When they were taken, in milliseconds since 1970, and what each had used of processors then; and the same of the time before.
    looks: [(u64, HashMap<u64, u64>); 2],
    /// The number of the chosen domain: a row may move.
    chosen: u64,
    /// The first row that is shown.
    top: usize,
    sort: Sort,
    filter: String,
    pub(super) mode: Mode,
    /// What is to be told, until the next key.
    pub(super) message: String,
}

impl View {
    pub(super) fn new() -> View {
        View {
            records: Vec::new(),
            looks: Default::default(),
            chosen: 0,
            top: 0,
            sort: Sort::Tree,
            filter: String::new(),
            mode: Mode::List,
            message: String::new(),
        }
    }

    /// Takes what lives now.
    pub(super) fn take(&mut self, records: Vec<Record>, now: u64) {
        self.looks.rotate_right(1);
        let used = |record: &Record| (record.id, record.user_time + record.system_time);
        self.looks[0] = (now, records.iter().map(used).collect());
        self.records = by_parent(records);
    }

    /// How much of one processor a domain's process used between the last two looks, in thousandths.
    fn share(&self, record: &Record) -> u64 {
        let [(now, used), (before, had)] = &self.looks;
        let used = used.get(&record.id).copied().unwrap_or(0);
        // One that was not there before has used all of it since it was started.
        let had = had.get(&record.id).copied();
        let since = had.map_or(record.started, |_| *before);
        used.saturating_sub(had.unwrap_or(0)) / now.saturating_sub(since).max(1)
    }

    /// The rows that the filter lets through, in order.
    fn rows(&self) -> Vec<&(usize, Record)> {
        let mut rows: Vec<&(usize, Record)> =
            self.records.iter().filter(|(_, record)| record.name.contains(&self.filter)).collect();
        match self.sort {
            Sort::Tree => {}
            Sort::Processor => rows.sort_by_key(|(_, record)| std::cmp::Reverse(self.share(record))),
            Sort::Memory => rows.sort_by_key(|(_, record)| std::cmp::Reverse(record.memory)),
            Sort::Age => rows.sort_by_key(|(_, record)| record.started),
            Sort::State => rows.sort_by_key(|(_, record)| state_in_full(record)),
        }
        rows
    }

    fn place(&self, rows: &[&(usize, Record)]) -> usize {
        rows.iter().position(|(_, record)| record.id == self.chosen).unwrap_or(0)
    }

    fn go(&mut self, by: isize) {
        let rows = self.rows();
        let place = self.place(&rows).saturating_add_signed(by).min(rows.len().saturating_sub(1));
        if let Some((_, record)) = rows.get(place) {
            self.chosen = record.id;
        }
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: Key) -> Asks {
        self.message.clear();
        match std::mem::replace(&mut self.mode, Mode::List) {
            Mode::Confirm(name, _) if key == Key::Letter('y') => return Asks::Kill(name),
            Mode::Confirm(..) => self.message = "nothing was ended".to_owned(),
            Mode::Help => {}
            Mode::Filter => {
                self.mode = Mode::Filter;
                match key {
                    Key::Letter(letter) => self.filter.push(letter),
                    Key::Backspace => _ = self.filter.pop(),
                    Key::Escape => (self.mode, self.filter) = (Mode::List, String::new()),
                    Key::Enter => self.mode = Mode::List,
                    Key::Up | Key::Down => {}
                }
            }
            Mode::List => match key {
                Key::Letter('q') => return Asks::Leave,
                Key::Letter('j') | Key::Down => self.go(1),
                Key::Letter('k') | Key::Up => self.go(-1),
                Key::Letter('g') => self.go(isize::MIN),
                Key::Letter('G') => self.go(isize::MAX),
                Key::Letter('s') => self.sort = self.sort.next(),
                Key::Letter('/') => self.mode = Mode::Filter,
                Key::Letter('?') => self.mode = Mode::Help,
                Key::Letter('K') => {
                    let rows = self.rows();
                    let chosen = rows.get(self.place(&rows)).map(|(_, record)| record);
                    match chosen {
                        Some(record) => self.mode = Mode::Confirm(record.name.clone(), record.id),
                        None => self.message = "there is none to end".to_owned(),
                    }
                }
                Key::Escape => self.filter.clear(),
                _ => {}
            },
        }
        Asks::Nothing
    }

    /// The lines of a terminal of this size; the second says which of them is the chosen one.
    pub(super) fn lines(&mut self, width: usize, height: usize, now: u64) -> (Vec<String>, Option<usize>) {
        let width = width.max(1);
        let memory: u64 = self.records.iter().map(|(_, record)| record.memory).sum();
        let count = self.records.len();
        let domains = if count == 1 { "1 domain".to_owned() } else { format!("{count} domains") };
        let mut head = format!("beget top  {domains}, {}  by {}", units::short(memory), self.sort.name());
        if !self.filter.is_empty() {
            head = format!("{head}  /{}", self.filter);
        }
        let mut lines = vec![cut(&crate::plain(&head), width)];
        if self.mode == Mode::Help {
            lines.extend(HELP.iter().map(|line| cut(line, width)));
            lines.truncate(height.max(1));
            return (lines, None);
        }
        lines.push(cut(
            &row(
                ["NAME", "STATE", "AGE", "MEMORY", "CPU", "PID", "PROGRAM", "HOLDS"].map(str::to_owned),
                width,
            ),
            width,
        ));
        let room = height.saturating_sub(3).max(1);
        let rows = self.rows();
        let place = self.place(&rows);
        let first = self.top.min(place).max((place + 1).saturating_sub(room));
        let shown: Vec<String> = rows
            .iter()
            .skip(first)
            .take(room)
            .map(|(depth, record)| {
                let depth = if self.sort == Sort::Tree { *depth } else { 0 };
                cut(&row(cells(depth, record, self.share(record), now), width), width)
            })
            .collect();
        let marked = (!rows.is_empty()).then(|| lines.len() + place - first);
        self.top = first;
        lines.extend(shown);
        lines.resize(height.saturating_sub(1).max(1), String::new());
        let marked = marked.filter(|marked| *marked < lines.len());
        lines.push(cut(&crate::plain(&self.last_line()), width));
        (lines, marked)
    }

    fn last_line(&self) -> String {
        match &self.mode {
            Mode::Confirm(name, _) => {
                format!("end {name} and all that it left? y does, any other key goes back")
            }
            Mode::Filter => format!("/{}_", self.filter),
            _ if !self.message.is_empty() => self.message.clone(),
            _ => "q leave  jk move  s sort  / filter  K end  ? keys".to_owned(),
        }
    }
}

const HELP: &[&str] = &[
    "",
    "j k, arrows   move",
    "g G           to the first, to the last",
    "s             sort by the next column",
    "/             filter by name; Esc clears",
    "K             end the chosen domain",
    "q             leave",
    "",
    "any key goes back",
];

fn cells(depth: usize, record: &Record, share: u64, now: u64) -> [String; 8] {
    [
        format!("{:1$}{2}", "", depth.min(8) * 2, crate::plain(&record.name)),
        state_in_full(record),
        units::age(now.saturating_sub(record.started)),
        units::short(record.memory),
        format!("{}.{}%", share / 10, share % 10),
        record.pid.to_string(),
        crate::plain(&record.program),
        held(record),
    ]
}

/// A row: name, state, age and memory always; what else there is room for.
fn row([name, state, age, memory, processor, pid, program, holds]: [String; 8], width: usize) -> String {
    let named = if width < 60 { width.saturating_sub(24).clamp(8, 16) } else { 20 };
    let mut line = format!("{:<named$} {state:<8} {age:>6} {memory:>6}", cut(&name, named));
    if width >= 60 {
        line.push_str(&format!(" {processor:>6} {pid:>8}"));
    }
    if width >= 80 {
        line.push_str(&format!("  {:<20} {holds}", cut(&program, 20)));
    }
    line
}

#[cfg(test)]
mod tests {
    use beget_service::protocol::Life;

    use super::*;

    fn view(count: u64) -> View {
        let mut view = View::new();
        let record = |id: u64| Record {
            id,
            name: format!("domain-{id:02}"),
            life: Life::Running,
            memory: (100 - id) << 20,
            started: 1000 * id,
            pid: 7,
            program: "/bin/a\x1b[2Jprogram/with/a/long/path".to_owned(),
            ..Record::default()
        };
        view.take((1..=count).map(record).collect(), 100_000);
        view
    }

    #[test]
    fn every_size_is_kept_to() {
        for count in [0, 1, 50] {
            for width in [1, 10, 40, 60, 80, 200] {
                for height in [1, 2, 3, 10, 24] {
                    let mut view = view(count);
                    for key in "jjjj?xK".chars() {
                        view.press(Key::Letter(key));
                        let (lines, marked) = view.lines(width, height, 100_000);
                        assert!(lines.len() <= height.max(4), "{height}: {}", lines.len());
                        assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
                        assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:?}");
                        assert!(marked.is_none_or(|marked| marked < lines.len()));
                    }
                }
            }
        }
    }

    #[test]
    fn the_chosen_one_stays_chosen_when_rows_move() {
        let mut view = view(30);
        (0..20).for_each(|_| _ = view.press(Key::Down));
        let (lines, marked) = view.lines(80, 10, 0);
        assert!(lines[marked.unwrap()].starts_with("domain-21"), "{lines:?}");
        view.press(Key::Letter('s'));
        view.press(Key::Letter('s'));
        let (lines, marked) = view.lines(80, 10, 0);
        assert!(
            lines[0].contains("by memory") && lines[marked.unwrap()].starts_with("domain-21"),
            "{lines:?}"
        );
        view.take(Vec::new(), 100_000);
        assert_eq!(view.lines(80, 10, 0).1, None);
    }

    #[test]
    fn processor_time_is_of_the_last_look() {
        let record = |id, started, user_time, system_time| Record {
            id,
            name: format!("domain-{id}"),
            life: Life::Running,
            started,
            user_time,
            system_time,
            ..Record::default()
        };
        let mut view = View::new();
        view.take(vec![record(1, 0, 5_000_000, 0)], 10_000);
        assert!(view.lines(80, 10, 0).0[2].contains(" 50.0%"), "since it was started");
        // A quarter of a second of a second; and a new one that used all of its half.
        view.take(vec![record(1, 0, 5_200_000, 50_000), record(2, 10_500, 500_000, 0)], 11_000);
        let (lines, _) = view.lines(80, 10, 0);
        assert!(lines[2].contains(" 25.0%") && lines[3].contains("100.0%"), "{lines:?}");
        view.press(Key::Letter('s'));
        let (lines, _) = view.lines(80, 10, 0);
        assert!(lines[0].contains("by processor") && lines[2].starts_with("domain-2"), "{lines:?}");
    }

    #[test]
    fn nothing_is_ended_unconfirmed() {
        let mut view = view(3);
        view.press(Key::Down);
        assert_eq!(view.press(Key::Letter('K')), Asks::Nothing);
        assert!(view.lines(80, 10, 0).0.last().unwrap().starts_with("end domain-02"));
        assert_eq!(view.press(Key::Letter('K')), Asks::Nothing);
        view.press(Key::Letter('K'));
        assert_eq!(view.press(Key::Letter('y')), Asks::Kill("domain-02".to_owned()));
        assert_eq!(view.press(Key::Letter('y')), Asks::Nothing);
        assert_eq!(view.press(Key::Letter('q')), Asks::Leave);
    }

    #[test]
    fn a_filter_is_typed_and_cleared() {
        let mut view = view(30);
        for key in keys(b"/-2q\x7f\r") {
            assert_eq!(view.press(key), Asks::Nothing);
        }
        let (lines, _) = view.lines(80, 20, 0);
        assert!(lines[0].ends_with("/-2") && lines[2].starts_with("domain-20"), "{lines:?}");
        view.press(Key::Escape);
        assert!(view.lines(80, 20, 0).0[2].starts_with("domain-01"));
    }

    #[test]
    fn keys_of_terminals() {
        assert_eq!(keys(b"\x1b[A\x1b[B\x1bOA"), [Key::Up, Key::Down, Key::Up]);
        assert_eq!(keys(b"\x1b[5~j\x1b[1;5Ck"), [Key::Letter('j'), Key::Letter('k')]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys("é\r\x7f\x01".as_bytes()), [Key::Letter('é'), Key::Enter, Key::Backspace]);
    }
}

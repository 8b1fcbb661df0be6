//! What is known of a domain, for programs; and which domain stands below which.

use beget_service::protocol::{Life, Record};
use serde_json::{Value, json};

use crate::units;

/// How it is, in a word.
pub(crate) fn state(record: &Record) -> &'static str {
    match record.life {
        Life::Embryo => "embryo",
        Life::Running => "running",
        Life::Exited(_) => "exited",
        Life::Killed(_) => "killed",
        Life::Lost => "lost",
    }
}

/// All of it. Times are RFC 3339, sizes are bytes, processor times are seconds.
pub(crate) fn as_json(record: &Record) -> Value {
    let (code, signal) = match record.life {
        Life::Exited(code) => (Some(code), None),
        Life::Killed(signal) => (None, Some(signal)),
        _ => (None, None),
    };
    let moment = |at: u64| (at != 0).then(|| units::moment(at));
    let seconds = |time: u64| time as f64 / 1e6;
    json!({
        "id": record.id,
        "name": record.name,
        "program": record.program,
        "state": state(record),
        "pid": (record.pid != 0).then_some(record.pid),
        "parent": (record.parent != 0).then_some(record.parent),
        "user": record.user,
        "started": moment(record.started),
        "ended": moment(record.ended),
        "exit_code": code,
        "signal": signal,
        "memory": record.memory,
        "memory_peak": record.memory_peak,
        "user_time": seconds(record.user_time),
        "system_time": seconds(record.system_time),
        "capabilities": record.capabilities,
        "asks": record.asks,
        "report": record.report,
        "factory": record.keeper,
    })
}

/// Each domain after the one that created it, with how deep it stands: by name where they are of one depth. One whose creator is not
/// among them stands at the top.
pub(crate) fn by_parent(mut records: Vec<Record>) -> Vec<(usize, Record)> {
    records.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    let parents: std::collections::HashSet<u64> = records.iter().map(|record| record.id).collect();
    let mut below: std::collections::HashMap<u64, Vec<Record>> = std::collections::HashMap::new();
    let mut waiting = Vec::new();
    for record in records.into_iter().rev() {
        // A creator is older than what it creates: whoever says otherwise would make a circle.
        if record.parent < record.id && parents.contains(&record.parent) {
            below.entry(record.parent).or_default().push(record);
        } else {
            waiting.push((0, record));
        }
    }
    let mut sorted = Vec::new();
    while let Some((depth, record)) = waiting.pop() {
        let children = below.remove(&record.id).unwrap_or_default();
        waiting.extend(children.into_iter().map(|child| (depth + 1, child)));
        sorted.push((depth, record));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, name: &str, parent: u64) -> Record {
        Record { id, name: name.to_owned(), parent, ..Record::default() }
    }

    #[test]
    fn children_stand_below_their_creator() {
        let records = vec![
            record(5, "e", 2),
            record(1, "z", 0),
            record(2, "a", 0),
            record(4, "d", 2),
            record(6, "f", 5),
            record(7, "orphan", 3),
            record(8, "liar", 9),
            record(9, "liar too", 8),
        ];
        let sorted: Vec<(usize, String)> =
            by_parent(records).into_iter().map(|(depth, record)| (depth, record.name)).collect();
        let sorted: Vec<(usize, &str)> = sorted.iter().map(|(depth, name)| (*depth, name.as_str())).collect();
        let expected =
            [(0, "a"), (1, "d"), (1, "e"), (2, "f"), (0, "liar"), (1, "liar too"), (0, "orphan"), (0, "z")];
        assert_eq!(sorted, expected);
    }

    #[test]
    fn programs_find_what_they_look_for() {
        let living = as_json(&Record { life: Life::Running, pid: 7, ..record(1, "web", 0) });
        assert_eq!(living["state"], "running");
        assert_eq!(
            (&living["exit_code"], &living["signal"], &living["ended"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        let ended = as_json(&Record { life: Life::Killed(9), ended: 1000, ..record(1, "web", 0) });
        assert_eq!((&ended["signal"], &ended["ended"]), (&json!(9), &json!("1970-01-01T00:00:01.000Z")));
        for name in ["name", "state", "pid", "started", "exit_code", "signal", "memory_peak", "capabilities"]
        {
            assert!(ended.get(name).is_some(), "{name}");
        }
    }
}

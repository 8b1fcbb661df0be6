//! `beget show NAME`: what a domain holds, and what enforces that, as whoever created it said it.
//!
//! Safety idea: what is shown came from the creator of the domain, who may be somebody else: it is read as data of any shape, and printed
//! with nothing in it that a terminal obeys.

use beget_service::Domain;
use beget_service::protocol::{Record, right};
use serde_json::Value;

use super::record::as_json;
use super::tables::state_in_full;
use super::{Failure, failed, session};
use crate::options::{Options, Socket};
use crate::show::Table;
use crate::{FAILED, tell, units};

/// Shows the domain that is meant, if one is: the one of a capability; or the one of the name, if the service has it. A program is meant
/// where the word came after `--`, where flags said what it would hold, or where no domain has this name.
pub(crate) fn show_if_there(options: &Options) -> Option<Result<u8, Failure>> {
    let asked = &options.service;
    if let (Some(Socket::Held(slot)), None) = (&asked.socket, &options.spec.program) {
        let socket = Socket::held(slot).map_err(|message| (message, FAILED));
        let domain = socket.and_then(|socket| Domain::from_fd(socket).map_err(failed));
        return Some(domain.and_then(|domain| show(domain, options.json)));
    }
    let name = may_be_name(options)?;
    let opened = session(asked).and_then(|mut service| service.open(name).map_err(failed));
    match opened {
        Ok(domain) => Some(show(domain, options.json)),
        // Named by somebody who said which service: then it is no program.
        Err(failure) => asked.socket.is_some().then_some(Err(failure)),
    }
}

/// The word that may be the name of a domain.
pub(crate) fn may_be_name(options: &Options) -> Option<&str> {
    let name = options.spec.program.as_ref()?.to_str()?;
    let mut alone = beget_spec::Spec::default();
    alone.program.clone_from(&options.spec.program);
    (!options.apart && options.spec == alone && !name.contains('/')).then_some(name)
}

fn show(mut domain: Domain, json: bool) -> Result<u8, Failure> {
    let record = domain.status().map_err(failed)?;
    let text = String::from_utf8_lossy(&domain.holdings().map_err(failed)?).into_owned();
    // Whoever made it need not have said it as we would.
    let holdings = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if json {
        let mut value = as_json(&record);
        value["holds"] = holdings;
        value["rights"] = rights_in_words(domain.rights()).into();
        return tell(&format!("{value:#}\n"));
    }
    tell(&of_domain(&record, &holdings))
}

fn rights_in_words(rights: u32) -> Vec<&'static str> {
    let words =
        [(right::LOOK, "look"), (right::WAIT, "wait"), (right::SIGNAL, "signal"), (right::SEND, "send")];
    words.iter().filter(|(right, _)| rights & right != 0).map(|(_, word)| *word).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list<'a>(holdings: &'a Value, key: &str) -> &'a [Value] {
    holdings.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// As tables, for people.
pub(crate) fn of_domain(record: &Record, holdings: &Value) -> String {
    let mut table = Table::new();
    table.row("name", &record.name, "");
    table.row("state", state_in_full(record), &record.report);
    table.row("program", &record.program, "");
    if record.pid != 0 {
        table.row("process", record.pid.to_string(), "");
    }
    table.row("started", units::moment(record.started), "");
    if record.ended != 0 {
        table.row("ended", units::moment(record.ended), "");
    }
    table.row("memory", units::short(record.memory), format!("{} at most", units::short(record.memory_peak)));
    let seconds = |time: u64| format!("{}.{:02} s", time / 1_000_000, time / 10_000 % 100);
    table.row(
        "time",
        seconds(record.user_time),
        format!("and {} in the kernel", seconds(record.system_time)),
    );
    for ask in &record.asks {
        table.row("asks for", ask, "");
    }
    table.end_section("DOMAIN");
    if let Value::String(said) = holdings {
        for line in said.lines() {
            table.row(line, "", "");
        }
        table.end_section("HOLDS  as its creator said it");
        return table.finish();
    }
    for word in &record.capabilities {
        table.row(word, "", "");
    }
    table.end_section("HOLDS");
    for slot in list(holdings, "descriptors") {
        table.row(text(&slot["number"]), text(&slot["name"]), "");
    }
    table.end_section("DESCRIPTORS  every other number was closed");
    for file in list(holdings, "files") {
        let below = if file["below"] == Value::Bool(true) { "and all below" } else { "" };
        table.row(text(&file["path"]), text(&file["rights"]), below);
    }
    table.end_section("FILES  no other is opened, made, removed or executed");
    for place in list(holdings, "root") {
        table.row(text(&place["at"]), text(&place["what"]), "");
    }
    if !list(holdings, "root").is_empty() {
        table.end_section("ROOT  nothing else exists, and / is read-only");
    }
    for grant in list(holdings, "network") {
        table.row(text(grant), "", "");
    }
    table.end_section(if list(holdings, "network").is_empty() { "NETWORK  none" } else { "NETWORK" });
    for line in list(holdings, "enforced") {
        let by = match (&line["by"], &line["instead"]) {
            (Value::Null, Value::Null) => "NOT ENFORCED: given up".to_owned(),
            (Value::Null, instead) => format!("NOT ENFORCED: given up for a {}", text(instead)),
            (by, _) => text(by),
        };
        table.row(text(&line["promise"]), by, text(&line["what"]));
    }
    table.end_section("ENFORCED BY");
    for open in list(holdings, "stays_open") {
        table.row(text(open), "", "");
    }
    table.end_section("STAYS OPEN");
    table.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_a_creator_said_is_shown_and_not_obeyed() {
        let record = Record { name: "web".to_owned(), ..Record::default() };
        for holdings in
            [json!(null), json!([1]), json!({"files": 3, "enforced": [null, 7]}), json!("\x1b[2J")]
        {
            let text = of_domain(&record, &holdings);
            assert!(text.starts_with("DOMAIN\n") && !text.contains('\x1b'), "{text}");
        }
        let holdings = json!({"files": [{"path": "/srv", "rights": "read", "below": true}],
            "enforced": [{"promise": "files", "what": "no other file", "by": "Landlock"}]});
        let text = of_domain(&record, &holdings);
        assert!(text.contains("  /srv  read  and all below\n"), "{text}");
        assert!(text.contains("  files  Landlock  no other file\n"), "{text}");
    }
}

//! The answers for other programs.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Forgot, Got, Held, Look};
use super::compared::Compared;
use super::tracer::Calls;
use crate::measure::{Pairs, Summary};

fn got(got: &Got) -> Value {
    match got {
        Got::Yes => json!({ "has_b": true }),
        Got::No(why) => json!({ "has_b": false, "why": why }),
        Got::Unknown => json!({ "has_b": null }),
    }
}

fn held(one: &Held) -> Value {
    json!({ "descriptor": one.number, "what": one.what })
}

fn look(look: &Look) -> Value {
    let ways: Map<String, Value> =
        look.ways().iter().map(|(name, found)| ((*name).to_owned(), got(found))).collect();
    json!({
        "holds": look.held.iter().map(held).collect::<Vec<_>>(),
        "has_a": look.has_a(),
        "has_b": look.has_b(),
        "reaches_b": ways,
        "may_signal_p": match &look.signal {
            Got::Yes => json!(true),
            Got::No(_) => json!(false),
            Got::Unknown => Value::Null,
        },
    })
}

fn forgot(forgot: &Result<Forgot, String>) -> Value {
    match forgot {
        Err(why) => json!({ "unknown": why }),
        Ok(what) => {
            let seen = if let Forgot::FailsAtOnce(seen) = what { json!(seen) } else { Value::Null };
            json!({ "outcome": what.word(), "seen": seen })
        }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

fn calls(calls: &Result<Calls, String>) -> Value {
    match calls {
        Err(why) => json!({ "unknown": why }),
        Ok(calls) => json!({
            "all": calls.count(),
            "p": calls.parent.len(),
            "c": calls.newborn.len(),
            "others": calls.others.len(),
            "of_p": names(&calls.parent),
            "of_c": names(&calls.newborn),
            "of_others": names(&calls.others),
        }),
    }
}

/// Times in microseconds.
pub(super) fn times(times: &Summary) -> Value {
    let Summary { count, min, p10, p50, p90 } = times;
    json!({ "n": count, "min": min, "p10": p10, "p50": p50, "p90": p90 })
}

fn ratio(ratio: &Pairs) -> Value {
    json!({ "median": ratio.middle, "low": ratio.low, "high": ratio.high, "noisy": ratio.is_noisy(ratio.middle) })
}

fn answer(answer: &Answer) -> Value {
    let entry = answer.entry;
    let optional = |value: Option<Value>| value.unwrap_or(Value::Null);
    json!({
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind.word(),
        "absent": answer.absent,
        "steps": entry.steps,
        "forgotten_step": entry.forgotten,
        "forgotten": optional(answer.forgot.as_ref().map(forgot)),
        "c": optional(answer.look.as_ref().map(look)),
        "calls": optional(answer.calls.as_ref().map(calls)),
        "us": optional(answer.times.as_ref().map(times)),
        "to_vfork": optional(answer.ratio.as_ref().map(ratio)),
        "untimed": answer.untimed,
        "limits": entry.limits,
    })
}

/// Everything.
pub(super) fn json(compared: &Compared) -> Value {
    let machine: Map<String, Value> =
        compared.machine.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "what": "P holds A and B; C is to hold A",
        "command": compared.command,
        "machine": machine,
        "floor": {
            "name": "vfork, exit and wait",
            "us": compared.floor.as_ref().map_or(Value::Null, times),
        },
        "ways": compared.answers.iter().map(answer).collect::<Vec<_>>(),
        "verdict": compared.verdict(),
        "ours_leaked": compared.answers.iter().any(Answer::is_breach),
    })
}

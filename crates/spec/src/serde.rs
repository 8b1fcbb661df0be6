//! A [`Spec`] inside another file, of whatever format: `Deserialize`, written by hand over the table of keys, without a derive.
//!
//! It has no folder and no variables: its paths are absolute, and `extends` names shipped profiles that want none. A host that has
//! variables reads the text itself, with [`Spec::parse`].

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::node::{Entry, Node, Value};
use crate::{Spec, Variables};

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spec, D::Error> {
        let Any(node) = Any::deserialize(deserializer)?;
        let Value::Table(entries) = node.value else {
            return Err(D::Error::custom(format_args!("a spec is a table, not {}", node.value.kind())));
        };
        Spec::of_entries(entries, &Variables::new()).map_err(|error| D::Error::custom(error.words()))
    }
}

/// Any value, without a place.
struct Any(Node);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
        deserializer.deserialize_any(AnyVisitor).map(|value| Any(Node { at: 0..0, value }))
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, true or false, a list or a table")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other("a fraction"))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other("nothing"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Any(node)) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((name, Any(node))) = map.next_entry::<String, Any>()? {
            if entries.iter().any(|entry| entry.name == name) {
                return Err(A::Error::custom(format_args!("duplicate key {name:?}")));
            }
            entries.push(Entry { name, at: 0..0, node });
        }
        Ok(Value::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beget::Grant;

    #[test]
    fn a_spec_lies_in_another_format() {
        let spec: Spec = serde_json::from_str(
            r#"{"base": true, "read": ["/srv"], "env": {"A": "1"}, "limits": {"memory": "5M", "timeout": 3}, "tcp-connect": [443]}"#,
        )
        .expect("it is right");
        assert_eq!(spec.grants, [Grant::Base, Grant::Read("/srv".into()), Grant::TcpConnect(443)]);
        assert_eq!(spec.timeout, Some(std::time::Duration::from_secs(3)));
        assert_eq!(
            spec,
            Spec::parse(
                "text",
                "base = true\nread = ['/srv']\nenv = { A = '1' }\ntcp-connect = [443]\n[limits]\n\
                                              memory = '5M'\ntimeout = 3\n",
                &Variables::new()
            )
            .expect("the same")
        );
    }

    #[test]
    fn what_is_wrong_is_told_without_a_place() {
        for (text, words) in [
            (r#"{"raed": []}"#, "unknown key \"raed\"; did you mean \"read\"?"),
            (r#"{"read": ["relative"]}"#, "wants an absolute path, for it has no folder"),
            (r#"{"read": ["${A}"]}"#, "variable A is not set"),
            (r#"{"base": null}"#, "\"base\" wants true or false, not nothing"),
            (r#"{"limits": {"cpus": 1.5}}"#, "\"cpus\" wants a whole number, not a fraction"),
            (r#"{"extends": ["x"]}"#, "no profile \"x\""),
            (r#"{"base": true, "base": true}"#, "duplicate key \"base\""),
            ("[]", "a spec is a table, not a list"),
        ] {
            let error = serde_json::from_str::<Spec>(text).expect_err(text).to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}

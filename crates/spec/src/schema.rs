//! The JSON schema of a spec, written from the table of keys; editors use it. It is kept in `beget-spec.schema.json`, and the test
//! here fails when that is not what the table says.

use serde_json::{Map, Value, json};

use crate::keys::{KEYS, Key, Kind, Least};
use crate::node::{self, Entry};
use crate::{Variables, shipped};

fn schema() -> Value {
    let mut schema = object(KEYS);
    let inside: Vec<&Key> = KEYS.iter().filter(|key| !matches!(key.kind, Kind::Profiles)).collect();
    let words = |key: &str, value: &str| (key.to_owned(), Value::from(value));
    let head = Map::from_iter([
        words("$schema", "https://json-schema.org/draft/2020-12/schema"),
        words("title", "A spec of Beget: what a child is to hold"),
        words(
            "description",
            "Read by beget run --spec. ${NAME} is a variable, given by --set NAME=VALUE; $$ is one $.",
        ),
    ]);
    if let Value::Object(map) = &mut schema {
        map.extend(head);
        map.insert("$defs".into(), json!({"profile": object_of(&inside)}));
    }
    schema
}

fn object(keys: &[Key]) -> Value {
    object_of(&keys.iter().collect::<Vec<_>>())
}

fn object_of(keys: &[&Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn property(key: &Key) -> Value {
    let text = json!({"type": "string"});
    let list = |items: Value| json!({"type": "array", "items": items});
    let table = |values: Value| json!({"type": "object", "additionalProperties": values});
    let mut value = match &key.kind {
        Kind::Text(_) | Kind::Program => text,
        Kind::Path(_) => json!({"type": "string", "minLength": 1}),
        Kind::Texts(_) | Kind::Extends => list(text),
        Kind::Pass => list(json!({"type": "string", "pattern": "^[^=]+$"})),
        Kind::Grants(_) => list(entry(&["path", "at"], &json!({"type": "string", "minLength": 1}))),
        Kind::Scratch => list(entry(&["path", "at", "keep"], &json!({"type": "string", "minLength": 1}))),
        Kind::Memory => {
            let mut entry = entry(&["at", "size"], &json!({"type": "string", "pattern": "^/"}));
            entry["anyOf"][1]["properties"]["size"] = size();
            list(entry)
        }
        Kind::Places(_) => list(json!({"type": "string", "pattern": "^/"})),
        Kind::Placed(_) => {
            json!({"type": "object", "propertyNames": {"pattern": "^/"}, "additionalProperties": text})
        }
        Kind::Root(keys) => json!({"anyOf": [{"type": "boolean"}, object(keys)]}),
        Kind::Ports(_) => list(json!({"type": "integer", "minimum": 0, "maximum": u16::MAX})),
        Kind::Grant(_) | Kind::Bool(_) => json!({"type": "boolean"}),
        Kind::Environment => table(text),
        Kind::Descriptors => {
            let whole = json!({
                "type": "object",
                "properties": {"path": {"type": "string", "minLength": 1}, "write": {"type": "boolean"}},
                "required": ["path"],
                "additionalProperties": false,
            });
            table(json!({"anyOf": [{"type": "string", "minLength": 1}, whole]}))
        }
        Kind::Size(_) => size(),
        Kind::Duration(least, _) => json!({"anyOf": [
            {"type": "integer", "minimum": u8::from(*least == Least::Some)},
            {"type": "string", "pattern": "^[0-9.]+(ms|s|m|h|d)?$"},
        ]}),
        Kind::Count(most, _) => json!({"type": "integer", "minimum": 0, "maximum": most}),
        Kind::Word(words, _) => json!({"enum": words()}),
        Kind::Words(words, _) => list(json!({"enum": words()})),
        Kind::Table(keys) => object(keys),
        Kind::Profiles => table(json!({"$ref": "#/$defs/profile"})),
    };
    if let Value::Object(map) = &mut value {
        map.insert("description".into(), key.help.into());
    }
    value
}

fn size() -> Value {
    json!({"anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": "^[0-9]+ *([KkMGT](iB|B)?|B|iB)?$"},
    ]})
}

/// Text, or a table with these keys, of which the first must be there.
fn entry(names: &[&str], value: &Value) -> Value {
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
    let table = json!({
        "type": "object",
        "properties": properties,
        "required": [names[0]],
        "additionalProperties": false,
    });
    json!({"anyOf": [value, table]})
}

/// As it is kept; the tests also run where the sources cannot be read.
const KEPT: &str = include_str!("../beget-spec.schema.json");

#[test]
fn the_schema_is_what_the_table_of_keys_says() {
    let now = format!("{:#}\n", schema());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/beget-spec.schema.json");
        return std::fs::write(path, &now).expect("the repository can be written");
    }
    assert!(KEPT == now, "the schema is old; WRITE_SCHEMA=1 cargo test -p beget-spec schema writes it anew");
}

/// The keywords that our schema has, and no others.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return false };
    rules.iter().all(|(keyword, rule)| match (keyword.as_str(), value) {
        ("$schema" | "$defs" | "title" | "description", _) => true,
        ("$ref", _) => accepts(root, &root["$defs"]["profile"], value),
        ("anyOf", _) => rule.as_array().is_some_and(|any| any.iter().any(|one| accepts(root, one, value))),
        ("enum", _) => rule.as_array().is_some_and(|words| words.contains(value)),
        ("type", Value::String(_)) => rule == "string",
        ("type", Value::Number(_)) => rule == "integer",
        ("type", Value::Bool(_)) => rule == "boolean",
        ("type", Value::Array(_)) => rule == "array",
        ("type", Value::Object(_)) => rule == "object",
        ("minLength", Value::String(text)) => !text.is_empty(),
        // Patterns are for editors; what is read is tested where it is read.
        ("pattern" | "propertyNames", _) => true,
        ("minimum", Value::Number(number)) => number.as_i64() >= rule.as_i64(),
        ("maximum", Value::Number(number)) => number.as_u64() <= rule.as_u64(),
        ("items", Value::Array(items)) => items.iter().all(|item| accepts(root, rule, item)),
        ("required", Value::Object(map)) => rule
            .as_array()
            .is_some_and(|names| names.iter().all(|name| map.contains_key(name.as_str().unwrap_or("")))),
        ("properties", Value::Object(map)) => {
            map.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| accepts(root, rule, value)))
        }
        ("additionalProperties", Value::Object(map)) => map.iter().all(|(name, value)| {
            let known = rules.get("properties").is_some_and(|known| known.get(name).is_some());
            known || rule != &Value::Bool(false) && accepts(root, rule, value)
        }),
        _ => false,
    })
}

fn as_json(entries: &[Entry]) -> Value {
    fn one(value: &node::Value) -> Value {
        match value {
            node::Value::Text(text) => json!(text),
            node::Value::Integer(number) => json!(*number as i64),
            node::Value::Bool(truth) => json!(truth),
            node::Value::List(list) => list.iter().map(|node| one(&node.value)).collect(),
            node::Value::Table(entries) => as_json(entries),
            node::Value::Other(_) => Value::Null,
        }
    }
    entries.iter().map(|entry| (entry.name.clone(), one(&entry.node.value))).collect()
}

/// Whether the schema takes this text, and whether the reader does.
fn both(text: &str) -> (bool, bool) {
    let file = crate::file::File { name: "text".into(), folder: Some("".into()), text: text.to_owned() };
    let entries = node::parse(&file).expect("it is TOML");
    let schema = schema();
    let mut variables = Variables::new();
    for name in ["PROJECT", "CARGO_HOME", "RUSTUP_HOME"] {
        variables.set(name, "/x").expect("a name");
    }
    let folder = std::env::temp_dir().join(format!("beget-schema-{}.toml", std::process::id()));
    std::fs::write(&folder, text).expect("the temporary folder can be written");
    let read = crate::Spec::read(&folder, None, &variables).is_ok();
    let _ = std::fs::remove_file(&folder);
    (accepts(&schema, &schema, &as_json(&entries)), read)
}

#[test]
fn schema_and_reader_agree() {
    for name in shipped::NAMES {
        assert_eq!(both(shipped::text(name).unwrap_or("")), (true, true), "{name}");
    }
    for right in [
        "",
        "base = true\nread = ['a']\n[limits]\nmemory = '5M'\ntimeout = 3\ngrace = 0\n",
        "fd = { a = 'x', b = { path = 'x', write = true } }\nenv = { A = '' }\nloader = 'direct'\ndegrade = ['signals']\n",
        "base = true\n[profile.x]\nread = []\n",
        "root = true\nread = ['a', { path = 'b', at = '/c' }]\nunix = ['/s']\nloopback = true\n",
        "[root]\nscratch = ['a', { path = 'b', at = '/c', keep = 'd' }]\ntmpfs = ['/x', { at = '/y', size = 5 }]\ntmp = '5M'\n\
         file = { '/f' = 'x' }\nsymlink = { '/l' = 'x' }\ndir = ['/d']\nhostname = 'h'\nuid = 1\ngid = 2\n",
    ] {
        assert_eq!(both(right), (true, true), "{right}");
    }
    for wrong in [
        "raed = []",
        "read = 'a'",
        "read = [1]",
        "base = 1",
        "tcp-bind = [65536]",
        "loader = 'x'",
        "degrade = ['x']",
        "limits = 3",
        "[limits]\nmemroy = 3",
        "[limits]\ncpus = -1",
        "[limits]\ntimeout = 0",
        "fd = { a = {} }",
        "fd = { a = { path = 'x', wirte = true } }",
        "env = { A = 1 }",
        "[profile.x]\nraed = []",
        "[profile.x.profile]\n",
        "profile = 3",
        "cwd = ''",
        "root = 3",
        "[root]\nscratch = [{ at = '/x' }]",
        "[root]\nscracth = []",
        "[root]\ntmpfs = [{ at = '/x', path = '/y' }]",
        "read = [{ path = 'x', to = '/y' }]",
    ] {
        assert_eq!(both(wrong), (false, false), "{wrong}");
    }
}

/// Of a manifest: a domain is what a profile is, and has the keys of a domain too.
fn manifest_schema() -> Value {
    let schema = schema();
    let mut domain = schema["$defs"]["profile"].clone();
    for (name, help) in crate::manifest::DOMAIN_KEYS {
        let path = json!({"type": "string", "minLength": 1});
        let mut value = match *name {
            "needs" => json!({"type": "array", "items": {"type": "string"}}),
            "restart" => json!({"enum": ["never", "on-failure", "always"]}),
            "backoff" => property(&Key { name, help, kind: Kind::Duration(Least::None, |_, _| ()) }),
            "restarts" => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            "spawner" => json!({"type": "boolean"}),
            "capability" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            _ => path,
        };
        value["description"] = (*help).into();
        domain["properties"][*name] = value;
    }
    json!({
        "$schema": schema["$schema"],
        "title": "A manifest of Beget: domains that a service starts",
        "description": "Read by beget serve --manifest, in order of what the domains need of each other.",
        "type": "object",
        "properties": {
            "domain": {"type": "object", "additionalProperties": domain},
            "profile": schema["properties"]["profile"],
        },
        "required": ["domain"],
        "additionalProperties": false,
        "$defs": schema["$defs"],
    })
}

const MANIFEST_KEPT: &str = include_str!("../beget-manifest.schema.json");

#[test]
fn the_schema_of_a_manifest_is_what_the_tables_of_keys_say() {
    let now = format!("{:#}\n", manifest_schema());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/beget-manifest.schema.json");
        return std::fs::write(path, &now).expect("the repository can be written");
    }
    assert!(
        MANIFEST_KEPT == now,
        "the schema is old; WRITE_SCHEMA=1 cargo test -p beget-spec schema writes it anew"
    );
}

#[test]
fn the_schema_of_a_manifest_and_its_reader_agree() {
    let path = std::env::temp_dir().join(format!("beget-manifest-{}.toml", std::process::id()));
    let both = |text: &str| {
        let file = crate::file::File { name: "text".into(), folder: Some("".into()), text: text.to_owned() };
        let schema = manifest_schema();
        std::fs::write(&path, text).expect("the temporary folder can be written");
        let read = crate::Manifest::read(&path).is_ok();
        let _ = std::fs::remove_file(&path);
        (accepts(&schema, &schema, &as_json(&node::parse(&file).expect("it is TOML"))), read)
    };
    let domain = "[domain.a]\nprogram = 'x'\n";
    for (text, right) in [
        ("", false),
        ("[profile.p]\nprogram = 'x'\n[domain.a]\nextends = ['p']", true),
        (domain, true),
        ("base = true\n[domain.a]\nprogram = 'x'", false),
        ("[profile.p]\nbase = true\n[domain.a]\nextends = ['p']\nprogram = 'x'\nspawn = true", true),
    ] {
        assert_eq!(both(text), (right, right), "{text}");
    }
    for (key, right) in [
        ("needs = []", true),
        ("needs = 'b'", false),
        ("restart = 'always'", true),
        ("restart = 'maybe'", false),
        ("backoff = '5s'", true),
        ("backoff = 0", true),
        ("backoff = -1", false),
        ("restarts = 3", true),
        ("restarts = -3", false),
        ("stdout = 'log'", true),
        ("stderr = 3", false),
        ("spawner = true", true),
        ("spawner = 'yes'", false),
        ("capability = {}", true),
        ("capability = ['a']", false),
        ("raed = ['x']", false),
        ("profile = {}", false),
    ] {
        let text = format!("{domain}{key}");
        assert_eq!(both(&text), (right, right), "{text}");
    }
}

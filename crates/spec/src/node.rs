//! What a file says, before it means anything: text, numbers, lists and tables, each with its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Result;
use crate::file::File;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Range<usize>,
    pub(crate) value: Value,
}

/// A key of a table, and what it is set to.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) at: Range<usize>,
    pub(crate) node: Node,
}

#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    Bool(bool),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
    /// What no key takes: a fraction, a date.
    Other(&'static str),
}

impl Value {
    /// What it is, in a sentence about what was wanted instead.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Reads TOML.
///
/// # Errors
/// The first place that is none.
pub(crate) fn parse(file: &File) -> Result<Vec<Entry>> {
    let table = DeTable::parse(&file.text).map_err(|error| {
        let end = file.text.len();
        file.error(error.span().unwrap_or(end..end), error.message())
    })?;
    Ok(entries(table.into_inner()))
}

fn entries(table: DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (Spanned<_>, _)| {
        let at = key.span();
        Entry { name: std::borrow::Cow::into_owned(key.into_inner()), at, node: node(value) }
    };
    let mut entries: Vec<Entry> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.at.start);
    entries
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let at = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("so large a number"),
        },
        DeValue::Boolean(truth) => Value::Bool(truth),
        DeValue::Array(list) => Value::List(list.into_iter().map(node).collect()),
        DeValue::Table(table) => Value::Table(entries(table)),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { at, value }
}

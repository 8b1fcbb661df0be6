//! `beget compare`: what it tells of C is held against a probe that is no part of it, and its outputs against each other.

mod outputs;
mod probed;
mod refused;
mod traces;

use std::sync::OnceLock;

use beget_tests::{Scratch, beget, finish, text};
use serde_json::Value;

/// A whole comparison, as it was told in each way.
struct Told {
    table: String,
    page: String,
    json: Value,
}

/// All ways compared once, for all tests.
fn told() -> &'static Told {
    static TOLD: OnceLock<Told> = OnceLock::new();
    TOLD.get_or_init(|| {
        let scratch = Scratch::new();
        let (json, page) = (scratch.at("json"), scratch.at("page"));
        let output = finish(beget().args(["compare", "--quick", "--json", &json, "--html", &page]));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let read = |path: &str| std::fs::read_to_string(path).expect("it was written");
        let json = serde_json::from_str(&read(&json)).expect("JSON");
        Told { table: text(&output.stdout), page: read(&page), json }
    })
}

/// What is told of one way.
fn way(name: &str) -> &'static Value {
    let all = told().json["ways"].as_array().expect("a list");
    all.iter().find(|way| way["name"] == name).unwrap_or_else(|| panic!("no way {name}"))
}

/// The ways that are Beget's.
fn ours() -> impl Iterator<Item = &'static Value> {
    let all = told().json["ways"].as_array().expect("a list");
    all.iter().filter(|way| way["kind"] == "ours")
}

//! Whatever face a report is shown with, it is the same report.

use super::*;
use crate::measure::{Pairs, Series};

fn series(name: &str, from: f64) -> Series {
    let wall: Vec<f64> = (0..100).map(|at| from + f64::from(at % 7) * 0.01).collect();
    Series { name: name.to_owned(), measures: vec![wall.clone(), wall], skipped: None }
}

fn report(ours: f64) -> Report {
    let (base, other) = (series("posix_spawn", 100.0), series("beget", ours));
    let mut table = Table::new("Spawn, us", &[&["way"], &Table::TIMES[..], &["× posix_spawn"]].concat());
    table.timed("posix_spawn", &base, vec![Cell::Words("1".to_owned())]);
    table.timed("beget | <b>", &other, vec![Cell::ratio(Pairs::ratio(other.measure(0), base.measure(0)))]);
    table.timed(
        "gone",
        &Series { measures: Vec::new(), skipped: Some("no".to_owned()), ..base.clone() },
        Vec::new(),
    );
    let measured = Pairs::ratio(other.measure(0), base.measure(0));
    let goal = Goal {
        what: "spawn, confined, reused, tiny".to_owned(),
        reach: "≤ 1.05 × posix_spawn".to_owned(),
        measured,
        by_minima: None,
        most: 1.05,
        size: None,
    };
    let none = Goal { what: "another".to_owned(), measured: None, ..goal.clone() };
    let mut report = Report {
        machine: vec![("kernel".into(), "Linux".into())],
        tables: vec![table],
        goals: vec![goal, none],
    };
    report.of_subject("spawn");
    report
}

fn results(ours: f64) -> Results {
    report(ours).results().expect("it is whole")
}

/// What was written is read as the same: each face comes out as before.
#[test]
fn what_is_written_is_read() {
    let one = results(90.0);
    let text = format!("{:#}", one.json());
    let again = Results::parse(&text).expect("it was written so");
    assert_eq!(again.markdown(), one.markdown());
    assert_eq!(again.text(), one.text());
    assert_eq!(
        again.page(crate::subjects::about(), None).html(),
        one.page(crate::subjects::about(), None).html()
    );
    assert_eq!(format!("{:#}", again.json()), text);
}

#[test]
fn what_is_something_else_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        "{}",
        "{\"form\": 2}",
        "{\"form\": 1}",
        "{\"form\": 1, \"machine\": [], \"tables\": [1], \"goals\": []}",
    ] {
        assert!(Results::parse(text).is_err(), "{text}");
    }
    let mut json = results(90.0).json().clone();
    json["tables"][0]["rows"][0]["cells"][1] = serde_json::json!({"value": 1.0, "digits": 4_000_000_000_u64});
    assert!(Results::read(json).is_err());
}

/// Every number of the JSON's cells stands in the page as it is told.
#[test]
fn the_page_has_every_figure() {
    let one = results(90.0);
    let html = one.page(crate::subjects::about(), None).html();
    let html = html.replace("<span class=\"range\">", "").replace("</span>", "");
    for table in one.everything() {
        for (_, cells) in &table.rows {
            for cell in cells {
                assert!(html.contains(&format!(">{}<", page::escaped(&cell.text()))), "{cell:?}");
            }
        }
    }
    assert!(html.contains("beget | &lt;b&gt;"));
}

#[test]
fn two_runs_differ_or_do_not() {
    let (old, same, slow) = (results(90.0), results(90.0), results(99.0));
    let told = same.against(&old).aligned();
    assert!(told.contains("figures in both runs: 3; different by more than their ranges: 0;"), "{told}");
    let told = slow.against(&old).aligned();
    assert!(
        told.contains("figures in both runs: 3; different by more than their ranges: 2;")
            && told.contains("more"),
        "{told}"
    );
    let with = slow.clone().with_against(&slow.against(&old));
    assert_eq!(with.json()["against"]["rows"].as_array().map(Vec::len), Some(3));
    assert_eq!(with.markdown(), slow.markdown());
}

/// A machine that is slower for all of them is told from one way that is slower: that one shows, however little the machine changed.
#[test]
fn a_slower_machine_is_no_slower_way() {
    let run = |times: [f64; 5]| {
        let mut table = Table::new("Spawn, us", &[&["way"], &Table::TIMES[..]].concat());
        for (at, time) in times.into_iter().enumerate() {
            table.timed(&format!("way {at}"), &series("", time), Vec::new());
        }
        let report = Report { machine: Vec::new(), tables: vec![table], goals: Vec::new() };
        report.results().expect("it is whole")
    };
    let times = [100.0, 110.0, 120.0, 130.0, 140.0];
    let (old, slower) = (run(times), run(times.map(|time| time * 1.25)));
    let told = slower.against(&old).aligned();
    assert!(told.contains("figures in both runs: 5; different by more than their ranges: 0;"), "{told}");
    assert!(told.contains("as most of their tables do: 5, by × 1.25 to 1.25"), "{told}");
    for machine in [1.0, 1.25] {
        let mut times = times.map(|time| time * machine);
        times[3] *= 1.5;
        let told = run(times).against(&old).aligned();
        assert!(
            told.contains("figures in both runs: 5; different by more than their ranges: 1;")
                && told.contains("more"),
            "{told}"
        );
    }
    // Too few to know.
    let few = |ours| results(ours).against(&results(90.0)).aligned();
    assert!(few(99.0).contains("ranges: 2;"));
}

#[test]
fn documents_have_their_places_filled() {
    let one = results(90.0);
    let text = "a <!-- bench:goals -->old<!-- /bench --> b\n<!-- bench:costs -->\nold\n<!-- /bench -->\nc";
    let filled = readme::fill(text, &one).expect("there are such figures");
    assert!(filled.starts_with("a <!-- bench:goals -->Of 2 figures"), "{filled}");
    assert!(filled.contains("<!-- bench:costs -->\n| what") && filled.contains("+ 0.90 us"), "{filled}");
    assert!(filled.contains("|\n<!-- /bench -->\nc"), "{filled}");
    assert_eq!(readme::fill(&filled, &one).as_deref(), Ok(filled.as_str()));
    for wrong in ["<!-- bench:goals -->", "<!-- bench:nothing --><!-- /bench -->", "<!-- bench:"] {
        assert!(readme::fill(wrong, &one).is_err(), "{wrong}");
    }
}

//! The table, the page and the JSON say the same.

use beget_tests::{Need, skip};
use serde_json::Value;

use super::{told, way};

/// What the table and the page say of a time, from the numbers of the JSON.
fn ranged(us: &Value) -> String {
    let [middle, low, high] = ["p50", "p10", "p90"].map(|name| us[name].as_f64().unwrap());
    let (unit, scale) = if middle < 10_000.0 { ("us", 1.0) } else { ("ms", 1e3) };
    let short = |us: f64| {
        if us / scale < 100.0 { format!("{:.1}", us / scale) } else { format!("{:.0}", us / scale) }
    };
    format!("{} {unit} ({}-{})", short(middle), short(low), short(high))
}

/// Every way, and for those that can be had their title, their counts and their time.
fn figures() -> Vec<(String, Vec<String>)> {
    let all = told().json["ways"].as_array().unwrap();
    let here = all.iter().filter(|way| way["absent"].is_null());
    here.map(|way| {
        let counts = ["p", "c", "others"].map(|name| way["calls"][name].to_string());
        let times = ranged(&way["us"]);
        (way["title"].as_str().unwrap().to_owned(), counts.into_iter().chain([times]).collect())
    })
    .collect()
}

#[test]
fn the_table_fits_and_has_every_way() {
    let table = &told().table;
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!table.contains('\x1b'), "colour where there is no terminal");
    for way in told().json["ways"].as_array().unwrap() {
        let title = way["title"].as_str().unwrap();
        assert!(table.lines().any(|line| line == title), "{title}");
        for limit in way["limits"].as_array().unwrap().iter().filter(|_| way["absent"].is_null()) {
            let first = limit.as_str().unwrap().split(' ').next().unwrap();
            assert!(table.contains(first), "{title}: {limit}");
        }
    }
    for (title, figures) in figures() {
        let row = table.lines().rfind(|line| line.starts_with(&title)).unwrap();
        let mut rest = &row[title.len()..];
        for figure in figures {
            let at = rest.find(&figure).unwrap_or_else(|| panic!("{row}: {figure}"));
            rest = &rest[at + figure.len()..];
        }
    }
}

#[test]
fn the_page_has_each_figure_and_needs_nothing_else() {
    let page = told().page.replace("<span class=\"range\">", "").replace("</span>", "");
    for (title, figures) in figures() {
        let escaped = title.replace('\'', "&#39;");
        let row = page.split("<tr").find(|row| row.contains(&format!(">{escaped}<")));
        let row = row.unwrap_or_else(|| panic!("{title} has no row"));
        for figure in figures {
            assert!(row.contains(&figure), "{title}: {figure} is not in {row}");
        }
    }
    assert!(page.contains(&ranged(&told().json["floor"]["us"])));
    assert!(page.matches("<svg").count() >= 2, "it has plots");
    for elsewhere in ["src=", "<link", "<script", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let links = page.split("href=\"").skip(1).filter(|link| !link.starts_with('#'));
    assert_eq!(links.count(), 0, "every link is to the page itself");
}

/// The rows of README's first screen are what is told here of those ways.
#[test]
fn readme_says_what_is_seen() {
    const ROWS: [(&str, &str); 5] = [
        ("fork and exec, done right", "fork"),
        ("fork and exec, with one close forgotten", "fork-forgotten"),
        ("`posix_spawn`, done right", "posix_spawn"),
        ("Beget, confined", "confined"),
        ("Beget, a copy from a pool", "pooled"),
    ];
    let Ok(readme) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")) else {
        return skip("outputs::readme_says_what_is_seen", Need::Machine("to read the sources"));
    };
    let place = readme.split_once("<!-- compare -->").unwrap().1.split_once("<!-- /compare -->").unwrap().0;
    let rows: Vec<&str> = place.trim().lines().skip(2).collect();
    let told: Vec<String> = ROWS
        .iter()
        .map(|(title, name)| {
            let way = way(name);
            let holds = way["c"]["holds"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap());
            let holds: Vec<&str> = holds.filter(|what| ["A", "B"].contains(what)).collect();
            let reached = |ways: &[&str]| {
                let has = |name: &&str| way["c"]["reaches_b"][*name]["has_b"] == true;
                if ways.iter().any(has) { "yes" } else { "no" }
            };
            let reaches = [&["path"][..], &["proc"], &["getfd", "memory", "trace"]].map(reached);
            let forgotten = match way["forgotten"]["outcome"].as_str().unwrap() {
                "B leaks, silently" => "a silent leak",
                other => other,
            };
            format!("| {title} | {} | {} | {forgotten} |", holds.join(" and "), reaches.join(", "))
        })
        .collect();
    assert_eq!(rows, told);
}

/// The order is the same everywhere, and what was timed has as many rounds as every other.
#[test]
fn the_json_has_what_was_measured() {
    let json = &told().json;
    for name in ["kernel", "processor", "run as", "load before / after"] {
        assert!(json["machine"][name].is_string(), "{name}");
    }
    for way in json["ways"].as_array().unwrap().iter().filter(|way| way["absent"].is_null()) {
        assert!(way["us"]["n"].as_u64().unwrap() >= 3, "{way}");
        let [min, p10, p50, p90] = ["min", "p10", "p50", "p90"].map(|name| way["us"][name].as_f64().unwrap());
        assert!(0.0 < min && min <= p10 && p10 <= p50 && p50 <= p90, "{way}");
        assert!(
            !way["steps"].as_array().unwrap().is_empty() && !way["limits"].as_array().unwrap().is_empty()
        );
    }
}

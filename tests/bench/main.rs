//! `beget bench`: what it writes has every figure, in each of its forms; an earlier run is told beside this one; what is slowed down shows.

use std::path::Path;
use std::process::Output;

use beget_tests::{Scratch, beget, finish, text};
use serde_json::Value;

/// The shortest run that measures something: a way that needs no program and no compiler is in it.
const SHORT: [&str; 4] = ["bench", "--quick", "--only", "floors"];
const WAY: &str = "vfork + _exit + wait";

fn ran(words: &[&str]) -> Output {
    finish(beget().args(words).stdin(std::process::Stdio::null()))
}

fn measured(words: &[&str]) -> Output {
    let output = ran(&[&SHORT[..], words].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    output
}

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).expect("it is JSON")
}

/// The cells of a row in the first table, by column.
fn row<'a>(results: &'a Value, name: &str) -> Vec<(&'a str, &'a Value)> {
    let table = &results["tables"][0];
    let columns = table["columns"].as_array().expect("columns").iter().skip(1);
    let rows = table["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {table}"));
    let cells = row["cells"].as_array().expect("cells");
    columns.map(|column| column.as_str().expect("a name")).zip(cells).collect()
}

fn cell<'a>(results: &'a Value, name: &str, column: &str) -> &'a Value {
    row(results, name).into_iter().find(|(name, _)| *name == column).expect("a column").1
}

/// Each number of a cell, as it is written for people.
fn written(cell: &Value) -> Vec<String> {
    let digits = cell["digits"].as_u64().unwrap_or(0) as usize;
    let number = |name: &str| cell[name].as_f64().map(|number| format!("{number:.digits$}"));
    let names: &[&str] =
        if cell["noisy"] == true { &["low", "high"] } else { &["value", "median", "low", "high"] };
    let count = cell.as_u64().map(|count| count.to_string());
    names
        .iter()
        .filter_map(|name| number(name))
        .chain(count)
        .chain(cell.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn results_have_their_fields_and_the_page_every_figure() {
    let scratch = Scratch::new();
    let (json, html) = (scratch.at("now.json"), scratch.at("now.html"));
    let output = measured(&["--json", &json, "--html", &html]);
    let results = read(&json);
    let machine = results["machine"].as_array().expect("lines");
    for name in [
        "kernel",
        "processor",
        "CPUID",
        "mitigations",
        "peers",
        "load before / after",
        "others' share",
        "run",
    ] {
        let line = machine.iter().find(|line| line["name"] == name);
        assert!(
            line.is_some_and(|line| line["value"].as_str().is_some_and(|value| !value.is_empty())),
            "{name}"
        );
    }
    let median = cell(&results, WAY, "median");
    let [low, middle, high] = ["low", "median", "high"].map(|name| median[name].as_f64().expect("a number"));
    assert!(0.0 < low && low <= middle && middle <= high, "{median}");
    assert!(median["noisy"].is_boolean());

    // Who reads the terminal, and who reads the page, has the same.
    let (told, page) = (text(&output.stdout), std::fs::read_to_string(&html).unwrap());
    let rows = results["tables"][0]["rows"].as_array().expect("rows");
    for cell in rows.iter().flat_map(|row| row["cells"].as_array().expect("cells")) {
        for number in written(cell) {
            assert!(told.contains(&number), "{number}: {told}");
            assert!(page.contains(&number), "{number}");
        }
    }
    // One file, with nothing from elsewhere, for any screen.
    for outside in ["<script", "src=", "<link", "url(", "@import", "http://", "https://"] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
    for part in
        ["width=device-width", "prefers-color-scheme: dark", "<svg", "viewBox", "data-column=\"median\""]
    {
        assert!(page.contains(part), "{part}");
    }
    // What goes on is told line by line where there is no terminal, in each pass.
    let progress = text(&output.stderr);
    assert_eq!(progress.matches("beget bench: ").count(), 2, "{progress}");
    assert!(progress.contains("floors (1 of 1), pass 2 of 2: floors"), "{progress}");
}

/// With `-` standard output is the JSON and nothing else; an older run stands beside it, figure by figure.
#[test]
fn an_earlier_run_is_told_beside_this_one() {
    let scratch = Scratch::new();
    let now: Value = serde_json::from_slice(&measured(&["--json", "-"]).stdout).expect("JSON alone");
    assert!(now.get("against").is_none());
    // An earlier run on a machine that did this a thousand times as fast.
    let mut before = now.clone();
    let rows = before["tables"][0]["rows"].as_array_mut().expect("rows");
    let earlier = rows.iter_mut().find(|row| row["name"] == WAY).expect("it is measured");
    let median =
        earlier["cells"].as_array_mut().expect("cells").iter_mut().find(|cell| cell["median"].is_f64());
    let median = median.expect("a median");
    for part in ["low", "median", "high"] {
        median[part] = Value::from(median[part].as_f64().expect("a number") / 1000.0);
    }
    let old = scratch.file("old.json", before.to_string());
    let html = scratch.at("now.html");
    let output = measured(&["--against", &old, "--json", "-", "--html", &html]);
    let results: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let told = results["against"]["rows"].as_array().expect("rows");
    let of = |row: &Value| row["cells"].as_array().expect("cells").last().expect("a verdict").clone();
    let way = told.iter().find(|row| row["name"].as_str().is_some_and(|name| name.contains(WAY)));
    assert_eq!(of(way.expect("it is in both")), "more");
    for row in told {
        assert!(
            [
                "more",
                "less",
                "the same, within the ranges",
                "the same, at the machine's pace",
                "too noisy to say"
            ]
            .contains(&of(row).as_str().unwrap_or("")),
            "{row}"
        );
    }
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("Beside an earlier run") && page.contains(&format!("{WAY}: median")));
}

/// Whoever is made slower is slower, all of the range; and the report says that it was on purpose.
#[test]
fn what_is_slowed_down_shows() {
    const BY: f64 = 20_000.0;
    let slow = format!("{WAY}=20ms");
    let results: Value = serde_json::from_slice(&measured(&["--slow", &slow, "--json", "-"]).stdout).unwrap();
    for column in ["min", "median"] {
        let least = cell(&results, WAY, column);
        let least = least["low"].as_f64().or(least["value"].as_f64()).expect("a number");
        assert!(least >= BY, "{column}: {least}");
    }
    let machine = results["machine"].as_array().expect("lines");
    let line = machine.iter().find(|line| line["name"] == "slowed down on purpose");
    assert!(line.is_some_and(|line| line["value"] == format!("{WAY}, by 20000 us")), "{machine:?}");

    let output = ran(&[&SHORT[..], &["--slow", "nobody=1ms"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("flag --slow nobody: nobody of this name was measured"));
}

/// What is written into a repository comes from the results alone, and again when it is there already.
#[test]
fn results_are_written_into_documents() {
    let scratch = Scratch::new();
    let json = scratch.at("now.json");
    measured(&["--json", &json]);
    let results = beget_bench::report::Results::parse(&std::fs::read_to_string(json).unwrap()).unwrap();
    let place = "<!-- bench:costs -->\nold\n<!-- /bench -->";
    scratch.file("README.md", format!("before\n{place}\nafter <!-- bench:machine -->x<!-- /bench -->.\n"));
    let write = || {
        std::fs::create_dir_all(scratch.at("bench")).unwrap();
        let files = beget_bench::repository::files(scratch.path(), &results).unwrap();
        files.iter().for_each(|(path, text)| std::fs::write(path, text).unwrap());
        files
    };
    let files = write();
    assert_eq!(write(), files, "writing again changes something");
    let names: Vec<&Path> =
        files.iter().map(|(path, _)| path.strip_prefix(scratch.path()).unwrap()).collect();
    assert_eq!(names, ["bench/results.json", "bench/RESULTS.md", "README.md"].map(Path::new));
    let readme = &files[2].1;
    assert!(readme.starts_with("before\n<!-- bench:costs -->\n| what | beside |"), "{readme}");
    assert!(
        readme.contains("not measured")
            && !readme.contains("\nold\n")
            && readme.contains("; one CPUID takes "),
        "{readme}"
    );
}

#[test]
fn subjects_are_listed() {
    let output = ran(&["bench", "--list"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let listed = text(&output.stdout);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, beget_bench::subjects());
    assert!(listed.lines().all(|line| line.len() > 20), "{listed}");
}

/// However a run ends in the middle, by a key or killed, its folder goes away.
#[test]
fn nothing_is_left_of_a_run_that_is_interrupted() {
    use std::os::unix::process::CommandExt;
    let scratch = Scratch::new();
    let folder = scratch.at("tmp");
    std::fs::create_dir(&folder).unwrap();
    let entries = || std::fs::read_dir(&folder).unwrap().count();
    let until = |words: &str, is_so: &dyn Fn() -> bool| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_so() {
            assert!(std::time::Instant::now() < end, "{words}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let mut command = beget();
        command.args(["bench", "--only", "floors"]).env("TMPDIR", &folder).process_group(0);
        let (out, error) = (std::process::Stdio::null(), std::process::Stdio::null());
        let mut child = command.stdin(std::process::Stdio::null()).stdout(out).stderr(error).spawn().unwrap();
        until("it makes no folder", &|| entries() == 1);
        // A key is told to all of its group.
        // SAFETY: a signal to a group whose leader is our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(-(child.id() as i32), signal) }, 0);
        assert!(!child.wait().unwrap().success());
        until("the folder stays", &|| entries() == 0);
    }
}

//! Manual pages: two formatters take them without a word of warning.

use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, has, skip, text};

fn takes(formatter: &str, arguments: &[&str]) {
    let test = "manual_pages_are_in_order";
    if !has(formatter) {
        return skip(test, Need::Program(if formatter == "groff" { "groff" } else { "mandoc" }));
    }
    let scratch = Scratch::new();
    let pages = beget_cli::pages();
    let pages: Vec<_> = pages.iter().filter(|page| page.path.ends_with(".1")).collect();
    assert!(pages.len() >= 4);
    for page in pages {
        let path = scratch.file("page.1", &page.text);
        let output = finish(Command::new(formatter).args(arguments).arg(&path).stdin(Stdio::null()));
        let said = format!(
            "{}{}",
            text(&output.stderr),
            if formatter == "mandoc" { text(&output.stdout) } else { String::new() }
        );
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.path);
    }
}

#[test]
fn manual_pages_are_in_order() {
    takes("groff", &["-ww", "-man", "-Tutf8"]);
    takes("mandoc", &["-Tlint"]);
}

/// A reader finds there what help says.
#[test]
fn a_manual_page_says_what_help_says() {
    let test = "a_manual_page_says_what_help_says";
    if !has("mandoc") {
        return skip(test, Need::Program("mandoc"));
    }
    let scratch = Scratch::new();
    let page = beget_cli::pages().into_iter().find(|page| page.path.ends_with("beget-run.1")).unwrap();
    let path = scratch.file("page.1", &page.text);
    let read = text(&finish(Command::new("mandoc").args(["-Tutf8", "-O", "width=1000"]).arg(path)).stdout);
    // Bold letters are struck twice.
    let mut letters: Vec<char> = Vec::new();
    for letter in read.chars() {
        match letter {
            '\u{8}' => _ = letters.pop(),
            _ => letters.push(letter),
        }
    }
    let words =
        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase().replace('`', "");
    let read = words(&letters.into_iter().collect::<String>());
    let help = super::ran(&["run", "--help"]).1;
    let flags = help
        .split("\n\n")
        .filter(|part| ["GRANTS", "LIMITS", "HOW"].iter().any(|title| part.starts_with(title)));
    let mut count = 0;
    for item in flags.flat_map(|part| part.split("\n  --").skip(1)) {
        count += 1;
        assert!(read.contains(&words(&format!("--{item}"))), "--{item}");
    }
    assert!(count >= 20, "{count}");
}

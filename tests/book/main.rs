//! The book: its commands do what it says, its links lead somewhere.
//!
//! Every block that is marked `sh` is run, in a scratch folder of its chapter's, and must end with 0, or with `exit=N`. A block marked `text`
//! right after it is what it writes, on standard output and standard error; `...` in it is anything. A block that cannot
//! run everywhere says so: `sh,no-run (reason)`; one marked `sh,root` is run where a private root can be had.

use std::path::Path;
use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, has, program, skip, text};

/// Every chapter, by its file; the tests also run where the sources cannot be read.
const CHAPTERS: &[(&str, &str)] = &[
    ("introduction.md", include_str!("../../docs/src/introduction.md")),
    ("untrusted.md", include_str!("../../docs/src/untrusted.md")),
    ("root.md", include_str!("../../docs/src/root.md")),
    ("specs.md", include_str!("../../docs/src/specs.md")),
    ("limits.md", include_str!("../../docs/src/limits.md")),
    ("network.md", include_str!("../../docs/src/network.md")),
    ("terminals.md", include_str!("../../docs/src/terminals.md")),
    ("service.md", include_str!("../../docs/src/service.md")),
    ("channel.md", include_str!("../../docs/src/channel.md")),
    ("factory.md", include_str!("../../docs/src/factory.md")),
    ("adapters.md", include_str!("../../docs/src/adapters.md")),
    ("fork.md", include_str!("../../docs/src/fork.md")),
    ("compare.md", include_str!("../../docs/src/compare.md")),
    ("bubblewrap.md", include_str!("../../docs/src/bubblewrap.md")),
    ("bench.md", include_str!("../../docs/src/bench.md")),
    ("errors.md", include_str!("../../docs/src/errors.md")),
];
/// What a chapter tells its reader to put beside his program.
const BESIDE: &[(&str, &str)] = &[
    ("beget.h", include_str!("../../packaging/include/beget.h")),
    ("beget.py", include_str!("../../packaging/python/beget.py")),
];
const SUMMARY: &str = include_str!("../../docs/src/SUMMARY.md");

/// A fenced block.
#[derive(Debug)]
struct Block {
    line: usize,
    mark: String,
    text: String,
}

/// The fenced blocks of a chapter. One in a list is indented as a whole.
fn blocks(chapter: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in chapter.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(mark)) => {
                open = Some((Block { line: number + 1, mark: mark.to_owned(), text: String::new() }, indent));
            }
            (Some(_), Some("")) => found.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), _) => {
                block.text.push_str(line.get(*indent..).unwrap_or(""));
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// Whether the text is what the pattern says, where `...` is anything.
fn is_like(told: &str, pattern: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = parts.next().and_then(|first| told.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part.trim_end_matches('\n')) || rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// Whether a private root can be had here.
fn root_can_be_had() -> bool {
    let output =
        finish(beget_tests::beget().args(["run", "--base", "--root", "--", "true"]).stdin(Stdio::null()));
    let refused = text(&output.stderr).contains("user namespaces are refused");
    assert!(output.status.success() || refused, "{}", text(&output.stderr));
    !refused
}

fn run_chapter(name: &str) {
    let (_, chapter) = CHAPTERS.iter().find(|(file, _)| *file == name).expect("a chapter");
    let scratch = Scratch::new();
    let folder = scratch.path().join("here");
    std::fs::create_dir(&folder).unwrap();
    if name == "channel.md" {
        for (name, text) in BESIDE {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    std::fs::create_dir(scratch.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(program("beget-under-test"), scratch.path().join("bin/beget")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", scratch.at("bin"));
    let blocks = blocks(chapter);
    let mut run = 0;
    for (index, block) in blocks.iter().enumerate() {
        let Some(rest) = block.mark.strip_prefix("sh") else { continue };
        if rest.starts_with(",no-run (") {
            continue;
        }
        let (mut code, mut root) = (0, false);
        for mark in rest.split(',').skip(1) {
            match mark.strip_prefix("exit=") {
                Some(number) => code = number.parse().expect("a number"),
                None => root = true,
            }
            assert!(mark == "root" || mark.starts_with("exit="), "{name}:{}: {mark} is no mark", block.line);
        }
        if root && !root_can_be_had() {
            skip(&format!("{name}:{}", block.line), Need::Machine("user namespaces"));
            continue;
        }
        let output = finish(
            Command::new("bash")
                .args(["-c", &format!("exec 2>&1\n{}", block.text)])
                .env_clear()
                .envs([("PATH", path.as_str()), ("HOME", folder.to_str().unwrap())])
                .current_dir(&folder)
                .stdin(Stdio::null()),
        );
        let told = text(&output.stdout);
        let place = format!("docs/src/{name}:{}", block.line);
        assert_eq!(output.status.code(), Some(code), "{place}: {told}");
        match blocks.get(index + 1).filter(|next| next.mark == "text") {
            Some(expected) => assert!(is_like(&told, &expected.text), "{place} wrote:\n{told}"),
            None => assert_eq!(told, "", "{place} wrote something that the book does not show"),
        }
        run += 1;
    }
    assert!(run > 0, "{name} has no command");
}

/// A test for each chapter with commands, which needs these programs.
macro_rules! chapters {
    ($($test:ident = $name:literal, [$($program:literal),*];)*) => {$(
        #[test]
        fn $test() {
            for needed in ["bash", $($program),*] {
                if !has(needed) {
                    return skip(stringify!($test), Need::Program(needed));
                }
            }
            run_chapter($name);
        }
    )*
        /// The chapters that are run.
        const RUN: &[&str] = &[$($name),*];
    };
}

chapters! {
    introduction = "introduction.md", ["python3", "pgrep", "setsid"];
    untrusted = "untrusted.md", ["python3", "make", "gcc", "git", "find"];
    root = "root.md", [];
    specs = "specs.md", ["python3", "bash"];
    limits = "limits.md", [];
    network = "network.md", ["python3"];
    terminals = "terminals.md", [];
    service = "service.md", [];
    channel = "channel.md", ["python3", "cc"];
    factory = "factory.md", ["bash"];
    compare = "compare.md", [];
    bubblewrap = "bubblewrap.md", ["make", "gcc"];
    bench = "bench.md", [];
    errors = "errors.md", ["python3"];
}

#[test]
fn every_chapter_is_listed_and_run() {
    let listed: Vec<&str> =
        SUMMARY.lines().filter_map(|line| line.split("](").nth(1)?.split(')').next()).collect();
    let known: Vec<&str> = CHAPTERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
    for (name, chapter) in CHAPTERS {
        assert!(chapter.starts_with("# "), "{name} has no title");
        let runs = |block: &Block| block.mark.starts_with("sh") && !block.mark.starts_with("sh,no-run");
        let commands = blocks(chapter).iter().any(runs);
        assert_eq!(commands, RUN.contains(name), "{name}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().expect("our own names are text");
        assert!(name == "SUMMARY.md" || known.contains(&name.as_str()), "{name} is in no list");
    }
}

/// The anchor that mdbook gives a heading.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim();
    let letters = plain.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    letters.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_lead_somewhere() {
    for (name, chapter) in CHAPTERS.iter().chain([&("SUMMARY.md", SUMMARY)]) {
        let prose = chapter.split("```").step_by(2);
        for link in prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            let target = CHAPTERS.iter().find(|(other, _)| *other == file);
            let (_, target) = target.unwrap_or_else(|| panic!("{name}: {link} leads nowhere"));
            let there =
                || target.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || there(), "{name}: {link} leads nowhere");
        }
    }
}

/// Flags are there also where a command is not run.
#[test]
fn what_is_not_run_has_flags_that_there_are() {
    let help = text(&finish(beget_tests::beget().args(["run", "--help"])).stdout);
    for (name, chapter) in CHAPTERS {
        let commands = blocks(chapter)
            .into_iter()
            .filter(|block| block.mark.starts_with("sh,no-run"))
            .map(|block| block.text);
        let lines: Vec<String> =
            commands.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        for line in
            lines.iter().filter(|line| line.starts_with("beget run ") || line.starts_with("beget show "))
        {
            let words = line.split_whitespace().take_while(|word| *word != "--");
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(help.contains(&format!("  {flag}")), "{name}: {flag} in {line}");
            }
        }
    }
}

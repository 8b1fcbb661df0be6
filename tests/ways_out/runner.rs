//! The runner: `try-ways-out [OPTIONS] LAUNCHER...` tries the whole corpus through a launcher and prints what is open.
//!
//! Without a launcher the attacker runs bare. Before a launcher is judged, the corpus runs bare once, so that what
//! this kernel or this user does not have at all is told from what the launcher closed. Exit 1 when a way to data, a
//! process, the network or a service is open, 125 when nothing could be judged.

use beget_tests::ways_out::{Targets, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "usage: try-ways-out [OPTIONS] [LAUNCHER [WORD...]]
  runs LAUNCHER WORD... ATTACKER KEY=VALUE... as the current user
  {dir} in the launcher's words is the folder to grant for writing, {attacker} the attacker program
options:
  --attacker PATH   the attacker program (default: beside this one)
  --only PREFIX     only the attempts whose name starts so
  --no-bare         do not run bare first
  --no-terminal     standard input is /dev/null, not a terminal
  --patience N      end a run after N seconds (default 180)
  --closed          list what is closed too
  --as-root         run although this is root
";

fn judged(
    attacker: &Path,
    launcher: &[String],
    only: &str,
    terminal: bool,
    patience: u64,
) -> std::io::Result<Vec<Verdict>> {
    let mut t = Targets::arrange(attacker)?;
    t.terminal = terminal;
    t.patience = Duration::from_secs(patience);
    let said = t.run(launcher, only)?;
    Ok(t.verdicts(&said))
}

fn main() -> ExitCode {
    let (mut only, mut bare_first, mut terminal, mut closed, mut as_root) =
        (String::new(), true, true, false, false);
    let mut patience = 180;
    let mut attacker: PathBuf =
        std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("attacker"))).unwrap_or_default();
    let mut words = std::env::args().skip(1).peekable();
    while let Some(w) = words.next_if(|w| w.starts_with("--")) {
        match w.as_str() {
            "--attacker" => attacker = words.next().unwrap_or_default().into(),
            "--only" => only = words.next().unwrap_or_default(),
            "--no-bare" => bare_first = false,
            "--no-terminal" => terminal = false,
            "--patience" => patience = words.next().and_then(|w| w.parse().ok()).unwrap_or(patience),
            "--closed" => closed = true,
            "--as-root" => as_root = true,
            "--" => break,
            _ => {
                eprint!("{HELP}");
                return ExitCode::from(125);
            }
        }
    }
    // SAFETY: a plain question about ourselves.
    if unsafe { libc::geteuid() } == 0 && !as_root {
        eprintln!("try-ways-out: run it as an ordinary user (or with --as-root)");
        return ExitCode::from(125);
    }
    let launcher: Vec<String> = words.collect();
    // A shell stands between, so that the attacker's parent has an environment worth reading.
    let bare: Vec<String> = ["/bin/sh", "-c", "\"$@\"; exit $?", "sh"].map(String::from).to_vec();
    let run = |l: &[String]| match judged(&attacker, l, &only, terminal, patience) {
        Ok(v) => Some(v),
        Err(e) => {
            eprintln!("try-ways-out: {e}");
            None
        }
    };
    let mut base: HashMap<String, Verdict> = HashMap::new();
    if bare_first && !launcher.is_empty() {
        let Some(v) = run(&bare) else { return ExitCode::from(125) };
        base = v.into_iter().map(|v| (v.name.clone(), v)).collect();
    }
    let Some(mut all) = run(if launcher.is_empty() { &bare } else { &launcher }) else {
        return ExitCode::from(125);
    };
    for v in &mut all {
        if v.state == "closed" && base.get(&v.name).is_some_and(|b| b.state != "open") {
            v.state = "absent";
        }
    }
    print(&all, closed, &base);
    ExitCode::from(u8::from(all.iter().any(Verdict::fails)))
}

fn print(all: &[Verdict], closed: bool, base: &HashMap<String, Verdict>) {
    let mut table: BTreeMap<usize, [usize; 3]> = BTreeMap::new();
    const CLASSES: [&str; 6] = ["data", "process", "network", "service", "metadata", "information"];
    for v in all {
        let class = CLASSES.iter().position(|c| *c == v.class).unwrap_or(5);
        table.entry(class).or_default()
            [["open", "closed", "absent"].iter().position(|s| *s == v.state).unwrap_or(1)] += 1;
    }
    let name = all.iter().map(|v| v.name.len()).max().unwrap_or(0);
    for v in all.iter().filter(|v| v.state == "open" || closed) {
        println!("{:6}  {:11}  {:name$}  {}", v.state, v.class, v.name, v.detail);
    }
    println!("{:11}  {:>5}  {:>6}  {:>6}", "class", "open", "closed", "absent");
    let mut sum = [0usize; 3];
    for (class, n) in &table {
        println!(
            "{:11}  {:>5}  {:>6}  {:>6}{}",
            CLASSES[*class],
            n[0],
            n[1],
            n[2],
            if *class > 3 { "  (declared)" } else { "" }
        );
        sum.iter_mut().zip(n).for_each(|(s, n)| *s += n);
    }
    println!("{:11}  {:>5}  {:>6}  {:>6}", "all", sum[0], sum[1], sum[2]);
    let failing = all.iter().filter(|v| v.fails()).count();
    println!("open ways to data, processes, network or services: {failing}");
    if !base.is_empty() {
        println!("the same, bare: {}", base.values().filter(|v| v.fails()).count());
    }
}

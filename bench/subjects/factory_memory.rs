//! What memory costs a factory: a copy by the size of its template's heap, and the memory of products that wait.

use std::path::Path;

use beget::Stdio;
use beget_factory::{Factory, Ready};

use super::embryos::{TIMES, told};
use super::factories::{at_rest, command, ended, factory, ratio_goal, rows, time_goal};
use super::memory::look;
use crate::measure::{Entry, Series, race, timed};
use crate::options::Options;
use crate::report::{Report, Table};
use crate::ways::{Programs, installed};

/// Writes to so many MiB, and stops; ends when it goes on.
const HEAP: &str = "\
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **arguments) {
    size_t bytes = (size_t)atol(arguments[1]) << 20, piece = 1 << 16;
    for (size_t done = 0; done < bytes; done += piece) {
        char *memory = malloc(piece);
        if (!memory)
            return 1;
        memset(memory, 7, piece);
    }
    raise(SIGSTOP);
    _exit(0);
}
";

/// How many wait.
const COUNT: usize = 100;

fn copied(factory: &Factory) -> Result<(), String> {
    let mut request = factory.request();
    request.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    ended(request.start().map_err(told)?)
}

fn heaps(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let program = programs.compile("heap", "heap.c", HEAP, &["-O2"])?;
    let mut factories = Vec::new();
    for megabytes in [10, 100, 1024] {
        let mut command = command(&program);
        command.arg(megabytes.to_string());
        factories.push((format!("{megabytes} MiB"), factory(command, Some(Ready::Stop), 0)?));
    }
    let entries = factories.iter().map(|(name, factory)| Entry::new(name, || timed(|| copied(factory))));
    let series = race("factories: heaps", options.time(4.0), entries.collect());
    let title = "Factories, confined, a copy on request by the size of the heap: request to reaped, us";
    let mut table = Table::new(title, &[&["heap"], &TIMES[..], &["× the smallest"]].concat());
    rows(&mut table, &series);
    report.tables.push(table);
    let (what, reach) = ("a copy of a template with a heap of 1 GiB", "≤ 2 × that of one with 10 MiB");
    report.goals.push(ratio_goal(what, reach, 2.0, &series, ["1024 MiB", "10 MiB"]));
    Ok(())
}

/// What waits in a pool: all children of a template's parent but the template.
fn waiting(factory: &Factory) -> Result<Vec<u32>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let template = factory.template_number().ok_or("it has no template")?;
    let status = std::fs::read_to_string(format!("/proc/{template}/status")).map_err(failed)?;
    let parent =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).ok_or("no parent")?.trim().to_owned();
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).map_err(failed)?;
    let numbers = list.split_ascii_whitespace().filter_map(|number| number.parse().ok());
    Ok(numbers.filter(|number| *number != template).collect())
}

fn wait_in_pools(report: &mut Report) -> Result<(), String> {
    let columns = ["products of", "n", "Pss", "private", "page tables"];
    let mut table =
        Table::new(format!("Factories, memory with {COUNT} products waiting, KiB, medians"), &columns);
    let mut pss = Vec::new();
    let programs = [
        ("/bin/true", "true, at its entry", Ready::Entry),
        ("python3", "python3, where it reads, prefaulted", Ready::Stdin),
    ];
    for (program, name, ready) in programs {
        let path = match program.starts_with('/') {
            true => Ok(Path::new(program).to_owned()),
            false => {
                installed(program).and_then(|path| path.canonicalize().map_err(|error| error.to_string()))
            }
        };
        let made = path.and_then(|path| factory(command(&path), Some(ready), COUNT)).and_then(|factory| {
            at_rest(&factory)?;
            let sizes = look(&waiting(&factory)?)?;
            Ok(sizes)
        });
        match made {
            Ok(sizes) => {
                super::memory::row(&mut table, name, &sizes);
                if pss.is_empty() {
                    pss = sizes[0].clone();
                }
            }
            Err(why) => table.note(format!("{name}: skipped: {why}")),
        }
    }
    report.tables.push(table);
    let series = [Series { name: "true".to_owned(), measures: vec![pss], skipped: None }];
    let what = format!("memory of a product, {COUNT} waiting, proportional, KiB");
    report.goals.push(time_goal(&what, "≤ 102.4 KiB", 102.4, &series, "true"));
    Ok(())
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    heaps(options, programs, report)?;
    wait_in_pools(report)
}

//! The seccomp filter: its size, what installing it costs, and what it costs each call afterwards.

use beget_authority::Support;
use beget_authority::filter::{Policy, build};
use beget_sys::seccomp::{ARCHITECTURE, Instruction, code, verdict};
use beget_sys::{Errno, nr, process, seccomp};

use crate::measure::{Entry, Pairs, Summary, now, race};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table};
use crate::ways::{Child, Programs};

/// What a child is held to when only files were granted.
pub(super) fn default_policy() -> Policy {
    Policy {
        spawn: false,
        only: None,
        tcp: false,
        bind: false,
        udp: false,
        net: false,
        unix: false,
        own_numbers: false,
        keep_processors: false,
        landlock: Support::detect().landlock.unwrap_or(0),
        own_group: true,
        own_session: true,
        given_sockets: false,
        keep_modes: false,
        creates: false,
        listener: false,
        discreet: false,
        copies: None,
    }
}

/// The mark in an instruction whose operand is multiplied by the newborn's own number; the interpreter of plans does the same.
use beget_sys::seccomp::code::OWN_NUMBER;

/// The filter as a newborn installs it. The number is this process's: what it is changes no cost.
pub(super) fn with_own_number(filter: &[Instruction]) -> Vec<Instruction> {
    let own = std::process::id();
    let fill = |one: &Instruction| match one.code & OWN_NUMBER {
        0 => *one,
        _ => Instruction { code: one.code & !OWN_NUMBER, k: one.k.wrapping_mul(own), ..*one },
    };
    filter.iter().map(fill).collect()
}

/// What the filter does with a call number: how many steps until it decides or looks at an argument, and whether it allows.
fn walk(filter: &[Instruction], number: u32) -> (usize, Option<bool>) {
    let (mut at, mut steps, mut value) = (0, 0, 0);
    while let Some(one) = filter.get(at) {
        steps += 1;
        let jump = |holds: bool| usize::from(if holds { one.jump_true } else { one.jump_false });
        at += 1 + match one.code {
            code::LOAD if one.k == 0 => {
                value = number;
                0
            }
            code::LOAD if one.k == 4 => {
                value = ARCHITECTURE;
                0
            }
            // The kernel's own emulation stops here too: the answer depends on more than the number.
            code::LOAD => return (steps, None),
            code::JUMP => one.k as usize,
            code::JUMP_EQUAL => jump(value == one.k),
            code::JUMP_AT_LEAST => jump(value >= one.k),
            code::RETURN => return (steps, Some(one.k == verdict::ALLOW)),
            _ => return (steps, None),
        };
    }
    (steps, None)
}

/// The same rules as a list that is gone through from the top. A call whose arguments matter has its place and is allowed there.
fn linear(filter: &[Instruction]) -> Vec<Instruction> {
    let statement = |code, k| Instruction { code, jump_true: 0, jump_false: 0, k };
    let mut list = vec![
        statement(code::LOAD, 4),
        Instruction { jump_true: 1, ..statement(code::JUMP_EQUAL, ARCHITECTURE) },
        statement(code::RETURN, verdict::ERRNO | 38),
        statement(code::LOAD, 0),
    ];
    for number in 0..nr::END {
        let verdict = match walk(filter, number).1 {
            Some(true) => continue,
            Some(false) => verdict::ERRNO | 1,
            None => verdict::ALLOW,
        };
        list.push(Instruction { jump_false: 1, ..statement(code::JUMP_EQUAL, number) });
        list.push(statement(code::RETURN, verdict));
    }
    list.push(statement(code::RETURN, verdict::ALLOW));
    list
}

fn filters() -> Vec<(&'static str, Vec<Instruction>)> {
    let policy = default_policy();
    let default = with_own_number(&build(&policy));
    let sockets = with_own_number(&build(&Policy { tcp: true, bind: true, udp: true, ..policy }));
    let older = with_own_number(&build(&Policy { landlock: 1, ..policy }));
    let list = linear(&default);
    let one = vec![Instruction { code: code::RETURN, jump_true: 0, jump_false: 0, k: verdict::ALLOW }];
    vec![
        ("default", default),
        ("with TCP and UDP sockets", sockets),
        ("for Landlock ABI 1", older),
        ("a linear list of the same rules", list),
        ("one instruction", one),
    ]
}

fn install(child: &Child, filter: &[Instruction]) -> Result<Vec<f64>, String> {
    child.measure(1, |numbers| {
        process::no_new_privileges()?;
        // The first call touches pages that the fork left write-protected; it installs nothing.
        let _ = seccomp::install(&[]);
        let begin = now();
        seccomp::install(filter)?;
        numbers[0] = now() - begin;
        Ok(())
    })
}

fn installs(options: &Options, child: &Child, filters: &[(&str, Vec<Instruction>)], report: &mut Report) {
    let entries = filters.iter().map(|(name, filter)| Entry::new(*name, || install(child, filter))).collect();
    let series = race("filter: install", options.time(8.0), entries);
    let columns =
        ["filter", "n", "min", "p10", "median", "p90", "instructions", "rules", "mean steps", "× linear"];
    let mut table = Table::new("Installing a filter, us", &columns);
    let linear = series.iter().find(|one| one.name.starts_with("a linear"));
    for (one, (name, filter)) in series.iter().zip(filters) {
        let walks: Vec<_> = (0..nr::END).map(|number| walk(filter, number)).collect();
        let steps = walks.iter().map(|(steps, _)| *steps as f64).sum::<f64>() / walks.len() as f64;
        let refusing = walks.iter().filter(|(_, allows)| *allows != Some(true)).count();
        let ratio = linear.and_then(|linear| Pairs::ratio(one.measure(0), linear.measure(0)));
        let more = vec![
            Cell::Count(filter.len()),
            Cell::Count(refusing),
            Cell::number(steps, 1),
            Cell::ratio(ratio),
        ];
        table.timed(name, one, more);
    }
    let own = series.first().map(|one| one.measure(0)).unwrap_or_default();
    let nothing = vec![0.0; own.len()];
    report.goals.push(Goal {
        what: "installing the default filter".to_owned(),
        reach: "≤ 40 us".to_owned(),
        measured: Pairs::difference(own, &nothing),
        by_minima: Summary::of(own).map(|summary| summary.min),
        most: 40.0,
        size: Summary::of(own).map(|summary| summary.p50),
    });
    report.tables.push(table);
}

const CALLS: [&str; 3] =
    ["allowed by its number (getppid)", "judged by an argument (ioctl)", "refused (setns)"];

/// Nanoseconds that each of [`CALLS`] takes, under `filter`.
fn calls(child: &Child, filter: Option<&[Instruction]>) -> Result<Vec<f64>, String> {
    const TIMES: u32 = 2000;
    fn per_call(call: impl Fn()) -> f64 {
        let begin = now();
        (0..TIMES).for_each(|_| call());
        (now() - begin) * 1e3 / f64::from(TIMES)
    }
    child.measure(CALLS.len(), |numbers| -> Result<(), Errno> {
        process::no_new_privileges()?;
        if let Some(filter) = filter {
            seccomp::install(filter)?;
        }
        numbers[0] = per_call(|| {
            let _ = process::parent();
        });
        numbers[1] = per_call(|| {
            // SAFETY: no such descriptor, and no memory is passed.
            unsafe { libc::ioctl(-1, 0x5401, 0) };
        });
        numbers[2] = per_call(|| {
            // SAFETY: likewise.
            unsafe { libc::setns(-1, 0) };
        });
        Ok(())
    })
}

/// Measures.
pub fn measure(options: &Options, _: &Programs, report: &mut Report) -> Result<(), String> {
    let child = Child::new()?;
    let filters = filters();
    installs(options, &child, &filters, report);
    let mut entries = vec![Entry::new("no filter", || calls(&child, None))];
    entries.extend(filters.iter().map(|(name, filter)| Entry::new(*name, || calls(&child, Some(filter)))));
    let series = race("filter: calls", options.time(6.0), entries);
    for (index, what) in CALLS.iter().enumerate() {
        let mut table = Table::new(
            format!("A call {what}, ns"),
            &["filter", "n", "min", "p10", "median", "p90", "above no filter"],
        );
        let base = series[0].measure(index);
        for one in &series {
            let Some(mut cells) = Table::times(one.measure(index)) else {
                table.note(format!("{}: skipped: {}", one.name, one.skipped.as_deref().unwrap_or("no time")));
                continue;
            };
            let size = Summary::of(one.measure(index)).map_or(1.0, |summary| summary.p50);
            cells.push(match one.name == series[0].name {
                true => Cell::Nothing,
                false => Cell::difference(Pairs::difference(one.measure(index), base), size),
            });
            table.row(&one.name, cells);
        }
        report.tables.push(table);
    }
    Ok(())
}

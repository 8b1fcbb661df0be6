//! The parts of a confined birth one by one: what is prepared outside, and each step that the newborn takes.

use beget_authority::{Authority, Grant, Promise, Request, Root, Support, filter, keyring, limit};
use beget_sys::{Errno, descriptor, landlock, process, seccomp, signal};

use super::filter::{default_policy, with_own_number};
use crate::measure::{Entry, now, race, timed};
use crate::options::Options;
use crate::report::{Report, Table};
use crate::ways::{Child, Programs, confined};

/// What a child is held to, whose promises are all given up where this kernel cannot keep them.
pub(super) fn authority(support: Support, base: bool, root: Option<&Root>) -> Result<Authority, String> {
    let grants: &[Grant] = if base { &[Grant::Base] } else { &[] };
    let request = Request {
        grants,
        limits: &[],
        root,
        root_given_up: false,
        files: Vec::new(),
        only: false,
        degraded: Promise::ALL,
        support,
        program_slot: Some(3),
        own_group: true,
        own_session: true,
        given_sockets: false,
        keep_modes: false,
        discreet: false,
        listener: false,
        keyring: true,
        groups: std::sync::Arc::default(),
    };
    Authority::prepare(request).map_err(|error| error.to_string())
}

fn done<T>(value: Result<T, String>) -> Result<(), String> {
    value.map(|value| drop(std::hint::black_box(value)))
}

fn preparation(options: &Options, programs: &Programs, report: &mut Report) {
    let have = Support::detect();
    let mut no_filter = have;
    no_filter.filter = false;
    let bare = no_filter.with_landlock_at_most(None);
    let policy = default_policy();
    let mut entries = vec![
        Entry::new("open what --base grants, and close it", move || {
            timed(|| done(authority(bare, true, None)))
        }),
        Entry::new("the same, and make the ruleset", move || {
            timed(|| done(authority(no_filter, true, None)))
        }),
        Entry::new("the same, and both filters", move || timed(|| done(authority(have, true, None)))),
        Entry::new("build one filter", move || timed(|| done(Ok(filter::build(&policy))))),
        Entry::new("find the empty keyring", || timed(|| done(Ok(keyring::look())))),
        Entry::new("read the limits", || {
            timed(|| done(limit::resources(&[], &[], false).map_err(|e| e.to_string())))
        }),
    ];
    if let Some(program) = programs.all.last() {
        let name = format!("Command::describe of a fresh command, {}", program.name);
        entries.push(Entry::new(name, || {
            timed(|| done(confined(&program.path).describe().map_err(|error| error.to_string())))
        }));
    }
    let series = race("confined: preparation", options.time(4.0), entries);
    let mut table = Table::new(
        "Preparation, in the caller, us: paid once for a reused command, each time for a fresh one",
        &["part", "n", "min", "p10", "median", "p90"],
    );
    for one in &series {
        table.timed(&one.name, one, Vec::new());
    }
    report.tables.push(table);
}

/// A step, and the number by which it says that it is not allowed here.
type Step<'a> = (&'static str, Box<dyn Fn() -> Result<(), Errno> + 'a>);

fn steps<'a>(authority: &'a Authority, filter: &'a [seccomp::Instruction]) -> Vec<Step<'a>> {
    use std::os::fd::AsRawFd;
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut add = |name, step: Box<dyn Fn() -> Result<(), Errno> + 'a>| steps.push((name, step));
    add("getpid, for comparison", Box::new(|| process::process().map(drop)));
    add(
        "62 signals to their defaults",
        Box::new(|| (1..=64).filter(|number| ![9, 19].contains(number)).try_for_each(signal::set_default)),
    );
    add("setsid", Box::new(|| process::new_session().map(drop)));
    add("one resource limit", Box::new(|| process::set_limit(4, process::Bounds { soft: 0, hard: 0 })));
    add(
        "join the empty keyring",
        // SAFETY: the name is a constant that ends in NUL.
        Box::new(|| unsafe { process::join_keyring(keyring::NAME.as_ptr().cast()) }.map(drop)),
    );
    add("no supplementary groups", Box::new(|| process::set_groups(&[])));
    add("no capabilities", Box::new(process::drop_capabilities));
    add("no_new_privs", Box::new(process::no_new_privileges));
    if let Some(ruleset) = &authority.ruleset {
        add("Landlock", Box::new(|| landlock::restrict_self(ruleset.as_raw_fd())));
    }
    // SAFETY: the newborn uses no descriptor above the standard ones after this.
    add("close_range", Box::new(|| unsafe { descriptor::close_range(3, u32::MAX) }));
    add("seccomp filter", Box::new(|| seccomp::install(filter)));
    steps
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    preparation(options, programs, report);
    let authority = authority(Support::detect(), true, None)?;
    let filter = with_own_number(&filter::build(&default_policy()));
    let steps = steps(&authority, &filter);
    let child = Child::new()?;
    let once = || {
        child.measure(steps.len(), |numbers| {
            for ((_, step), number) in steps.iter().zip(numbers) {
                let begin = now();
                let outcome = step();
                *number = if outcome.is_ok() { now() - begin } else { f64::NAN };
            }
            Ok(())
        })
    };
    let series = race("confined: steps", options.time(3.0), vec![Entry::new("steps", once)]);
    let mut table = Table::new(
        "Steps of a newborn, in a forked child, us",
        &["step", "n", "min", "p10", "median", "p90"],
    );
    for (index, (name, _)) in steps.iter().enumerate() {
        let values: Vec<f64> =
            series[0].measure(index).iter().copied().filter(|value| !value.is_nan()).collect();
        match Table::times(&values) {
            Some(cells) => table.row(name, cells),
            None => table.note(format!("{name}: skipped: this user may not")),
        }
    }
    report.tables.push(table);
    Ok(())
}

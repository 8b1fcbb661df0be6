//! What each kind of namespace costs, what a root costs in the library, and whether a pool of network namespaces would pay.

use beget::{Grant, Root};
use beget_sys::namespace::{self, kind};
use beget_sys::{Errno, process};

use super::embryos::TIMES;
use super::spawn::start;
use crate::measure::{Entry, Pairs, Series, Summary, now, race, timed};
use crate::options::Options;
use crate::report::{Cell, Report, Table};
use crate::ways::{Child, Programs, Stack, confined, posix_spawn, vfork_exit_in};

const KINDS: [(&str, u32); 7] = [
    ("no namespace", 0),
    ("+ pid", kind::PROCESSES),
    ("+ mount", kind::MOUNTS),
    ("+ ipc", kind::IPC),
    ("+ uts", kind::NAMES),
    ("+ cgroup", kind::CGROUPS),
    ("+ net", kind::NETWORK),
];

fn every_kind() -> u32 {
    KINDS.iter().fold(kind::USERS, |all, (_, one)| all | one)
}

fn floors(options: &Options, report: &mut Report) {
    let entry = |name: String, kinds: u32| {
        let mut stack = Stack::default();
        Entry::new(name, move || timed(|| vfork_exit_in(&mut stack, kinds as i32)))
    };
    let mut entries = vec![entry("no namespace".to_owned(), 0), entry("user".to_owned(), kind::USERS)];
    entries.extend(KINDS.iter().skip(1).map(|(name, one)| entry(format!("user {name}"), kind::USERS | one)));
    entries.push(entry("all but net".to_owned(), every_kind() & !kind::NETWORK));
    entries.push(entry("all".to_owned(), every_kind()));
    let series = race("roots: namespaces", options.time(6.0), entries);
    let columns = [&["vfork + _exit + wait in new namespaces"], &TIMES[..], &["above user alone"]].concat();
    let mut table = Table::new("Namespaces, made and left, us", &columns);
    let user = series[1].measure(0);
    for (index, one) in series.iter().enumerate() {
        let size = Summary::of(one.measure(0)).map_or(1.0, |sum| sum.p50);
        let above = Cell::difference(Pairs::difference(one.measure(0), user), size);
        table.timed(&one.name, &wall(one), vec![if index < 2 { Cell::Nothing } else { above }]);
    }
    report.tables.push(table);
}

/// Without the processor time, of which a namespace's end and a nursery have a part that is nobody's here.
fn wall(series: &Series) -> Series {
    Series { measures: series.measures.iter().take(1).cloned().collect(), ..series.clone() }
}

fn births(options: &Options, programs: &Programs, report: &mut Report) -> Option<(Pairs, f64)> {
    let columns = [&["way"], &TIMES[..], &["above the row before", "× posix_spawn"]].concat();
    let mut network = None;
    for program in ["tiny", "static"].iter().filter_map(|name| programs.get(name)) {
        let path = program.path.as_c_str();
        let entries = vec![
            Entry::new("posix_spawn", || timed(|| posix_spawn(path, false))),
            Entry::new("beget, confined, fresh", || timed(|| start(&mut confined(path)))),
            Entry::new("+ a tree of its own", || timed(|| start(confined(path).own_tree(true)))),
            Entry::new("+ a private root, the network outside", || {
                timed(|| start(confined(path).grant(Grant::Net).root(Root::new())))
            }),
            Entry::new("+ a network of its own", || timed(|| start(confined(path).root(Root::new())))),
        ];
        let series = race(&format!("roots: births of {}", program.name), options.time(6.0), entries);
        let mut table = Table::new(format!("Library, in a private root, {}: us", program.name), &columns);
        for (index, one) in series.iter().enumerate() {
            let these = one.measure(0);
            let size = Summary::of(these).map_or(1.0, |sum| sum.p50);
            let step = match index.checked_sub(1).and_then(|before| series.get(before)) {
                Some(before) => Cell::difference(Pairs::difference(these, before.measure(0)), size),
                None => Cell::Nothing,
            };
            let ratio = match index {
                0 => Cell::Words("1".to_owned()),
                _ => Cell::ratio(Pairs::ratio(these, series[0].measure(0))),
            };
            table.timed(&one.name, &wall(one), vec![step, ratio]);
        }
        let [.., outside, own] = series.as_slice() else { continue };
        let whole = Summary::of(own.measure(0)).map(|sum| sum.p50);
        let difference = Pairs::difference(own.measure(0), outside.measure(0));
        network = network.or(difference.zip(whole));
        report.tables.push(table);
    }
    network
}

/// How long the kernel takes to destroy a network namespace after the last process left it: until another can be made by a user who may
/// have one at a time.
fn destroyed(child: &Child) -> Result<Vec<f64>, String> {
    let mut stack = Stack::default();
    child.measure(1, |numbers| {
        const ENOSPC: Errno = Errno(28);
        namespace::unshare(kind::USERS)?;
        // The user namespace's own number, which whoever made it may change.
        std::fs::write("/proc/sys/user/max_net_namespaces", "1").map_err(|_| Errno::EPERM)?;
        vfork_exit_in(&mut stack, kind::NETWORK as i32).map_err(|_| Errno::EINVAL)?;
        let begin = now();
        loop {
            let last = now();
            match namespace::unshare(kind::NETWORK) {
                Ok(()) => {
                    numbers[0] = last - begin;
                    return Ok(());
                }
                Err(ENOSPC) => process::process().map(drop)?,
                Err(errno) => return Err(errno),
            }
        }
    })
}

fn pool(options: &Options, network: Option<(Pairs, f64)>, report: &mut Report) -> Result<(), String> {
    let (child, mut stack) = (Child::new()?, Stack::default());
    let kinds = (kind::USERS | kind::NETWORK) as i32;
    let mut table = Table::new("Network namespaces, us", &[&["what"], &TIMES[..]].concat());
    let make = || timed(|| vfork_exit_in(&mut stack, kinds));
    // Each alone, for what is being destroyed holds locks that the next one's making waits for.
    let made =
        race("roots: network made", options.time(2.0), vec![Entry::new("made one after another", make)]);
    let gone = vec![Entry::new("destroyed, after its last process has ended", || destroyed(&child))];
    let gone = race("roots: network destroyed", options.time(2.0), gone);
    for one in made.iter().chain(&gone) {
        table.timed(&one.name, &wall(one), Vec::new());
    }
    if let Some((saved, whole)) = network {
        let took = Summary::of(gone[0].measure(0)).map_or(f64::NAN, |sum| sum.p50);
        let part = saved.middle / whole * 100.0;
        table.note(format!(
            "a pool of network namespaces would save at most {:.0} us ({:.0} to {:.0}) of a birth of {whole:.0} us with the smallest program, \
             {part:.0} %, by doing the same work before; each is destroyed after use all the same, and is gone {took:.0} us after its last \
             process, which nobody waits for",
            saved.middle, saved.low, saved.high
        ));
    }
    table.note(
        "there is no pool: `beget run` makes one root and ends, so it has nothing to fill a pool for; in a library each namespace of a pool \
         would belong to another user namespace than the root that takes it, which then has to enter that one first, and be nested in it; a \
         network namespace that was used cannot be used again, for what it was told stays in it",
    );
    report.tables.push(table);
    Ok(())
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    floors(options, report);
    let network = births(options, programs, report);
    pool(options, network, report)
}

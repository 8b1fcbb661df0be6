//! The parts of a private root one by one, each done by a newborn in namespaces of its own, as the first process of a root does them.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use beget_authority::Support;
use beget_authority::root::{Item, Root};
use beget_sys::namespace::{self, Name, kind};
use beget_sys::{Errno, process};

use super::parts::authority;
use super::roots::layout;
use crate::measure::{Entry, now, race};
use crate::options::Options;
use crate::report::{Cell, Report, Table};
use crate::ways::{Child, Programs};

/// What a step does.
type Work<'a> = Box<dyn Fn() -> Result<(), Errno> + 'a>;

/// A place inside, as the kernel is told it.
fn place(at: &Path) -> CString {
    let inside = at.strip_prefix("/").unwrap_or(at).as_os_str();
    CString::new(if inside.is_empty() { b"." } else { inside.as_bytes() }).unwrap_or_default()
}

fn string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}

fn name(text: &CString) -> Name {
    text.as_ptr().cast()
}

/// Which of the table's rows an item belongs to, and its work, with every string ready.
fn making(item: &Item) -> (&'static str, Work<'_>) {
    let at = place(item.at());
    let folder = place(item.at().parent().unwrap_or(item.at()));
    let own = string(item.at().file_name().unwrap_or_default().as_bytes());
    match item {
        Item::Directory { mode, .. } => {
            // SAFETY: the names are strings that end in NUL and belong to the work, here and below.
            (
                "folders",
                Box::new(move || unsafe { namespace::make_directory(name(&folder), name(&own), *mode) }),
            )
        }
        Item::File { contents, mode, .. } => {
            // SAFETY: as above.
            let make = move || unsafe { namespace::make_file(name(&folder), name(&own), contents, *mode) };
            ("files, to mount at", Box::new(make))
        }
        Item::Link { target, .. } => {
            let target = string(target.as_os_str().as_bytes());
            // SAFETY: as above.
            (
                "links",
                Box::new(move || unsafe { namespace::make_link(name(&folder), name(&own), name(&target)) }),
            )
        }
        Item::Bind { source, attributes, .. } => {
            let path = string(source.path.as_os_str().as_bytes());
            // SAFETY: as above.
            let bind = move || unsafe {
                namespace::bind(name(&path), source.file.as_raw_fd(), *attributes, name(&at))
            };
            ("mounts of what is granted", Box::new(bind))
        }
        Item::Mount { filesystem, options, attributes, .. } => {
            let row = match *filesystem {
                "proc" => "mount of /proc",
                "devpts" => "mount of /dev/pts",
                _ => "mounts of memory",
            };
            let filesystem = string(*filesystem);
            let options: Vec<CString> =
                options.iter().flat_map(|(key, value)| [string(*key), string(value.as_str())]).collect();
            // SAFETY: as above.
            let mount = move || unsafe {
                namespace::mount(name(&filesystem), options.iter().map(name), *attributes, name(&at))
            };
            (row, Box::new(mount))
        }
        Item::Seal { attributes, .. } => {
            // SAFETY: as above.
            ("sealing", Box::new(move || unsafe { namespace::seal(name(&at), *attributes) }))
        }
    }
}

fn steps<'a>(items: &'a [Item], proc: &'a File) -> Vec<(&'static str, Work<'a>)> {
    // SAFETY: asks numbers.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let maps = [
        (c"self/setgroups", "deny".to_owned()),
        (c"self/uid_map", format!("{user} {user} 1\n")),
        (c"self/gid_map", format!("{group} {group} 1\n")),
    ];
    let map = move || {
        maps.iter().try_for_each(|(file, words)| {
            // SAFETY: constants that end in NUL.
            unsafe { namespace::set(proc.as_raw_fd(), file.as_ptr().cast(), words.as_bytes()) }
        })
    };
    let unshare = |kinds| -> Work<'a> { Box::new(move || namespace::unshare(kinds)) };
    let mut steps: Vec<(&'static str, Work<'a>)> = vec![
        ("users written", Box::new(map)),
        ("unshare mount", unshare(kind::MOUNTS)),
        ("unshare cgroup", unshare(kind::CGROUPS)),
        ("unshare uts", unshare(kind::NAMES)),
        ("unshare ipc", unshare(kind::IPC)),
        ("unshare net", unshare(kind::NETWORK)),
        ("host name", Box::new(|| namespace::set_host_name(b"beget"))),
        ("loopback", Box::new(namespace::bring_up_loopback)),
    ];
    let options = ["mode", "755", "size", "16777216"].map(string);
    let over = move || {
        namespace::keep_mounts_private()?;
        process::umask(0)?;
        // SAFETY: strings that end in NUL and belong to the work.
        unsafe { namespace::mount_over_root(c"tmpfs".as_ptr().cast(), options.iter().map(name), 0) }
    };
    steps.push(("mounts made private, memory over the root", Box::new(over)));
    steps.extend(items.iter().map(making));
    steps.push((
        "the old root taken away",
        Box::new(|| namespace::become_root(namespace::attribute::READ_ONLY)),
    ));
    steps.push(("no capabilities", Box::new(process::drop_capabilities)));
    steps
}

/// What a fresh command does before its birth.
fn prepared(root: Option<&Root>) -> Result<Vec<f64>, String> {
    let begin = now();
    let authority = authority(Support::detect(), true, root)?;
    let time = now() - begin;
    drop(authority);
    Ok(vec![time])
}

/// Measures.
pub fn measure(options: &Options, _programs: &Programs, report: &mut Report) -> Result<(), String> {
    let authority = layout()?;
    let items = authority.layout.as_ref().map_or(&[][..], |layout| &layout.items);
    let proc = File::open("/proc").map_err(|error| error.to_string())?;
    let steps = steps(items, &proc);
    let child = Child::new()?;
    let count = steps.len();
    let once = || {
        let mut numbers = child.measure_in(kind::USERS | kind::PROCESSES, count + 1, |numbers| {
            for ((_, step), number) in steps.iter().zip(numbers.iter_mut()) {
                let begin = now();
                step()?;
                *number = now() - begin;
            }
            numbers[count] = now();
            Ok(())
        })?;
        // Both clocks are one, for the child is a copy.
        numbers[count] = now() - numbers[count];
        Ok(numbers)
    };
    let series = race("roots: parts", options.time(3.0), vec![Entry::new("parts", once)]);
    let columns = ["part", "of them", "n", "min", "p10", "median", "p90"];
    let mut table = Table::new(
        "Parts of a private root of --base, in its first process, us, all of a kind together",
        &columns,
    );
    let outside = vec![
        Entry::new("before, in its creator: grants opened, ruleset, filter", || prepared(None)),
        Entry::new("the same, and the root laid out", || prepared(Some(&Root::new()))),
    ];
    for one in &race("roots: preparation", options.time(2.0), outside) {
        let Some(times) = Table::times(one.measure(0)) else { continue };
        table.row(&one.name, [vec![Cell::Count(1)], times].concat());
    }
    if let Some(why) = &series[0].skipped {
        table.note(format!("skipped: {why}"));
    }
    let mut rows: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, (row, _)) in steps.iter().enumerate() {
        match rows.iter_mut().find(|(name, _)| name == row) {
            Some((_, indices)) => indices.push(index),
            None => rows.push((row, vec![index])),
        }
    }
    rows.push(("its end: mounts and namespaces left, until it is reaped", vec![count]));
    for (name, indices) in rows {
        let rounds = series[0].measure(0).len();
        let sums: Vec<f64> = (0..rounds)
            .map(|round| indices.iter().map(|index| series[0].measure(*index)[round]).sum())
            .collect();
        let Some(times) = Table::times(&sums) else { continue };
        table.row(name, [vec![Cell::Count(indices.len())], times].concat());
    }
    table.note("beside these: the birth in user and PID namespaces (the table of namespaces), the exec of the nursery (the table of embryos has it), and the program's own birth");
    report.tables.push(table);
    Ok(())
}

//! Embryos: processes built by hand. What they are is seen from outside through `/proc`, what they became from inside.

mod after_start;
mod by_hand;
mod code;
mod confined;
mod current;
mod dropped;
mod failing;
mod handle;
mod hostile;
mod operations;
mod programs;
mod refused;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use beget::{Construct, Embryo, Ended, Nursery, Process, Protection, Registers};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);
/// Where tests map things: nothing is there in an embryo.
const AT: u64 = 0x10_0000_0000;
const PAGE: u64 = 4096;

/// One that has come to itself: it has done what it was told.
fn embryo() -> Embryo {
    let mut embryo = Nursery::shared().expect("a nursery").embryo().expect("an embryo");
    embryo.umask(0o22).expect("umask");
    embryo
}

fn end(process: &Process) -> Ended {
    process.wait_timeout(LONG).expect("it can be waited for").expect("it ends")
}

/// A file of `/proc/PID`.
fn proc(number: u32, name: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{number}/{name}")).expect("it is there, and ours");
    beget_tests::text(&bytes)
}

/// A line of `/proc/PID/status`.
fn status(number: u32, key: &str) -> String {
    let text = proc(number, "status");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
}

/// The addresses, rights and names of its mappings.
fn maps(number: u32) -> Vec<String> {
    let words = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words.get(5..).unwrap_or_default().join(" "))
    };
    proc(number, "maps").lines().map(words).collect()
}

/// The addresses of the mappings that `wanted` says so of.
fn ranges(number: u32, wanted: impl Fn(&str) -> bool) -> Vec<std::ops::Range<u64>> {
    let range = |line: &String| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(from)?..number(to)?)
    };
    maps(number).iter().filter(|line| wanted(line)).filter_map(range).collect()
}

/// What its descriptors are, by number.
fn slots(number: u32) -> BTreeMap<i32, String> {
    let entries = std::fs::read_dir(format!("/proc/{number}/fd")).expect("it is there, and ours");
    let slot = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, target.display().to_string()))
    };
    entries.flatten().filter_map(slot).collect()
}

/// All that an operation could have changed in an embryo, as far as `/proc` tells.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    maps: Vec<String>,
    slots: Vec<String>,
    directory: String,
    limits: String,
    status: Vec<String>,
}

/// Its descriptors by what they are: its channel may lie at another number afterwards.
fn seen(number: u32) -> Seen {
    let directory = std::fs::read_link(format!("/proc/{number}/cwd")).expect("it is ours");
    let told = ["Umask", "Name", "Uid", "Gid", "SigBlk", "SigIgn", "NoNewPrivs", "Seccomp"];
    Seen {
        maps: maps(number),
        slots: slots(number).into_values().collect(),
        directory: directory.display().to_string(),
        limits: proc(number, "limits"),
        status: told.iter().map(|key| status(number, key)).collect(),
    }
}

fn pipe() -> (File, File) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (OwnedFd::from(read).into(), OwnedFd::from(write).into())
}

/// Everything until every holder of the other end is gone.
fn rest(mut file: File) -> Vec<u8> {
    let mut watched = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut all = Vec::new();
    loop {
        // SAFETY: one structure is read and written.
        let count = unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) };
        assert_eq!(count, 1, "somebody holds the other end: {:?}", beget_tests::text(&all));
        let mut chunk = [0; 4096];
        match file.read(&mut chunk).expect("a pipe can be read") {
            0 => return all,
            length => all.extend_from_slice(&chunk[..length]),
        }
    }
}

/// Puts a page of code at [`AT`] and a page of zeroes behind it, with registers that begin there.
fn prepare(embryo: &mut Embryo, code: &[u8]) {
    embryo.map(AT, 2 * PAGE, Protection::WRITE).expect("map");
    embryo.write(AT, code).expect("write");
    embryo.protect(AT, PAGE, Protection::EXECUTE).expect("protect");
    let stack = AT + 2 * PAGE;
    embryo.set_registers(Registers { instruction: AT, stack, ..Registers::default() });
}

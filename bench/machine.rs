//! What machine this is, and how busy others kept it: figures without that mean nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::measure::{now, processor_time};
use crate::ways::{find, own_command, own_musl_command};

/// The state of the machine before the run.
pub struct Machine {
    load: String,
    busy: f64,
    own: f64,
    began: Instant,
    pinned: String,
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn load() -> String {
    text("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Seconds that all processors together were busy since the machine started, those taken by other machines included.
fn busy() -> f64 {
    const IDLE: [usize; 2] = [3, 4];
    let stat = text("/proc/stat");
    let ticks = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).take(8);
    let busy: f64 = ticks
        .enumerate()
        .filter(|(index, _)| !IDLE.contains(index))
        .filter_map(|(_, ticks)| ticks.parse::<f64>().ok())
        .sum();
    // SAFETY: asks a number.
    busy / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

/// What is done about each flaw of the processor, in few words.
fn mitigations() -> String {
    let mut by_state: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten()
    {
        let state = text(&entry.path().to_string_lossy());
        let state = if state.starts_with("Mitigation") {
            state
        } else {
            state.split(':').next().unwrap_or("").to_owned()
        };
        by_state.entry(state).or_default().push(entry.file_name().to_string_lossy().into_owned());
    }
    let not_affected = by_state.remove("Not affected").map_or(0, |names| names.len());
    let mut words: Vec<String> =
        by_state.into_iter().map(|(state, names)| format!("{} ({})", state, names.join(", "))).collect();
    words.push(format!("not affected: {not_affected}"));
    words.join("; ")
}

/// The first line that a program says of its version.
fn version(program: &Path) -> String {
    let output = std::process::Command::new(program).arg("--version").output();
    let words = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&words).lines().next().unwrap_or("version unknown").trim().to_owned()
}

/// How large our own command is, in the builds that there are.
fn sizes() -> String {
    let size = |path: &Path| std::fs::metadata(path).ok().map(|file| file.len() as f64 / 1e6);
    let own = own_command().ok().and_then(|path| size(&path));
    let musl = own_musl_command().ok().and_then(|path| size(&path));
    let own = own.map_or("unknown".to_owned(), |size| format!("{size:.1} MB"));
    musl.map_or(own.clone(), |size| format!("{own}; built for musl {size:.1} MB"))
}

fn peers() -> String {
    let names = ["bwrap", "crun", "unshare", "firejail", "sandlock"];
    let one = |name: &&str| find(name).map_or(format!("{name} missing"), |path| version(&path));
    names.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn processor() -> String {
    let information = text("/proc/cpuinfo");
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let cores = processors();
    let of_a_hypervisor = std::arch::x86_64::__cpuid(1).ecx >> 31 != 0;
    let kind = if of_a_hypervisor { "virtual: the hypervisor bit is set" } else { "not virtual" };
    format!("{model}, {cores} processors, {kind}")
}

/// What a CPUID costs: a hypervisor traps it, and a glibc program executes dozens at its start.
fn cpuid() -> String {
    const TIMES: usize = 200;
    let once = || {
        let begin = now();
        std::hint::black_box(std::arch::x86_64::__cpuid(0));
        now() - begin
    };
    let mut times: Vec<f64> = (0..TIMES).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    format!("{:.2} us, the median of {TIMES}", times[TIMES / 2])
}

/// Keeps this process and all its children on one processor.
pub fn pin(processor: usize) -> Result<(), String> {
    // SAFETY: all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a number beyond the set's end is ignored.
    unsafe { libc::CPU_SET(processor.min(libc::CPU_SETSIZE as usize - 1), &mut set) };
    stay_on(&set).map_err(|error| format!("flag --pin {processor}: {}", crate::words(&error)))
}

fn stay_on(set: &libc::cpu_set_t) -> Result<(), std::io::Error> {
    // SAFETY: the kernel reads a live structure.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Does `work`, with this thread and whatever it starts on the first processor that it may use.
pub fn on_one_processor(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    // SAFETY: all zeroes is the empty set.
    let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills a live structure.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut all) } != 0 {
        return Err(format!("processors: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the numbers are within the set.
    let first = (0..libc::CPU_SETSIZE as usize).find(|number| unsafe { libc::CPU_ISSET(*number, &all) });
    pin(first.unwrap_or(0))?;
    let done = work();
    stay_on(&all).map_err(|error| format!("processors: {error}"))?;
    done
}

/// A limit of open files that was raised; dropped, it is what it was.
pub struct FileLimit(libc::rlimit);

/// Allows this process `count` open files at least.
pub fn more_files(count: u64) -> Result<FileLimit, String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills a live structure.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let wanted = libc::rlimit { rlim_cur: count.max(limit.rlim_cur), ..limit };
    // SAFETY: the kernel reads a live structure.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } != 0 {
        return Err(format!("limit of open files: {}", std::io::Error::last_os_error()));
    }
    Ok(FileLimit(limit))
}

impl Drop for FileLimit {
    fn drop(&mut self) {
        // SAFETY: the kernel reads a live structure.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const self.0) };
    }
}

/// The processors there are, whatever this process is pinned to.
fn processors() -> f64 {
    // SAFETY: asks a number.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) as f64 }
}

impl Machine {
    /// Looks, before anything is measured.
    pub fn look(pinned: Option<usize>) -> Machine {
        let pinned = pinned.map_or(String::new(), |processor| format!(", pinned to processor {processor}"));
        Machine { load: load(), busy: busy(), own: processor_time(), began: Instant::now(), pinned }
    }

    /// What there is to say, after everything was measured.
    pub fn lines(&self) -> Vec<(String, String)> {
        let elapsed = self.began.elapsed().as_secs_f64();
        let cores = processors();
        let own = (processor_time() - self.own) / 1e6;
        // Ticks are coarse: a machine of our own can come out a little below zero.
        let others = ((busy() - self.busy - own) / (elapsed * cores) * 100.0).max(0.0);
        let memory = text("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "");
        // SAFETY: asks a number.
        let user = if unsafe { libc::geteuid() } == 0 { "root" } else { "an ordinary user" };
        let landlock = beget::Support::detect().landlock;
        let landlock = landlock.map_or("no Landlock".to_owned(), |abi| format!("Landlock ABI {abi}"));
        let lines = [
            (
                "kernel",
                format!(
                    "{} {}; {landlock}",
                    text("/proc/sys/kernel/ostype"),
                    text("/proc/sys/kernel/osrelease")
                ),
            ),
            ("processor", processor()),
            ("CPUID", cpuid()),
            ("memory", memory.trim().to_owned()),
            ("mitigations", mitigations()),
            ("peers", peers()),
            ("beget", own_command().map_or_else(|why| why, |path| version(&path))),
            ("size", sizes()),
            ("run as", format!("{user}{}", self.pinned)),
            ("load before / after", format!("{} / {}", self.load, load())),
            ("others' share", format!("{others:.0} % of the processors while this ran ({elapsed:.0} s)")),
        ];
        lines.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

//! The witnesses: how everything outside looked before, how it looks now, and what follows for each attempt.

use super::{Targets, Verdict};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Gives a secret file its extended attribute.
pub fn set_attribute(path: &str, canary: &str) {
    let (p, n) = (CString::new(path).unwrap_or_default(), c"user.ways");
    // SAFETY: the strings and the value live across the call.
    unsafe { libc::setxattr(p.as_ptr(), n.as_ptr(), canary.as_ptr().cast(), canary.len(), 0) };
}

fn attribute(path: &str) -> String {
    let (p, mut b) = (CString::new(path).unwrap_or_default(), [0u8; 128]);
    // SAFETY: the buffer is as long as said.
    let n = unsafe { libc::getxattr(p.as_ptr(), c"user.ways".as_ptr(), b.as_mut_ptr().cast(), 128) };
    format!("{n} {}", String::from_utf8_lossy(&b))
}

/// The inode's flags, as far as a descriptor shows them.
fn inode_flags(path: &str) -> String {
    let Ok(f) = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else {
        return "gone".into();
    };
    let mut n = 0u64;
    // SAFETY: the call writes one long at most.
    unsafe { libc::ioctl(f.as_raw_fd(), 0x8008_6601u64 as _, &mut n) };
    format!("{n:x}")
}

impl Targets {
    /// How everything looks that can be compared: `KIND WAY` and words.
    pub(super) fn picture(&self) -> HashMap<String, String> {
        let secret = format!("{}/secret", self.base);
        let mut p = HashMap::new();
        for w in &self.ways {
            let path = format!("{secret}/{}", w.name);
            let m = fs::metadata(&path);
            p.insert(format!("file {}", w.name), format!("{:?}", fs::read(&path).ok()));
            p.insert(format!("xattr {}", w.name), attribute(&path));
            p.insert(format!("mode {}", w.name), m.as_ref().map_or(0, |m| m.mode()).to_string());
            p.insert(format!("mtime {}", w.name), m.as_ref().map_or(0, |m| m.mtime()).to_string());
            p.insert(format!("flags {}", w.name), inode_flags(&path));
            let count = fs::read_dir(format!("{secret}/folder.{}", w.name)).map_or(0, |d| d.count());
            p.insert(format!("folder {}", w.name), count.to_string());
        }
        for n in self.objects.names() {
            p.insert(format!("object {n}"), self.objects.look(n));
        }
        p.insert("rw".into(), format!("{:?}", fs::read(format!("{secret}/rw")).ok()));
        p.insert("leak".into(), format!("{:?}", fs::read(format!("{secret}/leak")).ok()));
        // SAFETY: both structures are the ones the calls want.
        unsafe {
            let (mut t, mut s): (libc::termios, libc::winsize) = (std::mem::zeroed(), std::mem::zeroed());
            libc::tcgetattr(self.other.1.as_raw_fd(), &mut t);
            libc::ioctl(self.other.0.as_raw_fd(), libc::TIOCGWINSZ, &mut s);
            p.insert("echo".into(), (t.c_lflag & libc::ECHO).to_string());
            p.insert("size".into(), s.ws_row.to_string());
        }
        p
    }

    fn board(&self, word: usize) -> u64 {
        // SAFETY: the board is mapped for the life of the targets, and callers stay within its 1024 words.
        unsafe { ((self.board + 8 * word) as *const u64).read_volatile() }
    }

    /// Ends what an attempt left running, and says whether there was any.
    pub(super) fn end_stragglers(&self) -> bool {
        let name = format!("w{}", &self.tag[..10]);
        let mut any = false;
        for e in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = e.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            if fs::read_to_string(e.path().join("comm")).is_ok_and(|c| c.trim() == name) {
                any = true;
                // SAFETY: a process with this run's tag for its name, which an attempt made.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        any
    }

    /// One field of an idle process's state.
    fn state_of(&self, way: &str, field: &str) -> String {
        let Some(p) = self.idle.get(way) else { return "none".into() };
        let (pid, of) = (p.id(), |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", p.id())).unwrap_or_default().trim().to_string()
        });
        // SAFETY: each structure is the one its call wants.
        unsafe {
            let limit = |which| {
                let mut l: libc::rlimit = std::mem::zeroed();
                libc::prlimit(pid as i32, which, std::ptr::null(), &mut l);
                l.rlim_cur.to_string()
            };
            match field {
                "nice" => libc::getpriority(libc::PRIO_PROCESS, pid).to_string(),
                "ioprio" => libc::syscall(libc::SYS_ioprio_get, 1, pid).to_string(),
                "policy" => libc::sched_getscheduler(pid as i32).to_string(),
                "affinity" => {
                    let mut m = [0u64; 16];
                    libc::syscall(libc::SYS_sched_getaffinity, pid, 128, m.as_mut_ptr());
                    m[0].to_string()
                }
                "nofile" => limit(libc::RLIMIT_NOFILE),
                "cpu" => limit(libc::RLIMIT_CPU),
                "pgid" => {
                    if libc::getpgid(pid as i32) == pid as i32 {
                        "own".into()
                    } else {
                        "moved".into()
                    }
                }
                "oom" => of("oom_score_adj"),
                "filter" => format!("0x{}", of("coredump_filter").trim_start_matches('0')),
                "slack" => of("timerslack_ns"),
                "comm" => of("comm"),
                "autogroup" => of("autogroup").rsplit(' ').next().unwrap_or("").to_string(),
                "state" => match of("stat").rsplit(") ").next().and_then(|s| s.chars().next()) {
                    None | Some('Z' | 'X') => "gone".into(),
                    Some(c) => c.to_string(),
                },
                _ => "unknown".into(),
            }
        }
    }

    /// Whether what the attacker claims was seen. `judge` is the kind of thing to look at, and its arguments.
    fn seen(&self, way: &str, judge: &str, now: &HashMap<String, String>) -> Option<String> {
        let w: Vec<&str> = judge.split_whitespace().collect();
        let second = w.get(1).copied().unwrap_or("");
        let differs =
            |key: String| (self.before.get(&key) != now.get(&key)).then(|| format!("{} changed", w[0]));
        let exists = |path: String| fs::symlink_metadata(path).is_ok().then(|| "made outside".to_string());
        match *w.first()? {
            kind @ ("file" | "xattr" | "flags" | "folder") => differs(format!("{kind} {way}")),
            "stat" => differs(format!("{second} {way}")),
            "shm" | "sem" | "msg" | "mq" | "pshm" | "key" => differs(format!("object {way}")),
            kind @ ("rw" | "leak") => differs(kind.to_string()),
            "tty" => differs(second.to_string()),
            "new" => exists(format!("{}/secret/new.{way}", self.base)),
            "shmnew" => exists(format!("/dev/shm/{}.new.{way}", self.tag)),
            "tmpnew" => exists(format!("{}.tmp", self.base)),
            "token" => self.servers.heard.lock().ok()?.tokens.contains(way).then(|| "heard outside".into()),
            "typed" => self
                .servers
                .heard
                .lock()
                .ok()?
                .typed
                .contains(&second.chars().next()?)
                .then(|| "typed outside".into()),
            "signal" => (self.board(second.parse().ok()?) > 0).then(|| format!("signal {second} arrived")),
            "eventfd" => (self.board(200) > 0).then(|| "counted by the victim".into()),
            "slot" => {
                let at =
                    |k: &str| self.arguments.iter().find_map(|a| a.strip_prefix(k)?.parse::<usize>().ok());
                let i = (at(&format!("slot.{way}="))? - at("slots=")?) / 8;
                (self.board(512 + i) != 0).then(|| "the victim's memory changed".into())
            }
            "idle" => {
                let value = self.state_of(way, second);
                (w.get(2).is_some_and(|want| *want == value)).then(|| format!("its {second} became {value}"))
            }
            "shmkey" | "mqnew" => self.objects.appeared(w[0] == "mqnew").then(|| "found outside".into()),
            "shown" => now.get("shown").filter(|s| s.contains(way)).map(|_| "shown on the terminal".into()),
            "outlived" => now.get("outlived").map(|_| "still running after the launcher's end".into()),
            _ => None,
        }
    }

    /// Merges what the attacker said with what was seen outside.
    pub fn verdicts(&self, output: &str) -> Vec<Verdict> {
        let mut now = self.picture();
        let mut shown = vec![0u8; 4096];
        if let Ok(n) = self.other.0.try_clone().and_then(|f| fs::File::from(f).read(&mut shown)) {
            now.insert("shown".into(), String::from_utf8_lossy(&shown[..n]).into_owned());
        }
        if self.end_stragglers() {
            now.insert("outlived".into(), String::new());
        }
        let mut all = Vec::new();
        for line in output.lines() {
            let f: Vec<&str> = line.splitn(4, '\t').collect();
            let [name, class, state, detail] = f[..] else { continue };
            if !self.ways.iter().any(|w| w.name == name && w.class == class) {
                continue;
            }
            let (state, detail) = match state {
                "witness" => {
                    let judge = detail.split(';').next().unwrap_or("");
                    match self.seen(name, judge, &now) {
                        Some(what) => ("open", what),
                        None => ("closed", format!("nothing seen outside ({detail})")),
                    }
                }
                "open" if detail.starts_with("read ") && !detail.contains(&self.canary) => {
                    ("closed", format!("not the secret: {detail}"))
                }
                "open" => ("open", detail.to_string()),
                "absent" => ("absent", detail.to_string()),
                _ => ("closed", detail.to_string()),
            };
            all.push(Verdict { name: name.into(), class: class.into(), state, detail });
        }
        all
    }
}

//! The harness: makes targets outside a sandbox, runs the attacker inside it, and judges by what was seen outside.
//!
//! `Targets::arrange` makes everything, `run` starts a launcher on the attacker, `verdicts` merges what the attacker
//! says with what witnesses saw. Dropping the targets leaves nothing behind. All targets are the harness's own.

mod objects;
mod servers;
mod witness;

use objects::Objects;
use servers::Servers;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub name: String,
    pub class: String,
    /// `open`, `closed` or `absent`.
    pub state: &'static str,
    pub detail: String,
}

impl Verdict {
    /// Whether this is a way out that must not be open; metadata and information are declared instead.
    pub fn fails(&self) -> bool {
        self.state == "open" && ["data", "process", "network", "service"].contains(&self.class.as_str())
    }
}

/// One line of the attacker's own table.
struct Way {
    name: String,
    class: String,
    needs: String,
}

/// Everything that the attempts are aimed at.
pub struct Targets {
    attacker: PathBuf,
    base: String,
    tag: String,
    canary: String,
    ways: Vec<Way>,
    arguments: Vec<String>,
    before: HashMap<String, String>,
    victim: Child,
    board: usize,
    idle: HashMap<String, Child>,
    objects: Objects,
    leaked: Vec<(&'static str, OwnedFd)>,
    /// The masters and slaves of the terminal that is given to the launcher, and of the user's other one.
    given: (OwnedFd, OwnedFd),
    other: (OwnedFd, OwnedFd),
    _second: OwnedFd,
    _turn: OwnedFd,
    servers: Servers,
    /// Whether the launcher gets the terminal as its standard input, or nothing.
    pub terminal: bool,
    /// How long the whole run may take.
    pub patience: Duration,
}

fn random() -> io::Result<String> {
    let mut b = [0u8; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut b)?;
    Ok(b.iter().map(|x| format!("{x:02x}")).collect())
}

fn must(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number was just returned by the kernel, and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open(path: &str, flags: i32) -> io::Result<OwnedFd> {
    let p = CString::new(path)?;
    // SAFETY: the string lives across the call.
    must(unsafe { libc::open(p.as_ptr(), flags | libc::O_CLOEXEC) })
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut p = [0i32; 2];
    // SAFETY: the array has room for both.
    unsafe { libc::pipe2(p.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    Ok((must(p[0])?, must(p[1])?))
}

/// A new terminal without echo or lines, and its slave's name.
fn terminal() -> io::Result<((OwnedFd, OwnedFd), String)> {
    // SAFETY: plain calls on a descriptor of our own; the name's buffer is as long as said.
    unsafe {
        let m = must(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK))?;
        libc::grantpt(m.as_raw_fd());
        libc::unlockpt(m.as_raw_fd());
        let mut name = [0u8; 64];
        libc::ptsname_r(m.as_raw_fd(), name.as_mut_ptr().cast(), 64);
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_string();
        let s = open(&name, libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK)?;
        let mut t: libc::termios = std::mem::zeroed();
        libc::tcgetattr(s.as_raw_fd(), &mut t);
        libc::cfmakeraw(&mut t);
        libc::tcsetattr(s.as_raw_fd(), libc::TCSANOW, &t);
        Ok(((m, s), name))
    }
}

fn secret_file(path: &str, content: &str) -> io::Result<()> {
    fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(content.as_bytes())
}

/// Ends the launcher and the attacker, wherever they are: nothing else has this run's tag among its arguments.
fn end_marked(mark: &str) {
    for e in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = e.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if fs::read(e.path().join("cmdline"))
            .is_ok_and(|c| c.split(|b| *b == 0).any(|word| word == mark.as_bytes()))
        {
            // SAFETY: a plain call; the process was started by this run.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

impl Targets {
    /// Makes the targets for this attacker program.
    pub fn arrange(attacker: &Path) -> io::Result<Targets> {
        // SAFETY: a plain question about ourselves.
        let turn = servers::turn(unsafe { libc::getuid() })?;
        let (tag, canary) = (format!("ways{}", random()?), format!("canary:{}", random()?));
        let base = format!("{}/{tag}", std::env::temp_dir().display());
        let secret = format!("{base}/secret");
        let program = |args: &[String]| {
            let mut c = Command::new(attacker);
            c.args(args).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
            c
        };
        let listing = program(&["list".into()]).output()?;
        let ways: Vec<Way> = String::from_utf8_lossy(&listing.stdout)
            .lines()
            .map(|l| l.split('\t').map(str::to_string).collect::<Vec<_>>())
            .filter(|f| f.len() > 2)
            .map(|f| Way { name: f[0].clone(), class: f[1].clone(), needs: f[2].clone() })
            .collect();
        for d in [&base, &format!("{base}/granted"), &secret] {
            fs::create_dir(d)?;
            fs::set_permissions(d, fs::Permissions::from_mode(0o700))?;
        }
        Self::files(&secret, &canary, &ways)?;
        let (given, given_name) = terminal()?;
        let (other, other_name) = terminal()?;
        let (second, second_name) = terminal()?;
        let copy = |f: &OwnedFd| f.try_clone();
        let ears = vec![open(&format!("{secret}/fifo2"), libc::O_RDWR | libc::O_NONBLOCK)?];
        let fifo = open(&format!("{secret}/fifo"), libc::O_RDWR | libc::O_NONBLOCK)?;
        let _ = fs::File::from(copy(&fifo)?).write(canary.as_bytes())?;
        let _ = fs::File::from(copy(&other.0)?).write(format!("{canary}\n").as_bytes())?;
        let servers = Servers::start(&base, &tag, &canary, ears, vec![copy(&given.1)?, second.1]);

        fs::write(format!("{base}/board"), [0u8; 8192])?;
        let board = {
            let f = open(&format!("{base}/board"), libc::O_RDWR)?;
            // SAFETY: maps a file of ours of this very length; it is unmapped when the targets are dropped.
            unsafe {
                libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_SHARED, f.as_raw_fd(), 0)
                    as usize
            }
        };
        let mut victim =
            program(&["role=victim".into(), format!("secret={secret}"), format!("board={base}/board")])
                .env("WAYS_OUT_CANARY", &canary)
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()?;
        let mut said = String::new();
        BufReader::new(victim.stdout.take().ok_or(io::ErrorKind::Other)?).read_line(&mut said)?;
        let mut arguments: Vec<String> = said.split_whitespace().map(str::to_string).collect();
        let mut slots = said
            .split("slots=")
            .nth(1)
            .and_then(|s| s.split_whitespace().next()?.parse::<usize>().ok())
            .unwrap_or(0);

        let objects = Objects::make(&tag, &canary, ways.iter().map(|w| (w.name.as_str(), w.needs.as_str())));
        arguments.extend(objects.arguments());
        // A run may have changed our own nice value and priority: what is asked for next must differ from both.
        // SAFETY: plain questions about ourselves.
        let (now, io) =
            unsafe { (libc::getpriority(libc::PRIO_PROCESS, 0), libc::syscall(libc::SYS_ioprio_get, 1, 0)) };
        arguments.extend([
            format!("nice_user={}", now + 1),
            format!("ioprio_user={}", if io == 16389 { 16388 } else { 16389 }),
        ]);
        let mut idle = HashMap::new();
        for w in &ways {
            match w.needs.as_str() {
                "idle" => {
                    let mut c = program(&["role=idle".into()]);
                    let nice = if w.name.starts_with("sched.nice_user") { now } else { now + 3 };
                    c.stdout(Stdio::null()).process_group(0);
                    // SAFETY: setpriority is a plain system call, which may be made between fork and exec.
                    unsafe {
                        c.pre_exec(move || {
                            libc::setpriority(libc::PRIO_PROCESS, 0, nice);
                            Ok(())
                        })
                    };
                    let p = c.spawn()?;
                    arguments.push(format!("idle.{}={}", w.name, p.id()));
                    idle.insert(w.name.clone(), p);
                }
                "slot" => {
                    arguments.push(format!("slot.{}={slots}", w.name));
                    slots += 64;
                }
                _ => {}
            }
        }
        let leaked = Self::leaks(&secret, &canary, victim.id(), servers.tcp)?;
        // SAFETY: plain questions about ourselves.
        let (uid, gid, session) = unsafe { (libc::getuid(), libc::getgid(), libc::getsid(0)) };
        arguments.extend(leaked.iter().map(|(k, f)| format!("leaked.{k}={}", f.as_raw_fd())));
        arguments.extend(servers.arguments.iter().map(|(k, v)| format!("{k}={v}")));
        arguments.extend([
            format!("secret={secret}"),
            format!("dir={base}/granted"),
            format!("base={base}"),
            format!("tag={tag}"),
            format!("pid={}", victim.id()),
            format!("uid={uid}"),
            format!("gid={gid}"),
            format!("session={session}"),
            format!("newkey={}", Objects::new_key(&tag)),
            format!("netns={}", fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino())),
            format!("tty={other_name}"),
            format!("tty2={second_name}"),
            format!("given={given_name}"),
        ]);
        let mut t = Targets {
            attacker: attacker.to_path_buf(),
            base,
            tag,
            canary,
            ways,
            arguments,
            before: HashMap::new(),
            victim,
            board,
            idle,
            objects,
            leaked,
            given,
            other,
            _second: second.0,
            _turn: turn,
            servers,
            terminal: true,
            patience: Duration::from_secs(180),
        };
        t.leaked.push(("fifo", fifo));
        std::thread::sleep(Duration::from_millis(50));
        t.before = t.picture();
        Ok(t)
    }

    /// A secret file for each attempt, and the special ones.
    fn files(secret: &str, canary: &str, ways: &[Way]) -> io::Result<()> {
        for w in ways {
            let path = format!("{secret}/{}", w.name);
            secret_file(&path, &format!("{canary} of {}\n{}\n", w.name, "-".repeat(64)))?;
            witness::set_attribute(&path, canary);
            if w.needs == "folder" {
                fs::create_dir(format!("{secret}/folder.{}", w.name))?;
                secret_file(&format!("{secret}/folder.{}/inside", w.name), canary)?;
            }
        }
        for name in ["held", "rw", "locked", "leak"] {
            secret_file(&format!("{secret}/{name}"), &format!("{canary}\n"))?;
        }
        secret_file(&format!("{secret}/script"), &format!("#!/bin/cat\n{canary}\n"))?;
        fs::set_permissions(format!("{secret}/script"), fs::Permissions::from_mode(0o700))?;
        fs::copy("/bin/echo", format!("{secret}/program"))?;
        fs::set_permissions(format!("{secret}/program"), fs::Permissions::from_mode(0o700))?;
        symlink(canary, format!("{secret}/link"))?;
        for name in ["fifo", "fifo2"] {
            let p = CString::new(format!("{secret}/{name}"))?;
            // SAFETY: the string lives across the call.
            unsafe { libc::mkfifo(p.as_ptr(), 0o600) };
        }
        Ok(())
    }

    /// Descriptors that a careless launcher passes on.
    fn leaks(secret: &str, canary: &str, victim: u32, tcp: u16) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        let mut all = vec![
            ("file", open(&format!("{secret}/held"), libc::O_RDONLY)?),
            ("write", open(&format!("{secret}/leak"), libc::O_RDWR)?),
            ("path", open(&format!("{secret}/held"), libc::O_PATH)?),
            ("folder", open(secret, libc::O_RDONLY | libc::O_DIRECTORY)?),
            ("root", open("/", libc::O_PATH | libc::O_DIRECTORY)?),
        ];
        let (r, w) = pipe()?;
        fs::File::from(w.try_clone()?).write_all(canary.as_bytes())?;
        all.extend([("pipe", r), ("pipe_end", w)]);
        // SAFETY: plain calls that return new descriptors; the name is a constant string.
        let (memory, pidfd) = unsafe {
            (
                libc::memfd_create(c"leaked".as_ptr(), libc::MFD_CLOEXEC),
                libc::syscall(libc::SYS_pidfd_open, victim, 0),
            )
        };
        let memory = must(memory)?;
        fs::File::from(memory.try_clone()?).write_all(canary.as_bytes())?;
        all.extend([("memfd", memory), ("pidfd", must(pidfd as i32)?)]);
        if let Ok(f) = open(&format!("/proc/{victim}/mem"), libc::O_RDONLY) {
            all.push(("memory", f));
        }
        if let Some(s) = servers::socket(libc::AF_INET, libc::SOCK_STREAM, 0) {
            servers::connect(&s, &servers::loopback(false, 1, tcp));
            all.push(("tcp", s));
        }
        all.extend(servers::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).map(|s| ("udp", s)));
        all.extend(servers::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0).map(|s| ("unix", s)));
        Ok(all)
    }

    /// The folder to be granted for writing.
    pub fn granted(&self) -> String {
        format!("{}/granted", self.base)
    }

    /// What describes the targets to the attacker.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Runs `launcher... attacker arguments` and gives back what the attacker said. In the launcher's words, `{dir}`
    /// stands for the granted folder and `{attacker}` for the program.
    pub fn run(&mut self, launcher: &[String], only: &str) -> io::Result<String> {
        let dir = self.granted();
        let attacker = self.attacker.display().to_string();
        let mut words: Vec<String> =
            launcher.iter().map(|w| w.replace("{dir}", &dir).replace("{attacker}", &attacker)).collect();
        words.push(attacker);
        words.extend(self.arguments.iter().cloned());
        words.extend([format!("only={only}"), "result=1".into()]);
        let mut c = Command::new(&words[0]);
        c.args(&words[1..])
            .env("WAYS_OUT_SECRET", &self.canary)
            .stdout(Stdio::piped())
            .current_dir(format!("{}/secret", self.base));
        c.stdin(if self.terminal { Stdio::from(self.given.1.try_clone()?) } else { Stdio::null() });
        let (terminal, fds): (bool, Vec<RawFd>) =
            (self.terminal, self.leaked.iter().map(|l| l.1.as_raw_fd()).collect());
        let (name, canary) = (CString::new(format!("{}.session", self.tag))?, self.canary.clone());
        // SAFETY: only system calls are made between fork and exec, on values made before it.
        unsafe {
            c.pre_exec(move || {
                libc::setsid();
                if terminal {
                    libc::fcntl(0, libc::F_SETFL, libc::O_RDWR);
                    libc::ioctl(0, libc::TIOCSCTTY, 0);
                }
                let ring = libc::syscall(libc::SYS_keyctl, 1, 0);
                libc::syscall(libc::SYS_keyctl, 5, ring, 0x3f3f_0000u32);
                libc::syscall(
                    libc::SYS_add_key,
                    c"user".as_ptr(),
                    name.as_ptr(),
                    canary.as_ptr(),
                    canary.len(),
                    -3,
                );
                for &fd in &fds {
                    libc::fcntl(fd, libc::F_SETFD, 0);
                }
                Ok(())
            });
        }
        let mut child = c.spawn()?;
        let (pid, patience, (done, wait)) = (child.id(), self.patience, std::sync::mpsc::channel::<()>());
        let mark = format!("tag={}", self.tag);
        let watchdog = std::thread::spawn(move || {
            if wait.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // SAFETY: the group is that of a child we have not reaped yet, so its number is still its own.
                unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
                end_marked(&mark);
            }
        });
        let mut said = Vec::new();
        let mut out = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::Other)?);
        // A launcher that gives a terminal makes two bytes of each line's end.
        let is_end =
            |said: &[u8]| said.ends_with(b"\nend\tend\tend\t\n") || said.ends_with(b"\nend\tend\tend\t\r\n");
        while out.read_until(b'\n', &mut said)? > 0 && !is_end(&said) {}
        let status = child.wait()?;
        let _ = done.send(());
        let _ = watchdog.join();
        std::thread::sleep(Duration::from_millis(150));
        let said = String::from_utf8_lossy(&said).replace("\r\n", "\n");
        if said.ends_with("end\tend\tend\t\n") {
            return Ok(said);
        }
        let last = said.lines().last().unwrap_or("nothing").to_string();
        Err(io::Error::other(format!("the attacker did not reach its end: {status}, after {last}")))
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        for p in self.idle.values_mut().chain([&mut self.victim]) {
            let _ = p.kill();
            let _ = p.wait();
        }
        self.end_stragglers();
        // SAFETY: the mapping that `arrange` made, used no more.
        unsafe { libc::munmap(self.board as *mut libc::c_void, 8192) };
        for f in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if f.file_name().to_string_lossy().starts_with(&self.tag) {
                let _ = fs::remove_file(f.path());
            }
        }
        let _ = fs::remove_file(format!("{}.tmp", self.base));
        let _ = fs::remove_dir_all(&self.base);
    }
}

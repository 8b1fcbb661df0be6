//! What every attempt shares: the description of the targets, raw system calls, and the proof of an effect.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What a way reaches. Metadata and information are declared, the others are failures when open.
#[derive(Clone, Copy)]
pub enum Class {
    Data,
    Process,
    Network,
    Service,
    Metadata,
    Information,
}

impl Class {
    pub fn word(self) -> &'static str {
        match self {
            Class::Data => "data",
            Class::Process => "process",
            Class::Network => "network",
            Class::Service => "service",
            Class::Metadata => "metadata",
            Class::Information => "information",
        }
    }
}

/// What came of one attempt. `Witness` leaves the verdict to the harness and names what it must look at.
pub enum Say {
    Open(String),
    Closed(String),
    Absent(String),
    Witness(String),
}

/// The error is an errno, or [`NOT_THERE`] when the harness gave no such target.
pub type Out = Result<Say, i32>;
pub const NOT_THERE: i32 = -1;

/// One way out: its name, what it reaches, the private target it wants, and the attempt itself.
pub struct Way {
    pub name: &'static str,
    pub class: Class,
    pub needs: &'static str,
    pub about: &'static str,
    pub run: fn(&T) -> Out,
}

/// Declares a module's table `WAYS`: a way for each entry, with a small function of its own.
macro_rules! ways {
    ($module:ident; $(#[doc = $about:literal] $name:ident $class:ident $($need:ident)? |$t:ident| $body:expr;)*) => {
        #[allow(unused_variables)]
        pub static WAYS: &[Way] = &[$(Way {
            name: concat!(stringify!($module), ".", stringify!($name)),
            class: Class::$class,
            needs: concat!("" $(, stringify!($need))?),
            about: $about,
            run: |$t: &T| -> Out { $body },
        }),*];
    };
}
pub(crate) use ways;

/// A system call by its name in libc without `SYS_`, or by `nr N` for those libc has no name for.
macro_rules! sys {
    (nr $n:expr $(, $a:expr)*) => { crate::tool::call($n as _, &[$(($a) as usize),*]) };
    ($n:ident $(, $a:expr)*) => { crate::tool::call(libc::$n, &[$(($a) as usize),*]) };
}
pub(crate) use sys;

/// One raw system call; the errno is the error.
pub fn call(nr: libc::c_long, a: &[usize]) -> Result<usize, i32> {
    let g = |i: usize| a.get(i).copied().unwrap_or(0);
    // SAFETY: every pointer among the arguments is to memory the caller keeps alive across this statement, or is
    // meant to be refused; the kernel checks what it copies. Calls that change the address space are the caller's care.
    let r = unsafe { libc::syscall(nr, g(0), g(1), g(2), g(3), g(4), g(5)) };
    if r < 0 { Err(errno()) } else { Ok(r as usize) }
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Takes ownership of a descriptor a system call returned.
pub fn own(fd: usize) -> OwnedFd {
    // SAFETY: the number was just returned by the kernel as a new descriptor and nobody else holds it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

pub fn c(s: &str) -> CString {
    CString::new(s).unwrap_or_default()
}

/// A zeroed C structure.
pub fn zero<S>() -> S {
    // SAFETY: used only for plain C structures of the kernel's interface, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

pub fn at<S>(s: &S) -> usize {
    std::ptr::from_ref(s) as usize
}

pub fn at_mut<S>(s: &mut S) -> usize {
    std::ptr::from_mut(s) as usize
}

/// The targets, as the harness described them, for the attempt that is running.
pub struct T {
    pub keys: HashMap<String, String>,
    pub way: &'static str,
}

impl T {
    pub fn text(&self, key: &str) -> Result<&str, i32> {
        self.keys.get(key).map(String::as_str).ok_or(NOT_THERE)
    }
    pub fn num(&self, key: &str) -> Result<usize, i32> {
        let s = self.text(key)?;
        s.parse::<i64>().map(|n| n as usize).map_err(|_| NOT_THERE)
    }
    /// The private target of this attempt: `kind.WAY=number`.
    pub fn mine(&self, kind: &str) -> Result<usize, i32> {
        self.num(&format!("{kind}.{}", self.way))
    }
    pub fn secrets(&self) -> String {
        self.text("secret").unwrap_or("/nonexistent").to_string()
    }
    /// This attempt's own secret file.
    pub fn file(&self) -> String {
        format!("{}/{}", self.secrets(), self.way)
    }
    /// A name beside the secrets that does not exist yet; the harness looks whether it does afterwards.
    pub fn fresh(&self) -> String {
        format!("{}/new.{}", self.secrets(), self.way)
    }
    /// A folder beside the secrets, empty; the harness looks whether it still is.
    pub fn folder(&self) -> String {
        format!("{}/folder.{}", self.secrets(), self.way)
    }
    /// A name in the granted folder.
    pub fn granted(&self, suffix: &str) -> String {
        format!("{}/{}{}", self.text("dir").unwrap_or("/nonexistent"), self.way, suffix)
    }
    /// What would change the whole machine if root did it is not tried as root.
    pub fn not_root(&self) -> Result<(), i32> {
        if self.num("uid")? == 0 { Err(NOT_THERE) } else { Ok(()) }
    }
    pub fn victim(&self) -> Result<usize, i32> {
        self.num("pid")
    }
    /// A path below `/proc/VICTIM`.
    pub fn of_victim(&self, name: &str) -> Result<String, i32> {
        Ok(format!("/proc/{}/{name}", self.victim()?))
    }
    /// The bytes that tell a listener which attempt reached it.
    pub fn token(&self) -> &'static [u8] {
        self.way.as_bytes()
    }
}

pub fn open_(path: &str, flags: i32) -> Result<OwnedFd, i32> {
    sys!(SYS_openat, libc::AT_FDCWD, c(path).as_ptr(), flags | libc::O_CLOEXEC | libc::O_NONBLOCK, 0o600)
        .map(own)
}

pub fn write_(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, i32> {
    sys!(SYS_write, fd.as_raw_fd(), bytes.as_ptr(), bytes.len())
}

pub fn bytes_of(fd: &OwnedFd) -> Result<Vec<u8>, i32> {
    let mut all = Vec::new();
    let mut b = vec![0u8; 16384];
    while all.len() < 1 << 18 {
        match sys!(SYS_read, fd.as_raw_fd(), b.as_mut_ptr(), b.len()) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&b[..n]),
            Err(e) if all.is_empty() => return Err(e),
            Err(_) => break,
        }
    }
    Ok(all)
}

/// Open when the bytes hold the canary; the harness checks that it is the right one.
pub fn proof(bytes: &[u8]) -> Out {
    const MARK: &[u8] = b"canary:";
    let found = bytes.windows(MARK.len()).position(|w| w == MARK);
    Ok(match found {
        Some(i) => Say::Open(format!("read {}", clean(&bytes[i..(i + 23).min(bytes.len())]))),
        None => Say::Closed(format!("{} bytes, none of the secret", bytes.len())),
    })
}

/// Open when reading the descriptor gives the canary.
pub fn read_(fd: OwnedFd) -> Out {
    proof(&bytes_of(&fd)?)
}

pub fn read_path(path: &str) -> Out {
    read_(open_(path, libc::O_RDONLY)?)
}

/// Open when the file can be read at all and is not empty.
pub fn some(path: &str) -> Out {
    let b = bytes_of(&open_(path, libc::O_RDONLY)?)?;
    Ok(if b.is_empty() { Say::Closed("empty".into()) } else { Say::Open(format!("{} bytes", b.len())) })
}

pub fn open_say(what: impl Into<String>) -> Out {
    Ok(Say::Open(what.into()))
}

pub fn closed(what: impl Into<String>) -> Out {
    Ok(Say::Closed(what.into()))
}

/// A parent that is the first process of a sandbox's own process namespace is not outside.
pub fn parent_outside() -> Result<usize, i32> {
    match std::os::unix::process::parent_id() {
        0 | 1 => Err(libc::ESRCH),
        p => Ok(p as usize),
    }
}

/// Leaves the verdict to the harness: `what` is the kind of thing to look at, and what it would have become.
pub fn witness(what: impl Into<String>) -> Out {
    Ok(Say::Witness(what.into()))
}

/// The same, whatever errno said: for calls whose answer may lie.
pub fn witness_anyway(what: &str, r: Result<usize, i32>) -> Out {
    witness(format!("{what}; {}", r.map_or_else(name_of, |n| format!("returned {n}"))))
}

pub fn clean(b: &[u8]) -> String {
    b.iter().map(|&x| if (32..127).contains(&x) { x as char } else { '.' }).collect()
}

pub fn name_of(e: i32) -> String {
    const NAMES: &[(i32, &str)] = &[
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (4, "EINTR"),
        (6, "ENXIO"),
        (9, "EBADF"),
        (10, "ECHILD"),
        (11, "EAGAIN"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (18, "EXDEV"),
        (19, "ENODEV"),
        (20, "ENOTDIR"),
        (21, "EISDIR"),
        (22, "EINVAL"),
        (25, "ENOTTY"),
        (30, "EROFS"),
        (38, "ENOSYS"),
        (40, "ELOOP"),
        (43, "EIDRM"),
        (61, "ENODATA"),
        (92, "ENOPROTOOPT"),
        (93, "EPROTONOSUPPORT"),
        (94, "ESOCKTNOSUPPORT"),
        (95, "EOPNOTSUPP"),
        (97, "EAFNOSUPPORT"),
        (99, "EADDRNOTAVAIL"),
        (101, "ENETUNREACH"),
        (106, "EISCONN"),
        (107, "ENOTCONN"),
        (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"),
        (113, "EHOSTUNREACH"),
        (126, "ENOKEY"),
        (122, "EDQUOT"),
    ];
    NAMES.iter().find(|n| n.0 == e).map_or_else(|| format!("errno {e}"), |n| n.1.to_string())
}

/// A process by whichever of the calls is let through.
fn fork_any() -> Result<usize, i32> {
    let clone = [libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: this program has one thread, so the child may go on using the allocator and the locks.
    let first = unsafe { libc::fork() };
    if first >= 0 {
        return Ok(first as usize);
    }
    let e = errno();
    sys!(SYS_fork).or_else(|_| call(libc::SYS_clone3, &[at(&clone), 64])).map_err(|_| e)
}

/// Runs the attempt in a child, which may then die or be changed for ever. Refused when no child can be made.
pub fn child(f: impl FnOnce() -> Out) -> Out {
    match in_child(f) {
        Ok(out) => out,
        Err((e, _)) => closed(format!("no child can be made: {}", name_of(e))),
    }
}

/// Runs the attempt in a child, or here when no child can be made.
pub fn aside(f: impl FnOnce() -> Out) -> Out {
    match in_child(f) {
        Ok(out) => out,
        Err((_, f)) => f(),
    }
}

fn in_child<F: FnOnce() -> Out>(f: F) -> Result<Out, (i32, F)> {
    let mut p = [0i32; 2];
    if let Err(e) = sys!(SYS_pipe2, p.as_mut_ptr(), libc::O_CLOEXEC) {
        return Err((e, f));
    }
    let (r, w) = (own(p[0] as usize), own(p[1] as usize));
    let pid = match fork_any() {
        Ok(pid) => pid,
        Err(e) => return Err((e, f)),
    };
    if pid == 0 {
        // SAFETY: plain calls that set this child's own signal disposition and alarm.
        unsafe {
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(3);
        }
        let line = match f() {
            Ok(Say::Open(s)) => format!("o{s}"),
            Ok(Say::Closed(s)) => format!("c{s}"),
            Ok(Say::Absent(s)) => format!("a{s}"),
            Ok(Say::Witness(s)) => format!("w{s}"),
            Err(e) => format!("e{e}"),
        };
        let _ = write_(&w, line.as_bytes());
        // SAFETY: ends this child at once, without running the parent's exit handlers.
        unsafe { libc::_exit(0) }
    }
    drop(w);
    let line = String::from_utf8_lossy(&bytes_of(&r).unwrap_or_default()).into_owned();
    let _ = sys!(SYS_kill, pid, libc::SIGKILL);
    let mut status = 0i32;
    let _ = sys!(SYS_wait4, pid, at_mut(&mut status), 0, 0);
    let rest = line.get(1..).unwrap_or("").to_string();
    Ok(match line.as_bytes().first() {
        Some(b'o') => Ok(Say::Open(rest)),
        Some(b'c') => Ok(Say::Closed(rest)),
        Some(b'a') => Ok(Say::Absent(rest)),
        Some(b'w') => Ok(Say::Witness(rest)),
        Some(b'e') => Err(rest.parse().unwrap_or(0)),
        _ => closed(format!("child ended with status {status:#x}")),
    })
}

/// Runs a program and gives back what it wrote.
pub fn output_of(argv: &[&str], env: &[&str]) -> Result<Vec<u8>, i32> {
    let mut p = [0i32; 2];
    sys!(SYS_pipe2, p.as_mut_ptr(), 0)?;
    let (r, w) = (own(p[0] as usize), own(p[1] as usize));
    let (args, vars): (Vec<CString>, Vec<CString>) =
        (argv.iter().map(|a| c(a)).collect(), env.iter().map(|a| c(a)).collect());
    let list = |v: &Vec<CString>| v.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (a, v) = (list(&args), list(&vars));
    let pid = fork_any()?;
    if pid == 0 {
        let _ = sys!(SYS_dup2, w.as_raw_fd(), 1);
        let _ = sys!(SYS_dup2, w.as_raw_fd(), 2);
        let _ = sys!(SYS_execve, args[0].as_ptr(), a.as_ptr(), v.as_ptr());
        // SAFETY: ends this child at once.
        unsafe { libc::_exit(errno()) }
    }
    drop(w);
    let out = bytes_of(&r);
    let mut status = 0i32;
    let _ = sys!(SYS_kill, pid, libc::SIGKILL);
    let _ = sys!(SYS_wait4, pid, at_mut(&mut status), 0, 0);
    match out {
        Ok(b) if b.is_empty() && status >> 8 != 0 => Err(status >> 8),
        other => other,
    }
}

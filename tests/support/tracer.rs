//! A small tracer: runs a driver process, shows every system call of it and of the newborns it makes, from birth to exec, and
//! answers chosen calls in the kernel's place.
//!
//! Safety idea: a tracee is named by the number that `wait` gave and is stopped while it is looked at; `ESRCH` from one that was
//! killed meanwhile is no error. A driver that hangs is killed by a watchdog, and all tracees end with the tracer.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The call that drivers talk to their tracer by. The kernel has none of this number.
const SAY: i64 = 0x0be9;
/// What chooses a driver.
const DRIVER: &str = "BEGET_TEST_DRIVER";
/// How long a driver may take, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The process that uses the library.
    Driver,
    /// A process that it made, before its exec.
    Newborn,
}

/// A system call about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Who makes it.
    pub who: Who,
    /// That process's number.
    pub process: i32,
    /// The call's number.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// Whether it only looks at the keyring that a newborn found by name: what is not seen to be as it should is left for another, so this
    /// call cannot fail a birth.
    pub fn only_looks_at_keyring(&self) -> bool {
        let looks = [libc::KEYCTL_DESCRIBE, libc::KEYCTL_READ].map(u64::from);
        match self.number {
            libc::SYS_keyctl => looks.contains(&self.arguments[0]),
            number => number == libc::SYS_geteuid,
        }
    }
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let the kernel have it.
    Go,
    /// Skip it, and give this answer.
    Answer(i64),
    /// Kill whoever makes it.
    Kill,
}

impl Verdict {
    /// Skip it, and say that it failed.
    pub fn fail(errno: i32) -> Verdict {
        Verdict::Answer(-i64::from(errno))
    }
}

/// Whoever looks on.
pub trait Watch {
    /// A call is about to be made.
    fn call(&mut self, call: &Call) -> Verdict;
    /// It was made, or answered in the kernel's place.
    fn answered(&mut self, _call: &Call, _answer: i64) {}
    /// The driver said something, and gets a number back.
    fn said(&mut self, words: &str) -> i64;
}

/// Says something to the tracer and gives its answer.
pub fn say(words: &str) -> i64 {
    // SAFETY: the kernel has no such call; the tracer reads the words while this process is stopped.
    unsafe { libc::syscall(SAY, words.as_ptr(), words.len()) }
}

/// The driver that this process was started as, if any.
pub fn driver_name() -> Option<String> {
    std::env::var(DRIVER).ok()
}

/// Makes this test program run a function, with a driver's name, instead of the tests, when it is started as a driver: before
/// `main`, so that there is no test runner and only one thread.
#[macro_export]
macro_rules! driver {
    ($function:path) => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static DRIVER: extern "C" fn() = {
            extern "C" fn start() {
                if let Some(name) = $crate::tracer::driver_name() {
                    $function(&name);
                    std::process::exit(0);
                }
            }
            start
        };
    };
}

/// A command for this test program as the driver of that name.
pub fn driver(name: &str) -> Command {
    // The first spawn of a user makes the keyring that the others join: that is over before anything is compared.
    static SETTLED: std::sync::Once = std::sync::Once::new();
    SETTLED.call_once(|| {
        let first = beget::Command::new(crate::program("probe")).args(["exit", "0"]).status();
        assert!(first.expect("a first spawn").status.success());
    });
    let mut command = Command::new(std::env::current_exe().expect("a running test has a path"));
    command.env_clear().env(DRIVER, name).env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null());
    if let Some(folder) = std::env::var_os("TMPDIR") {
        command.env("TMPDIR", folder);
    }
    command
}

/// A tracee between two stops.
#[derive(Clone, Copy)]
struct Tracee {
    who: Who,
    call: Option<(Call, Verdict)>,
}

fn ptrace(request: libc::c_uint, process: i32, address: usize, data: usize) -> i64 {
    // SAFETY: callers pass buffers of the size that the request wants, or numbers.
    unsafe { libc::ptrace(request, process, address, data) }
}

/// Copies memory of a stopped tracee.
pub fn read_memory(process: i32, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; length];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: length };
    // SAFETY: writes at most `length` bytes to a live buffer; the other address is checked by the kernel.
    let read = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    bytes.truncate(read.max(0) as usize);
    bytes
}

/// `PTRACE_GET_SYSCALL_INFO`: an entry with its call, an exit with its answer, or neither.
enum Stop {
    Entry(i64, [u64; 6]),
    Exit(i64),
    Neither,
}

fn stop_of(process: i32) -> Stop {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut words = [0u64; 11];
    let size = size_of_val(&words);
    ptrace(GET_SYSCALL_INFO, process, size, words.as_mut_ptr() as usize);
    match words[0] as u8 {
        1 => {
            let mut arguments = [0; 6];
            arguments.copy_from_slice(&words[4..10]);
            Stop::Entry(words[3] as i64, arguments)
        }
        2 => Stop::Exit(words[3] as i64),
        _ => Stop::Neither,
    }
}

fn set_register(process: i32, register: usize, value: i64) {
    ptrace(libc::PTRACE_POKEUSER, process, register * 8, value as usize);
}

fn on_call(process: i32, tracee: &mut Tracee, watch: &mut dyn Watch) {
    const RAX: usize = 10;
    const ORIG_RAX: usize = 15;
    match stop_of(process) {
        Stop::Entry(number, arguments) => {
            let call = Call { who: tracee.who, process, number, arguments };
            let verdict = if number == SAY {
                let words = read_memory(process, arguments[0], arguments[1] as usize);
                Verdict::Answer(watch.said(&String::from_utf8_lossy(&words)))
            } else {
                watch.call(&call)
            };
            match verdict {
                Verdict::Go => {}
                Verdict::Answer(_) => set_register(process, ORIG_RAX, -1),
                // SAFETY: the number is of a stopped tracee, which cannot have been reused.
                Verdict::Kill => drop(unsafe { libc::kill(process, libc::SIGKILL) }),
            }
            tracee.call = Some((call, verdict));
        }
        Stop::Exit(answer) => {
            let Some((call, verdict)) = tracee.call.take() else { return };
            let answer = match verdict {
                Verdict::Answer(given) => {
                    set_register(process, RAX, given);
                    given
                }
                _ => answer,
            };
            if call.number != SAY {
                watch.answered(&call, answer);
            }
        }
        Stop::Neither => {}
    }
}

/// Runs a driver to its end under `watch` and gives its exit code, or minus the signal that ended it. `None` where processes may
/// not be traced.
pub fn trace(name: &str, watch: &mut dyn Watch) -> Option<i32> {
    let mut command = driver(name);
    // SAFETY: one plain call in the new process.
    unsafe {
        command.pre_exec(|| match ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = match command.spawn() {
        Ok(child) => child.id() as i32,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return None,
        Err(error) => panic!("the driver cannot be started: {error}"),
    };
    let (_done, watchdog) = std::sync::mpsc::channel::<()>();
    // SAFETY: a new descriptor for our own child, which nobody else waits for.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) } as i32;
    let watching = std::thread::spawn(move || {
        let hung = watchdog.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        // SAFETY: the descriptor is this thread's own.
        unsafe {
            if hung {
                libc::syscall(libc::SYS_pidfd_send_signal, pidfd, libc::SIGKILL, 0, 0);
            }
            libc::close(pidfd);
        }
    });
    let code = follow(child, watch);
    drop(_done);
    watching.join().expect("the watchdog does nothing that can fail");
    Some(code)
}

fn follow(driver: i32, watch: &mut dyn Watch) -> i32 {
    let mut tracees = HashMap::from([(driver, Tracee { who: Who::Driver, call: None })]);
    let mut ready = false;
    loop {
        let mut status = 0;
        // SAFETY: the status is on this stack; only what this thread traces is waited for, so that tests can run side by side.
        let process = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(process > 0, "the driver vanished: {}", std::io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            tracees.remove(&process);
            if process != driver {
                continue;
            }
            return if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) };
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let mut deliver = 0;
        match tracees.get_mut(&process) {
            None => drop(tracees.insert(process, Tracee { who: Who::Newborn, call: None })),
            Some(_) if process == driver && !ready => {
                let options = libc::PTRACE_O_TRACESYSGOOD
                    | libc::PTRACE_O_EXITKILL
                    | libc::PTRACE_O_TRACEEXEC
                    | libc::PTRACE_O_TRACEFORK
                    | libc::PTRACE_O_TRACEVFORK
                    | libc::PTRACE_O_TRACECLONE;
                ptrace(libc::PTRACE_SETOPTIONS, process, 0, options as usize);
                ready = true;
            }
            Some(tracee) if signal == libc::SIGTRAP | 0x80 => on_call(process, tracee, watch),
            Some(tracee) if event == libc::PTRACE_EVENT_EXEC => {
                if let Some((call, _)) = tracee.call.take() {
                    watch.answered(&call, 0);
                }
                ptrace(libc::PTRACE_DETACH, process, 0, 0);
                tracees.remove(&process);
                continue;
            }
            Some(_) if event == 0 => deliver = signal,
            Some(_) => {}
        }
        ptrace(libc::PTRACE_SYSCALL, process, 0, deliver as usize);
    }
}

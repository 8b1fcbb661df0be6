//! What the tests share: the binaries under test, folders that go away, skips that say why, and the check that nothing is left.

pub mod tracer;

#[path = "../ways_out/harness.rs"]
pub mod ways_out;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The folder that cargo puts this package's programs into; the tests lie in `deps` below it.
fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.parent().and_then(Path::parent).expect("tests lie two folders down").to_owned()
}

/// The path of one of this package's programs: `beget-under-test`, `probe`, `attacker`.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(path.exists(), "{} is not built; cargo builds it with the tests of this package", path.display());
    path
}

/// A `beget` command with an empty environment but for PATH, and with [signals of its own](own_signals).
pub fn beget() -> Command {
    let mut command = Command::new(program("beget-under-test"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    own_signals(&mut command);
    command
}

/// Starts it with no signal ignored that whoever started the tests ignores: `nohup` and a shell's `&` do that with some.
pub fn own_signals(command: &mut Command) {
    // SAFETY: system calls that a forked child may make.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// Runs `beget` with these words and gives what it wrote and how it ended.
pub fn run(words: &[&str]) -> Output {
    beget().args(words).output().expect("beget can be started")
}

/// What a program wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder that goes away, empty at first, which every user may reach.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("beget-test-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                // Another process of this number was killed and left it.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("the temporary folder can be written");
                    return Scratch(path);
                }
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of an entry in it, as text.
    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a temporary path is text").to_owned()
    }

    /// Writes a file in it and gives its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.at(name);
        std::fs::write(&path, contents).expect("the folder can be written");
        path
    }

    /// The same, executable.
    pub fn script(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, contents);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
        path
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a test may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be root. The run as root covers it.
    Root,
    /// Not to be root. The run as an ordinary user covers it.
    OrdinaryUser,
    /// A program that the repository's own install script brings.
    Program(&'static str),
    /// Something of the kernel or the machine, looked for and not found.
    Machine(&'static str),
}

/// Says, by name and past the test runner's capture, that a test is skipped and why. Where CI could have run it, it fails.
pub fn skip(test: &str, need: Need) {
    let line = format!("skipped: {test}: needs {need:?}\n");
    // SAFETY: writes a live buffer to standard error.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    let must_run = std::env::var_os("CI").is_some();
    let could_run = match need {
        Need::Root => is_root(),
        Need::OrdinaryUser => !is_root(),
        Need::Program(_) => true,
        Need::Machine(_) => false,
    };
    assert!(!(must_run && could_run), "{test} could have run here");
}

/// Whether this test runs as root.
pub fn is_root() -> bool {
    // SAFETY: asks a number.
    unsafe { libc::geteuid() == 0 }
}

/// Whether an ordinary child would find this program.
pub fn has(program: &str) -> bool {
    beget::DEFAULT_PATH.split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// The open descriptors of this process, as `number -> what`.
pub fn descriptors() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is there");
    let name = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().into_string().ok()?;
        // The descriptor that lists the folder is not there any more.
        (!target.ends_with("fd")).then(|| format!("{number} -> {}", target.display()))
    };
    entries.flatten().filter_map(name).collect()
}

/// The numbers of this process's children, of all its threads, zombies too.
pub fn children() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there");
    let list =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let lists: Vec<String> = tasks.flatten().map(list).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|number| number.parse().ok()).collect()
}

/// What `probe` reported, by key.
pub fn report(bytes: &[u8]) -> std::collections::BTreeMap<String, String> {
    let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text(bytes).lines().filter_map(pair).collect()
}

/// Runs `body` in a process of its own: for tests that change, or count, what all threads of a process share. `test` is the
/// test's own name, with its modules.
pub fn in_own_process(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "BEGET_TEST_ALONE";
    if std::env::var_os(ALONE).is_some_and(|name| name == test) {
        // SAFETY: a number; the signal ends a test that would wait for ever.
        unsafe { libc::alarm(300) };
        return body();
    }
    let own = std::env::current_exe().expect("a running test has a path");
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    let output = Command::new(own).args(arguments).env(ALONE, test).output().expect("a test can be started");
    let (told, said) = (text(&output.stderr), text(&output.stdout));
    for line in told.lines().filter(|line| line.starts_with("skipped: ")) {
        let line = format!("{line}\n");
        // SAFETY: writes a live buffer to standard error.
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }
    assert!(output.status.success(), "{test}, alone: {}\n{said}\n{told}", output.status);
    assert!(said.contains("1 passed"), "{test} is not the name of one test:\n{said}");
}

/// Gives a test that runs [in a process of its own](in_own_process) so much time more, from now on: it was asked to do more than it does by itself.
pub fn with_time(more: std::time::Duration) {
    let seconds = u32::try_from(more.as_secs()).unwrap_or(u32::MAX).saturating_add(300);
    // SAFETY: a number.
    unsafe { libc::alarm(seconds) };
}

/// Runs a command to its end and collects what it wrote. Whatever is wrong, this ends: after 30 seconds it kills the process and
/// fails.
pub fn finish(command: &mut Command) -> Output {
    use std::os::fd::AsRawFd;
    use std::process::Stdio;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    drop(child.stdin.take());
    let mut streams = [
        (child.stdout.take().map(std::os::fd::OwnedFd::from), Vec::new()),
        (child.stderr.take().map(std::os::fd::OwnedFd::from), Vec::new()),
    ];
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while streams.iter().any(|(stream, _)| stream.is_some()) {
        let number = |stream: &Option<std::os::fd::OwnedFd>| stream.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let mut watched = streams.each_ref().map(|(stream, _)| libc::pollfd {
            fd: number(stream),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: an array of two on this stack.
        unsafe { libc::poll(watched.as_mut_ptr(), 2, 100) };
        if std::time::Instant::now() > until {
            let _ = child.kill();
            panic!("still running, or its output still held, after 30 s: {command:?}");
        }
        for ((stream, bytes), state) in streams.iter_mut().zip(watched) {
            if stream.is_none() || state.revents == 0 {
                continue;
            }
            let mut chunk = [0u8; 1 << 16];
            // SAFETY: reads into a buffer on this stack from a descriptor that is open.
            let count = unsafe { libc::read(state.fd, chunk.as_mut_ptr().cast(), chunk.len()) };
            bytes.extend_from_slice(&chunk[..usize::try_from(count).unwrap_or(0)]);
            if count <= 0 {
                *stream = None;
            }
        }
    }
    let status = child.wait().expect("our own child");
    let [(_, stdout), (_, stderr)] = streams;
    Output { status, stdout, stderr }
}

/// A word that no other test's processes have among their arguments.
pub fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("mark-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The numbers of the processes on this machine with `mark` in an argument, but for this one.
pub fn marked(mark: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    let has = |number: &u32| {
        let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        words.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number != std::process::id()).filter(has).collect()
}

/// Runs `body` in a process that has no other test in it: this very test again, by its full name. For what counts the process's
/// own descriptors and children, or lowers its limits.
pub fn alone(test: &str, body: impl FnOnce()) {
    const NAME: &str = "BEGET_TEST_ALONE";
    if std::env::var_os(NAME).is_some_and(|name| name == test) {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", test, "--test-threads=1", "--nocapture"]).env(NAME, test);
    let output = finish(&mut command);
    let words = text(&output.stdout);
    assert!(output.status.success() && words.contains("1 passed"), "{words}\n{}", text(&output.stderr));
}

impl Scratch {
    /// Writes an executable that can be executed at once. Another process writes it: while this one has it open for writing, a
    /// thread beside may fork, and as long as that child holds the descriptor too, execution fails with `ETXTBSY`.
    pub fn executable(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let (draft, path) = (self.script(&format!("{name}.draft"), contents), self.at(name));
        let status = Command::new("/bin/cp").args(["--remove-destination", &draft, &path]).status();
        assert!(status.is_ok_and(|status| status.success()), "{path} cannot be written");
        std::fs::remove_file(draft).expect("it is ours");
        path
    }
}

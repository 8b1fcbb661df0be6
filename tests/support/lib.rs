//! What the tests share: the binaries under test, folders that go away, skips that say why, and the check that nothing is left.

use std::collections::BTreeSet;
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

/// A `beget` command with an empty environment but for PATH.
pub fn beget() -> Command {
    let mut command = Command::new(program("beget-under-test"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
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
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("beget-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("the temporary folder can be written");
        Scratch(path)
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

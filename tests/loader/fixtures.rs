//! Programs that are compiled for the tests, once for all of them, in one folder that goes away with the test.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use beget_tests::{Scratch, text};

/// The folder, which every user may reach.
pub(crate) fn folder() -> &'static Scratch {
    static FOLDER: OnceLock<Scratch> = OnceLock::new();
    FOLDER.get_or_init(|| {
        extern "C" fn clear() {
            let _ = std::fs::remove_dir_all(folder().path());
        }
        // SAFETY: a function of this program, which is there until it ends.
        unsafe { libc::atexit(clear) };
        Scratch::new()
    })
}

/// Compiles `source`, once, with `compiler` and `flags`, and gives the program's path. What is compiled is named by all of them.
pub(crate) fn compiled(compiler: &str, source: &str, flags: &[&str]) -> String {
    type Made = Arc<OnceLock<String>>;
    static MADE: Mutex<BTreeMap<String, Made>> = Mutex::new(BTreeMap::new());
    let key = format!("{compiler} {flags:?} {source}");
    let (number, made) = {
        let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = all.len();
        (number, Arc::clone(all.entry(key).or_default()))
    };
    made.get_or_init(|| compile(number, compiler, source, flags)).clone()
}

fn compile(number: usize, compiler: &str, source: &str, flags: &[&str]) -> String {
    let folder = folder();
    let ending = if compiler == "g++" { "cc" } else { "c" };
    let file = folder.file(&format!("source-{number}.{ending}"), source);
    let path = folder.at(&format!("program-{number}"));
    let mut command = Command::new(compiler);
    command.env("PATH", beget::DEFAULT_PATH).args(["-O1", "-g", "-o", &path, &file]).args(flags);
    let output = command.output().expect("the compiler is there");
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    path
}

/// The same by the system's C compiler.
pub(crate) fn c(source: &str, flags: &[&str]) -> String {
    compiled("gcc", source, flags)
}

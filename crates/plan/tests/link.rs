//! The link of the blob fails when a panic, writable data or a relocation gets in: shown by putting each in, in a copy.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that goes away.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the temporary folder can be written");
    for entry in std::fs::read_dir(from).expect("the sources are there").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the temporary folder can be written");
        }
    }
}

fn compiler() -> Option<std::ffi::OsString> {
    let name = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let found = Command::new(&name).arg("-vV").output().is_ok_and(|output| output.status.success());
    found.then_some(name)
}

/// Builds the blob as the build script does, from a copy of the sources with `added` at the end of one file and `called` at the
/// beginning of the interpreter's loop.
fn link(name: &str, added: &str, called: &str) -> Option<Output> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (Some(rustc), true) = (compiler(), sources.join("../sys/src/lib.rs").exists()) else {
        support::skip(name, "there is no rustc, or no source of beget-sys, here");
        return None;
    };
    let folder = Folder(std::env::temp_dir().join(format!("beget-link-{name}-{}", std::process::id())));
    copy(&sources.join("src"), &folder.0.join("plan"));
    copy(&sources.join("blob"), &folder.0.join("blob"));
    copy(&sources.join("../sys/src"), &folder.0.join("sys"));
    let path = folder.0.join("plan/interpreter.rs");
    let mut text = std::fs::read_to_string(&path).expect("just copied");
    const LOOP: &str = "for index in 0..plan.count() {";
    assert_eq!(text.matches(LOOP).count(), 1, "the place to call from");
    text = text.replace(LOOP, &format!("{called}\n{LOOP}"));
    text.push_str(added);
    std::fs::write(&path, text).expect("just copied");

    let build = |name: &str, source: &str, target: &str| {
        let mut command = Command::new(&rustc);
        command.args(["--edition=2024", "--cfg=beget_freestanding", "--cap-lints=allow", "-Copt-level=s"]);
        command.args([
            "-Cpanic=abort",
            "-Ccodegen-units=1",
            "-Cforce-unwind-tables=no",
            "-Coverflow-checks=no",
        ]);
        command.args(["--crate-name", name, "-o", target, source]).current_dir(&folder.0);
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    };
    let library = |command: &mut Command| {
        let output = command.args(["--crate-type=rlib", "-Cembed-bitcode=yes"]).output().expect("rustc runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    library(&mut build("beget_sys", "sys/lib.rs", "libbeget_sys.rlib"));
    let system = "--extern=beget_sys=libbeget_sys.rlib";
    library(build("beget_plan", "plan/lib.rs", "libbeget_plan.rlib").arg(system));
    let mut blob = build("beget_blob", "blob/main.rs", "blob.elf");
    blob.args(["--crate-type=bin", "-Clto=fat", "-Crelocation-model=pic"]);
    for argument in
        ["-nostdlib", "-nostartfiles", "-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,--no-dynamic-linker"]
    {
        blob.arg(format!("-Clink-arg={argument}"));
    }
    blob.args([
        "-Clink-arg=-Wl,-T,blob/blob.ld",
        "--extern=beget_plan=libbeget_plan.rlib",
        system,
        "-L",
        ".",
    ]);
    Some(blob.output().expect("rustc runs"))
}

fn assert_refused(name: &str, added: &str, called: &str, words: &str) {
    let Some(output) = link(name, added, called) else { return };
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{name}: it links");
    assert!(said.contains(words), "{name}: {said}");
}

#[test]
fn as_it_is_it_links() {
    let Some(output) = link("as-it-is", "", "") else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reachable_panic_is_refused() {
    let called = "if bench.scratch[bench.descriptors.len()] == 7 { return Outcome::Failed(Fault { op: 0, errno: Errno::EINVAL }); }";
    assert_refused("panic", "", called, "BLOB_CONTAINS_A_REACHABLE_PANIC");
}

#[test]
fn writable_data_is_refused() {
    let added = "static CALLS: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(1);";
    let called = "if CALLS.fetch_add(plan.count(), core::sync::atomic::Ordering::Relaxed) == 3 {
        return Outcome::Failed(Fault { op: 0, errno: Errno::EINVAL });
    }";
    assert_refused("writable", added, called, "the blob has writable data");
}

/// A table of addresses would have to be written before the blob can run.
#[test]
fn a_table_of_functions_is_refused() {
    let added = "
        fn one(number: u64) -> u64 { number.rotate_left(7) ^ 0x1234 }
        fn two(number: u64) -> u64 { number.wrapping_mul(0x9e37_79b9) }
        fn three(number: u64) -> u64 { number.count_ones() as u64 }
        static TABLE: [fn(u64) -> u64; 3] = [one, two, three];";
    let called = "
        let table = core::hint::black_box(&TABLE);
        if table.get(plan.count()).is_some_and(|function| function(plan.count() as u64) == 9) {
            return Outcome::Failed(Fault { op: 0, errno: Errno::EINVAL });
        }";
    assert_refused("table", added, called, "the blob ");
}

//! Links the freestanding interpreter from these very sources, always optimised, whatever the profile around it, and cuts its one
//! segment out into `blob.bin`. The linker script and the undefined symbol in the panic handler make the link fail when the
//! interpreter could panic, needs relocating or has writable data.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let sys = PathBuf::from(variable("DEP_BEGET_SYS_SOURCE"));
    for watched in [&here.join("src"), &here.join("blob"), sys.parent().unwrap_or(&sys)] {
        println!("cargo::rerun-if-changed={}", watched.display());
    }

    let sys_library = library(&out, "beget_sys", &sys, &[]);
    let plan_library =
        library(&out, "beget_plan", &here.join("src/lib.rs"), &[("beget_sys", sys_library.as_path())]);
    let blob = out.join("blob.elf");
    let mut link = compiler("beget_blob", &here.join("blob/main.rs"), &blob);
    link.args(["--crate-type=bin", "-Clto=fat", "-Crelocation-model=pic"]);
    for argument in
        ["-nostdlib", "-nostartfiles", "-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,--no-dynamic-linker"]
    {
        link.arg(format!("-Clink-arg={argument}"));
    }
    link.arg(format!("-Clink-arg=-Wl,-T,{}", here.join("blob/link.ld").display()));
    link.arg(external("beget_plan", &plan_library)).arg(external("beget_sys", &sys_library));
    link.arg("-L").arg(&out);
    run(link, "the blob does not link: see the linker's message for a panic, a relocation or writable data");

    let elf = fs::read(&blob).expect("the linker wrote the blob");
    fs::write(out.join("blob.bin"), segment(&elf)).expect("the build folder can be written");
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// Compiles one of our crates without std.
fn library(out: &Path, name: &str, source: &Path, externals: &[(&str, &Path)]) -> PathBuf {
    let target = out.join(format!("lib{name}.rlib"));
    let mut command = compiler(name, source, &target);
    command.args(["--crate-type=rlib", "-Cembed-bitcode=yes"]);
    for (name, path) in externals {
        command.arg(external(name, path));
    }
    run(command, "the blob's sources do not compile without std");
    target
}

fn external(name: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(format!("--extern={name}="));
    argument.push(path);
    argument
}

fn compiler(name: &str, source: &Path, target: &Path) -> Command {
    let mut command = Command::new(variable("RUSTC"));
    command.args(["--edition=2024", "--cfg=beget_freestanding", "--cap-lints=allow", "-Copt-level=s"]);
    command.args(["-Cpanic=abort", "-Ccodegen-units=1", "-Cforce-unwind-tables=no", "-Coverflow-checks=no"]);
    command.arg("--target").arg(machine()).arg("--crate-name").arg(name).arg("-o").arg(target).arg(source);
    // Flags meant for the crates around this one (coverage, sanitizers, a static libc) have no place in the blob.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// The blob uses nothing of a target but its `core`, so a host of the same machine serves, and its linker is set up for sure: for musl,
/// say, rustc would add a start of its own.
fn machine() -> OsString {
    let (host, target) = (variable("HOST"), variable("TARGET"));
    let machine =
        |triple: &OsString| triple.to_str().and_then(|triple| triple.split('-').next()).map(str::to_owned);
    if machine(&host) == machine(&target) { host } else { target }
}

fn run(mut command: Command, complaint: &str) {
    let status = command.status().expect("the compiler can be started");
    assert!(status.success(), "{complaint}");
}

/// The bytes of the one loadable segment: at address 0, entered at its first byte, with nothing to zero behind it.
fn segment(elf: &[u8]) -> &[u8] {
    let number = |at: usize, size: usize| {
        elf[at..at + size].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (entry, headers, size, count) = (number(24, 8), number(32, 8), number(54, 2), number(56, 2));
    assert_eq!((entry, count), (0, 1), "the blob is entered at 0 and has one segment");
    let (offset, address, in_file, in_memory) =
        (number(headers + 8, 8), number(headers + 16, 8), number(headers + 32, 8), number(headers + 40, 8));
    assert!(size == 56 && address == 0 && in_file == in_memory, "the segment is at 0 and whole");
    &elf[offset..offset + in_file]
}

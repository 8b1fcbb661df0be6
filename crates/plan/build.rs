//! Links the freestanding interpreter from these very sources, always optimised, whatever the profile around it: as a blob, whose one
//! segment is cut out into `blob.bin`, and as the stub, a program of its own. The linker script and the undefined symbol in the panic handler make the link fail when the
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
    let link = |name: &str, script: &str| {
        let target = out.join(format!("{name}.elf"));
        let mut link = compiler(&format!("beget_{name}"), &here.join(format!("blob/{script}.rs")), &target);
        link.args(["--crate-type=bin", "-Clto=fat", "-Crelocation-model=pic"]);
        for argument in LINK {
            link.arg(format!("-Clink-arg={argument}"));
        }
        link.arg(format!("-Clink-arg=-Wl,-T,{}", here.join(format!("blob/{name}.ld")).display()));
        link.arg(external("beget_plan", &plan_library)).arg(external("beget_sys", &sys_library));
        link.arg("-L").arg(&out);
        run(link, "it does not link: see the linker's message for a panic, a relocation or writable data");
        let mut elf = fs::read(&target).expect("the linker wrote it");
        call_directly(&mut elf);
        elf
    };
    let write =
        |name: &str, bytes: &[u8]| fs::write(out.join(name), bytes).expect("the build folder can be written");
    write("blob.bin", segment(&link("blob", "main")));
    write("stub.elf", &program(&link("stub", "stub")));
}

const LINK: [&str; 7] = [
    "-nostdlib",
    "-nostartfiles",
    "-Wl,--build-id=none",
    "-Wl,-z,norelro",
    "-Wl,-z,max-page-size=4096",
    "-Wl,--emit-relocs",
    "-Wl,--no-dynamic-linker",
];

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

/// A little-endian number.
fn number(elf: &[u8], at: usize, size: usize) -> usize {
    elf[at..at + size].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
}

/// Turns each call through the table of calls into a direct one of the same length: what a linker does where the compiler marks a
/// call so, which it does not for its own calls of memcpy and memset. The linker script has seen to it that nothing else wants the
/// table.
fn call_directly(elf: &mut [u8]) {
    const THROUGH_TABLE: [usize; 3] = [9, 41, 42];
    let (sections, count) = (number(elf, 40, 8), number(elf, 60, 2));
    let section = |elf: &[u8], index: usize, field: usize| number(elf, sections + index * 64 + field, 8);
    for index in 0..count {
        let is_table = number(elf, sections + index * 64 + 4, 4) == 4;
        let about = number(elf, sections + index * 64 + 44, 4);
        if !is_table || about == 0 {
            continue;
        }
        let symbols = section(elf, number(elf, sections + index * 64 + 40, 4), 24);
        let (address, offset) = (section(elf, about, 16), section(elf, about, 24));
        let (at, length) = (section(elf, index, 24), section(elf, index, 32));
        for entry in (at..at + length).step_by(24) {
            if !THROUGH_TABLE.contains(&number(elf, entry + 8, 4)) {
                continue;
            }
            let place = number(elf, entry, 8);
            let target = number(elf, symbols + number(elf, entry + 12, 4) * 24 + 8, 8);
            let code = offset + place - address;
            // A call through the table becomes a call, a jump a jump, and a load from it the address itself.
            match elf[code - 2..code] {
                [0xff, 0x15] => elf[code - 2..code].copy_from_slice(&[0x67, 0xe8]),
                [0xff, 0x25] => elf[code - 2..code].copy_from_slice(&[0x90, 0xe9]),
                [0x8b, register] if register & 0xc7 == 0x05 => elf[code - 2] = 0x8d,
                _ => panic!("only calls, jumps and loads of an address go through the table"),
            }
            let distance = target as i64 - (place as i64 + 4);
            elf[code..code + 4].copy_from_slice(&(distance as i32).to_ne_bytes());
        }
    }
}

/// The first bytes of a program: its headers and its code; symbols and the like are of no use to it.
fn program(elf: &[u8]) -> Vec<u8> {
    let (headers, count) = (number(elf, 32, 8), number(elf, 56, 2));
    assert_eq!(
        (headers, count, number(elf, 16, 2)),
        (64, 3, 3),
        "code, workplace and stack, wherever the kernel likes"
    );
    let code = headers;
    assert_eq!(
        (number(elf, code + 8, 8), number(elf, code + 16, 8)),
        (0x1000, 0x1000),
        "code is in the second page"
    );
    let mut program = elf[..0x1000 + number(elf, code + 32, 8)].to_vec();
    // Where its sections are, how many, and which holds their names: they are cut off.
    program[40..48].fill(0);
    program[58..64].fill(0);
    program
}

/// The bytes of the one loadable segment: at address 0, entered at its first byte, with nothing to zero behind it.
fn segment(elf: &[u8]) -> &[u8] {
    let number = |at: usize, size: usize| number(elf, at, size);
    let (entry, headers, size, count) = (number(24, 8), number(32, 8), number(54, 2), number(56, 2));
    assert_eq!((entry, count), (0, 1), "the blob is entered at 0 and has one segment");
    let (offset, address, in_file, in_memory) =
        (number(headers + 8, 8), number(headers + 16, 8), number(headers + 32, 8), number(headers + 40, 8));
    assert!(size == 56 && address == 0 && in_file == in_memory, "the segment is at 0 and whole");
    &elf[offset..offset + in_file]
}

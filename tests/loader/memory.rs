//! Programs from memory: they run, and at no time can anything write what their image says is read-only.

use std::fs::read_to_string;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use beget::{Construct, Embryo, Nursery, Program};
use beget_tests::text;

use crate::fixtures::c;
use crate::lacks;
use crate::seen::Map;

const SOURCE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char value[] = "data", zeros[5000];
int main(int count, char **arguments) {
    printf("%s %d %s %s %zu\n", value, count, arguments[count - 1], getenv("VARIABLE"), strlen(zeros));
    fflush(stdout);
    char go;
    return read(0, &go, 1) == 1 ? 42 : 1;
}
"#;

fn bytes(link: &str) -> Vec<u8> {
    std::fs::read(c(SOURCE, &[link])).expect("it was compiled")
}

fn maps(embryo: &Embryo) -> Vec<Map> {
    Map::all(&read_to_string(format!("/proc/{}/maps", embryo.id())).expect("it is there"))
}

/// Gives standard streams, and ours of them.
fn streams(embryo: &mut Embryo) -> (std::io::PipeWriter, std::io::PipeReader) {
    let (input, ours_in) = std::io::pipe().expect("a pipe");
    let (ours_out, output) = std::io::pipe().expect("a pipe");
    embryo.grant(0, input.as_fd()).expect("granted");
    embryo.grant(1, output.as_fd()).expect("granted");
    (ours_in, ours_out)
}

#[test]
fn a_program_from_memory_runs() {
    if lacks("a_program_from_memory_runs", &["gcc"]) {
        return;
    }
    use std::io::{Read, Write};
    for link in ["-static", "-static-pie", "-pie", "-no-pie"] {
        let bytes = bytes(link);
        let program = Program::from_bytes(&bytes).expect("it is whole");
        drop(bytes);
        let mut embryo = Nursery::shared().expect("a nursery").embryo().expect("an embryo");
        embryo.set_env("VARIABLE", "value");
        embryo.load(&program, &["name", "last"]).expect("it loads");
        // The image is no more needed than a file is that was executed.
        drop(program);
        let (mut input, mut output) = streams(&mut embryo);
        let mut process = embryo.start().expect("it starts");
        let mut line = [0; 20];
        output.read_exact(&mut line).expect("it prints");
        assert_eq!(text(&line), "data 2 last value 0\n", "{link}");
        let comm = read_to_string(format!("/proc/{}/comm", process.id())).expect("it runs");
        assert_eq!(comm, "beget-image\n");
        input.write_all(b"x").expect("it reads");
        assert_eq!(process.wait().expect("it ends").status.code(), Some(42), "{link}");
    }
}

#[test]
fn nothing_is_ever_writable_that_is_read_only() {
    if lacks("nothing_is_ever_writable_that_is_read_only", &["gcc"]) {
        return;
    }
    for link in ["-static", "-static-pie"] {
        let program = Program::from_bytes(&bytes(link)).expect("it is whole");
        let nursery = Nursery::shared().expect("a nursery");
        for _ in 0..5 {
            let mut embryo = nursery.embryo().expect("an embryo");
            let path = format!("/proc/{}/maps", embryo.id());
            // Looked at from outside all the while.
            let done = AtomicBool::new(false);
            let seen = std::thread::scope(|scope| {
                let watch = scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        seen.push(Map::all(&read_to_string(&path).unwrap_or_default()));
                    }
                    seen
                });
                embryo.load(&program, &["name"]).expect("it loads");
                done.store(true, Ordering::Relaxed);
                watch.join().expect("it looked")
            });
            let last = maps(&embryo);
            let image = |map: &&Map| map.path.contains("beget-image");
            let writable: Vec<_> = last.iter().filter(image).filter(|map| map.rights.contains('w')).collect();
            let data = writable.iter().map(|map| map.range.start).min().expect("it has data");
            assert!(last.iter().any(|map| image(&map) && map.rights == "r-xp"), "{last:x?}");
            for map in seen.iter().flatten().chain(&last) {
                let both = map.rights.contains('w') && map.rights.contains('x');
                assert!(!both, "written and executed: {map:x?}");
                // Private always: a write would not reach the image.
                let shared = map.rights.ends_with('s');
                assert!(!shared || map.path.starts_with("["), "{map:x?}");
                assert!(!image(&map) || !map.rights.contains('w') || map.range.start >= data, "{map:x?}");
            }
        }
    }
}

#[test]
fn its_memory_is_sealed() {
    if lacks("its_memory_is_sealed", &["gcc"]) {
        return;
    }
    let program = Program::from_bytes(&bytes("-static")).expect("it is whole");
    let mut embryo = Nursery::shared().expect("a nursery").embryo().expect("an embryo");
    embryo.load(&program, &["name"]).expect("it loads");
    // Our own descriptor of it, as everybody who could get hold of one would find it.
    let own = std::fs::read_dir("/proc/self/fd").expect("/proc is there").flatten().find_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        target
            .to_str()?
            .contains("memfd:beget-image")
            .then(|| entry.file_name().into_string().ok()?.parse::<i32>().ok())?
    });
    let own = own.expect("it is held");
    // SAFETY: asks about a descriptor.
    let seals = unsafe { libc::fcntl(own, libc::F_GET_SEALS) };
    let all = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    assert_eq!(seals & all, all);
    // SAFETY: tries to change what cannot be changed.
    unsafe {
        assert_eq!(libc::pwrite(own, c"x".as_ptr().cast(), 1, 0), -1);
        assert_eq!(libc::ftruncate(own, 0), -1);
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        assert_eq!(libc::mmap(std::ptr::null_mut(), 4096, rights, kind, own, 0), libc::MAP_FAILED);
    }
}

//! The machine and its kernel, as far as a saved program rests on them.
//!
//! Safety idea: what a program looked at when it started, it goes on believing: the features of the processor, the functions in the kernel's
//! page of calls, the size of the processor's state. Each is compared, and what is missing is named.

use std::collections::BTreeSet;
use std::io::Read;

use beget_image::frozen::{Special, System};

use super::areas::Area;
use super::format::sha256;
use super::{refused, shown};
use crate::tracee::Tracee;
use crate::{Error, Result};

/// The page of calls.
pub(super) const CALLS: &[u8] = b"[vdso]";
/// At an address of the kernel's, which is no program's to map.
const OLD_CALLS: &[u8] = b"[vsyscall]";

/// Whether a mapping is one of the kernel's own, which every process has.
pub(super) fn is_kernels(area: &Area) -> bool {
    area.is_named(CALLS) || (area.inode == 0 && area.name.starts_with(b"[vvar"))
}

/// Whether it is at an address that no program can map.
pub(super) fn is_outside(area: &Area) -> bool {
    area.is_named(OLD_CALLS)
}

/// What this is, with the kernel's mappings as they are in a stopped process.
pub(super) fn look(tracee: &Tracee, areas: &[Area], extended: u64) -> Result<System> {
    let names = rustix::system::uname();
    let kernel: Vec<Special> = areas
        .iter()
        .filter(|area| is_kernels(area))
        .map(|area| Special { name: area.name.clone(), range: area.range.clone() })
        .collect();
    let calls = kernel.iter().find(|special| special.name == CALLS);
    let calls = calls.ok_or_else(|| refused("kernel", "it gives programs no page of calls"))?;
    let mut code = vec![0; (calls.range.end - calls.range.start) as usize];
    tracee.read(calls.range.start, &mut code)?;
    Ok(System {
        machine: names.machine().to_bytes().to_vec(),
        release: names.release().to_bytes().to_vec(),
        processor: processor()?,
        extended,
        calls: sha256(&code),
        kernel,
    })
}

/// The features of the first processor.
fn processor() -> Result<Vec<u8>> {
    // What is told of one processor is far shorter, and there may be hundreds.
    let mut text = Vec::new();
    let file =
        std::fs::File::open("/proc/cpuinfo").and_then(|file| file.take(16 << 10).read_to_end(&mut text));
    file.map_err(|error| Error::io("image: /proc/cpuinfo", error))?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"flags"));
    let features = line.and_then(|line| line.splitn(2, |byte| *byte == b':').nth(1));
    let features =
        features.ok_or_else(|| refused("processor", "/proc/cpuinfo does not tell its features"))?;
    Ok(features.trim_ascii().to_vec())
}

/// Whether a program that was saved on `saved` can go on here.
pub(super) fn compare(saved: &System, here: &System) -> Result<()> {
    if saved.machine != here.machine {
        let words =
            format!("it was saved on {}, and this is {}", shown(&saved.machine), shown(&here.machine));
        return Err(refused("machine", words));
    }
    let words = |text: &[u8]| -> BTreeSet<Vec<u8>> {
        text.split(u8::is_ascii_whitespace).map(<[u8]>::to_vec).collect()
    };
    let (meant, there) = (words(&saved.processor), words(&here.processor));
    let missing: Vec<String> = meant.difference(&there).map(|feature| shown(feature)).collect();
    if !missing.is_empty() {
        return Err(refused("processor", format!("this one has no {}", missing.join(", "))));
    }
    if saved.extended != here.extended {
        let words = format!(
            "its state has the parts {:#x}, and this one's has {:#x}: programs keep it in memory",
            saved.extended, here.extended
        );
        return Err(refused("processor", words));
    }
    let shape = |system: &System| -> Vec<(Vec<u8>, u64, u64)> {
        let first = system.kernel.first().map_or(0, |special| special.range.start);
        let one = |special: &Special| {
            (special.name.clone(), special.range.start - first, special.range.end - special.range.start)
        };
        system.kernel.iter().map(one).collect()
    };
    if saved.calls != here.calls || shape(saved) != shape(here) {
        let words = format!(
            "its page of calls is another than that of Linux {}, where it was saved; this is {}",
            shown(&saved.release),
            shown(&here.release)
        );
        return Err(refused("kernel", words));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        System {
            machine: b"x86_64".to_vec(),
            release: b"6.1".to_vec(),
            processor: b"fpu sse avx".to_vec(),
            extended: 7,
            calls: [1; 32],
            kernel: vec![
                Special { name: b"[vvar]".to_vec(), range: 0x1000..0x5000 },
                Special { name: CALLS.to_vec(), range: 0x5000..0x7000 },
            ],
        }
    }

    #[test]
    fn what_differs_is_named() {
        let saved = system();
        // More features, another version with the same calls, the same elsewhere.
        let mut better =
            System { processor: b"sse fpu avx avx2".to_vec(), release: b"6.2".to_vec(), ..system() };
        for special in &mut better.kernel {
            special.range = special.range.start + 0x10_0000..special.range.end + 0x10_0000;
        }
        compare(&saved, &better).expect("it can go on");
        let mut shorter = system();
        shorter.kernel.remove(0);
        for (other, words) in [
            (System { machine: b"arm".to_vec(), ..system() }, "machine"),
            (System { processor: b"fpu avx".to_vec(), ..system() }, "no sse"),
            (System { extended: 3, ..system() }, "parts 0x7"),
            (System { calls: [2; 32], ..system() }, "Linux 6.1"),
            (shorter, "page of calls"),
        ] {
            let error = compare(&saved, &other).expect_err("it differs").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

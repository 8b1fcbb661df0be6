//! Functions of a loaded program by address and by name, held against `nm`.

use std::process::Command;

use beget::{Nursery, Program};
use beget_tests::{Scratch, text};

use crate::fixtures::c;
use crate::lacks;

const SOURCE: &str = r#"
#include <stdio.h>
__attribute__((noinline)) int first(int n) { return n * 3; }
__attribute__((noinline)) static int hidden(int n) { return first(n) + 1; }
int main(int count, char **arguments) { printf("%d\n", hidden(count)); return 0; }
"#;

/// Functions as `nm` tells them: name, address, size.
fn functions(path: &str, flags: &[&str]) -> Vec<(String, u64, u64)> {
    let output = Command::new("nm")
        .args(["--defined-only", "-S"])
        .args(flags)
        .arg(path)
        .output()
        .expect("nm is there");
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, size, "t" | "T" | "w" | "W" | "i", name] = words[..] else { return None };
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let name = name.split('@').next()?;
        Some((name.to_owned(), hex(address)?, hex(size)?))
    };
    text(&output.stdout).lines().filter_map(one).collect()
}

#[test]
fn addresses_have_the_names_that_nm_gives() {
    if lacks("addresses_have_the_names_that_nm_gives", &["gcc", "nm"]) {
        return;
    }
    let nursery = Nursery::shared().expect("a nursery");
    for link in ["-pie", "-no-pie", "-static", "-static-pie"] {
        let path = c(SOURCE, &[link]);
        let program = Program::open(&path).expect("it is whole");
        let mut embryo = nursery.embryo().expect("an embryo");
        assert_eq!(embryo.layout(), None);
        embryo.load(&program, &["name"]).expect("it loads");
        let layout = embryo.layout().expect("it is loaded");
        let bias = layout.program.bias;
        assert_eq!(bias == 0, ["-no-pie", "-static"].contains(&link), "{link}");
        let all = functions(&path, &[]);
        assert!(all.iter().any(|(name, ..)| name == "hidden"));
        let at = |address: u64| program.symbol_at(&layout, address);
        for (name, address, size) in all
            .iter()
            .filter(|(_, _, size)| *size > 0)
            .step_by(7)
            .chain(all.iter().filter(|(name, ..)| ["main", "first", "hidden"].contains(&name.as_str())))
        {
            let names: Vec<&str> =
                all.iter().filter(|other| other.1 == *address).map(|other| other.0.as_str()).collect();
            for offset in [0, size - 1] {
                let found = at(bias + address + offset)
                    .unwrap_or_else(|| panic!("{link}: nothing at {name}+{offset}"));
                assert!(
                    names.contains(&found.name.as_str()) || found.offset < offset,
                    "{link}: {found:?} is not {name}+{offset}"
                );
            }
        }
        for name in ["main", "first", "hidden"] {
            let (_, address, _) = all.iter().find(|one| one.0 == name).expect("nm has it");
            assert_eq!(program.address_of(&layout, name), Some(bias + address), "{link}: {name}");
            assert_eq!(
                at(bias + address).map(|found| (found.name, found.offset)),
                Some((name.to_owned(), 0))
            );
        }
        assert_eq!(program.address_of(&layout, "nothing of that name"), None);
        for nowhere in [0, 1, layout.program.span.start - 1, layout.program.span.end, u64::MAX] {
            assert_eq!(at(nowhere), None, "{nowhere:#x}");
        }
        let Some(loader) = &layout.loader else { continue };
        let path = "/lib64/ld-linux-x86-64.so.2";
        let mut all = functions(path, &[]);
        if all.is_empty() {
            all = functions(path, &["-D"]);
        }
        let (name, address, _) = all.first().expect("it has some");
        let found = at(loader.bias + address).expect("a function of the loader");
        let names: Vec<&str> =
            all.iter().filter(|other| other.1 == *address).map(|other| other.0.as_str()).collect();
        assert!(names.contains(&found.name.as_str()) && found.offset == 0, "{found:?} is not {name}");
    }
}

#[test]
fn one_without_names_has_none() {
    if lacks("one_without_names_has_none", &["gcc"]) {
        return;
    }
    let scratch = Scratch::new();
    let path =
        scratch.executable("stripped", std::fs::read(c(SOURCE, &["-static", "-s"])).expect("compiled"));
    let program = Program::open(&path).expect("it is whole");
    let mut embryo = Nursery::shared().expect("a nursery").embryo().expect("an embryo");
    embryo.load(&program, &["name"]).expect("it loads");
    let layout = embryo.layout().expect("it is loaded");
    assert_eq!(program.address_of(&layout, "main"), None);
    assert_eq!(program.symbol_at(&layout, layout.program.span.start + 0x1000), None);
}

//! Threads beside the first, which no copy has: who they are, and how a library that starts them by itself is kept from it.
//!
//! Safety idea: a library's name is a hint for whoever reads the refusal, and decides nothing: a program with other threads is refused whatever
//! it has mapped.

use super::birth;
use super::hazard::{Hazard, Kind};
use crate::Result;
use crate::tracee::Tracee;

/// Libraries that start threads when they are loaded: a part of their files' names, what people call them, and the variable that keeps them from
/// it. Wheels carry them under names of their own (`libscipy_openblas64_-1a2b.so`).
const LIBRARIES: [(&str, &str, &str); 7] = [
    ("openblas", "OpenBLAS", "OPENBLAS_NUM_THREADS"),
    ("libmkl", "MKL", "MKL_NUM_THREADS"),
    ("libblis", "BLIS", "BLIS_NUM_THREADS"),
    ("libgomp", "GNU OpenMP", "OMP_NUM_THREADS"),
    ("libomp", "LLVM OpenMP", "OMP_NUM_THREADS"),
    ("libiomp", "Intel OpenMP", "OMP_NUM_THREADS"),
    ("libnumexpr", "numexpr", "NUMEXPR_NUM_THREADS"),
];

/// Looks at its threads.
pub(super) fn survey(tracee: &Tracee, names: &[String], hazards: &mut Vec<Hazard>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let several = if names.len() == 1 { "thread" } else { "threads" };
    let what = format!("{} {several} beside the first: {}", names.len(), names.join(", "));
    let maps = birth::read(tracee.number(), "maps")?;
    let why = format!("a copy has the first alone{}", advice(&maps));
    hazards.push(Hazard::refused(Kind::Threads, what, why));
    Ok(())
}

/// What would keep the libraries among these mappings from starting threads, in words; nothing where there are none.
fn advice(maps: &str) -> String {
    // A path is the last word of a line; that of a file with blanks in its name is still found by its end.
    let files: Vec<&str> = maps.lines().filter_map(|line| line.rsplit('/').next()).collect();
    let is_mapped = |part: &str| files.iter().any(|file| file.contains(part));
    let found: Vec<String> = LIBRARIES
        .iter()
        .filter(|(part, ..)| is_mapped(part))
        .map(|(_, name, variable)| {
            format!("{name} starts none when {variable}=1 is in the program's environment")
        })
        .collect();
    found.into_iter().map(|one| format!("; {one}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_mapped_is_named_with_its_variable() {
        let line = |path: &str| format!("7f0000000000-7f0000001000 r-xp 00000000 08:01 42        {path}\n");
        let maps =
            line("/x/libscipy_openblas64_-1a2b.so") + &line("/usr/lib/libm.so.6") + "0-1 rw-p 0 0:0 0\n";
        let told = advice(&maps);
        assert_eq!(
            told,
            "; OpenBLAS starts none when OPENBLAS_NUM_THREADS=1 is in the program's environment"
        );
        let both = advice(&(maps + &line("/a b/libgomp.so.1")));
        assert!(both.contains("OMP_NUM_THREADS=1") && both.starts_with(&told), "{both}");
        assert_eq!(advice(&line("/home/openblas/tool")), "");
    }
}

//! Tells `beget-plan` where these sources lie, so that the freestanding blob is compiled from the very same files.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::metadata=source={here}/src/lib.rs");
    println!("cargo::rerun-if-changed=build.rs");
}

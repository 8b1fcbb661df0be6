//! Writes the manual pages and the completions into the repository: `cargo run -p beget-cli --example pages`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for page in beget_cli::pages() {
        let path = root.join(&page.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, page.text)?;
        println!("{}", page.path);
    }
    Ok(())
}

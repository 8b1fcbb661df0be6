//! What `beget bench --write` writes: the results, and the figures in documents of the repository that we are in.

use std::path::{Path, PathBuf};

use crate::report::{Results, readme};

const RESULTS: &str = "bench/RESULTS.md";
const JSON: &str = "bench/results.json";
/// The drawing that README shows, and the beginning of the title of the table that it is of.
const DRAWING: (&str, &str) = ("bench/true.svg", "Factories, confined, dynamic true: request to reaped");
/// Documents with places for figures.
const DOCUMENTS: &[&str] = &["README.md"];

/// Each file that results are written to, by its place in the repository, and what it is to hold.
///
/// # Errors
///
/// One sentence when a document cannot be read, or has a place for a figure that there is not.
pub fn files(root: &Path, results: &Results) -> Result<Vec<(PathBuf, String)>, String> {
    let mut files =
        vec![(root.join(JSON), format!("{:#}\n", results.json())), (root.join(RESULTS), results.markdown())];
    let (path, table) = DRAWING;
    // As with the places: what was not measured is not there.
    files.extend(results.drawing(table).map(|drawing| (root.join(path), drawing)));
    for document in DOCUMENTS {
        let path = root.join(document);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        files.push((path, readme::fill(&text, results).map_err(|why| format!("{document}: {why}"))?));
    }
    Ok(files)
}

/// The results that the repository at `root` has.
///
/// # Errors
///
/// One sentence when they are not there, or not as they are written.
pub fn results(root: &Path) -> Result<Results, String> {
    let path = root.join(JSON);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Results::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
}

/// The repository that we are in: the nearest folder above that has results.
pub(crate) fn root() -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
    let root = here.ancestors().find(|folder| folder.join(RESULTS).exists());
    let root = root.map(Path::to_owned);
    root.ok_or(format!(
        "flag --write: {} is in no repository of Beget: {RESULTS} is nowhere above",
        here.display()
    ))
}

/// Writes them.
pub(crate) fn write(root: &Path, results: &Results) -> Result<(), String> {
    for (path, text) in files(root, results)? {
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

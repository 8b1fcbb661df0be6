//! A name that means another file when the root is made than when it was opened a moment before: refused, never shown. What the check itself
//! says is tested where it is, in `crates/plan`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Stops the one who swaps, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two files exchange their names all the time. What was opened is shown whole, or the birth is refused.
#[test]
fn swapped_all_the_time_it_is_shown_or_refused() {
    if !has_root("swapped_all_the_time_it_is_shown_or_refused") {
        return;
    }
    let scratch = Scratch::new();
    let (file, other) = (scratch.file("file", "one"), scratch.file("other", "two"));
    let stop = AtomicBool::new(false);
    let (mut shown, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let name = |path: &str| std::ffi::CString::new(path).unwrap();
            let (a, b) = (name(&file), name(&other));
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: two names that live across the call.
                let done = unsafe {
                    let (here, exchange) = (libc::AT_FDCWD, 2);
                    libc::syscall(libc::SYS_renameat2, here, a.as_ptr(), here, b.as_ptr(), exchange)
                };
                assert_eq!(done, 0);
                std::thread::yield_now();
            }
        });
        let _stop = Stop(&stop);
        for _ in 0..100 {
            let mut command = command("cat");
            match command.args([&file, &other]).grant(Grant::Read(file.clone().into())).output() {
                Err(error) => {
                    let named = [&file, &other]
                        .iter()
                        .any(|name| error.to_string().starts_with(&format!("root: {name}: ")));
                    assert!(named && error.errno() == Some(libc::ESTALE), "{error}");
                    refused += 1;
                }
                Ok(output) => {
                    // One of the two names is there, with all of one file.
                    assert!(
                        ["one", "two"].contains(&text(&output.stdout).as_str()),
                        "{}",
                        text(&output.stdout)
                    );
                    shown += 1;
                }
            }
        }
    });
    assert!(shown > 0 && refused > 0, "shown {shown} times, refused {refused} times");
}

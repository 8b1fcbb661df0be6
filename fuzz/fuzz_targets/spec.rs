//! Any bytes are a spec, or an error that points into them.

#![no_main]

use beget_spec::{Spec, Variables};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut variables = Variables::new();
    variables.set("PROJECT", "/x").expect("a name");
    match Spec::parse("text", text, &variables) {
        // What is read twice is the same.
        Ok(spec) => assert_eq!(Spec::parse("text", text, &variables).as_ref(), Ok(&spec)),
        Err(error) => {
            assert!(matches!(error.excerpt().lines().count(), 0 | 2), "{error}\n{}", error.excerpt())
        }
    }
});

//! Whatever text is read as a spec: it is one or an error, and the error is about a place in the text.

use proptest::prelude::*;

use crate::keys::{KEYS, Kind};
use crate::{Spec, Variables};

/// A word that the reader knows, or nearly knows, or does not.
fn piece() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = crate::keys();
    words.extend(
        KEYS.iter()
            .filter_map(|key| match key.kind {
                Kind::Word(words, _) | Kind::Words(words, _) => Some(words()),
                _ => None,
            })
            .flatten()
            .map(str::to_owned),
    );
    words.extend(
        [
            "=",
            " = ",
            "\n",
            "\n\n",
            ",",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "\"",
            "'",
            "\"\"\"",
            "#",
            ".",
            "$",
            "$$",
            "${A}",
            "${B}",
            "${",
            "\"512M\"",
            "\"1.5h\"",
            "65536",
            "-1",
            "1e9",
            "0x7f",
            "true",
            "false",
            "1979-05-27",
            "\\u0000",
            "profile.x",
            "extends",
            "\"x\"",
            "[\"x\"]",
            "é",
            "\t",
            "\r\n",
            "\u{feff}",
            "python",
        ]
        .map(str::to_owned),
    );
    prop_oneof![8 => proptest::sample::select(words), 1 => any::<String>()]
}

/// `key = value` with any key and any value.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("true".to_owned()),
        Just("\"/x\"".to_owned()),
        Just("[\"/x\", \"${A}/y\"]".to_owned()),
        Just("[\"python\", \"x\", \"/none.toml#x\"]".to_owned()),
        Just("{ a = \"/x\", b = { path = \"/x\", write = true } }".to_owned()),
        Just("[443, 70000]".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[0-9]{1,20}[KMGTsmhd]{0,2}".prop_map(|text| format!("{text:?}")),
        piece(),
    ];
    let key = proptest::sample::select(crate::keys());
    let header =
        proptest::sample::select(vec!["[limits]\n", "[profile.x]\n", "[env]\n", "[fd]\n", "", "", "", ""]);
    (header, key, value).prop_map(|(header, key, value)| format!("{header}{key} = {value}\n"))
}

fn read(text: &str) {
    let mut variables = Variables::new();
    variables.set("A", "/a").expect("a name");
    match Spec::parse("text", text, &variables) {
        Ok(spec) => drop(spec.clone()),
        Err(error) => {
            let words = error.to_string();
            assert!(words.starts_with("spec text") || words.starts_with("profile "), "{words}");
            let lines = error.excerpt().lines().count();
            assert!(lines == 0 || lines == 2, "{:?}", error.excerpt());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_a_spec_or_an_error(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_words_of_ours_are_a_spec_or_an_error(pieces in proptest::collection::vec(piece(), 0..40)) {
        read(&pieces.concat());
    }

    #[test]
    fn any_keys_and_values_are_a_spec_or_an_error(lines in proptest::collection::vec(line(), 0..12)) {
        read(&lines.concat());
    }

    #[test]
    fn deep_nesting_is_an_error(depth in 1usize..5000) {
        read(&format!("read = {}", "[".repeat(depth)));
        read(&format!("env = {}", "{a=".repeat(depth)));
        read(&format!("a{} = 1", ".a".repeat(depth)));
    }
}

//! Completions, asked of the shells themselves.

use std::process::{Command, Stdio};

use beget_tests::{Need, Scratch, finish, has, skip, text};

use super::ran;

/// What is typed before the tabulator, with `@` for a scratch folder that holds `one-file` and `one-folder`, and the words that
/// are offered; for `...` among them also others.
const CASES: &[(&str, &[&str])] = &[
    ("beget ru", &["run"]),
    ("beget vers", &["version"]),
    ("beget help sho", &["show"]),
    ("beget completions ", &["bash", "fish", "zsh"]),
    ("beget run --load", &["--loader"]),
    ("beget show --as", &["--as-if"]),
    ("beget run --loader ", &["direct", "kernel"]),
    ("beget run --base --loader d", &["direct"]),
    ("beget run --base --degrade tcp", &["tcp-ports"]),
    ("beget run --read @/one", &["@/one-file", "@/one-folder"]),
    ("beget run --fd log=@/one-fi", &["@/one-file"]),
    ("beget run --cwd @/one", &["@/one-folder"]),
    ("beget run --env SOME_VARIA", &["SOME_VARIABLE"]),
    // After the program's name everything is the program's own.
    ("beget run --base -- cat @/one-fi", &["@/one-file"]),
    ("beget run --base cat @/one-fi", &["@/one-file"]),
    ("beget run --base --read @ -- base6", &["base64"]),
    ("beget run --loader=direct --onl", &["--only"]),
    // Each command has its own.
    ("beget spa", &["spawn"]),
    ("beget wait --no", &["--no-hang"]),
    ("beget kill --no", &[]),
    ("beget kill --signal HU", &["HUP"]),
    ("beget serve --on-monitor-death l", &["live"]),
    ("beget spawn web --base base6", &["base64"]),
    ("beget spawn --base web -- cat @/one-fi", &["@/one-file"]),
    ("beget spawn --log", &[]),
    // A name may take a value for one command and none for another.
    ("beget bench --only flo", &["floors"]),
    ("beget run --only --load", &["--loader"]),
    ("beget compare --only fork-", &["fork-forgotten"]),
    ("beget compare --pi", &[]),
    ("beget bench --json @/one-fi", &["@/one-file"]),
    ("beget check --json --loader d", &["direct"]),
    // Those of a factory have a name of two words.
    ("beget facto", &["factory"]),
    ("beget factory rep", &["replace"]),
    ("beget factory create x --no-fr", &["--no-freeze"]),
    ("beget factory create --ready st", &["stdin", "stop"]),
    ("beget factory run --no-fr", &[]),
    ("beget factory create x --base -- cat @/one-fi", &["@/one-file"]),
];

fn prepared(shell: &str) -> (Scratch, String) {
    let scratch = Scratch::new();
    scratch.file("one-file", "");
    std::fs::create_dir(scratch.at("one-folder")).unwrap();
    let (code, script, errors) = ran(&["completions", shell]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let path = scratch.file("completions", script);
    (scratch, path)
}

fn asked(shell: &str, arguments: &[&str], scratch: &Scratch) -> String {
    let mut command = Command::new(shell);
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("SOME_VARIABLE", "x");
    command.env("HOME", scratch.path()).env("TERM", "dumb").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    text(&finish(command.current_dir(scratch.path())).stdout)
}

/// Each case, with the words that the shell offers for it.
fn cases(scratch: &Scratch, offers: impl Fn(&str) -> Vec<String>) {
    let folder = scratch.path().to_str().unwrap();
    for (typed, expected) in CASES {
        let mut offered = offers(&typed.replace('@', folder));
        offered.sort();
        offered.dedup();
        let mut expected: Vec<String> = expected.iter().map(|word| word.replace('@', folder)).collect();
        expected.sort();
        assert_eq!(offered, expected, "{typed}");
    }
}

#[test]
fn bash_completes() {
    if !has("bash") {
        return skip("bash_completes", Need::Program("bash"));
    }
    let (scratch, path) = prepared("bash");
    cases(&scratch, |typed| {
        // As readline splits them: `=` is a word of its own.
        let mut words: Vec<String> = typed
            .split(' ')
            .flat_map(|word| {
                let (first, rest) = word.split_once('=').unwrap_or((word, ""));
                let parts = if word.contains('=') { vec![first, "=", rest] } else { vec![first] };
                parts.into_iter().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        words.splice(0..0, ["-c".to_owned(), "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _beget; printf '%s\\n' \"${COMPREPLY[@]}\"".to_owned(), path.clone()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        asked("bash", &words, &scratch).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    });
    // The script says nothing itself, and completes for the command's name.
    let registered = asked("bash", &["-c", "source \"$0\"; complete -p beget", &path], &scratch);
    assert_eq!(registered, "complete -F _beget beget\n");
}

#[test]
fn fish_completes() {
    if !has("fish") {
        return skip("fish_completes", Need::Program("fish"));
    }
    let (scratch, path) = prepared("fish");
    cases(&scratch, |typed| {
        let script = "source $argv[1]; complete -C $argv[2]";
        let offered = asked("fish", &["--no-config", "-c", script, "--", &path, typed], &scratch);
        let word = |line: &str| {
            let word = line.split('\t').next().unwrap_or("").trim_end_matches('/');
            word.rsplit('=').next().unwrap_or("").to_owned()
        };
        offered.lines().map(word).collect()
    });
}

/// Zsh offers only to whoever types: a second one does, in a terminal. What can mean one thing is written out.
#[test]
fn zsh_completes() {
    if !has("zsh") {
        return skip("zsh_completes", Need::Program("zsh"));
    }
    let (scratch, path) = prepared("zsh");
    // The inner shell shows its line when a key asks for it.
    const TYPIST: &str = r#"
        zmodload zsh/zpty
        zpty inner zsh -f -i
        zpty -w inner 'PS1=; autoload -Uz compinit; compinit -u -D; source '"${(q)1}"
        zpty -w inner 'show() { print -r -- "<<$BUFFER>>" }; zle -N show; bindkey "^X" show; print -r -- REA""DY'
        while zpty -r inner line; do [[ $line == *READY* ]] && break; done
        for typed in "${@:2}"; do
            zpty -w -n inner "$typed"$'\t\x18'
            zpty -r inner said '*<<*>>*'
            print -r -- "$said"
            zpty -w -n inner $'\x15'
        done
    "#;
    let folder = scratch.path().to_str().unwrap();
    let certain: Vec<(String, String)> = CASES
        .iter()
        .filter(|(_, offered)| offered.len() == 1)
        .map(|(typed, offered)| (typed.replace('@', folder), offered[0].replace('@', folder)))
        .collect();
    let mut words = vec!["-f", "-c", TYPIST, "typist", path.as_str()];
    words.extend(certain.iter().map(|(typed, _)| typed.as_str()));
    let said = asked("zsh", &words, &scratch);
    let lines: Vec<&str> = said.split("<<").skip(1).filter_map(|rest| rest.split(">>").next()).collect();
    assert_eq!(lines.len(), certain.len(), "{said}");
    for ((typed, only), line) in certain.iter().zip(lines) {
        let before = &typed[..typed.rfind([' ', '=']).map_or(0, |at| at + 1)];
        assert_eq!(line.trim_end_matches([' ', '=', '/']), format!("{before}{only}"), "{typed}");
    }
}

#[test]
fn a_shell_that_is_not_known_is_refused() {
    for words in [&["completions"][..], &["completions", "tcsh"], &["completions", "bash", "zsh"]] {
        let (code, out, errors) = ran(words);
        assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1));
        assert!(errors.contains("bash, zsh and fish"), "{errors}");
    }
}

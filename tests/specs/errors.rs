//! A mistake at each level, with the words and the place that are told of it.

use beget_tests::Scratch;

use crate::run_in;

/// The spec is refused with these words, and the line of the file below them with a mark.
#[track_caller]
fn wrong(spec: &str, words: &str, line: &str, mark: &str) {
    let scratch = Scratch::new();
    scratch.file("a.toml", spec);
    let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--", "true"]);
    let number = words.split(':').next().expect("a line's number");
    let gutter = " ".repeat(number.len());
    ran.refuses(&format!("beget: spec a.toml:{words}\n  {number} | {line}\n  {gutter} | {mark}\n"));
}

#[test]
fn keys_at_each_level() {
    wrong("raed = [\"x\"]\n", "1:1: unknown key \"raed\"; did you mean \"read\"?", "raed = [\"x\"]", "^^^^");
    wrong(
        "base = true\n  tcp_bind=[1]",
        "2:3: unknown key \"tcp_bind\"; did you mean \"tcp-bind\"?",
        "  tcp_bind=[1]",
        "  ^^^^^^^^",
    );
    wrong("colour = 3\n", "1:1: unknown key \"colour\"", "colour = 3", "^^^^^^");
    wrong(
        "[profile.x]\nexecc = []\n",
        "2:1: unknown key \"execc\"; did you mean \"exec\"?",
        "execc = []",
        "^^^^^",
    );
    wrong(
        "[limits]\nmemroy = 3\n",
        "2:1: unknown key \"memroy\"; did you mean \"memory\"?",
        "memroy = 3",
        "^^^^^^",
    );
    wrong(
        "memory = 3\n",
        "1:1: unknown key \"memory\" here; it belongs under [limits]",
        "memory = 3",
        "^^^^^^",
    );
    wrong(
        "[limits]\n[profile.x.limits]\nread = []\n",
        "3:1: unknown key \"read\" here; it belongs to the profile itself, above its tables",
        "read = []",
        "^^^^",
    );
    wrong(
        "fd = { log = { path = \"x\", wrtie = true } }\n",
        "1:28: unknown key \"wrtie\"; did you mean \"write\"?",
        "fd = { log = { path = \"x\", wrtie = true } }",
        "                           ^^^^^",
    );
    wrong(
        "fd = { log = { path = \"x\", write = 1 } }\n",
        "1:36: \"write\" wants true or false, not a number",
        "fd = { log = { path = \"x\", write = 1 } }",
        "                                   ^",
    );
    wrong("fd = { log = { } }\n", "1:8: an entry of \"fd\" has no path", "fd = { log = { } }", "       ^^^");
    wrong(
        "[profile.x]\n[profile.x.profile.y]\n",
        "2:12: a profile holds no profiles",
        "[profile.x.profile.y]",
        "           ^^^^^^^",
    );
    wrong(
        "[profile]\nread = []\n",
        "2:1: profile \"read\" wants a table, not a list; is a name missing, as in [profile.NAME], above \"read\"?",
        "read = []",
        "^^^^",
    );
}

#[test]
fn the_first_mistake_of_a_file_is_told() {
    wrong("net = 3\nbase = 3\n", "1:7: \"net\" wants true or false, not a number", "net = 3", "      ^");
    wrong("only = 3\nraed = []\n", "2:1: unknown key \"raed\"; did you mean \"read\"?", "raed = []", "^^^^");
}

#[test]
fn values_of_another_type() {
    wrong("read = \"x\"\n", "1:8: \"read\" wants a list of paths, not text", "read = \"x\"", "       ^^^");
    wrong(
        "read = [\"x\", 5]\n",
        "1:14: an entry of \"read\" wants text or a table, not a number",
        "read = [\"x\", 5]",
        "             ^",
    );
    wrong(
        "base = \"yes\"\n",
        "1:8: \"base\" wants true or false, not text",
        "base = \"yes\"",
        "       ^^^^^",
    );
    wrong("cwd = [\"/\"]\n", "1:7: \"cwd\" wants a path, not a list", "cwd = [\"/\"]", "      ^^^^^");
    wrong("cwd = \"\"\n", "1:7: a path is not empty", "cwd = \"\"", "      ^^");
    wrong(
        "env = { A = 1 }\n",
        "1:13: the value of A wants text, not a number",
        "env = { A = 1 }",
        "            ^",
    );
    wrong("limits = 3\n", "1:10: \"limits\" wants a table, not a number", "limits = 3", "         ^");
    wrong(
        "profile = []\n",
        "1:11: \"profile\" wants a table of profiles, as [profile.NAME], not a list",
        "profile = []",
        "          ^^",
    );
    wrong(
        "program = 1979-05-27\n",
        "1:11: \"program\" wants text, not a date",
        "program = 1979-05-27",
        "          ^^^^^^^^^^",
    );
    wrong(
        "arguments = [\"a\\u0000b\"]\n",
        "1:14: holds a zero byte, which nothing in Linux can take",
        "arguments = [\"a\\u0000b\"]",
        "             ^^^^^^^^^^",
    );
}

#[test]
fn words_sizes_times_and_ports() {
    wrong(
        "loader = \"dirct\"\n",
        "1:10: no loader \"dirct\"; did you mean \"direct\"?",
        "loader = \"dirct\"",
        "         ^^^^^^^",
    );
    wrong(
        "degrade = [\"keys\", \"signal\"]\n",
        "1:20: no promise \"signal\"; did you mean \"signals\"?",
        "degrade = [\"keys\", \"signal\"]",
        "                   ^^^^^^^^",
    );
    wrong(
        "[limits]\nmemory = \"12Q\"\n",
        "2:10: 12Q is no size; write 512M, 2G or a number of bytes",
        "memory = \"12Q\"",
        "         ^^^^^",
    );
    wrong(
        "[limits]\nmemory = -1\n",
        "2:10: \"memory\" wants a number of bytes from 0 to 18446744073709551615",
        "memory = -1",
        "         ^^",
    );
    wrong(
        "[limits]\nmemory = 1.5\n",
        "2:10: \"memory\" wants a size, such as \"512M\", or a number of bytes, not a fraction",
        "memory = 1.5",
        "         ^^^",
    );
    wrong(
        "[limits]\ntimeout = \"soon\"\n",
        "2:11: soon is no duration; write 90s, 5m, 1.5h or a number of seconds",
        "timeout = \"soon\"",
        "          ^^^^^^",
    );
    wrong(
        "[limits]\ntimeout = 0\n",
        "2:11: \"timeout\" wants more than no time",
        "timeout = 0",
        "          ^",
    );
    wrong(
        "[limits]\ncpus = 4294967296\n",
        "2:8: wants a whole number from 0 to 4294967295",
        "cpus = 4294967296",
        "       ^^^^^^^^^^",
    );
    wrong(
        "tcp-connect = [80, 65536]\n",
        "1:20: a port is a number from 0 to 65535",
        "tcp-connect = [80, 65536]",
        "                   ^^^^^",
    );
    wrong(
        "tcp-bind = [\"http\"]\n",
        "1:13: \"tcp-bind\" wants a list of ports from 0 to 65535, not text",
        "tcp-bind = [\"http\"]",
        "            ^^^^^^",
    );
    wrong(
        "env-pass = [\"A=B\"]\n",
        "1:13: \"A=B\" is no name for a variable; it is not empty and has no =",
        "env-pass = [\"A=B\"]",
        "            ^^^^^",
    );
}

#[test]
fn what_is_no_toml() {
    wrong("base = true\nbase = true\n", "2:1: duplicate key", "base = true", "^^^^");
    wrong("read = [1,\n", "1:11: unclosed array, expected `]`", "read = [1,", "          ^");
    wrong(
        "read = [\"x\"\nnet = true\n",
        "2:1: missing comma between array elements, expected `,`",
        "net = true",
        "^",
    );
    // A tab stands where it stood, so that the mark is below what it means.
    wrong("\tbase\t= 3\n", "1:9: \"base\" wants true or false, not a number", "\tbase\t= 3", "\t    \t  ^");
}

#[test]
fn variables_are_told_where_they_stand() {
    wrong(
        "read = [\"/a\", \"/b/${NOPE}/c\"]\n",
        "1:19: variable NOPE is not set; give it with --set NOPE=VALUE",
        "read = [\"/a\", \"/b/${NOPE}/c\"]",
        "                  ^^^^^^^",
    );
    wrong(
        "env = { A = \"${not this}\" }\n",
        "1:14: ${not this} is no variable; write ${NAME}, or $$ for a $",
        "env = { A = \"${not this}\" }",
        "             ^^^^^^^^^^^",
    );
    wrong(
        "cwd = \"${A\"\n",
        "1:8: ${A is no variable; write ${NAME}, or $$ for a $",
        "cwd = \"${A\"",
        "       ^^^",
    );
}

#[test]
fn roots_and_their_places() {
    wrong(
        "root = \"yes\"\n",
        "1:8: \"root\" wants true or false, or a table, not text",
        "root = \"yes\"",
        "       ^^^^^",
    );
    wrong(
        "[root]\nscracth = []\n",
        "2:1: unknown key \"scracth\"; did you mean \"scratch\"?",
        "scracth = []",
        "^^^^^^^",
    );
    wrong(
        "scratch = []\n",
        "1:1: unknown key \"scratch\" here; it belongs under [root]",
        "scratch = []",
        "^^^^^^^",
    );
    wrong(
        "read = [{ path = \"x\", to = \"/y\" }]\n",
        "1:23: unknown key \"to\"; there are path, at",
        "read = [{ path = \"x\", to = \"/y\" }]",
        "                      ^^",
    );
    wrong(
        "read = [{ at = \"/y\" }]\n",
        "1:9: an entry of \"read\" has no path",
        "read = [{ at = \"/y\" }]",
        "        ^^^^^^^^^^^^^",
    );
    wrong(
        "read = [{ path = \"x\", at = \"y\" }]\n",
        "1:28: a place in a root is absolute",
        "read = [{ path = \"x\", at = \"y\" }]",
        "                           ^^^",
    );
    wrong(
        "[root]\nfile = { etc = \"x\" }\n",
        "2:10: a place in a root is absolute",
        "file = { etc = \"x\" }",
        "         ^^^",
    );
    wrong(
        "[root]\ntmpfs = [{ at = \"/x\", size = \"big\" }]\n",
        "2:30: big is no size; write 512M, 2G or a number of bytes",
        "tmpfs = [{ at = \"/x\", size = \"big\" }]",
        "                             ^^^^^",
    );
}

#[test]
fn a_relative_path_is_not_typed_by_accident() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "read = [\"${P}/x\"]\n");
    let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--set", "P=in", "--", "true"]);
    ran.refuses(
        "beget: spec a.toml:1:9: variable P begins a path and is relative; write --set P=./VALUE\n  1 | read = [\"${P}/x\"]\n    |         \
         ^^^^^^^^\n",
    );
}

#[test]
fn of_a_long_line_a_part_is_shown() {
    let scratch = Scratch::new();
    let many = "\"/x\", ".repeat(1000);
    scratch.file("a.toml", format!("read = [{many}5, {many}]\n"));
    let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--", "true"]);
    let shown = "\"/x\", ".repeat(10);
    let after = &"\"/x\", ".repeat(20)[..57];
    ran.refuses(&format!(
        "beget: spec a.toml:1:6009: an entry of \"read\" wants text or a table, not a number\n  1 | {shown}5, {after}\n    | {}^\n",
        " ".repeat(60)
    ));
}

#[test]
fn a_terminal_is_not_commanded_by_what_a_file_holds() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "# \u{1b}[2J\nbase = \u{1b}]0;title\u{7}\n");
    let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--", "true"]);
    assert_eq!(ran.code, Some(125));
    assert!(!ran.err.contains(['\u{1b}', '\u{7}']), "{:?}", ran.err);
    // Nor is a line turned around, or ended where it does not end.
    scratch.file("b.toml", "read = [\"/\u{202e}x\u{2028}y\", 5]\n");
    for words in [&["run", "--spec", "b.toml"][..], &["run", "--read", "/\u{202e}x\u{2028}y"]] {
        let ran = run_in(&scratch.at(""), &[words, &["--", "true"]].concat());
        assert_eq!(ran.code, Some(125));
        assert!(!ran.err.contains(['\u{202e}', '\u{2028}']), "{:?}", ran.err);
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let scratch = Scratch::new();
    let there = scratch.at("");
    let refused = |file: &str, words: &str| {
        run_in(&there, &["run", "--spec", file, "--", "true"])
            .refuses(&format!("beget: spec {file}: {words}\n"));
    };
    refused("none.toml", "no such file or directory");
    refused(".", "is no regular file");
    refused("/dev/zero", "is no regular file");
    std::fs::write(scratch.at("huge.toml"), vec![b'#'; (4 << 20) + 1]).expect("the folder can be written");
    refused("huge.toml", "is larger than 4 MiB");
    std::fs::write(scratch.at("bytes.toml"), b"base = true\n# \xff\n").expect("the folder can be written");
    let ran = run_in(&there, &["run", "--spec", "bytes.toml", "--", "true"]);
    ran.refuses("beget: spec bytes.toml:2:3: is not UTF-8\n  2 | # \u{fffd}\n    |   ^\n");
    // A pipe is not waited for.
    let pipe = std::ffi::CString::new(scratch.at("pipe")).expect("a path");
    // SAFETY: a text that ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    refused("pipe", "is no regular file");
}

/// What shows only when the spec is used is told where it stands, too.
#[test]
fn what_cannot_be_had_is_told_where_it_is_asked_for() {
    let scratch = Scratch::new();
    let told = |spec: &str, code: i32, words: &str| {
        scratch.file("b.toml", spec);
        scratch.file("a.toml", "extends = [\"b.toml\"]\n");
        let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml"]);
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert!(ran.err.starts_with(&format!("beget: spec b.toml:{words}\n")), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 3, "{}", ran.err);
    };
    told(
        "program = \"none\"\n",
        127,
        "1:11: program none: not found in the child's PATH (/usr/local/bin:/usr/bin:/bin)",
    );
    told("program = \"./none\"\n", 127, "1:11: program ./none: no such file or directory");
    let with = |more: &str| format!("program = \"true\"\nbase = true\n{more}\n");
    told(&with("write = [\"/\", \"none\"]"), 125, "3:15: grant --write none: no such file or directory");
    told(&with("cwd = \"none\""), 125, "3:7: working directory none: no such file or directory");
    told(&with("fd = { x = \"none\" }"), 125, "3:8: grant --fd x=none: no such file or directory");
    told(
        &with("[limits]\ncpus = 0"),
        125,
        "4:8: limit --cpus 0: there are not so many that this process may use, or it is none",
    );
    told(
        &with("root = true\nread = [{ path = \"none\", at = \"/x\" }]"),
        125,
        "4:9: grant --read none: no such file or directory",
    );
    told(
        &with("read = [{ path = \"/\", at = \"/x\" }]"),
        125,
        "3:9: grant --read /:/x: another place is there only in a private root: add --root",
    );
    told(&with("[root]\nscratch = [\"none\"]"), 125, "4:12: root: --scratch none: no such file or directory");
    // What a flag asks for stands in no file.
    scratch.file("a.toml", "base = true\n");
    run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--read", "none", "--", "true"])
        .refuses("beget: grant --read none: no such file or directory\n");
}

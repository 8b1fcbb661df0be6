//! Tools: programs that read, compute, write and end.

use beget::Grant;
use beget_factory::Ready;
use beget_factory::survey::Kind;

use super::{check, program};

/// Some lines, in no order.
const LINES: &str = "pear 3\napple 12\nfig 7\n\nquince 1\napple 2\n";

/// Every byte, more than a pipe holds.
fn bytes() -> Vec<u8> {
    (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn of_text() {
    let big = "a line of some length, and then another\n".repeat(20_000);
    check([
        program("cat", &[]).reads(&[], LINES).reads(&[], bytes()).reads(&["-n"], LINES).run(&["/nowhere"]),
        program("wc", &[]).reads(&[], &big).reads(&["-l"], LINES).file(&["-c"], LINES),
        program("sort", &[]).reads(&[], LINES).reads(&["-k2n"], LINES).reads(&["-u"], &big),
        program("head", &[]).reads(&["-n2"], LINES).reads(&["-c100000"], bytes()),
        program("tail", &[]).given(&["-n2"], LINES).given(&["-c1000"], bytes()),
        program("tac", &[]).given(&[], LINES).file(&[], LINES),
        program("tr", &[]).reads(&["a-z", "A-Z"], LINES).reads(&["-d", "\\n"], LINES),
        program("od", &[]).reads(&["-An", "-tx1"], bytes()),
        program("base64", &[]).reads(&[], bytes()).reads(&["-d"], "aGFsbG8K").reads(&["-d"], "!"),
        program("md5sum", &[]).reads(&[], bytes()),
        program("sha256sum", &[]).reads(&[], bytes()).run(&["/nowhere"]),
        program("cut", &[]).reads(&["-d ", "-f2"], LINES),
        program("uniq", &[]).reads(&["-c"], LINES),
        program("nl", &[]).reads(&[], LINES),
        program("rev", &[]).reads(&[], LINES),
        program("tee", &[]).reads(&["/dev/null"], LINES),
        program("cmp", &[]).given(&["-", "/etc/passwd"], LINES),
        program("grep", &[]).reads(&["apple"], LINES).reads(&["-c", "nothing"], LINES).run(&["-E", "("]),
        program("sed", &[]).reads(&["s/a/b/g"], LINES).reads(&["-n", "$="], &big).run(&["z("]),
        program("mawk", &[]).reads(&["{s+=$2} END {print s}"], LINES).run(&["BEGIN {exit 3}"]),
        program("gawk", &[]).reads(&["{s+=$2} END {print s}"], LINES).run(&["BEGIN {exit 3}"]),
        program("bc", &[]).reads(&["-q"], "2^200\nscale=20\n1/7\n").reads(&["-q"], "1/0\n"),
        program("dc", &[]).reads(&[], "2 200 ^ p\n"),
        program("ed", &[]).given(&["-s"], "a\ntext\n.\n1p\nQ\n"),
        program("m4", &[]).reads(&[], "define(a,b)a\n"),
        program("jq", &[]).reads(&[".a[1]"], "{\"a\":[1,{\"b\":2}]}").reads(&["."], "{").run(&["-n", "1+1"]),
        program("sqlite3", &[]).given(&[":memory:"], "select 6*7;\n").run(&[":memory:", "select sqrt(2)"]),
        program("file", &[Grant::Base]).given(&["-"], "#!/bin/sh\n").run(&["-b", "/etc/passwd"]),
        program("iconv", &[])
            .given(&["-f", "UTF-8", "-t", "ISO-8859-1"], "fl\u{e4}che\n")
            .given(&["-f", "ISO-8859-15", "-t", "UTF-16"], b"\xa4")
            .given(&["-f", "UTF-8", "-t", "ASCII"], "fl\u{e4}che\n"),
    ]);
}

#[test]
fn of_arguments_and_variables() {
    let long = "x".repeat(100_000);
    let mut seq = program("seq", &[]).run(&["10"]).run(&["1", "200000"]).run(&["x"]);
    seq = seq.run(&[]);
    check([
        program("env", &[]).run(&[]).variable("A", "1", &[]).variable("PATH", "/bin", &[]),
        program("printenv", &[]).run(&["PATH"]).variable("A", "1", &["A"]).run(&["A"]).variable(
            "B",
            &long,
            &["B"],
        ),
        program("echo", &[]).run(&["one", "two"]).run(&[&long]).run(&[]).run(&["", " "]),
        program("printf", &[]).run(&["%s|%d\\n", "a b", "12"]).run(&["%d", "x"]),
        seq,
        program("factor", &[]).run(&["1234567890123456789"]).reads(&[], "12 13\n"),
        program("expr", &[]).run(&["6", "*", "7"]).run(&["1", "-", "1"]).run(&["a", "+", "1"]),
        program("test", &[]).run(&["-d", "/usr"]).run(&["-e", "/nowhere"]).run(&["a", "=", "a"]),
        program("true", &[]).run(&[]).run(&["--version"]),
        program("false", &[]).run(&[]),
        program("date", &[Grant::Base])
            .run(&["-u", "-d", "@0"])
            .variable("TZ", "America/New_York", &["-d", "@1000000000"])
            .variable("LC_ALL", "C.UTF-8", &["-d", "@0", "+%A %B"])
            .run(&["-d", "nonsense"]),
        program("stat", &[Grant::Base])
            .run(&["-c", "%n %F %s", "/usr/bin", "/etc/passwd"])
            .run(&["/nowhere"]),
        program("ls", &[Grant::Base]).run(&["/usr"]).run(&["-ld", "/usr/bin/env"]).run(&["/nowhere"]),
        program("sleep", &[]).run(&["0"]).run(&["x"]),
        program("basename", &[]).run(&["/a/b.c", ".c"]),
        program("dd", &[]).reads(&["status=none", "bs=7", "count=3"], LINES),
        program("uname", &[]).run(&["-sm"]),
        program("pwd", &[]).run(&[]).variable("PWD", "/usr", &[]),
        program("nproc", &[Grant::Base]).run(&["--all"]),
        program("tty", &[]).run(&[]).given(&[], ""),
        program("who", &[]).run(&["--version"]),
        program("id", &[Grant::Base]).run(&[]).run(&["-un", "root"]),
        program("getent", &[Grant::Base])
            .run(&["passwd", "root"])
            .run(&["services", "ssh"])
            .run(&["group", "nobody-has"]),
        program("locale", &[Grant::Base]).run(&[]).variable("LANG", "C.UTF-8", &[]).variable(
            "LC_ALL",
            "C.UTF-8",
            &["charmap"],
        ),
        program("hostname", &[]).run(&["--version"]),
        program("ps", &[]).run(&["--version"]),
        program("find", &[Grant::Base]).run(&["/usr/share/doc", "-maxdepth", "0"]).run(&["/nowhere"]),
        program("readlink", &[Grant::Base]).run(&["-f", "/bin"]),
        program("nice", &[]).run(&[]),
    ]);
}

#[test]
fn that_pack_and_sign() {
    check([
        program("gzip", &[]).reads(&["-nc"], bytes()).given(&["-dc"], "nonsense"),
        program("bzip2", &[]).reads(&["-c"], bytes()).given(&["-dc"], "nonsense"),
        program("xz", &[]).given(&["-T1", "-c"], bytes()).given(&["-dc"], "nonsense"),
        program("zstd", &[]).given(&["--single-thread", "-q", "-c"], bytes()),
        program("tar", &[Grant::Base])
            .run(&["-cf", "-", "-C", "/etc", "passwd"])
            .given(&["-tf", "-"], "nonsense"),
        program("openssl", &[Grant::Base])
            .given(&["dgst", "-sha3-256"], bytes())
            .given(&["enc", "-aes-256-cbc", "-K", "00", "-iv", "00"], LINES)
            .run(&["version"])
            .run(&["list", "-providers"]),
        program("zip", &[]).run(&["-h"]),
    ]);
}

#[test]
fn that_build() {
    let source = "int main(void) { return 7; }\n";
    check([
        program("as", &[]).given(&["--64", "-o", "/dev/null", "-"], ".globl x\nx: ret\n"),
        program("ld", &[]).run(&["-v"]).run(&["-o", "/dev/null", "/nowhere.o"]),
        program("gcc", &[Grant::Base, Grant::Spawn])
            .given(&["-E", "-P", "-xc", "-"], source)
            .run(&["-dumpmachine"]),
        program("diff", &[]).given(&["/etc/passwd", "-"], LINES).run(&["/etc/passwd", "/etc/passwd"]),
        program("patch", &[]).run(&["--version"]),
        program("make", &[Grant::Base, Grant::Spawn])
            .given(&["-s", "-f", "-"], "all: ; @echo made; exit 3\n")
            .run(&["-f", "/nowhere"]),
        program("git", &[Grant::Base, Grant::Spawn])
            .variable("GIT_CONFIG_NOSYSTEM", "1", &["--version"])
            .given(&["hash-object", "--stdin"], LINES)
            .run(&["-C", "/nowhere", "log"]),
        program("xargs", &[Grant::Base, Grant::Spawn])
            .reads(&["-n1", "echo", "word"], "a b c\n")
            .reads(&["false"], "a\n")
            .differs(Kind::CachedNumber),
        program("timeout", &[Grant::Base, Grant::Spawn])
            .run(&["60", "sh", "-c", "exit 4"])
            .run(&["0.01", "sleep", "60"]),
        program("find", &[Grant::Base, Grant::Spawn]).run(&["/usr/bin/env", "-exec", "echo", "{}", ";"]),
        program("vim", &[Grant::Base]).run(&["--version"]).at(&[Ready::Entry]),
        program("less", &[]).run(&["--version"]),
    ]);
}

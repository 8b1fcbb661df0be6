//! Shells and the tools they are used with: bash, sh, coreutils, find, grep, sed, awk, sort, tar, perl.

use std::io::Write;
use std::process::Stdio;

use beget_tests::{Scratch, beget};

use crate::{Ran, lacks, run};

#[test]
fn bash_does_what_scripts_want() {
    let script = "
echo a | tr a b | cat
cat <<END
here $((6 * 7))
END
cat <<< string
x=$(echo substituted); echo $x
cat <(echo process)
echo out > /dev/stdout
exec 5< /etc/passwd; head -c 4 /dev/fd/5; echo
coproc cat; echo coproc >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line
sleep 60 & kill $!; wait $!; echo $?
trap 'echo trapped' USR1; kill -USR1 $$
set -o | grep monitor | tr -s '[:space:]' ' '
";
    let expected = "b\nhere 42\nstring\nsubstituted\nprocess\nout\nroot\ncoproc\n143\ntrapped\nmonitor off ";
    run(&["--spawn"], &["bash", "-c", script]).prints(expected);
    run(&[], &["bash", "-c", "echo builtin; read -r line < /etc/passwd; echo ${line%%:*}"])
        .prints("builtin\nroot\n");
    run(&[], &["bash", "-c", "echo a | cat"]).fails("fork: Operation not permitted").tells("--spawn");
    run(&[], &["bash", "-c", "exec 3<> /dev/tcp/127.0.0.1/1"])
        .fails("Address family not supported by protocol")
        .tells("--tcp-connect");
}

#[test]
fn long_here_documents_want_a_temporary_file() {
    let scratch = Scratch::new();
    let place = scratch.at("");
    // Longer than a pipe holds, so bash writes it to a file.
    let script = "set -e; text=$(head -c 200000 /dev/zero | tr '\\0' x); wc -c <<END\n$text\nEND\n";
    let variable = format!("TMPDIR={place}");
    run(&["--spawn", "--write", &place, "--env", &variable], &["bash", "-c", script]).prints("200001\n");
    let refused = run(&["--spawn"], &["bash", "-c", script]);
    refused.fails("cannot create temp file for here-document: Permission denied");
}

#[test]
fn sh_loops_and_pipes() {
    let script =
        "for i in 1 2 3; do echo $i; done | sort -r | head -n 1; (exit 4); echo $?; echo $(expr 1 + 2)";
    run(&["--spawn"], &["sh", "-c", script]).prints("3\n4\n3\n");
    run(&[], &["sh", "-c", "(exit 4)"]).fails("Cannot fork").tells("--spawn");
}

/// Numbered lines in no order.
fn numbers() -> String {
    (0..3000).map(|n| format!("{} line\n", n * 7919 % 3000)).collect()
}

#[test]
fn sort_uses_temporary_files() {
    let scratch = Scratch::new();
    let input = scratch.file("in", numbers());
    let place = scratch.at("");
    let sorted: String = (0..3000).map(|n| format!("{n} line\n")).collect();
    run(&["--read", &input], &["sort", "-n", &input]).prints(&sorted);
    // A small buffer forces it to spill.
    let spilling = ["sort", "-n", "-S", "1k", "-T", &place, &input];
    run(&["--write", &place], &spilling).prints(&sorted);
    run(&["--read", &place], &spilling).fails("cannot create temporary file");
    run(&[], &["sort", &input]).fails("Permission denied");
}

#[test]
fn text_tools_and_find() {
    let scratch = Scratch::new();
    let input = scratch.file("in", numbers());
    let place = scratch.at("");
    let read = ["--read", input.as_str()];
    run(&read, &["grep", "-c", "^1[0-9] ", &input]).prints("10\n");
    run(&read, &["awk", "{ sum += $1 } END { print sum }", &input]).prints("4498500\n");
    run(&read, &["sed", "-n", "1p", &input]).prints("0 line\n");
    run(&read, &["sed", "-i", "s/line/row/", &input]).fails("Permission denied");
    run(&["--write", &place], &["sed", "-i", "s/line/row/", &input]).prints("");
    assert!(std::fs::read_to_string(&input).expect("our own file").starts_with("0 row\n"));

    let whole = ["--read", place.as_str(), "--spawn"];
    run(&whole[..2], &["find", &place, "-name", "i*", "-size", "+1k"]).prints(&format!("{input}\n"));
    let exec = ["find", &place, "-type", "f", "-exec", "wc", "-l", "{}", "+"];
    run(&whole, &exec).prints(&format!("3000 {input}\n"));
    run(&whole[..2], &exec).fails("Operation not permitted").tells("--spawn");
    let piped = format!("find {place} -type f -print0 | xargs -0 -P 2 -n 1 cat | tail -n 1");
    run(&whole, &["sh", "-c", &piped]).shows(" row\n");
    run(&[], &["find", &place]).fails("Permission denied");
}

#[test]
fn coreutils_change_files_where_they_may() {
    let scratch = Scratch::new();
    let place = scratch.at("");
    let script = "set -e
echo one > a; cp -a a b; cp --preserve=all a c; mv c d; ln a hard; ln -s a soft; mkfifo pipe
chmod 640 b; touch -d @5 b; stat -c '%a %Y' b
mkdir -p x/y; install -m 755 a x/y/a; rm -r x; truncate -s 2 d; wc -c < d
dd if=/dev/zero of=z bs=1k count=2 status=none; split -b 1k z part; ls; readlink soft; cat hard
rmdir nothing 2> /dev/null || mktemp -p . > /dev/null; sync -d a; flock a true; nice -n 5 timeout 10 true
";
    let words = ["sh", "-c", script];
    let grants = ["--spawn", "--cwd", place.as_str()];
    run(&[&grants[..], &["--write", &place]].concat(), &words)
        .prints("640 5\n2\na\nb\nd\nhard\npartaa\npartab\npipe\nsoft\nz\na\none\n");
    run(&[&grants[..], &["--read", &place]].concat(), &words).fails("Permission denied");
    // No devices, however much may be written.
    let device = ["mknod", "device", "c", "1", "3"];
    let made = run(&["--write", &place, "--cwd", &place], &device);
    made.fails("mknod: device:");
    assert!(!scratch.path().join("device").exists());
}

#[test]
fn archives_go_in_and_out() {
    if lacks("archives_go_in_and_out", &["tar", "gzip", "xz"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.at("");
    std::fs::create_dir(scratch.at("in")).expect("an empty folder");
    scratch.script("in/script", "#!/bin/sh\n");
    scratch.file("in/numbers", numbers());
    let grants = ["--spawn", "--write", place.as_str(), "--cwd", place.as_str()];
    for (kind, flag) in [("gz", "-z"), ("xz", "-J")] {
        let archive = format!("a.{kind}");
        run(&grants, &["tar", "-c", flag, "-f", &archive, "in"]).prints("");
        let out = format!("out-{kind}");
        std::fs::create_dir(scratch.at(&out)).expect("an empty folder");
        run(&grants, &["tar", "-x", flag, "-p", "-f", &archive, "-C", &out]).prints("");
        let extracted = std::fs::read_to_string(scratch.at(&format!("{out}/in/numbers")));
        assert_eq!(extracted.expect("tar wrote it"), numbers());
        run(&grants, &["stat", "-c", "%a", &format!("{out}/in/script")]).prints("755\n");
        run(&grants[1..], &["tar", "-x", flag, "-f", &archive])
            .fails("Operation not permitted")
            .tells("--spawn");
    }
    // Without a compressor there is no child.
    run(&grants[1..], &["tar", "-cf", "plain.tar", "in"]).prints("");
    run(&["--read", &place, "--cwd", &place], &["tar", "-xf", "plain.tar", "-C", "in"])
        .fails("Permission denied");
    run(&["--spawn", "--read", &place, "--cwd", &place], &["sh", "-c", "xz -dc -T2 a.xz | tar -t"])
        .shows("in/numbers\n");
}

#[test]
fn perl_forks_with_spawn() {
    if lacks("perl_forks_with_spawn", &["perl"]) {
        return;
    }
    let code = r#"use Socket; $| = 1;
my $child = fork; die "$!\n" unless defined $child; exit 3 unless $child;
waitpid $child, 0; print $? >> 8, "\n";
print `echo quoted`; open my $pipe, "-|", "echo", "piped" or die; print <$pipe>;
socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die; print "pair\n";
socket my $s, AF_INET, SOCK_STREAM, 0 or print "$!\n";"#;
    run(&["--spawn"], &["perl", "-e", code])
        .prints("3\nquoted\npiped\npair\nAddress family not supported by protocol\n");
    run(&[], &["perl", "-e", code]).fails("Operation not permitted").tells("--spawn");
}

#[test]
fn programs_that_want_a_terminal_fall_back() {
    run(&[], &["sh", "-c", "echo x > /dev/tty"]).fails("cannot create /dev/tty: Permission denied");
    if lacks("programs_that_want_a_terminal_fall_back", &["python3"]) {
        return;
    }
    // As password prompts do: the terminal if there is one, else standard input.
    let code = "import getpass; print(len(getpass.getpass('')))";
    let mut command = beget();
    command.args(["run", "--base", "--timeout", "60s", "--", "python3", "-W", "ignore", "-c", code]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("beget can be started");
    child.stdin.take().expect("a pipe").write_all(b"password\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    Ran::of(Vec::new(), &output).prints("8\n");
}

//! Programs that ask about the system: ls, ps, id, date; and those that come with large libraries.

use std::path::Path;

use beget_tests::{Need, Scratch, skip};

use crate::{lacks, run};

#[test]
fn ls_lists_what_may_be_read() {
    let scratch = Scratch::new();
    scratch.file("a", "12345");
    let place = scratch.at("");
    run(&["--read", &place], &["ls", "-l", &place]).shows(" 5 ");
    run(&[], &["ls", "-l", &place]).fails("cannot open directory");
    run(&[], &["ls", "-l", "/usr/bin/env", "/etc/passwd"]).shows("/etc/passwd\n");
    run(&[], &["ls", "/etc"]).fails("Permission denied");
}

#[test]
fn ps_needs_proc() {
    if lacks("ps_needs_proc", &["ps"]) {
        return;
    }
    let script = ["sh", "-c", "ps -o args= -p $$; true"];
    run(&["--spawn", "--read", "/proc"], &script).shows("sh -c ");
    let blind = run(&["--spawn"], &script);
    blind.prints("");
    run(&[], &["ls", "/proc"]).fails("Permission denied");
}

#[test]
fn id_tells_who_it_is() {
    // SAFETY: asks a number.
    let own = unsafe { libc::geteuid() };
    run(&[], &["id", "-u"]).prints(&format!("{own}\n"));
    run(&[], &["id", "-u", "root"]).prints("0\n");
    run(&[], &["getent", "hosts", "127.0.0.1"]).shows("localhost");
    run(&[], &["id", "no-such-user"]).fails("no such user");
}

#[test]
fn looking_up_a_name_is_no_refused_socket() {
    // The C library asks for its name cache first, over a Unix socket: no flag would allow that, and nobody misses it.
    let ran = run(&[], &["id", "no-such-user"]);
    ran.fails("no such user");
    assert!(!ran.err.contains("beget: "), "{ran}");
    let ran = run(&[], &["bash", "-c", "exit 3"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(3), ""), "{ran}");
}

#[test]
fn date_knows_time_zones() {
    const ZONE: &str = "/usr/share/zoneinfo/Europe/Berlin";
    if !Path::new(ZONE).exists() {
        return skip("date_knows_time_zones", Need::Program("tzdata"));
    }
    let date = ["date", "-d", "@0", "+%F %T"];
    run(&["--env", "TZ=UTC"], &date).prints("1970-01-01 00:00:00\n");
    run(&["--env", "TZ=Europe/Berlin"], &date).prints("1970-01-01 01:00:00\n");
    // A zone that may not be read is as good as none.
    let scratch = Scratch::new();
    let zone = scratch.file("zone", std::fs::read(ZONE).expect("a public file"));
    let variable = format!("TZ=:{zone}");
    run(&["--env", &variable, "--read", &zone], &date).prints("1970-01-01 01:00:00\n");
    run(&["--env", &variable], &date).prints("1970-01-01 00:00:00\n");
    run(&[], &["date", "-s", "@0"]).fails("cannot set date: Operation not permitted");
}

#[test]
fn curl_and_openssl_load() {
    if lacks("curl_and_openssl_load", &["curl", "openssl"]) {
        return;
    }
    run(&[], &["curl", "--version"]).shows("https");
    run(&[], &["curl", "-sS", "http://127.0.0.1:1/"]).fails("Failed to connect").tells("--tcp-connect");
    run(&[], &["openssl", "version"]).shows("OpenSSL");
    let scratch = Scratch::new();
    let place = scratch.at("");
    let request = [
        "openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", "key",
        "-out", "cert",
    ];
    run(&["--write", &place, "--cwd", &place], &request).prints("");
    let verify = ["openssl", "x509", "-in", "cert", "-noout", "-subject"];
    run(&["--read", &place, "--cwd", &place], &verify).shows("CN");
    run(&["--read", &place, "--cwd", &place], &request).fails("Permission denied");
}

#[test]
fn sqlite_keeps_its_journal() {
    if lacks("sqlite_keeps_its_journal", &["sqlite3"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.at("");
    let sqlite =
        |grant: &str, sql: &str| run(&[grant, &place, "--cwd", &place], &["sqlite3", "-batch", "db", sql]);
    let sql = "pragma journal_mode = wal; create table t(x); insert into t values (40), (2); select sum(x) from t; vacuum;";
    sqlite("--write", sql).prints("wal\n42\n");
    sqlite("--write", "pragma journal_mode = delete; pragma integrity_check").prints("delete\nok\n");
    sqlite("--read", "select sum(x) from t").prints("42\n");
    sqlite("--read", "insert into t values (1)").fails("readonly database");
    run(&["--cwd", &place], &["sqlite3", "-batch", "db", "select 1 from t"])
        .fails("unable to open database file");
}

#[test]
fn namespaces_and_priorities_of_others_stay_closed() {
    if lacks("namespaces_and_priorities_of_others_stay_closed", &["setpriv"]) {
        return;
    }
    run(&["--spawn"], &["unshare", "-r", "true"]).fails("unshare failed: Operation not permitted");
    run(&["--spawn"], &["setsid", "-w", "echo", "session"]).prints("session\n");
    run(&[], &["nice", "-n", "5", "nice"]).prints("5\n");
    let other = std::process::id().to_string();
    // SAFETY: asks a number. Errors can lie, so the one that was to be changed is looked at.
    let priority = || unsafe { libc::getpriority(libc::PRIO_PROCESS, std::process::id()) };
    let before = priority();
    run(&[], &["renice", "-n", "6", "-p", &other]).fails("Operation not permitted");
    assert_eq!(priority(), before);
    run(&[], &["taskset", "-p", "1", &other]).fails("Operation not permitted");
    run(&[], &["taskset", "1", "nproc"]).prints("1\n");
    run(&[], &["kill", "-CONT", &other]).fails("Operation not permitted");
}

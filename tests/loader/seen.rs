//! A program that tells what it sees of itself, and what it told, taken apart.

use std::collections::BTreeMap;
use std::ops::Range;

/// Prints `key<TAB>value`, then what is in its own `/proc`, each part behind a line that begins with `=`.
pub(crate) const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static void copy(const char *path) {
    static char bytes[1 << 16];
    int fd = open(path, O_RDONLY);
    ssize_t length;
    printf("=%s\n", path);
    fflush(stdout);
    while ((length = read(fd, bytes, sizeof bytes)) > 0) write(1, bytes, length);
    write(1, "\n", 1);
    close(fd);
}
int main(int count, char **arguments) {
    struct timespec now;
    char **after = environ;
    while (*after++);
    Elf64_auxv_t *vector = (Elf64_auxv_t *)after;
    printf("argv\t%lu\nargv0\t%lu\nenv0\t%lu\nauxv\t%lu\n", (long)arguments, (long)arguments[0], (long)environ[0], (long)vector);
    for (int i = 0;; i++) {
        printf("aux.%lu\t%lu\n", vector[i].a_type, vector[i].a_un.a_val);
        if (!vector[i].a_type) break;
    }
    printf("execfn\t%s\nplatform\t%s\nrandom\t", (char *)getauxval(AT_EXECFN), (char *)getauxval(AT_PLATFORM));
    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    for (int i = 0; i < 16; i++) printf("%02x", random[i]);
    printf("\nvdso\t%d\nclock\t%d\n", memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4), clock_gettime(CLOCK_MONOTONIC, &now));
    printf("heap\t%lu\n", (long)malloc(10));
    for (int signal = 1; signal < 65; signal++) {
        struct sigaction action;
        if (!sigaction(signal, 0, &action) && (action.sa_handler != SIG_DFL || action.sa_flags)) printf("signal.%d\tnot default\n", signal);
    }
    copy("/proc/self/maps");
    copy("/proc/self/stat");
    copy("/proc/self/comm");
    copy("/proc/self/cmdline");
    copy("/proc/self/environ");
    copy("/proc/self/status");
    copy("/proc/self/limits");
    for (int fd = 0; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0) { printf("=fd %d %d\n", fd, flags); }
    }
    fflush(stdout);
    return 0;
}
"#;

/// What it told.
#[derive(Debug)]
pub(crate) struct Seen {
    values: BTreeMap<String, String>,
    parts: BTreeMap<String, String>,
}

/// A line of `maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) range: Range<u64>,
    pub(crate) rights: String,
    pub(crate) offset: u64,
    pub(crate) path: String,
}

impl Map {
    /// Takes lines apart.
    pub(crate) fn all(text: &str) -> Vec<Map> {
        let one = |line: &str| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let hex = |text: &str| u64::from_str_radix(text, 16).ok();
            let (rights, offset) = (words.next()?.to_owned(), hex(words.next()?)?);
            let path = words.skip(2).collect::<Vec<_>>().join(" ");
            Some(Map { range: hex(from)?..hex(to)?, rights, offset, path })
        };
        text.lines().filter_map(one).collect()
    }

    /// All but its place.
    pub(crate) fn shape(&self) -> (String, u64, String, u64) {
        (self.path.clone(), self.offset, self.rights.clone(), self.range.end - self.range.start)
    }
}

impl Seen {
    pub(crate) fn of(out: &str) -> Seen {
        let mut parts = out.split("\n=");
        let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let values = parts.next().unwrap_or_default().lines().filter_map(pair).collect();
        let part = |part: &str| {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            (name.to_owned(), text.to_owned())
        };
        Seen { values, parts: parts.map(part).collect() }
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.values.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.text(key).parse().expect("a number")
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<&str> {
        self.values.keys().filter(|key| key.starts_with(prefix)).map(String::as_str).collect()
    }

    pub(crate) fn auxiliary(&self, kind: u64) -> u64 {
        self.number(&format!("aux.{kind}"))
    }

    /// A file of its own `/proc`.
    pub(crate) fn proc(&self, name: &str) -> &str {
        self.parts.get(&format!("/proc/self/{name}")).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// A line of `status`.
    pub(crate) fn status(&self, name: &str) -> &str {
        let line = self.proc("status").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}")).trim()
    }

    pub(crate) fn maps(&self) -> Vec<Map> {
        Map::all(self.proc("maps"))
    }

    /// The first mapping of this path.
    pub(crate) fn map(&self, path: &str) -> Map {
        let found = self.maps().into_iter().find(|map| map.path.ends_with(path));
        found.unwrap_or_else(|| panic!("no {path} in {}", self.proc("maps")))
    }

    /// A field of `stat`, counted from 1 as in `man 5 proc_pid_stat`.
    pub(crate) fn stat(&self, field: usize) -> u64 {
        let after = self.proc("stat").rsplit_once(") ").expect("a name in parentheses").1;
        after.split_whitespace().nth(field - 3).expect("a field").parse().expect("a number")
    }

    /// The open descriptors, with their flags.
    pub(crate) fn descriptors(&self) -> Vec<&str> {
        self.parts.keys().map(|name| name.trim_end()).filter(|name| name.starts_with("fd ")).collect()
    }
}

//! Loaded directly and with `--only`, a program runs although it can execute nothing, in no way.

use crate::fixtures::{c, compiled};
use crate::{case, lacks};

/// Tries every way to execute something, and prints the errno of each.
const TRIES: &str = r##"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <spawn.h>
extern char **environ;
int main(int count, char **arguments) {
    char *words[] = {"true", 0};
    if (count > 1 && !strcmp(arguments[1], "again")) return 99;
    int path = open("/usr/bin/true", O_PATH), file = open("/usr/bin/true", O_RDONLY), folder = open("/usr/bin", O_RDONLY);
    if (path < 0 || file < 0 || folder < 0) return 1;
#define TRY(what, call) errno = 0; call; printf("%s %d\n", what, errno)
    TRY("execve", execve("/usr/bin/true", words, environ));
    TRY("itself", execve(arguments[0], (char *[]){arguments[0], "again", 0}, environ));
    TRY("script", execve("/usr/bin/ldd", words, environ));
    TRY("loader", execve("/lib64/ld-linux-x86-64.so.2", (char *[]){"ld", "/usr/bin/true", 0}, environ));
    TRY("execveat", syscall(SYS_execveat, AT_FDCWD, "/usr/bin/true", words, environ, 0));
    TRY("in a folder", syscall(SYS_execveat, folder, "true", words, environ, 0));
    TRY("by path descriptor", syscall(SYS_execveat, path, "", words, environ, AT_EMPTY_PATH));
    TRY("by descriptor", syscall(SYS_execveat, file, "", words, environ, AT_EMPTY_PATH));
    TRY("fexecve", fexecve(file, words, environ));
    TRY("/proc/self/exe", execve("/proc/self/exe", words, environ));
    TRY("/proc/self/fd", char name[40]; sprintf(name, "/proc/self/fd/%d", file); execve(name, words, environ));
    for (int fd = 0; fd < 20; fd++) syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH);
    int memory = syscall(SYS_memfd_create, "m", 0);
    printf("memory %d\n", memory < 0);
    if (memory >= 0) { write(memory, "#!/usr/bin/true\n", 16); TRY("memory", fexecve(memory, words, environ)); }
    return 7;
}
"##;

#[test]
fn nothing_can_be_executed_and_the_program_runs() {
    if lacks("nothing_can_be_executed_and_the_program_runs", &["gcc"]) {
        return;
    }
    let mut programs = vec![c(TRIES, &["-pie"]), c(TRIES, &["-static"])];
    if !lacks("nothing_can_be_executed_and_the_program_runs", &["musl-gcc"]) {
        programs.push(compiled("musl-gcc", TRIES, &[]));
    }
    for program in programs {
        for proc in [&[][..], &["--read", "/proc"]] {
            let ran = case(&[&program]).flags(&["--only"]).flags(proc).by("direct");
            assert_eq!(ran.code, 7, "{ran:?}");
            let results: Vec<&str> = ran.out.lines().collect();
            assert_eq!(results.len(), 12, "{ran:?}");
            for line in results {
                let refused = line.ends_with(" 13") || line == "memory 1";
                // What may not be read to begin with is not there.
                assert!(refused, "{line} in {ran:?}");
            }
        }
        // Without `--only` the same attempts succeed at the first.
        let free = case(&[&program]).by("direct");
        assert_eq!((free.code, free.out.as_str()), (0, ""), "{free:?}");
    }
}

#[test]
fn large_programs_need_no_exec_to_start() {
    let only = |words: &[&str]| case(words).flags(&["--only"]).by("direct");
    if !lacks("large_programs_need_no_exec_to_start", &["python3"]) {
        let code = "
import os, errno
for call in (lambda: os.execv('/usr/bin/true', ['true']), lambda: os.execve(os.open('/usr/bin/true', 0), ['true'], {}),
             lambda: os.posix_spawn('/usr/bin/true', ['true'], {})):
    try: print(call())
    except OSError as error: print(errno.errorcode[error.errno])
try: os.memfd_create('m')
except OSError as error: print(errno.errorcode[error.errno])
";
        let ran = only(&["python3", "-c", code]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "EACCES\nEACCES\nEPERM\nEACCES\n"), "{ran:?}");
        let ran = case(&["python3", "-c", code]).flags(&["--only", "--spawn"]).by("direct");
        assert_eq!((ran.code, ran.out.as_str()), (0, "EACCES\nEACCES\nEACCES\nEACCES\n"), "{ran:?}");
    }
    let ran = only(&["bash", "-c", "echo $((6*7)); exec /usr/bin/true"]);
    assert!(ran.code == 126 && ran.out == "42\n" && ran.err.contains("Permission denied"), "{ran:?}");
    for (tool, prints) in
        [("git", "git version "), ("gcc", "gcc "), ("node", "v"), ("perl", "\nThis is perl")]
    {
        if !lacks("large_programs_need_no_exec_to_start", &[tool]) {
            let ran = only(&[tool, "--version"]);
            assert!(ran.code == 0 && ran.out.starts_with(prints), "{ran:?}");
        }
    }
}

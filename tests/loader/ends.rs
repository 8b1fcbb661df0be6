//! How a program ends: codes, signals; and what it can use until then: its heap, its stack.

use crate::fixtures::c;
use crate::{case, lacks, limit};

#[test]
fn codes_and_signals() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 255", 255),
        ("kill -SEGV $$", 139),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -ABRT $$", 134),
    ] {
        assert_eq!(case(&["sh", "-c", script]).agrees().code, code, "{script}");
    }
    if lacks("codes_and_signals", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdlib.h>
#include <string.h>
int main(int count, char **arguments) {
    volatile int zero = 0, *nowhere = 0;
    switch (arguments[1][0]) {
    case 'a': abort();
    case 'd': return (int)(long)arguments / zero;
    case 'i': __asm__("ud2");
    case 'n': *nowhere = 1;
    case 's': memcpy(alloca(100), arguments[1], 1 << 24);
    case 'w': *(volatile char *)main = 0;
    }
}
"#;
    for link in ["-pie", "-static"] {
        let program = c(source, &[link, "-w"]);
        for (how, signal) in [("a", 6), ("d", 8), ("i", 4), ("n", 11), ("s", 11), ("w", 11)] {
            assert_eq!(case(&[&program, how]).agrees().code, 128 + signal, "{link} {how}");
        }
    }
}

#[test]
fn the_heap_lies_after_the_program_and_grows() {
    if lacks("the_heap_lies_after_the_program_and_grows", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char end;
int main(void) {
    char *first = sbrk(0);
    uintptr_t gap = (uintptr_t)first - (uintptr_t)&end;
#ifndef ELSEWHERE
    if (first < &end || gap > (2UL << 30)) return 1;
#endif
    if (sbrk(1 << 20) != first || brk(first) || sbrk(0) != first) return 4;
    for (int i = 0; i < 200; i++) {
        char *more = sbrk(1 << 20);
        if (more == (void *)-1) return 2;
        memset(more, i, 1 << 20);
    }
    for (int i = 0; i < 200; i++) if (first[(i << 20) + 5] != (char)i) return 3;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[400];
    int found = 0;
    while (fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        sscanf(line, "%lx-%lx", &from, &to);
        if (strstr(line, "[heap]")) found += from <= (uintptr_t)first && to >= (uintptr_t)first + (200 << 20);
    }
    for (int i = 0; i < 300000; i++) { char *one = malloc(i % 3000 + 1); *one = 1; if (i % 3) free(one); }
    printf("%d\n", found);
    return 0;
}
"#;
    for flags in [&["-pie"][..], &["-no-pie"], &["-static"], &["-static-pie", "-DELSEWHERE"]] {
        case(&[c(source, flags)]).flags(&["--read", "/proc"]).prints("1\n");
    }
}

/// As deep as the limit allows, and no deeper. A child's limit is 8 MiB, or the caller's hard one.
#[test]
fn the_stack_grows_to_its_limit() {
    if lacks("the_stack_grows_to_its_limit", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
__attribute__((noinline)) static int deep(int n) { volatile char here[1000]; here[n % 1000] = 1; return n ? deep(n - 1) + here[n % 1000] : 0; }
int main(int count, char **arguments) {
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    long bytes = limit.rlim_cur;
    printf("%ld\n", bytes >> 10);
    fflush(stdout);
    printf("%d\n", deep((bytes - (128 << 10)) / 1040) > 0);
    fflush(stdout);
    return arguments[1] ? deep(bytes / 1000) : 0;
}
"#;
    let program = c(source, &["-O0"]);
    case(&[&program]).prints("8192\n1\n");
    let ran = case(&[&program, "more"]).agrees();
    assert_eq!((ran.code, ran.out.as_str()), (139, "8192\n1\n"));
    beget_tests::alone("ends::the_stack_grows_to_its_limit", || {
        limit(libc::RLIMIT_STACK, 1 << 20).expect("lower than it was");
        case(&[&program]).prints("1024\n1\n");
        assert_eq!(case(&[&program, "more"]).agrees().code, 139);
    });
}

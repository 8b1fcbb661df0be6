//! C programs linked in every way that there is: static, moving and fixed, for two C libraries, with odd segments.

use crate::fixtures::{c, compiled};
use crate::{case, lacks};

/// Uses what a loader and a C library have to set up: relocated pointers, thread-local variables with and without a value,
/// constructors and destructors in their order, the heap, the clock, the name it was called by.
const PROGRAM: &str = r#"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static const char *const words[] = {"relocated", "words"};
const char *const *volatile table = words;
static __thread int with_value = 7;
static __thread char without[5000];
static char zeros[100000];
static char filled[9000] = "filled";
static int order;
__attribute__((constructor(200))) static void second(void) { order = order * 10 + 2; }
__attribute__((constructor(101))) static void first(void) { order = order * 10 + 1; }
__attribute__((destructor)) static void last(void) { write(1, "destructor\n", 11); }
static void at_exit(void) { fflush(stdout); write(1, "at exit\n", 8); }
static void *thread(void *argument) {
    with_value += *(int *)argument;
    without[4999] = 1;
    errno = 5;
    return (void *)(long)(with_value * 100 + without[4998] + without[4999]);
}
int main(int count, char **arguments) {
    int add = 3, clear = 0;
    void *result;
    pthread_t number;
    if (pthread_create(&number, 0, thread, &add)) return 1;
    pthread_join(number, &result);
    for (size_t i = 0; i < sizeof zeros; i++) clear |= zeros[i];
    for (size_t i = 6; i < sizeof filled; i++) clear |= filled[i];
    atexit(at_exit);
    char *heap = malloc(100), *large = malloc(50000000);
    if (!heap || !large) return 2;
    memset(heap, 1, 100);
    memset(large, 2, 50000000);
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return 3;
    printf("%s %s %d %ld %d %d %d %s %s %d\n", table[0], table[1], with_value, (long)result, clear, order, count, filled,
           getenv("VARIABLE"), errno);
    free(heap);
    free(large);
    return 42;
}
"#;

fn check(program: &str) {
    let ran = case(&[program, "one", "two"]).env("VARIABLE", "value").agrees();
    let expected = "relocated words 7 1001 0 12 3 filled value 0\nat exit\ndestructor\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (42, expected, ""));
}

#[test]
fn glibc_static_and_dynamic_moving_and_fixed() {
    if lacks("glibc_static_and_dynamic_moving_and_fixed", &["gcc"]) {
        return;
    }
    for flags in [&["-static"][..], &["-static-pie"], &["-pie", "-fPIE"], &["-no-pie", "-fno-pie"]] {
        check(&c(PROGRAM, &[flags, &["-pthread"]].concat()));
    }
}

#[test]
fn musl_static_and_dynamic_moving_and_fixed() {
    if lacks("musl_static_and_dynamic_moving_and_fixed", &["musl-gcc"]) {
        return;
    }
    for flags in [
        &["-static", "-no-pie", "-fno-pie"][..],
        &["-static-pie", "-fPIE"],
        &["-pie", "-fPIE"],
        &["-no-pie", "-fno-pie"],
    ] {
        check(&compiled("musl-gcc", PROGRAM, flags));
    }
}

#[test]
fn odd_segments() {
    if lacks("odd_segments", &["gcc"]) {
        return;
    }
    for flags in [
        &["-Wl,-z,relro,-z,now"][..],
        &["-Wl,-z,relro,-z,lazy"],
        &["-Wl,-z,norelro"],
        &["-Wl,-z,noseparate-code"],
        &["-Wl,-z,max-page-size=0x200000"],
        &["-Wl,-z,max-page-size=0x200000", "-static-pie"],
        &["-Wl,-z,max-page-size=0x200000", "-no-pie"],
        &["-Wl,-z,noseparate-code", "-static"],
        &["-Wl,-z,execstack"],
        &["-Wl,-z,execstack", "-static"],
        &["-Wl,--hash-style=sysv"],
        &["-Wl,-Ttext-segment=0x10000000", "-no-pie"],
        &["-s"],
    ] {
        check(&c(PROGRAM, &[flags, &["-pthread"]].concat()));
    }
    // One segment that may be read, written and executed, and begins at no page of the file.
    let source = r#"
static int value = 20, zero[5000];
void _start(void) {
    value = value * 2 + zero[4999] + 2;
    __asm__ volatile("syscall" : : "a"(231), "D"(value) : "memory");
}
"#;
    let alone = c(source, &["-static", "-nostdlib", "-ffreestanding", "-Wl,-N"]);
    assert_eq!(case(&[alone]).agrees().code, 42);
}

#[test]
fn a_stack_is_executable_for_those_who_ask() {
    if lacks("a_stack_is_executable_for_those_who_ask", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdio.h>
#include <string.h>
int main(void) {
    volatile unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    printf("%d\n", ((int (*)(void))code)());
    return 0;
}
"#;
    for link in ["-static", "-static-pie", "-pie"] {
        case(&[c(source, &[link, "-Wl,-z,execstack"])]).prints("42\n");
        assert_eq!(case(&[c(source, &[link])]).agrees().code, 128 + libc::SIGSEGV);
    }
}

#[test]
fn functions_chosen_at_run_time() {
    if lacks("functions_chosen_at_run_time", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdio.h>
#include <string.h>
static int chosen(void) { return 6; }
static int other(void) { return 7; }
static void *choose(void) { __builtin_cpu_init(); return __builtin_cpu_supports("sse2") ? chosen : other; }
int function(void) __attribute__((ifunc("choose")));
int main(void) {
    char text[100];
    memset(text, 'x', sizeof text - 1);
    text[99] = 0;
    printf("%d %zu %p\n", function(), strlen(text), memchr(text, 'y', 99));
}
"#;
    for flags in [&["-pie"][..], &["-no-pie"], &["-static"], &["-static-pie"], &["-Wl,-z,now"]] {
        case(&[c(source, flags)]).prints("6 99 (nil)\n");
    }
}

#[test]
fn a_gibibyte_of_nothing() {
    if lacks("a_gibibyte_of_nothing", &["gcc"]) {
        return;
    }
    let source = r#"
#include <stdio.h>
static char nothing[1UL << 30];
int main(void) {
    long sum = 0;
    for (unsigned long i = 0; i < sizeof nothing; i += 10000019) nothing[i]++;
    for (unsigned long i = 0; i < sizeof nothing; i += 10000019) sum += nothing[i] + nothing[i + 1];
    printf("%ld\n", sum + nothing[sizeof nothing - 1]);
}
"#;
    for flags in [&["-pie"][..], &["-static"], &["-static-pie"], &["-no-pie"]] {
        case(&[c(source, flags)]).prints("108\n");
    }
}

//! What a program had in its processor, its signals and its stacks is there in each of a thousand products.

use super::*;
use crate::fixtures::c;

/// More than any pool holds at once; each is waited for before the next.
const MANY: usize = 1000;

#[test]
fn a_thousand_products_are_all_the_same() {
    if !beget_tests::has("gcc") {
        return;
    }
    let source = "#include <stdio.h>\nint main(int n, char **all) { char line[99]; puts(fgets(line, 99, stdin)); return n; }";
    let path = c(source, &[]);
    for ready in [Ready::Entry, Ready::Main, Ready::Stdin] {
        let made = made(&mut base(&path), &ready, LONG).expect("a template");
        for number in 0..MANY {
            let list: Vec<OsString> = (0..number % 7).map(|word| word.to_string().into()).collect();
            let given = (ready != Ready::Stdin && !list.is_empty()).then_some(list.as_slice());
            let ran = made.run_with(&format!("product {number}"), given, None).expect("a product");
            let code = given.map_or(1, |list| list.len() as i32);
            assert_eq!((ran.out, ran.code), (format!("product {number}\n"), Some(code)), "{ready}");
        }
    }
    let made =
        made(base("/bin/sh").arg("-c").arg("x=1; kill -STOP $$; read y; echo $x$y"), &Ready::Stop, LONG);
    let made = made.expect("a template");
    for number in 0..MANY {
        assert_eq!(made.run(&number.to_string()).out, format!("1{number}\n"));
    }
}

#[test]
fn registers_masks_handlers_and_stacks_of_signals_are_what_they_were() {
    let source = r#"
    #define _GNU_SOURCE
    #include <immintrin.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    static volatile sig_atomic_t seen; static void *volatile where;
    static void handle(int n, siginfo_t *about, void *frame) { int here; seen++; where = &here; }
    __attribute__((target("avx2"))) static int with_avx(int pid) {
        /* In registers over the stop: what a call of the kernel's does not change. */
        register long a asm("r12") = 0x1122334455667788, b asm("r13") = -7, d asm("rbx") = 42;
        __m256i v = _mm256_set1_epi32(0x5a5a5a5a);
        unsigned int control = _mm_getcsr(), changed = control | 0x6000, after; long answer; int out[8];
        _mm_setcsr(changed);
        asm volatile("vmovdqa %3, %%ymm9\n vpcmpeqd %%ymm15, %%ymm15, %%ymm15\n mov $62, %%eax\n syscall\n vmovdqa %%ymm9, %3\n vmovdqu %%ymm15, %4"
            : "=a"(answer), "+r"(a), "+r"(b), "+x"(v), "=m"(out), "+r"(d) : "D"((long) pid), "S"(19L) : "rcx", "r11", "xmm9", "xmm15", "memory");
        after = _mm_getcsr(); _mm_setcsr(control);
        int all[8]; memcpy(all, &v, 32);
        for (int i = 0; i < 8; i++) if (all[i] != 0x5a5a5a5a || out[i] != -1) return 0;
        return a == 0x1122334455667788 && b == -7 && d == 42 && answer == 0 && after == changed;
    }
    int main(void) {
        char *stack = malloc(65536);
        stack_t other = { stack, 0, 65536 };
        sigaltstack(&other, 0);
        struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK };
        sigaction(SIGUSR1, &action, 0);
        signal(SIGUSR2, SIG_IGN);
        sigset_t mask; sigemptyset(&mask); sigaddset(&mask, SIGUSR1); sigaddset(&mask, SIGTERM);
        sigprocmask(SIG_BLOCK, &mask, 0);
        int avx = __builtin_cpu_supports("avx2") ? with_avx(getpid()) : (kill(getpid(), SIGSTOP), 1);
        sigset_t now; sigprocmask(0, 0, &now);
        raise(SIGUSR1); raise(SIGUSR2);
        int before = seen;
        sigset_t open; sigemptyset(&open); sigaddset(&open, SIGUSR1); sigprocmask(SIG_UNBLOCK, &open, 0);
        stack_t found; sigaltstack(0, &found);
        printf("%d %d%d%d %d%d %d %d\n", avx, sigismember(&now, SIGUSR1), sigismember(&now, SIGTERM), sigismember(&now, SIGUSR2),
            before, seen, (char *) where > stack && (char *) where < stack + 65536, found.ss_sp == stack && found.ss_size == 65536);
    }"#;
    if !beget_tests::has("gcc") {
        return;
    }
    let made = made(&mut base(&c(source, &[])), &Ready::Stop, LONG).expect("a template");
    for _ in 0..100 {
        assert_eq!(made.run("").out, "1 110 01 1 1\n");
    }
}

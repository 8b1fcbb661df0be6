//! All that a program has is there again when it goes on from a file: memory of every kind, what it told the kernel, its registers.

use beget_tests::Scratch;

use super::saved::{loaded, saved};
use super::*;
use crate::fixtures::{c, compiled};
use beget_factory::saved::Verify;

/// A program that makes something of everything, stops itself, and looks at all of it afterwards. It writes what is not as it was.
const STATE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) printf("line %d: %s\n", __LINE__, #what); } while (0)
static int data[5000] = { 7, 8, 9 };
static int zero[200000];
static const char text[] = "constant";
static __thread int own = 5;
static volatile int handled, on_stack;
static char *stack;

static void handler(int signal, siginfo_t *info, void *context) {
    char here;
    handled = signal;
    on_stack = &here >= stack && &here < stack + 65536;
}
static int down(int depth) {
    volatile char page[4096];
    page[0] = depth;
    return depth ? down(depth - 1) + page[0] : page[0];
}
static void *thread(void *argument) { own = 77; return (void *)((intptr_t)argument + own); }
__attribute__((noinline)) static void stop_with_registers(uint64_t *after) {
    /* Every register that a call keeps, and vectors, around the very call that stops it. */
    static uint64_t pattern[4] = { 0x1122334455667788, 0x99aabbccddeeff00, 42, 43 };
    register long r12 __asm__("r12") = 12, r13 __asm__("r13") = 13, r14 __asm__("r14") = 14;
    long result;
    __asm__ volatile("vmovdqu %[p], %%ymm9\n\tsyscall\n\tvmovdqu %%ymm9, %[a]"
        : "=a"(result), [a] "=m"(*(uint64_t(*)[4])after), "+r"(r12), "+r"(r13), "+r"(r14)
        : [p] "m"(pattern), "0"((long)SYS_kill), "D"((long)getpid()), "S"((long)SIGSTOP)
        : "rcx", "r11", "memory", "xmm9");
    after[4] = r12 == 12 && r13 == 13 && r14 == 14 && result == 0;
}

int main(int argc, char **argv) {
    char *heap = malloc(100000);
    memset(heap, 3, 100000);
    unsigned char *large = mmap(0, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 8 << 20; i += 4096) large[i] = i >> 12;
    unsigned char *fixed = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fixed[0] = 66;
    mprotect(fixed, 4096, PROT_READ);
    mprotect(fixed + 4096, 4096, PROT_NONE);
    int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    unsigned char *mapped = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    unsigned char second = mapped[1];
    mapped[0] = '!';
    char five[5], more[5], again[5];
    CHECK(read(file, five, 5) == 5);
    CHECK(pread(file, again, 5, 5) == 5);
    if (file != 40) { dup2(file, 40); close(file); file = 40; }
    zero[150000] = 6;
    data[4000] = 5;
    own = 6;
    stack = malloc(65536);
    stack_t alternate = { .ss_sp = stack, .ss_size = 65536 }, now;
    sigaltstack(&alternate, 0);
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK }, is;
    sigaction(SIGUSR1, &action, 0);
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, 0);
    umask(077);
    CHECK(chdir("/usr/lib") == 0);
    prctl(PR_SET_NAME, "changed");
    void *end = sbrk(0);
    uint64_t after[5] = { 0 };

    stop_with_registers(after);

    CHECK(after[0] == 0x1122334455667788 && after[3] == 43 && after[4] == 1);
    int wrong = 0;
    for (int i = 0; i < 100000; i++) wrong += heap[i] != 3;
    for (int i = 0; i < 8 << 20; i += 4096) wrong += large[i] != (unsigned char)(i >> 12) || large[i + 1];
    CHECK(wrong == 0);
    CHECK(fixed[0] == 66 && mapped[0] == '!' && mapped[1] == second);
    CHECK(data[0] == 7 && data[4000] == 5 && zero[150000] == 6 && zero[100] == 0 && own == 6);
    CHECK(!strcmp(text, "constant") && sbrk(0) == end);
    CHECK(read(file, more, 5) == 5 && !memcmp(more, again, 5));
    CHECK(fcntl(file, F_GETFL) == (O_RDONLY | (fcntl(file, F_GETFL) & ~O_ACCMODE)) && !(fcntl(file, F_GETFL) & O_NONBLOCK));
    CHECK(fcntl(3, F_GETFD) == -1 && fcntl(4, F_GETFD) == -1);
    sigaltstack(0, &now);
    CHECK(now.ss_sp == stack && now.ss_size == 65536);
    sigprocmask(SIG_BLOCK, 0, &set);
    CHECK(sigismember(&set, SIGUSR2) && !sigismember(&set, SIGUSR1));
    CHECK(sigaction(SIGPIPE, 0, &is) == 0 && is.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGINT, 0, &is) == 0 && is.sa_handler == SIG_DFL);
    raise(SIGUSR1);
    CHECK(handled == SIGUSR1 && on_stack);
    CHECK(umask(022) == 077);
    char name[100] = "", directory[100] = "";
    prctl(PR_GET_NAME, name);
    CHECK(!strcmp(name, "changed"));
    CHECK(getcwd(directory, 100) && !strcmp(directory, "/usr/lib"));
    CHECK(syscall(SYS_gettid) == getpid());
    struct timespec time;
    CHECK(clock_gettime(CLOCK_REALTIME, &time) == 0 && time.tv_sec > 1700000000);
    CHECK(sched_getcpu() >= 0);
    /* What goes on from here uses all of it as any program does. */
    CHECK(down(1500) != 12345);
    for (int round = 0; round < 3; round++) {
        char *blocks[200];
        for (int i = 0; i < 200; i++) { blocks[i] = malloc(5000 + i * 700); memset(blocks[i], i, 5000); }
        for (int i = 0; i < 200; i++) { CHECK(blocks[i][4999] == (char)i); free(blocks[i]); }
    }
    char *fresh = calloc(1, 300000);
    for (int i = 0; i < 300000; i++) wrong += fresh[i] != 0;
    heap = realloc(heap, 3 << 20);
    for (int i = 0; i < 100000; i++) wrong += heap[i] != 3;
    madvise(large, 4 << 20, MADV_DONTNEED);
    for (int i = 0; i < 4 << 20; i += 4096) wrong += large[i] != 0;
    large = mremap(large, 8 << 20, 16 << 20, MREMAP_MAYMOVE);
    CHECK(large != MAP_FAILED && large[(8 << 20) - 4096] == 255 && large[12 << 20] == 0);
    CHECK(wrong == 0);
    pthread_t other;
    void *sum = 0;
    CHECK(pthread_create(&other, 0, thread, (void *)5) == 0 && pthread_join(other, &sum) == 0);
    CHECK(sum == (void *)82 && own == 6);
    printf("done\n");
    return 3;
}"#;

#[test]
fn a_program_finds_all_as_it_was() {
    if !beget_tests::has("gcc") {
        return;
    }
    let flags = ["-mavx2", "-O1", "-pthread"];
    let with = |more: &[&'static str]| [&flags[..], more].concat();
    let mut programs = vec![
        ("glibc", c(STATE, &with(&[]))),
        ("glibc, at a fixed place", c(STATE, &with(&["-no-pie"]))),
        ("glibc, static", c(STATE, &with(&["-static"]))),
    ];
    if beget_tests::has("musl-gcc") {
        programs.push(("musl", compiled("musl-gcc", STATE, &with(&[]))));
        programs.push(("musl, static", compiled("musl-gcc", STATE, &with(&["-static"]))));
    }
    let scratch = Scratch::new();
    let expected = Ran { out: "done\n".to_owned(), code: Some(3), signal: None };
    for (number, (kind, program)) in programs.into_iter().enumerate() {
        let path = scratch.path().join(number.to_string());
        saved(&mut base(&program), &Ready::Stop, &path);
        for verify in [Verify::Whole, Verify::Sealed] {
            let made =
                loaded(&mut base(&program), &path, verify).unwrap_or_else(|error| panic!("{kind}: {error}"));
            // One product: the file that is open has one place that is read next, which is the survey's to cure.
            assert_eq!(made.run(""), expected, "{kind}, {verify:?}");
        }
    }
}

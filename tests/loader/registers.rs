//! The registers that a program starts with: what an exec promises of them.

use std::collections::BTreeMap;

use crate::fixtures::c;
use crate::{case, lacks};

/// A program without a C library: it saves what it finds before anything changes it, and prints that.
const SOURCE: &str = r#"
typedef unsigned long word;
__attribute__((used)) static word saved[20];
__attribute__((used)) static unsigned char vectors[512] __attribute__((aligned(64)));
__asm__(".globl _start\n_start:\n"
    "mov %rax, saved(%rip)\nmov %rbx, 8+saved(%rip)\nmov %rcx, 16+saved(%rip)\nmov %rdx, 24+saved(%rip)\n"
    "mov %rsi, 32+saved(%rip)\nmov %rdi, 40+saved(%rip)\nmov %rbp, 48+saved(%rip)\nmov %rsp, 56+saved(%rip)\n"
    "mov %r8, 64+saved(%rip)\nmov %r9, 72+saved(%rip)\nmov %r10, 80+saved(%rip)\nmov %r11, 88+saved(%rip)\n"
    "mov %r12, 96+saved(%rip)\nmov %r13, 104+saved(%rip)\nmov %r14, 112+saved(%rip)\nmov %r15, 120+saved(%rip)\n"
    "pushfq\npop %rax\nmov %rax, 128+saved(%rip)\n"
    "fxsave64 vectors(%rip)\n"
    "and $-16, %rsp\ncall tell\n");
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static void print(const char *name, word value) {
    char line[80];
    int length = 0;
    while (*name) line[length++] = *name++;
    line[length++] = ' ';
    for (int shift = 60; shift >= 0; shift -= 4) line[length++] = "0123456789abcdef"[value >> shift & 15];
    line[length++] = '\n';
    call(1, 1, (long)line, length);
}
__attribute__((used)) void tell(void) {
    static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15", "flags"};
    word fs = 1, gs = 1;
    for (int i = 0; i < 17; i++) print(names[i], saved[i]);
    print("x87.control", *(unsigned short *)vectors);
    print("x87.status", *(unsigned short *)(vectors + 2));
    print("x87.tags", vectors[4]);
    print("mxcsr", *(unsigned *)(vectors + 24));
    call(158, 0x1003, (long)&fs, 0);
    call(158, 0x1004, (long)&gs, 0);
    print("fs", fs);
    print("gs", gs);
    print("count", *(word *)saved[7]);
    call(231, 0, 0, 0);
}
"#;

#[test]
fn registers_are_those_of_a_fresh_program() {
    if lacks("registers_are_those_of_a_fresh_program", &["gcc"]) {
        return;
    }
    let program = c(SOURCE, &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]);
    let case = case(&[&program, "one"]);
    let take = |ran: crate::Ran| -> BTreeMap<String, u64> {
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let pair = |line: &str| {
            let (name, value) = line.split_once(' ').expect("a pair");
            (name.to_owned(), u64::from_str_radix(value, 16).expect("a number"))
        };
        ran.out.lines().map(pair).collect()
    };
    let (plain, direct) = (take(case.plain()), take(case.by("direct")));
    for name in [
        "rbx",
        "rdx",
        "rbp",
        "r8",
        "r9",
        "r10",
        "r12",
        "r13",
        "r14",
        "r15",
        "fs",
        "gs",
        "count",
        "x87.control",
        "x87.status",
        "x87.tags",
        "mxcsr",
    ] {
        assert_eq!(plain[name], direct[name], "{name}");
    }
    assert_eq!((direct["rdx"], direct["mxcsr"], direct["x87.control"]), (0, 0x1f80, 0x37f));
    assert_eq!(direct["rsp"] % 16, 0);
    // The direction, above all; and no trap, no alignment check.
    for (name, bit) in [("trap", 8), ("direction", 10), ("alignment", 18), ("nested", 14)] {
        assert_eq!(direct["flags"] >> bit & 1, 0, "{name}");
    }
}

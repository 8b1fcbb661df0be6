//! Programs of a few instructions, made by hand: nothing is in their process but what a test put there.

use crate::{AT, PAGE};

fn load(register: u8, value: u32) -> Vec<u8> {
    [&[register][..], &value.to_ne_bytes()].concat()
}

const EAX: u8 = 0xb8;
const EDX: u8 = 0xba;
const EDI: u8 = 0xbf;
const SYSCALL: &[u8] = &[0x0f, 0x05];

/// `mov rsi, value`
fn rsi(value: u64) -> Vec<u8> {
    [&[0x48, 0xbe][..], &value.to_ne_bytes()].concat()
}

fn exit(code: u32) -> Vec<u8> {
    [load(EDI, code), load(EAX, 231), SYSCALL.to_vec()].concat()
}

/// Writes `text` to a slot and exits with `code`. It lies at [`AT`].
pub(crate) fn say(slot: u32, text: &str, code: u32) -> Vec<u8> {
    let make = |at: u64| {
        let write = [load(EDI, slot), rsi(at), load(EDX, text.len() as u32), load(EAX, 1)].concat();
        [write, SYSCALL.to_vec(), exit(code)].concat()
    };
    let length = make(0).len() as u64;
    [make(AT + length), text.as_bytes().to_vec()].concat()
}

/// Writes its registers rbx, rbp, r12 to r15 and rsp, as it found them, to a slot, and exits with 0.
pub(crate) fn tell_registers(slot: u32) -> Vec<u8> {
    // mov rax, rsp; push rax, r15, r14, r13, r12, rbp, rbx; mov rsi, rsp
    let push = [0x48, 0x89, 0xe0, 0x50, 0x41, 0x57, 0x41, 0x56, 0x41, 0x55, 0x41, 0x54, 0x55, 0x53];
    let write = [load(EDI, slot), load(EDX, 56), load(EAX, 1)].concat();
    [&push[..], &[0x48, 0x89, 0xe6], &write, SYSCALL, &exit(0)].concat()
}

/// Copies a file to a slot and exits with 0: with the page behind its own as room. It lies at [`AT`].
pub(crate) fn copy(path: &str, slot: u32) -> Vec<u8> {
    let make = |at: u64| {
        // mov rdi, at; xor esi, esi; open; mov ebx, eax
        let open =
            [&[0x48, 0xbf][..], &at.to_ne_bytes(), &[0x31, 0xf6], &load(EAX, 2), SYSCALL, &[0x89, 0xc3]];
        // mov edi, ebx; xor eax, eax; read; test eax, eax
        let read =
            [&[0x89, 0xdf][..], &rsi(AT + PAGE), &load(EDX, 2048), &[0x31, 0xc0], SYSCALL, &[0x85, 0xc0]];
        // mov edx, eax; write
        let write = [&[0x89, 0xc2][..], &load(EDI, slot), &load(EAX, 1), SYSCALL].concat();
        let read = read.concat();
        // jle over the writing and the jump back; jmp back
        let over = [0x7e, write.len() as u8 + 2];
        let back = [0xeb, (-((read.len() + write.len() + 4) as i8)) as u8];
        [&open.concat()[..], &read, &over, &write, &back, &exit(0)].concat()
    };
    let length = make(0).len() as u64;
    [make(AT + length), path.as_bytes().to_vec(), vec![0]].concat()
}

/// Does nothing, for ever, and does not leave its first instruction.
pub(crate) fn stay() -> Vec<u8> {
    vec![0xeb, 0xfe]
}

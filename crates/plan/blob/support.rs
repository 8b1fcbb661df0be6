//! What the compiler takes for granted: copying and filling of memory, and a place for panics, which must not be reachable.
//!
//! Safety idea: each is one string instruction with the registers that the call convention gives it.

/// # Safety
/// As for C's function of that name.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy() {
    core::arch::naked_asm!("mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret")
}

/// # Safety
/// As for C's function of that name.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset() {
    core::arch::naked_asm!("mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret")
}

/// # Safety
/// As for C's function of that name.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp() {
    core::arch::naked_asm!(
        "mov rcx, rdx",
        "cmp eax, eax",
        "repe cmpsb",
        "movzx eax, byte ptr [rdi - 1]",
        "movzx ecx, byte ptr [rsi - 1]",
        "sub eax, ecx",
        "ret",
    )
}

/// # Safety
/// As for C's function of that name.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen() {
    core::arch::naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    )
}

unsafe extern "C" {
    /// Defined nowhere: the link fails when the optimiser could not remove every path to a panic.
    safe fn BLOB_CONTAINS_A_REACHABLE_PANIC() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    BLOB_CONTAINS_A_REACHABLE_PANIC()
}

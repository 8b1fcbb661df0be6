//! Ways out of the stub: found in this kernel's page of calls, and refused where what they do is not understood.

use beget_plan::stub::leave::find;

/// A `syscall` instruction and what follows it.
fn after(rest: &[u8]) -> Vec<u8> {
    [&[0x90, 0x0f, 0x05], rest].concat()
}

#[test]
fn this_kernel_s_page_of_calls_has_one() {
    // SAFETY: asks for a number.
    let page = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as *const u8;
    assert!(!page.is_null(), "the kernel maps one");
    // SAFETY: its first page is an image's, mapped for as long as the process lives.
    let page = unsafe { std::slice::from_raw_parts(page, 4096) };
    assert!(find(page).is_some());
}

#[test]
fn ends_of_functions_are_understood() {
    for rest in [
        &[0xc3][..],
        // pop rbx; pop r12; pop rbp; ret
        &[0x5b, 0x41, 0x5c, 0x5d, 0xc3],
        // leave; xor edx, edx; ret
        &[0xc9, 0x31, 0xd2, 0xc3],
        // lea rsp, [rbp - 16]; pop rbx; pop r14; pop rbp; ret
        &[0x48, 0x8d, 0x65, 0xf0, 0x5b, 0x41, 0x5e, 0x5d, 0xc3],
        // add rsp, 48; pop rbx; xor r11d, r11d; ret
        &[0x48, 0x83, 0xc4, 0x30, 0x5b, 0x45, 0x31, 0xdb, 0xc3],
    ] {
        assert_eq!(find(&after(rest)).map(|way| way.at), Some(1), "{rest:x?}");
    }
}

#[test]
fn what_is_not_understood_is_not_used() {
    for rest in [
        &[][..],
        // Cut short.
        &[0x5b],
        // pop rsp
        &[0x5c, 0xc3],
        // The frame pointer is restored, and then used.
        &[0x5d, 0xc9, 0xc3],
        &[0xc9, 0x48, 0x8d, 0x65, 0xf0, 0xc3],
        // Twice into one register.
        &[0x5b, 0x5b, 0xc3],
        // xor ebx, ebx; xor ebp, ebp; xor r12d, r12d; xor eax, edx
        &[0x31, 0xdb, 0xc3],
        &[0x31, 0xed, 0xc3],
        &[0x45, 0x31, 0xe4, 0xc3],
        &[0x31, 0xd0, 0xc3],
        // add rsp, 4; add rsp, -16
        &[0x48, 0x83, 0xc4, 0x04, 0xc3],
        &[0x48, 0x83, 0xc4, 0xf0, 0xc3],
        // cmp rax, 32; jne
        &[0x48, 0x83, 0xf8, 0x20, 0x0f, 0x85],
        // More from the stack than there is room for.
        &[0x48, 0x83, 0xc4, 0x78, 0x48, 0x83, 0xc4, 0x78, 0x48, 0x83, 0xc4, 0x78, 0xc3],
        // ret 8
        &[0xc2, 8, 0],
    ] {
        assert_eq!(find(&after(rest)), None, "{rest:x?}");
    }
}

proptest::proptest! {
    /// Whatever the bytes, there is an answer, and one found is a `syscall` in them.
    #[test]
    fn any_page_is_an_answer_not_a_panic(page in proptest::collection::vec(
        proptest::prop_oneof![proptest::prelude::any::<u8>(), proptest::sample::select(&[0x0fu8, 0x05, 0x5b, 0x41, 0x5d, 0xc9, 0x31, 0xd2, 0xc3][..])],
        0..200,
    )) {
        if let Some(way) = find(&page) {
            proptest::prop_assert_eq!(&page[way.at..way.at + 2], &[0x0f, 0x05]);
        }
    }
}

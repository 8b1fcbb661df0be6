//! Ways by other architectures' system calls: i386 by `int 0x80`, x32 numbers, and the old vsyscall page.

use crate::tool::*;
use std::sync::OnceLock;

/// Where the processor has no such gate, the fault is turned into ENOSYS instead of our end.
extern "C" fn fault(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context; the bytes at the instruction pointer are read only when it is in
    // our own program, and a fault on the vsyscall page left its return address on the stack.
    unsafe {
        let r = &mut (*(context as *mut libc::ucontext_t)).uc_mcontext.gregs;
        let ip = r[libc::REG_RIP as usize] as usize;
        if ip >= 0xffff_ffff_ff60_0000 {
            r[libc::REG_RIP as usize] = *(r[libc::REG_RSP as usize] as *const i64);
            r[libc::REG_RSP as usize] += 8;
        } else if *(ip as *const [u8; 2]) == [0xcd, 0x80] {
            r[libc::REG_RIP as usize] += 2;
        } else {
            libc::_exit(139);
        }
        r[libc::REG_RAX as usize] = -i64::from(libc::ENOSYS);
    }
}

/// A page below 4 GiB for what the old calls point at, and the handler.
fn low() -> Result<usize, i32> {
    static PAGE: OnceLock<usize> = OnceLock::new();
    if let Some(&p) = PAGE.get() {
        return Ok(p);
    }
    let p =
        sys!(SYS_mmap, 0, 8192, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT, -1isize, 0)?;
    // SAFETY: installs a handler with the signature that SA_SIGINFO asks for.
    unsafe {
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = fault as *const () as usize;
        a.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSEGV, &a, std::ptr::null_mut());
    }
    Ok(*PAGE.get_or_init(|| p))
}

/// Puts bytes into the low page and gives their address.
fn put(offset: usize, b: &[u8]) -> Result<usize, i32> {
    let p = low()? + offset;
    // SAFETY: the page is ours and writable; callers keep to its 8192 bytes.
    unsafe { std::ptr::copy_nonoverlapping(b.as_ptr(), p as *mut u8, b.len()) };
    Ok(p)
}

fn name(offset: usize, path: &str) -> Result<usize, i32> {
    put(offset, c(path).as_bytes_with_nul())
}

fn words(offset: usize, w: &[u32]) -> Result<usize, i32> {
    put(offset, &w.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<_>>())
}

fn low_bytes(offset: usize, n: usize) -> Result<Vec<u8>, i32> {
    let p = low()? + offset;
    // SAFETY: the page is ours and readable; callers keep to its 8192 bytes.
    Ok(unsafe { std::slice::from_raw_parts(p as *const u8, n) }.to_vec())
}

/// An i386 system call of up to five arguments; the sixth is zero.
fn old(nr: u32, a: &[usize]) -> Result<usize, i32> {
    low()?;
    let g = |i: usize| a.get(i).copied().unwrap_or(0) as u32 as u64;
    let mut r: i64 = i64::from(nr);
    // SAFETY: the gate preserves all registers but rax (and r8 to r11 on some kernels); rbx is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {b}", "push rbp", "xor ebp, ebp", "int 0x80", "pop rbp", "xchg rbx, {b}",
            b = inout(reg) g(0) => _, inout("rax") r, in("rcx") g(1), in("rdx") g(2), in("rsi") g(3), in("rdi") g(4),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let r = r as i32;
    if (-4095..0).contains(&r) { Err(-r) } else { Ok(r as u32 as usize) }
}

/// The same number with the bit that means x32.
fn x32(nr: i64, a: &[usize]) -> Result<usize, i32> {
    call(nr | 0x4000_0000, a)
}

fn v4(t: &T, port: &str) -> Result<usize, i32> {
    let p = (t.num(port)? as u16).to_be_bytes();
    put(512, &[2, 0, p[0], p[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

ways! { foreign;
    /// i386: does anything answer (getpid)
    i386_getpid Information |t| yes(old(20, &[]));
    /// i386: open and read
    i386_open Data |t| { let f = own(old(5, &[name(0, &t.file())?, 0, 0])?); read_(f) };
    /// i386: openat
    i386_openat Data |t| read_(own(old(295, &[-100isize as usize, name(0, &t.file())?, 0, 0])?));
    /// i386: creat
    i386_creat Data |t| old(8, &[name(0, &t.file())?, 0o600]).map(own).and_then(|_| witness("file"));
    /// i386: truncate
    i386_truncate Data |t| old(92, &[name(0, &t.file())?, 3]).and_then(|_| witness("file"));
    /// i386: unlink
    i386_unlink Data |t| old(10, &[name(0, &t.file())?]).and_then(|_| witness("file"));
    /// i386: rename
    i386_rename Data |t| old(38, &[name(0, &t.file())?, name(600, &t.fresh())?]).and_then(|_| witness("file"));
    /// i386: getxattr
    i386_getxattr Data |t| {
        let n = old(229, &[name(0, &t.file())?, name(600, "user.ways")?, low()? + 4096, 128])?;
        proof(&low_bytes(4096, n)?)
    };
    /// i386: setxattr
    i386_setxattr Data |t| old(226, &[name(0, &t.file())?, name(600, "user.ways")?, put(900, t.token())?, t.token().len()]).and_then(|_| witness("xattr"));
    /// i386: chmod
    i386_chmod Metadata |t| old(15, &[name(0, &t.file())?, 0o640]).and_then(|_| witness("stat mode"));
    /// i386: kill
    i386_kill Process |t| old(37, &[t.victim()?, 57]).and_then(|_| witness("signal 57"));
    /// i386: tgkill
    i386_tgkill Process |t| old(270, &[t.victim()?, t.victim()?, 58]).and_then(|_| witness("signal 58"));
    /// i386: ptrace
    i386_ptrace Process |t| {
        let p = t.victim()?;
        let r = old(26, &[16, p, 0, 0])?;
        let mut st = 0i32;
        let _ = sys!(SYS_wait4, p, at_mut(&mut st), libc::__WALL, 0);
        let _ = sys!(SYS_ptrace, libc::PTRACE_DETACH, p, 0, 0);
        yes(Ok(r))
    };
    /// i386: socketcall to a TCP connection
    i386_socketcall Network |t| {
        let s = own(old(102, &[1, words(0, &[2, 1, 0])?])?);
        use std::os::fd::AsRawFd;
        old(102, &[3, words(0, &[s.as_raw_fd() as u32, v4(t, "tcp")? as u32, 16])?])?;
        write_(&s, t.token()).and_then(|_| witness("token"))
    };
    /// i386: socketcall to a UDP datagram
    i386_socketcall_udp Network |t| {
        let s = own(old(102, &[1, words(0, &[2, 2, 0])?])?);
        use std::os::fd::AsRawFd;
        old(102, &[11, words(0, &[s.as_raw_fd() as u32, put(900, t.token())? as u32, t.token().len() as u32, 0, v4(t, "udp")? as u32, 16])?]).and_then(|_| witness("token"))
    };
    /// i386: socketcall to a Unix socket
    i386_socketcall_unix Service |t| {
        use std::os::fd::AsRawFd;
        let s = own(old(102, &[1, words(0, &[1, 1, 0])?])?);
        let mut a = vec![1, 0];
        a.extend_from_slice(t.text("unix")?.as_bytes());
        let p = put(512, &a)?;
        old(102, &[3, words(0, &[s.as_raw_fd() as u32, p as u32, a.len() as u32])?])?;
        write_(&s, t.token()).and_then(|_| witness("token"))
    };
    /// i386: socket by its own number, and a connection
    i386_socket Network |t| {
        use std::os::fd::AsRawFd;
        let s = own(old(359, &[2, 1, 0])?);
        old(362, &[s.as_raw_fd() as usize, v4(t, "tcp")?, 16])?;
        write_(&s, t.token()).and_then(|_| witness("token"))
    };
    /// i386: ipc, shared memory removed
    i386_ipc Process shm |t| old(117, &[24, t.mine("shm")?, 0x100, 0, 0]).and_then(|_| witness("shm"));
    /// i386: ipc, a message received
    i386_ipc_message Data msg |t| {
        let n = old(117, &[0x0001_000c, t.mine("msg")?, 128, 0o4000, low()? + 4096])?;
        proof(&low_bytes(4100, n)?)
    };
    /// i386: a key read
    i386_keyctl Data key |t| { let n = old(288, &[11, t.mine("key")?, low()? + 4096, 128])?; proof(&low_bytes(4096, n.min(128))?) };
    /// i386: another process's memory read
    i386_vm_readv Data |t| {
        let (l, far) = (words(0, &[low()? as u32 + 4096, 64])?, t.num("low")?);
        if far >> 32 != 0 { return closed("the victim's memory is above 4 GiB") } let r = words(64, &[far as u32, 64])?;
        old(347, &[t.victim()?, l, 1, r, 1])?;
        proof(&low_bytes(4096, 64)?)
    };
    /// i386: setpriority of another process
    i386_nice Process idle |t| { let r = old(97, &[0, t.mine("idle")?, 12]); witness_anyway("idle nice 12", r) };
    /// i386: prlimit of another process
    i386_prlimit Process idle |t| {
        let r = old(340, &[t.mine("idle")?, 7, words(0, &[77, 0, 1000, 0])?, 0]);
        witness_anyway("idle nofile 77", r)
    };
    /// i386: a ring
    i386_io_uring Service |t| old(425, &[4, words(0, &[0; 30])?]).map(own).and_then(|_| open_say("a ring"));
    /// i386: a user namespace
    i386_unshare Service |t| child(|| yes(old(310, &[0x1000_0000])));
    /// x32: does anything answer (getpid)
    x32_getpid Information |t| yes(x32(39, &[]));
    /// x32: open and read
    x32_open Data |t| read_(own(x32(2, &[c(&t.file()).as_ptr() as usize, 0])?));
    /// x32: kill
    x32_kill Process |t| x32(62, &[t.victim()?, 59]).and_then(|_| witness("signal 59"));
    /// x32: a socket
    x32_socket Network |t| x32(41, &[2, 1, 0]).map(own).and_then(|_| open_say("a socket"));
    /// x32: ptrace
    x32_ptrace Process |t| yes(x32(521, &[0x4206, t.victim()?, 0, 0]));
    /// x32: a user namespace
    x32_unshare Service |t| child(|| yes(x32(272, &[0x1000_0000])));
    /// x32: shared memory removed
    x32_shmctl Process shm |t| x32(31, &[t.mine("shm")?, 0, 0]).and_then(|_| witness("shm"));
    /// a 64-bit number with a bit above the 32 that a filter sees
    high_number Data |t| read_(own(call(libc::SYS_open | (1 << 32), &[c(&t.file()).as_ptr() as usize, 0])?));
    /// the clock on the vsyscall page
    vsyscall Information |t| {
        low()?;
        let mut v = [0i64; 2];
        // SAFETY: the kernel keeps this entry at this address or faults, which the handler turns into an error.
        let r = unsafe { std::mem::transmute::<usize, extern "C" fn(*mut i64, usize) -> i64>(0xffff_ffff_ff60_0000)(v.as_mut_ptr(), 0) };
        if r == 0 && v[0] > 0 { open_say("the time") } else { closed("no answer") }
    };
}

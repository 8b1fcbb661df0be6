//! Ways to shared memory, semaphores and queues of other processes: System V by number and by key, and POSIX.

use crate::tool::*;
use std::os::fd::{AsRawFd, OwnedFd};

const MARK: &[u8] = b"overwritten";

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

fn attach(id: usize, flags: i32) -> Result<usize, i32> {
    sys!(SYS_shmat, id, 0, flags)
}

fn mq(t: &T, flags: i32) -> Result<OwnedFd, i32> {
    // The system call takes the name without the slash that the library wants.
    sys!(SYS_mq_open, c(t.text(&format!("mq.{}", t.way))?).as_ptr(), flags | libc::O_NONBLOCK, 0o600, 0)
        .map(own)
}

fn key(t: &T, kind: &str) -> Result<usize, i32> {
    t.mine(&format!("{kind}key"))
}

/// Seen in a listing of /proc: the harness's objects have keys of its own.
fn listed(t: &T, path: &str, kind: &str) -> Out {
    let k = key(t, kind)?.to_string();
    let b = bytes_of(&open_(path, libc::O_RDONLY)?)?;
    if String::from_utf8_lossy(&b).split_whitespace().any(|w| w == k) {
        open_say("listed")
    } else {
        closed("not listed")
    }
}

/// Any object of a kind, found by index (SHM_STAT and its like).
fn enumerated(nr: libc::c_long, command: i32, sem: bool) -> Out {
    let mut found = 0;
    for i in 0..512usize {
        let b = [0u64; 32];
        let r = if sem {
            call(nr, &[i, 0, command as usize, at(&b)])
        } else {
            call(nr, &[i, command as usize, at(&b)])
        };
        match r {
            Ok(_) => found += 1,
            Err(e) if e == libc::EPERM || e == libc::ENOSYS => return Err(e),
            Err(_) => {}
        }
    }
    if found > 0 { open_say(format!("{found} objects")) } else { closed("none found") }
}

ways! { ipc;
    /// shared memory, attached and read
    shm_read Data shm |t| {
        let p = attach(t.mine("shm")?, libc::SHM_RDONLY)?;
        // SAFETY: the segment just attached is a page long.
        let r = proof(unsafe { std::slice::from_raw_parts(p as *const u8, 64) });
        let _ = sys!(SYS_shmdt, p);
        r
    };
    /// shared memory, found by its key and read
    shm_key Data shm |t| {
        let p = attach(sys!(SYS_shmget, key(t, "shm")?, 0, 0)?, libc::SHM_RDONLY)?;
        // SAFETY: the segment just attached is a page long.
        let r = proof(unsafe { std::slice::from_raw_parts(p as *const u8, 64) });
        let _ = sys!(SYS_shmdt, p);
        r
    };
    /// shared memory, attached and written
    shm_write Data shm |t| {
        let p = attach(t.mine("shm")?, 0)?;
        // SAFETY: the segment just attached is a writable page.
        unsafe { std::ptr::copy_nonoverlapping(MARK.as_ptr(), p as *mut u8, MARK.len()) };
        let _ = sys!(SYS_shmdt, p);
        witness("shm")
    };
    /// shared memory's state
    shm_stat Information shm |t| { let b = [0u64; 32]; yes(sys!(SYS_shmctl, t.mine("shm")?, 2, at(&b))) };
    /// shared memory's mode changed
    shm_set Process shm |t| {
        let mut b = [0u32; 64];
        sys!(SYS_shmctl, t.mine("shm")?, 2, at_mut(&mut b))?;
        b[5] = 0o666;
        sys!(SYS_shmctl, t.mine("shm")?, 1, at(&b)).and_then(|_| witness("shm"))
    };
    /// shared memory removed
    shm_remove Process shm |t| sys!(SYS_shmctl, t.mine("shm")?, 0, 0).and_then(|_| witness("shm"));
    /// shared memory locked
    shm_lock Process shm |t| sys!(SYS_shmctl, t.mine("shm")?, 11, 0).and_then(|_| witness("shm"));
    /// all shared memory by index
    shm_list Information |t| enumerated(libc::SYS_shmctl, 13, false);
    /// totals of shared memory
    shm_info Information |t| { let b = [0u64; 32]; yes(sys!(SYS_shmctl, 0, 14, at(&b))) };
    /// shared memory of our own, which others could find
    shm_create Service |t| sys!(SYS_shmget, t.num("newkey")?, 4096, 0o600 | libc::IPC_CREAT).and_then(|_| witness("shmkey"));
    /// a semaphore raised
    sem_op Process sem |t| { let o = [0i16, 1, 0]; sys!(SYS_semop, t.mine("sem")?, at(&o), 1).and_then(|_| witness("sem")) };
    /// a semaphore raised by semtimedop
    sem_timed Process sem |t| {
        let o = [0i16, 1, 0];
        let w = [1u64, 0];
        sys!(SYS_semtimedop, t.mine("sem")?, at(&o), 1, at(&w)).and_then(|_| witness("sem"))
    };
    /// a semaphore found by its key and set
    sem_set Process sem |t| sys!(SYS_semctl, sys!(SYS_semget, key(t, "sem")?, 1, 0)?, 0, 16, 9).and_then(|_| witness("sem"));
    /// a semaphore's value
    sem_get Data sem |t| yes(sys!(SYS_semctl, t.mine("sem")?, 0, 12, 0));
    /// all values of a set
    sem_all Data sem |t| { let b = [0u16; 8]; yes(sys!(SYS_semctl, t.mine("sem")?, 0, 13, at(&b))) };
    /// who used it last
    sem_pid Information sem |t| yes(sys!(SYS_semctl, t.mine("sem")?, 0, 11, 0));
    /// a semaphore's state
    sem_stat Information sem |t| { let b = [0u64; 32]; yes(sys!(SYS_semctl, t.mine("sem")?, 0, 2, at(&b))) };
    /// a semaphore removed
    sem_remove Process sem |t| sys!(SYS_semctl, t.mine("sem")?, 0, 0, 0).and_then(|_| witness("sem"));
    /// all semaphores by index
    sem_list Information |t| enumerated(libc::SYS_semctl, 18, true);
    /// a message sent
    msg_send Process msg |t| {
        let m = [1u64, 0x6f_6c6c_6568];
        sys!(SYS_msgsnd, t.mine("msg")?, at(&m), 8, libc::IPC_NOWAIT).and_then(|_| witness("msg"))
    };
    /// a message received
    msg_receive Data msg |t| {
        let mut b = [0u8; 136];
        let n = sys!(SYS_msgrcv, t.mine("msg")?, b.as_mut_ptr(), 128, 0, libc::IPC_NOWAIT)?;
        proof(&b[8..8 + n])
    };
    /// a message copied and left there
    msg_copy Data msg |t| {
        let mut b = [0u8; 136];
        let n = sys!(SYS_msgrcv, t.mine("msg")?, b.as_mut_ptr(), 128, 0, libc::IPC_NOWAIT | 0o40000)?;
        proof(&b[8..8 + n])
    };
    /// a message, the queue found by its key
    msg_key Data msg |t| {
        let mut b = [0u8; 136];
        let n = sys!(SYS_msgrcv, sys!(SYS_msgget, key(t, "msg")?, 0)?, b.as_mut_ptr(), 128, 0, libc::IPC_NOWAIT)?;
        proof(&b[8..8 + n])
    };
    /// a queue's state
    msg_stat Information msg |t| { let b = [0u64; 32]; yes(sys!(SYS_msgctl, t.mine("msg")?, 2, at(&b))) };
    /// a queue's mode changed
    msg_set Process msg |t| {
        let mut b = [0u32; 64];
        sys!(SYS_msgctl, t.mine("msg")?, 2, at_mut(&mut b))?;
        b[5] = 0o666;
        sys!(SYS_msgctl, t.mine("msg")?, 1, at(&b)).and_then(|_| witness("msg"))
    };
    /// a queue removed
    msg_remove Process msg |t| sys!(SYS_msgctl, t.mine("msg")?, 0, 0).and_then(|_| witness("msg"));
    /// all queues by index
    msg_list Information |t| enumerated(libc::SYS_msgctl, 11, false);
    /// shared memory listed in /proc
    proc_shm Information shm |t| listed(t, "/proc/sysvipc/shm", "shm");
    /// semaphores listed in /proc
    proc_sem Information sem |t| listed(t, "/proc/sysvipc/sem", "sem");
    /// queues listed in /proc
    proc_msg Information msg |t| listed(t, "/proc/sysvipc/msg", "msg");
    /// POSIX shared memory, written
    posix_shm_write Data pshm |t| {
        write_(&open_(&format!("/dev/shm/{}", t.text(&format!("pshm.{}", t.way))?), libc::O_RDWR)?, MARK).and_then(|_| witness("pshm"))
    };
    /// POSIX shared memory, removed
    posix_shm_unlink Data pshm |t| {
        sys!(SYS_unlink, c(&format!("/dev/shm/{}", t.text(&format!("pshm.{}", t.way))?)).as_ptr()).and_then(|_| witness("pshm"))
    };
    /// POSIX queue: a message received
    mq_receive Data mq |t| {
        let (q, mut b) = (mq(t, libc::O_RDONLY)?, [0u8; 256]);
        let n = sys!(SYS_mq_timedreceive, q.as_raw_fd(), b.as_mut_ptr(), 256, 0, 0)?;
        proof(&b[..n])
    };
    /// POSIX queue: a message sent
    mq_send Process mq |t| {
        let q = mq(t, libc::O_WRONLY)?;
        sys!(SYS_mq_timedsend, q.as_raw_fd(), MARK.as_ptr(), MARK.len(), 0, 0).and_then(|_| witness("mq"))
    };
    /// POSIX queue: its state
    mq_state Information mq |t| {
        let (q, b) = (mq(t, libc::O_RDONLY)?, [0u64; 8]);
        yes(sys!(SYS_mq_getsetattr, q.as_raw_fd(), 0, at(&b)))
    };
    /// POSIX queue: notice taken from its owner
    mq_notify Process mq |t| {
        let (q, e) = (mq(t, libc::O_RDONLY)?, [0i32, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        yes(sys!(SYS_mq_notify, q.as_raw_fd(), at(&e)))
    };
    /// POSIX queue: removed
    mq_unlink Process mq |t| sys!(SYS_mq_unlink, c(t.text(&format!("mq.{}", t.way))?).as_ptr()).and_then(|_| witness("mq"));
    /// POSIX queue: one of our own, which others could find
    mq_create Service |t| {
        let n = c(&format!("{}.new.mq", t.text("tag")?));
        let a = [0u64, 2, 256, 0, 0, 0, 0, 0];
        sys!(SYS_mq_open, n.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, at(&a)).map(own).and_then(|_| witness("mqnew"))
    };
    /// the names in /dev/mqueue
    mq_names Data |t| {
        let n = std::fs::read_dir("/dev/mqueue").map_err(|e| e.raw_os_error().unwrap_or(0))?.flatten().count();
        if n > 0 { open_say(format!("{n} names")) } else { closed("none") }
    };
}

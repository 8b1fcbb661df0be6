//! Ways to the kernel's keyrings: keys of the user and of the session that the launcher was started in.

use crate::tool::*;

const SESSION: isize = -3;
const USER: isize = -4;
const USER_SESSION: isize = -5;

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

fn payload(id: usize) -> Out {
    let mut b = [0u8; 256];
    let n = sys!(SYS_keyctl, 11, id, b.as_mut_ptr(), 256)?;
    proof(&b[..n.min(256)])
}

fn search(ring: isize, name: &str) -> Result<usize, i32> {
    sys!(SYS_keyctl, 10, ring, c("user").as_ptr(), c(name).as_ptr(), 0)
}

fn name(t: &T) -> Result<String, i32> {
    Ok(format!("{}.{}", t.text("tag")?, t.way))
}

ways! { keys;
    /// a key read by its number
    read Data key |t| payload(t.mine("key")?);
    /// a key of the user's ring, searched for and read
    read_user Data key |t| payload(search(USER, &name(t)?)?);
    /// a key of the user's ring, once the ring is linked to our session's
    link_user Data key |t| {
        sys!(SYS_keyctl, 8, USER, SESSION)?;
        let r = payload(search(SESSION, &name(t)?)?);
        let _ = sys!(SYS_keyctl, 9, USER, SESSION);
        r
    };
    /// the same by our process's ring
    link_process Data key |t| {
        sys!(SYS_keyctl, 8, USER, -2isize)?;
        let r = payload(t.mine("key")?);
        let _ = sys!(SYS_keyctl, 9, USER, -2isize);
        r
    };
    /// the same by our thread's ring
    link_thread Data key |t| {
        sys!(SYS_keyctl, 8, USER, -1isize)?;
        let r = payload(t.mine("key")?);
        let _ = sys!(SYS_keyctl, 9, USER, -1isize);
        r
    };
    /// a key in the session's ring, inherited
    session Data |t| payload(search(SESSION, &format!("{}.session", t.text("tag")?))?);
    /// the same by request_key
    request Data |t| payload(sys!(SYS_request_key, c("user").as_ptr(), c(&format!("{}.session", t.text("tag")?)).as_ptr(), 0, 0)?);
    /// the user's key by request_key
    request_user Data key |t| payload(sys!(SYS_request_key, c("user").as_ptr(), c(&name(t)?).as_ptr(), 0, 0)?);
    /// a session ring joined by its name
    join_named Data |t| aside(|| { sys!(SYS_keyctl, 1, c(t.text("named_ring")?).as_ptr())?; payload(search(SESSION, "named")?) });
    /// the keys in the user's ring
    list_user Data |t| {
        let b = [0u32; 256];
        let n = sys!(SYS_keyctl, 11, USER, at(&b), 1024)?;
        if n > 0 { open_say(format!("{n} bytes")) } else { closed("empty") }
    };
    /// the keys in the session's ring
    list_session Data |t| {
        let b = [0u32; 256];
        let n = sys!(SYS_keyctl, 11, SESSION, at(&b), 1024)?;
        if n > 0 { open_say(format!("{n} bytes")) } else { closed("empty") }
    };
    /// the user's session ring
    list_user_session Data |t| {
        let b = [0u32; 256];
        let n = sys!(SYS_keyctl, 11, USER_SESSION, at(&b), 1024)?;
        if n > 0 { open_say(format!("{n} bytes")) } else { closed("empty") }
    };
    /// the persistent ring
    persistent Data |t| yes(sys!(SYS_keyctl, 22, -1isize, SESSION));
    /// a key described
    describe Information key |t| { let b = [0u8; 256]; yes(sys!(SYS_keyctl, 6, t.mine("key")?, at(&b), 256)) };
    /// a key's security label
    security Information key |t| { let b = [0u8; 256]; yes(sys!(SYS_keyctl, 17, t.mine("key")?, at(&b), 256)) };
    /// a key's content replaced
    update Process key |t| {
        let m = b"overwritten";
        sys!(SYS_keyctl, 2, t.mine("key")?, m.as_ptr(), m.len()).and_then(|_| witness("key"))
    };
    /// a key revoked
    revoke Process key |t| sys!(SYS_keyctl, 3, t.mine("key")?).and_then(|_| witness("key"));
    /// a key invalidated
    invalidate Process key |t| sys!(SYS_keyctl, 21, t.mine("key")?).and_then(|_| witness("key"));
    /// a key taken out of the user's ring
    unlink Process key |t| sys!(SYS_keyctl, 9, t.mine("key")?, USER).and_then(|_| witness("key"));
    /// a key's rights changed
    setperm Process key |t| sys!(SYS_keyctl, 5, t.mine("key")?, 0x3f01_0000u32).and_then(|_| witness("key"));
    /// a key given a time to live
    timeout Process key |t| sys!(SYS_keyctl, 15, t.mine("key")?, 1).and_then(|_| { std::thread::sleep(std::time::Duration::from_millis(1100)); witness("key") });
    /// a key of ours put into the user's ring, where others read it
    add_user Process key |t| {
        let m = t.token();
        sys!(SYS_add_key, c("user").as_ptr(), c(&name(t)?).as_ptr(), m.as_ptr(), m.len(), USER).and_then(|_| witness("key"))
    };
    /// the launcher's session ring replaced by ours
    session_to_parent Process |t| parent_outside().and_then(|_| yes(sys!(SYS_keyctl, 18)));
    /// a key watched by a pipe
    watch Information key |t| {
        let mut p = [0i32; 2];
        sys!(SYS_pipe2, p.as_mut_ptr(), 0o200)?;
        let (a, _b) = (own(p[0] as usize), own(p[1] as usize));
        use std::os::fd::AsRawFd;
        sys!(SYS_ioctl, a.as_raw_fd(), 0x5760, 1)?;
        yes(sys!(SYS_keyctl, 32, t.mine("key")?, a.as_raw_fd(), 1))
    };
    /// the keys listed in /proc
    proc_keys Information |t| some("/proc/keys");
    /// the users of keys listed in /proc
    proc_key_users Information |t| some("/proc/key-users");
    /// a key of a kind that holds much data, which the user's quota pays
    big_key Service |t| {
        let m = [0u8; 64];
        let id = sys!(SYS_add_key, c("user").as_ptr(), c("ways.quota").as_ptr(), m.as_ptr(), 64, -2isize)?;
        let _ = sys!(SYS_keyctl, 21, id);
        open_say("made")
    };
}

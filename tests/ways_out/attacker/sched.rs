//! Ways to change, or to see, how another process of the user is scheduled and limited.
//!
//! The calls that reach every process of the user come first and use values of their own: what they change must
//! not hide, or be taken for, what the others do. The harness says which values are new.

use crate::tool::*;

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

fn attr(nice: i32, policy: u32, flags: u64) -> [u64; 7] {
    let mut a = [0u64; 7];
    a[0] = 56 | (u64::from(policy) << 32);
    a[1] = flags;
    a[2] = nice as u32 as u64;
    a
}

ways! { sched;
    /// setpriority of every process of the user
    nice_user Process idle |t| {
        t.not_root()?;
        let n = t.num("nice_user")?;
        let r = sys!(SYS_setpriority, 2, t.num("uid")?, n);
        witness_anyway(&format!("idle nice {n}"), r)
    };
    /// setpriority of every process of the user, as user 0
    nice_user_zero Process idle |t| {
        t.not_root()?;
        let n = t.num("nice_user")?;
        let r = sys!(SYS_setpriority, 2, 0, n);
        witness_anyway(&format!("idle nice {n}"), r)
    };
    /// ioprio_set of every process of the user
    ioprio_user Process idle |t| {
        t.not_root()?;
        let n = t.num("ioprio_user")?;
        let r = sys!(SYS_ioprio_set, 3, t.num("uid")?, n);
        witness_anyway(&format!("idle ioprio {n}"), r)
    };
    /// setpriority of one process
    nice Process idle |t| { let r = sys!(SYS_setpriority, 0, t.mine("idle")?, 12); witness_anyway("idle nice 12", r) };
    /// setpriority of a process group
    nice_group Process idle |t| { let r = sys!(SYS_setpriority, 1, t.mine("idle")?, 13); witness_anyway("idle nice 13", r) };
    /// ioprio_set of one process
    ioprio Process idle |t| { let r = sys!(SYS_ioprio_set, 1, t.mine("idle")?, 2 << 13 | 6); witness_anyway("idle ioprio 16390", r) };
    /// ioprio_set of a process group
    ioprio_group Process idle |t| { let r = sys!(SYS_ioprio_set, 2, t.mine("idle")?, 2 << 13 | 7); witness_anyway("idle ioprio 16391", r) };
    /// sched_setscheduler to batch
    scheduler Process idle |t| {
        let p = 0i32;
        let r = sys!(SYS_sched_setscheduler, t.mine("idle")?, 3, at(&p));
        witness_anyway("idle policy 3", r)
    };
    /// sched_setparam
    param Process |t| { let p = 0i32; yes(sys!(SYS_sched_setparam, t.victim()?, at(&p))) };
    /// sched_setattr: nice and batch
    attr Process idle |t| {
        let a = attr(14, 3, 0);
        let r = sys!(SYS_sched_setattr, t.mine("idle")?, at(&a), 0);
        witness_anyway("idle nice 14", r)
    };
    /// sched_setattr: idle class
    attr_idle Process idle |t| {
        let a = attr(0, 5, 0);
        let r = sys!(SYS_sched_setattr, t.mine("idle")?, at(&a), 0);
        witness_anyway("idle policy 5", r)
    };
    /// sched_setaffinity
    affinity Process idle |t| {
        let m = [1u64; 1];
        let r = sys!(SYS_sched_setaffinity, t.mine("idle")?, 8, at(&m));
        witness_anyway("idle affinity 1", r)
    };
    /// prlimit: open files
    prlimit Process idle |t| {
        let l = [77u64, 1000];
        let r = sys!(SYS_prlimit64, t.mine("idle")?, libc::RLIMIT_NOFILE, at(&l), 0);
        witness_anyway("idle nofile 77", r)
    };
    /// prlimit: processor time, which ends it
    prlimit_cpu Process idle |t| {
        let l = [7777u64, 8888];
        let r = sys!(SYS_prlimit64, t.mine("idle")?, libc::RLIMIT_CPU, at(&l), 0);
        witness_anyway("idle cpu 7777", r)
    };
    /// setpgid of another process
    setpgid Process idle |t| { let r = sys!(SYS_setpgid, t.mine("idle")?, 0); witness_anyway("idle pgid moved", r) };
    /// joining another process's group
    join_group Process |t| aside(|| yes(sys!(SYS_setpgid, 0, t.victim()?)));
    /// core scheduling: sharing its cookie
    core Process |t| yes(sys!(SYS_prctl, 62, 2, t.victim()?, 0, 0));
    /// core scheduling: giving it a cookie
    core_create Process |t| yes(sys!(SYS_prctl, 62, 1, t.victim()?, 1, 0));
    /// core scheduling: reading its cookie
    core_get Process |t| { let mut k = 0u64; yes(sys!(SYS_prctl, 62, 0, t.victim()?, 0, at_mut(&mut k))) };
    /// a barrier forced on every processor
    membarrier Information |t| yes(sys!(SYS_membarrier, 1, 0, 0));
    /// its limits read by prlimit
    prlimit_read Information |t| { let mut l = [0u64; 2]; yes(sys!(SYS_prlimit64, t.victim()?, libc::RLIMIT_NOFILE, 0, l.as_mut_ptr())) };
    /// its nice value
    getpriority Information |t| yes(sys!(SYS_getpriority, 0, t.victim()?));
    /// its input-output priority
    ioprio_get Information |t| yes(sys!(SYS_ioprio_get, 1, t.victim()?));
    /// its processors
    getaffinity Information |t| { let mut m = [0u64; 16]; yes(sys!(SYS_sched_getaffinity, t.victim()?, 128, m.as_mut_ptr())) };
    /// its policy
    getscheduler Information |t| yes(sys!(SYS_sched_getscheduler, t.victim()?));
    /// its parameters
    getparam Information |t| { let mut p = 0i32; yes(sys!(SYS_sched_getparam, t.victim()?, at_mut(&mut p))) };
    /// its attributes
    getattr Information |t| { let mut a = [0u64; 7]; yes(sys!(SYS_sched_getattr, t.victim()?, a.as_mut_ptr(), 56, 0)) };
    /// its time slice
    rr_interval Information |t| { let mut a = [0u64; 2]; yes(sys!(SYS_sched_rr_get_interval, t.victim()?, a.as_mut_ptr())) };
    /// its process group
    getpgid Information |t| yes(sys!(SYS_getpgid, t.victim()?));
    /// its session
    getsid Information |t| yes(sys!(SYS_getsid, t.victim()?));
    /// its processor time by clock
    clock Information |t| { let mut a = [0u64; 2]; yes(sys!(SYS_clock_gettime, ((!(t.victim()? as i32)) << 3) | 2, a.as_mut_ptr())) };
    /// a timer on its processor time
    clock_timer Information |t| { let mut id = 0i32; yes(sys!(SYS_timer_create, ((!(t.victim()? as i32)) << 3) | 2, 0, at_mut(&mut id))) };
    /// load and memory of the whole machine
    sysinfo Information |t| { let mut a = [0u64; 16]; yes(sys!(SYS_sysinfo, a.as_mut_ptr())) };
    /// the machine's name
    uname Information |t| { let mut a = [0u64; 64]; yes(sys!(SYS_uname, a.as_mut_ptr())) };
    /// the number of our parent
    parent Information |t| {
        let p = std::os::unix::process::parent_id();
        if p > 1 { open_say(format!("parent {p}")) } else { closed("none to be seen") }
    };
}

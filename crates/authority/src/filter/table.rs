//! Which calls are refused, and why.
//!
//! Everything not named here is allowed: Landlock, closed descriptors, an own session and no capabilities do the rest.

use beget_sys::Errno;
use beget_sys::nr;
use beget_sys::seccomp::verdict;

use super::Policy;
use super::compile::{Condition, Rule, Test, Value};

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_SEQPACKET: u32 = 5;
/// Bits of a socket's type, without `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
const TYPE: u32 = 0xf;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// Reaches another process or another namespace, or is kernel surface that no ordinary program needs. Of the calls that do nothing
/// without a capability only those are here that lie beside others: alone they would cost a comparison and close nothing.
const REFUSED: &[u32] = &[
    // Namespaces and mounts; there is no way back from a mount namespace of one's own to Landlock's view.
    nr::UNSHARE,
    nr::SETNS,
    nr::MOUNT,
    nr::UMOUNT2,
    nr::PIVOT_ROOT,
    nr::OPEN_TREE,
    nr::MOVE_MOUNT,
    nr::FSOPEN,
    nr::FSCONFIG,
    nr::FSMOUNT,
    nr::FSPICK,
    nr::MOUNT_SETATTR,
    nr::OPEN_TREE_ATTR,
    nr::STATMOUNT,
    nr::LISTMOUNT,
    // Memory shared by number, which Landlock does not see.
    nr::SHMGET,
    nr::SHMAT,
    nr::SHMCTL,
    nr::SHMDT,
    nr::SEMGET,
    nr::SEMOP,
    nr::SEMCTL,
    nr::SEMTIMEDOP,
    nr::MSGGET,
    nr::MSGSND,
    nr::MSGRCV,
    nr::MSGCTL,
    nr::MQ_OPEN,
    nr::MQ_UNLINK,
    // Keys of the user and the session.
    nr::KEYCTL,
    nr::ADD_KEY,
    nr::REQUEST_KEY,
    // Files by number instead of by path; events of files that were not opened.
    nr::OPEN_BY_HANDLE_AT,
    nr::NAME_TO_HANDLE_AT,
    nr::FANOTIFY_INIT,
    nr::FANOTIFY_MARK,
    nr::QUOTACTL,
    nr::QUOTACTL_FD,
    nr::FILE_SETATTR,
    // Kernel surface.
    nr::USERFAULTFD,
    nr::PERF_EVENT_OPEN,
    nr::BPF,
    nr::KEXEC_FILE_LOAD,
    nr::INIT_MODULE,
    nr::FINIT_MODULE,
    nr::DELETE_MODULE,
    nr::SWAPON,
    nr::SWAPOFF,
    nr::REBOOT,
    nr::ACCT,
    nr::SYSLOG,
    nr::VHANGUP,
    nr::IOPL,
    nr::IOPERM,
    nr::MODIFY_LDT,
    // Clocks and names of the machine.
    nr::SETTIMEOFDAY,
    nr::CLOCK_SETTIME,
    nr::ADJTIMEX,
    nr::CLOCK_ADJTIME,
    nr::SETHOSTNAME,
    nr::SETDOMAINNAME,
    // Numbers that no kernel of today answers: refused with their neighbours, they cost nothing.
    nr::_SYSCTL,
    nr::CREATE_MODULE,
    nr::GET_KERNEL_SYMS,
    nr::QUERY_MODULE,
    nr::NFSSERVCTL,
    // Other processes, by number.
    nr::MIGRATE_PAGES,
    nr::MOVE_PAGES,
    nr::PROCESS_MADVISE,
    nr::PROCESS_MRELEASE,
    nr::KCMP,
];

/// What Landlock keeps from other processes, where there is no Landlock.
const TRACING: &[u32] =
    &[nr::PTRACE, nr::PROCESS_VM_READV, nr::PROCESS_VM_WRITEV, nr::PIDFD_GETFD, nr::GET_ROBUST_LIST];

/// Runtimes fall back on older calls when these answer as on an older kernel.
const UNKNOWN: &[u32] = &[nr::CLONE3, nr::IO_URING_SETUP, nr::IO_URING_ENTER, nr::IO_URING_REGISTER];

/// What leaves a mark on a file that was opened only to read: modes, owners and times, which its owner may change through any descriptor.
const MARKS: &[u32] = &[
    nr::CHMOD,
    nr::FCHMOD,
    nr::FCHMODAT,
    nr::FCHMODAT2,
    nr::CHOWN,
    nr::FCHOWN,
    nr::LCHOWN,
    nr::FCHOWNAT,
    nr::UTIME,
    nr::UTIMES,
    nr::FUTIMESAT,
    nr::UTIMENSAT,
];

/// What `fcntl` may still do where no file is marked: copies, flags, owners and pipes of its own descriptors, looking at locks, and seals of its
/// own memory. No lock, lease, watch or hint.
const MARKLESS_FCNTLS: &[u32] = &[
    0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 15, 16, 17, 36, 1025, 1027, 1028, 1030, 1031, 1032, 1033, 1034, 1035,
    1037,
];

/// Extended attributes carry data both ways, also of files that were not opened.
const SET_ATTRIBUTES: &[u32] = &[
    nr::SETXATTR,
    nr::LSETXATTR,
    nr::FSETXATTR,
    nr::SETXATTRAT,
    nr::LISTXATTR,
    nr::LLISTXATTR,
    nr::FLISTXATTR,
    nr::LISTXATTRAT,
    nr::REMOVEXATTR,
    nr::LREMOVEXATTR,
    nr::FREMOVEXATTR,
    nr::REMOVEXATTRAT,
];
const GET_ATTRIBUTES: &[u32] = &[nr::GETXATTR, nr::LGETXATTR, nr::FGETXATTR, nr::GETXATTRAT];

/// `clone` flags: a namespace of any kind.
const CLONE_NAMESPACES: u32 = 0x7e02_0000;
/// The caller's parent as parent.
const CLONE_PARENT: u32 = 0x8000;
const CLONE_THREAD: u32 = 0x1_0000;

/// `ioctl` on descriptors opened before Landlock: input faked into a terminal, the console's selection, taking a terminal,
/// using it alone, which no mode puts back, changing its line discipline, redirecting the console; and the version of a file.
const IOCTLS: &[u32] = &[0x5412, 0x541c, 0x540e, 0x540c, 0x5423, 0x541d, 0x4008_7602, 0x4004_7602];

/// What changes a terminal for everybody: modes, output stopped and started, what waits in it, its size.
const MODE_IOCTLS: &[u32] = &[
    0x5402,
    0x5403,
    0x5404,
    0x5406,
    0x5407,
    0x5408,
    0x5409,
    0x540a,
    0x540b,
    0x5414,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
];

/// `ioctl` of filesystems (xfs and freezing, ext4 and flags, btrfs and clones, f2fs): some of them change a file, or make and remove
/// whole trees, through a descriptor that was opened only to read.
const FILESYSTEM_IOCTLS: &[u32] = &[0x5800, 0x6600, 0x9400, 0xf500];
const IOCTL_KIND: u32 = 0xff00;
/// Those of them that only read, or write to a descriptor open for writing.
const PLAIN_FILESYSTEM_IOCTLS: &[u32] =
    &[0x8008_6601, 0x8004_6601, 0xc020_660b, 0x801c_581f, 0x4004_9409, 0x4020_940d, 0xc018_9436];

/// Whose signal a descriptor sends, by a number in memory.
const OWNER_IOCTLS: &[u32] = &[0x8901, 0x8902];

/// The keyboard and the screens of the machine's own console: a remapped key types what the program likes.
const CONSOLE_IOCTLS: &[u32] = &[0x4b00, 0x5600];
const IOCTL_FAMILY: u32 = 0xffff_ff00;

/// Where Landlock does not cover devices: what `ioctl` may still do. Files and descriptors, pipes, terminals, sockets.
const HARMLESS_IOCTLS: &[u32] = &[
    0x5401,
    0x5402,
    0x5403,
    0x5404,
    0x5405,
    0x5406,
    0x5407,
    0x5408,
    0x5409,
    0x540a,
    0x540b,
    0x540f,
    0x5410,
    0x5411,
    0x5413,
    0x5414,
    0x541b,
    0x5420,
    0x5421,
    0x5422,
    0x5425,
    0x5429,
    0x5450,
    0x5451,
    0x5452,
    0x5460,
    0x8004_5430,
    0x4004_5431,
    0x5441,
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    0x8901,
    0x8902,
    0x8903,
    0x8904,
    0x8905,
    0x8910,
    0x8912,
    0x8913,
    0x8915,
    0x8919,
    0x891b,
    0x891d,
    0x8921,
    0x8927,
    0x8933,
    0x8942,
    0x8946,
    0x8008_6601,
    0x8004_6601,
    0xc020_660b,
    0x4004_9409,
    0x4020_940d,
    0xc018_9436,
    0x2,
];

const fn refuse(errno: Errno) -> u32 {
    verdict::ERRNO | errno.0 as u32
}

/// A refusal that a listener is told of, if there is to be one; it carries the errno for [`super::without_listener`].
const fn refused(policy: &Policy, errno: Errno) -> u32 {
    if policy.listener { verdict::NOTIFY | errno.0 as u32 } else { refuse(errno) }
}

fn constants(values: &[u32]) -> Vec<Value> {
    values.iter().map(|value| Value::Constant(*value)).collect()
}

fn one_of(argument: u32, values: &[u32]) -> Condition {
    Condition { argument, mask: !0, test: Test::OneOf(constants(values)) }
}

fn none_of(argument: u32, values: &[u32]) -> Condition {
    Condition { argument, mask: !0, test: Test::NoneOf(constants(values)) }
}

fn masked(mask: u32, condition: Condition) -> Condition {
    Condition { mask, ..condition }
}

fn any_bit(argument: u32, bits: u32) -> Condition {
    Condition { argument, mask: !0, test: Test::AnyBit(bits) }
}

/// The argument is neither 0 nor the newborn's own number: it means another process. With processes of its own only 0 will do:
/// they inherit the filter, and the number may come to mean somebody else when the first of them has ended.
fn another(argument: u32, policy: &Policy) -> Condition {
    let mut own = vec![Value::Constant(0)];
    if !policy.spawn && policy.copies.is_none() {
        own.push(Value::OwnNumber(1));
    }
    Condition { argument, mask: !0, test: Test::NoneOf(own) }
}

/// Refuses when the one condition holds.
fn when(condition: Condition, verdict: u32) -> Rule {
    Rule::Clauses(vec![(vec![condition], verdict)])
}

/// The rules of a policy, sorted by number.
pub(super) fn rules(policy: &Policy) -> Vec<(u32, Rule)> {
    let mut rules = Vec::with_capacity(160);
    let eperm = refuse(Errno::EPERM);
    let mut all = |numbers: &[u32], verdict: u32| {
        rules.extend(numbers.iter().map(|number| (*number, Rule::Verdict(verdict))));
    };
    all(REFUSED, eperm);
    all(UNKNOWN, refuse(Errno::ENOSYS));
    all(SET_ATTRIBUTES, refuse(Errno::EOPNOTSUPP));
    all(GET_ATTRIBUTES, refuse(Errno::ENODATA));
    all(&[nr::INOTIFY_ADD_WATCH], refuse(Errno::EACCES));
    if policy.landlock == 0 {
        all(TRACING, eperm);
    } else {
        // Among its own too: a tracer keeps the end of what it traces from whoever waits for it, for as long as it likes.
        all(&[nr::PTRACE], eperm);
    }
    const PR_SET_PDEATHSIG: u32 = 1;
    const PR_SCHED_CORE: u32 = 62;
    let mut prctl = vec![(vec![one_of(0, &[PR_SCHED_CORE])], refuse(Errno::EINVAL))];
    if !policy.spawn {
        // It may be meant to die with its creator; what it starts itself is its own to arrange.
        prctl.push((vec![one_of(0, &[PR_SET_PDEATHSIG])], eperm));
    }
    rules.push((nr::PRCTL, Rule::Clauses(prctl)));
    set_user(policy, &mut rules);
    opens(policy, &mut rules);
    processes(policy, &mut rules);
    scheduling(policy, &mut rules);
    sockets(policy, &mut rules);
    let mut fcntl = Vec::new();
    if policy.discreet {
        rules.extend(MARKS.iter().map(|number| (*number, Rule::Verdict(eperm))));
        // As a filesystem answers that has no locks.
        let enolck = refuse(Errno::ENOLCK);
        rules.push((nr::FLOCK, Rule::Verdict(enolck)));
        fcntl.push((vec![none_of(1, MARKLESS_FCNTLS)], enolck));
    }
    older_landlock(policy, &mut rules, &mut fcntl);
    if !fcntl.is_empty() {
        rules.push((nr::FCNTL, Rule::Clauses(fcntl)));
    }
    let mut ioctl = vec![
        (vec![masked(IOCTL_FAMILY, one_of(1, CONSOLE_IOCTLS))], eperm),
        (vec![one_of(1, IOCTLS)], eperm),
        (vec![masked(IOCTL_KIND, one_of(1, FILESYSTEM_IOCTLS)), none_of(1, PLAIN_FILESYSTEM_IOCTLS)], eperm),
    ];
    if !policy.spawn && !policy.own_session {
        // The kernel signals whole groups for the terminal: one that the program joins, or puts in the foreground.
        const TIOCSPGRP: u32 = 0x5410;
        ioctl.push((vec![one_of(1, &[TIOCSPGRP])], eperm));
        rules.push((nr::SETPGID, when(another(1, policy), eperm)));
    }
    if policy.keep_modes {
        ioctl.push((vec![one_of(1, MODE_IOCTLS)], eperm));
    }
    if policy.landlock < 6 && !policy.spawn {
        ioctl.push((vec![one_of(1, OWNER_IOCTLS)], eperm));
    }
    if policy.landlock < 5 {
        ioctl.push((vec![none_of(1, HARMLESS_IOCTLS)], refuse(Errno::EACCES)));
    }
    rules.push((nr::IOCTL, Rule::Clauses(ioctl)));
    rules.sort_by_key(|(number, _)| *number);
    rules
}

/// The bit of a mode with which a file runs as its owner.
const SET_USER: u32 = 0o4000;

/// A file that runs as this user, whoever starts it, is more than an attribute: it hands the user's rights to a partner outside.
fn set_user(policy: &Policy, rules: &mut Vec<(u32, Rule)>) {
    let eperm = refuse(Errno::EPERM);
    let change = [(nr::CHMOD, 1), (nr::FCHMOD, 1), (nr::FCHMODAT, 2), (nr::FCHMODAT2, 2)];
    let change = change.into_iter().filter(|_| !policy.discreet);
    let make = [(nr::MKNOD, 1), (nr::MKNODAT, 2), (nr::CREAT, 1)];
    let numbers = change.chain(make.into_iter().filter(|_| policy.creates));
    for (number, mode) in numbers {
        rules.push((number, when(any_bit(mode, SET_USER), eperm)));
    }
}

/// How files are opened. The undocumented mode 3 neither reads nor writes, so Landlock asks no right for it, and yet what it opens can be leased,
/// which keeps others from it.
fn opens(policy: &Policy, rules: &mut Vec<(u32, Rule)>) {
    const O_ACCMODE: u32 = 3;
    const O_CREAT_OR_TMPFILE: u32 = 0o100 | 0o20_000_000;
    const O_TRUNC: u32 = 0o1000;
    let eacces = refuse(Errno::EACCES);
    for (number, flags) in [(nr::OPEN, 1), (nr::OPENAT, 2)] {
        let mut open = vec![(vec![masked(O_ACCMODE, one_of(flags, &[O_ACCMODE]))], eacces)];
        if policy.creates {
            let made = vec![any_bit(flags, O_CREAT_OR_TMPFILE), any_bit(flags + 1, SET_USER)];
            open.push((made, refuse(Errno::EPERM)));
        }
        if policy.landlock < 3 {
            open.push((vec![masked(O_ACCMODE | O_TRUNC, one_of(flags, &[O_TRUNC]))], eacces));
        }
        rules.push((number, Rule::Clauses(open)));
    }
    // Its flags and mode are in memory; programs fall back on `openat` as on a kernel before 5.6.
    rules.push((nr::OPENAT2, Rule::Verdict(refuse(Errno::ENOSYS))));
}

fn processes(policy: &Policy, rules: &mut Vec<(u32, Rule)>) {
    let eperm = refuse(Errno::EPERM);
    let mut clone = match policy.copies {
        None => vec![(vec![any_bit(0, CLONE_NAMESPACES | CLONE_PARENT)], eperm)],
        Some(key) => vec![
            (vec![any_bit(0, CLONE_NAMESPACES)], eperm),
            (vec![one_of(4, &[key as u32]), one_of(5, &[(key >> 32) as u32])], verdict::ALLOW),
            (vec![any_bit(0, CLONE_PARENT)], eperm),
        ],
    };
    if !policy.spawn {
        let refused = refused(policy, Errno::EPERM);
        rules.push((nr::FORK, Rule::Verdict(refused)));
        rules.push((nr::VFORK, Rule::Verdict(refused)));
        clone.push((vec![masked(CLONE_THREAD, none_of(0, &[CLONE_THREAD]))], refused));
    }
    rules.push((nr::CLONE, Rule::Clauses(clone)));
    if let Some(slot) = policy.only {
        const AT_EMPTY_PATH: u32 = 0x1000;
        let eacces = refuse(Errno::EACCES);
        rules.push((nr::EXECVE, Rule::Verdict(eacces)));
        rules.push((nr::MEMFD_CREATE, Rule::Verdict(eacces)));
        let execveat = match slot {
            Some(slot) => Rule::Clauses(vec![
                (vec![none_of(0, &[slot])], eacces),
                (vec![none_of(4, &[AT_EMPTY_PATH])], eacces),
            ]),
            None => Rule::Verdict(eacces),
        };
        rules.push((nr::EXECVEAT, execveat));
    }
}

/// Calls that take a process number: only 0 and the own one, for the kernel asks no more than the same user.
fn scheduling(policy: &Policy, rules: &mut Vec<(u32, Rule)>) {
    if policy.own_numbers {
        // No number that it can name is a process outside: OpenMP's threads may be pinned, and children slowed down. The first one is
        // Beget's, which ends the rest when it is told to.
        let eperm = refuse(Errno::EPERM);
        let first = || when(one_of(0, &[1]), eperm);
        for number in [nr::SETPRIORITY, nr::IOPRIO_SET] {
            rules.push((number, when(one_of(1, &[1]), eperm)));
        }
        for number in [nr::PRLIMIT64, nr::SCHED_SETSCHEDULER, nr::SCHED_SETPARAM, nr::SCHED_SETATTR] {
            rules.push((number, first()));
        }
        let affinity = if policy.keep_processors { Rule::Verdict(eperm) } else { first() };
        rules.push((nr::SCHED_SETAFFINITY, affinity));
        return;
    }
    const PRIO_PROCESS: u32 = 0;
    const IOPRIO_WHO_PROCESS: u32 = 1;
    let eperm = refuse(Errno::EPERM);
    // A process may join any group of its session, so a group is not its own to slow down.
    let by_kind = |process| {
        Rule::Clauses(vec![(vec![none_of(0, &[process])], eperm), (vec![another(1, policy)], eperm)])
    };
    rules.push((nr::SETPRIORITY, by_kind(PRIO_PROCESS)));
    rules.push((nr::IOPRIO_SET, by_kind(IOPRIO_WHO_PROCESS)));
    for number in [nr::PRLIMIT64, nr::SCHED_SETSCHEDULER, nr::SCHED_SETPARAM, nr::SCHED_SETATTR] {
        rules.push((number, when(another(0, policy), eperm)));
    }
    let affinity =
        if policy.keep_processors { Rule::Verdict(eperm) } else { when(another(0, policy), eperm) };
    rules.push((nr::SCHED_SETAFFINITY, affinity));
}

fn sockets(policy: &Policy, rules: &mut Vec<(u32, Rule)>) {
    let no_family = refuse(Errno::EAFNOSUPPORT);
    let refused = refused(policy, Errno::EAFNOSUPPORT);
    // A datagram pair can send to any socket that has a path, and so can a raw one, which Linux makes a datagram pair.
    let pair = vec![
        (vec![none_of(0, &[AF_UNIX])], no_family),
        (vec![masked(TYPE, none_of(1, &[SOCK_STREAM, SOCK_SEQPACKET]))], refuse(Errno::EPERM)),
    ];
    rules.push((nr::SOCKETPAIR, Rule::Clauses(pair)));
    let internet = [AF_INET, AF_INET6];
    let and_unix = |families: &[u32]| {
        let unix = if policy.unix { vec![AF_UNIX] } else { Vec::new() };
        none_of(0, &[unix, families.to_vec()].concat())
    };
    if !policy.net && !policy.udp && !policy.bind {
        // To connect is granted, not to serve: a socket made in a folder that others see would be their way in. And an abstract name, which one
        // of a pair could take, would be kept from whoever serves there.
        rules.push((nr::BIND, Rule::Verdict(refuse(Errno::EACCES))));
        if policy.unix && !policy.tcp {
            rules.push((nr::LISTEN, Rule::Verdict(refuse(Errno::EACCES))));
        }
    }
    if policy.net {
        let clauses = vec![
            (vec![and_unix(&[AF_INET, AF_INET6, AF_NETLINK])], no_family),
            (vec![one_of(0, &[AF_NETLINK]), none_of(2, &[0])], refuse(Errno::EPROTONOSUPPORT)),
        ];
        rules.push((nr::SOCKET, Rule::Clauses(clauses)));
        return;
    }
    if policy.tcp || policy.udp || policy.given_sockets {
        around_ports(rules);
    }
    if !policy.tcp && !policy.udp {
        // Told only where a flag would allow it: most others are the C library asking for its name cache, over a Unix socket.
        let others = if policy.unix { vec![and_unix(&[])] } else { Vec::new() };
        let clauses = vec![(vec![one_of(0, &internet)], refused), (others, no_family)];
        let asks = policy.listener || policy.unix;
        let rule = if asks { Rule::Clauses(clauses) } else { Rule::Verdict(no_family) };
        rules.push((nr::SOCKET, rule));
        return;
    }
    let (mut types, mut protocols) = (Vec::new(), vec![0]);
    if policy.tcp {
        types.push(SOCK_STREAM);
        protocols.push(IPPROTO_TCP);
    }
    if policy.udp {
        types.push(SOCK_DGRAM);
        protocols.push(IPPROTO_UDP);
    }
    let of_internet = |condition: Condition| {
        if policy.unix { vec![one_of(0, &internet), condition] } else { vec![condition] }
    };
    let clauses = vec![
        (vec![and_unix(&internet)], no_family),
        (of_internet(masked(TYPE, none_of(1, &types))), refuse(Errno::EACCES)),
        (of_internet(none_of(2, &protocols)), refuse(Errno::EPROTONOSUPPORT)),
    ];
    rules.push((nr::SOCKET, Rule::Clauses(clauses)));
    if !policy.bind {
        rules.push((nr::LISTEN, Rule::Verdict(refuse(Errno::EACCES))));
    }
}

/// Ways to a TCP peer or port that Landlock does not see: also for a socket that was given open, which can be disconnected.
fn around_ports(rules: &mut Vec<(u32, Rule)>) {
    const MSG_FASTOPEN: u32 = 0x2000_0000;
    const TCP_ULP: u32 = 31;
    let fast = |argument| when(any_bit(argument, MSG_FASTOPEN), refuse(Errno::EOPNOTSUPP));
    rules.push((nr::SENDTO, fast(3)));
    rules.push((nr::SENDMSG, fast(2)));
    rules.push((nr::SENDMMSG, fast(3)));
    let other_protocol =
        vec![(vec![one_of(1, &[IPPROTO_TCP]), one_of(2, &[TCP_ULP])], refuse(Errno::ENOENT))];
    rules.push((nr::SETSOCKOPT, Rule::Clauses(other_protocol)));
}

/// What newer Landlock covers and this one does not.
fn older_landlock(policy: &Policy, rules: &mut Vec<(u32, Rule)>, fcntl: &mut Vec<(Vec<Condition>, u32)>) {
    let (eperm, eacces) = (refuse(Errno::EPERM), refuse(Errno::EACCES));
    if policy.landlock < 3 {
        rules.push((nr::TRUNCATE, Rule::Verdict(eacces)));
    }
    if policy.landlock < 6 && !policy.spawn {
        const F_SETOWN: u32 = 8;
        const F_SETOWN_EX: u32 = 15;
        let mut own = vec![Value::OwnNumber(1)];
        if policy.own_group {
            own.extend([Value::Constant(0), Value::OwnNumber(-1)]);
        }
        let not_own = |argument| Condition { argument, mask: !0, test: Test::NoneOf(own.clone()) };
        for number in [nr::KILL, nr::TGKILL, nr::RT_SIGQUEUEINFO, nr::RT_TGSIGQUEUEINFO] {
            rules.push((number, when(not_own(0), eperm)));
        }
        rules.push((nr::TKILL, when(not_own(0), eperm)));
        rules.push((nr::PIDFD_SEND_SIGNAL, Rule::Verdict(eperm)));
        fcntl.push((vec![one_of(1, &[F_SETOWN]), not_own(2)], eperm));
        fcntl.push((vec![one_of(1, &[F_SETOWN_EX])], eperm));
    }
}

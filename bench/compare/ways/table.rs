//! Every way, once.

use super::{Entry, Kind, batches, commands, copies, embryos, factories, forks, peers, spawns};

const CLOSE: &str = "P' closes B";
const ON_EXEC: &str = "P marks B close-on-exec";
const GIVE: &str = "P gives A";

/// What holds of a C that is the same user's, and that nothing shuts in.
const SAME_USER: &str =
    "C is the same user: what P can open by path, through /proc or from a process, C can too";
const NAMESPACES: &str = "each kind of namespace costs 60 to 80 us, that of networks 300 and more";
const LAYOUT: &str = "copies share their template's address layout, and what it took for random";
const USER_NAMESPACES: &str = "an ordinary user has it only where the system allows user namespaces";

const fn classic(
    name: &'static str,
    title: &'static str,
    steps: &'static [&'static str],
    forgotten: &'static str,
    limits: &'static [&'static str],
    make: super::Make,
) -> Entry {
    Entry { name, title, kind: Kind::Classic, steps, forgotten, limits, make }
}

const fn ours(
    name: &'static str,
    title: &'static str,
    steps: &'static [&'static str],
    limits: &'static [&'static str],
    make: super::Make,
) -> Entry {
    Entry { name, title, kind: Kind::Ours, steps, forgotten: GIVE, limits, make }
}

const fn peer(
    name: &'static str,
    title: &'static str,
    steps: &'static [&'static str],
    forgotten: &'static str,
    limits: &'static [&'static str],
    make: super::Make,
) -> Entry {
    Entry { name, title, kind: Kind::Peer, steps, forgotten, limits, make }
}

/// All of them, in the order of the table.
pub(in crate::compare) const WAYS: &[Entry] = &[
    classic(
        "fork",
        "fork+exec, done right",
        &["P calls fork(), creating P'", "P' puts A at its number", CLOSE, "P' calls exec(), turning into C"],
        CLOSE,
        &[SAME_USER, "fork copies P's page tables: 35 ms for a P of 1 GiB", "not for a P with threads"],
        forks::fork,
    ),
    classic(
        "fork-forgotten",
        "fork+exec, close forgotten",
        &["P calls fork(), creating P'", "P' puts A at its number", "P' calls exec(), turning into C"],
        CLOSE,
        &[SAME_USER, "everything works, and nobody sees it"],
        forks::careless_fork,
    ),
    classic(
        "vfork",
        "vfork+exec",
        &[
            "P calls vfork(): P' has P's memory, and P waits",
            "P' puts A at its number",
            CLOSE,
            "P' calls exec(), turning into C, and P goes on",
        ],
        CLOSE,
        &[SAME_USER, "what P' writes before its exec, it writes into P"],
        forks::vfork,
    ),
    classic(
        "posix_spawn",
        "posix_spawn",
        &["P lists: A to its number", "P lists: close B", "P calls posix_spawn() with the list"],
        "P lists: close B",
        &[SAME_USER, "no list says \"everything else\"", "no limits, directory, keyring or filter"],
        spawns::posix,
    ),
    classic(
        "std",
        "Rust's std Command",
        &[ON_EXEC, "P makes a Command with A as standard input", "P spawns it"],
        ON_EXEC,
        &[SAME_USER, "only standard streams are given; what is not close-on-exec goes along"],
        spawns::std_command,
    ),
    ours(
        "confined",
        "beget: trivial confinement",
        &["P holds C's image, open", GIVE, "P spawns: C has that and nothing else"],
        &["names and attributes of the user's own files stay visible by path without --root"],
        commands::confined,
    ),
    ours(
        "embryo",
        "beget: embryo, op by op",
        &[
            "P has an empty process made, which runs nothing",
            GIVE,
            "P loads C's image into it",
            "P confines it",
            "P starts it, and can do nothing to it any more",
        ],
        &["a message to the embryo and back for every step", "its parent is a nursery, not P"],
        embryos::embryo,
    ),
    ours(
        "batch",
        "beget: batch (each of 8)",
        &["P lists several births", GIVE, "P sends the list to a nursery, in one message"],
        &["the time is for each of eight; their parent is a nursery, not P"],
        batches::batch,
    ),
    ours(
        "constructor",
        "beget: constructor, cold",
        &[
            "P1 says what C is made of, and seals the factory",
            "P2 asks the factory for a C",
            "P2 gives A: P1's factory gives nothing of P2's",
        ],
        &["each product starts from its beginning"],
        factories::cold,
    ),
    ours(
        "warm",
        "beget: warm product",
        &["P1 seals a factory, whose template has begun", "P2 asks for a copy", "P2 gives A"],
        &[LAYOUT, "for programs with one thread"],
        factories::warm,
    ),
    ours(
        "pooled",
        "beget: pooled product",
        &["P1 seals a factory, whose products wait", "P2 takes one that waits", "P2 gives A"],
        &[LAYOUT, "each that waits is a process, with its memory"],
        factories::pooled,
    ),
    ours(
        "fork_with",
        "beget: fork_with(grants)",
        &["P says what its copy keeps", GIVE, "P forks: the copy goes on in P's code, and is C"],
        &[
            "P's memory goes along: what P has read of B, C has read too",
            "for a P with one thread; it costs more the larger P is",
        ],
        copies::fork_with,
    ),
    peer(
        "bwrap",
        "bwrap --unshare-all",
        &[ON_EXEC, "P starts bwrap with every namespace and C's image in the root", "bwrap executes C"],
        ON_EXEC,
        &["hands on every open descriptor", NAMESPACES, USER_NAMESPACES],
        peers::bwrap,
    ),
    peer(
        "firejail",
        "firejail --private",
        &[ON_EXEC, "P starts firejail with a home of its own", "firejail executes C"],
        ON_EXEC,
        &["is set-user-ID root", NAMESPACES],
        peers::firejail,
    ),
    peer(
        "unshare",
        "unshare, all namespaces",
        &[ON_EXEC, "P starts unshare with every namespace", "unshare executes C"],
        ON_EXEC,
        &["files stay as they are: B opens by path", NAMESPACES, USER_NAMESPACES],
        peers::unshare,
    ),
    peer(
        "sandlock",
        "sandlock run",
        &[ON_EXEC, "P starts sandlock with what C may read", "sandlock executes C"],
        ON_EXEC,
        &["needs Landlock; started anew for each C"],
        peers::sandlock,
    ),
    peer(
        "nsjail",
        "nsjail, empty root",
        &[ON_EXEC, "P starts nsjail with C's image in an empty root", "nsjail executes C"],
        ON_EXEC,
        &[NAMESPACES, USER_NAMESPACES],
        peers::nsjail,
    ),
    peer(
        "crun",
        "crun run",
        &[ON_EXEC, "P writes a bundle", "P runs it", "crun executes C"],
        ON_EXEC,
        &["wants cgroups it can manage", NAMESPACES],
        peers::crun,
    ),
    peer(
        "runc",
        "runc run",
        &[ON_EXEC, "P writes a bundle", "P runs it", "runc executes C"],
        ON_EXEC,
        &["hands A on through a pipe of its own", "wants cgroups it can manage", NAMESPACES],
        peers::runc,
    ),
    peer(
        "subprocess",
        "Python's subprocess",
        &["P calls Popen with A as standard input", "Popen closes the rest"],
        "close_fds, which Popen has by itself",
        &[SAME_USER],
        peers::python,
    ),
    peer(
        "forkserver",
        "Python's forkserver",
        &["P starts a server, once", "P sends the server a function, and A", "the server forks C"],
        "there is none: nothing has to be closed",
        &[SAME_USER, "C is Python code, a copy of the server; all copies share its layout"],
        peers::python,
    ),
];

//! What is judged discreet or a hole, of every kind of descriptor that can be made here; and that what is called discreet is.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use beget::{Command, Grant, Promise, Root, Stdio, Support};
use beget_factory::judge::{
    Access, Confinement, Discretion, HoleIdentity, Holes, Inventory, Surroundings, anew, descriptor, own,
};
use beget_tests::{Scratch, is_root};

use crate::marks::{Marker, Seen};

/// A descriptor that a system call answered with; none where this system or user has no such thing.
fn made(answer: i64) -> Option<OwnedFd> {
    // SAFETY: it was opened just now, and is nobody else's.
    (answer >= 0).then(|| unsafe { OwnedFd::from_raw_fd(answer as i32) })
}

macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: every pointer is to memory that outlives the call.
        made(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}

fn opened(path: impl AsRef<Path>, flags: i32) -> Option<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_ref().as_os_str().as_bytes()).expect("no NUL byte");
    call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC, 0o600)
}

fn again(file: Option<OwnedFd>, flags: i32) -> Option<OwnedFd> {
    let file = file?;
    opened(format!("/proc/self/fd/{}", file.as_raw_fd()), flags)
}

const ALL_SEALS: i32 = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;

fn memory(seals: i32) -> Option<OwnedFd> {
    let file = call!(SYS_memfd_create, c"memory".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC)?;
    std::io::Write::write_all(&mut File::from(file.try_clone().ok()?), &[b'a'; 5000]).ok()?;
    // SAFETY: without pointers.
    let sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    (sealed == 0).then_some(file)
}

fn socket(family: i32, kind: i32) -> Option<OwnedFd> {
    call!(SYS_socket, family, kind | libc::SOCK_CLOEXEC, 0)
}

fn terminal(slave: bool) -> Option<OwnedFd> {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the C library writes two numbers, and takes null for the rest.
    let answer = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
    let (ours, theirs) = (made(ours.into()).filter(|_| answer == 0)?, made(theirs.into())?);
    Some(if slave { theirs } else { ours })
}

/// Each kind: its name, whether it is discreet, and one of it.
fn kinds(scratch: &Scratch) -> Vec<(&'static str, bool, Option<OwnedFd>)> {
    let file = scratch.file("file", [b'a'; 5000]);
    let deleted = scratch.file("deleted", [b'a'; 5000]);
    let gone = opened(&deleted, libc::O_RDONLY);
    std::fs::remove_file(deleted).expect("ours");
    for folder in ["plain", "piped"] {
        std::fs::create_dir(scratch.at(folder)).expect("ours");
        scratch.file(&format!("{folder}/inner"), "inner");
    }
    let fifo = std::ffi::CString::new(scratch.at("piped/pipe")).expect("no NUL byte");
    // SAFETY: a path that lives.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("file", scratch.at("link")).expect("ours");
    let listener = std::os::unix::net::UnixListener::bind(scratch.at("socket")).expect("ours");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    let ring_parameters = [0u64; 15];
    let ruleset = [1u64, 0, 0];
    let event = [0u32, 128].map(u64::from);
    let mask = 0u64;
    vec![
        ("sealed memory", true, memory(ALL_SEALS)),
        ("sealed memory, opened to read", true, again(memory(ALL_SEALS), libc::O_RDONLY)),
        ("memory", false, memory(0)),
        ("memory, opened to read", false, again(memory(0), libc::O_RDONLY)),
        ("memory, only meant", false, again(memory(0), libc::O_PATH)),
        ("memory without the last seal", false, memory(ALL_SEALS & !libc::F_SEAL_SEAL)),
        ("memory whose writers stay", false, memory(ALL_SEALS & !libc::F_SEAL_WRITE | 0x10)),
        ("memory that can grow", false, memory(ALL_SEALS & !libc::F_SEAL_GROW)),
        ("secret memory", false, call!(SYS_memfd_secret, 0)),
        ("file to read", true, opened(&file, libc::O_RDONLY)),
        ("deleted file to read", true, gone),
        ("file, only meant", true, opened(&file, libc::O_PATH)),
        ("file to write", false, opened(&file, libc::O_WRONLY)),
        ("file to append to", false, opened(&file, libc::O_WRONLY | libc::O_APPEND)),
        ("file to read and write", false, opened(&file, libc::O_RDWR)),
        ("file in the undocumented mode", false, opened(&file, 3)),
        ("folder", true, opened(scratch.at("plain"), libc::O_RDONLY | libc::O_DIRECTORY)),
        ("folder, only meant", true, opened(scratch.at("plain"), libc::O_PATH)),
        ("folder with a named pipe", false, opened(scratch.at("piped"), libc::O_RDONLY | libc::O_DIRECTORY)),
        ("link", true, opened(scratch.at("link"), libc::O_PATH | libc::O_NOFOLLOW)),
        ("named pipe", false, opened(scratch.at("piped/pipe"), libc::O_RDONLY | libc::O_NONBLOCK)),
        ("named pipe, only meant", false, opened(scratch.at("piped/pipe"), libc::O_PATH)),
        ("named socket, only meant", false, opened(scratch.at("socket"), libc::O_PATH)),
        ("pipe, only meant", false, again(reader.try_clone().ok(), libc::O_PATH)),
        ("pipe to read", false, Some(reader)),
        ("pipe to write", false, Some(writer)),
        ("listening socket", false, Some(listener.into())),
        ("Unix datagram socket", false, socket(libc::AF_UNIX, libc::SOCK_DGRAM)),
        ("TCP socket", false, socket(libc::AF_INET, libc::SOCK_STREAM)),
        ("UDP socket", false, socket(libc::AF_INET6, libc::SOCK_DGRAM)),
        ("netlink socket", false, socket(libc::AF_NETLINK, libc::SOCK_RAW)),
        ("vsock", false, socket(libc::AF_VSOCK, libc::SOCK_STREAM)),
        ("terminal", false, terminal(true)),
        ("terminal's master", false, terminal(false)),
        ("null", true, opened("/dev/null", libc::O_RDWR)),
        ("zero", true, opened("/dev/zero", libc::O_RDWR)),
        ("full", true, opened("/dev/full", libc::O_RDWR)),
        ("random", true, opened("/dev/random", libc::O_RDONLY)),
        ("urandom", true, opened("/dev/urandom", libc::O_RDONLY)),
        ("kernel's messages", false, opened("/dev/kmsg", libc::O_RDONLY)),
        ("fuse device", false, opened("/dev/fuse", libc::O_RDWR)),
        ("block device, only meant", false, opened("/dev/vda", libc::O_PATH)),
        ("file of proc", false, opened("/proc/self/status", libc::O_RDONLY)),
        ("folder of proc", false, opened("/proc", libc::O_PATH)),
        ("file of sysfs", false, opened("/sys/kernel/uevent_seqnum", libc::O_RDONLY)),
        ("memory of a process", false, opened("/proc/self/mem", libc::O_RDWR)),
        ("eventfd", false, call!(SYS_eventfd2, 0, libc::EFD_CLOEXEC)),
        ("epoll", false, call!(SYS_epoll_create1, libc::EPOLL_CLOEXEC)),
        ("timer", false, call!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC)),
        ("signalfd", false, call!(SYS_signalfd4, -1, &raw const mask, 8, libc::SFD_CLOEXEC)),
        ("inotify", false, call!(SYS_inotify_init1, libc::IN_CLOEXEC)),
        ("fanotify", false, call!(SYS_fanotify_init, 0, libc::O_RDONLY)),
        ("userfaultfd", false, call!(SYS_userfaultfd, 1)),
        ("perf", false, call!(SYS_perf_event_open, event.as_ptr(), 0, -1, -1, 8)),
        ("io_uring", false, call!(SYS_io_uring_setup, 4, ring_parameters.as_ptr())),
        ("ruleset", false, call!(SYS_landlock_create_ruleset, ruleset.as_ptr(), 8, 0)),
        ("filesystem in the making", false, call!(SYS_fsopen, c"tmpfs".as_ptr(), 1)),
        ("process", false, call!(SYS_pidfd_open, std::process::id(), 0)),
        ("namespace", false, opened("/proc/self/ns/mnt", libc::O_RDONLY)),
        ("message queue", false, queue(c"beget-test")),
    ]
}

fn queue(name: &CStr) -> Option<OwnedFd> {
    let queue = call!(SYS_mq_open, name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, 0usize);
    // SAFETY: a name that lives.
    unsafe { libc::syscall(libc::SYS_mq_unlink, name.as_ptr()) };
    queue
}

#[test]
fn each_kind_of_descriptor_is_judged() {
    let scratch = Scratch::new();
    let (mut missing, mut seen) = (Vec::new(), Vec::<HoleIdentity>::new());
    for (name, discreet, file) in kinds(&scratch) {
        let Some(file) = file else {
            missing.push(name);
            continue;
        };
        let judged = descriptor(name, file.as_fd()).expect("it is judged");
        match &judged.discretion {
            Discretion::Discreet { held_by, .. } => assert!(discreet && !held_by.is_empty(), "{judged}"),
            Discretion::Hole(hole) => {
                assert!(!discreet && !hole.reason.is_empty(), "{judged}");
                assert_eq!(hole.identity.to_string().parse().as_ref(), Ok(&hole.identity));
                // Its name is the kernel's: another look tells the same, but of what the kernel has no name for.
                let other = descriptor("other", file.as_fd()).expect("it is judged");
                let lasting = ![
                    "eventfd",
                    "epoll",
                    "timer",
                    "signalfd",
                    "inotify",
                    "fanotify",
                    "userfaultfd",
                    "perf",
                    "io_uring",
                    "ruleset",
                    "filesystem",
                ]
                .contains(&judged.kind);
                assert_eq!(
                    other.hole().map(|hole| &hole.identity) == Some(&hole.identity),
                    lasting,
                    "{judged}"
                );
                let file = ["file", "folder", "pipe", "memory", "files of the kernel", "device"]
                    .contains(&judged.kind);
                assert!(file || !seen.contains(&hole.identity), "{judged}: {seen:?}");
                seen.push(hole.identity.clone());
            }
        }
    }
    eprintln!("not to be had here: {missing:?}");
    assert!(missing.len() < if is_root() { 8 } else { 14 }, "{missing:?}");
}

/// What is discreet is given to a child that tries everything on it, in its creator's root and in a private one; whoever looks from outside sees
/// nothing of it.
#[test]
fn what_is_discreet_tells_nothing() {
    let scratch = Scratch::new();
    for (name, discreet, file) in kinds(&scratch) {
        // A link that is only meant is opened by nobody, and we could not look at it either.
        let Some(file) = file.filter(|_| discreet && name != "link") else { continue };
        let folder = name.starts_with("folder");
        let kept = own(name, file.as_fd()).expect("it is kept");
        // That memory was read, by us too, shows each time in the time of access of what only the factory and its products hold.
        let kind = |seen: Seen| if name.contains("memory") { seen.but_that_it_was_read() } else { seen };
        let looked = || (kind(Seen::of(file.as_fd())), kind(Seen::of(kept.as_fd())));
        looked();
        let before = looked();
        for root in [false, true] {
            if folder && root {
                continue;
            }
            let given = anew(name, kept.as_fd()).expect("it can be opened anew");
            let marker = Marker::run(&given, |command| {
                command.discreet(true);
                if root {
                    command.root(Root::new());
                }
            });
            let marker = match marker {
                Err(error) if root && error.part() == "promise root" => continue,
                marker => marker.expect("it runs"),
            };
            if file_like(name) {
                assert_eq!(marker.done(), [""; 0], "{name}");
            }
            assert_eq!(looked(), before, "{name}: {:?}", marker.said);
            marker.end();
        }
    }
}

/// All but devices, which may be written to their hearts' content.
fn file_like(name: &str) -> bool {
    !["null", "zero", "full", "random", "urandom"].contains(&name)
}

/// Why memory to read without seals is a hole: Landlock lets it be opened anew for writing.
#[test]
fn memory_without_seals_is_written_by_whom_it_was_given_to_read() {
    let file = again(memory(0), libc::O_RDONLY).expect("memory");
    let marker = Marker::run(&file, |command| _ = command.discreet(true)).expect("it runs");
    assert!(marker.done().contains(&"reopen-write"), "{:?}", marker.said);
    marker.end();
}

/// Why a factory keeps a copy of sealed memory: who holds the same sees that it was written to, though it is not written.
#[test]
fn a_refused_write_to_sealed_memory_is_seen_by_whom_holds_it() {
    let file = memory(ALL_SEALS).expect("memory");
    let before = Seen::of(file.as_fd()).but_that_it_was_read();
    let marker = Marker::run(&file, |command| _ = command.discreet(true)).expect("it runs");
    assert_ne!(Seen::of(file.as_fd()).but_that_it_was_read(), before, "{:?}", marker.said);
    assert!(!marker.done().contains(&"write"), "{:?}", marker.said);
    marker.end();
    let kept = own("memory", file.as_fd()).expect("it is kept");
    let digest = |file: &OwnedFd| descriptor("memory", file.as_fd()).expect("it is judged").digest;
    assert!(digest(&kept).is_some() && digest(&kept) == digest(&file));
}

/// Why what is discreet is opened anew for each product.
#[test]
fn a_shared_description_tells_and_one_of_its_own_does_not() {
    use std::io::Seek;
    let file = memory(ALL_SEALS).expect("memory");
    let given = anew("memory", file.as_fd()).expect("it can be opened anew");
    let (mut file, mut given) = (File::from(file), File::from(given));
    let before = file.stream_position().expect("it stands");
    given.seek(std::io::SeekFrom::Start(before + 7)).expect("it can");
    // SAFETY: without pointers.
    unsafe { libc::fcntl(given.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(file.stream_position().expect("it stands"), before);
    // SAFETY: without pointers.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } & libc::O_NONBLOCK, 0);
    let mut copy = file.try_clone().expect("a copy");
    copy.seek(std::io::SeekFrom::Start(before + 7)).expect("it can");
    assert_ne!(file.stream_position().expect("it stands"), before);
}

/// One that is only judged: without the base it could not start.
fn command() -> Command {
    let mut command = Command::new("/bin/true");
    command.discreet(true);
    command
}

fn seal(command: &mut Command) -> Result<Confinement, beget::Error> {
    sealed(Inventory::new(), command, Surroundings::default())
}

/// Seals a command as it stands, and an inventory with it.
fn sealed(
    mut inventory: Inventory,
    command: &mut Command,
    around: Surroundings,
) -> Result<Confinement, beget::Error> {
    let command = std::mem::replace(command, Command::new("/bin/true")).seal()?;
    inventory.seal(&command, around)?;
    Ok(inventory.confinement())
}

fn kinds_of(holes: &[beget_factory::judge::Hole]) -> Vec<&str> {
    holes.iter().map(|hole| hole.identity.kind()).collect()
}

#[test]
fn in_a_private_root_with_nothing_but_the_base_it_is_confined() {
    let answer = match seal(command().grant(Grant::Base).root(Root::new())) {
        Err(error) if error.part() == "promise root" => return,
        answer => answer.expect("it is judged"),
    };
    assert!(answer.is_confined(&[]), "{:#?}", answer.holes);
    assert!(answer.lines().iter().any(|line| line.contains("held by Landlock")), "{:?}", answer.lines());
    assert!(answer.out_of_scope.iter().any(|line| line.contains("timing channels")));
    let digest = |name: &str| {
        answer.constituents.iter().find(|one| one.name.ends_with(name)).and_then(|one| one.digest)
    };
    assert!(digest("/true").is_some() && digest("/usr").is_some(), "{:#?}", answer.constituents);
    let bare = seal(command().root(Root::new())).expect("it is judged");
    assert!(bare.is_confined(&[]) && bare.image != answer.image);
    assert_eq!(seal(command().root(Root::new())).expect("it is judged").image, bare.image);
    // The same without each of the three.
    let without = seal(&mut command()).expect("it is judged");
    assert_eq!(kinds_of(&without.holes), ["metadata"]);
    assert!(!without.is_confined(&[]) && without.is_confined(&["metadata::read".parse().unwrap()]));
    assert!(answer.compare(&without) && !without.compare(&answer));
    let marking = seal(command().root(Root::new()).discreet(false)).expect("it is judged");
    assert_eq!(kinds_of(&marking.holes), ["marks"]);
    let shared = Surroundings { shares_root: true, ..Surroundings::default() };
    let shared = sealed(Inventory::new(), command().root(Root::new()), shared).expect("it is judged");
    assert_eq!(kinds_of(&shared.holes), ["shared-root"]);
}

#[test]
fn each_grant_is_judged() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain", "contents");
    std::fs::create_dir(scratch.at("folder")).expect("ours");
    let cases: &[(Grant, &[&str])] = &[
        (Grant::Read(plain.clone().into()), &[]),
        (Grant::Execute(plain.clone().into()), &[]),
        (Grant::Read(scratch.at("folder").into()), &[]),
        (Grant::Write(plain.into()), &["file"]),
        (Grant::Write(scratch.at("folder").into()), &["folder"]),
        (Grant::Spawn, &[]),
        (Grant::Net, &["net"]),
        (Grant::TcpConnect(443), &["tcp-connect"]),
        (Grant::TcpBind(8080), &["tcp-bind"]),
        (Grant::InetDns, &["udp", "tcp-connect"]),
        (Grant::Read("/proc/version".into()), &["kernel-files"]),
        (Grant::Read("/sys/kernel".into()), &["kernel-files"]),
        (Grant::Read("/dev".into()), &["folder"]),
    ];
    for (grant, expected) in cases {
        let answer = seal(command().grant(grant.clone())).expect("it is judged");
        let found: Vec<&str> =
            kinds_of(&answer.holes).into_iter().filter(|kind| *kind != "metadata").collect();
        assert_eq!(found, *expected, "{grant}");
        let all: Vec<HoleIdentity> = answer.holes.iter().map(|hole| hole.identity.clone()).collect();
        assert!(answer.is_confined(&all) && !answer.is_confined(&[]), "{grant}");
    }
    let ambient = seal(Command::new("/bin/true").grant(Grant::Ambient)).expect("it is judged");
    assert!(kinds_of(&ambient.holes).contains(&"everything"));
    let net = seal(command().grant(Grant::Net)).expect("it is judged");
    assert!(net.compare(&ambient) && !ambient.compare(&net));
    assert!(seal(command().grant(Grant::TcpConnect(1))).expect("it is judged").compare(&net));
}

#[test]
fn what_this_kernel_does_not_keep_is_a_hole() {
    let mut older = command();
    older.support(Support::detect().with_landlock_at_most(None));
    Promise::ALL.iter().for_each(|promise| _ = older.degrade(*promise));
    let answer = seal(&mut older).expect("it is judged");
    let unkept: Vec<&str> = answer
        .holes
        .iter()
        .filter(|hole| hole.identity.kind() == "unkept")
        .map(|hole| hole.identity.object())
        .collect();
    assert!(unkept.contains(&"files") && unkept.contains(&"tracing"), "{unkept:?}");
}

#[test]
fn streams_slots_and_channels_are_judged() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let file = File::open("/bin/true").expect("it is there");
    let mut given = command();
    given
        .stdin(reader)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .slot("log", writer)
        .slot("file", file)
        .channel(true);
    let answer = seal(&mut given).expect("it is judged");
    let mut holes: Vec<(&str, &str)> =
        answer.holes.iter().map(|hole| (hole.identity.kind(), hole.what.as_str())).collect();
    holes.sort();
    assert_eq!(
        holes,
        [("channel", "slot beget"), ("metadata", "names and attributes"), ("pipe", "log"), ("pipe", "stdin")]
    );
    let own = Surroundings { own_channel: true, ..Surroundings::default() };
    let answer = sealed(Inventory::new(), command().channel(true), own).expect("it is judged");
    assert_eq!(kinds_of(&answer.holes), ["metadata"]);
}

#[test]
fn what_is_sealed_stays_as_it_is_and_what_is_not_is_never_confined() {
    let mut inner = Inventory::new();
    let file = memory(ALL_SEALS).expect("memory");
    inner.insert("memory", file.as_fd()).expect("it is judged");
    let unsealed = inner.confinement();
    assert!(unsealed.holes.is_empty() && !unsealed.is_sealed() && !unsealed.is_confined(&[]));
    // A factory that is not sealed may come to hold anything.
    let mut outer = Inventory::new();
    outer.insert_factory("inner", &unsealed).expect("it is judged");
    assert_eq!(kinds_of(&outer.confinement().holes), ["factory"]);
    let (_, writer) = std::io::pipe().expect("a pipe");
    inner.insert("pipe", writer.as_fd()).expect("it is judged");
    let image = command().seal().expect("it is opened");
    inner.seal(&image, Surroundings::default()).expect("it is judged");
    let sealed_inner = inner.confinement();
    assert_eq!(kinds_of(&sealed_inner.holes), ["pipe", "metadata"]);
    for error in [
        inner.insert("more", file.as_fd()).map(drop).expect_err("sealed"),
        inner.insert_factory("more", &unsealed).expect_err("sealed"),
        inner.seal(&image, Surroundings::default()).expect_err("sealed"),
    ] {
        assert!(error.to_string().contains("it is sealed: nothing more can be inserted"), "{error}");
    }
    // A sealed one counts as its holes do.
    let mut outer = Inventory::new();
    outer.insert_factory("inner", &sealed_inner).expect("it is judged");
    let outer = sealed(outer, &mut command(), Surroundings::default()).expect("it is judged");
    assert_eq!(kinds_of(&outer.holes), ["pipe", "metadata"]);
    assert!(outer.compare(&sealed_inner) && sealed_inner.compare(&outer));
    let pipe = HoleIdentity::new("pipe", outer.holes[0].identity.object(), Access::WRITE);
    assert!(outer.is_confined(&[pipe, "metadata::read".parse().unwrap()]));
}

/// What is judged is what was sealed, whatever its name means a moment later: the program, and a folder that is looked through only when asked.
#[test]
fn what_is_judged_is_what_was_sealed() {
    let scratch = Scratch::new();
    let program = scratch.file("program", std::fs::read("/bin/true").expect("it is there"));
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    for name in ["granted", "other"] {
        std::fs::create_dir(scratch.at(name)).expect("ours");
        scratch.file(&format!("{name}/file"), "contents");
    }
    let describe = || {
        let mut command = Command::new(&program);
        command.discreet(true).grant(Grant::Read(scratch.at("granted").into()));
        command.seal().expect("it is opened")
    };
    let answer = |image: &beget::Sealed| {
        let mut inventory = Inventory::new();
        inventory.seal(image, Surroundings::default()).expect("it is judged");
        inventory
    };
    let before = answer(&describe()).confinement();
    let image = describe();
    let swap = |one: &str, other: &str| {
        std::fs::rename(scratch.at(one), scratch.at(&format!("{one} that was"))).expect("ours");
        std::fs::rename(scratch.at(other), scratch.at(one)).expect("ours");
    };
    std::fs::write(scratch.at("forged"), "#!/bin/false\n").expect("ours");
    swap("program", "forged");
    let inventory = answer(&image);
    swap("granted", "other");
    let fifo = std::ffi::CString::new(scratch.at("granted/pipe")).expect("no NUL byte");
    // SAFETY: a path that lives.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let digests = |answer: &Confinement| -> Vec<_> {
        answer.constituents.iter().map(|one| one.digest.map(|digest| digest.to_string())).collect()
    };
    let after = inventory.confinement();
    assert_eq!(digests(&after), digests(&before));
    assert_eq!(kinds_of(&after.holes), ["metadata"]);
    // What the names mean now is another thing, and a hole.
    assert_eq!(kinds_of(&answer(&image).confinement().holes), ["metadata"]);
    scratch.script("program", std::fs::read("/bin/false").expect("it is there"));
    let now = answer(&describe()).confinement();
    assert!(kinds_of(&now.holes).contains(&"folder") && digests(&now) != digests(&before));
}

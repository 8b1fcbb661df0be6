//! What every root has: devices, terminals, memory to write in, a name and numbers.

use super::*;

#[test]
fn each_device_does_what_it_is_for() {
    let test = "each_device_does_what_it_is_for";
    if !has_python(test) {
        return;
    }
    let program = "import os, stat
for name, number in (('null', (1, 3)), ('zero', (1, 5)), ('full', (1, 7)), ('random', (1, 8)), ('urandom', (1, 9)), ('tty', (5, 0))):
    status = os.stat('/dev/' + name)
    assert stat.S_ISCHR(status.st_mode) and (os.major(status.st_rdev), os.minor(status.st_rdev)) == number, name
def read(name): return os.read(os.open('/dev/' + name, os.O_RDONLY), 8)
print(read('null'), read('zero'), read('full') == bytes(8), len(read('random')), len(read('urandom')))
def write(name):
    try: return os.write(os.open('/dev/' + name, os.O_WRONLY), b'text')
    except OSError as error: return -error.errno
print(write('null'), write('zero'), write('full'), write('tty'))
print(os.path.realpath('/dev/fd') == f'/proc/{os.getpid()}/fd', os.readlink('/dev/stdin'), os.readlink('/dev/ptmx'))";
    let said = "b'' b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00' True 8 8\n4 4 -28 -6\nTrue /proc/self/fd/0 pts/ptmx\n";
    assert_eq!(in_python(&[], program), said);
}

#[test]
fn terminals_are_made_inside() {
    let test = "terminals_are_made_inside";
    if !has_python(test) {
        return;
    }
    let program = "import os
master, slave = os.openpty()
print(os.ttyname(slave), sorted(os.listdir('/dev/pts')), os.ptsname(master) if hasattr(os, 'ptsname') else '/dev/pts/0')
if os.fork() == 0:
    by_name = os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)
    os.write(by_name, os.read(by_name, 100).upper())
    os._exit(0)
os.write(master, b'typed\\n')
os.wait()
seen = b''
while not seen.endswith(b'TYPED\\r\\n'): seen += os.read(master, 100)
print(seen)
os.close(master)
print(sorted(os.listdir('/dev/pts')))";
    let said = "/dev/pts/0 ['0', 'ptmx'] /dev/pts/0\nb'typed\\r\\nTYPED\\r\\n'\n['ptmx']\n";
    assert_eq!(in_python(&["--spawn"], program), said);
}

#[test]
fn shared_memory_is_its_own() {
    let test = "shared_memory_is_its_own";
    if !has_python(test) {
        return;
    }
    let program = "import multiprocessing, os
lock = multiprocessing.Lock()
open('/dev/shm/file', 'w').write('text')
print(lock.acquire(), os.listdir('/dev/shm'))";
    assert_eq!(in_python(&[], program), "True ['file']\n");
    assert!(!Path::new("/dev/shm/file").exists());
}

/// Room ends where it was said to, and there is room again when something is removed.
#[test]
fn memory_ends() {
    let test = "memory_ends";
    if !has_python(test) {
        return;
    }
    let program = "import os
def fill(place):
    file = os.open(place + '/file', os.O_CREAT | os.O_WRONLY)
    total = 0
    try:
        while total < 1 << 26: total += os.write(file, bytes(1 << 16))
    except OSError as error: return total, error.errno
    finally: os.unlink(place + '/file'); os.close(file)
    return total, 0
print(fill('/tmp'), fill('/memory'), fill('/tmp'))";
    let flags = ["--tmp", "2M", "--tmpfs", "/memory=1M"];
    assert_eq!(in_python(&flags, program), "(2097152, 28) (1048576, 28) (2097152, 28)\n");
}

#[test]
fn nothing_else_is_written() {
    if !has_root("nothing_else_is_written") {
        return;
    }
    let script = "for at in / /dev /proc /usr /etc /usr/bin /made; do (: > $at/file) 2>/dev/null && echo $at; mkdir $at/folder 2>/dev/null && echo $at; done; true";
    assert_eq!(in_shell(&["--dir", "/made"], script), fine(""));
    assert_eq!(in_shell(&["--dir", "/made", "--uid", "0"], script), fine(""));
}

#[test]
fn it_has_a_name_and_numbers_of_its_own() {
    if !has_root("it_has_a_name_and_numbers_of_its_own") {
        return;
    }
    // SAFETY: ask for numbers.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let script = "uname -n; id -u; id -g; id -G";
    assert_eq!(in_shell(&[], script), fine(&format!("beget\n{user}\n{group}\n{group}\n")));
    let flags = ["--hostname", "other.example", "--uid", "7", "--gid", "8"];
    assert_eq!(in_shell(&flags, script), fine("other.example\n7\n8\n8\n"));
    // What is written belongs to this user, whatever number it has inside.
    let scratch = Scratch::new();
    let folder = scratch.at("");
    let flags = [&flags[..], &["--write", &folder]].concat();
    assert_eq!(
        in_shell(&flags, &format!("echo > {folder}/file; stat -c %u:%g {folder}/file")),
        fine("7:8\n")
    );
    let status = std::fs::metadata(scratch.at("file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), user);
    let outside = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(outside.trim(), "other.example");
}

/// Groups of root that a private root could not give up once it is made.
#[test]
fn supplementary_groups_are_dropped() {
    let test = "supplementary_groups_are_dropped";
    if !beget_tests::is_root() {
        return skip(test, Need::Root);
    }
    if !has_root(test) {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.file("file", "of the group");
    let status = finish(
        std::process::Command::new("sh").args(["-c", &format!("chgrp 4242 {file} && chmod 060 {file}")]),
    )
    .status;
    assert!(status.success());
    let mut beget = std::process::Command::new("setpriv");
    beget.args(["--groups", "4242,4343"]).arg(beget_tests::program("beget-under-test"));
    beget.args(["run", "--base", "--root", "--read", &file, "--", "grep", "Groups:", "/proc/self/status"]);
    let output = finish(beget.stdin(Stdio::null()));
    assert_eq!(text(&output.stdout).trim(), "Groups:", "{}", text(&output.stderr));
}

/// The root itself is to be read, unless it is asked for as memory.
#[test]
fn the_root_itself_can_be_memory() {
    if !has_root("the_root_itself_can_be_memory") {
        return;
    }
    for (flags, code) in [(&[][..], Some(1)), (&["--tmpfs", "/"], Some(0))] {
        assert_eq!(rooted(flags, &["touch", "/new"]).0, code, "{flags:?}");
    }
}

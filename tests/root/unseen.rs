//! What was not granted: no name, no number, no mount, no key, no interface of it is there.

use super::*;

/// Tries every name that a list of things outside has, and prints those that are there.
const LOOK: &str = "import os, sys
for name in sys.argv[1:]:
    for look in (os.lstat, os.stat, os.readlink, os.listdir, os.statvfs, lambda name: os.open(name, os.O_PATH)):
        try: look(name)
        except FileNotFoundError: continue
        except OSError as error: print(name, error.errno)
        else: print(name)";

#[test]
fn what_is_not_granted_does_not_exist() {
    let test = "what_is_not_granted_does_not_exist";
    if !has_python(test) {
        return;
    }
    let scratch = Scratch::new();
    let (given, kept) = (scratch.file("given", "x"), scratch.file("kept", "x"));
    std::fs::create_dir(scratch.at("folder")).unwrap();
    std::os::unix::fs::symlink(&kept, scratch.at("link")).unwrap();
    let beside = [kept, scratch.at("folder"), scratch.at("link"), format!("/proc/{}", std::process::id())];
    let mut names: Vec<&str> = beside.iter().map(String::as_str).collect();
    names.extend(["/root", "/home", "/var", "/sys", "/run", "/boot", "/etc/shadow", "/etc/hostname"]);
    names.extend([
        "/dev/mem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/dev/fuse",
        "/dev/console",
        "/dev/mqueue",
    ]);
    let script = [&["python3", "-c", LOOK], &names[..]].concat();
    assert_eq!(rooted(&["--read", &given], &script), fine(""));
    // Each of them is there to be seen without: the script is able to.
    let there = ran(&[&["run", "--base", "--"], &script[..]].concat()).1;
    assert!(there.contains(&beside[0]) && there.contains("/etc/shadow") && there.contains("/var"), "{there}");
}

/// Names in the folders above a grant are those of grants alone.
#[test]
fn folders_above_a_grant_hold_it_alone() {
    if !has_root("folders_above_a_grant_hold_it_alone") {
        return;
    }
    let scratch = Scratch::new();
    let given = scratch.file("given", "x");
    scratch.file("kept", "x");
    let script = format!(
        "ls -A {}; ls -A /tmp | wc -l; ls -A /etc | grep -c -E '^(shadow|hostname|fstab)$'",
        scratch.at("")
    );
    let above = usize::from(given.starts_with("/tmp/"));
    assert_eq!(in_shell(&["--read", &given], &script).1, format!("given\n{above}\n0\n"));
}

/// Processes of outside have no number, no folder and no way to be signalled; our own have.
#[test]
fn other_processes_are_not_there() {
    let test = "other_processes_are_not_there";
    if !has_python(test) {
        return;
    }
    let program = format!(
        "import os
numbers = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
print(numbers == [1, os.getpid()], os.getppid(), os.getpid())
for number in ({}, {}):
    for call in (lambda: os.kill(number, 0), lambda: os.pidfd_open(number), lambda: os.getsid(number),
                 lambda: os.sched_getscheduler(number), lambda: os.getpriority(os.PRIO_PROCESS, number)):
        try: call()
        except ProcessLookupError: continue
        except OSError as error: print(number, error.errno)
        else: print(number)",
        std::process::id(),
        std::os::unix::process::parent_id()
    );
    assert_eq!(in_python(&[], &program), "True 1 2\n");
}

/// No mount is listed that is not of the root, and nothing can be mounted or taken away.
#[test]
fn mounts_are_its_own() {
    let test = "mounts_are_its_own";
    if !has_python(test) {
        return;
    }
    let program = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
places = [line.split()[4] for line in open('/proc/self/mountinfo')]
shared = [line for line in open('/proc/self/mountinfo') if 'shared:' in line or 'master:' in line]
known = ('/', '/dev', '/proc', '/tmp', '/usr', '/etc', '/bin', '/lib', '/lib64', '/sbin', '/opt', '/nix')
print([place for place in places if not any(place == one or one != '/' and place.startswith(one + '/') for one in known)], shared)
for call in (lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), lambda: libc.umount2(b'/proc', 2),
             lambda: libc.mount(None, b'/', None, 32 | 4096, None), lambda: libc.chroot(b'/tmp'),
             lambda: libc.syscall(155, b'/', b'/tmp'), lambda: libc.unshare(0x20000), lambda: libc.unshare(0x10000000)):
    ctypes.set_errno(0)
    if call() == 0: print('done')";
    assert_eq!(in_python(&[], program), "[] []\n");
}

/// Keys are listed by name to whoever looks, whatever its namespace: they are covered.
#[test]
fn keys_are_not_listed() {
    if !has_root("keys_are_not_listed") {
        return;
    }
    let (code, out, _) = in_shell(&[], "cat /proc/keys /proc/key-users; test -s /proc/keys || echo none");
    assert_eq!((code, out.as_str()), (Some(0), "none\n"));
}

/// Of `/proc` itself nothing is written, and nothing in it is another's.
#[test]
fn the_kernel_is_not_set() {
    let test = "the_kernel_is_not_set";
    if !has_python(test) {
        return;
    }
    let program = "import os
made = []
for name in ('self/uid_map', 'self/gid_map', 'self/setgroups', 'self/oom_score_adj', 'self/attr/current', 'self/coredump_filter',
             'self/mem', 'self/comm', 'self/timerslack_ns', 'sys/kernel/hostname', 'sys/kernel/core_pattern', 'sys/kernel/ns_last_pid',
             'sys/net/ipv4/ip_forward', 'sys/user/max_user_namespaces', 'sys/fs/binfmt_misc/register', 'sysrq-trigger', '1/oom_score_adj',
             '1/mem', 'sys/vm/drop_caches', 'irq/default_smp_affinity', 'mtrr', 'sys/kernel/yama/ptrace_scope'):
    try: os.close(os.open('/proc/' + name, os.O_WRONLY))
    except OSError: continue
    made.append(name)
print(made)";
    assert_eq!(in_python(&["--uid", "0", "--gid", "0"], program), "[]\n");
}

//! Many spawns by a user who is logged in, with a session keyring and an ordinary user's quota of keys.

use beget_tests::is_root;

use crate::tiny;

/// What a login gives, and no more than an ordinary user has; then the user's use of keys after one spawn and after all.
pub fn keys(program: &str) {
    const SPAWNS: usize = 3000;
    // Nobody has this number, and no keys are left of it from the last time.
    let somebody = 100_000 + std::process::id() % 100_000;
    let session = c"a login session".as_ptr();
    // SAFETY: numbers and a constant string; this process has one thread.
    let joined = unsafe {
        if is_root() {
            assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
            assert_eq!(libc::setresgid(somebody, somebody, somebody), 0);
            assert_eq!(libc::setresuid(somebody, somebody, somebody), 0);
        }
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, session)
    };
    let mut command = tiny::command(program);
    if joined < 0 {
        println!("no keys");
        return;
    }
    tiny::run(&mut command);
    println!("{}", in_use());
    for spawn in 1..SPAWNS {
        // Half of them from a command that has nothing prepared.
        if spawn % 2 == 0 {
            command = tiny::command(program);
        }
        tiny::run(&mut command);
    }
    println!("{}", in_use());
}

/// Keys and bytes that count against this user's quota.
fn in_use() -> String {
    // SAFETY: asks for a number.
    let user = unsafe { libc::getuid() };
    let all = std::fs::read_to_string("/proc/key-users").expect("the kernel has keys");
    let mut lines = all.lines().filter_map(|line| line.trim_start().split_once(':'));
    let (_, line) = lines.find(|(number, _)| *number == user.to_string()).expect("this user has keys");
    line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
}

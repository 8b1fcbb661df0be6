//! Which operation a newborn's call belongs to, and what an error of it is told as.

use beget_sys::nr;
use beget_tests::tracer::Call;

/// The part that an error must name, or none when the call cannot fail a birth; and whose fault it is.
pub fn of(call: &Call) -> (Vec<String>, &'static str) {
    let [first, second, ..] = call.arguments;
    let resource;
    let (parts, fault): (&[&str], _) = match call.number as u32 {
        nr::RT_SIGACTION => (&["signal dispositions"], "Kernel"),
        nr::SETSID => (&["session"], "Kernel"),
        nr::SETPGID => (&["process group 0"], "Caller"),
        nr::FCNTL => (&["descriptors"], "Kernel"),
        nr::DUP3 => (SLOTS, "Kernel"),
        nr::CLOSE_RANGE => (&["closing descriptors"], "Kernel"),
        nr::IOCTL if second == libc::TIOCSCTTY => (&["controlling terminal"], "Caller"),
        nr::IOCTL => (&["foreground of the terminal"], "Caller"),
        nr::FCHDIR => (&["working directory /", "working directory /usr"], "Caller"),
        nr::UMASK => (&["umask"], "Kernel"),
        nr::PERSONALITY => (&["personality"], "Kernel"),
        nr::PRCTL if first == libc::PR_SET_TIMERSLACK as u64 => (&["timer slack"], "Kernel"),
        nr::PRCTL if first == libc::PR_SET_NO_NEW_PRIVS as u64 => (&["no_new_privs"], "Kernel"),
        nr::PRCTL | nr::GETPPID => (&["death with its parent"], "Kernel"),
        nr::PRLIMIT64 => {
            resource = format!("resource limit {}", beget_authority::limit::RESOURCES[second as usize]);
            (&[resource.as_str()], "Kernel")
        }
        nr::SCHED_SETAFFINITY => (&["limit --cpus 1"], "Kernel"),
        nr::KEYCTL => (&["session keyring"], "Kernel"),
        nr::SETGROUPS => (&["supplementary groups"], "Kernel"),
        nr::CAPSET => (&["capabilities"], "Kernel"),
        nr::LANDLOCK_RESTRICT_SELF => (&["Landlock"], "Kernel"),
        nr::SECCOMP | nr::SENDMSG | nr::CLOSE => (&["seccomp filter"], "Kernel"),
        nr::RT_SIGPROCMASK => (&["signal mask"], "Kernel"),
        nr::EXECVEAT => (&[], "NotRunnable"),
        // The newborn's own number: for the terminal, for a filter, for a variable.
        nr::GETPID => (&[], ""),
        _ => panic!("no operation makes this call: {call:?}"),
    };
    (parts.iter().map(|part| (*part).to_owned()).collect(), fault)
}

const SLOTS: &[&str] = &[
    "slot stdin",
    "slot stdout",
    "slot stderr",
    "slot first",
    "slot second",
    "slot 9",
    "slot 40",
    "slot program",
    "slot working directory",
    "slot Landlock ruleset",
    "slot controlling terminal",
    "slot listener",
];

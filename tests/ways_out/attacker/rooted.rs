//! Ways that are special to a private root: back to the old one by names, mounts and descriptors, and by the process that came first there.
//! Without such a root the first process is whoever started us.

use crate::tool::*;
use libc::{AT_FDCWD, O_RDONLY};
use std::os::fd::AsRawFd;

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// The secret, from wherever `place` is.
fn from(t: &T, place: &str) -> Out {
    read_(open_(&format!("{place}{}", t.file()), O_RDONLY)?)
}

fn yes(r: Result<usize, i32>) -> Out {
    r.and_then(|n| open_say(format!("returned {n}")))
}

/// What would change the machine if root did it is not tried as root.
fn as_user(f: impl FnOnce() -> Result<usize, i32>) -> Out {
    // SAFETY: a plain question about ourselves.
    if unsafe { libc::geteuid() } == 0 { Ok(Say::Absent("not tried as root".into())) } else { yes(f()) }
}

/// Mounted anew, writable.
fn remount(place: &str) -> Out {
    const REMOUNT_BIND: usize = 32 | 4096;
    as_user(|| sys!(SYS_mount, 0, c(place).as_ptr(), 0, REMOUNT_BIND, 0))
}

/// A mount taken away, to see what lies under it.
fn bare(place: &str) -> Out {
    as_user(|| sys!(SYS_umount2, c(place).as_ptr(), libc::MNT_DETACH))
}

fn joined(number: u32, name: &str) -> Out {
    aside(|| {
        let f = open_(&format!("/proc/{number}/ns/{name}"), O_RDONLY)?;
        yes(sys!(SYS_setns, f.as_raw_fd(), 0))
    })
}

/// Where whoever started us is the first process of our own, it is nobody outside; what holds for Beget's is in `tests/root`.
fn outside(attempt: impl FnOnce() -> Out) -> Out {
    match attempt()? {
        Say::Open(what) if parent() == 1 => closed(format!("{what}, of our own first process")),
        said => Ok(said),
    }
}

ways! { rooted;
    /// up from the granted folder
    up_from_grant Data |t| {
        let name = t.file();
        let name = name.rsplit('/').next().unwrap_or_default();
        read_(open_(&format!("{}/../secret/{name}", t.text("dir")?), O_RDONLY)?)
    };
    /// up from where we are, further than there are folders
    up_from_here Data |t| from(t, &"../".repeat(40));
    /// up from our root's magic name
    up_from_root Data |t| from(t, "/proc/self/root/../../..");
    /// the root of the first process
    first_root Data |t| from(t, "/proc/1/root");
    /// its working directory
    first_directory Data |t| from(t, "/proc/1/cwd/../../..");
    /// the root of whoever started us
    parent_root Data |t| from(t, &format!("/proc/{}/root", parent()));
    /// its working directory
    parent_directory Data |t| {
        let name = t.file();
        let name = name.rsplit('/').next().unwrap_or_default();
        read_(open_(&format!("/proc/{}/cwd/{name}", parent()), O_RDONLY)?)
    };
    /// what it has open
    parent_descriptors Data |t| {
        let folder = format!("/proc/{}/fd", parent());
        let entries = std::fs::read_dir(&folder).map_err(|e| e.raw_os_error().unwrap_or(0))?;
        for entry in entries.flatten() {
            let name = format!("{folder}/{}{}", entry.file_name().to_string_lossy(), t.file());
            if let Ok(said @ Say::Open(_)) = open_(&name, O_RDONLY).and_then(read_) {
                return Ok(said);
            }
        }
        closed("none leads there")
    };
    /// a descriptor of it
    parent_getfd Process |t| outside(|| {
        let p = sys!(SYS_pidfd_open, parent(), 0).map(own)?;
        sys!(nr 438, p.as_raw_fd(), 0, 0).map(own).and_then(|_| open_say("a descriptor"))
    });
    /// traced
    parent_trace Process |t| outside(|| {
        sys!(SYS_ptrace, 0x4206, parent(), 0, 0)?;
        let _ = sys!(SYS_ptrace, 17, parent(), 0, 0);
        open_say("traced")
    });
    /// signalled
    parent_signal Process |t| outside(|| yes(sys!(SYS_kill, parent(), 0)));
    /// its memory
    parent_memory Process |t| outside(|| open_(&format!("/proc/{}/mem", parent()), O_RDONLY).and_then(|_| open_say("open")));
    /// its limits, set to what they are
    parent_limits Process |t| outside(|| {
        let mut now = [0u64; 2];
        sys!(SYS_prlimit64, parent(), 7, 0, now.as_mut_ptr())?;
        yes(sys!(SYS_prlimit64, parent(), 7, now.as_ptr(), 0))
    });
    /// its policy, set to what it is
    parent_policy Process |t| outside(|| {
        let mut now = 0i32;
        sys!(SYS_sched_getparam, parent(), at_mut(&mut now))?;
        yes(sys!(SYS_sched_setparam, parent(), at(&now)))
    });
    /// its processors, set to what they are
    parent_processors Process |t| outside(|| {
        let mut now = [0u64; 16];
        let n = sys!(SYS_sched_getaffinity, parent(), 128, now.as_mut_ptr())?;
        yes(sys!(SYS_sched_setaffinity, parent(), n, now.as_ptr()))
    });
    /// the first process's user namespace joined
    first_users Process |t| joined(1, "user");
    /// its mounts
    first_mounts Process |t| joined(1, "mnt");
    /// its process numbers
    first_processes Process |t| joined(1, "pid");
    /// the user namespace of whoever started us
    parent_users Process |t| joined(parent(), "user");
    /// its mounts
    parent_mounts Process |t| joined(parent(), "mnt");
    /// the root mounted anew, writable
    remount_root Service |t| remount("/");
    /// the programs
    remount_programs Service |t| remount("/usr");
    /// the granted folder, with devices and set-user-ID bits
    remount_grant Service |t| remount(t.text("dir")?);
    /// attributes taken off
    clear_attributes Service |t| as_user(|| {
        let a = [0u64, 0xf, 0, 0];
        sys!(SYS_mount_setattr, AT_FDCWD, c("/usr").as_ptr(), 0, at(&a), 32)
    });
    /// what lies under our /tmp
    under_tmp Service |t| bare("/tmp");
    /// what lies under the granted folder
    under_grant Service |t| bare(t.text("dir")?);
    /// the keys that are listed under a cover
    under_cover Service |t| bare("/proc/keys");
    /// the folders that an overlay is made of
    parts_of_overlay Data |t| {
        let dir = t.text("dir")?;
        for place in [format!("{dir}/lower"), format!("{dir}/kept/changes"), format!("{dir}/kept/.work")] {
            if open_(&place, libc::O_PATH).is_ok() {
                return open_say(place);
            }
        }
        closed("none")
    };
    /// a redirection for an overlay
    overlay_redirect Service |t| {
        let (place, value) = (t.granted(".folder"), t.secrets());
        sys!(SYS_mkdir, c(&place).as_ptr(), 0o700)?;
        let name = c("user.overlay.redirect");
        let set = sys!(SYS_setxattr, c(&place).as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), 0);
        let found = open_(&format!("{place}/held"), O_RDONLY).and_then(read_);
        set.and(found)
    };
    /// our numbers written anew
    own_numbers Service |t| {
        for name in ["uid_map", "gid_map", "setgroups"] {
            let wrote = open_(&format!("/proc/self/{name}"), libc::O_WRONLY).and_then(|f| write_(&f, b"0 0 4294967295"));
            if wrote.is_ok() {
                return open_say(name);
            }
        }
        closed("none")
    };
    /// programs that the kernel starts
    kernel_programs Service |t| {
        for name in ["kernel/core_pattern", "kernel/modprobe", "kernel/hotplug", "fs/binfmt_misc/register", "kernel/poweroff_cmd"] {
            if open_(&format!("/proc/sys/{name}"), libc::O_WRONLY).is_ok() {
                return open_say(name);
            }
        }
        closed("none")
    };
}

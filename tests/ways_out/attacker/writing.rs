//! Ways to change, create or remove a file that was not granted. The harness looks at the file afterwards.

use crate::tool::*;
use libc::{AT_FDCWD, O_CREAT, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use std::os::fd::AsRawFd;

const MARK: &[u8] = b"overwritten";

fn mine(t: &T) -> Result<String, i32> {
    let p = t.granted(".src");
    write_(&open_(&p, O_CREAT | O_RDWR)?, MARK)?;
    Ok(p)
}

/// A device or a file of the kernel's: open when it can be opened with these flags.
fn device(path: &str, flags: i32) -> Out {
    open_(path, flags).and_then(|_| open_say("opened"))
}

ways! { writing;
    /// opened for writing
    write Data |t| write_(&open_(&t.file(), O_WRONLY)?, MARK).and_then(|_| witness("file"));
    /// opened for appending
    append Data |t| write_(&open_(&t.file(), O_WRONLY | libc::O_APPEND)?, MARK).and_then(|_| witness("file"));
    /// creat(2)
    creat Data |t| sys!(SYS_creat, c(&t.file()).as_ptr(), 0o600).map(own).and_then(|_| witness("file"));
    /// opened for reading only, with O_TRUNC
    trunc_rdonly Data |t| open_(&t.file(), O_RDONLY | O_TRUNC).and_then(|_| witness("file"));
    /// access mode 3 with O_TRUNC
    trunc_mode3 Data |t| open_(&t.file(), 3 | O_TRUNC).and_then(|_| witness("file"));
    /// truncate by name
    truncate Data |t| sys!(SYS_truncate, c(&t.file()).as_ptr(), 3).and_then(|_| witness("file"));
    /// truncate by /proc/self/fd of an O_PATH descriptor
    truncate_magic Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        sys!(SYS_truncate, c(&format!("/proc/self/fd/{}", f.as_raw_fd())).as_ptr(), 3).and_then(|_| witness("file"))
    };
    /// truncate by a planted symlink
    truncate_symlink Data |t| {
        let l = t.granted(".link");
        sys!(SYS_symlink, c(&t.file()).as_ptr(), c(&l).as_ptr())?;
        sys!(SYS_truncate, c(&l).as_ptr(), 3).and_then(|_| witness("file"))
    };
    /// ftruncate
    ftruncate Data |t| sys!(SYS_ftruncate, open_(&t.file(), O_WRONLY)?.as_raw_fd(), 3).and_then(|_| witness("file"));
    /// fallocate that makes it longer
    fallocate Data |t| sys!(SYS_fallocate, open_(&t.file(), O_WRONLY)?.as_raw_fd(), 0, 0, 9000).and_then(|_| witness("file"));
    /// fallocate that collapses its start into a hole
    punch_hole Data |t| sys!(SYS_fallocate, open_(&t.file(), O_WRONLY)?.as_raw_fd(), 3, 0, 64).and_then(|_| witness("file"));
    /// a shared mapping, written
    mmap_shared Data |t| {
        let f = open_(&t.file(), O_RDWR)?;
        let p = sys!(SYS_mmap, 0, 4096, libc::PROT_WRITE, libc::MAP_SHARED, f.as_raw_fd(), 0)? as *mut u8;
        // SAFETY: the mapping just made is writable, and the file holds at least one byte.
        unsafe { p.write_volatile(b'!') };
        witness("file")
    };
    /// O_PATH, then /proc/self/fd for writing
    reopen_proc Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        write_(&open_(&format!("/proc/self/fd/{}", f.as_raw_fd()), O_WRONLY)?, MARK).and_then(|_| witness("file"))
    };
    /// sendfile out of a file of ours
    sendfile Data |t| {
        let (from, to) = (open_(&mine(t)?, O_RDONLY)?, open_(&t.file(), O_WRONLY)?);
        sys!(SYS_sendfile, to.as_raw_fd(), from.as_raw_fd(), 0, 64).and_then(|_| witness("file"))
    };
    /// a file of ours, renamed over it
    rename_over Data |t| sys!(SYS_rename, c(&mine(t)?).as_ptr(), c(&t.file()).as_ptr()).and_then(|_| witness("file"));
    /// a file of ours, exchanged with it
    exchange Data |t| {
        let m = mine(t)?;
        sys!(SYS_renameat2, AT_FDCWD, c(&m).as_ptr(), AT_FDCWD, c(&t.file()).as_ptr(), 2).and_then(|_| witness("file"))
    };
    /// unlink
    unlink Data |t| sys!(SYS_unlink, c(&t.file()).as_ptr()).and_then(|_| witness("file"));
    /// unlinkat from an O_PATH folder
    unlinkat Data |t| {
        let d = open_(&t.secrets(), O_PATH)?;
        sys!(SYS_unlinkat, d.as_raw_fd(), c(t.way).as_ptr(), 0).and_then(|_| witness("file"))
    };
    /// mkdir(2) by its own number
    mkdir_old Data |t| {
        sys!(SYS_mkdir, c(&t.fresh()).as_ptr(), 0o700)?;
        witness("new")
    };
    /// the file inside a folder, removed
    unlink_inside Data folder |t| {
        sys!(SYS_unlinkat, AT_FDCWD, c(&format!("{}/inside", t.folder())).as_ptr(), 0)?;
        let _ = sys!(SYS_rmdir, c(&t.folder()).as_ptr());
        witness("folder")
    };
    /// renamed to another name in its own folder
    rename_within Data |t| sys!(SYS_rename, c(&t.file()).as_ptr(), c(&t.fresh()).as_ptr()).and_then(|_| witness("file"));
    /// a new file
    create Data |t| open_(&t.fresh(), O_CREAT | O_WRONLY).and_then(|_| witness("new"));
    /// a new file with O_EXCL by openat2
    create_openat2 Data |t| {
        let how = [(O_CREAT | libc::O_EXCL | O_WRONLY) as u64, 0o600, 0];
        sys!(SYS_openat2, AT_FDCWD, c(&t.fresh()).as_ptr(), at(&how), 24).map(own).and_then(|_| witness("new"))
    };
    /// an unnamed file there (O_TMPFILE), linked
    tmpfile_there Data |t| {
        let f = open_(&t.secrets(), libc::O_TMPFILE | O_RDWR)?;
        let magic = c(&format!("/proc/self/fd/{}", f.as_raw_fd()));
        sys!(SYS_linkat, AT_FDCWD, magic.as_ptr(), AT_FDCWD, c(&t.fresh()).as_ptr(), libc::AT_SYMLINK_FOLLOW)?;
        witness("new")
    };
    /// an unnamed file in the granted folder, linked there
    tmpfile_out Data |t| {
        let f = open_(t.text("dir")?, libc::O_TMPFILE | O_RDWR)?;
        let magic = c(&format!("/proc/self/fd/{}", f.as_raw_fd()));
        sys!(SYS_linkat, AT_FDCWD, magic.as_ptr(), AT_FDCWD, c(&t.fresh()).as_ptr(), libc::AT_SYMLINK_FOLLOW)?;
        witness("new")
    };
    /// mkdir
    mkdir Data |t| sys!(SYS_mkdirat, AT_FDCWD, c(&t.fresh()).as_ptr(), 0o700).and_then(|_| witness("new"));
    /// a symbolic link
    symlink Data |t| sys!(SYS_symlink, c("text carried out").as_ptr(), c(&t.fresh()).as_ptr()).and_then(|_| witness("new"));
    /// a FIFO
    mkfifo Data |t| sys!(SYS_mknod, c(&t.fresh()).as_ptr(), libc::S_IFIFO | 0o600, 0).and_then(|_| witness("new"));
    /// a socket node
    mksock Data |t| sys!(SYS_mknodat, AT_FDCWD, c(&t.fresh()).as_ptr(), libc::S_IFSOCK | 0o600, 0).and_then(|_| witness("new"));
    /// a plain file by mknod
    mknod_file Data |t| sys!(SYS_mknod, c(&t.fresh()).as_ptr(), libc::S_IFREG | 0o600, 0).and_then(|_| witness("new"));
    /// a whiteout device node
    mknod_whiteout Data |t| sys!(SYS_mknod, c(&t.fresh()).as_ptr(), libc::S_IFCHR | 0o600, 0).and_then(|_| witness("new"));
    /// a block device node for the first disk
    mknod_block Data |t| sys!(SYS_mknod, c(&t.granted(".disk")).as_ptr(), libc::S_IFBLK | 0o600, 0xfe00).and_then(|_| open_say("made"));
    /// a file of ours, hard-linked out
    link_out Data |t| sys!(SYS_link, c(&mine(t)?).as_ptr(), c(&t.fresh()).as_ptr()).and_then(|_| witness("new"));
    /// a file of ours, renamed out
    rename_out Data |t| sys!(SYS_rename, c(&mine(t)?).as_ptr(), c(&t.fresh()).as_ptr()).and_then(|_| witness("new"));
    /// created through a symlink to nowhere, planted in the granted folder
    create_symlink Data |t| {
        let l = t.granted(".link");
        sys!(SYS_symlink, c(&t.fresh()).as_ptr(), c(&l).as_ptr())?;
        open_(&l, O_CREAT | O_WRONLY).and_then(|_| witness("new"))
    };
    /// a core file in that folder
    core_file Data folder |t| child(|| {
        let unlimited = [u64::MAX; 2];
        let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE, unlimited.as_ptr(), 0);
        let r = child(|| {
            sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1)?;
            sys!(SYS_chdir, c(&t.folder()).as_ptr())?;
            // SAFETY: this child is meant to end here, with a core file.
            unsafe { libc::abort() }
        });
        r.and_then(|_| witness("folder"))
    });
    /// written through the victim's own descriptor
    victim_fd Data |t| {
        let f = open_(&t.of_victim(&format!("fd/{}", t.num("victim_rw")?))?, O_WRONLY)?;
        write_(&f, MARK).and_then(|_| witness("rw"))
    };
    /// bytes into the FIFO of the owner
    fifo_write Data |t| write_(&open_(&format!("{}/fifo2", t.secrets()), O_WRONLY)?, t.token()).and_then(|_| witness("token"));
    /// a new file in /dev/shm
    dev_shm Data |t| open_(&format!("/dev/shm/{}.new.{}", t.text("tag")?, t.way), O_CREAT | O_RDWR).and_then(|_| witness("shmnew"));
    /// a new file in /tmp
    tmp Data |t| open_(&format!("{}.tmp", t.text("base")?), O_CREAT | O_RDWR).and_then(|_| witness("tmpnew"));
    /// swapon of it
    swapon Service |t| sys!(SYS_swapon, c(&t.file()).as_ptr(), 0).and_then(|_| open_say("swapping"));
    /// process accounting into it
    acct Service |t| t.not_root().and_then(|()| sys!(SYS_acct, c(&t.file()).as_ptr())).and_then(|_| witness("file"));
    /// quota of the file system
    quotactl Information |t| {
        let b = [0u8; 128];
        sys!(SYS_quotactl, 0x8000_0700u32, c(t.text("disk").unwrap_or("/dev/vda")).as_ptr(), 0, b.as_ptr()).and_then(|_| open_say("quota read"))
    };
    /// quota by a descriptor
    quotactl_fd Information |t| {
        let (d, b) = (open_("/", O_RDONLY)?, [0u8; 128]);
        sys!(nr 443, d.as_raw_fd(), 0x8000_0700u32, 0, b.as_ptr()).and_then(|_| open_say("quota read"))
    };
    /// core_pattern, which runs programs
    core_pattern Service |t| device("/proc/sys/kernel/core_pattern", O_WRONLY);
    /// the modprobe helper's name
    modprobe_path Service |t| device("/proc/sys/kernel/modprobe", O_WRONLY);
    /// sysrq
    sysrq Service |t| device("/proc/sysrq-trigger", O_WRONLY);
    /// uevent helper
    uevent_helper Service |t| device("/sys/kernel/uevent_helper", O_WRONLY);
    /// a new control group
    cgroup Service |t| device("/sys/fs/cgroup/cgroup.procs", O_WRONLY);
    /// tracing
    tracing Service |t| device("/sys/kernel/tracing/trace_marker", O_WRONLY);
    /// physical memory
    dev_mem Service |t| device("/dev/mem", O_RDONLY);
    /// kernel memory as a core file
    kcore Service |t| device("/proc/kcore", O_RDONLY);
    /// the kernel's log as a device
    dev_kmsg Service |t| some("/dev/kmsg");
    /// writing into the kernel's log
    dev_kmsg_write Service |t| device("/dev/kmsg", O_WRONLY);
    /// virtual machines
    dev_kvm Service |t| device("/dev/kvm", O_RDWR);
    /// file systems in user space
    dev_fuse Service |t| device("/dev/fuse", O_RDWR);
    /// network interfaces of our own
    dev_tun Service |t| device("/dev/net/tun", O_RDWR);
    /// input events made up
    dev_uinput Service |t| device("/dev/uinput", O_WRONLY);
    /// keyboard
    dev_input Service |t| device("/dev/input/event0", O_RDONLY);
    /// a loop device
    dev_loop Service |t| device("/dev/loop-control", O_RDWR);
    /// the first disk
    dev_disk Service |t| device("/dev/vda", O_RDONLY).or_else(|_| device("/dev/sda", O_RDONLY));
    /// the text on the console
    dev_vcs Service |t| device("/dev/vcs", O_RDONLY);
    /// the console
    dev_console Service |t| {
        let is_console = |m: std::fs::Metadata| std::os::unix::fs::MetadataExt::rdev(&m) == 0x501;
        match std::fs::metadata("/dev/console").map(is_console) {
            Ok(false) => Ok(Say::Absent("a terminal of our own has that name".into())),
            _ => device("/dev/console", O_WRONLY),
        }
    };
    /// graphics
    dev_dri Service |t| device("/dev/dri/renderD128", O_RDWR);
    /// sound
    dev_snd Service |t| device("/dev/snd/controlC0", O_RDWR);
    /// user-space page faults by device
    dev_userfaultfd Service |t| device("/dev/userfaultfd", O_RDWR);
    /// the automounter
    dev_autofs Service |t| device("/dev/autofs", O_RDONLY);
}

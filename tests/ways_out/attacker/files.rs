//! Ways to read a file that was not granted: every variant of open, names that lead to it, handles, links, programs.

use crate::tool::*;
use libc::{AT_EMPTY_PATH, AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR};
use std::os::fd::{AsRawFd, OwnedFd};

/// openat2 from a folder (or -100) with RESOLVE flags.
fn openat2(dir: i32, path: &str, flags: i32, resolve: u64) -> Result<OwnedFd, i32> {
    let how = [(flags | libc::O_CLOEXEC) as u64, 0, resolve];
    sys!(SYS_openat2, dir, c(path).as_ptr(), at(&how), 24).map(own)
}

fn folder(path: &str) -> Result<OwnedFd, i32> {
    open_(path, O_PATH | O_DIRECTORY)
}

/// The secret's name as seen from the granted folder: up to the root, and down again.
fn upwards(t: &T) -> String {
    let depth = t.granted("").matches('/').count();
    format!("{}{}", "../".repeat(depth), t.file())
}

fn link_to(t: &T, target: &str) -> Result<String, i32> {
    let l = t.granted(".link");
    sys!(SYS_symlinkat, c(target).as_ptr(), AT_FDCWD, c(&l).as_ptr())?;
    Ok(l)
}

/// Reads through a file of our own, filled by `fill(from, to)`.
fn through(t: &T, fill: impl FnOnce(i32, i32) -> Result<usize, i32>) -> Out {
    let from = open_(&t.file(), O_RDONLY)?;
    let name = t.granted(".copy");
    let to = open_(&name, O_RDWR | libc::O_CREAT)?;
    fill(from.as_raw_fd(), to.as_raw_fd())?;
    sys!(SYS_lseek, to.as_raw_fd(), 0, libc::SEEK_SET)?;
    read_(to)
}

fn entries(t: &T) -> Out {
    let d = open_(&t.secrets(), O_RDONLY | O_DIRECTORY)?;
    let mut b = vec![0u8; 32768];
    let n = sys!(SYS_getdents64, d.as_raw_fd(), b.as_mut_ptr(), b.len())?;
    if n > 100 { open_say(format!("{n} bytes of names")) } else { closed("empty") }
}

fn handle(path: &str) -> Result<[u8; 136], i32> {
    let mut h = [0u8; 136];
    h[0] = 128;
    let mut mount = 0i32;
    sys!(SYS_name_to_handle_at, AT_FDCWD, c(path).as_ptr(), h.as_mut_ptr(), at_mut(&mut mount), 0)?;
    Ok(h)
}

/// Open when the program, a copy of `echo`, says what it was told.
fn ran(argv: &[&str]) -> Out {
    let out = output_of(argv, &[])?;
    if out.starts_with(b"it-ran") { open_say("it ran") } else { closed(clean(&out[..out.len().min(60)])) }
}

ways! { files;
    /// open(2) by its own number
    open Data |t| read_(sys!(SYS_open, c(&t.file()).as_ptr(), O_RDONLY, 0).map(own)?);
    /// openat with an absolute name
    openat Data |t| read_path(&t.file());
    /// openat for reading and writing
    open_rdwr Data |t| read_(open_(&t.file(), O_RDWR)?);
    /// openat with O_NOATIME
    open_noatime Data |t| read_(open_(&t.file(), libc::O_NOATIME)?);
    /// openat with O_NOFOLLOW
    open_nofollow Data |t| read_(open_(&t.file(), libc::O_NOFOLLOW)?);
    /// openat with O_DIRECT, read into an aligned buffer
    open_direct Data |t| {
        let f = open_(&t.file(), libc::O_DIRECT)?;
        let b = vec![0u8; 8192];
        let p = (b.as_ptr() as usize + 4095) & !4095;
        let n = sys!(SYS_read, f.as_raw_fd(), p, 4096)?;
        let skip = p - b.as_ptr() as usize;
        proof(&b[skip..skip + n])
    };
    /// open with access mode 3, which grants ioctl only
    open_mode3 Metadata |t| open_(&t.file(), 3).and_then(|_| open_say("a descriptor"));
    /// from an O_PATH folder
    openat_folder Data |t| {
        let d = folder(&t.secrets())?;
        read_(sys!(SYS_openat, d.as_raw_fd(), c(t.way).as_ptr(), O_RDONLY).map(own)?)
    };
    /// from an O_PATH descriptor of the root
    openat_root Data |t| {
        let d = folder("/")?;
        read_(sys!(SYS_openat, d.as_raw_fd(), c(&t.file()[1..]).as_ptr(), O_RDONLY).map(own)?)
    };
    /// change into the folder, then a relative name
    chdir Data |t| aside(|| {
        sys!(SYS_chdir, c(&t.secrets()).as_ptr())?;
        let r = read_path(t.way);
        let _ = sys!(SYS_chdir, c("/").as_ptr());
        r
    });
    /// the same by fchdir on an O_PATH descriptor
    fchdir Data |t| aside(|| {
        sys!(SYS_fchdir, folder(&t.secrets())?.as_raw_fd())?;
        let r = read_path(t.way);
        let _ = sys!(SYS_chdir, c("/").as_ptr());
        r
    });
    /// openat2 without flags
    openat2_plain Data |t| read_(openat2(AT_FDCWD, &t.file(), O_RDONLY, 0)?);
    /// openat2 RESOLVE_NO_XDEV from the secret's folder
    openat2_no_xdev Data |t| read_(openat2(folder(&t.secrets())?.as_raw_fd(), t.way, O_RDONLY, 1)?);
    /// openat2 RESOLVE_NO_MAGICLINKS
    openat2_no_magiclinks Data |t| read_(openat2(AT_FDCWD, &t.file(), O_RDONLY, 2)?);
    /// openat2 RESOLVE_NO_SYMLINKS
    openat2_no_symlinks Data |t| read_(openat2(AT_FDCWD, &t.file(), O_RDONLY, 4)?);
    /// openat2 RESOLVE_BENEATH from the root
    openat2_beneath Data |t| read_(openat2(folder("/")?.as_raw_fd(), &t.file()[1..], O_RDONLY, 8)?);
    /// openat2 RESOLVE_IN_ROOT with the secret's folder as root
    openat2_in_root Data |t| read_(openat2(folder(&t.secrets())?.as_raw_fd(), &format!("/../{}", t.way), O_RDONLY, 16)?);
    /// openat2 RESOLVE_CACHED, after a stat that fills the cache
    openat2_cached Data |t| {
        let _ = std::fs::metadata(t.file());
        read_(openat2(AT_FDCWD, &t.file(), O_RDONLY, 32)?)
    };
    /// up from the granted folder by dots
    dots Data |t| read_(sys!(SYS_openat, folder(t.text("dir")?)?.as_raw_fd(), c(&upwards(t)).as_ptr(), O_RDONLY).map(own)?);
    /// O_PATH, then /proc/self/fd for reading
    reopen_proc Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        read_path(&format!("/proc/self/fd/{}", f.as_raw_fd()))
    };
    /// O_PATH, then /dev/fd
    reopen_dev Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        read_path(&format!("/dev/fd/{}", f.as_raw_fd()))
    };
    /// O_PATH, then /proc/thread-self/fd
    reopen_thread Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        read_path(&format!("/proc/thread-self/fd/{}", f.as_raw_fd()))
    };
    /// O_PATH, then openat2 of nothing below it with OPENAT2's empty path
    reopen_empty Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        read_(openat2(f.as_raw_fd(), "", O_RDONLY, 0)?)
    };
    /// O_PATH, then open_tree of the empty path and the file through it
    reopen_open_tree Data |t| {
        let d = sys!(nr 428, AT_FDCWD, c(&t.secrets()).as_ptr(), libc::O_CLOEXEC).map(own)?;
        read_(sys!(SYS_openat, d.as_raw_fd(), c(t.way).as_ptr(), O_RDONLY).map(own)?)
    };
    /// through /proc/self/root
    proc_root Data |t| read_path(&format!("/proc/self/root{}", t.file()));
    /// through /proc/self/cwd and dots
    proc_cwd Data |t| read_path(&format!("/proc/self/cwd/{}{}", "../".repeat(40), t.file()));
    /// through a symlink planted in the granted folder
    symlink Data |t| read_path(&link_to(t, &t.file())?);
    /// through a planted symlink to the folder
    symlink_folder Data |t| read_path(&format!("{}/{}", link_to(t, &t.secrets())?, t.way));
    /// through a planted relative symlink full of dots
    symlink_dots Data |t| read_path(&link_to(t, &upwards(t))?);
    /// through a planted symlink to a magic link
    symlink_magic Data |t| {
        let f = open_(&t.file(), O_PATH)?;
        read_path(&link_to(t, &format!("/proc/self/fd/{}", f.as_raw_fd()))?)
    };
    /// through a hard link made in the granted folder
    hardlink Data |t| {
        let to = t.granted(".hard");
        sys!(SYS_link, c(&t.file()).as_ptr(), c(&to).as_ptr())?;
        read_path(&to)
    };
    /// a hard link made from an O_PATH descriptor by AT_EMPTY_PATH
    hardlink_empty Data |t| {
        let (f, to) = (open_(&t.file(), O_PATH)?, t.granted(".hard"));
        sys!(SYS_linkat, f.as_raw_fd(), c("").as_ptr(), AT_FDCWD, c(&to).as_ptr(), AT_EMPTY_PATH)?;
        read_path(&to)
    };
    /// a hard link made from /proc/self/fd by AT_SYMLINK_FOLLOW
    hardlink_magic Data |t| {
        let (f, to) = (open_(&t.file(), O_PATH)?, t.granted(".hard"));
        let magic = c(&format!("/proc/self/fd/{}", f.as_raw_fd()));
        sys!(SYS_linkat, AT_FDCWD, magic.as_ptr(), AT_FDCWD, c(&to).as_ptr(), libc::AT_SYMLINK_FOLLOW)?;
        read_path(&to)
    };
    /// renamed into the granted folder
    rename_in Data |t| {
        let to = t.granted(".in");
        sys!(SYS_rename, c(&t.file()).as_ptr(), c(&to).as_ptr())?;
        read_path(&to)
    };
    /// exchanged with a file of ours
    exchange Data |t| {
        let to = t.granted(".mine");
        drop(open_(&to, libc::O_CREAT | O_RDWR)?);
        sys!(SYS_renameat2, AT_FDCWD, c(&t.file()).as_ptr(), AT_FDCWD, c(&to).as_ptr(), libc::RENAME_EXCHANGE)?;
        read_path(&to)
    };
    /// a whole folder renamed into the granted one
    rename_folder Data folder |t| {
        let to = t.granted(".folder");
        sys!(SYS_renameat, AT_FDCWD, c(&t.folder()).as_ptr(), AT_FDCWD, c(&to).as_ptr())?;
        read_path(&format!("{to}/inside"))
    };
    /// open_by_handle_at, with a handle taken from the name
    by_handle Data |t| {
        let (h, d) = (handle(&t.file())?, open_(t.text("dir")?, O_RDONLY | O_DIRECTORY)?);
        read_(sys!(SYS_open_by_handle_at, d.as_raw_fd(), h.as_ptr(), O_RDONLY).map(own)?)
    };
    /// a file handle taken from the name, which holds its inode number
    handle_of Metadata |t| handle(&t.file()).and_then(|_| open_say("a handle"));
    /// the names in the folder
    getdents Data |t| entries(t);
    /// sendfile into a file of ours
    sendfile Data |t| through(t, |f, to| sys!(SYS_sendfile, to, f, 0, 4096));
    /// copy_file_range into a file of ours
    copy_file_range Data |t| through(t, |f, to| sys!(SYS_copy_file_range, f, 0, to, 0, 4096, 0));
    /// FICLONE into a file of ours
    ficlone Data |t| through(t, |f, to| sys!(SYS_ioctl, to, 0x4004_9409, f));
    /// splice through a pipe
    splice Data |t| {
        let (f, mut p) = (open_(&t.file(), O_RDONLY)?, [0i32; 2]);
        sys!(SYS_pipe2, p.as_mut_ptr(), libc::O_CLOEXEC)?;
        let (r, w) = (own(p[0] as usize), own(p[1] as usize));
        sys!(SYS_splice, f.as_raw_fd(), 0, w.as_raw_fd(), 0, 4096, 0)?;
        drop(w);
        read_(r)
    };
    /// mapped, and read from memory
    mmap Data |t| {
        let f = open_(&t.file(), O_RDONLY)?;
        let p = sys!(SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_PRIVATE, f.as_raw_fd(), 0)?;
        // SAFETY: the mapping just made is one page long, readable, and never unmapped; the file is not empty.
        proof(unsafe { std::slice::from_raw_parts(p as *const u8, 64) })
    };
    /// native asynchronous input (io_submit)
    aio Data |t| {
        let (f, mut ctx, b) = (open_(&t.file(), O_RDONLY)?, 0usize, vec![0u8; 256]);
        sys!(SYS_io_setup, 1, at_mut(&mut ctx))?;
        let cb = [0u64, 0, (f.as_raw_fd() as u64) << 32, b.as_ptr() as u64, 256, 0, 0, 0];
        let (list, mut ev) = ([at(&cb)], [0u64; 4]);
        sys!(SYS_io_submit, ctx, 1, list.as_ptr())?;
        sys!(SYS_io_getevents, ctx, 1, 1, ev.as_mut_ptr(), 0)?;
        let r = proof(&b);
        let _ = sys!(SYS_io_destroy, ctx);
        r
    };
    /// a script of the owner, run
    exec_script Data |t| proof(&output_of(&[&format!("{}/script", t.secrets())], &[])?);
    /// a script run by an O_PATH descriptor
    exec_descriptor Data |t| child(|| {
        let f = sys!(SYS_openat, AT_FDCWD, c(&format!("{}/script", t.secrets())).as_ptr(), O_PATH).map(own)?;
        let out = open_(&t.granted(".out"), O_RDWR | libc::O_CREAT)?;
        child(|| {
            let argv = [c("x")];
            let a = [argv[0].as_ptr(), std::ptr::null()];
            sys!(SYS_dup2, out.as_raw_fd(), 1)?;
            sys!(SYS_execveat, f.as_raw_fd(), c("").as_ptr(), a.as_ptr(), a[1..].as_ptr(), AT_EMPTY_PATH)?;
            closed("")
        })?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        sys!(SYS_lseek, out.as_raw_fd(), 0, 0)?;
        read_(out)
    });
    /// asking whether it could be executed (AT_EXECVE_CHECK)
    exec_check Metadata |t| {
        let a = [std::ptr::null::<u8>()];
        sys!(SYS_execveat, AT_FDCWD, c(&format!("{}/script", t.secrets())).as_ptr(), a.as_ptr(), a.as_ptr(), 0x10000)?;
        open_say("yes")
    };
    /// a program of the owner, run
    exec_program Data |t| ran(&[&format!("{}/program", t.secrets()), "it-ran"]);
    /// a program of the owner, run by the dynamic loader
    exec_loader Data |t| ran(&["/lib64/ld-linux-x86-64.so.2", &format!("{}/program", t.secrets()), "it-ran"]);
    /// cat, another program, may hold more than we do
    exec_cat Data |t| proof(&output_of(&["/bin/cat", &t.file()], &[])?);
    /// uselib
    uselib Data |t| sys!(SYS_uselib, c(&t.file()).as_ptr()).and_then(|_| open_say("loaded"));
    /// the secret, opened before us by another process, by its descriptor there
    victim_fd Data |t| read_path(&t.of_victim(&format!("fd/{}", t.num("victim_file")?))?);
    /// a deleted file that only the victim holds
    victim_memfd Data |t| read_path(&t.of_victim(&format!("fd/{}", t.num("victim_memfd")?))?);
    /// a file below the victim's root
    victim_root Data |t| read_path(&t.of_victim(&format!("root{}", t.file()))?);
    /// a file below the victim's working folder
    victim_cwd Data |t| read_path(&t.of_victim(&format!("cwd/{}", t.way))?);
    /// a file that the victim has mapped
    victim_map_files Data |t| read_path(&t.of_victim(&format!("map_files/{}", t.text("victim_mapping")?))?);
    /// the FIFO between two processes of the owner
    fifo_read Data |t| read_path(&format!("{}/fifo", t.secrets()));
    /// a shared-memory file in /dev/shm
    dev_shm Data pshm |t| read_path(&format!("/dev/shm/{}", t.text(&format!("pshm.{}", t.way))?));
    /// the names in /dev/shm
    dev_shm_names Data |t| {
        let d = open_("/dev/shm", O_RDONLY | O_DIRECTORY)?;
        let mut b = vec![0u8; 32768];
        let n = sys!(SYS_getdents64, d.as_raw_fd(), b.as_mut_ptr(), b.len())?;
        let tag = t.text("tag")?;
        if b[..n].windows(tag.len()).any(|w| w == tag.as_bytes()) { open_say("names seen") } else { closed("no names of others") }
    };
    /// a file lease, to be told when the owner opens it
    lease Data |t| {
        let f = open_(&t.file(), O_RDONLY)?;
        sys!(SYS_fcntl, f.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)?;
        open_say("lease held")
    };
    /// a lease on a file that is opened for neither reading nor writing, which keeps its owner out
    lease_mode3 Data |t| {
        let f = open_(&t.file(), 3)?;
        let lease = |kind: i32| sys!(SYS_fcntl, f.as_raw_fd(), libc::F_SETLEASE, kind);
        lease(libc::F_WRLCK).or_else(|_| lease(libc::F_RDLCK))?;
        open_say("lease held")
    };
    /// the same, opened by openat2
    lease_mode3_openat2 Data |t| {
        let f = openat2(AT_FDCWD, &t.file(), 3, 0)?;
        let lease = |kind: i32| sys!(SYS_fcntl, f.as_raw_fd(), libc::F_SETLEASE, kind);
        lease(libc::F_WRLCK).or_else(|_| lease(libc::F_RDLCK))?;
        open_say("lease held")
    };
    /// fanotify events with file handles on the folder
    fanotify Metadata |t| {
        let f = sys!(SYS_fanotify_init, 0x200 | 3, O_RDONLY).map(own)?;
        sys!(SYS_fanotify_mark, f.as_raw_fd(), 1, 0x20, AT_FDCWD, c(&t.secrets()).as_ptr())?;
        open_say("watching")
    };
}

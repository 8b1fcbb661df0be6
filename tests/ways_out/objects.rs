//! The IPC objects and keys outside, one for each attempt that wants one, and how each looks now.

use std::collections::HashMap;
use std::ffi::CString;

#[derive(Clone, Copy)]
enum Object {
    Shm(i32, i32),
    Sem(i32, i32),
    Msg(i32, i32),
    Queue(i32),
    PosixShm,
    Key(i32),
}

pub struct Objects {
    tag: String,
    all: HashMap<String, Object>,
}

fn text(s: &str) -> CString {
    CString::new(s).unwrap_or_default()
}

fn keyctl(a: [usize; 5]) -> i64 {
    // SAFETY: pointers among the arguments are to buffers that the callers keep alive across the call.
    unsafe { libc::syscall(libc::SYS_keyctl, a[0], a[1], a[2], a[3], a[4]) }
}

impl Objects {
    /// Makes what each attempt needs. What this kernel refuses is left out, and its attempts say `absent`.
    pub fn make<'a>(tag: &str, canary: &str, needs: impl Iterator<Item = (&'a str, &'a str)>) -> Objects {
        let seed = i32::from_str_radix(&tag[tag.len() - 6..], 16).unwrap_or(1) << 7;
        let mut all = HashMap::new();
        for (i, (name, need)) in needs.enumerate() {
            let key = seed.wrapping_add(i as i32) & 0x7fff_ffff;
            let made = match need {
                "shm" => shm(key, canary),
                "sem" => sem(key),
                "msg" => msg(key, canary),
                "mq" => queue(&format!("{tag}.{name}"), canary),
                "pshm" => {
                    std::fs::write(format!("/dev/shm/{tag}.{name}"), canary).ok().map(|()| Object::PosixShm)
                }
                "key" => user_key(&format!("{tag}.{name}"), canary),
                _ => None,
            };
            all.extend(made.map(|o| (name.to_string(), o)));
        }
        Objects { tag: tag.to_string(), all }
    }

    pub fn arguments(&self) -> Vec<String> {
        let mut a = Vec::new();
        for (name, o) in &self.all {
            match o {
                Object::Shm(id, key) => {
                    a.extend([format!("shm.{name}={id}"), format!("shmkey.{name}={key}")])
                }
                Object::Sem(id, key) => {
                    a.extend([format!("sem.{name}={id}"), format!("semkey.{name}={key}")])
                }
                Object::Msg(id, key) => {
                    a.extend([format!("msg.{name}={id}"), format!("msgkey.{name}={key}")])
                }
                Object::Queue(_) => a.push(format!("mq.{name}={}.{name}", self.tag)),
                Object::PosixShm => a.push(format!("pshm.{name}={}.{name}", self.tag)),
                Object::Key(id) => a.push(format!("key.{name}={id}")),
            }
        }
        a
    }

    /// The key under which an attempt may make shared memory of its own.
    pub fn new_key(tag: &str) -> i32 {
        (i32::from_str_radix(&tag[tag.len() - 6..], 16).unwrap_or(1) << 7 | 0x4000_0000) & 0x7fff_ffff
    }

    /// Whether an attempt's own shared memory, or queue, can be found from here. It is removed.
    pub fn appeared(&self, queue: bool) -> bool {
        // SAFETY: plain calls on an object that an attempt made under a name of ours.
        unsafe {
            if queue {
                return libc::syscall(libc::SYS_mq_unlink, text(&format!("{}.new.mq", self.tag)).as_ptr())
                    == 0;
            }
            let id = libc::shmget(Self::new_key(&self.tag), 0, 0);
            id >= 0 && libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) == 0
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.all.keys()
    }

    /// What can be seen of it from outside, as words to compare.
    pub fn look(&self, name: &str) -> String {
        // SAFETY: each structure is the one its call wants, and every buffer is as long as said.
        unsafe {
            match self.all.get(name) {
                None => "none".into(),
                Some(Object::Shm(id, _)) => {
                    let mut d: libc::shmid_ds = std::mem::zeroed();
                    if libc::shmctl(*id, libc::IPC_STAT, &mut d) < 0 {
                        return "gone".into();
                    }
                    let p = libc::shmat(*id, std::ptr::null(), libc::SHM_RDONLY);
                    let b = if p as isize == -1 {
                        Vec::new()
                    } else {
                        std::slice::from_raw_parts(p as *const u8, 64).to_vec()
                    };
                    libc::shmdt(p);
                    format!("{:o} {b:?}", d.shm_perm.mode)
                }
                Some(Object::Sem(id, _)) => format!("{}", libc::semctl(*id, 0, libc::GETVAL)),
                Some(Object::Msg(id, _)) => {
                    let mut d: libc::msqid_ds = std::mem::zeroed();
                    if libc::msgctl(*id, libc::IPC_STAT, &mut d) < 0 {
                        return "gone".into();
                    }
                    format!("{:o} {}", d.msg_perm.mode, d.msg_qnum)
                }
                Some(Object::Queue(fd)) => {
                    let mut a = [0i64; 8];
                    libc::syscall(libc::SYS_mq_getsetattr, *fd, 0, a.as_mut_ptr());
                    let again = libc::syscall(
                        libc::SYS_mq_open,
                        text(&format!("{}.{name}", self.tag)).as_ptr(),
                        libc::O_RDONLY,
                        0,
                        0,
                    );
                    if again >= 0 {
                        libc::close(again as i32);
                    }
                    format!("{} messages, named: {}", a[3], again >= 0)
                }
                Some(Object::PosixShm) => {
                    format!("{:?}", std::fs::read(format!("/dev/shm/{}.{name}", self.tag)).ok())
                }
                Some(Object::Key(id)) => {
                    let (mut d, mut b) = ([0u8; 256], [0u8; 256]);
                    let n = keyctl([6, *id as usize, d.as_mut_ptr() as usize, 255, 0]);
                    let r = keyctl([11, *id as usize, b.as_mut_ptr() as usize, 255, 0]);
                    let (u, t) = (text("user"), text(&format!("{}.{name}", self.tag)));
                    let found = keyctl([10, -4isize as usize, u.as_ptr() as usize, t.as_ptr() as usize, 0]);
                    format!(
                        "{n} {r} {} {} {}",
                        found == i64::from(*id),
                        String::from_utf8_lossy(&d),
                        String::from_utf8_lossy(&b)
                    )
                }
            }
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = (self.appeared(false), self.appeared(true));
        for (name, o) in &self.all {
            // SAFETY: plain removals of objects that were made here.
            unsafe {
                match o {
                    Object::Shm(id, _) => drop(libc::shmctl(*id, libc::IPC_RMID, std::ptr::null_mut())),
                    Object::Sem(id, _) => drop(libc::semctl(*id, 0, libc::IPC_RMID)),
                    Object::Msg(id, _) => drop(libc::msgctl(*id, libc::IPC_RMID, std::ptr::null_mut())),
                    Object::Queue(fd) => {
                        libc::close(*fd);
                        libc::syscall(libc::SYS_mq_unlink, text(&format!("{}.{name}", self.tag)).as_ptr());
                    }
                    Object::PosixShm => drop(std::fs::remove_file(format!("/dev/shm/{}.{name}", self.tag))),
                    Object::Key(id) => {
                        keyctl([9, *id as usize, -4isize as usize, 0, 0]);
                        keyctl([21, *id as usize, 0, 0, 0]);
                    }
                }
            }
        }
    }
}

fn shm(key: i32, canary: &str) -> Option<Object> {
    // SAFETY: the segment just made is a writable page, and the canary is shorter.
    unsafe {
        let id = libc::shmget(key, 4096, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL);
        let p = libc::shmat(id, std::ptr::null(), 0);
        if id < 0 || p as isize == -1 {
            return None;
        }
        std::ptr::copy_nonoverlapping(canary.as_ptr(), p.cast(), canary.len());
        libc::shmdt(p);
        Some(Object::Shm(id, key))
    }
}

fn sem(key: i32) -> Option<Object> {
    // SAFETY: plain calls.
    unsafe {
        let id = libc::semget(key, 1, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL);
        (id >= 0 && libc::semctl(id, 0, libc::SETVAL, 5) == 0).then_some(Object::Sem(id, key))
    }
}

fn msg(key: i32, canary: &str) -> Option<Object> {
    let mut b = 1i64.to_ne_bytes().to_vec();
    b.extend_from_slice(canary.as_bytes());
    // SAFETY: the message is its type and then as many bytes as said.
    unsafe {
        let id = libc::msgget(key, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL);
        (id >= 0 && libc::msgsnd(id, b.as_ptr().cast(), canary.len(), libc::IPC_NOWAIT) == 0)
            .then_some(Object::Msg(id, key))
    }
}

fn queue(name: &str, canary: &str) -> Option<Object> {
    let a = [0i64, 2, 256, 0, 0, 0, 0, 0];
    // SAFETY: the name, the attributes and the message live across the calls.
    unsafe {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let fd = libc::syscall(libc::SYS_mq_open, text(name).as_ptr(), flags, 0o600, a.as_ptr());
        if fd < 0 {
            return None;
        }
        libc::syscall(libc::SYS_mq_timedsend, fd, canary.as_ptr(), canary.len(), 0, 0);
        Some(Object::Queue(fd as i32))
    }
}

fn user_key(name: &str, canary: &str) -> Option<Object> {
    // SAFETY: the strings live across the call.
    let id = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            text("user").as_ptr(),
            text(name).as_ptr(),
            canary.as_ptr(),
            canary.len(),
            -4isize,
        )
    };
    keyctl([5, id as usize, 0x3f3f_0000, 0, 0]);
    (id > 0).then_some(Object::Key(id as i32))
}

//! Packs a child with the library, from within a confinement, and sends the parcel as one packet over descriptor 3: its plan, with its
//! descriptors.
//!
//! ```text
//! packer GRANT... -- PROGRAM WORD...    GRANT is `base`, `spawn` or `read=PATH`; the child's standard output is descriptor 1
//! ```

use std::os::fd::AsRawFd;

use beget::{Command, Grant, ParcelOptions, Stdio};

fn pack(words: &[String]) -> beget::Result<()> {
    let end = words.iter().position(|word| word == "--").expect("a program");
    let mut command = Command::new(&words[end + 1]);
    command.args(&words[end + 2..]).stdout(Stdio::inherit());
    for grant in &words[..end] {
        command.grant(match grant.split_once('=') {
            Some(("read", path)) => Grant::Read(path.into()),
            _ if grant == "spawn" => Grant::Spawn,
            _ => Grant::Base,
        });
    }
    let parcel = command.parcel(ParcelOptions::default())?;
    let descriptors: Vec<i32> = parcel.descriptors().iter().map(AsRawFd::as_raw_fd).collect();
    send(parcel.plan(), &descriptors);
    Ok(())
}

fn send(bytes: &[u8], descriptors: &[i32]) {
    let mut control = [0u64; 64];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let size = size_of_val(descriptors) as u32;
    // SAFETY: zeroes are an empty message; the control buffer has room for sixty descriptors, which are fewer.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let item = libc::CMSG_FIRSTHDR(&raw const message);
        ((*item).cmsg_level, (*item).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        (*item).cmsg_len = libc::CMSG_LEN(size) as usize;
        for (index, number) in descriptors.iter().enumerate() {
            libc::CMSG_DATA(item).cast::<i32>().add(index).write_unaligned(*number);
        }
        assert_eq!(libc::sendmsg(3, &raw const message, 0), bytes.len() as isize);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = pack(&words) {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

//! What the tests of the channel run as a child: it uses the channel that it was born with, as its first argument says.
//!
//! ```text
//! channel-client ask NAME...    asks for each and writes what it holds, one line each, then `end` when the holder is gone
//! channel-client plain          receives one by `recvmsg` alone, at descriptor 3, and writes its name and what it holds
//! channel-client watch          receives one and writes its name when it has become readable
//! channel-client garbage        sends what is no packet, then asks for `done` and stays until standard input ends
//! channel-client reach PATH     tries to have its end connected to a socket of that path, and writes what comes of it
//! channel-client shut           closes its end, writes a line and stays until standard input ends
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use beget_channel::channel;

fn contents(file: OwnedFd) -> String {
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).map_or_else(|error| error.to_string(), |_| text)
}

fn ask(names: &[String]) -> beget_channel::Result<()> {
    let channel = channel()?;
    for name in names {
        channel.ask(name)?;
        let Some((name, file)) = channel.receive()? else { break };
        println!("{name}: {}", contents(file));
    }
    let Some((name, _)) = channel.receive()? else {
        println!("end");
        return Ok(());
    };
    println!("{name}, unasked");
    Ok(())
}

/// Without any client, as a program that knows nothing of Beget but where its descriptor is.
fn plain() {
    let mut name = [0u8; 256];
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: name.as_mut_ptr().cast(), iov_len: name.len() };
    // SAFETY: zeroes are an empty message; the buffers live until the call returns, and what it writes is looked at only then.
    let (length, file) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        let length = libc::recvmsg(3, &raw mut message, 0);
        let item = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(length > 0 && !item.is_null(), "a message with a descriptor");
        (length as usize, OwnedFd::from_raw_fd(libc::CMSG_DATA(item).cast::<i32>().read_unaligned()))
    };
    println!("{}: {}", String::from_utf8_lossy(&name[..length]), contents(file));
}

fn watch() -> beget_channel::Result<()> {
    let Some((name, file)) = channel()?.receive()? else { return Ok(()) };
    println!("watching");
    let mut watched = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one such structure, on this stack.
    assert_eq!(unsafe { libc::poll(&raw mut watched, 1, -1) }, 1);
    println!("{name} has ended");
    Ok(())
}

/// One packet with so many descriptors of standard input.
fn raw(socket: &impl AsRawFd, bytes: &[u8], descriptors: usize) {
    let mut control = [0u64; 32];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are an empty message; the control buffer has room for the one item that is written there.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        if descriptors > 0 {
            let size = (descriptors * 4) as u32;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let item = libc::CMSG_FIRSTHDR(&raw const message);
            ((*item).cmsg_level, (*item).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
            (*item).cmsg_len = libc::CMSG_LEN(size) as usize;
            for index in 0..descriptors {
                libc::CMSG_DATA(item).cast::<i32>().add(index).write_unaligned(0);
            }
        }
        assert!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) >= 0, "{descriptors} descriptors");
    }
}

/// Turns its end to somebody else, or sends past the holder.
fn reach(path: &str) {
    // SAFETY: zeroes are an address; what is written to it is shorter than it is; a socket's number and an address on this stack.
    let tried = unsafe {
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as u16;
        for (place, byte) in address.sun_path.iter_mut().zip(path.bytes()) {
            *place = byte as _;
        }
        let (whom, size) = ((&raw const address).cast(), size_of_val(&address) as u32);
        let connected = libc::connect(3, whom, size);
        let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        let alone = libc::connect(3, &raw const nobody, size_of_val(&nobody) as u32);
        let again = libc::connect(3, whom, size);
        // Wherever it is sent to, it goes to the holder.
        let sent = libc::sendto(3, b"past".as_ptr().cast(), 4, libc::MSG_NOSIGNAL, whom, size);
        [connected, alone, again, sent as i32]
    };
    println!("{tried:?}");
}

fn await_end() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn garbage() -> beget_channel::Result<()> {
    use std::os::fd::AsFd;
    let channel = channel()?;
    let socket = channel.as_fd();
    for _ in 0..50 {
        raw(&socket, b"with one", 1);
        raw(&socket, b"with many", 40);
        raw(&socket, b"", 0);
        raw(&socket, b"a\nb", 0);
        raw(&socket, &[b'x'; 5000], 3);
        raw(&socket, b"\xff", 0);
    }
    channel.ask("done")?;
    await_end();
    Ok(())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let result = match words.get(1).map(String::as_str) {
        Some("ask") => ask(&words[2..]),
        Some("plain") => {
            plain();
            Ok(())
        }
        Some("watch") => watch(),
        Some("garbage") => garbage(),
        Some("reach") => {
            reach(&words[2]);
            Ok(())
        }
        Some("shut") => {
            // SAFETY: a number; nothing here owns it yet.
            drop(unsafe { OwnedFd::from_raw_fd(3) });
            println!("shut");
            await_end();
            Ok(())
        }
        _ => panic!("what to do?"),
    };
    let _ = std::io::stdout().flush();
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

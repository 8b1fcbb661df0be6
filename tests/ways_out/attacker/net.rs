//! Ways to the network: every kind of socket, out to the harness's listeners on loopback, and in from them.

use crate::tool::*;
use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
use std::os::fd::{AsRawFd, OwnedFd};

const V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
const V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, i32> {
    sys!(SYS_socket, family, kind, protocol).map(own)
}

/// A loopback address as bytes, and its length.
fn address(family: i32, ip: [u8; 16], port: usize) -> Vec<u8> {
    let p = (port as u16).to_be_bytes();
    let mut a = vec![family as u8, 0, p[0], p[1]];
    if family == AF_INET {
        a.extend_from_slice(&ip[12..]);
        a.extend_from_slice(&[0; 8]);
    } else {
        a.extend_from_slice(&[0; 4]);
        a.extend_from_slice(&ip);
        a.extend_from_slice(&[0; 4]);
    }
    a
}

fn connect(s: &OwnedFd, a: &[u8]) -> Result<usize, i32> {
    sys!(SYS_connect, s.as_raw_fd(), a.as_ptr(), a.len())
}

fn told(t: &T, s: &OwnedFd) -> Out {
    sys!(SYS_sendto, s.as_raw_fd(), t.token().as_ptr(), t.token().len(), libc::MSG_NOSIGNAL, 0, 0)?;
    witness("token")
}

fn stream(t: &T, family: i32, protocol: i32, ip: [u8; 16]) -> Out {
    let s = socket(family, SOCK_STREAM, protocol)?;
    connect(&s, &address(family, ip, t.num("tcp")?))?;
    told(t, &s)
}

/// One `sendto` or `sendmsg` with a destination, on a socket that is not connected.
fn send_to(t: &T, s: &OwnedFd, a: &[u8], flags: i32, by_message: bool) -> Out {
    let d = t.token();
    if by_message {
        let v = [d.as_ptr() as usize, d.len()];
        let m = [a.as_ptr() as usize, a.len(), at(&v), 1, 0, 0, 0];
        sys!(SYS_sendmsg, s.as_raw_fd(), at(&m), flags)?;
    } else {
        sys!(SYS_sendto, s.as_raw_fd(), d.as_ptr(), d.len(), flags, a.as_ptr(), a.len())?;
    }
    witness("token")
}

fn datagram(t: &T, family: i32, kind: i32, protocol: i32, ip: [u8; 16]) -> Out {
    send_to(t, &socket(family, kind, protocol)?, &address(family, ip, t.num("udp")?), 0, false)
}

/// Listens, and waits for the harness, which looks for new listeners, to bring the canary.
fn listen(family: i32, protocol: i32, bind: bool) -> Out {
    let s = socket(family, SOCK_STREAM | SOCK_NONBLOCK, protocol)?;
    if bind {
        let a = address(family, if family == AF_INET { V4 } else { V6 }, 0);
        sys!(SYS_bind, s.as_raw_fd(), a.as_ptr(), a.len())?;
    }
    sys!(SYS_listen, s.as_raw_fd(), 4)?;
    wait(s.as_raw_fd(), 600)?;
    let a = sys!(SYS_accept4, s.as_raw_fd(), 0, 0, 0).map(own)?;
    wait(a.as_raw_fd(), 300)?;
    read_(a)
}

pub fn wait(fd: i32, milliseconds: i32) -> Result<(), i32> {
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    match sys!(SYS_poll, at_mut(&mut p), 1, milliseconds)? {
        0 => Err(libc::ETIMEDOUT),
        _ => Ok(()),
    }
}

fn bare(family: i32, kind: i32, protocol: i32) -> Out {
    socket(family, kind, protocol).and_then(|_| open_say("a socket"))
}

/// Refuses what would only show a network namespace of our own.
fn theirs(t: &T) -> Result<(), i32> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self/ns/net") {
        Ok(m) if m.ino() as usize != t.num("netns")? => Err(libc::ENETUNREACH),
        _ => Ok(()),
    }
}

/// A netlink request for everything of a kind, and the first answer's size.
fn netlink(t: &T, protocol: i32, message: u16, body: &[u8]) -> Out {
    theirs(t)?;
    let s = socket(libc::AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, protocol)?;
    let mut m = Vec::new();
    m.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
    m.extend_from_slice(&message.to_ne_bytes());
    m.extend_from_slice(&0x305u16.to_ne_bytes());
    m.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    m.extend_from_slice(body);
    sys!(SYS_sendto, s.as_raw_fd(), m.as_ptr(), m.len(), 0, 0, 0)?;
    wait(s.as_raw_fd(), 300)?;
    let mut b = [0u8; 4096];
    let n = sys!(SYS_recvfrom, s.as_raw_fd(), b.as_mut_ptr(), 4096, 0, 0, 0)?;
    let error = i32::from_ne_bytes([b[16], b[17], b[18], b[19]]);
    if b[4] == 2 && error < 0 { Err(-error) } else { open_say(format!("{n} bytes of answer")) }
}

ways! { net;
    /// TCP to 127.0.0.1
    tcp Network |t| stream(t, AF_INET, 0, V4);
    /// TCP to ::1
    tcp6 Network |t| stream(t, AF_INET6, 0, V6);
    /// TCP to 127.0.0.1 as a mapped address
    tcp_mapped Network |t| stream(t, AF_INET6, 0, V4);
    /// TCP to 0.0.0.0, which is ourselves
    tcp_any Network |t| { let mut z = V4; z[12] = 0; z[15] = 0; stream(t, AF_INET, 0, z) };
    /// TCP to another address of loopback
    tcp_other Network |t| { let mut z = V4; z[15] = 77; stream(t, AF_INET, 0, z) };
    /// TCP asked for by protocol number
    tcp_protocol Network |t| stream(t, AF_INET, 6, V4);
    /// TCP without waiting
    tcp_nonblock Network |t| {
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
        let r = connect(&s, &address(AF_INET, V4, t.num("tcp")?));
        if let Err(e) = r && e != libc::EINPROGRESS { return Err(e) }
        std::thread::sleep(std::time::Duration::from_millis(30));
        told(t, &s)
    };
    /// TCP after a connect to AF_UNSPEC
    tcp_unspec Network |t| {
        let s = socket(AF_INET, SOCK_STREAM, 0)?;
        let _ = connect(&s, &[0u8; 16]);
        connect(&s, &address(AF_INET, V4, t.num("tcp")?))?;
        told(t, &s)
    };
    /// TCP by sendto with MSG_FASTOPEN
    fastopen_sendto Network |t| send_to(t, &socket(AF_INET, SOCK_STREAM, 0)?, &address(AF_INET, V4, t.num("tcp")?), 0x2000_0000, false);
    /// TCP by sendmsg with MSG_FASTOPEN
    fastopen_sendmsg Network |t| send_to(t, &socket(AF_INET, SOCK_STREAM, 0)?, &address(AF_INET, V4, t.num("tcp")?), 0x2000_0000, true);
    /// TCP by sendmmsg with MSG_FASTOPEN
    fastopen_sendmmsg Network |t| {
        let (s, a, d) = (socket(AF_INET, SOCK_STREAM, 0)?, address(AF_INET, V4, t.num("tcp")?), t.token());
        let v = [d.as_ptr() as usize, d.len()];
        let m = [a.as_ptr() as usize, a.len(), at(&v), 1, 0, 0, 0, 0];
        sys!(SYS_sendmmsg, s.as_raw_fd(), at(&m), 1, 0x2000_0000)?;
        witness("token")
    };
    /// TCP version 6 by sendto with MSG_FASTOPEN
    fastopen6 Network |t| send_to(t, &socket(AF_INET6, SOCK_STREAM, 0)?, &address(AF_INET6, V6, t.num("tcp")?), 0x2000_0000, false);
    /// TCP_FASTOPEN_CONNECT
    fastopen_connect Network |t| {
        let (s, one) = (socket(AF_INET, SOCK_STREAM, 0)?, 1i32);
        sys!(SYS_setsockopt, s.as_raw_fd(), 6, 30, at(&one), 4)?;
        connect(&s, &address(AF_INET, V4, t.num("tcp")?))?;
        told(t, &s)
    };
    /// TCP_REPAIR, which makes a connection of nothing
    tcp_repair Network |t| {
        let (s, one) = (socket(AF_INET, SOCK_STREAM, 0)?, 1i32);
        sys!(SYS_setsockopt, s.as_raw_fd(), 6, 19, at(&one), 4).and_then(|_| open_say("set"))
    };
    /// TCP that tries to be TLS below (TCP_ULP)
    tcp_ulp Service |t| {
        let s = socket(AF_INET, SOCK_STREAM, 0)?;
        sys!(SYS_setsockopt, s.as_raw_fd(), 6, 31, c("espintcp").as_ptr(), 8).and_then(|_| open_say("set"))
    };
    /// Multipath TCP
    mptcp Network |t| stream(t, AF_INET, 262, V4);
    /// Multipath TCP, version 6
    mptcp6 Network |t| stream(t, AF_INET6, 262, V6);
    /// Multipath TCP by MSG_FASTOPEN
    mptcp_fastopen Network |t| send_to(t, &socket(AF_INET, SOCK_STREAM, 262)?, &address(AF_INET, V4, t.num("tcp")?), 0x2000_0000, false);
    /// SMC over TCP
    smc Network |t| { let s = socket(43, SOCK_STREAM, 0)?; connect(&s, &address(AF_INET, V4, t.num("tcp")?))?; told(t, &s) };
    /// SMC as a protocol of TCP
    smc_inet Network |t| stream(t, AF_INET, 256, V4);
    /// UDP
    udp Network |t| datagram(t, AF_INET, SOCK_DGRAM, 0, V4);
    /// UDP by version 6
    udp6 Network |t| datagram(t, AF_INET6, SOCK_DGRAM, 0, V6);
    /// UDP to a mapped address
    udp_mapped Network |t| datagram(t, AF_INET6, SOCK_DGRAM, 0, V4);
    /// UDP, connected and sent
    udp_connected Network |t| { let s = socket(AF_INET, SOCK_DGRAM, 0)?; connect(&s, &address(AF_INET, V4, t.num("udp")?))?; told(t, &s) };
    /// UDP by sendmsg
    udp_sendmsg Network |t| send_to(t, &socket(AF_INET, SOCK_DGRAM, 0)?, &address(AF_INET, V4, t.num("udp")?), 0, true);
    /// UDP to any address of loopback by broadcast
    udp_other Network |t| { let mut z = V4; z[15] = 99; datagram(t, AF_INET, SOCK_DGRAM, 17, z) };
    /// UDP-Lite
    udplite Network |t| datagram(t, AF_INET, SOCK_DGRAM, 136, V4);
    /// UDP, waiting for one from outside
    udp_receive Network |t| {
        let s = socket(AF_INET, SOCK_DGRAM, 0)?;
        let a = address(AF_INET, V4, 0);
        sys!(SYS_bind, s.as_raw_fd(), a.as_ptr(), a.len())?;
        wait(s.as_raw_fd(), 600)?;
        read_(s)
    };
    /// the echo of a ping socket
    ping Network |t| {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 1)?;
        let (a, m) = (address(AF_INET, V4, 0), [8u8, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]);
        sys!(SYS_sendto, s.as_raw_fd(), m.as_ptr(), 12, 0, a.as_ptr(), 16)?;
        wait(s.as_raw_fd(), 300).and_then(|()| open_say("answered"))
    };
    /// TCP, listening on a port of the kernel's choice
    listen_bound Network |t| listen(AF_INET, 0, true);
    /// TCP, listening without a bind
    listen_unbound Network |t| listen(AF_INET, 0, false);
    /// TCP version 6, listening
    listen_bound6 Network |t| listen(AF_INET6, 0, true);
    /// TCP version 6, listening without a bind
    listen_unbound6 Network |t| listen(AF_INET6, 0, false);
    /// Multipath TCP, listening
    listen_mptcp Network |t| listen(AF_INET, 262, true);
    /// Multipath TCP, listening without a bind
    listen_mptcp_unbound Network |t| listen(AF_INET, 262, false);
    /// SCTP, one to one
    sctp Network |t| bare(AF_INET, SOCK_STREAM, 132);
    /// SCTP, one to many
    sctp_many Network |t| bare(AF_INET, SOCK_SEQPACKET, 132);
    /// DCCP
    dccp Network |t| bare(AF_INET, 6, 33);
    /// raw IP
    raw Network |t| bare(AF_INET, SOCK_RAW, 255);
    /// raw ICMP
    raw_icmp Network |t| bare(AF_INET, SOCK_RAW, 1);
    /// raw frames
    packet Network |t| bare(17, SOCK_RAW, 0x300);
    /// cooked frames
    packet_dgram Network |t| bare(17, SOCK_DGRAM, 0x300);
    /// the old packet type of version 4
    packet_old Network |t| bare(AF_INET, 10, 0x300);
    /// virtual sockets, within this machine
    vsock Network |t| {
        let s = socket(40, SOCK_STREAM, 0)?;
        let a: [u32; 4] = [40, t.num("vsock")? as u32, 1, 0];
        sys!(SYS_connect, s.as_raw_fd(), at(&a), 16)?;
        told(t, &s)
    };
    /// a virtual socket that can be had at all
    vsock_socket Network |t| bare(40, SOCK_STREAM, 0);
    /// a datagram virtual socket
    vsock_dgram Network |t| bare(40, SOCK_DGRAM, 0);
    /// the kernel's ciphers
    alg Service |t| bare(38, SOCK_SEQPACKET, 0);
    /// Bluetooth
    bluetooth Network |t| bare(31, SOCK_RAW, 1);
    /// CAN
    can Network |t| bare(29, SOCK_RAW, 1);
    /// TIPC
    tipc Network |t| bare(30, SOCK_SEQPACKET, 0);
    /// XDP
    xdp Network |t| bare(44, SOCK_RAW, 0);
    /// RDS
    rds Network |t| bare(21, SOCK_SEQPACKET, 0);
    /// KCM
    kcm Network |t| bare(41, SOCK_SEQPACKET, 0);
    /// L2TP over IP
    l2tp Network |t| bare(AF_INET, SOCK_DGRAM, 115);
    /// PPP over Ethernet
    pppox Network |t| bare(24, SOCK_STREAM, 0);
    /// LLC
    llc Network |t| bare(26, SOCK_STREAM, 0);
    /// AppleTalk, IPX, X.25, amateur radio, DECnet: any old family
    old_families Network |t| { for f in [3, 4, 5, 6, 8, 9, 11, 12, 19, 20, 22, 23, 33, 34, 35, 36, 37, 39, 42, 45] { if let Ok(_s) = socket(f, SOCK_DGRAM, 0) { return open_say(format!("family {f}")) } } Err(libc::EAFNOSUPPORT) };
    /// routes and interfaces listed
    netlink_links Network |t| netlink(t, 0, 18, &[0; 16]);
    /// addresses listed
    netlink_addresses Network |t| netlink(t, 0, 22, &[0; 8]);
    /// every TCP socket of the machine listed
    netlink_sockets Network |t| {
        let mut b = [0u8; 56];
        (b[0], b[1]) = (2, 6);
        b[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        netlink(t, 4, 20, &b)
    };
    /// every Unix socket of the machine listed
    netlink_unix Network |t| {
        let mut b = [0u8; 24];
        b[0] = 1;
        b[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        b[12] = 1;
        netlink(t, 4, 20, &b)
    };
    /// the families of generic netlink
    netlink_generic Network |t| netlink(t, 16, 16, &[3, 1, 0, 0]);
    /// the audit system's state
    netlink_audit Network |t| netlink(t, 9, 1000, &[]);
    /// transformations of IPsec
    netlink_xfrm Network |t| netlink(t, 6, 18, &[0; 64]);
    /// packet filters
    netlink_filter Network |t| netlink(t, 12, 0x0a01, &[0; 4]);
    /// the kernel's device events
    netlink_events Network |t| {
        theirs(t)?;
        let (s, a) = (socket(16, SOCK_DGRAM, 15)?, [16u32, 0, 1]);
        sys!(SYS_bind, s.as_raw_fd(), at(&a), 12).and_then(|_| open_say("listening"))
    };
    /// SELinux, connector and other netlink
    netlink_connector Network |t| theirs(t).and_then(|()| bare(16, SOCK_DGRAM, 11));
    /// another process, by user netlink
    netlink_user Process |t| {
        let (s, a) = (socket(16, SOCK_DGRAM, 2)?, [16u32, t.num("netlink")? as u32, 0]);
        let d = t.token();
        sys!(SYS_sendto, s.as_raw_fd(), d.as_ptr(), d.len(), 0, at(&a), 12).and_then(|_| witness("token"))
    };
    /// the interfaces' names and addresses by ioctl
    interfaces Network |t| {
        theirs(t)?;
        let s = socket(AF_INET, SOCK_DGRAM, 0)?;
        let b = [0u8; 1024];
        let q = [1024usize, b.as_ptr() as usize];
        sys!(SYS_ioctl, s.as_raw_fd(), 0x8912, at(&q)).and_then(|_| if b[0] != 0 { open_say(clean(&b[..8])) } else { closed("none") })
    };
    /// another network's namespace by a socket (SIOCGSKNS)
    socket_namespace Network |t| {
        let s = socket(AF_INET, SOCK_DGRAM, 0)?;
        sys!(SYS_ioctl, s.as_raw_fd(), 0x894c, 0).map(own).and_then(|_| open_say("a namespace"))
    };
    /// the machine's sockets listed in /proc
    proc_tcp Information |t| theirs(t).and_then(|()| some("/proc/net/tcp"));
    /// the machine's Unix sockets listed in /proc
    proc_unix Information |t| theirs(t).and_then(|()| some("/proc/net/unix"));
}

//! The network of a root: a loopback that reaches nobody outside, abstract sockets of its own, and sockets that were granted by their path.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use super::*;

/// The host's own services on the loopback are not there, whatever is asked for; its own is.
#[test]
fn the_loopback_is_its_own() {
    let test = "the_loopback_is_its_own";
    if !has_python(test) {
        return;
    }
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    outside.set_nonblocking(true).unwrap();
    let port = outside.local_addr().unwrap().port();
    let program = format!(
        "import socket, threading
def attempt(address, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try: s = socket.socket(family, kind); s.settimeout(5); s.connect((address, {port})); s.send(b'x'); print(address, 'reached')
    except OSError: pass
for address in ('127.0.0.1', '::1', '10.255.255.1', '192.0.2.1', '2001:db8::1', '255.255.255.255'):
    attempt(address); attempt(address, socket.SOCK_DGRAM) if address[:3] not in ('127', '::1') else None
try: server = socket.create_server(('127.0.0.1', {port}))
except OSError as error: print(error.errno)
else:
    threading.Thread(target=lambda: server.accept()[0].send(b'own'), daemon=True).start()
    print(socket.create_connection(('127.0.0.1', {port})).recv(9))"
    );
    assert_eq!(in_python(&["--loopback"], &program), "b'own'\n");
    let without = rooted(&[], &["python3", "-c", &program]);
    assert!(!without.1.contains("reached") && !without.1.contains("own"), "{without:?}");
    assert!(outside.accept().is_err(), "it was reached");
}

/// UDP to ourselves, and interfaces: there is one.
#[test]
fn there_is_one_interface() {
    let test = "there_is_one_interface";
    if !has_python(test) {
        return;
    }
    let program = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0)); s.sendto(b'self', s.getsockname())
print(s.recv(9), [line.split(':')[0].strip() for line in open('/proc/net/dev')][2:], len(open('/proc/net/route').readlines()))";
    assert_eq!(in_python(&["--loopback"], program), "b'self' ['lo'] 1\n");
}

#[test]
fn abstract_sockets_are_its_own() {
    let test = "abstract_sockets_are_its_own";
    if !has_python(test) {
        return;
    }
    let name = beget_tests::mark();
    let outside = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    outside.set_nonblocking(true).unwrap();
    let scratch = Scratch::new();
    let granted = scratch.at("socket");
    let _listener = UnixListener::bind(&granted).unwrap();
    let program = format!(
        "import socket
print('{name}' in open('/proc/net/unix').read())
try: socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('reached')
except OSError: pass"
    );
    // With and without the right to have such sockets at all.
    for flags in [&[][..], &["--unix", &granted], &["--loopback"]] {
        assert_eq!(in_python(flags, &program), "False\n", "{flags:?}");
    }
    assert!(outside.accept().is_err(), "it was reached");
}

#[test]
fn a_stream_socket_is_reached_at_its_place() {
    let test = "a_stream_socket_is_reached_at_its_place";
    if !has_python(test) {
        return;
    }
    let scratch = Scratch::new();
    let (path, other) = (scratch.at("socket"), scratch.at("other"));
    let listener = UnixListener::bind(&path).unwrap();
    let beside = UnixListener::bind(&other).unwrap();
    beside.set_nonblocking(true).unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 5];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(&word).unwrap();
        }
    });
    for (flag, at) in [
        (path.clone(), path.clone()),
        (format!("{path}:/run/service/socket"), "/run/service/socket".to_owned()),
    ] {
        let program = format!(
            "import socket
s = socket.socket(socket.AF_UNIX); s.connect('{at}'); s.send(b'hello'); print(s.recv(5))
try: socket.socket(socket.AF_UNIX).connect('{other}')
except FileNotFoundError: print('gone')"
        );
        assert_eq!(in_python(&["--unix", &flag], &program), "b'hello'\ngone\n");
    }
    answering.join().unwrap();
    assert!(beside.accept().is_err(), "what lies beside it was reached");
}

/// As `/dev/log` is one.
#[test]
fn a_datagram_socket_is_reached_at_its_place() {
    let test = "a_datagram_socket_is_reached_at_its_place";
    if !has_python(test) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.at("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let program = "import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('/dev/log'); s.send(b'a line'); print('sent')";
    assert_eq!(in_python(&["--unix", &format!("{path}:/dev/log")], program), "sent\n");
    let mut line = [0; 16];
    let length = socket.recv(&mut line).unwrap();
    assert_eq!(&line[..length], b"a line");
}

/// A socket of its own that others could reach by a name in a folder that is shared is not made.
#[test]
fn nothing_is_served_outside() {
    let test = "nothing_is_served_outside";
    if !has_python(test) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.at("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let (own, folder) = (scratch.at("own"), scratch.at(""));
    let program = format!(
        "import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    try: s = socket.socket(socket.AF_UNIX, kind); s.bind('{own}'); print('bound')
    except OSError as error: pass
try: s = socket.socket(socket.AF_UNIX); s.listen(); print('listens')
except OSError as error: pass"
    );
    assert_eq!(in_python(&["--unix", &path, "--write", &folder], &program), "");
    assert!(!Path::new(&own).exists());
}

/// A listening socket that is given works inside as it does outside.
#[test]
fn a_given_listener_works() {
    let test = "a_given_listener_works";
    if !has_python(test) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = command("python3");
    let program = "import socket; s = socket.socket(fileno=3); c, _ = s.accept(); c.send(b'from inside')";
    // SAFETY: a duplicate of our own, which nobody else holds.
    let given =
        unsafe { std::os::fd::OwnedFd::from_raw_fd(libc::dup(std::os::fd::AsRawFd::as_raw_fd(&listener))) };
    command.args(["-c", program]).slot("listener", given);
    let child = command.spawn().unwrap();
    let mut words = String::new();
    std::net::TcpStream::connect(address).unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(words, "from inside");
    assert_eq!(child.wait_timeout(LONG).unwrap().expect("it ends").exit_code(), 0);
}

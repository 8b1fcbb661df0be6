//! What each network grant opens, and what it does not: the table of the book's network chapter, tried from inside, with witnesses outside.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Stdio;
use std::time::Duration;

use beget_tests::{Need, Scratch, beget, finish, has, report, skip, text};

/// The attempts, in the order of the columns of what is expected.
const ATTEMPTS: [&str; 17] = [
    "connect",
    "connect elsewhere",
    "fast open elsewhere",
    "bind",
    "bind elsewhere",
    "listen unbound",
    "udp send",
    "udp receive",
    "mptcp",
    "raw",
    "netlink",
    "packet",
    "vsock",
    "unix path",
    "unix abstract",
    "pair of streams",
    "pair of datagrams",
];

/// What is outside: two TCP ports that are listened at, one where UDP is received, a Unix socket by path and an abstract one.
struct Outside {
    scratch: Scratch,
    tcp: [TcpListener; 2],
    udp: UdpSocket,
    path: String,
    name: String,
    _unix: [UnixListener; 2],
    /// Two ports that nobody uses, it is to be hoped.
    free: [u16; 2],
}

impl Outside {
    fn new() -> Outside {
        let scratch = Scratch::new();
        let tcp = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (path, name) = (scratch.at("socket"), beget_tests::mark());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let unix = [UnixListener::bind(&path).unwrap(), UnixListener::bind_addr(&address).unwrap()];
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        // Both at once, or they might be one.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let free = free.map(|one| one.local_addr().unwrap().port());
        scratch.file("attempts.py", include_str!("attempts.py"));
        Outside { scratch, tcp, udp, path, name, _unix: unix, free }
    }

    fn ports(&self) -> [u16; 2] {
        self.tcp.each_ref().map(|one| one.local_addr().unwrap().port())
    }

    /// How each attempt went, with these grants.
    fn tried(&self, flags: &[&str]) -> [String; 17] {
        let program = self.scratch.at("attempts.py");
        let [open, other] = self.ports();
        let udp = self.udp.local_addr().unwrap().port();
        let ports = [open, other, udp, self.free[0], self.free[1]].map(|port| port.to_string());
        let mut command = beget();
        command.args(["run", "--base", "--read", &program]).args(flags).args(["--", "python3", &program]);
        let output = finish(command.args(ports).args([&self.path, &self.name]).stdin(Stdio::null()));
        let told = report(&output.stdout);
        assert_eq!(told.len(), ATTEMPTS.len(), "{flags:?}: {}", text(&output.stderr));
        ATTEMPTS.map(|attempt| told[attempt].clone())
    }

    /// Whether a datagram has come since the last time.
    fn has_received(&self) -> bool {
        let mut any = false;
        while self.udp.recv(&mut [0; 8]).is_ok() {
            any = true;
        }
        any
    }
}

/// `ok`, or the errno that is expected, for each attempt.
fn expect(flags: &[&str], told: &[String; 17], expected: [&str; 17]) {
    for ((attempt, told), expected) in ATTEMPTS.iter().zip(told).zip(expected) {
        assert_eq!(told, expected, "{flags:?}: {attempt}");
    }
}

const NO_FAMILY: &str = "EAFNOSUPPORT";
const NOTHING: [&str; 17] = {
    let mut all = [NO_FAMILY; 17];
    all[15] = "ok";
    all[16] = "EPERM";
    all
};

fn can(test: &str) -> bool {
    if !has("python3") {
        skip(test, Need::Program("python3"));
    }
    has("python3")
}

/// Whether a private root can be had here; says that it cannot.
fn can_with_root(test: &str) -> bool {
    let output = finish(beget().args(["run", "--base", "--root", "--", "true"]).stdin(Stdio::null()));
    let refused = text(&output.stderr).contains("user namespaces are refused");
    assert!(output.status.success() || refused, "{}", text(&output.stderr));
    if refused {
        skip(test, Need::Machine("user namespaces"));
    }
    !refused && can(test)
}

/// A raw socket is refused for want of a capability where the filter lets it pass.
const RAW: &str = "EPERM";

#[test]
fn nothing_is_there_without_a_grant() {
    if !can("nothing_is_there_without_a_grant") {
        return;
    }
    expect(&[], &Outside::new().tried(&[]), NOTHING);
}

/// No UDP, no protocol beside, no way around the port.
#[test]
fn a_port_to_connect_to_is_that_alone() {
    if !can("a_port_to_connect_to_is_that_alone") {
        return;
    }
    let outside = Outside::new();
    let port = outside.ports()[0].to_string();
    let flags = ["--tcp-connect", &port];
    let told = outside.tried(&flags);
    let no = "EACCES";
    let expected = [
        "ok",
        no,
        "ENOTSUP",
        no,
        no,
        no,
        no,
        no,
        "EPROTONOSUPPORT",
        no,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        "ok",
        "EPERM",
    ];
    expect(&flags, &told, expected);
    assert!(!outside.has_received());
}

/// And listening where the kernel chooses the port, as the book says.
#[test]
fn a_port_to_bind_is_that_alone() {
    if !can("a_port_to_bind_is_that_alone") {
        return;
    }
    let outside = Outside::new();
    let port = outside.free[0].to_string();
    let flags = ["--tcp-bind", &port];
    let no = "EACCES";
    let expected = [
        no,
        no,
        "ENOTSUP",
        "ok",
        no,
        "ok",
        no,
        no,
        "EPROTONOSUPPORT",
        no,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        "ok",
        "EPERM",
    ];
    expect(&flags, &outside.tried(&flags), expected);
}

/// Not narrowed by address or port: that is what stays open.
#[test]
fn name_servers_are_udp_to_anywhere() {
    if !can("name_servers_are_udp_to_anywhere") {
        return;
    }
    let outside = Outside::new();
    let flags = ["--inet-dns"];
    let no = "EACCES";
    let expected = [
        no,
        no,
        "ENOTSUP",
        no,
        no,
        no,
        "ok",
        "ok",
        "EPROTONOSUPPORT",
        no,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        NO_FAMILY,
        "ok",
        "EPERM",
    ];
    expect(&flags, &outside.tried(&flags), expected);
    assert!(outside.has_received());
}

#[test]
fn the_whole_network_has_no_unix_sockets() {
    if !can("the_whole_network_has_no_unix_sockets") {
        return;
    }
    let outside = Outside::new();
    let flags = ["--net"];
    let told = outside.tried(&flags);
    let mut expected = [
        "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", RAW, "ok", NO_FAMILY, NO_FAMILY, NO_FAMILY,
        NO_FAMILY, "ok", "EPERM",
    ];
    // Kernels without the protocol say so.
    if told[8] == "EPROTONOSUPPORT" {
        expected[8] = "EPROTONOSUPPORT";
    }
    expect(&flags, &told, expected);
    assert!(outside.has_received());
}

/// Everything works in there, and nothing outside is reached.
#[test]
fn loopback_is_a_network_of_its_own() {
    if !can_with_root("loopback_is_a_network_of_its_own") {
        return;
    }
    let outside = Outside::new();
    let flags = ["--root", "--loopback"];
    let told = outside.tried(&flags);
    let gone = "ECONNREFUSED";
    let mut expected = [
        gone, gone, gone, "ok", "ok", "ok", "ok", "ok", "ok", RAW, "ok", NO_FAMILY, NO_FAMILY, NO_FAMILY,
        NO_FAMILY, "ok", "EPERM",
    ];
    if told[8] == "EPROTONOSUPPORT" {
        expected[8] = "EPROTONOSUPPORT";
    }
    expect(&flags, &told, expected);
    assert!(!outside.has_received());
}

/// That socket, those in granted folders, and no abstract one.
#[test]
fn unix_sockets_are_reached_by_path() {
    if !can_with_root("unix_sockets_are_reached_by_path") {
        return;
    }
    let outside = Outside::new();
    let mut expected = NOTHING;
    (expected[13], expected[14]) = ("ok", "ECONNREFUSED");
    let flags = ["--root", "--unix", &outside.path];
    expect(&flags, &outside.tried(&flags), expected);
    let elsewhere = outside.scratch.at("other");
    let _other = UnixListener::bind(&elsewhere).unwrap();
    let flags = ["--root", "--unix", &elsewhere];
    expected[13] = "ENOENT";
    expect(&flags, &outside.tried(&flags), expected);
    let flags = [&flags[..], &["--read", outside.scratch.path().to_str().unwrap()]].concat();
    expected[13] = "ok";
    expect(&flags, &outside.tried(&flags), expected);
}

/// A socket, to connect to: it is not changed, and nothing else is given by that name.
#[test]
fn a_unix_socket_is_granted_to_connect_alone() {
    let scratch = Scratch::new();
    let (folder, file) = (scratch.path().to_str().unwrap(), scratch.file("file", "text"));
    for path in [folder, &file, "/dev/null"] {
        let output = beget_tests::run(&["run", "--base", "--root", "--unix", path, "--", "true"]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{errors}");
        assert_eq!(errors, format!("beget: grant --unix {path}: no Unix socket\n"));
    }
    if !can_with_root("a_unix_socket_is_granted_to_connect_alone") {
        return;
    }
    let path = scratch.at("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode();
    let before = mode();
    let words = ["run", "--base", "--root", "--unix", &path, "--", "chmod", "777", &path];
    let output = beget_tests::run(&words);
    assert!(text(&output.stderr).contains("Read-only file system"), "{}", text(&output.stderr));
    assert_eq!(mode(), before);
}

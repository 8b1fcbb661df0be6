//! TCP by port, UDP and the whole network, on the loopback address: what is granted works, the rest is refused.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use beget_tests::{Scratch, beget, text};

use crate::{Ran, lacks, lacks_ports, run};

const SERVER: &str = "
import errno, http.server, sys
try:
    server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
else:
    print('ready', flush=True)
    server.serve_forever()
";

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback address is there");
    listener.local_addr().expect("it is bound").port()
}

/// Python's web server in a sandbox, granted one port and one folder.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &str) -> Server {
        // Somebody else may take the port between our asking and its binding.
        for _ in 0..10 {
            let port = free_port();
            let (child, word) = Server::try_start(folder, port, port);
            let mut server = Server { child, port };
            match word.as_str() {
                "ready" => return server,
                "EADDRINUSE" => drop(server),
                other => {
                    let _ = server.child.kill();
                    panic!("the server said {other:?}");
                }
            }
        }
        panic!("no port stayed free");
    }

    /// Starts it with the right to one port, told to bind another perhaps; gives its first word.
    fn try_start(folder: &str, granted: u16, asked: u16) -> (Child, String) {
        let mut command = beget();
        command.args(["run", "--base", "--timeout", "60s", "--read", folder, "--cwd", folder]);
        command.args(["--tcp-bind", &granted.to_string(), "--", "python3", "-c", SERVER, &asked.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("beget can be started");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("it says a word or ends");
        (child, line.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(flags: &[&str], code: &str) -> Ran {
    run(flags, &["python3", "-c", code])
}

#[test]
fn a_server_and_its_clients() {
    let name = "a_server_and_its_clients";
    if lacks(name, &["python3", "node", "curl"]) || lacks_ports(name) {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("page", "served\n");
    let server = Server::start(&scratch.at(""));
    let (port, other) = (server.port.to_string(), free_port().to_string());
    let url = format!("http://127.0.0.1:{port}/page");
    let granted = ["--tcp-connect", port.as_str()];
    let not_this = ["--tcp-connect", other.as_str()];

    let urllib = format!("import urllib.request as r; print(r.urlopen('{url}').read())");
    python(&granted, &urllib).prints("b'served\\n'\n");
    python(&not_this, &urllib).fails("[Errno 13] Permission denied");
    python(&[], &urllib).fails("[Errno 97] Address family not supported by protocol").tells("--tcp-connect");

    run(&granted, &["curl", "-sS", &url]).prints("served\n");
    run(&not_this, &["curl", "-sS", &url]).fails("Failed to connect");

    let fetch = format!(
        "fetch('{url}').then(r => r.text()).then(t => process.stdout.write(t),
            e => {{ console.error(e.cause.code); process.exit(3) }})"
    );
    run(&granted, &["node", "-e", &fetch]).prints("served\n");
    run(&not_this, &["node", "-e", &fetch]).fails("EACCES");

    let script = format!(
        "exec 3<> /dev/tcp/127.0.0.1/{port}; printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"
    );
    run(&["--spawn", "--tcp-connect", &port], &["bash", "-c", &script]).prints("served\n");
    run(&["--spawn", "--tcp-connect", &other], &["bash", "-c", &script]).fails("Permission denied");

    // The right to bind a port is not the right to connect to it, and the other way round.
    python(&["--tcp-bind", &port], &urllib).fails("[Errno 13] Permission denied");
    let listen = "import socket; socket.socket().listen()";
    python(&granted, listen).fails("[Errno 13] Permission denied");
}

#[test]
fn only_the_granted_port_is_bound() {
    let name = "only_the_granted_port_is_bound";
    if lacks(name, &["python3"]) || lacks_ports(name) {
        return;
    }
    let scratch = Scratch::new();
    let (granted, asked) = (free_port(), free_port());
    let (mut child, word) = Server::try_start(&scratch.at(""), granted, asked);
    assert_eq!(word, "EACCES", "bound {asked} with the right to {granted}");
    assert!(child.wait().expect("it ends by itself").success());
}

#[test]
fn datagrams_need_their_own_grant() {
    let name = "datagrams_need_their_own_grant";
    if lacks(name, &["python3"]) || lacks_ports(name) {
        return;
    }
    let friend = UdpSocket::bind("127.0.0.1:0").expect("the loopback address is there");
    friend.set_read_timeout(Some(Duration::from_secs(60))).expect("a time that is not zero");
    let port = friend.local_addr().expect("it is bound").port();
    let answer = std::thread::spawn(move || {
        let mut question = [0; 16];
        let (length, from) = friend.recv_from(&mut question).expect("a question comes");
        friend.send_to(b"pong", from).expect("the loopback address is there");
        text(&question[..length])
    });
    let ask = format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50); s.sendto(b'ping', ('127.0.0.1', {port})); print(s.recv(16))"
    );
    python(&[], &ask).fails("[Errno 97] Address family not supported by protocol");
    python(&["--tcp-connect", &port.to_string()], &ask).fails("[Errno 13] Permission denied");
    // Had one of these got through, this would not be the first question.
    python(&["--inet-dns"], &ask.replace("ping", "asked")).prints("b'pong'\n");
    assert_eq!(answer.join().expect("it was asked"), "asked");
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}))");
    python(&["--inet-dns"], &connect).fails("[Errno 13] Permission denied");
}

#[test]
fn the_whole_network_is_no_unix_socket() {
    if lacks("the_whole_network_is_no_unix_socket", &["python3"]) {
        return;
    }
    let code = "
import asyncio
async def main():
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b'hello\\n')
    print(await reader.read())
    server.close()
asyncio.run(main())
";
    python(&["--net"], code).prints("b'HELLO\\n'\n");
    let inet = "import socket; socket.socket(socket.AF_INET)";
    python(&["--net"], inet).prints("");
    python(&[], inet).fails("[Errno 97] Address family not supported by protocol").tells("--net");
    let unix = "import socket; socket.socket(socket.AF_UNIX)";
    python(&["--net"], unix).fails("[Errno 97] Address family not supported by protocol");
    run(&["--net"], &["getent", "ahosts", "localhost"]).shows("localhost");
}

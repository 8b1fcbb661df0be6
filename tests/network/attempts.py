# Tries each kind of socket and tells how it went: "ok", or the name of the errno. Arguments: a port that is listened at, another, a UDP
# port that is received at, a port to bind, another, a Unix socket's path, an abstract one's name.
import errno
import socket
import sys

open_port, other_port, udp_port, own_port, third_port, path, name = sys.argv[1:]
INET, INET6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
STREAM, DATAGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
HOME = "127.0.0.1"


def connect(port):
    with socket.socket(INET, STREAM) as one:
        one.settimeout(5)
        one.connect((HOME, int(port)))


def connect_unix(place):
    with socket.socket(UNIX, STREAM) as one:
        one.connect(place)


def fast_open():
    with socket.socket(INET, STREAM) as one:
        one.sendto(b"x", 0x20000000, (HOME, int(other_port)))


def send():
    with socket.socket(INET, DATAGRAM) as one:
        one.sendto(b"x", (HOME, int(udp_port)))


def receive():
    with socket.socket(INET, DATAGRAM) as one:
        one.bind((HOME, 0))


def bind(port):
    with socket.socket(INET, STREAM) as one:
        one.bind((HOME, int(port)))
        one.listen()


def listen_unbound():
    with socket.socket(INET, STREAM) as one:
        one.listen()


def make(*kind):
    socket.socket(*kind).close()


def pair(kind):
    for end in socket.socketpair(UNIX, kind):
        end.close()


ATTEMPTS = [
    ("connect", lambda: connect(open_port)),
    ("connect elsewhere", lambda: connect(other_port)),
    ("fast open elsewhere", fast_open),
    ("bind", lambda: bind(own_port)),
    ("bind elsewhere", lambda: bind(third_port)),
    ("listen unbound", listen_unbound),
    ("udp send", send),
    ("udp receive", receive),
    ("mptcp", lambda: make(INET, STREAM, 262)),
    ("raw", lambda: make(INET, RAW, 1)),
    ("netlink", lambda: make(socket.AF_NETLINK, RAW, 0)),
    ("packet", lambda: make(socket.AF_PACKET, RAW)),
    ("vsock", lambda: make(40, STREAM)),
    ("unix path", lambda: connect_unix(path)),
    ("unix abstract", lambda: connect_unix("\0" + name)),
    ("pair of streams", lambda: pair(STREAM)),
    ("pair of datagrams", lambda: pair(DATAGRAM)),
]

for what, attempt in ATTEMPTS:
    try:
        attempt()
        print(what, "ok", sep="\t")
    except OSError as error:
        print(what, errno.errorcode.get(error.errno, str(error)), sep="\t")

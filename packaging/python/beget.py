"""Capabilities for a program that runs already.

A program that Beget started with a channel finds it in the slot named ``beget`` (``LISTEN_FDS``, ``LISTEN_FDNAMES``, ``LISTEN_PID``;
``man 3 sd_listen_fds_with_names``). Over it come descriptors, each with a name, and it may ask for one by name::

    import beget
    channel = beget.channel()
    beget.ask(channel, "log")
    name, descriptor = beget.receive(channel)

What a name means is between the program and whoever holds it.

Safety idea: what is no packet of ours is skipped, and every descriptor that comes with it is closed. Descriptors that are received are not
inherited by what the program executes.
"""

import array
import errno
import os
import socket

SLOT = "beget"
LONGEST_NAME = 255

__all__ = ["channel", "ask", "receive"]


def channel():
    """The channel that this process was born with, as a socket. FileNotFoundError: it was born without one."""
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    try:
        mine = int(os.environ["LISTEN_PID"]) == os.getpid()
        number = 3 + names[: max(0, int(os.environ["LISTEN_FDS"]))].index(SLOT)
    except (KeyError, ValueError):
        mine = False
    if not mine:
        raise FileNotFoundError(errno.ENOENT, "this process was born without a channel")
    found = socket.socket(fileno=os.dup(number))
    if (found.family, found.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        found.close()
        raise OSError(errno.EPROTOTYPE, "what has the number of the channel is no such socket")
    return found


def _is_name(name):
    return 0 < len(name) <= LONGEST_NAME and all(byte >= 0x20 and byte != 0x7F for byte in name)


def ask(channel, name):
    """Asks for the capability of this name, and waits for room if there is none. BrokenPipeError: the holder is gone.

    Whether it is given, and when, is for the holder to decide: receive it.
    """
    packet = name.encode()
    if not _is_name(packet):
        raise ValueError("a name has 1 to 255 bytes and no control characters")
    channel.send(packet, socket.MSG_NOSIGNAL)


def receive(channel):
    """Waits for the next capability: (name, descriptor), the descriptor being the caller's to close.

    EOFError: no more will come, for the holder is gone. OSError with EMFILE: one came, and no number was free for it.
    """
    while True:
        found = array.array("i")
        try:
            name, rest, flags, _ = channel.recvmsg(LONGEST_NAME + 1, socket.CMSG_SPACE(found.itemsize), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            raise EOFError("the holder of this process is gone") from None
        for level, kind, data in rest:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
        truncated = flags & socket.MSG_CTRUNC
        if not name and not found and not truncated:
            raise EOFError("the holder of this process is gone")
        try:
            text = name.decode() if _is_name(name) else None
        except UnicodeDecodeError:
            text = None
        if text is not None and len(found) == 1 and not truncated:
            return text, found[0]
        for descriptor in found:
            os.close(descriptor)
        if text is not None and not found and truncated:
            raise OSError(errno.EMFILE, "a capability came, and no number was free for its descriptor")

"""P as a Python: the same as parent.rs, with Python's two ways to make C. Started as: peers.py WAY PURPOSE FOLDER PROGRAM."""

import json
import os
import socket
import sys
import time

NOBODY = -3049
NUMBERS = 1024
SECRET = 32


def mark(what):
    try:
        os.lseek(NOBODY, what, 0)
    except OSError:
        pass


def attempt(name, work):
    """A line of the report: what was got, or why not."""
    try:
        number = work()
    except OSError as error:
        return f"{name} no {os.strerror(error.errno).lower()}\n"
    found = os.fstat(number)
    os.close(number)
    return f"{name} file {found.st_dev} {found.st_ino}\n"


def kind(mode):
    kinds = {0o100000: "file", 0o040000: "folder", 0o010000: "pipe", 0o140000: "socket", 0o020000: "device"}
    return kinds.get(mode & 0o170000, "other")


def report(parent, number, at, path):
    """What child.rs reports, from a C that is a Python."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    text = ""
    for one in range(NUMBERS):
        try:
            found = os.fstat(one)
        except OSError:
            continue
        text += f"holds {one} {found.st_dev} {found.st_ino} {kind(found.st_mode)}\n"
    text += attempt("path", lambda: os.open(path, os.O_RDONLY))
    text += attempt("proc", lambda: os.open(f"/proc/{parent}/fd/{number}", os.O_RDONLY))

    def failing(answer):
        if answer < 0:
            raise OSError(ctypes.get_errno(), "")
        return answer

    def taken():
        process = os.pidfd_open(parent)
        try:
            return failing(libc.syscall(438, process, number, 0))
        finally:
            os.close(process)

    text += attempt("getfd", taken)

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    room = ctypes.create_string_buffer(SECRET)
    ours, theirs = Vector(ctypes.addressof(room), SECRET), Vector(at, SECRET)
    try:
        failing(libc.process_vm_readv(parent, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
        text += f"memory bytes {room.raw.hex()}\n"
    except OSError as error:
        text += f"memory no {os.strerror(error.errno).lower()}\n"
    try:
        os.kill(parent, 0)
        text += "signal yes\n"
    except OSError as error:
        text += f"signal no {os.strerror(error.errno).lower()}\n"
    SEIZE = 0x4206
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    try:
        failing(libc.ptrace(SEIZE, parent, None, None))
        text += "trace yes\n"
    except OSError as error:
        text += f"trace no {os.strerror(error.errno).lower()}\n"
    return text + "end\n"


def child(look, a, out, words):
    """C, where it is a function: a copy of the server that P asked for one."""
    mark(4)
    os.dup2(a.detach(), 0)
    if not os.read(0, 64):
        os._exit(3)
    if look:
        os.write(out.detach(), report(*words).encode())
    os._exit(0)


class Server:
    """multiprocessing, with its fork server."""

    def __init__(self):
        import multiprocessing
        from multiprocessing.reduction import DupFd

        self.context, self.descriptor = multiprocessing.get_context("forkserver"), DupFd
        self.context.set_forkserver_preload(["__main__", "ctypes"])

    def start(self, look, a, out, words, forget):
        # What DupFd makes is made where the process is started.
        process = self.context.Process(target=Child(look, a, out, words, self.descriptor))
        process.start()
        return process

    def wait(self, process):
        process.join()
        return process.exitcode


class Child:
    """A target whose descriptors go along when it is sent."""

    def __init__(self, *words):
        self.words = words

    def __getstate__(self):
        look, a, out, words, descriptor = self.words
        return look, descriptor(a), None if out is None else descriptor(out), words

    def __setstate__(self, state):
        self.state = state

    def __call__(self):
        child(*self.state)


class Subprocess:
    """The subprocess module."""

    def __init__(self, program):
        self.program = program

    def start(self, look, a, out, words, forget):
        import subprocess

        words = ["compare-child", "look" if look else "read", *map(str, words)]
        output = subprocess.DEVNULL if out is None else out
        return subprocess.Popen([self.program, *words], stdin=a, stdout=output, close_fds=not forget, env={})

    def wait(self, process):
        return process.wait()


def main():
    way, purpose, folder, program = sys.argv[1:]
    control = socket.socket(fileno=os.dup(0))
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    path = os.path.join(folder, "b")
    a, b = os.open(os.path.join(folder, "a"), os.O_RDONLY), os.open(path, os.O_RDONLY)
    os.set_inheritable(a, True)
    os.set_inheritable(b, True)
    import ctypes

    secret = ctypes.create_string_buffer(os.read(b, SECRET), SECRET)
    words = (os.getpid(), b, ctypes.addressof(secret), path)
    maker = Server() if way == "forkserver" else Subprocess(program)
    # The first one starts what a way keeps.
    look, trace = purpose == "look", purpose == "trace"
    if trace or not look:
        maker.wait(maker.start(False, a, None, words, False))

    def once(forget):
        os.lseek(a, 0, 0)
        reader = out = None
        if look:
            reader, out = os.pipe()
        begin = time.perf_counter()
        if trace:
            mark(1)
        process = maker.start(look, a, out, words, forget)
        if trace:
            mark(2)
        code = maker.wait(process)
        taken = (time.perf_counter() - begin) * 1e6
        if trace:
            mark(3)
        text = b""
        if look:
            os.close(out)
            os.set_blocking(reader, False)
            try:
                text = os.read(reader, 1 << 16)
            except BlockingIOError:
                pass
            os.close(reader)
        return {"us": taken, "code": code if code >= 0 else 128 - code, "report": text.decode()}

    with control.makefile("rw") as lines:
        print(json.dumps({"ready": os.getpid()}), file=lines, flush=True)
        for line in lines:
            if line.strip() == "end":
                return
            try:
                answer = once(line.strip() == "forget")
            except Exception as error:  # whatever it is, it is told
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=lines, flush=True)
    # Nobody has said that it is over: whoever compared was killed.
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

# What a Python interpreter runs to be a factory's template, given to it by `-c`, with the modules to import before as its arguments. A copy
# reads its job at descriptor 998, makes itself unlike the other copies, says so, and is then as if it had been started with that job.
#
# Safety idea: nothing of a job is run before all that must differ between copies was made anew and the factory was told so; whatever goes
# wrong before ends the copy untold. The program is run from below every Python frame, by the interpreter's own functions, so that what runs
# here is in no traceback, no `__main__` and no `inspect.stack()` of it.
#
# How it gets below: this text ends in an exception, for which the interpreter, every frame gone, calls `sys.excepthook`. What that hangs upon
# the exception is finalized when the interpreter lets go of it, in order and with no frame around: first the program, then its end.

_pristine = dict(globals())

import sys

if sys.version_info < (3, 10):
    raise SystemExit("beget: a template's Python is of version 3.10 or newer")

import _imp
import atexit
import codecs
import ctypes
import functools
import io
import os
import pkgutil
import runpy
from importlib.machinery import SourceFileLoader, SourcelessFileLoader

_python = ctypes.pythonapi
_partial = functools.partial
_JOB = 998
# What the grammar calls a file, and what says that text was decoded already (`Py_file_input`, `PyCF_IGNORE_COOKIE`).
_WHOLE, _DECODED = 257, 0x0100
_STREAMS = ("<stdin>", "<stdout>", "<stderr>")
_stdin = ctypes.c_void_p.in_dll(_python, "stdin").value
_ahead = []


class _Flags(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_int), ("version", ctypes.c_int)]


for _function, _answer, _takes in (
    ("PyRun_FileExFlags", "O", "psiOOip"),
    ("PyRun_StringFlags", "O", "siOOf"),
    ("fdopen", "p", "is"),
    ("fflush", "i", "p"),
    ("PyOS_AfterFork_Child", None, ""),
):
    _types = {"O": ctypes.py_object, "p": ctypes.c_void_p, "s": ctypes.c_char_p, "i": ctypes.c_int, None: None}
    _types["f"] = ctypes.POINTER(_Flags)
    getattr(_python, _function).restype = _types[_answer]
    getattr(_python, _function).argtypes = [_types[_letter] for _letter in _takes]


class _Ready(BaseException):
    """Leads out of this text."""


class _Refused(Exception):
    """A job that ends before its program begins: what is told of it on standard error, and the exit code."""


# --- In the template ---------------------------------------------------------------------------------------------------------------------


def _prepare(names):
    """Imports what is to be there, and gives what `_become` needs."""
    libraries = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "BLIS_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM", "GOTO_NUM")
    threads = [name + "_THREADS" for name in libraries if name + "_THREADS" not in os.environ]
    for name in threads:
        os.environ[name] = "1"
    before, unseeded = [], []
    register = os.register_at_fork

    def recording(**hooks):
        register(**hooks)
        if "before" in hooks:
            before.append(hooks["before"])

    os.register_at_fork = recording
    try:
        import importlib

        for name in ("ascii", "latin-1", "utf-8", sys.getfilesystemencoding()):
            codecs.lookup(name)
        if names:
            _import(names, unseeded, importlib.import_module)
        if "numpy" in sys.modules:
            importlib.import_module("numpy.random")
    finally:
        os.register_at_fork = register
    for name in threads:
        os.environ.pop(name, None)
    _check_threads()
    cold = _encoding()
    _warm(cold)
    import gc

    gc.collect()
    gc.freeze()
    # As before a fork: whoever holds a lock for its moment may count on its other hook.
    for hook in reversed(before):
        hook()
    return cold, unseeded


def _import(names, unseeded, load):
    """Imports them, and notes each generator that is to be unpredictable."""
    import random
    import weakref

    seed = random.Random.seed

    def noting(self, a=None, *rest, **more):
        if a is None:
            unseeded.append(weakref.ref(self))
        return seed(self, a, *rest, **more)

    random.Random.seed = noting
    try:
        for name in names:
            load(name)
    finally:
        random.Random.seed = seed


def _check_threads():
    """One thread can be copied. Others are named."""
    import _thread

    threading = sys.modules.get("threading")
    names = [thread.name for thread in threading.enumerate()] if threading else []
    if len(names) > 1 or _thread._count() > 0:
        names = ", ".join(names[1:]) or "one without a name"
        raise SystemExit("beget: a template has one thread, but what was imported has started: " + names)


def _encoding():
    """Encoding and error handler of the standard streams, as the locale has them."""
    if sys.flags.ignore_environment or not os.environ.get("PYTHONIOENCODING"):
        for stream in (sys.stdin, sys.stdout):
            if stream is not None:
                return stream.encoding, stream.errors
    import locale

    name = locale.setlocale(locale.LC_CTYPE)
    encoding = "utf-8" if sys.flags.utf8_mode else locale.getpreferredencoding(False)
    encoding = "utf-8" if encoding.upper() == "UTF-8" else encoding
    lenient = sys.flags.utf8_mode or name in ("C", "POSIX", "C.UTF-8", "C.utf8", "UTF-8")
    return encoding, "surrogateescape" if lenient else "strict"


def _warm(cold):
    """Does once what every copy would do for the first time, and makes the streams of those that are given pipes."""
    reads, writes = os.pipe()
    for number, name in enumerate(_STREAMS):
        try:
            own = os.dup(number)
        except OSError:
            own = None
        os.dup2(writes if number else reads, number)
        errors = cold[1] if number < 2 else "backslashreplace"
        _ahead.append(_stream(number, name, cold[0], errors, True))
        if own is None:
            os.close(number)
        else:
            os.dup2(own, number)
            os.close(own)
    os.close(reads)
    os.close(writes)
    exec(compile("try:\n    raise ValueError\nexcept ValueError:\n    str(1.5)", "<string>", "exec"), {})
    pkgutil.get_importer("/")


# --- In a copy ---------------------------------------------------------------------------------------------------------------------------


def _become(unseeded):
    """Makes anew what would be the same in every copy, and gives the job."""
    # Holding what it releases.
    _imp.acquire_lock()
    _python.PyOS_AfterFork_Child()
    modules = sys.modules
    if "random" in modules:
        modules["random"]._inst.seed()
    for reference in unseeded:
        generator = reference()
        if generator is not None:
            generator.seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    if "multiprocessing.process" in modules:
        process = modules["multiprocessing.process"]
        process.current_process().authkey = os.urandom(32)
    job = _job()
    os.write(_JOB, b"1")
    os.close(_JOB)
    return job


def _read(length):
    pieces = []
    while length:
        piece = os.read(_JOB, length)
        if not piece:
            raise EOFError
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _job():
    """Arguments and variables: two lists of strings, each string ended by a zero and each list begun with its length."""
    fields = _read(int.from_bytes(_read(4), sys.byteorder)).split(b"\0")
    count = int(fields[0])
    arguments = [os.fsdecode(field) for field in fields[1 : 1 + count]]
    variables = fields[2 + count : 2 + count + int(fields[1 + count])]
    return arguments, dict(variable.split(b"=", 1) for variable in variables)


def _set_environment(variables):
    coerced = os.environ._data.get(b"LC_CTYPE")
    if coerced is not None and not variables.get(b"LC_ALL") and b"LC_CTYPE" not in variables:
        # Chosen by the interpreter when it started in the plainest locale (PEP 538), for its children too.
        variables[b"LC_CTYPE"] = coerced
    if variables == os.environ._data:
        return
    own = os.environb
    zone = own.get(b"TZ")
    for name in [name for name in own if name not in variables]:
        del own[name]
    for name, value in variables.items():
        if own.get(name) != value:
            own[name] = value
    if own.get(b"TZ") != zone:
        import time

        time.tzset()


def _set_streams(cold):
    (encoding, errors), heeded = cold, not sys.flags.ignore_environment
    given = heeded and os.environ.get("PYTHONIOENCODING")
    if given:
        first, _, second = given.partition(":")
        first = first and codecs.lookup(first).name
        encoding, errors = first or encoding, second or ("strict" if first else errors)
    flags = [flag for flag in sys.orig_argv[1 : -2 - _preloaded] if flag[:1] == "-" and flag[1:2] not in "XW-"]
    buffered = not (any("u" in flag for flag in flags) or heeded and os.environ.get("PYTHONUNBUFFERED"))
    streams = []
    for number, name in enumerate(_STREAMS):
        if not given and buffered and _is_like_a_pipe(number):
            streams.append(_ahead[number])
        else:
            streams.append(_stream(number, name, encoding, errors if number < 2 else "backslashreplace", buffered))
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams


def _is_like_a_pipe(number):
    """Whether the stream of such a descriptor is as the one that was made ahead."""
    try:
        status = os.fstat(number)
    except OSError:
        return False
    return status.st_mode & 0o170000 in (0o010000, 0o140000) and status.st_blksize == 4096


def _stream(number, name, encoding, errors, buffered):
    """As the interpreter makes it (`create_stdio`): nothing for a descriptor that is not open."""
    mode = "w" if number else "r"
    buffering = -1 if buffered or not number else 0
    try:
        binary = io.open(number, mode + "b", buffering, closefd=False)
    except OSError:
        return None
    (binary.raw if buffering else binary).name = name
    lines = number == 2 or not buffered or binary.isatty()
    stream = io.TextIOWrapper(binary, encoding, errors, "\n", line_buffering=lines, write_through=not buffered)
    stream.mode = mode
    return stream


def _program(arguments, main):
    """What runs the program when it is called, without an argument, from below every frame. Sets `sys.argv` and `sys.path[0]`."""
    first, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    sys.orig_argv[-2 - _preloaded :] = arguments
    option = first[:2]
    if option in ("-c", "-m"):
        text, rest = (first[2:], rest) if len(first) > 2 else (rest[0], rest[1:])
        sys.argv[:] = [option] + rest
        _put_first(option)
        if option == "-m":
            return _partial(runpy._run_module_as_main, text, True)
        return _command(text, main)
    sys.argv[:] = arguments or [""]
    if first in ("", "-"):
        if os.isatty(0):
            raise _Refused("beget: a copy of a Python has no interactive session: it wants a program", 2)
        _put_first(first)
        return _file(_stdin, "<stdin>", main, False)
    path = first
    if not path.startswith("/"):
        path = os.getcwd() + "/" + first
    if pkgutil.get_importer(path) is not None:
        sys.path.insert(0, path)
        return _partial(runpy._run_module_as_main, "__main__", False)
    _put_first(first)
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        words = "%s: can't open file %r: [Errno %d] %s" % (sys.orig_argv[0], path, error.errno, error.strerror)
        raise _Refused(words, 2) from None
    main.update(__file__=path, __cached__=None)
    if path.endswith(".pyc"):
        import marshal

        with open(number, "rb") as file:
            if file.read(16)[:4] != pkgutil.importlib.util.MAGIC_NUMBER:
                raise RuntimeError("Bad magic number in .pyc file")
            main["__loader__"] = SourcelessFileLoader("__main__", path)
            return _partial(exec, marshal.loads(file.read()), main)
    main["__loader__"] = SourceFileLoader("__main__", path)
    return _file(_python.fdopen(number, b"rb"), path, main, True)


def _command(text, main):
    if sys.version_info >= (3, 13):
        import linecache

        # This version shows the lines of a command in its tracebacks.
        code = compile(text, "<string>", "exec", dont_inherit=True)
        linecache.cache["<string>"] = (len(text), None, text.splitlines(True), "<string>")
        return _partial(exec, code, main)
    flags = _Flags(_DECODED, sys.version_info[1])
    return _partial(_python.PyRun_StringFlags, text.encode(), _WHOLE, main, main, ctypes.byref(flags))


def _file(stream, path, main, close):
    main.update(__file__=path, __cached__=None)
    return _partial(_python.PyRun_FileExFlags, stream, os.fsencode(path), _WHOLE, main, main, close, None)


def _put_first(name):
    """Where modules are looked for first (`_PyPathConfig_ComputeSysPath0`)."""
    if getattr(sys.flags, "safe_path", sys.flags.isolated):
        return
    if name in ("", "-c"):
        return sys.path.insert(0, "")
    try:
        if name == "-m":
            return sys.path.insert(0, os.getcwd())
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    except OSError:
        if name == "-m":
            return
    if os.path.exists(name):
        name = os.path.realpath(name)
    head, slash, _ = name.rpartition("/")
    sys.path.insert(0, head or slash)


# --- Its end -----------------------------------------------------------------------------------------------------------------------------


class _End:
    # Until it is known: the program was left by an exception that somebody else was told of.
    code = 1
    program = None
    interrupted = False
    names = ()
    # The type of what `sys.unraisablehook` is called with, which has no name.
    told = None


def _returned():
    _End.code = 0


def _unraisable(told):
    if _End.program is None or told.object is not _End.program:
        return _given(told)
    _End.program = None
    _raised(told.exc_type, told.exc_value, told.exc_traceback)


def _raised(kind, value, trace):
    """As the interpreter does with what the program did not catch (`PyErr_Print`)."""
    if issubclass(kind, SystemExit):
        return _leave(value)
    _End.code, _End.interrupted = 1, issubclass(kind, KeyboardInterrupt)
    sys.last_type, sys.last_value, sys.last_traceback = kind, value, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = value
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        _tell("sys.excepthook is missing\n")
        return sys.__excepthook__(kind, value, trace)
    try:
        hook(kind, value, trace)
    except SystemExit as left:
        _leave(left)
    except BaseException as other:
        _tell("Error in sys.excepthook:\n")
        other = other.with_traceback(other.__traceback__.tb_next)
        sys.__excepthook__(type(other), other, other.__traceback__)
        _tell("\nOriginal exception was:\n")
        sys.__excepthook__(kind, value, trace)


def _leave(left):
    code = getattr(left, "code", left)
    if code is None:
        _End.code = 0
    elif isinstance(code, int):
        _End.code = int(code) & 0xFF if -1 << 63 <= code < 1 << 63 else 0xFF
    else:
        _End.code = 1
        _tell(str(code) + "\n")


def _tell(words):
    try:
        sys.stderr.write(words)
        sys.stderr.flush()
    except BaseException:
        pass


def _await_threads():
    for name in _End.names:
        sys.modules["__main__"].__dict__.pop(name, None)
    threading = sys.modules.get("threading")
    if threading is not None:
        try:
            threading._shutdown()
        except BaseException as error:
            words = "Exception ignored on threading shutdown" if sys.version_info >= (3, 13) else None
            _ignored(error, error.__traceback__.tb_next, None if words else threading, words)


def _gone():
    """Flushes, and ends at once: nobody needs the memory cleared up."""
    code = _End.code
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException as error:
            code = 120
            if name == "stdout":
                words = "Exception ignored on flushing sys.stdout" if sys.version_info >= (3, 13) else None
                _ignored(error, None, None if words else stream, words)
    _python.fflush(None)
    if _End.interrupted:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _ignored(error, trace, what, words):
    """As the interpreter tells of what it cannot raise."""
    try:
        sys.unraisablehook(_End.told((type(error), error, trace, words, what)))
        sys.stderr.flush()
    except BaseException:
        pass


# --- The turn ----------------------------------------------------------------------------------------------------------------------------


def _hung(work):
    """Something that does this work when it is let go of."""
    return type("", (), {"__del__": staticmethod(work)})()


def _turn(kind, ready, trace):
    """Called for the exception that this text ends in: waits to be copied, and hangs upon it what the copy is to do."""
    sys.excepthook = sys.__excepthook__
    sys.last_type = sys.last_value = sys.last_traceback = sys.last_exc = None
    del sys.last_type, sys.last_value, sys.last_traceback, sys.last_exc
    try:
        os.kill(os.getpid(), 19)
        arguments, variables = _become(_unseeded)
    except BaseException:
        os._exit(125)
    ready.steps = _steps
    try:
        _set_environment(variables)
        _set_streams(_cold)
        main = sys.modules["__main__"] = type(sys)("__main__")
        main.__dict__.update(_pristine)
        if "__annotations__" in _pristine:
            main.__annotations__ = {}
        program = _program(arguments, main.__dict__)
        _End.names = [name for name in ("__file__", "__cached__") if name in main.__dict__]
        call = _partial.__call__
        _End.program = _partial(tuple, map(call, (program, _partial(_returned))))
        type(_steps["program"]).__del__ = staticmethod(_End.program)
    except _Refused as error:
        words, _End.code = error.args
        _tell(words + "\n")
    except Exception as error:
        _raised(type(error), error.with_traceback(None), None)
    # Let go of by nobody but the exception.
    globals().pop("_steps")


_preloaded = len(sys.argv) - 1
if not getattr(sys.flags, "safe_path", sys.flags.isolated):
    del sys.path[0]
_given = sys.unraisablehook
sys.unraisablehook = lambda told: setattr(_End, "told", type(told))
_hung(_partial(int, "none"))
_steps = {
    "program": _hung(_partial(int)),
    "threads": _hung(_partial(_await_threads)),
    "atexit": _hung(atexit._run_exitfuncs),
    "end": _hung(_partial(_gone)),
}
_cold, _unseeded = _prepare(sys.argv[1:])
sys.unraisablehook = sys.__unraisablehook__ = _unraisable
sys.excepthook = _turn
raise _Ready

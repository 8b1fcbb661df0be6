//! Python: a product is as an interpreter that was started just now, and unlike every other.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use beget::{Process, Stdio};
use beget_factory::adapter::Python;
use beget_factory::{Factory, Options, Ready};
use beget_tests::{Need, Scratch, has, skip};

use super::*;
use crate::harness::{Interpreter, Ran, cold, without_addresses};

/// Whether an ordinary child would find an interpreter; says that a test is skipped where not.
fn is_there(test: &str) -> bool {
    let there = has("python3");
    if !there {
        skip(test, Need::Program("python3"));
    }
    there
}

fn plain() -> Command {
    base("python3")
}

/// Programs as the first arguments have them, and what they read.
const COMMANDS: &[&str] = &[
    "print(6*7)",
    "import sys; print(sys.argv, sys.path, sys.flags, sys._getframe().f_back, sys.exc_info())",
    "print(globals()); x: int = 3; print(__annotations__)",
    "from __future__ import annotations\nx: int = 3; print(__annotations__)",
    "import sys; sys.exit(3)",
    "import sys; sys.exit('text')",
    "import sys; sys.exit(-1)",
    "import sys; sys.exit()",
    "raise SystemExit((1, 2))",
    "def f():\n  1/0\nf()",
    "try:\n  1/0\nexcept ZeroDivisionError: raise ValueError(2)",
    "print(",
    "print('out'); raise KeyboardInterrupt",
    "import os; os._exit(9)",
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "import warnings; warnings.warn('w'); warnings.warn('v', stacklevel=2)",
    "import traceback, inspect; traceback.print_stack(); print(len(inspect.stack()))",
    "import sys\ndef h(*a): print('hook', a[0])\nsys.excepthook = h\n1/0",
    "import sys\ndef h(*a): raise TypeError(1)\nsys.excepthook = h\n1/0",
    "import sys\ndef h(*a): sys.exit(7)\nsys.excepthook = h\n1/0",
    "import sys\ndel sys.excepthook\n1/0",
    "class A:\n def __del__(s): 1/0\nA()\nprint('x')",
    "import sys; sys.stdout.close()",
    "import sys; sys.stdout = None; print(1)",
    "import sys; sys.stderr = None; 1/0",
    "import os; os.close(1); print('x')",
    "import sys; print(sys.stdin, sys.stdout, sys.stderr, sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.buffer.raw)",
    "import os; print(sorted(os.environ.items()))",
    "import os; print(os.getcwd(), os.getpid() == __import__('threading').get_native_id())",
    "import sys; print(sys.stdin.read())",
    "import asyncio, json\nasync def f(): await asyncio.sleep(0.001); print(json.dumps([1]))\nasyncio.run(f())",
    "import atexit\natexit.register(print, 'first')\ndef bad(): 1/0\natexit.register(bad)\nprint('main')",
    "import threading, time\ndef late(): time.sleep(0.01); print('late')\nthreading.Thread(target=late).start()\nprint('main')",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nprint('main')",
    "import threading\ndef bad(): 1/0\nt = threading.Thread(target=bad); t.start(); t.join()",
    "import ctypes; ctypes.CDLL(None).printf(b'of C\\n'); print('of Python')",
    "import inspect\ndef f(): pass\ntry: print(inspect.getsource(f))\nexcept OSError as e: print(e)",
    "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)",
    "print('é', ascii('é'), '\\udcff')",
];

fn same(python: &Interpreter<Python>, arguments: &[&str], more: &[(&str, &str)], input: &[u8]) {
    let warm = without_addresses(python.run(arguments, more, input));
    let cold = without_addresses(cold(&plain, arguments, more, input));
    assert_eq!(warm, cold, "{arguments:?} {more:?}");
}

#[test]
fn a_product_runs_a_command_as_an_interpreter_of_its_own() {
    if !is_there("a_product_runs_a_command_as_an_interpreter_of_its_own") {
        return;
    }
    let python = Interpreter::new(Python::new(), &plain).expect("a template");
    for command in COMMANDS {
        same(&python, &["-c", command, "one", "-two"], &[("A", "b")], b"told\n");
    }
    same(&python, &["-cprint(1)", "x"], &[], b"");
    let encoding = "import sys; print(sys.stdout.encoding, sys.stdin.errors, sys.stderr.errors, sys.stdout.write_through)";
    for variable in [("PYTHONIOENCODING", "latin-1:replace"), ("PYTHONUNBUFFERED", "1"), ("TZ", "Asia/Tokyo")]
    {
        same(&python, &["-c", encoding], &[variable], b"");
        same(&python, &["-c", "import time; print(time.localtime(0), 'é')"], &[variable], b"");
    }
}

#[test]
fn a_product_runs_files_modules_and_its_input_as_an_interpreter_of_its_own() {
    if !is_there("a_product_runs_files_modules_and_its_input_as_an_interpreter_of_its_own") {
        return;
    }
    let folder = Scratch::new();
    let whole = "import sys, inspect, pickle, traceback\n\
        print(__name__, __file__, __spec__, type(__loader__), sys.argv, sys.path[0], sys.orig_argv, list(globals()))\n\
        class A: pass\n\
        print(type(pickle.loads(pickle.dumps(A()))) is A, inspect.getsource(A))\n\
        traceback.print_stack()\n\
        def f(): raise ValueError('x')\n\
        f()\n";
    let script = folder.file("script.py", whole);
    let wrong = folder.file("wrong.py", "x = (\nprint(1\n");
    let bytes = folder.file("bytes.py", b"x = '\xe9'\n");
    std::fs::create_dir(folder.at("pkg")).expect("our own folder");
    folder.file("pkg/__init__.py", "");
    folder.file("pkg/__main__.py", whole);
    folder.file("pkg/leaves.py", "print(__name__, __file__); raise SystemExit(4)");
    std::os::unix::fs::symlink("pkg/leaves.py", folder.at("link.py")).expect("our own folder");
    let at = folder.path().to_owned();
    let inside = move || {
        let mut command = base("python3");
        command.grant(Grant::Read(at.clone())).current_dir(&at);
        command
    };
    let python = Interpreter::new(Python::new(), &inside).expect("a template");
    let (link, package) = (folder.at("link.py"), folder.at("pkg"));
    for arguments in [
        &[script.as_str(), "1", "-c"][..],
        &["script.py"],
        &["./script.py"],
        &[&wrong],
        &[&bytes],
        &[&link],
        &[&package, "x"],
        &["pkg"],
        &["-m", "pkg", "x"],
        &["-m", "pkg.leaves"],
        &["-m", "not.there"],
        &["-mjson.tool", "-h"],
        &["not-there.py"],
        &["/usr"],
    ] {
        let warm = without_addresses(python.run(arguments, &[], b"[1]"));
        assert_eq!(warm, without_addresses(cold(&inside, arguments, &[], b"[1]")), "{arguments:?}");
    }
    for (arguments, input) in [
        (&[][..], &b"print(__name__, __file__, list(globals())); 1/0\n"[..]),
        (&["-"], b"def f():\n  raise ValueError\nf()"),
        (&["-", "a"], b"import sys; print(sys.argv, repr(sys.stdin.read()))"),
        (&[], b"x = (\n"),
        (&[], b"print('\xff')\n"),
        (&[], b"# coding: latin-1\nprint(ascii('\xe9'))\n"),
        (&[], b""),
        (&[], b"import sys\nprint('a'); print('b', file=sys.stderr); sys.exit('c')"),
    ] {
        let warm = without_addresses(python.run(arguments, &[], input));
        assert_eq!(warm, without_addresses(cold(&inside, arguments, &[], input)), "{arguments:?} {input:?}");
    }
}

#[test]
fn streams_over_pipes_are_as_an_interpreter_of_ones_own_has_them() {
    if !is_there("streams_over_pipes_are_as_an_interpreter_of_ones_own_has_them") {
        return;
    }
    let python = Interpreter::new(Python::new(), &plain).expect("a template");
    let shape = "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr:\n print(s, s.line_buffering, s.write_through, s.errors, s.seekable(), s.buffer, s.buffer.raw)\n";
    let read =
        format!("{shape}print(sys.stdin.read()); sys.stdout.flush(); print('told', file=sys.stderr); 1/0");
    let piped = |start: &dyn Fn([&dyn AsFd; 3]) -> Process| {
        let (theirs, mut feed) = std::io::pipe().expect("a pipe");
        let (mut reads, writes) = std::io::pipe().expect("a pipe");
        feed.write_all("gelesen: ä".as_bytes()).expect("room");
        drop(feed);
        let mut process = start([&theirs, &writes, &writes]);
        drop((theirs, writes));
        let mut out = String::new();
        reads.read_to_string(&mut out).expect("text");
        (out, process.wait().expect("it ends").status.code())
    };
    let warm = piped(&|streams| python.start(&["-c", &read], &[], streams).expect("a product"));
    let cold = piped(&|streams| {
        let [input, out, told] =
            streams.map(|stream| Stdio::from(stream.as_fd().try_clone_to_owned().expect("a descriptor")));
        let mut command = plain();
        command.args(["-c", &read]).stdin(input).stdout(out).stderr(told).spawn().expect("it starts")
    });
    assert_eq!(warm, cold);
}

#[test]
fn a_factory_with_an_adapter_promises_unique_products() {
    if !is_there("a_factory_with_an_adapter_promises_unique_products") {
        return;
    }
    let mut builder = Factory::builder(plain());
    builder.adapter(Python::new().preload(["random", "json"]));
    let factory = builder.seal().expect("a factory");
    let mut seen = BTreeSet::new();
    for number in 0..20 {
        let (mut reads, writes) = std::io::pipe().expect("a pipe");
        let mut request = factory.request();
        request
            .unique(true)
            .args(["-c", "import random, os; print(random.random(), os.environ['A'])"])
            .env("A", "b");
        let mut process = request.stdout(Stdio::from(writes)).start().expect("a product");
        drop(request);
        let mut out = String::new();
        reads.read_to_string(&mut out).expect("text");
        assert!(process.wait().expect("it ends").success(), "product {number}");
        assert!(out.ends_with(" b\n") && seen.insert(out.clone()), "product {number}: {out}");
    }
    let mut request = factory.request();
    let error = request.arg("-I").start().expect_err("no product");
    assert!(error.to_string().contains("-I is for when the interpreter starts"), "{error}");
}

/// How many products the tests of sameness make.
fn many() -> usize {
    std::env::var("BEGET_TEST_PRODUCTS").ok().and_then(|number| number.parse().ok()).unwrap_or(200)
}

/// Each line of what each of many products writes is no other product's.
fn all_differ(python: &Interpreter<Python>, program: &str, lines: usize) {
    let mut seen: BTreeSet<(usize, String)> = BTreeSet::new();
    for number in 0..many() {
        let Ran { out, told, code, .. } = python.run(&["-c", program], &[], b"");
        assert_eq!((told.as_str(), code), ("", Some(0)), "product {number}");
        assert_eq!(out.lines().count(), lines, "product {number}: {out}");
        for (line, value) in out.lines().enumerate() {
            assert!(seen.insert((line, value.to_owned())), "product {number}: {value} of line {line} again");
        }
    }
}

#[test]
fn no_two_products_draw_the_same_numbers() {
    if !is_there("no_two_products_draw_the_same_numbers") {
        return;
    }
    let folder = Scratch::new();
    folder.file(
        "own.py",
        "import random, os\nunseeded = random.Random()\nseeded = random.Random(42)\n\
         token = os.urandom(8).hex()\n\
         def fresh():\n    global token\n    token = os.urandom(8).hex()\n\
         os.register_at_fork(after_in_child=fresh)\n",
    );
    let at = folder.path().to_owned();
    let inside = move || {
        let mut command = base("python3");
        command.grant(Grant::Read(at.clone())).grant(Grant::Write("/tmp".into())).env("PYTHONPATH", &at);
        command
    };
    let modules = ["own", "tempfile", "uuid", "secrets", "ssl", "multiprocessing"];
    let python = Interpreter::new(Python::new().preload(modules), &inside).expect("a template");
    let program = "import random, uuid, secrets, tempfile, ssl, os, own, multiprocessing as m\n\
        print(random.random()); print(random.SystemRandom().random()); print(uuid.uuid1()); print(uuid.uuid4())\n\
        print(secrets.token_hex()); print(ssl.RAND_bytes(8).hex()); print(os.urandom(8).hex())\n\
        print(next(tempfile._get_candidate_names())); print(tempfile.mktemp())\n\
        print(own.unseeded.random()); print(own.token); print(bytes(m.current_process().authkey).hex())";
    all_differ(&python, program, 12);
    let seeded = |_| python.run(&["-c", "import own; print(own.seeded.random())"], &[], b"").out;
    assert_eq!(seeded(0), seeded(1), "a seed of one's own is kept");
}

/// The distribution's own Python, which has the distribution's numpy; says that a test is skipped where it has not.
fn with_numpy(test: &str) -> Option<fn() -> Command> {
    let inside: fn() -> Command = || base("/usr/bin/python3");
    let there = has("python3") && cold(&inside, &["-c", "import numpy"], &[], b"").code == Some(0);
    if !there {
        skip(test, Need::Program("numpy, of python3-numpy, for /usr/bin/python3"));
    }
    there.then_some(inside)
}

#[test]
fn no_two_products_with_numpy_draw_the_same_numbers() {
    let Some(inside) = with_numpy("no_two_products_with_numpy_draw_the_same_numbers") else { return };
    let python = Interpreter::new(Python::new().preload(["numpy"]), &inside).expect("a template");
    let program = "import numpy; print(numpy.random.random()); print(numpy.random.default_rng().random())";
    all_differ(&python, program, 2);
    let program = "import numpy as n; a = n.arange(10000).reshape(100, 100); print((a @ a).sum())";
    let warm = python.run(&["-c", program], &[], b"");
    assert_eq!(warm, cold(&inside, &["-c", program], &[], b""));
}

/// What a factory of this says; its products are not asked for.
fn refused(command: Command, adapter: Option<Python>) -> Option<String> {
    let mut builder = Factory::builder(command);
    match adapter {
        Some(adapter) => builder.adapter(adapter),
        None => builder.options(Options { ready: Some(Ready::Stop), ..Options::default() }),
    };
    builder.seal().err().map(|error| error.to_string())
}

#[test]
fn numpy_makes_a_template_when_its_library_starts_no_threads() {
    const NAME: &str = "numpy_makes_a_template_when_its_library_starts_no_threads";
    let Some(inside) = with_numpy(NAME) else { return };
    // Each element is a product of two numbers that no rounding touches: right or wrong, whatever computes it.
    let program = "import numpy; n = numpy.ones((300, 300)); print((n @ n).sum())";
    let counted = "import numpy, threading; n = numpy.ones((300, 300)); n @ n\n\
         print(sum(1 for line in open('/proc/self/status') if line == 'Threads:\\t1\\n'))";
    let proc = || {
        let mut command = inside();
        command.grant(Grant::Read("/proc".into()));
        command
    };
    let threaded = cold(&proc, &["-c", counted], &[("OPENBLAS_NUM_THREADS", "2")], b"").out == "0\n";
    if !threaded {
        // With one processor it may start none, whatever it is told.
        let several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        let library = "a numpy that starts threads: libopenblas0-pthread";
        return skip(NAME, if several { Need::Program(library) } else { Need::Machine(library) });
    }
    // Without an adapter the builder says it, and is told that it has to.
    let stopped = |more: &[(&str, &str)]| {
        let mut command = inside();
        command.args(["-c", "import numpy, os, signal; os.kill(os.getpid(), signal.SIGSTOP)"]);
        command.envs(more.iter().copied());
        refused(command, None)
    };
    let error = stopped(&[("OPENBLAS_NUM_THREADS", "2")]).expect("a copy has one thread");
    assert!(error.contains("template: survey: threads: 1 thread beside the first: python3"), "{error}");
    assert!(
        error.contains("OpenBLAS starts none when OPENBLAS_NUM_THREADS=1 is in the program's environment"),
        "{error}"
    );
    assert_eq!(stopped(&[("OPENBLAS_NUM_THREADS", "1")]), None);
    // With one it is said already, unless the builder says otherwise.
    let mut command = inside();
    command.env("OPENBLAS_NUM_THREADS", "2");
    let error = refused(command, Some(Python::new().preload(["numpy"]))).expect("a copy has one thread");
    assert!(error.contains("OPENBLAS_NUM_THREADS=1"), "{error}");
    let python = Interpreter::new(Python::new().preload(["numpy"]), &proc).expect("a template");
    assert_eq!(python.run(&["-c", counted], &[], b"").out, "1\n");
    assert_eq!(python.run(&["-c", program], &[], b""), cold(&inside, &["-c", program], &[], b""));
}

#[test]
fn an_import_that_starts_a_thread_makes_no_template() {
    if !is_there("an_import_that_starts_a_thread_makes_no_template") {
        return;
    }
    let folder = Scratch::new();
    folder.file("threaded.py", "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), name='busy', daemon=True).start()");
    let at = folder.path().to_owned();
    let inside = move || {
        let mut command = base("python3");
        command.grant(Grant::Read(at.clone())).env("PYTHONPATH", &at);
        command
    };
    let error = Interpreter::new(Python::new().preload(["threaded"]), &inside).err().expect("no template");
    assert!(error.to_string().contains("ended with 1 before it was ready"), "{error}");
}

#[test]
fn what_cannot_be_made_unlike_the_others_runs_nothing() {
    if !is_there("what_cannot_be_made_unlike_the_others_runs_nothing") {
        return;
    }
    let folder = Scratch::new();
    folder.file(
        "breaks.py",
        "import random\nclass R:\n    def seed(self): raise OSError\nrandom._inst = R()\n",
    );
    let at = folder.path().to_owned();
    let inside = move || {
        let mut command = base("python3");
        command.grant(Grant::Read(at.clone())).env("PYTHONPATH", &at);
        command
    };
    let python = Interpreter::new(Python::new().preload(["breaks"]), &inside).expect("a template");
    let (mut reads, writes) = std::io::pipe().expect("a pipe");
    let error =
        python.start(&["-c", "print('run')"], &[], [&writes, &writes, &writes]).expect_err("no product");
    assert!(error.to_string().contains("without saying that it is unlike the others"), "{error}");
    drop(writes);
    let mut out = String::new();
    std::io::Read::read_to_string(&mut reads, &mut out).expect("a pipe");
    assert_eq!(out, "");
}

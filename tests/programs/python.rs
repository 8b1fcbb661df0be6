//! Python: threads, asyncio, children, multiprocessing, temporary files and the libraries that reach far into the system.

use std::path::Path;

use beget_tests::{Need, Scratch, skip};

use crate::{lacks, run};

fn python(flags: &[&str], code: &str) -> crate::Ran {
    run(flags, &["python3", "-c", code])
}

#[test]
fn runs_threads_and_its_libraries() {
    if lacks("runs_threads_and_its_libraries", &["python3"]) {
        return;
    }
    python(&[], "print(6*7)").prints("42\n");
    let code = "
import hashlib, json, ssl, sqlite3, threading, uuid, zlib, ctypes, random, queue
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda n: n * n, range(10))))
print(hashlib.sha256(b'').hexdigest()[:8], json.dumps({'a': [1, None]}))
print(ssl.create_default_context().verify_mode.name)
print(sqlite3.connect(':memory:').execute('select 6*7').fetchone()[0])
print(zlib.decompress(zlib.compress(b'z')), len(str(uuid.uuid4())))
print(ctypes.CDLL(None).abs(-3))
";
    python(&[], code).prints("285\ne3b0c442 {\"a\": [1, null]}\nCERT_REQUIRED\n42\nb'z' 36\n3\n");
}

#[test]
fn opens_only_what_was_granted() {
    if lacks("opens_only_what_was_granted", &["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.file("mine", "secret");
    let code = format!("print(open({file:?}).read())");
    python(&["--read", &file], &code).prints("secret\n");
    python(&[], &code).fails("PermissionError: [Errno 13] Permission denied");
    let writes = format!("open({file:?}, 'w').write('other')");
    python(&["--read", &file], &writes).fails("PermissionError: [Errno 13] Permission denied");
    assert_eq!(std::fs::read_to_string(&file).expect("our own file"), "secret");
    python(&["--write", &file], &writes).prints("");
    assert_eq!(std::fs::read_to_string(&file).expect("our own file"), "other");
}

#[test]
fn asyncio_works_and_sockets_are_refused_gracefully() {
    if lacks("asyncio_works_and_sockets_are_refused_gracefully", &["python3"]) {
        return;
    }
    let code = "
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.call_later(0.01, event.set)
    await event.wait()
    print(await loop.run_in_executor(None, lambda: 'executor'))
    reader, writer = __import__('socket').socketpair()
    stream, _ = await asyncio.open_connection(sock=reader)
    writer.send(b'pair\\n')
    print(await stream.readline())
    try:
        await asyncio.open_connection('127.0.0.1', 1)
    except OSError as error:
        print(error.errno)
asyncio.run(main())
";
    python(&[], code).prints("executor\nb'pair\\n'\n97\n");
    // A pair of datagram sockets could send to any socket that has a path.
    let datagrams = "import socket as s; s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)";
    python(&[], datagrams).fails("PermissionError: [Errno 1] Operation not permitted");
}

#[test]
fn children_need_spawn() {
    if lacks("children_need_spawn", &["python3"]) {
        return;
    }
    let code = "
import asyncio, os, subprocess
print(subprocess.run(['echo', 'list'], capture_output=True, check=True).stdout)
print(subprocess.run('echo shell | tr s S', shell=True, capture_output=True, check=True).stdout)
child = os.fork()
if child == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
async def main():
    process = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    print((await process.communicate(b'async'))[0])
asyncio.run(main())
";
    python(&["--spawn"], code).prints("b'list\\n'\nb'Shell\\n'\n7\nb'async'\n");
    let one = "import subprocess; subprocess.run(['echo', 'list'])";
    python(&[], one).fails("PermissionError: [Errno 1] Operation not permitted").tells("--spawn");
    // A child holds no more than the program does.
    let scratch = Scratch::new();
    let file = scratch.file("mine", "secret");
    let cat = format!("import subprocess; subprocess.run(['cat', {file:?}], check=True)");
    python(&["--spawn", "--read", &file], &cat).prints("secret");
    python(&["--spawn"], &cat).fails("Permission denied");
}

#[test]
fn multiprocessing_needs_shared_memory() {
    let name = "multiprocessing_needs_shared_memory";
    if lacks(name, &["python3"]) {
        return;
    }
    if !Path::new("/dev/shm").is_dir() {
        return skip(name, Need::Machine("/dev/shm"));
    }
    let scratch = Scratch::new();
    // `spawn` and `forkserver` import the program anew in each worker, so it is a file.
    let program = scratch.file(
        "program.py",
        "
import multiprocessing, sys
from multiprocessing import shared_memory
def square(n): return n * n
if __name__ == '__main__':
    for method in 'fork', 'spawn':
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool: print(pool.map(square, [2, 3]))
        queue = context.Queue()
        process = context.Process(target=queue.put, args=(7,))
        process.start()
        print(queue.get())
        process.join()
    block = shared_memory.SharedMemory(create=True, size=16)
    block.buf[0] = 5
    again = shared_memory.SharedMemory(block.name)
    print(again.buf[0])
    again.close()
    block.close()
    block.unlink()
",
    );
    let words = ["python3", "-W", "ignore", &program];
    let grants = ["--spawn", "--read", &program];
    run(&[&grants[..], &["--write", "/dev/shm"]].concat(), &words).prints("[4, 9]\n7\n[4, 9]\n7\n5\n");
    run(&grants, &words).fails("PermissionError: [Errno 13] Permission denied");
}

#[test]
fn temporary_files_follow_tmpdir() {
    if lacks("temporary_files_follow_tmpdir", &["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.at("");
    let code = "
import os, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as unnamed:
    unnamed.write(b'x')
    open(folder + '/f', 'w').close()
    os.rename(folder + '/f', folder + '/g')
    print(folder.startswith(os.environ['TMPDIR']), os.listdir(folder))
";
    let variable = format!("TMPDIR={place}");
    python(&["--write", &place, "--env", &variable], code).prints("True ['g']\n");
    let unwritable = python(&["--env", &variable], code);
    unwritable.fails("FileNotFoundError: [Errno 2] No usable temporary directory found");
}

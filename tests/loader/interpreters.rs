//! Python, Node, shells and perl: their threads, their children, their signals.

use crate::{case, lacks};

#[test]
fn python_with_threads_children_and_an_event_loop() {
    if lacks("python_with_threads_children_and_an_event_loop", &["python3"]) {
        return;
    }
    let code = "
import asyncio, ctypes, hashlib, json, os, signal, ssl, sqlite3, subprocess, sys, threading, zlib
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda n: n * n, range(10))))
print(hashlib.sha256(b'').hexdigest()[:8], json.dumps({'a': [1, None]}), ctypes.CDLL(None).abs(-3))
print(sqlite3.connect(':memory:').execute('select 6*7').fetchone()[0], zlib.decompress(zlib.compress(b'z')))
print(sys.executable, sys.prefix, sys.argv, sorted(os.environ), os.getcwd())
async def main():
    process = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    print((await process.communicate(b'async'))[0])
asyncio.run(main())
print(subprocess.run(['echo', 'list'], capture_output=True, check=True).stdout)
print(subprocess.run('echo shell | tr s S', shell=True, capture_output=True, check=True).stdout)
child = os.fork()
if child == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.signal(signal.SIGUSR1, lambda *_: print('caught'))
os.kill(os.getpid(), signal.SIGUSR1)
sys.stderr.write('told')
sys.exit(3)
";
    let ran = case(&["python3", "-c", code, "argument"]).flags(&["--spawn"]).agrees();
    assert_eq!((ran.code, ran.err.as_str()), (3, "told"), "{ran:?}");
    let end = "b'async'\nb'list\\n'\nb'Shell\\n'\n7\ncaught\n";
    assert!(ran.out.starts_with("285\ne3b0c442 ") && ran.out.ends_with(end), "{ran:?}");
}

#[test]
fn node_with_a_worker_and_a_child() {
    if lacks("node_with_a_worker_and_a_child", &["node"]) {
        return;
    }
    let code = "
const { Worker } = require('worker_threads');
const { execSync } = require('child_process');
const worker = new Worker(`require('worker_threads').parentPort.on('message', n => {
    require('worker_threads').parentPort.postMessage(n * 7);
    process.exit(0);
})`, { eval: true });
worker.on('message', n => console.log(n, execSync('echo child').toString().trim(), process.argv0));
worker.postMessage(6);
";
    case(&["node", "-e", code]).flags(&["--spawn"]).prints("42 child node\n");
    assert_eq!(case(&["node", "-e", "throw new Error('x')"]).agrees().code, 1);
}

#[test]
fn shells_with_pipes_traps_and_jobs() {
    let script = "trap 'echo caught' USR1; kill -USR1 $$; x=$(echo in | cat); echo $x $0 $#;
( exit 4 ); echo $?; sleep 0 & wait $!; echo waited $?; cat <<END | tr a-z A-Z
here
END
cd /usr && pwd; echo told >&2; exit 9";
    for shell in ["dash", "bash"] {
        if lacks("shells_with_pipes_traps_and_jobs", &[shell]) {
            continue;
        }
        let ran = case(&[shell, "-c", script, "name", "one"]).flags(&["--spawn"]).agrees();
        let expected = "caught\nin name 1\n4\nwaited 0\nHERE\n/usr\n";
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (9, expected, "told\n"));
    }
}

#[test]
fn perl_forks() {
    if lacks("perl_forks", &["perl"]) {
        return;
    }
    let code = r#"$| = 1; my $child = fork; exit 3 unless $child; waitpid $child, 0; print $? >> 8, "\n";
print `echo quoted`, join(",", map { $_ ** 2 } 1..3), "\n"; $0 = "renamed"; die "dead\n";"#;
    let ran = case(&["perl", "-e", code]).flags(&["--spawn"]).agrees();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (255, "3\nquoted\n1,4,9\n", "dead\n"));
}

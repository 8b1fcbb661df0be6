//! Node: worker threads, children, files.

use beget_tests::Scratch;

use crate::{Ran, lacks, run};

fn node(flags: &[&str], code: &str) -> Ran {
    run(flags, &["node", "-e", code])
}

#[test]
fn runs_with_worker_threads() {
    if lacks("runs_with_worker_threads", &["node"]) {
        return;
    }
    let code = "
const { Worker } = require('worker_threads');
const hash = require('crypto').createHash('sha256').update('').digest('hex').slice(0, 8);
const worker = new Worker(`require('worker_threads').parentPort.on('message', n => {
    require('worker_threads').parentPort.postMessage(n * 7);
    process.exit(0);
})`, { eval: true });
worker.on('message', n => console.log(n, hash));
worker.postMessage(6);
";
    node(&[], code).prints("42 e3b0c442\n");
    let connects =
        "require('net').connect(1, '127.0.0.1').on('error', e => { console.error(e.code); process.exit(3) })";
    node(&[], connects).fails("EAFNOSUPPORT").tells("--tcp-connect");
}

#[test]
fn children_need_spawn() {
    if lacks("children_need_spawn", &["node"]) {
        return;
    }
    let code = "
const child = require('child_process');
console.log(child.execSync('echo sync').toString().trim());
const cat = child.spawn('cat');
cat.stdout.on('data', data => console.log(data.toString()));
cat.on('exit', code => child.exec('exit 3', error => console.log(code, error.code)));
cat.stdin.end('piped');
";
    node(&["--spawn"], code).prints("sync\npiped\n0 3\n");
    let one = "const r = require('child_process').spawnSync('echo'); if (r.error) throw r.error";
    node(&[], one).fails("spawnSync echo EPERM").tells("--spawn");
}

#[test]
fn file_promises_reach_only_what_was_granted() {
    if lacks("file_promises_reach_only_what_was_granted", &["node"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.at("");
    let other = Scratch::new();
    let secret = other.file("secret", "secret");
    let code = format!(
        "
const fs = require('fs/promises');
(async () => {{
    process.chdir({place:?});
    await fs.writeFile('a', 'one');
    await fs.appendFile('a', ' two');
    await fs.copyFile('a', 'b');
    await fs.rename('b', 'c');
    await fs.chmod('c', 0o600);
    await fs.utimes('c', 1, 1);
    await fs.mkdir('d/e', {{ recursive: true }});
    await fs.symlink('../c', 'd/l');
    const status = await fs.stat('c');
    console.log(await fs.readFile('d/l', 'utf8'), (status.mode & 0o777).toString(8), status.mtimeMs);
    console.log((await fs.readdir('.')).join());
    await fs.rm('d', {{ recursive: true }});
    for (const path of [{secret:?}, '/etc'])
        await fs.open(path).then(() => console.log('open'), error => console.log(error.code));
}})();
"
    );
    node(&["--write", &place], &code).prints("one two 600 1000\na,c,d\nEACCES\nEACCES\n");
    assert_eq!(std::fs::read_to_string(scratch.at("c")).expect("made by the program"), "one two");
    node(&["--read", &place], &code).fails("EACCES: permission denied, open 'a'");
}

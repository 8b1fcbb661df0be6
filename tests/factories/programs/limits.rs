//! What a request gives of its own: a directory, limits, a file to write to.

use std::fs::File;

use beget::{Command, Grant, Limit, Stdio};
use beget_factory::Ready;
use beget_tests::{Scratch, text};

use super::{next_options, seal};

#[test]
fn directories_limits_and_files() {
    let scratch = Scratch::new();
    for ready in [Ready::Entry, Ready::Main, Ready::Stdin] {
        let mut command = Command::new("bash");
        command.args(["-c", "read a; /bin/pwd; ulimit -n; umask; exec 2>/dev/null; for i in {1..20}; do eval \"exec $((i+10))</dev/null\" || exit 3; done"]);
        command.grants([Grant::Base, Grant::Spawn]).umask(0o27);
        let factory = seal(command, next_options(ready.clone())).expect("a factory");
        for (files, code) in [(17, 3), (64, 0)] {
            let (output, name) = {
                let name = scratch.at("output");
                (File::create(&name).expect("a file"), name)
            };
            let mut request = factory.request();
            request.stdin(File::open(scratch.file("input", "a\n")).expect("a file")).stdout(output);
            request.stderr(Stdio::null()).current_dir_fd(File::open("/usr").expect("a folder"));
            let process = request.limit(Limit::OpenFiles(files)).start().expect("a product");
            let ended = process.wait_shared().expect("its end");
            let said = std::fs::read(name).expect("its output");
            assert_eq!(text(&said), format!("/usr\n{files}\n0027\n"), "{ready}");
            assert_eq!(ended.status.code(), Some(code), "{ready} {files}");
        }
    }
}

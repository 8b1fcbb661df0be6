//! What is started: a program of three instructions, one without a loader, and one with; and one that waits to be asked.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::folder::Folder;

const TINY: &str = ".globl _start\n_start: mov $60, %eax\nxor %edi, %edi\nsyscall\n.section .note.GNU-stack,\"\",@progbits\n";
const STATIC: &str = "int main(void) { return 0; }\n";
/// Answers each byte that it reads with one; before it answers one that is not zero, it forks, and waits for the child's end.
const ASKED: &str = "\
.globl _start
_start: sub $16, %rsp
1: xor %eax, %eax
xor %edi, %edi
mov %rsp, %rsi
mov $1, %edx
syscall
test %eax, %eax
jle 9f
cmpb $0, (%rsp)
je 2f
mov $57, %eax
syscall
test %eax, %eax
jz 9f
mov %eax, %edi
xor %esi, %esi
xor %edx, %edx
xor %r10d, %r10d
mov $61, %eax
syscall
2: mov $1, %eax
xor %edi, %edi
mov %rsp, %rsi
mov $1, %edx
syscall
jmp 1b
9: mov $60, %eax
xor %edi, %edi
syscall
.section .note.GNU-stack,\"\",@progbits
";

/// One program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in tables.
    pub name: &'static str,
    /// Where it is.
    pub path: CString,
}

/// The programs, in a folder that goes away.
pub struct Programs {
    folder: Folder,
    /// Those that could be made.
    pub all: Vec<Program>,
    /// One that waits to be asked, for [`Asked`](super::Asked).
    pub asked: Option<PathBuf>,
    /// What could not, and why.
    pub missing: Vec<String>,
}

impl Programs {
    /// Builds them with `cc`.
    pub fn build() -> Result<Programs, String> {
        // A confined child may be started by another user than the folder's.
        let folder = Folder::make("beget-bench", true)?;
        let mut programs = Programs { folder, all: Vec::new(), asked: None, missing: Vec::new() };
        programs.make("tiny", "tiny.S", TINY, &["-nostdlib", "-static"]);
        programs.make("static", "static.c", STATIC, &["-O2", "-static"]);
        match ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists()) {
            Some(path) => programs.add("dynamic true", Path::new(path)),
            None => programs.missing.push("dynamic true: there is no /bin/true".to_owned()),
        }
        programs.asked = programs.built("asked", "asked.S", ASKED, &["-nostdlib", "-static"]);
        Ok(programs)
    }

    fn add(&mut self, name: &'static str, path: &Path) {
        if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
            self.all.push(Program { name, path });
        }
    }

    fn make(&mut self, name: &'static str, source: &str, text: &str, flags: &[&str]) {
        if let Some(program) = self.built(name, source, text, flags) {
            self.add(name, &program);
        }
    }

    fn built(&mut self, name: &str, source: &str, text: &str, flags: &[&str]) -> Option<PathBuf> {
        match self.compile(name, source, text, flags) {
            Ok(program) => Some(program),
            Err(why) => {
                self.missing.push(format!("program {name}: {why}"));
                None
            }
        }
    }

    /// Builds one more, for a subject that alone has a use for it.
    pub fn compile(&self, name: &str, source: &str, text: &str, flags: &[&str]) -> Result<PathBuf, String> {
        let program = self.folder.path().join(name);
        let source = self.text(source, text)?;
        let mut cc = std::process::Command::new("cc");
        let output = cc.args(flags).arg("-o").arg(&program).arg(&source).output();
        let output = output.map_err(|error| format!("cc: {error}"))?;
        if output.status.success() { Ok(program) } else { Err(format!("cc: {}", output.status)) }
    }

    /// Puts a file beside them.
    pub fn text(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Program> {
        self.all.iter().find(|program| program.name == name)
    }

    /// The smallest that there is.
    pub fn smallest(&self) -> Option<&Program> {
        self.all.first()
    }
}

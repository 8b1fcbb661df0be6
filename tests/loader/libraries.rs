//! Programs with libraries: two hundred, one before the others, none that can be found; and a loader that is asked by name.

use std::fmt::Write;

use crate::fixtures::{self, c};
use crate::{case, lacks};

#[test]
fn two_hundred_libraries() {
    if lacks("two_hundred_libraries", &["gcc"]) {
        return;
    }
    const COUNT: usize = 200;
    let folder = fixtures::folder();
    std::fs::create_dir(folder.at("many")).expect("an empty folder");
    // One compiled source, linked into so many libraries: their names and their one symbol differ.
    let mut script = String::from("set -e\n");
    for number in 0..COUNT {
        writeln!(
            script,
            "echo 'int f{number}(void) {{ static int v = {number}; return v; }}' > many/{number}.c"
        )
        .expect("memory");
        writeln!(script, "echo 'many/{number}.o' >> many/list").expect("memory");
    }
    writeln!(script, "gcc -O0 -fPIC -x c -c many/*.c 2>&1; mv [0-9]*.o many/").expect("memory");
    writeln!(script, "for o in many/*.o; do n=${{o##*/}}; ld -shared -o many/lib${{n%.o}}.so $o; done")
        .expect("memory");
    let made = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("PATH", beget::DEFAULT_PATH)
        .current_dir(folder.path())
        .output()
        .expect("sh is there");
    assert!(made.status.success(), "{}", beget_tests::text(&made.stderr));

    let declared: String = (0..COUNT).map(|number| format!("int f{number}(void);\n")).collect();
    let summed: String = (0..COUNT).map(|number| format!(" + f{number}()")).collect();
    let source =
        format!("#include <stdio.h>\n{declared}int main(void) {{ printf(\"%d\\n\", 0{summed}); }}\n");
    let search = format!("-L{}", folder.at("many"));
    let names: Vec<String> = (0..COUNT).map(|number| format!("-l{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lazily = c(&source, &[&[search.as_str()], &names[..]].concat());
    let place = folder.at("many");
    case(&[&lazily]).flags(&["--exec", &place]).env("LD_LIBRARY_PATH", &place).prints("19900\n");
    let missing = case(&[&lazily]).env("LD_LIBRARY_PATH", "/nowhere").agrees();
    assert!(missing.code == 127 && missing.err.contains("cannot open shared object file"), "{missing:?}");
}

#[test]
fn a_library_before_the_others() {
    if lacks("a_library_before_the_others", &["gcc"]) {
        return;
    }
    let program = c("#include <stdio.h>\nint main(void) { puts(\"own\"); }", &[]);
    let library = c(
        "#include <unistd.h>\nint puts(const char *text) { return write(1, \"other\\n\", 6); }",
        &["-shared", "-fPIC"],
    );
    case(&[&program]).prints("own\n");
    case(&[&program]).flags(&["--exec", &library]).env("LD_PRELOAD", &library).prints("other\n");
}

#[test]
fn a_loader_by_name_loads_the_program() {
    for program in ["/bin/true", "/bin/false"] {
        let ran = case(&["/lib64/ld-linux-x86-64.so.2", program]).agrees();
        assert_eq!(ran.code, i32::from(program.ends_with("false")), "{ran:?}");
    }
    let list = case(&["/lib64/ld-linux-x86-64.so.2", "--verify", "/bin/true"]).agrees();
    assert_eq!((list.code, list.out.as_str()), (0, ""));
}

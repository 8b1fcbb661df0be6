//! What a product reaches: nothing of its template, of another product, of the nursery and the factory, and nothing that the stub left; and what
//! others of its user reach of it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use beget::{Command, Grant, Process, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::{Need, is_root, program, skip};

use super::before::libraries;

const LONG: Duration = Duration::from_secs(60);
const SECRET: &str = "what-only-the-other-product-was-told";

fn factory(ready: Ready, pool: usize, opaque: bool) -> Factory {
    let attacker = program("product-attacker");
    let mut command = Command::new(&attacker);
    command.arg("inside");
    if ready == Ready::Stop {
        command.arg("stop");
    }
    // Without /proc there is little to try.
    command.grant(Grant::Execute(attacker)).grant(Grant::Read("/proc".into()));
    for library in libraries() {
        command.grant(Grant::Execute(library));
    }
    let mut builder = Factory::builder(command);
    let pool = Pool { low_water: pool, ..Pool::of(pool) };
    builder.options(Options { ready: Some(ready), pool, opaque, ..Options::default() });
    let factory = builder.seal().expect("a factory");
    let until = Instant::now() + LONG;
    while factory.statistics().waiting < pool.size as u64 {
        assert!(Instant::now() < until, "the pool is not filled");
        std::thread::sleep(Duration::from_millis(2));
    }
    factory
}

/// A product, with this argument where it can be.
fn product(factory: &Factory, argument: Option<&str>) -> Process {
    let mut request = factory.request();
    request.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if let Some(argument) = argument {
        request.arg(argument).env("WORD", argument);
    }
    request.start().expect("a product")
}

/// Tells it this, and no more.
fn tell(process: &mut Process, lines: &str) {
    process.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
}

fn parent(number: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    parent.trim().parse().expect("a number")
}

/// Products that wait, of a factory that has made these.
fn waiting(factory: &Factory, made: &[u32]) -> Vec<u32> {
    let template = factory.template_number().expect("a template");
    let nursery = parent(template);
    let list = std::fs::read_to_string(format!("/proc/{nursery}/task/{nursery}/children")).expect("it lives");
    let all = list.split_ascii_whitespace().filter_map(|number| number.parse().ok());
    all.filter(|number| *number != template && !made.contains(number)).collect()
}

/// One that holds what it was told, and does nothing.
fn quiet(factory: &Factory, argument: Option<&str>) -> Process {
    let mut process = product(factory, argument);
    tell(&mut process, &format!("quiet={SECRET}\n"));
    let mut said = Vec::new();
    let output = process.stdout.as_mut().expect("a pipe");
    while !said.ends_with(b"end\n") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).expect("it says"), 1, "{}", beget_tests::text(&said));
        said.push(byte[0]);
    }
    process
}

fn attacks(ready: Ready, pool: usize, opaque: bool) {
    let factory = factory(ready.clone(), pool, opaque);
    let argument = (ready == Ready::Entry).then_some(SECRET);
    let other = quiet(&factory, argument);
    let mut attacker = product(&factory, None);
    let template = factory.template_number().expect("a template");
    let (nursery, own) = (parent(template), std::process::id());
    let changed: String = SECRET.bytes().map(|byte| char::from(byte ^ 1)).collect();
    let mut lines =
        format!("template={template}\nnursery={nursery}\nguard={}\nfactory={own}\n", parent(nursery));
    lines.push_str(&format!("product={}\nsecret={changed}\n", other.id()));
    if let Some(number) = waiting(&factory, &[other.id(), attacker.id()]).first() {
        lines.push_str(&format!("waiting={number}\n"));
    }
    tell(&mut attacker, &lines);
    let output = attacker.wait_with_output().expect("it ends");
    let said = beget_tests::text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{ready}: {said}");
    assert!(said.ends_with("end\n") && said.lines().count() > 150, "{ready}: {said}");
    let open: Vec<&str> = said.lines().filter(|line| line.contains("OPEN")).collect();
    assert_eq!(open, [""; 0], "{ready}, pool of {pool}, opaque: {opaque}");
    for line in [
        "descriptors: [0, 1, 2]",
        "executable: 1",
        "lasting: r-xp 4096 bytes, 2 calls",
        "secrets: none",
        "guesses: many",
    ] {
        assert!(said.lines().any(|said| said == line), "{ready}: {line}: {said}");
    }
    // Both are as they were.
    assert_eq!(factory.template_number(), Some(template));
    assert!(other.try_wait().expect("it is waited for").is_none());
    let _ = other.kill();
}

#[test]
fn a_product_reaches_nothing_of_its_factory_and_finds_nothing_of_another() {
    attacks(Ready::Stop, 0, true);
    attacks(Ready::Stop, 2, false);
    attacks(Ready::Entry, 0, false);
    attacks(Ready::Entry, 2, true);
}

/// What a process that is not confined can do to another of its user.
fn reached(number: u32) -> Vec<String> {
    let mut got = Vec::new();
    for file in ["mem", "environ", "maps", "auxv", "fd", "syscall", "root", "cwd"] {
        let path = format!("/proc/{number}/{file}");
        let open = match file {
            "fd" => std::fs::read_dir(path).map(drop),
            "root" | "cwd" => std::fs::read_link(path).map(drop),
            _ => std::fs::File::open(path).and_then(|mut file| file.read(&mut [0; 1]).map(drop).or(Ok(()))),
        };
        if open.is_ok() {
            got.push(file.to_owned());
        }
    }
    let (mut word, number) = (0u64, number as i32);
    let here = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let there = libc::iovec { iov_base: (reached as *const () as usize) as *mut libc::c_void, iov_len: 8 };
    // SAFETY: reads into eight bytes of ours; where there is no memory that is `EFAULT`, which is an answer too.
    let read = unsafe { libc::process_vm_readv(number, &here, 1, &there, 1, 0) };
    if read >= 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT) {
        got.push("process_vm_readv".to_owned());
    }
    // SAFETY: plain calls; what they give is closed.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, number, 0) as i32;
        let taken = libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) as i32;
        if taken >= 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) {
            got.push("pidfd_getfd".to_owned());
        }
        libc::close(taken);
        libc::close(pidfd);
        if libc::ptrace(libc::PTRACE_SEIZE, number, 0, 0) == 0 {
            got.push("ptrace".to_owned());
            libc::ptrace(libc::PTRACE_INTERRUPT, number, 0, 0);
            libc::waitpid(number, std::ptr::null_mut(), libc::__WALL);
            libc::ptrace(libc::PTRACE_DETACH, number, 0, 0);
        }
    }
    got
}

#[test]
fn others_of_its_user_reach_nothing_of_an_opaque_product() {
    let test = "others_of_its_user_reach_nothing_of_an_opaque_product";
    if is_root() {
        return skip(test, Need::OrdinaryUser);
    }
    for opaque in [true, false] {
        let factory = factory(Ready::Stop, 1, opaque);
        let product = quiet(&factory, None);
        let template = factory.template_number().expect("a template");
        let all = [("template", template), ("product", product.id())];
        let waiting = waiting(&factory, &[product.id()]);
        for (who, number) in all.into_iter().chain(waiting.into_iter().map(|number| ("waiting", number))) {
            let got = reached(number);
            if opaque {
                assert_eq!(got, [""; 0], "{who}");
            } else {
                // The contrast: it is the option that closes it.
                assert!(got.len() > 5, "{who}: {got:?}");
            }
        }
        // SAFETY: sends a signal by a pidfd that is ours.
        let sent = unsafe { libc::kill(product.id() as i32, libc::SIGABRT) };
        assert_eq!(sent, 0);
        let ended = product.wait_timeout(LONG).expect("it is waited for").expect("it ends");
        assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&ended.status));
    }
}

//! SIGKILL for clients, the process service and the monitor at any moment, while births and deaths go on: each exit status is told exactly
//! once, and is the right one; nothing and nobody is left.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use beget_service::protocol::Life;
use beget_tests::{in_own_process, text, with_time};

use crate::{Random, Running, adopt_orphans, descriptors_of, setting, until, wish};

/// Who is shot at, beside clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Service,
    Both,
}

/// What became of the domains, by name: the code that each ends with, and whether its spawn was answered.
type Asked = Mutex<HashMap<String, (u32, bool)>>;

/// One client: births, and waits for their ends, by processes that may be killed themselves.
fn client(
    running: &Running,
    number: u64,
    stop: &AtomicBool,
    asked: &Asked,
    target: Target,
    done: &AtomicUsize,
) {
    let mut random = Random::new(number);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let name = format!("c{number}-{count}");
        let code = random.below(100) as u32;
        asked.lock().unwrap().insert(name.clone(), (code, false));
        let script = format!("sleep 0.0{}; exit {code}", random.below(10));
        let words = ["spawn", &name, "--base", "--spawn", "--", "/bin/sh", "-c", &script];
        let mut spawn = running
            .beget(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("beget can be started");
        if random.below(8) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(8000)));
            let _ = spawn.kill();
            let _ = spawn.wait();
            continue;
        }
        let output = spawn.wait_with_output().expect("our own child");
        if !output.status.success() {
            // Only a monitor that was killed in the middle is an excuse, and then it must say so.
            let said = text(&output.stderr);
            assert!(target == Target::Both && said.contains("monitor"), "{name}: {said}");
            asked.lock().unwrap().remove(&name);
            continue;
        }
        asked.lock().unwrap().insert(name.clone(), (code, true));
        let mut wait =
            running.beget(&["wait", &name]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        if random.below(8) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(8000)));
            let _ = wait.kill();
            let _ = wait.wait();
        }
        let output = running.beget(&["wait", &name]).output().expect("beget can be started");
        assert_eq!(output.status.code(), Some(code as i32), "{name}: {}", text(&output.stderr));
        let _ = wait.wait();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client that lives on: its session and its capabilities outlive the service.
fn holder(running: &Running, stop: &AtomicBool, target: Target, done: &AtomicUsize) {
    let mut service = running.session();
    let mut random = Random::new(77);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let code = random.below(100) as u32;
        let script = format!("sleep 0.1; exit {code}");
        let mut command = beget::Command::new("/bin/sh");
        command.arg("-c").arg(&script).grant(beget::Grant::Base).grant(beget::Grant::Spawn);
        let mut domain = match service.spawn(wish(&mut command, &format!("h-{count}"))) {
            Ok(domain) => domain,
            Err(error) => {
                assert!(target == Target::Both, "{error}");
                continue;
            }
        };
        match domain.wait() {
            Ok(record) => assert_eq!(record.life, Life::Exited(code), "{record:?}"),
            // With the monitor and the service gone at once nobody holds the other end.
            Err(error) => assert!(target == Target::Both, "{error}"),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn storm(target: Target) {
    adopt_orphans();
    let running = Running::start(&["--on-monitor-death", "live", "--history", "1000000"]);
    let (stop, done, asked) = (AtomicBool::new(false), AtomicUsize::new(0), Asked::default());
    let lasts = Duration::from_secs(setting("BEGET_STORM", 8));
    with_time(lasts);
    let end = Instant::now() + lasts;
    let mut kills = 0;
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (running, stop, asked, done) = (&running, &stop, &asked, &done);
            scope.spawn(move || client(running, number, stop, asked, target, done));
        }
        scope.spawn(|| holder(&running, &stop, target, &done));
        let mut random = Random::new(0);
        while Instant::now() < end && !scope_failed(&stop) {
            std::thread::sleep(Duration::from_millis(20 + random.below(400)));
            let mut session = running.session();
            let Ok(state) = session.state() else { continue };
            let victims = match (target, random.below(3)) {
                (Target::Service, _) | (_, 0) => vec![state.service],
                (_, 1) => vec![state.monitor],
                _ => vec![state.monitor, state.service],
            };
            for victim in victims.into_iter().filter(|victim| running.parts().contains(victim)) {
                // SAFETY: numbers only; a child of our own child, looked at a moment ago.
                unsafe { libc::kill(victim as i32, libc::SIGKILL) };
                kills += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(kills > 0 && done.load(Ordering::Relaxed) > 0, "{kills} kills, {done:?} domains");
    let mut session = running.session();
    until("all have ended", || session.list().is_ok_and(|living| living.is_empty()));
    let mut told: HashMap<String, Vec<Life>> = HashMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for record in session.history(u32::MAX).expect("it answers") {
        assert!(ids.insert(record.id), "told twice: {record:?}");
        assert!(record.has_ended(), "{record:?}");
        told.entry(record.name).or_default().push(record.life);
    }
    for (name, (code, answered)) in asked.into_inner().unwrap() {
        match told.get(&name).map(Vec::as_slice) {
            None => assert!(!answered, "{name} is forgotten"),
            Some([life]) => assert_eq!(*life, Life::Exited(code), "{name}"),
            Some(more) => panic!("{name} ended {} times: {more:?}", more.len()),
        }
    }
    // What is still held is this session, and what both have of their own.
    let state = session.state().expect("it answers");
    until("nothing is held for who is gone", || session.state().is_ok_and(|state| state.connections == 1));
    assert!(descriptors_of(state.monitor) < 40 && descriptors_of(state.service) < 40, "{state:?}");
    drop(session);
    running.stop();
}

fn scope_failed(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}

#[test]
fn the_service_may_be_killed_at_any_moment() {
    in_own_process("kills::the_service_may_be_killed_at_any_moment", || storm(Target::Service));
}

#[test]
fn monitor_and_service_may_be_killed_at_any_moment() {
    in_own_process("kills::monitor_and_service_may_be_killed_at_any_moment", || storm(Target::Both));
}

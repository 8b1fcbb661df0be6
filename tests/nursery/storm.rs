//! Anybody may be killed at any moment, and nothing is left but of a creator and a nursery that were killed together.
//!
//! A round goes through everything that can be done with a nursery, while one of those who take part is killed with SIGKILL: when a
//! step is reached, or after a time by chance. Everybody who is born in a round holds the end of a pipe of that round, and so do their
//! children: its end tells that all are gone. `BEGET_STORM` is the number of kills.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use beget::{Batch, Construct, Nursery, Program, Protection};
use beget_tests::{descriptors, in_own_process, program, tracer};

use crate::{children, probe, rest};

/// Numbers by chance, from a seed that is told.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        let time = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        Random(time ^ u64::from(std::process::id()) << 32 | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// Those who take part, beside the creator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Guard,
    Nursery,
    Embryo,
    Program,
    Orphan,
}

const PARTS: [Part; 5] = [Part::Guard, Part::Nursery, Part::Embryo, Part::Program, Part::Orphan];
/// Steps of a round.
const STEPS: u64 = 9;
/// About how long a round takes, in microseconds.
const ROUND: u64 = 9000;

/// What is known of a round while it goes on.
struct Stage {
    step: AtomicUsize,
    /// A pidfd of each, or -1.
    parts: [AtomicI32; PARTS.len()],
}

impl Stage {
    fn new() -> Stage {
        Stage { step: AtomicUsize::new(0), parts: [const { AtomicI32::new(-1) }; PARTS.len()] }
    }

    fn enter(&self, part: Part, number: u32) {
        // SAFETY: a number; one that is gone already gives no descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) } as i32;
        self.parts[part as usize].store(fd, Ordering::Release);
    }

    fn next(&self) {
        self.step.fetch_add(1, Ordering::Release);
    }

    /// Kills a part that is there; `false` when it is not.
    fn kill(&self, part: Part) -> bool {
        let fd = self.parts[part as usize].load(Ordering::Acquire);
        // SAFETY: numbers; the descriptor is closed only when the round is over.
        fd >= 0 && unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0, 0) } == 0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for part in &self.parts {
            let fd = part.load(Ordering::Acquire);
            if fd >= 0 {
                // SAFETY: opened by `enter`, and nobody else's.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

/// Everything that can be done with a nursery. What fails because somebody was killed is no fault.
fn round(stage: &Stage, held: impl AsFd) -> beget::Result<()> {
    let nursery = Nursery::new()?;
    stage.enter(Part::Guard, nursery.id());
    stage.next();
    let mut embryo = nursery.embryo()?;
    stage.enter(Part::Embryo, embryo.id());
    if let [number] = children(nursery.id())[..] {
        stage.enter(Part::Nursery, number);
    }
    stage.next();
    embryo.grant(1, held.as_fd())?;
    let at = embryo.map(0, 1 << 16, Protection::WRITE)?;
    embryo.write(at, b"something")?;
    stage.next();
    embryo.load(&Program::open(program("probe"))?, &["probe", "family"])?;
    stage.next();
    let process = embryo.start()?;
    stage.enter(Part::Program, process.id());
    stage.next();
    let mut command = probe(&["exit", "0"]);
    command.stdout(held.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut batch = Batch::new();
    batch.add(&mut command, 5)?;
    let all = batch.spawn(&nursery)?;
    stage.next();
    if let Some(number) = children(parent_in(&nursery)).into_iter().find(|number| *number != process.id()) {
        stage.enter(Part::Orphan, number);
    }
    let mut together = Batch::together();
    together.add(&mut command, 3)?;
    let more = together.spawn(&nursery)?;
    stage.next();
    for one in all.into_iter().chain(more) {
        let _ = one?.wait_shared();
    }
    stage.next();
    process.kill()?;
    let _ = process.wait_shared();
    stage.next();
    nursery.end();
    Ok(())
}

/// The nursery behind its guard, 0 when there is none any more.
fn parent_in(nursery: &Nursery) -> u32 {
    children(nursery.id()).first().copied().unwrap_or(0)
}

/// When to strike: at a step, or after some microseconds.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Step(usize),
    Time(u64),
}

fn moment(random: &mut Random) -> Moment {
    match random.below(2) {
        0 => Moment::Step(random.below(STEPS) as usize),
        _ => Moment::Time(random.below(ROUND)),
    }
}

/// How many kills, if nobody says: as many as take some 40 s here.
const KILLS: u64 = 2000;

fn kills() -> u64 {
    std::env::var("BEGET_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Everybody but the creator.
#[test]
fn whoever_is_killed_leaves_nothing() {
    in_own_process("storm::whoever_is_killed_leaves_nothing", || {
        // SAFETY: a number; the whole storm takes longer than other tests.
        unsafe { libc::alarm(3600) };
        let mut random = Random::new();
        round(&Stage::new(), std::io::stderr()).expect("nobody is killed yet");
        let before = descriptors();
        let (mut hit, mut rounds) = (0, 0);
        let mut by_part = [0; PARTS.len()];
        while hit < kills() * 3 / 4 {
            rounds += 1;
            let (victim, when) = (PARTS[random.below(5) as usize], moment(&mut random));
            let (reader, writer) = crate::pipe();
            let stage = Stage::new();
            let over = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    let start = Instant::now();
                    let ready = || match when {
                        Moment::Step(step) => stage.step.load(Ordering::Acquire) >= step,
                        Moment::Time(time) => start.elapsed() >= Duration::from_micros(time),
                    };
                    while !ready() || !stage.kill(victim) {
                        if over.load(Ordering::Acquire) != 0 {
                            return false;
                        }
                        std::thread::sleep(Duration::from_micros(30));
                    }
                    true
                });
                let _ = round(&stage, &writer);
                over.store(1, Ordering::Release);
                if killer.join().expect("no panic") {
                    hit += 1;
                    by_part[victim as usize] += 1;
                }
            });
            drop((stage, writer));
            let at = format!("round {rounds}: {victim:?} at {when:?}");
            assert!(rest(reader).iter().all(|byte| *byte == b'x'), "{at}");
            assert_eq!(descriptors(), before, "{at}");
            assert_eq!(beget_tests::children().len(), 0, "{at}: a zombie, or worse");
        }
        let told: Vec<String> =
            PARTS.iter().zip(by_part).map(|(part, count)| format!("{part:?} {count}")).collect();
        eprintln!("storm: {hit} kills in {rounds} rounds: {}", told.join(", "));
    });
}

/// The creator that is to be killed: tells each step by a byte, and begins again at the end.
pub(crate) fn drive(_: &str) {
    let (held, output) = (std::io::stderr(), std::io::stdout());
    loop {
        let (stage, over) = (Stage::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let told = scope.spawn(|| {
                let mut told = 0;
                while over.load(Ordering::Acquire) == 0 {
                    let now = stage.step.load(Ordering::Acquire);
                    while told < now {
                        // SAFETY: one byte of a constant.
                        unsafe { libc::write(output.as_raw_fd(), c"s".as_ptr().cast(), 1) };
                        told += 1;
                    }
                    std::thread::sleep(Duration::from_micros(30));
                }
            });
            let _ = round(&stage, &held);
            over.store(1, Ordering::Release);
            told.join().expect("no panic");
        });
    }
}

/// The creator itself.
#[test]
fn a_creator_that_is_killed_leaves_nothing() {
    let mut random = Random::new();
    for count in 0..kills() / 4 {
        let when = moment(&mut random);
        let (reader, writer) = crate::pipe();
        let mut creator =
            tracer::driver("storm").stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts");
        let output = creator.stdout.take().expect("piped");
        match when {
            Moment::Step(step) => drop(crate::bytes(&output, step.max(1))),
            Moment::Time(time) => std::thread::sleep(Duration::from_micros(3000 + time)),
        }
        creator.kill().expect("ours");
        creator.wait().expect("ours");
        let said = rest(reader);
        assert!(said.iter().all(|byte| *byte == b'x'), "{count}, {when:?}: {}", beget_tests::text(&said));
    }
}

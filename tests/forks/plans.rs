//! The engine takes no plan on trust: each of these would leave a number in the copy that means something else than its owner thinks.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use beget_plan::copy::{self, Copying, Means, Table};
use beget_plan::engine::Failure;
use beget_plan::{Draft, Engine, Op, Plan};
use beget_sys::Errno;

/// A plan that says of each number what it should, changed by `change`.
fn plan(table: &Table, kept: i32, change: impl Fn(Op) -> Option<Op>) -> Vec<u8> {
    let slot = table.end();
    let mut ops = vec![
        Op::Raise { floor: slot as u32 + 1 },
        Op::Place { source: 0, slot: kept, closing: 1 },
        Op::Place { source: Copying::report(2), slot, closing: 1 },
    ];
    let nothing = |slot: &i32| Op::Place { source: Copying::nothing(2), slot: *slot, closing: 1 };
    ops.extend(table.open().iter().filter(|number| **number != kept).map(nothing));
    ops.push(Op::Close { first: slot as u32 + 1, last: u32::MAX });
    let mut draft = Draft::new();
    for op in ops.into_iter().filter_map(change) {
        draft.push(op);
    }
    draft.encode(4)
}

/// What comes of it: the exit code of a copy that ran, or why there is none.
fn run(kept: &File, other: &File, change: impl Fn(Op, i32) -> Option<Op>) -> Result<Option<i32>, Failure> {
    let means = Means::new().expect("one thread, and numbers left");
    let table = means.table().expect("/proc is there");
    let end = table.end();
    let bytes = plan(&table, kept.as_raw_fd(), |op| change(op, end));
    let plan = Plan::check_part(&bytes, Engine::Vfork).expect("a plan");
    let descriptors: [BorrowedFd<'_>; 2] = [kept.as_fd(), other.as_fd()];
    let copying = Copying { plan, descriptors: &descriptors, slot: end };
    let number = kept.as_raw_fd();
    let child = copy::spawn(copying, means, &table, || {
        // SAFETY: asks for flags.
        u8::from(unsafe { libc::fcntl(number, libc::F_GETFL) } & libc::O_PATH != 0)
    })?;
    let mut status = 0;
    // SAFETY: our own child, which nobody else waits for.
    unsafe { libc::waitpid(child.number as i32, &raw mut status, 0) };
    Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)))
}

pub(crate) fn what_would_make_a_number_mean_something_else_is_not_run() {
    let (kept, other) = (File::open("/usr").expect("there"), File::open("/dev/zero").expect("there"));
    let (number, another) = (kept.as_raw_fd(), other.as_raw_fd());
    assert_eq!(run(&kept, &other, |op, _| Some(op)), Ok(Some(0)), "as it should be");
    let is = |op: Op, at: i32| matches!(op, Op::Place { slot, .. } if slot == at);
    let refused = Err(Failure::Birth(Errno::EINVAL));
    // Nothing is said of a number: it would stay what it is.
    assert_eq!(run(&kept, &other, |op, _| (!is(op, another)).then_some(op)), refused);
    // Another file at a number that somebody owns.
    let swapped =
        |op, _| Some(if is(op, number) { Op::Place { source: 1, slot: number, closing: 1 } } else { op });
    assert_eq!(run(&kept, &other, swapped), refused);
    // Closed, and so free to become whatever is opened next.
    let closed = |op, _| match op {
        Op::Close { last, .. } => Some(Op::Close { first: number as u32, last }),
        op => Some(op),
    };
    assert_eq!(run(&kept, &other, closed), refused);
    // Opened there by name.
    let opened =
        |op, _| Some(if is(op, another) { Op::Open { path: 0, slot: another, source: 1 } } else { op });
    assert_eq!(run(&kept, &other, opened), refused);
}

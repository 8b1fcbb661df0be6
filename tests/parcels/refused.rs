//! What only a process that spawns can do for its child is refused by name, and not left out.

use beget::{Command, Fault, Limit, Loader, Nursery, ParcelOptions, Pty, Stdio};
use beget_tests::program;

fn refused(part: &str, change: impl FnOnce(&mut Command)) {
    let mut command = Command::new(program("probe"));
    change(&mut command);
    let error = command.parcel(ParcelOptions { spawner: true, ..ParcelOptions::default() }).expect_err(part);
    assert_eq!((error.part(), error.fault()), (part, Fault::Caller), "{error}");
}

#[test]
fn by_name() {
    let nursery = Nursery::new().expect("a nursery");
    let pty = Pty::open(Default::default()).expect("a terminal");
    refused("slot stdin", |command| _ = command.stdin(Stdio::piped()));
    refused("slot stderr", |command| _ = command.stderr(Stdio::piped()));
    refused("pseudo-terminal", |command| _ = command.pty(&pty).expect("it has one"));
    refused("refusals", |command| _ = command.tell_refusals(true));
    refused("suspended", |command| _ = command.suspended(true));
    refused("user", |command| _ = command.uid(1));
    refused("user", |command| _ = command.groups(&[]));
    refused("loader", |command| _ = command.loader(Loader::Direct));
    refused("own child", |command| _ = command.own_child(true));
    refused("nursery", |command| _ = command.nursery(&nursery));
    refused("death with its parent", |command| _ = command.die_with_thread(true));
    refused("kill on drop", |command| _ = command.kill_on_drop(true));
    refused("output limit", |command| _ = command.output_limit(1));
    refused("process group", |command| _ = command.session(false));
    refused("process group", |command| _ = command.process_group(1));
    refused("spawner", |command| _ = command.only(true));
    // And what shows before any birth, as ever.
    refused("grant --read /nowhere", |command| _ = command.grant(beget::Grant::Read("/nowhere".into())));
    let mut command = Command::new(program("probe"));
    command.limit(Limit::OpenFiles(100)).own_tree(true).process_group(0);
    assert!(command.parcel(ParcelOptions::default()).is_ok());
}

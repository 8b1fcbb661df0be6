//! A parcel in a private root brings the plan of the nursery that is the first process there.

use beget::{Command, Fault, Grant, ParcelOptions, Root};
use beget_plan::message::change;
use beget_tests::{Need, Scratch, program, skip};

use crate::{Midwife, WELL, call, pipe};

fn lacks(test: &str, error: &beget::Error) {
    assert_eq!(error.fault(), Fault::Unkept, "{error}");
    skip(test, Need::Machine("user namespaces"));
}

#[test]
fn what_is_not_granted_does_not_exist_there() {
    for lasting in [false, true] {
        let scratch = Scratch::new();
        let (inside, outside) = (scratch.file("inside", ""), scratch.file("outside", ""));
        let (reading, writing) = pipe();
        let mut command = Command::new(program("probe"));
        command.args(["try", "read", &inside, "read", &outside]).stdout(writing);
        command.grant(Grant::Read(inside.clone().into())).root(Root::new());
        let parcel = command.parcel(ParcelOptions { lasting, ..ParcelOptions::default() }).expect("packed");
        drop(command);
        let plan = parcel.nursery.as_ref().expect("it is in a root");
        let folder = lasting.then_some(&scratch);
        let outer = Midwife::new();
        let there = match outer.nursery(plan, folder) {
            Ok(there) => there,
            Err(error) => return lacks("roots::what_is_not_granted_does_not_exist_there", &error),
        };
        let expected = format!("read {inside} ok\nread {outside} ENOENT\n");
        assert_eq!(there.run(parcel, reading), (WELL, expected));
    }
}

#[test]
fn a_lasting_one_is_taken_over_with_what_lives_in_it() {
    let scratch = Scratch::new();
    let (theirs, ours) = pipe();
    let mut command = Command::new(program("probe"));
    command.args(["await", "7"]).stdin(theirs).root(Root::new());
    let parcel = command.parcel(ParcelOptions { lasting: true, ..ParcelOptions::default() }).expect("packed");
    drop(command);
    let outer = Midwife::new();
    let there = match outer.nursery(parcel.nursery.as_ref().expect("a root"), Some(&scratch)) {
        Ok(there) => there,
        Err(error) => {
            return lacks("roots::a_lasting_one_is_taken_over_with_what_lives_in_it", &error);
        }
    };
    let number = there.deliver_as(&parcel, 5).expect("born");
    drop((parcel, there));
    let next = call(&scratch);
    drop(ours);
    assert_eq!(next.end(), (number, (change::EXITED, 7)));
}

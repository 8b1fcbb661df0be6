//! What one birth has that others have not: no groups for a moment, namespaces of its own.

use super::*;

/// One birth whose script writes to a pipe; gives what it wrote.
fn said(nursery: &Lasting, flags: u32, namespaces: u32, script: &CStr) -> Result<String, i32> {
    let (reader, writer) = pipe();
    let (mut body, descriptors) =
        batch(&[1], flags, script, &[writer.as_fd(), writer.as_fd(), writer.as_fd()]);
    let item = Item { namespaces, ..Item::decode(&body, 0).expect("it is whole") };
    body[..Item::SIZE].copy_from_slice(&item.encode());
    drop(writer);
    let header = Header { kind: kind::BATCH, words: [1, 0, 0, 0], ..Header::default() };
    let given: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    nursery.link.send(header, &body, &given).expect("it listens");
    drop(descriptors);
    let born = Born::decode(&nursery.hear().body, 0).expect("whole");
    if born.errno != 0 {
        return Err(born.errno as i32);
    }
    assert_eq!(nursery.told().0, 1);
    Ok(beget_tests::text(&rest(reader)).trim().to_owned())
}

#[test]
fn groups_are_given_up_for_one_birth_alone() {
    let test = "lasting::births::groups_are_given_up_for_one_birth_alone";
    if !beget_tests::is_root() {
        return beget_tests::skip(test, beget_tests::Need::Root);
    }
    in_own_process(test, || {
        // SAFETY: two numbers, in a process of this test's own.
        assert_eq!(unsafe { libc::setgroups(2, [11, 12].as_ptr()) }, 0);
        let nursery = Lasting::new(role::LASTING);
        let script = c"grep Groups: /proc/self/status";
        for _ in 0..2 {
            assert_eq!(said(&nursery, flag::UNHELD, 0, script), Ok("Groups:\t11 12".to_owned()));
            assert_eq!(said(&nursery, flag::WITHOUT_GROUPS, 0, script), Ok("Groups:".to_owned()));
        }
        nursery.end();
    });
}

#[test]
fn a_birth_may_be_the_first_process_of_a_namespace() {
    in_own_process("lasting::births::a_birth_may_be_the_first_process_of_a_namespace", || {
        use beget_sys::namespace::kind::{PROCESSES, USERS};
        let nursery = Lasting::new(role::LASTING);
        match said(&nursery, flag::UNHELD, USERS | PROCESSES, c"echo $$") {
            Err(libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EINVAL) => beget_tests::skip(
                "lasting::births::a_birth_may_be_the_first_process_of_a_namespace",
                beget_tests::Need::Machine("user namespaces"),
            ),
            other => assert_eq!(other, Ok("1".to_owned())),
        }
        assert_ne!(said(&nursery, flag::UNHELD, 0, c"echo $$"), Ok("1".to_owned()));
        nursery.end();
    });
}

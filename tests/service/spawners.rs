//! Domains that create domains: these are their creator's, and end with it, to the last orphan.

use std::fs::File;
use std::time::Duration;

use beget::{Command, Fault, Grant, ParcelOptions, Root};
use beget_service::protocol::Life;
use beget_service::{Domain, Spawner, Wish, spawner_pair};
use beget_tests::program;

use crate::{World, bytes, end, pipe, rest};

/// A domain that stays, and its right to create others, which this test uses in its place.
fn maker(world: &World, root: bool) -> (Domain, Spawner) {
    let mut command = Command::new(program("probe"));
    command.arg("sleep").grant(Grant::Ambient);
    if root {
        command = Command::new(program("probe"));
        command.arg("sleep").grant(Grant::Base).grant(Grant::Spawn).root(Root::new()).channel(true);
    }
    let options = ParcelOptions { spawner: true, ..world.options() };
    let (ours, theirs) = spawner_pair().expect("a pair");
    let wish = Wish::new(command.parcel(options).expect("packed")).name("maker").spawner(ours);
    let maker = world.session().spawn(wish).expect("spawn");
    (maker, Spawner::from_fd(theirs).expect("it is one"))
}

/// A product of three processes, two of them orphans; what they write to.
fn family(world: &World, spawner: &mut Spawner) -> (Domain, File) {
    let (mut output, writing) = pipe();
    let product = spawner.spawn(world.wide_wish(&["family"], writing).name("product")).expect("spawn");
    assert_eq!(bytes(&mut output, 3), b"xxx", "all three are there");
    (product, output)
}

#[test]
fn products_end_with_their_creator_to_the_last_orphan() {
    for (policy, killed) in [("die", true), ("die", false), ("live", true)] {
        let mut world = World::new(policy);
        let (mut maker, mut spawner) = maker(&world, false);
        let (mut product, output) = family(&world, &mut spawner);
        assert_eq!(product.status().expect("look").parent, maker.id());
        world.kill_service();
        world.start_service();
        // It is served again: whoever kills both at once takes connections along.
        maker.status().expect("its capability lives on");
        if policy == "live" {
            world.kill_monitor();
            world.start_monitor();
        }
        if killed {
            let record = maker.kill(Duration::ZERO).expect("kill");
            assert_eq!(record.life, Life::Killed(9));
        } else {
            maker.signal(10).expect("signal");
            assert_eq!(end(&mut maker).life, Life::Killed(10));
        }
        // Not a moment later: its end is told when nothing is left of what it created either.
        let record = product.wait_timeout(Duration::ZERO).expect("look").expect("it has ended");
        assert_eq!(record.life, Life::Killed(9));
        assert_eq!(rest(output), b"");
        assert!(spawner.spawn(world.wish(&["sleep"])).is_err(), "its right ended first");
        world.stop();
    }
}

#[test]
fn what_one_in_a_private_root_creates_is_in_it() {
    let mut first = Command::new(program("probe"));
    first.args(["exit", "0"]).grant(Grant::Base).root(Root::new());
    if first.status().is_err_and(|error| error.fault() == Fault::Unkept) {
        return beget_tests::skip(
            "what_one_in_a_private_root_creates_is_in_it",
            beget_tests::Need::Machine("a private root"),
        );
    }
    let world = World::new("die");
    let (mut maker, mut spawner) = maker(&world, true);
    let (output, writing) = pipe();
    let mut command = Command::new(program("probe"));
    command.args(["try", "stat", "/etc/shadow"]).grant(Grant::Ambient).stdout(writing);
    let parcel = command.parcel(world.options()).expect("packed");
    drop(command);
    let mut product = spawner.spawn(Wish::new(parcel)).expect("spawn");
    end(&mut product);
    assert_eq!(beget_tests::text(&rest(output)), "stat /etc/shadow ENOENT\n");
    let (_, output) = family(&world, &mut spawner);
    // Nobody leads it out of its root, by whatever client.
    let refused = maker.send("outside", File::open("/").expect("it is there")).expect_err("a way out");
    assert_eq!(refused.fault(), beget_service::Fault::NoRight, "{refused}");
    maker.send("null", File::open("/dev/null").expect("it is there")).expect("a file leads nowhere");
    assert_eq!(maker.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
    assert_eq!(rest(output), b"");
    world.stop();
}

//! What may be called a constructor, item by item, as EROS and Coyotos have it, and KeyKOS's factory besides.
//!
//! That a requestor has no way into a product, and a product none out, is in `ways_out`; that a failed request leaves nothing, and no bank
//! charged, in `making` and `bank`.

use std::os::fd::{AsFd, OwnedFd};

use beget::{Command, Grant, Root, Stdio};
use beget_factory::judge::{Confinement, HoleIdentity, Holes};
use beget_factory::{Builder, Factory, Options, Ready};

fn builder() -> Builder {
    let mut command = Command::new("/bin/cat");
    command.grant(Grant::Base);
    Factory::builder(command)
}

fn pipe() -> OwnedFd {
    std::io::pipe().expect("a pipe").1.into()
}

fn kinds(confinement: &Confinement) -> Vec<&str> {
    let mut kinds: Vec<&str> = confinement.holes.iter().map(|hole| hole.identity.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn one_that_is_not_sealed_is_never_confined() {
    let builder = builder();
    let before = builder.confinement();
    assert!(before.holes().is_empty() && !before.is_sealed());
    assert!(!before.is_confined(&[]));
    let all: Vec<HoleIdentity> = Vec::new();
    let sealed = builder.seal().expect("a factory");
    assert!(!before.compare(sealed.confinement()) && !sealed.compare(&before));
    assert!(sealed.confinement().is_sealed() && !sealed.is_confined(&all));
}

#[test]
fn one_constituent_that_tells_is_enough() {
    let mut with_pipe = builder();
    let judged = with_pipe.insert("log", pipe()).expect("it is judged when it is inserted");
    assert!(judged.hole().is_some(), "{judged:?}");
    let (with_pipe, plain) = (with_pipe.seal().expect("a factory"), builder().seal().expect("a factory"));
    assert_eq!(kinds(plain.confinement()), ["metadata"], "no private root, and nothing else");
    assert_eq!(kinds(with_pipe.confinement()), ["metadata", "pipe"]);
    // With what is allowed it is confined, with less it is not.
    let ids = |factory: &Factory| -> Vec<HoleIdentity> {
        factory.holes().iter().map(|hole| hole.identity.clone()).collect()
    };
    assert!(with_pipe.is_confined(&ids(&with_pipe)) && !with_pipe.is_confined(&ids(&plain)));
    // KeyKOS's test, both ways.
    assert!(plain.compare(with_pipe.confinement()) && !with_pipe.compare(plain.confinement()));
    // Another pipe is another hole.
    let mut other = builder();
    other.insert("log", pipe()).expect("it is judged");
    let other = other.seal().expect("a factory");
    assert!(!with_pipe.compare(other.confinement()) && !other.compare(with_pipe.confinement()));
}

#[test]
fn a_factory_in_a_factory_counts_as_its_holes_do() {
    let mut inner = builder();
    inner.insert("log", pipe()).expect("it is judged");
    let unsealed = inner.confinement();
    let inner = inner.seal().expect("a factory");
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
    let mut outer = builder();
    outer.insert_factory("maker", inner.confinement(), null()).expect("it is judged");
    let outer = outer.seal().expect("a factory");
    assert!(kinds(outer.confinement()).contains(&"pipe"), "{:?}", kinds(outer.confinement()));
    assert!(inner.compare(outer.confinement()));
    // The connection itself is one besides: all products have the same.
    let (connection, _answers) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let confined = builder().seal().expect("a factory");
    let mut outer = builder();
    outer.insert_factory("maker", confined.confinement(), connection).expect("it is judged");
    let outer = outer.seal().expect("a factory");
    let more = |kind: &&str| !kinds(confined.confinement()).contains(kind);
    assert_eq!(kinds(outer.confinement()).into_iter().filter(more).collect::<Vec<_>>(), ["socket"]);
    let mut outer = builder();
    outer.insert_factory("maker", &unsealed, null()).expect("it is judged");
    assert!(kinds(outer.seal().expect("a factory").confinement()).contains(&"factory"));
}

#[test]
fn with_a_private_root_a_cold_one_is_confined_and_a_warm_one_shares_its_root() {
    let sealed = |ready: Option<Ready>| {
        let mut command = Command::new("/bin/cat");
        command.grant(Grant::Base).root(Root::new());
        let mut builder = Factory::builder(command);
        builder.options(Options { ready, ..Options::default() });
        builder.seal()
    };
    let cold = match sealed(None) {
        Ok(factory) => factory,
        Err(error) if error.fault() == beget::Fault::Unkept => {
            let test =
                "constructor::with_a_private_root_a_cold_one_is_confined_and_a_warm_one_shares_its_root";
            return beget_tests::skip(test, beget_tests::Need::Machine("user namespaces"));
        }
        Err(error) => panic!("{error}"),
    };
    assert!(cold.is_confined(&[]), "{:?}", cold.holes());
    let warm = sealed(Some(Ready::Entry)).expect("a factory");
    assert_eq!(kinds(warm.confinement()), ["shared-root"]);
    assert!(cold.compare(warm.confinement()) && !warm.compare(cold.confinement()));
}

#[test]
fn the_digest_is_of_everything_that_is_in_it() {
    let with = |bytes: &[u8]| {
        let file = beget_plan::nursery::sealed(c"data", bytes, false).expect("memory");
        let mut builder = builder();
        let judged = builder.insert("data", file).expect("it is judged");
        assert!(judged.hole().is_none(), "sealed memory tells nobody: {judged:?}");
        builder.seal().expect("a factory").confinement().image.expect("it is measured")
    };
    assert_eq!(with(b"one"), with(b"one"));
    assert_ne!(with(b"one"), with(b"two"));
}

#[test]
fn a_brand_is_not_a_number() {
    let factory = builder().seal().expect("a factory");
    let mut request = factory.request();
    request.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut product = request.start().expect("a product");
    let verifier = factory.verifier();
    assert!(verifier.is_product(product.as_fd()).expect("a pidfd"));
    let number = product.id();
    drop(product.stdin.take());
    product.wait().expect("its end");
    assert!(!verifier.is_product(product.as_fd()).unwrap_or(false), "it has ended");
    // Whoever may have its number now is not one, and neither is this process.
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
    assert!(!verifier.is_product(own.expect("a pidfd").as_fd()).expect("a pidfd"));
    assert!(
        verifier
            .is_product(std::fs::File::open("/dev/null").expect("it is there").as_fd())
            .map_or(true, |is| !is)
    );
    assert!(number > 0);
}

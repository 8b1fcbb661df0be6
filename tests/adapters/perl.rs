//! Perl: the same protocol, another language.

use std::collections::BTreeSet;

use beget_factory::adapter::Perl;
use beget_tests::{Need, Scratch, has, skip};

use super::*;
use crate::harness::{Interpreter, cold};

fn plain() -> Command {
    base("perl")
}

#[test]
fn a_product_runs_as_a_perl_of_its_own() {
    if !has("perl") {
        return skip("a_product_runs_as_a_perl_of_its_own", Need::Program("perl"));
    }
    let folder = Scratch::new();
    let script = folder.file(
        "script.pl",
        "#!/usr/bin/perl -w\nuse strict;\nprint \"$0 @ARGV $ENV{A}\\n\";\nprint <DATA>;\nwarn 'careful';\nmy $x; my $y = \"a$x\";\nEND { print \"end\\n\" }\ndie 'over';\n__END__\nsome\ndata\n",
    );
    let at = folder.path().to_owned();
    let inside = move || {
        let mut command = base("perl");
        command.grant(Grant::Read(at.clone()));
        command
    };
    let perl = Interpreter::new(Perl::new().preload(["List::Util", "POSIX"]), &inside).expect("a template");
    for (arguments, input) in [
        (&["-e", "print 6*7, qq(@ARGV $0 $ENV{A}\\n)", "one", "two"][..], ""),
        (&["-e", "exit 3"], ""),
        (&["-e", "print STDERR 'told'; die {}  if 0; die qq(with a line\\n)"], ""),
        (&["-e", "\nprint 'a'; die 'where'"], ""),
        (&["-e", "print <STDIN>"], "1\n2\n"),
        (&["-e", "print 'x"], ""),
        (&["-E", "say 'x'; use List::Util 'sum'; say sum 1, 2"], ""),
        (&["-e", "kill 'TERM', $$; sleep 100"], ""),
        (&[&script, "a", "-b"], ""),
        (&["/not/there.pl"], ""),
        (&["-"], "print qq($0\\n); $! = 5; die 'input'"),
        (&[], "print 'x'; warn 'y'"),
    ] {
        let more = [("A", "b")];
        let warm = perl.run(arguments, &more, input.as_bytes());
        assert_eq!(warm, cold(&inside, arguments, &more, input.as_bytes()), "{arguments:?}");
    }
}

#[test]
fn a_program_that_does_not_compile_ends_as_one() {
    if !has("perl") {
        return skip("a_program_that_does_not_compile_ends_as_one", Need::Program("perl"));
    }
    let perl = Interpreter::new(Perl::new(), &plain).expect("a template");
    let ran = perl.run(&["-e", "use strict; $x = 1"], &[], b"");
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(255)));
    assert!(ran.told.starts_with("Global symbol \"$x\" requires explicit package name"), "{}", ran.told);
}

#[test]
fn no_two_perls_draw_the_same_numbers() {
    if !has("perl") {
        return skip("no_two_perls_draw_the_same_numbers", Need::Program("perl"));
    }
    let perl = Interpreter::new(Perl::new(), &plain).expect("a template");
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let drawn = perl.run(&["-e", "print join ' ', map rand, 1 .. 3"], &[], b"");
        assert_eq!(drawn.code, Some(0), "{drawn:?}");
        assert!(seen.insert(drawn.out.clone()), "{} again", drawn.out);
    }
}

//! Copies go on where their template was stopped, each by itself.

use std::io::Read;
use std::os::fd::AsFd;

use super::*;

#[test]
fn each_copy_has_what_it_was_given_and_ends_by_itself() {
    let (_process, template) = at_entry(base("/bin/cat").arg("-").env("A", "B"));
    for number in 0..20 {
        let (input, mut feed) = std::io::pipe().expect("a pipe");
        let (mut output, theirs) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut feed, format!("copy {number}").as_bytes()).expect("room");
        drop(feed);
        let mut part = template.first_part();
        part.grant(0, input.as_fd()).grant(1, theirs.as_fd());
        let process = template.start(part).expect("a copy");
        drop((input, theirs));
        let mut text = String::new();
        output.read_to_string(&mut text).expect("it writes");
        assert_eq!(text, format!("copy {number}"));
        let ended = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
        assert_eq!(ended.status.code(), Some(0));
    }
}

//! The same for tasks.

use std::time::Duration;

use beget_tests::program;
use tokio::io::AsyncReadExt;

use crate::{LONG, holding};

#[test]
fn a_task_is_told_what_is_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let conversation = async {
        let mut command = beget::tokio::Command::new(program("channel-client"));
        command
            .args(["ask", "log", "other"])
            .channel(true)
            .stdin(beget::Stdio::null())
            .stdout(beget::Stdio::piped())
            .stderr(beget::Stdio::inherit());
        let mut process = command.spawn().expect("spawn");
        for expected in ["log", "other"] {
            assert_eq!(process.asked().await.expect("it asks"), expected);
            // Whoever gives up waiting has lost nothing.
            let nothing = tokio::time::timeout(Duration::from_millis(1), process.asked()).await;
            assert!(nothing.is_err());
            process.send(expected, holding("from a task")).expect("it reads");
        }
        let mut stdout = process.stdout.take().expect("it is piped");
        // The last handle of its channel.
        drop(process);
        let mut said = String::new();
        stdout.read_to_string(&mut said).await.expect("a pipe of ours");
        assert_eq!(said, "log: from a task\nother: from a task\nend\n");
    };
    runtime.block_on(async { tokio::time::timeout(LONG, conversation).await }).expect("it ends");
}

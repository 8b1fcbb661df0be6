//! Products that tasks ask for: many at once, each its own, and nothing left of one whose future was dropped.

use beget::{Command, Grant, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::in_own_process;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::{on_both, soon, until, until_childless};

fn cat(pool: usize) -> Factory {
    let mut command = Command::new("/bin/cat");
    command.grant(Grant::Base);
    let mut builder = Factory::builder(command);
    builder.options(Options { ready: Some(Ready::Entry), pool: Pool::of(pool), ..Options::default() });
    builder.seal().expect("a factory")
}

/// The processes that live in the nursery of a factory.
fn born(factory: &Factory) -> usize {
    let template = factory.template_number().expect("a template");
    let status = std::fs::read_to_string(format!("/proc/{template}/status")).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_ascii_whitespace().count()
}

#[test]
fn many_tasks_ask_at_once() {
    in_own_process("factories::many_tasks_ask_at_once", || {
        on_both(|| async {
            let factory = cat(8);
            let mut tasks = JoinSet::new();
            for number in 0..200 {
                let mut request = factory.request();
                request.stdin(Stdio::piped()).stdout(Stdio::piped());
                tasks.spawn(async move {
                    let mut product = beget_factory::tokio::start(&request).await.expect("a product");
                    let text = format!("text {number}");
                    let mut input = product.stdin.take().expect("it is piped");
                    input.write_all(text.as_bytes()).await.expect("it reads");
                    drop(input);
                    let output = product.wait_with_output().await.expect("its end");
                    assert_eq!(output.stdout, text.as_bytes());
                });
            }
            while let Some(done) = soon(tasks.join_next()).await {
                done.expect("it was right");
            }
            let done = factory.statistics();
            assert_eq!((done.hits + done.warm, done.cold, done.failed), (200, 0, 0), "{done:?}");
            drop(factory);
            until_childless().await;
        });
    });
}

#[test]
fn of_a_request_whose_future_is_dropped_nothing_is_left() {
    in_own_process("factories::of_a_request_whose_future_is_dropped_nothing_is_left", || {
        on_both(|| async {
            let factory = cat(0);
            let mut request = factory.request();
            request.stdin(Stdio::piped());
            for _ in 0..20 {
                let mut future = Box::pin(beget_factory::tokio::start(&request));
                // Begun, and dropped before it can be done; or just done.
                let begun = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(Future::poll(future.as_mut(), context).is_ready())
                });
                begun.await;
                drop(future);
            }
            until("only its template is left", || factory.statistics().warm == 20 && born(&factory) == 1)
                .await;
            // What cannot be given is the same error.
            let mut wrong = factory.request();
            wrong.env("LD_PRELOAD", "/tmp/x.so");
            let error = beget_factory::tokio::start(&wrong).await.expect_err("it changes the program");
            assert_eq!(error.to_string(), wrong.start().expect_err("the same").to_string());
            drop((request, wrong, factory));
            until_childless().await;
        });
    });
}

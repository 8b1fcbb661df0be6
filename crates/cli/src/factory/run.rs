//! `beget factory run`: a product with our streams, until it ends.
//!
//! Safety idea: the product is the connection's: when we end, however that comes, it is ended.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use beget_factory::remote::{Ended, RemoteFactory, RemoteProduct};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::{factory, of_factory};
use crate::domains::Failure;
use crate::options::Options;
use crate::signals::{self, Signals};
use crate::{FAILED, say, terminal};

/// Has a product made and stays until it has ended; its exit code is ours.
pub(crate) fn run(options: Options) -> Result<u8, Failure> {
    if !options.spec.grace.is_zero() && options.spec.timeout.is_none() {
        return Err(("limit --grace: wants --timeout too".to_owned(), FAILED));
    }
    let factory = factory(&options, "request")?;
    let signals = Signals::take().map_err(|errno| (format!("signals: {errno}"), FAILED))?;
    let started = Instant::now();
    let product = request(&factory, &options)?;
    let mut over = None;
    let ended = until_end(&product, &signals, &options, started, &mut over);
    signals.give_back();
    let ended = ended?;
    let time = started.elapsed();
    if let Some(what) = over {
        say(&format!("limit --timeout: the product {what} after {:.3} s", time.as_secs_f64()));
    }
    if options.json {
        let result = json!({
            "exit_code": ended.status.code(),
            "signal": ended.status.signal(),
            "timed_out": over.is_some(),
            "wall_time": time.as_secs_f64(),
            "user_time": ended.user_time.as_secs_f64(),
            "system_time": ended.system_time.as_secs_f64(),
            "memory_peak": ended.memory_peak,
        });
        let _ = writeln!(std::io::stderr(), "{result}");
    }
    let signal = ended.status.signal().map(|signal| 128u8.wrapping_add(signal as u8));
    Ok(ended.status.code().map(|code| code as u8).or(signal).unwrap_or(FAILED))
}

fn request(factory: &RemoteFactory, options: &Options) -> Result<RemoteProduct, Failure> {
    let spec = &options.spec;
    let mut request = factory.request().args(&spec.arguments).unique(options.factory.unique);
    let streams = [
        std::io::stdin().as_fd().try_clone_to_owned(),
        std::io::stdout().as_fd().try_clone_to_owned(),
        std::io::stderr().as_fd().try_clone_to_owned(),
    ];
    for (number, stream) in (0..).zip(streams) {
        // A session of its own may read any terminal that it holds open.
        let shown = if number > 0 { terminal::to_write_only(number) } else { None };
        let stream = match shown {
            Some(shown) => shown,
            None => stream.map_err(|error| (format!("stream {number}: {error}"), FAILED))?,
        };
        request = request.fd(number, stream).map_err(of_factory)?;
    }
    for one in &spec.descriptors {
        let file = one.open().map_err(|errno| (format!("grant --fd {one}: {errno}"), FAILED))?;
        request = request.slot(&one.name, file).map_err(of_factory)?;
    }
    for (name, value) in &spec.environment {
        request = request.env(name, value.as_deref().unwrap_or_default());
    }
    for limit in &spec.limits {
        request = request.limit(*limit);
    }
    if !spec.grants.is_empty() {
        request = request.narrow(&spec.grants).map_err(of_factory)?;
    }
    if let Some(directory) = &spec.directory {
        request = request.current_dir(directory).map_err(of_factory)?;
    }
    request.start().map_err(of_factory)
}

/// Waits for its end; passes signals on, and keeps its time.
fn until_end(
    product: &RemoteProduct,
    signals: &Signals,
    options: &Options,
    started: Instant,
    over: &mut Option<&'static str>,
) -> Result<Ended, Failure> {
    let mut next = options.spec.timeout.and_then(|time| started.checked_add(time));
    loop {
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            let ask = over.is_none() && !options.spec.grace.is_zero();
            *over = Some(if ask { "was asked to end, and did" } else { "was ended" });
            product.signal(if ask { signals::TERM } else { 9 }).map_err(of_factory)?;
            next = if ask { Instant::now().checked_add(options.spec.grace) } else { None };
            continue;
        }
        let time = left.and_then(|left| Timespec::try_from(left).ok());
        let mut watched = [PollFd::new(product, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut watched, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err((errno.to_string(), FAILED)),
        }
        if !watched[0].revents().is_empty() {
            return product.wait().map_err(of_factory);
        }
        while let Some(signal) = signals.next() {
            match signal.number {
                signals::TSTP => {
                    product.signal(signals::STOP).map_err(of_factory)?;
                    signals.suffer(signals::TSTP);
                    product.signal(signals::CONT).map_err(of_factory)?;
                }
                number if signals::is_forwarded(number) => product.signal(number).map_err(of_factory)?,
                _ => {}
            }
        }
    }
}

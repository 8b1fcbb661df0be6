//! A server that makes a domain by the process service, gives it what it asks for, and waits for its end:
//! `serve PROGRAM FILE`, with the example `asking` for the program. It wants a service: `beget serve`.
//!
//! Safety idea: the program is given a file and not its name; it could open nothing by the name.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use beget::{Command, Grant, ParcelOptions};
use beget_service::{Service, Wish};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(program), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve PROGRAM FILE".into());
    };
    let mut command = Command::new(&program);
    let output = std::io::stdout().as_fd().try_clone_to_owned()?;
    command.grant(Grant::Base).channel(true).stdout(output);
    // Everything it will hold is opened here and now; the service makes it with our rights.
    let parcel = command.parcel(ParcelOptions::default())?;
    let mut service = Service::find()?;
    // It ends with this process, whatever becomes of that.
    let mut domain = service.spawn(Wish::new(parcel).tied(true))?;
    while let Some(name) = domain.asked(Duration::from_secs(10))? {
        if name == "greeting" {
            domain.send(&name, File::open(&file)?)?;
            break;
        }
    }
    let record = domain.wait()?;
    println!("{} ended: {:?}", record.name, record.life);
    Ok(())
}

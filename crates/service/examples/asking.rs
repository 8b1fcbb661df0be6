//! A domain that asks for a file by its name, reads it, and ends. `serve.rs` beside it is its other side.

use std::fs::File;
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The slot `beget`, which every domain with a channel has.
    let channel = beget_channel::channel()?;
    channel.ask("greeting")?;
    // Waits; `None` when nobody holds the other end any more.
    let (name, file) = channel.receive()?.ok_or("nobody gives anything")?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    println!("{name}: {text}");
    Ok(())
}

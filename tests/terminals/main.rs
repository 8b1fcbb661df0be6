//! `beget run` in a real terminal: each test makes a pseudo-terminal, puts a session on it, types, and looks at what comes back,
//! at the terminal's modes, at its foreground group and at what is left.

mod background;
mod devices;
mod ends;
mod hangup;
mod inside;
mod jobs;
mod own;
mod pipelines;
mod processes;
mod terminal;
mod top;

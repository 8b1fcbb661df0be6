//! What the process service and the monitor say to each other, in [packets](crate::packet).
//!
//! Numbers are in the machine's own order, in the order in which they are listed; `str` and `bytes` have their length before them. A request
//! that has an answer gets exactly one, with its number. What the monitor tells unasked has the number 0.
//!
//! | request | body | descriptors | answer |
//! |---|---|---|---|
//! | `HELLO` | lowest, highest version known (u32 each) | | `WELCOME` |
//! | `CLIENT` | client (u64) | its connection | `CLIENT` |
//! | `GONE` | client (u64) | | none |
//! | `BIRTHS` | client (u64), where (u32), nursery (u64), flags (u32), count (u32), then the body of a nursery's batch | what the plans name | `BORN` |
//! | `SIGNAL` | label (u64), signal (u32) | | `DONE` |
//! | `END_NURSERY` | nursery (u64) | | none; `NURSERY_ENDED` comes |
//! | `TAKEN` | label (u64) | | none |
//! | `KEEP` | key (u64), note (bytes) | what is to be kept | none; `NOT_KEPT` may come |
//! | `FORGET` | key (u64) | | none |
//! | `ROLL` | of each domain that is known to live: label (u64), user (u32), nursery (u64, 0 for a shared one) | | `LIVING`, then `KEPT`, then `ENDED` unasked, then `ROLL_END` with the request's number |
//! | `STOP` | | | `DONE` when everything has ended; then the monitor ends |
//!
//! A service may be killed at any moment, and the next one says everything again that it is not sure of. So `CLIENT` and `KEEP` of a number that
//! is known are taken again, and `TAKEN`, `FORGET`, `GONE` and `END_NURSERY` of one that is not known harm nothing: the last is answered by
//! `NURSERY_ENDED` at once. What a service that is gone had sent is done before the next one's `ROLL` is answered, or never. An end is told as it
//! becomes known, and with every `ROLL` until it is taken: whoever asks for one just then hears of it twice.
//!
//! After another monitor's end it is the nurseries that say whose end they keep and who lives in them, and a nursery may be a stranger's program. So `ROLL`
//! says what is known: of a domain that is in it, what any nursery says but that one, of that user, is passed over.
//!
//! Process numbers are those of the monitor's own PID namespace, or 0 where a process has none that can be told.
//!
//! What is not done is answered by `REFUSED`, whatever it was. A nursery that has too much to do is told by `EAGAIN`: ask again later. A `KEEP`
//! whose descriptor found no number in the monitor is told of by `NOT_KEPT` with its request's number for a key, for that is all that is known of
//! it: whoever keeps gives both the same. Of an item's flags only `WITHOUT_GROUPS` counts; whether ends are kept and pidfds held is the monitor's to
//! say. `SIGNAL` is done when it is on its way; `ESRCH` means that the domain is not born yet or has ended.
//!
//! Safety idea: a fixed small set of messages, each checked whole before anything is done.

/// The versions of this protocol that this code speaks: the lowest and the highest.
pub const VERSIONS: [u32; 2] = [1, 1];
/// The numbers of domains and nurseries are below this one: those above are the monitor's own.
pub const NUMBERS_END: u64 = 1 << 63;
/// The longest note of what is kept.
pub const LONGEST_NOTE: usize = 1024;
/// The most nurseries of their own, of all clients together.
pub const MOST_NURSERIES: usize = 16_384;

/// What a packet is.
pub mod kind {
    /// To the monitor: the first of all packets.
    pub const HELLO: u16 = 1;
    /// To the monitor: here is a client; read who it is from its own connection.
    pub const CLIENT: u16 = 2;
    /// To the monitor: a client is gone. Its nurseries stay while something lives in them.
    pub const GONE: u16 = 3;
    /// To the monitor: births for a client.
    pub const BIRTHS: u16 = 4;
    /// To the monitor: a signal for a domain.
    pub const SIGNAL: u16 = 5;
    /// To the monitor: end a nursery that was made for one domain, and everything in it.
    pub const END_NURSERY: u16 = 6;
    /// To the monitor: the end of a domain is written down, and need not be told again.
    pub const TAKEN: u16 = 7;
    /// To the monitor: keep a descriptor for whoever is the service after us.
    pub const KEEP: u16 = 8;
    /// To the monitor: close what was kept.
    pub const FORGET: u16 = 9;
    /// To the monitor: tell everything that lives, is kept, and has ended untaken.
    pub const ROLL: u16 = 10;
    /// To the monitor: end everything, and yourself.
    pub const STOP: u16 = 11;

    /// From the monitor: why a request was not done. Errno (u32), words (str).
    pub const REFUSED: u16 = 100;
    /// From the monitor: version (u32), policy (u32: [`super::policy`]), process number (u32), epoch (u64, another for each monitor). To a service none of whose
    /// versions it knows it answers `REFUSED` and closes.
    pub const WELCOME: u16 = 101;
    /// From the monitor: user, group, process number (u32 each) of a client that may be served.
    pub const CLIENT_IS: u16 = 102;
    /// From the monitor: count (u32), then operation and errno (u32 each, errno 0 for none) of the nursery that was to be made, then as many
    /// `beget_plan::message::Born`; pidfds are never sent.
    pub const BORN: u16 = 104;
    /// From the monitor: errno (u32), 0 when it was done.
    pub const DONE: u16 = 105;
    /// From the monitor, unasked: label (u64), process number, how, status (u32 each; `beget_plan::message::change`, or [`super::LOST`]), usage (144 bytes). Told
    /// again to the next service until it is `TAKEN`.
    pub const ENDED: u16 = 120;
    /// From the monitor, unasked: nursery (u64). It has ended, and everything in it; told for those with a number of their own.
    pub const NURSERY_ENDED: u16 = 121;
    /// From the monitor, unasked: label (u64), then a `Born`: a birth whose answer nobody could take, for the service that asked for it is gone.
    pub const BORN_LATE: u16 = 122;
    /// From the monitor, unasked: key (u64), errno (u32).
    pub const NOT_KEPT: u16 = 123;
    /// From the monitor: more (u32), count (u32), then label (u64), process number (u32), 1 if its birth is not over (u32), nursery (u64) of each living domain.
    pub const LIVING: u16 = 124;
    /// From the monitor: key (u64), note (bytes), with what was kept.
    pub const KEPT: u16 = 125;
    /// From the monitor: all was told.
    pub const ROLL_END: u16 = 126;
}

/// How a domain ended whose nursery was killed: nobody knows. In [`kind::ENDED`].
pub const LOST: u32 = 0;

/// What happens to the domains of a monitor that is killed.
pub mod policy {
    /// They end with it.
    pub const DIE: u32 = 0;
    /// They live on under their nursery, which keeps how they end until another monitor has taken it over.
    pub const LIVE: u32 = 1;
}

/// Where births happen.
pub mod place {
    /// In a nursery that all domains of these credentials share. For processes that cannot create others.
    pub const SHARED: u32 = 0;
    /// In a new nursery with the number given, which must be another than 0. The batch may be empty: then only the nursery is made.
    pub const FRESH: u32 = 1;
    /// In a new nursery with the number given, which the first item of the batch makes. Its plan's descriptors 0, 1 and 2 are put in by the monitor: its channel,
    /// the stub's file, and what is for its slot 1; the item's table has any index at these places. Its label is 0.
    /// The batch may have no other item: then only the nursery is made.
    pub const PLANNED: u32 = 2;
    /// As `PLANNED`, but the new nursery is born in the one whose number is one less, which was made before for the same client, and ends with that.
    pub const WITHIN: u32 = 4;
    /// In the nursery with the number given, which was made before. The client may be 0 here: whoever that nursery was made for, even if he is gone.
    pub const EXISTING: u32 = 3;
}

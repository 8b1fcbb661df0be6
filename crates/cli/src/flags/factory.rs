//! The flags of the commands about factories.

use std::ffi::OsString;
use std::path::PathBuf;

use beget_factory::Pool;

use super::{Apply, Flag, Group, number, text};
use crate::options::{Options, Runtime, Socket};

/// The command that starts a program and builds a factory of it.
const CREATE: &[&str] = &["factory-create"];
/// The one that builds a factory of what was saved.
const LOAD: &[&str] = &["factory-load"];
/// Both.
const BUILD: &[&str] = &["factory-create", "factory-load"];
/// The commands that speak to a service that runs.
const CLIENTS: &[&str] =
    &["factory-run", "factory-list", "factory-show", "factory-replace", "factory-save", "factory-destroy"];

const fn flag(
    of: &'static [&'static str],
    name: &'static str,
    value: &'static str,
    help: &'static str,
    apply: Apply,
) -> Flag {
    Flag { name, value, group: Group::Factory, help, apply, of }
}

fn runtime(options: &mut Options, runtime: Runtime) -> Result<(), String> {
    if options.factory.runtime.is_some_and(|other| other != runtime) {
        return Err("the program is one of them".into());
    }
    options.factory.runtime = Some(runtime);
    Ok(())
}

fn some(value: OsString) -> Result<PathBuf, String> {
    if value.is_empty() { Err("wants a file".into()) } else { Ok(value.into()) }
}

fn socket(options: &mut Options, value: OsString) -> Result<(), String> {
    options.service.socket = Some(Socket::of(value)?);
    Ok(())
}

/// All of them, in the order that help has.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        CREATE,
        "ready",
        "POINT",
        "start the program once, and stop it there for products to be copied from: entry (loaded\nand relocated), main, stdin (it waits for its input), stop (it stops itself), or\nsymbol=NAME. Without this each product is started from its beginning",
        |options, value| {
            let point = text(&value)?.parse::<beget_factory::Ready>();
            let point = point.map_err(|error| error.to_string())?;
            options.factory.options.ready = Some(point);
            Ok(())
        },
    ),
    flag(
        BUILD,
        "python",
        "",
        "the program is a Python, with what it has as arguments for its own flags; products are given\nwhat would come after them: -c, -m, a file, or a script on standard input. Each is unlike\nevery other: what it takes for random is seeded anew",
        |options, _| runtime(options, Runtime::Python),
    ),
    flag(BUILD, "perl", "", "the program is a Perl, likewise", |options, _| runtime(options, Runtime::Perl)),
    flag(
        CREATE,
        "preload",
        "MODULE,...",
        "with --python or --perl: what is loaded before products are copied from it, such as\njson,asyncio",
        |options, value| {
            let names = text(&value)?.split(',').map(str::to_owned);
            let before = options.factory.preload.len();
            options.factory.preload.extend(names.filter(|name| !name.is_empty()));
            if options.factory.preload.len() == before {
                return Err("wants the name of a module".into());
            }
            Ok(())
        },
    ),
    flag(
        BUILD,
        "pool",
        "N",
        "keep N products born ahead, which wait to be told what is theirs",
        |options, value| {
            let pool = &mut options.factory.options.pool;
            let low_water = pool.low_water;
            *pool = Pool::of(number(&value)?);
            if low_water > 0 {
                pool.low_water = low_water;
            }
            Ok(())
        },
    ),
    flag(
        BUILD,
        "low-water",
        "N",
        "fill the pool again when fewer than N wait, instead of half of it",
        |options, value| {
            options.factory.options.pool.low_water = number(&value)?;
            Ok(())
        },
    ),
    flag(
        BUILD,
        "renew",
        "N",
        "start the program anew after N products, whose layout and secrets are others then",
        |options, value| {
            let count = number(&value)?;
            if count == 0 {
                return Err("wants more than none".into());
            }
            options.factory.options.renew = Some(count);
            Ok(())
        },
    ),
    flag(
        BUILD,
        "inspectable",
        "",
        "let other processes of this user look into products, as debuggers do: isolation of builder\nand requestor is no boundary then",
        |options, _| {
            options.factory.options.opaque = false;
            Ok(())
        },
    ),
    flag(
        BUILD,
        "no-freeze",
        "",
        "leave the memory that products are copied from as the program made it, instead of turning\nit into one shared image",
        |options, _| {
            options.factory.options.frozen = false;
            Ok(())
        },
    ),
    flag(LOAD, "image", "FILE", "what `beget factory save` has saved", |options, value| {
        options.factory.image = Some(some(value)?);
        Ok(())
    }),
    flag(
        LOAD,
        "signed-by",
        "FILE",
        "take it only if the private key to this public key has signed it; one of several is enough",
        |options, value| {
            options.factory.signers.push(some(value)?);
            Ok(())
        },
    ),
    flag(
        &["factory-save"],
        "output",
        "FILE",
        "where the image is written; it holds whatever secrets the program has, and is closed to\nothers",
        |options, value| {
            options.factory.output = Some(some(value)?);
            Ok(())
        },
    ),
    flag(
        &["factory-save"],
        "sign-with",
        "FILE",
        "sign the image with this private key (Ed25519, PEM, as `openssl genpkey` makes it)",
        |options, value| {
            options.factory.key = Some(some(value)?);
            Ok(())
        },
    ),
    flag(
        &["factory-run"],
        "unique",
        "",
        "only a product that shares no randomness and no layout of memory with another",
        |options, _| {
            options.factory.unique = true;
            Ok(())
        },
    ),
    flag(BUILD, "socket", "PATH", "the service that listens at PATH, instead of this user's", socket),
    flag(
        CLIENTS,
        "socket",
        "PATH|fd:SLOT",
        "the service that listens at PATH; or what we were started with in the slot of that name:\na capability to one factory, which is then meant without a NAME",
        socket,
    ),
    flag(
        &["factory-create", "factory-load", "factory-run", "factory-list", "factory-show", "factory-destroy"],
        "json",
        "",
        "print JSON; `factory run` does it at the end, on standard error",
        |options, _| {
            options.json = true;
            Ok(())
        },
    ),
];

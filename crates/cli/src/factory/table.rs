//! The commands about factories, once: as the table of commands has the others.

use crate::commands::{Entry, Takes, with_flags};

/// All of them, in the order that help has.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "factory-create",
        usage: "[FLAGS] NAME -- PROGRAM [ARG...]",
        summary: "build a factory of a program, and seal it",
        text: "Builds a factory of PROGRAM with these arguments, which holds what the flags grant as with `beget run`, seals it, and prints its name. \
               Everything is opened and measured now; a file that is replaced later is not what products run. A process of the service keeps it, with \
               your own rights, until `beget factory destroy`.\n\n\
               With --ready the program is started once, and products are copies of it that go on from there. What cannot be copied truly is refused, \
               with every reason; how products differ from a fresh start, `beget factory show` tells. Without --ready each product is a start of its own, from \
               what was opened once.\n\n\
               When no service runs for this user, one is started, which says so once and ends when it has nothing left to keep.",
        examples: &[
            ("beget factory create upper --base --ready main -- tr a-z A-Z", "stopped at its main"),
            (
                "beget factory create sh --base --ready stdin --pool 8 -- bash -s",
                "a shell that waits for its script, eight of them born ahead",
            ),
            (
                "beget factory create build --base --spawn --read ./src -- make -C src",
                "cold: each product is started from its beginning",
            ),
        ],
        takes: Takes::NameAndProgram,
        act: |words| with_flags("factory-create", words),
    },
    Entry {
        name: "factory-run",
        usage: "[FLAGS] NAME [-- ARG...]",
        summary: "have a factory make a product, and stay",
        text: "Has the factory NAME make a product with our standard input, output and error, and ARGs after the factory's own arguments; the exit code \
               is the product's. Signals that ask us to end go to it, and it is ended when we are, however that comes.\n\n\
               Where the program was stopped after it had read its arguments or variables, they cannot be given any more, and that is an error. Grants \
               hold the product to no more than they and the factory's both allow. Limits may be narrower than the factory's.",
        examples: &[
            ("beget factory run upper", "what is typed comes back in capitals"),
            ("beget factory run --timeout 10s build -- test", "no longer than ten seconds"),
        ],
        takes: Takes::NameAndArguments,
        act: |words| with_flags("factory-run", words),
    },
    Entry {
        name: "factory-list",
        usage: "[FLAGS]",
        summary: "list the factories that live",
        text: "Lists the factories of this user: name, state, the process that keeps it, age and memory of that. `beget ps` lists them among the domains.",
        examples: &[("beget factory list", "for people"), ("beget factory list --json", "for programs")],
        takes: Takes::Flags,
        act: |words| with_flags("factory-list", words),
    },
    Entry {
        name: "factory-show",
        usage: "[FLAGS] NAME",
        summary: "tell what a factory's products reach",
        text: "Tells of the factory NAME: its holes, which are the ways on which a product could tell somebody something, each with its reason; what products are \
               given besides, and why that is discreet; the digest of the whole; the feature of the kernel that holds each line; how products differ from a \
               fresh start; and what was counted. A factory without a hole is confined, as far as the answer says that it speaks.\n\n\
               It is answered by the process that keeps the factory, whose birth the service wrote, and not by whoever built it.",
        examples: &[
            ("beget factory show upper", "for people"),
            ("beget factory show --json upper", "for programs"),
        ],
        takes: Takes::Domain,
        act: |words| with_flags("factory-show", words),
    },
    Entry {
        name: "factory-replace",
        usage: "[FLAGS] NAME",
        summary: "start a factory's program anew",
        text: "Has the factory NAME start its program anew and make products of that. Requests are answered meanwhile, and products that run go on. A factory \
               does so by itself when the program or a library of it has changed on disk, and after --renew products.",
        examples: &[("beget factory replace upper", "other secrets and another layout of memory")],
        takes: Takes::Domain,
        act: |words| with_flags("factory-replace", words),
    },
    Entry {
        name: "factory-save",
        usage: "[FLAGS] NAME --output FILE",
        summary: "save a factory's program, stopped where it is ready",
        text: "Has the factory NAME start its program once more, and saves what that is where it is ready: its memory, registers and files that are open for \
               reading. Prints the digest of the image. `beget factory load` makes products from it: later, after a restart of the machine, or \
               on another one with the same kernel interfaces, processor features and files; a mismatch is refused with the reason. What products hold is not \
               saved: whoever loads it says that anew.",
        examples: &[
            ("beget factory save upper --output upper.image", "to be kept"),
            (
                "beget factory save upper --output upper.image --sign-with key.pem",
                "for somebody who knows the public key",
            ),
        ],
        takes: Takes::Domain,
        act: |words| with_flags("factory-save", words),
    },
    Entry {
        name: "factory-load",
        usage: "[FLAGS] NAME --image FILE -- PROGRAM [ARG...]",
        summary: "build a factory of a program that was saved",
        text: "Builds a factory as `beget factory create` does, but starts no program: products go on from where the one in FILE was when `beget factory save` saved \
               it. PROGRAM and its arguments are those that were saved. What products hold is what the flags say here, and nothing in the file widens it.\n\n\
               The file is held against its digests, and copied, before anything of it is used. It is taken by the same kernel interfaces, processor features and \
               files of program and libraries alone; a mismatch is refused with the reason. An interpreter that was saved from a factory with --python or --perl \
               is loaded with the same flag.",
        examples: &[
            (
                "beget factory load upper --image upper.image --base -- tr a-z A-Z",
                "with what this file holds",
            ),
            (
                "beget factory load upper --image upper.image --signed-by key.pub --base -- tr a-z A-Z",
                "only if it was signed with the key to this",
            ),
        ],
        takes: Takes::NameAndProgram,
        act: |words| with_flags("factory-load", words),
    },
    Entry {
        name: "factory-destroy",
        usage: "[FLAGS] NAME...",
        summary: "end factories and all their products",
        text: "Ends each factory, with its template, those that wait and all products that run.",
        examples: &[("beget factory destroy upper", "nothing is left of it")],
        takes: Takes::Domains,
        act: |words| with_flags("factory-destroy", words),
    },
];

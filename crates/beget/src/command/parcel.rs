//! Packs a command for a birth that somebody else gives.
//!
//! Safety idea: a parcel is refused for whatever only the process that spawns can do for its child, so nothing that was asked for is lost on
//! the way. The nursery for what the child creates is confined by the same ruleset, keyring, limits and filter, written by the same code.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_authority::cgroup::Group as Cgroup;
use beget_authority::{Grant, Opened, limit};
use beget_plan::nursery::Sources;
use beget_plan::{Engine, Op, Plan};

use super::prepare::{self, Prepared, given};
use super::slots::{Slot, Slots, Source};
use super::spawn::{Own, Pipes};
use super::{Command, Group, describe, root, write};
use crate::confine::{self, Places};
use crate::description::Description;
use crate::error::{Error, Fault, Result};
use crate::nursery::RootRequest;
use crate::nursery::root as nursery_root;
use crate::parcel::{NurseryPlan, Parcel, ParcelOptions};
use crate::stdio::Kind;
use crate::writer::{Step, Writer};

/// What all parcels of one command share.
#[derive(Debug)]
pub(crate) struct Stock {
    prepared: Arc<Prepared>,
    /// Copies of the command's own descriptors, by the places of their slots.
    copies: Vec<Option<OwnedFd>>,
    cgroup: Option<Arc<OwnedFd>>,
    description: Description,
    alone: bool,
    together: bool,
}

impl Stock {
    pub(crate) fn plan(&self) -> &[u8] {
        &self.prepared.plan
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.prepared.steps
    }

    pub(crate) fn held(&self) -> &[Opened] {
        &self.prepared.held
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn alone(&self) -> bool {
        self.alone
    }

    pub(crate) fn together(&self) -> bool {
        self.together
    }

    /// The caller's own, which the child is born in itself.
    pub(crate) fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn descriptors<'a>(&'a self, made: &'a Pipes, own: &'a Own) -> Vec<BorrowedFd<'a>> {
        let find = |(slot, copy): (&Slot, &'a Option<OwnedFd>)| {
            let copy = copy.as_ref().map(AsFd::as_fd);
            copy.or_else(|| made.made(slot.source, own)).or_else(|| self.prepared.opened(slot.source))
        };
        self.prepared.slots.all.iter().zip(&self.copies).filter_map(find).collect()
    }
}

impl Command {
    /// Packs it for a birth that somebody else gives: a monitor, by a nursery of its own, with this process's credentials. What is opened is
    /// opened now; nothing is started. Further parcels of the same command open nothing anew.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) that show before a birth; and what only a process that spawns can do for its child: pipes, a
    /// pseudo-terminal of its own, refusals told, a stop before it runs, another user, a loader of its own, its death with a thread or at a
    /// drop, a limit on collected output, this process's group or another that is there already, a nursery of this process's, being its
    /// child. A spawner cannot be had for a child that executes no other program ([`only`](Command::only)).
    pub fn parcel(&mut self, options: ParcelOptions) -> Result<Parcel> {
        self.check_for_parcel(options)?;
        prepare::check_streams(&self.streams)?;
        let stock = match &self.stock {
            Some(stock) if stock.together == options.together && stock.prepared.fits(self) => {
                Arc::clone(stock)
            }
            _ => {
                let stock = Arc::new(self.make_stock(options.together)?);
                self.stock = Some(Arc::clone(&stock));
                stock
            }
        };
        let prepared = &stock.prepared;
        let (own, made) = (Own::new(), Pipes::make(prepared)?);
        if stock.descriptors(&made, &own).len() != prepared.slots.all.len() {
            return Err(Error::new("plan", "a slot has no source", Fault::Beget));
        }
        let nursery = self.pack_root(prepared, options)?;
        let spawner = match options.spawner {
            true => Some(self.pack_spawner(&stock, made.group.as_ref(), options)?),
            false => None,
        };
        Ok(Parcel { stock, own, made, nursery, spawner })
    }

    fn check_for_parcel(&self, options: ParcelOptions) -> Result<()> {
        let piped = |kind: &Option<Kind>| matches!(kind, Some(Kind::Piped));
        let stream = self.streams.iter().position(piped).unwrap_or_default();
        let stream = ["slot stdin", "slot stdout", "slot stderr"][stream];
        let group =
            matches!(self.group, Group::Caller) || matches!(self.group, Group::Join(group) if group != 0);
        let refused = [
            (
                self.streams.iter().any(piped),
                stream,
                "a pipe of this process's: give one end of a pipe instead",
            ),
            (self.has_pty(), "pseudo-terminal", "a terminal of its own: give a terminal instead"),
            (self.tell_refusals, "refusals", "they are told to whoever spawns it"),
            (self.suspended, "suspended", "a stop is told to whoever spawns it"),
            (self.credentials.are_changed(), "user", "another user or group than this process's"),
            (self.needs_embryo(), "loader", "a loader of its own"),
            (self.own_child, "own child", "a child of this process"),
            (self.nursery.is_some(), "nursery", "a nursery of this process's"),
            (self.die_with_thread, "death with its parent", "it has another parent"),
            (self.kill_on_drop, "kill on drop", "it has no handle here to be dropped"),
            (self.output_limit.is_some(), "output limit", "its output is not collected here"),
            (group, "process group", "it is born in another session"),
            (
                options.spawner && self.only,
                "spawner",
                "it may execute no other program, so neither may what it creates",
            ),
        ];
        match refused.into_iter().find(|(is_so, ..)| *is_so) {
            Some((_, part, words)) => {
                Err(Error::new(part, format!("not where somebody else gives birth: {words}"), Fault::Caller))
            }
            None => Ok(()),
        }
    }

    fn make_stock(&mut self, together: bool) -> Result<Stock> {
        (self.in_batch, self.suspended) = (true, together);
        let prepared = prepare::prepare(self);
        (self.in_batch, self.suspended) = (false, false);
        let mut prepared = prepared?;
        let description = describe::describe(self, &prepared);
        let failed = |error: std::io::Error| Error::io("slots", error);
        let copy = |slot: &Slot| match slot.source {
            Source::Stream(_) | Source::Named(_) | Source::Numbered(_) | Source::Terminal => {
                let file = given(self, &prepared, slot.source);
                file.map(|file| file.try_clone_to_owned()).transpose().map_err(failed)
            }
            _ => Ok(None),
        };
        let copies = prepared.slots.all.iter().map(copy).collect::<Result<Vec<_>>>()?;
        // In a private root its nursery is born there, and it in that.
        let born_there = self.private_root().is_none();
        let cgroup = self.cgroup.clone().filter(|_| born_there);
        let alone = prepared.authority.policy.is_some_and(|policy| !policy.spawn);
        drop(prepared.hold());
        Ok(Stock {
            prepared: Arc::new(prepared),
            copies,
            cgroup,
            description,
            alone: alone && !self.grants.contains(&Grant::Spawn),
            together,
        })
    }

    /// The nursery of its private root.
    fn pack_root(&self, prepared: &Prepared, options: ParcelOptions) -> Result<Option<NurseryPlan>> {
        let Some(layout) = &prepared.authority.layout else { return Ok(None) };
        layout.make_kept()?;
        let failed = |error: std::io::Error| Error::io("root", error);
        let cgroup = self.cgroup.as_ref().filter(|_| !prepared.has_group());
        let own_network = prepared.authority.own_network;
        let request = RootRequest { layout, own_network, cgroup: None };
        let helpers = nursery_root::Helpers::open()?;
        let mut descriptors = Vec::new();
        let (plan, steps) = nursery_root::plan(options.first(), request, &helpers, &mut descriptors)?;
        Plan::check(&plan, Engine::Vfork).map_err(Error::malformed_plan)?;
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(failed);
        Ok(Some(NurseryPlan {
            descriptors: descriptors.into_iter().map(own).collect::<Result<_>>()?,
            plan,
            steps,
            namespaces: nursery_root::AT_BIRTH,
            without_groups: confine::may_set_groups()?,
            cgroup: cgroup.map(|cgroup| cgroup.try_clone()).transpose().map_err(failed)?,
        }))
    }

    /// The nursery for what it creates.
    fn pack_spawner(
        &self,
        stock: &Stock,
        group: Option<&Cgroup>,
        options: ParcelOptions,
    ) -> Result<NurseryPlan> {
        let prepared = &*stock.prepared;
        let failed = |error: std::io::Error| Error::io("spawner", error);
        let (mut all, mut descriptors) = (Vec::new(), Vec::new());
        for slot in prepared.slots.all.iter() {
            let file = match slot.source {
                Source::Directory | Source::Ruleset => prepared.opened(slot.source),
                Source::Cgroup(index) => group.and_then(|group| group.entry(index)),
                _ => continue,
            };
            let file = file.ok_or_else(|| Error::new("spawner", "a slot has no source", Fault::Beget))?;
            descriptors.push(file.try_clone_to_owned().map_err(failed)?);
            // Behind those that it will have as a nursery.
            let number = all.len() as i32 + NurseryPlan::OF_ITS_MAKER as i32;
            all.push(Slot { number, name: slot.name.clone(), source: slot.source, kept: false });
        }
        let slots = Slots { all, names: None, listening: 0 };
        let mut writer = Writer::default();
        self.write_spawner(prepared, &slots, &mut writer)?;
        let files = prepared.limits.iter().find(|one| one.number == limit::OPEN_FILES);
        let files = files.map(|one| one.bounds.hard);
        let sources = Sources { channel: 0, program: 1, second: Some(2), files };
        let count = NurseryPlan::OF_ITS_MAKER + descriptors.len();
        let plan = nursery_root::finish(options.spawner(), sources, &mut writer, count)?;
        Plan::check(&plan, Engine::Vfork).map_err(Error::malformed_plan)?;
        let cgroup = match group {
            Some(group) => group.cradle(),
            None => stock.cgroup(),
        };
        let cgroup = cgroup.map(|fd| fd.try_clone_to_owned()).transpose().map_err(failed)?;
        let steps = writer.steps;
        Ok(NurseryPlan { plan, steps, descriptors, namespaces: 0, without_groups: false, cgroup })
    }

    /// What confines the nursery for what it creates, in the order in which its own plan has it.
    fn write_spawner(&self, prepared: &Prepared, slots: &Slots, writer: &mut Writer) -> Result<()> {
        writer.push(Op::DefaultSignals {}, "spawner: signal dispositions");
        writer.push(Op::NewSession {}, "spawner: session");
        writer.push(Op::Raise { floor: slots.end() }, "spawner: descriptors");
        for (source, slot) in (NurseryPlan::OF_ITS_MAKER as u32..).zip(&slots.all) {
            let place = Op::Place { source, slot: slot.number, closing: 1 };
            writer.push(place, format!("spawner: {}", slot.name));
        }
        for slot in slots.all.iter().filter(|slot| matches!(slot.source, Source::Cgroup(_))) {
            writer.push(Op::JoinCgroup { slot: slot.number }, "spawner: cgroup");
        }
        write::surroundings(self, slots, &prepared.directory_name, &prepared.limits, writer)?;
        if self.has_ambient() {
            return Ok(());
        }
        let ruleset = slots.helper(Source::Ruleset);
        if let (Some(layout), Some(slot)) = (prepared.authority.layout.as_ref(), ruleset) {
            root::allow(layout, slot, writer)?;
        }
        let places = Places { ruleset, ..Places::default() };
        let groups = prepared.authority.layout.is_none();
        confine::write_for_nursery(&prepared.authority, prepared.keyring, groups, places, writer)
    }
}

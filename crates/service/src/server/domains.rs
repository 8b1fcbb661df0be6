//! The register: every domain that lives or is remembered, by number and by name.
//!
//! Safety idea: it changes by [`Event`]s alone, and the same events make the same register; connections, timers and whatever else a killed
//! service loses are elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::event::{End, Event, Intent};
use crate::protocol::{Life, Record, wanted};

/// How many births that failed are remembered, for whoever asks again.
const MOST_UNBORN: usize = 1024;
/// How many names a domain may ask for and not be given.
pub(crate) const MOST_ASKED: usize = 64;

/// A domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    /// What was written before its birth; what it holds is kept elsewhere.
    pub(crate) intent: Intent,
    /// What it holds and what enforces that; one copy for all that hold the same.
    pub(crate) holdings: Rc<[u8]>,
    /// It was born.
    pub(crate) born: bool,
    /// Number of its process; 0 where that is not known.
    pub(crate) pid: u32,
    /// When its process was started, in the kernel's ticks; 0 where that was not noted.
    pub(crate) start: u64,
    /// Why there is none: operation, errno, and whose plan failed.
    pub(crate) unborn: Option<(u32, u32, u32)>,
    /// It is being ended: the grace.
    pub(crate) killing: Option<u64>,
    /// Why.
    pub(crate) report: String,
    /// What it asks for, and whether a holder was told.
    pub(crate) asks: Vec<(String, bool)>,
    /// What a holder was told last, and the request that asked for it.
    pub(crate) told: Option<(u64, String)>,
    /// How its process ended.
    pub(crate) end: Option<End>,
    /// Nothing is left of it.
    pub(crate) clean: bool,
}

impl Domain {
    /// Whether anything of it may be alive.
    pub(crate) fn lives(&self) -> bool {
        !self.clean && self.unborn.is_none()
    }

    /// Nothing more can be given to it or asked of it.
    pub(crate) fn is_revoked(&self) -> bool {
        self.killing.is_some() || self.end.is_some() || self.unborn.is_some()
    }

    /// As it is told.
    pub(crate) fn record(&self) -> Record {
        let Intent { id, name, wanted, user, parent, at, .. } = &self.intent;
        let end = self.end.clone().unwrap_or_default();
        let life = match (&self.end, self.clean) {
            // An end is an end when nothing is left.
            (Some(end), true) => end.life,
            _ if !self.born => Life::Embryo,
            _ => Life::Running,
        };
        let ended = if self.clean { end.at } else { 0 };
        Record {
            id: *id,
            name: name.clone(),
            program: wanted.program.clone(),
            life,
            pid: self.pid,
            parent: *parent,
            user: *user,
            started: *at,
            ended,
            memory_peak: end.memory_peak,
            memory: 0,
            user_time: end.user_time,
            system_time: end.system_time,
            capabilities: wanted.capabilities.clone(),
            asks: self.asks.iter().map(|(name, _)| name.clone()).collect(),
            report: self.report.clone(),
            keeper: wanted.flags & wanted::KEEPER != 0,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Register {
    domains: BTreeMap<u64, Domain>,
    /// The latest of each user and name.
    names: HashMap<(u32, String), u64>,
    /// The domains of each request.
    tokens: HashMap<[u8; 16], Vec<u64>>,
    /// The living products of each domain.
    products: HashMap<u64, Vec<u64>>,
    /// Those that live.
    living: HashSet<u64>,
    /// Those that have ended, of each user, in that order.
    history: HashMap<u32, VecDeque<u64>>,
    unborn: VecDeque<u64>,
    holdings: HashSet<Rc<[u8]>>,
    /// The next number.
    pub(crate) reserved: u64,
    /// The monitor's epoch and policy, when one was spoken to last.
    pub(crate) monitor: Option<(u64, u32)>,
}

impl Register {
    /// What happened.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Reserved(below) => self.reserved = self.reserved.max(below),
            Event::Monitor(epoch, policy) => self.monitor = Some((epoch, policy)),
            Event::Intent(intent) => self.begin(*intent),
            Event::Forgotten(id) => self.forget(id),
            Event::Unborn(id, op, errno, nursery) => {
                self.with(id, |domain| domain.unborn = Some((op, errno, nursery)));
                self.is_over(id);
                self.unborn.push_back(id);
                if self.unborn.len() > MOST_UNBORN
                    && let Some(old) = self.unborn.pop_front()
                {
                    self.forget(old);
                }
            }
            Event::Clean(id) => {
                self.with(id, |domain| domain.clean = true);
                self.is_over(id);
                if let Some(user) = self.domains.get(&id).map(|domain| domain.intent.user) {
                    self.history.entry(user).or_default().push_back(id);
                }
            }
            Event::Born(id, number) => self.with(id, |domain| (domain.born, domain.pid) = (true, number)),
            Event::Noted(id, start) => self.with(id, |domain| domain.start = start),
            Event::Killing(id, grace, why) => self.with(id, |domain| {
                domain.killing = Some(grace);
                if domain.report.is_empty() {
                    domain.report = why;
                }
            }),
            Event::Asked(id, name) => self.with(id, |domain| {
                domain.asks.retain(|(asked, _)| *asked != name);
                domain.asks.push((name, false));
            }),
            Event::Told(id, name, request) => self.with(id, |domain| {
                for (asked, told) in &mut domain.asks {
                    *told |= *asked == name;
                }
                domain.told = Some((request, name));
            }),
            Event::Given(id, name) => self.with(id, |domain| domain.asks.retain(|(asked, _)| *asked != name)),
            Event::Ended(id, end) => self.with(id, |domain| domain.end = Some(end)),
        }
    }

    fn with(&mut self, id: u64, change: impl FnOnce(&mut Domain)) {
        if let Some(domain) = self.domains.get_mut(&id) {
            change(domain);
        }
    }

    fn begin(&mut self, mut intent: Intent) {
        let id = intent.id;
        let holdings: Rc<[u8]> = std::mem::take(&mut intent.wanted.holdings).into();
        let holdings = match self.holdings.get(&holdings) {
            Some(same) => Rc::clone(same),
            None => {
                self.holdings.insert(Rc::clone(&holdings));
                holdings
            }
        };
        self.reserved = self.reserved.max(id + 1);
        self.names.insert((intent.user, intent.name.clone()), id);
        self.tokens.entry(intent.token).or_default().push(id);
        self.living.insert(id);
        if intent.parent != 0 {
            self.products.entry(intent.parent).or_default().push(id);
        }
        self.domains.insert(id, Domain { intent, holdings, ..Domain::default() });
    }

    /// Nothing of it lives any more.
    fn is_over(&mut self, id: u64) {
        self.living.remove(&id);
        let Some(parent) = self.domains.get(&id).map(|domain| domain.intent.parent) else { return };
        if let Some(products) = self.products.get_mut(&parent) {
            products.retain(|product| *product != id);
            if products.is_empty() {
                self.products.remove(&parent);
            }
        }
    }

    fn forget(&mut self, id: u64) {
        self.is_over(id);
        let Some(domain) = self.domains.remove(&id) else { return };
        let Intent { user, name, token, .. } = domain.intent;
        let name = (user, name);
        if self.names.get(&name) == Some(&id) {
            self.names.remove(&name);
        }
        if let Some(ids) = self.tokens.get_mut(&token) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.tokens.remove(&token);
            }
        }
        if let Some(history) = self.history.get_mut(&user)
            && let Some(place) = history.iter().position(|other| *other == id)
        {
            history.remove(place);
        }
        // The register's own copy is the last one.
        if Rc::strong_count(&domain.holdings) == 2 {
            self.holdings.remove(&domain.holdings);
        }
    }

    /// Domain `id`.
    pub(crate) fn get(&self, id: u64) -> Option<&Domain> {
        self.domains.get(&id)
    }

    /// The latest of this name, or that of this number.
    pub(crate) fn find(&self, user: u32, name: &str) -> Option<u64> {
        let id = match name.parse() {
            Ok(id) => id,
            Err(_) => *self.names.get(&(user, name.to_owned()))?,
        };
        let domain = self.domains.get(&id)?;
        (domain.intent.user == user && domain.unborn.is_none()).then_some(id)
    }

    /// Whether a living domain of this user has this name.
    pub(crate) fn is_taken(&self, user: u32, name: &str) -> bool {
        let id = self.names.get(&(user, name.to_owned()));
        id.and_then(|id| self.domains.get(id)).is_some_and(Domain::lives)
    }

    /// The domains of a request that was made before.
    pub(crate) fn of_token(&self, token: &[u8; 16]) -> Option<&[u64]> {
        self.tokens.get(token).map(Vec::as_slice)
    }

    /// Whether a domain, or whoever created it, is in a private root.
    pub(crate) fn is_in_root(&self, id: u64) -> bool {
        let mut next = self.domains.get(&id);
        while let Some(domain) = next {
            if domain.intent.wanted.flags & wanted::ROOT != 0 {
                return true;
            }
            // A creator's number is lower than those of its products.
            next =
                self.domains.get(&domain.intent.parent).filter(|parent| parent.intent.id < domain.intent.id);
        }
        false
    }

    /// The living products of a domain.
    pub(crate) fn products(&self, id: u64) -> &[u64] {
        self.products.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Those that live.
    pub(crate) fn living(&self) -> impl Iterator<Item = u64> {
        self.living.iter().copied()
    }

    /// How many live, and how many are remembered.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.living.len(), self.history.values().map(VecDeque::len).sum())
    }

    /// Those that have ended, the latest first.
    pub(crate) fn history(&self, user: u32) -> impl Iterator<Item = u64> {
        self.history.get(&user).into_iter().flatten().rev().copied()
    }

    /// The oldest that nobody holds, of those of one user that are more than `most`.
    pub(crate) fn too_old(&self, user: u32, most: usize, held: impl Fn(u64) -> bool) -> Option<u64> {
        let history = self.history.get(&user)?;
        history.iter().take(history.len().saturating_sub(most)).copied().find(|id| !held(*id))
    }

    /// How many of this user have ended and are remembered.
    pub(crate) fn remembered(&self, user: u32) -> usize {
        self.history.get(&user).map_or(0, VecDeque::len)
    }

    /// Every user of whom something is remembered.
    pub(crate) fn users(&self) -> Vec<u32> {
        self.history.keys().copied().collect()
    }

    /// The events that make this register, in an order that makes the same.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        let ended = self.history.values().flatten().copied();
        let ended: Vec<u64> = ended.chain(self.unborn.iter().copied()).collect();
        let last: HashSet<u64> = ended.iter().copied().collect();
        let first: Vec<u64> = self.domains.keys().copied().filter(|id| !last.contains(id)).collect();
        let monitor = self.monitor.map(|(epoch, policy)| Event::Monitor(epoch, policy));
        let begun = std::iter::once(Event::Reserved(self.reserved)).chain(monitor);
        // All intents first: a name belongs to the latest that had it.
        let intents = self.domains.values().map(|domain| {
            let mut intent = domain.intent.clone();
            intent.wanted.holdings = domain.holdings.to_vec();
            Event::Intent(Box::new(intent))
        });
        let rest = first.into_iter().chain(ended).filter_map(|id| self.domains.get(&id));
        begun.chain(intents).chain(rest.flat_map(since))
    }
}

/// What happened to a domain after its intent.
fn since(domain: &Domain) -> Vec<Event> {
    let id = domain.intent.id;
    let mut events = Vec::new();
    if domain.born {
        events.push(Event::Born(id, domain.pid));
    }
    if domain.start != 0 {
        events.push(Event::Noted(id, domain.start));
    }
    if let Some(grace) = domain.killing {
        events.push(Event::Killing(id, grace, domain.report.clone()));
    }
    for (name, told) in &domain.asks {
        events.push(Event::Asked(id, name.clone()));
        if *told {
            events.push(Event::Told(id, name.clone(), 0));
        }
    }
    events.extend(domain.told.clone().map(|(request, name)| Event::Told(id, name, request)));
    events.extend(domain.end.clone().map(|end| Event::Ended(id, end)));
    if domain.clean {
        events.push(Event::Clean(id));
    }
    events.extend(domain.unborn.map(|(op, errno, nursery)| Event::Unborn(id, op, errno, nursery)));
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Wanted;

    fn intent(id: u64, name: &str, parent: u64) -> Event {
        let wanted = Wanted { holdings: b"same".to_vec(), ..Wanted::default() };
        let intent =
            Intent { id, name: name.to_owned(), wanted, parent, token: [id as u8; 16], ..Intent::default() };
        Event::Intent(Box::new(intent))
    }

    fn end(life: Life) -> End {
        End { life, at: 5, ..End::default() }
    }

    fn register(events: impl IntoIterator<Item = Event>) -> Register {
        let mut register = Register::default();
        events.into_iter().for_each(|event| register.apply(event));
        register
    }

    fn story() -> Vec<Event> {
        vec![
            Event::Reserved(100),
            Event::Monitor(7, 1),
            intent(1, "a", 0),
            intent(2, "b", 1),
            Event::Born(1, 11),
            Event::Noted(1, 12),
            Event::Born(2, 22),
            Event::Asked(2, "x".to_owned()),
            Event::Asked(2, "y".to_owned()),
            Event::Told(2, "x".to_owned(), 5),
            Event::Told(2, "y".to_owned(), 6),
            Event::Given(2, "x".to_owned()),
            Event::Killing(2, 9, "why".to_owned()),
            intent(3, "c", 0),
            Event::Unborn(3, 4, 2, 0),
            intent(5, "d", 0),
            Event::Born(5, 55),
            Event::Ended(5, end(Life::Exited(3))),
            Event::Clean(5),
            intent(6, "d", 0),
            intent(7, "e", 0),
            Event::Ended(7, end(Life::Killed(9))),
            intent(4, "f", 0),
            Event::Born(4, 44),
            Event::Ended(4, end(Life::Lost)),
            Event::Clean(4),
        ]
    }

    #[test]
    fn names_tokens_and_products_are_found() {
        let register = register(story());
        assert_eq!(register.find(0, "a"), Some(1));
        assert_eq!(register.find(0, "1"), Some(1));
        assert_eq!(register.find(1, "a"), None, "another user's");
        assert_eq!(register.find(1, "1"), None, "another user's");
        assert_eq!(register.find(0, "c"), None, "never born");
        assert_eq!(register.find(0, "d"), Some(6));
        assert!(register.is_taken(0, "d") && !register.is_taken(0, "f") && register.is_taken(0, "e"));
        assert_eq!(register.of_token(&[5; 16]), Some(&[5][..]));
        assert_eq!(register.products(1), [2]);
        assert_eq!(register.history(0).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(register.too_old(0, 1, |_| false), Some(5));
        assert_eq!(register.too_old(0, 1, |id| id == 5), None);
        assert_eq!(register.too_old(0, 2, |_| false), None);
        assert_eq!(register.counts(), (4, 2));
        let record = register.get(5).unwrap().record();
        assert_eq!((record.life, record.ended), (Life::Exited(3), 5));
        // It has ended, and something of it is left.
        assert!(!register.get(7).unwrap().record().has_ended());
    }

    #[test]
    fn what_one_in_a_root_creates_is_in_it() {
        let mut register = register(story());
        assert!(!register.is_in_root(1) && !register.is_in_root(2) && !register.is_in_root(99));
        register.with(1, |domain| domain.intent.wanted.flags |= wanted::ROOT);
        assert!(register.is_in_root(1) && register.is_in_root(2) && !register.is_in_root(5));
    }

    #[test]
    fn what_is_written_anew_makes_the_same() {
        let first = register(story());
        let mut again = register(first.events());
        assert_eq!(format!("{:?}", first.domains), format!("{:?}", again.domains));
        assert_eq!(first.names, again.names);
        assert_eq!(first.tokens, again.tokens);
        assert_eq!((&first.products, &first.living), (&again.products, &again.living));
        assert_eq!((&first.history, &first.unborn), (&again.history, &again.unborn));
        assert_eq!((first.reserved, first.monitor), (again.reserved, again.monitor));
        for id in 1..8 {
            again.apply(Event::Forgotten(id));
        }
        assert!(again.names.is_empty() && again.tokens.is_empty() && again.products.is_empty());
        assert!(again.holdings.is_empty() && again.domains.is_empty() && again.living.is_empty());
    }
}

//! What of a spawn can be checked before anything is looked at that it brings.
//!
//! Safety idea: a request is an allegation: whatever is too much, or means nothing, is refused here, in words.

use beget_plan::message::{Batch, flag};

use super::groups;
use crate::protocol::{LONGEST_NAME, Spawn, Wanted, error, wanted};

/// The most domains of one request; and of those whose capabilities are sent back.
const MOST_DOMAINS: usize = 4000;
/// The longest of what is kept of a domain in words, in bytes.
const LONGEST_WORDS: usize = 64 << 10;
/// The longest account of what it holds.
const LONGEST_HOLDINGS: usize = 512 << 10;

/// Why a request is not done: a code, an errno, words.
pub(crate) type Refusal = (u32, u32, String);

pub(crate) fn malformed(words: &str) -> Refusal {
    (error::MALFORMED, 0, words.to_owned())
}

pub(crate) fn limit(words: &str) -> Refusal {
    (error::LIMIT, 0, words.to_owned())
}

/// Whether a domain may have this name.
fn is_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME;
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits && letters && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// How many descriptors of its own a domain must bring.
pub(crate) fn fewest(domain: &Wanted, spawner: bool) -> usize {
    usize::from(domain.flags & wanted::CHANNEL != 0) + usize::from(spawner) + domain.groups.len()
}

/// Checks everything of a request that can be checked without looking at what it brings.
pub(crate) fn check(spawn: &Spawn, given: usize) -> Result<(), Refusal> {
    const KNOWN: u32 = wanted::ALONE | wanted::CHANNEL | wanted::TIED | wanted::CAPABILITY | wanted::ROOT;
    let own: usize = spawn.domains.iter().map(|domain| domain.own as usize).sum();
    let Some(given) = given.checked_sub(own) else { return Err(malformed("it brings less than it says")) };
    if spawn.domains.is_empty() || ((spawn.planned || spawn.spawner) && spawn.domains.len() > 1) {
        return Err(malformed("it asks for no domain, or for nurseries of more than one"));
    }
    if spawn.domains.len() > MOST_DOMAINS {
        return Err(limit("a request makes 4000 domains at most"));
    }
    for domain in &spawn.domains {
        let words = domain.program.len() + domain.capabilities.iter().map(String::len).sum::<usize>();
        let tied_to_nothing = domain.flags & (wanted::TIED | wanted::CAPABILITY) == wanted::TIED;
        if domain.flags & !KNOWN != 0 || tied_to_nothing {
            return Err(malformed("what is wanted of a domain means nothing"));
        }
        if fewest(domain, spawn.spawner) > domain.own as usize {
            return Err(malformed("it brings less than it says"));
        }
        if !domain.name.is_empty() && !is_name(&domain.name) {
            let words = "a name has up to 64 letters, digits, '-', '_' and '.', and not only digits";
            return Err((error::NAME_TAKEN, 0, format!("{:?} cannot be a name: {words}", domain.name)));
        }
        if words > LONGEST_WORDS || domain.holdings.len() > LONGEST_HOLDINGS {
            return Err(limit("what is said of a domain is too long"));
        }
        if domain.groups.len() > groups::MOST || !domain.groups.iter().all(|name| groups::is_name(name)) {
            return Err(malformed("what it says of cgroups means nothing"));
        }
    }
    let nurseries = usize::from(spawn.planned) + usize::from(spawn.spawner);
    let items = (spawn.domains.len() + nurseries) as u32;
    let Some(batch) = Batch::check(&spawn.batch, items, given) else {
        return Err(malformed("its batch is none"));
    };
    let foreign = flag::PARENT | flag::STOPS;
    if (0..items as usize).any(|index| batch.birth(index).is_none_or(|birth| birth.flags & foreign != 0)) {
        return Err(malformed("a domain is its nursery's child"));
    }
    if spawn.atomic
        && spawn.domains.len() > 1
        && spawn.domains.iter().any(|domain| domain.flags & wanted::ALONE == 0)
    {
        return Err(limit("all or nothing is for domains that cannot create processes, or for one alone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for name in ["a", "web-1", "x.y_z", "1a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1", "007", "a b", "a/b", "ä", &"x".repeat(65), "a\n"] {
            assert!(!is_name(name), "{name}");
        }
    }
}

//! What a plan may reach by number in a nursery's child: not the nursery's own descriptors.
//!
//! A child begins with a copy of the nursery's table. The exec closes what is the nursery's, but an operation could write to it before.
//!
//! Safety idea: a number below the nursery's floor means something to a plan only after the plan has put something there itself, or
//! closed it. So nothing that a stranger's plan says reaches the channel.

use crate::encoding::Plan;
use crate::op::Op;

/// The first operation that would use a descriptor below `floor` (64 at most) that the plan has neither replaced nor closed.
pub(super) fn strays(plan: &Plan<'_>, floor: u32) -> Option<u32> {
    // A bit for each number that is the plan's own by now.
    let mut own = 0u64;
    let bit = |number: u32| if number < 64 { 1u64 << number } else { 0 };
    for index in 0..plan.count() {
        let used = match plan.op(index)? {
            Op::Place { slot, .. } | Op::Open { slot, .. } => {
                own |= bit(slot as u32);
                continue;
            }
            Op::Close { first, last } => {
                for number in first..floor.min(last.saturating_add(1)) {
                    own |= bit(number);
                }
                continue;
            }
            Op::Foreground { slot }
            | Op::ControllingTerminal { slot }
            | Op::ChangeDirectory { slot }
            | Op::JoinCgroup { slot }
            | Op::Landlock { slot }
            | Op::Allow { slot, .. } => slot,
            Op::FilterWithListener { socket, .. } => socket,
            Op::Execute { program, .. } => program,
            _ => continue,
        };
        if (used as u32) < floor && own & bit(used as u32) == 0 {
            return Some(index as u32);
        }
    }
    None
}

//! What all output passes, in the order in which it arrives: it is counted, and recorded.

use super::log::Log;

/// The count and the recording.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) log: Option<Log>,
    /// Bytes that may still pass.
    left: u64,
    /// More was written than may pass.
    exceeded: bool,
}

impl Gate {
    pub(super) fn new(log: Option<Log>, limit: Option<u64>) -> Gate {
        Gate { log, left: limit.unwrap_or(u64::MAX), exceeded: false }
    }

    /// Says how many of these bytes pass.
    pub(super) fn pass(&mut self, number: usize, bytes: &[u8], piped: bool) -> usize {
        let passed = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.exceeded |= passed < bytes.len();
        self.left -= passed as u64;
        if let Some(log) = &mut self.log {
            log.output(number - 1, &bytes[..passed], piped);
        }
        passed
    }

    /// Whether nothing passes any more.
    pub(super) fn is_shut(&self) -> bool {
        self.exceeded
    }
}

//! Whether it pays to poll for an answer before sleeping for it.

use std::time::Duration;

/// The longest time to poll where nothing else was asked for, in microseconds.
const AUTO_US: u32 = 100;
/// The most that `poll_us` may ask for, in microseconds.
pub(crate) const POLL_US_MAX: u32 = 1000;

/// Keeps an estimate of how long waits take lately. While that is below the bound, a wait begins with polling.
pub(crate) struct PollBudget {
    bound: Duration,
    estimate_ns: i64,
}

impl PollBudget {
    /// `None`: a bound of its own, which is 0 where one processor is all there is.
    pub fn new(poll_us: Option<u32>) -> Self {
        let several = || std::thread::available_parallelism().map_or(false, |count| count.get() > 1);
        let us = match poll_us {
            Some(us) => us.min(POLL_US_MAX),
            None if several() => AUTO_US,
            None => 0,
        };
        PollBudget { bound: Duration::from_micros(u64::from(us)), estimate_ns: 0 }
    }

    /// For how long the next wait should poll; zero: not at all.
    pub fn window(&self) -> Duration {
        if self.estimate_ns < self.bound.as_nanos() as i64 {
            self.bound
        } else {
            Duration::from_secs(0)
        }
    }

    pub fn is_on(&self) -> bool {
        !self.bound.is_zero()
    }

    /// A wait, by polling or sleeping, has taken this long.
    pub fn record(&mut self, waited: Duration) {
        // Cut off, so that one sync of a disk among many short waits does not look like a daemon that became slow.
        let sample = waited.min(2 * self.bound).as_nanos() as i64;
        self.estimate_ns += (sample - self.estimate_ns) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_long_waits_end_polling_and_a_few_short_ones_begin_it_again() {
        let mut budget = PollBudget::new(Some(100));
        assert_eq!(budget.window(), Duration::from_micros(100));
        budget.record(Duration::from_secs(1));
        assert_eq!(budget.window(), Duration::from_micros(100), "one sync of a disk says nothing");
        for _ in 0..8 {
            budget.record(Duration::from_millis(1));
        }
        assert_eq!(budget.window(), Duration::from_secs(0));
        for _ in 0..8 {
            budget.record(Duration::from_micros(10));
        }
        assert_eq!(budget.window(), Duration::from_micros(100));
        assert!(!PollBudget::new(Some(0)).is_on());
    }
}

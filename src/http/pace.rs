//! The least speed of a download. Each single read has a time limit of its own; a peer that sends a byte within each
//! would hold a build for as long as it likes.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

/// Watches how fast a body comes. Only the time that is spent waiting for the peer counts, not what is done between
/// reads.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second.
    slowest: u64,
    window: Duration,
    waited: Duration,
    came: u64,
}

/// What a read fails with when the peer is too slow; it lies in an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("only {came} bytes came in {} seconds, and less than {slowest} a second is given up", waited.as_secs_f32().ceil())]
pub(super) struct TooSlow {
    came: u64,
    waited: Duration,
    slowest: u64,
}

impl Pace {
    /// At least `slowest` bytes a second, on the average of each `window`.
    pub(super) fn new(slowest: u64, window: Duration) -> Self {
        Self { slowest, window, waited: Duration::ZERO, came: 0 }
    }

    /// Reads from the body.
    ///
    /// # Errors
    /// The body's own, and [`TooSlow`].
    pub(super) fn read(&mut self, body: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        let read = body.read(buf)?;
        if read > 0 {
            self.note(read as u64, begin.elapsed()).map_err(io::Error::other)?;
        }
        Ok(read)
    }

    fn note(&mut self, came: u64, waited: Duration) -> Result<(), TooSlow> {
        self.came += came;
        self.waited += waited;
        if self.waited < self.window {
            return Ok(());
        }
        if u128::from(self.came) * 1000 < u128::from(self.slowest) * self.waited.as_millis() {
            return Err(TooSlow { came: self.came, waited: self.waited, slowest: self.slowest });
        }
        *self = Self::new(self.slowest, self.window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_of_each_window_counts() {
        let second = Duration::from_secs(1);
        let after = |steps: &[(u64, u32)]| {
            let mut pace = Pace::new(1024, second * 60);
            steps.iter().try_for_each(|&(came, seconds)| pace.note(came, second * seconds))
        };
        // A whole file that is small, a slow beginning, long waits between much.
        for steps in [&[(100, 30)][..], &[(1, 50), (100_000, 10)], &[(1 << 20, 59), (1 << 20, 59), (1 << 20, 59)]] {
            assert!(after(steps).is_ok(), "{steps:?}");
        }
        for steps in [&[(1, 5); 12][..], &[(1 << 20, 60), (1, 30), (1, 30)], &[(61_439, 60)]] {
            assert!(after(steps).is_err(), "{steps:?}");
        }
        let error = after(&[(1, 5); 12]).expect_err("a byte every five seconds");
        assert_eq!(error.to_string(), "only 12 bytes came in 60 seconds, and less than 1024 a second is given up");
    }
}

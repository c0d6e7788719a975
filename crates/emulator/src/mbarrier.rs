//! The mbarrier object: a 64-bit word of shared memory as a state machine.
//!
//! A phase is complete when no arrival is pending and the transaction count is zero; the next phase then expects the same
//! number of arrivals again. Only the parity of the phase is kept, as programs can ask for no more. Counts and ranges are PTX
//! ISA section 9.7.13.15 (mbarrier).
//!
//! The hardware's encoding is not published and programs may not look at it. Ours:
//!
//! | bits | field |
//! |---|---|
//! | 0-19 | arrivals pending in this phase |
//! | 20-39 | arrivals expected in the next phase |
//! | 40-60 | transaction count, signed |
//! | 61 | parity of the current phase |
//! | 62-63 | 2: initialised. A word of zeros or ones, or one that was invalidated, is no barrier |

/// Largest count of arrivals, and of transactions either way.
pub const MAX_COUNT: u32 = (1 << 20) - 1;
/// Bytes of the object, and its alignment.
pub const SIZE: u32 = 8;

const MARK: u64 = 2;
const EXPECTED_SHIFT: u32 = 20;
const TRANSACTIONS_SHIFT: u32 = 40;
const PARITY_SHIFT: u32 = 61;
const MARK_SHIFT: u32 = 62;

/// Why an operation on a barrier is undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The word was never initialised, was invalidated, or was overwritten.
    #[error("no mbarrier at this address: the word {word:#018x} was not written by mbarrier.init")]
    NotInitialized {
        /// What lies there.
        word: u64,
    },
    /// `init` on a valid barrier.
    #[error("mbarrier.init on a valid mbarrier; mbarrier.inval must come first")]
    AlreadyInitialized,
    /// A count of arrivals that cannot be.
    #[error("mbarrier arrival count {found}, expected 1 to {MAX_COUNT}")]
    Count {
        /// The count.
        found: u32,
    },
    /// More arrivals than the phase expects.
    #[error("{count} arrivals on an mbarrier with {pending} pending in this phase")]
    TooManyArrivals {
        /// Arrivals of the operation.
        count: u32,
        /// Arrivals that the phase still expects.
        pending: u32,
    },
    /// `cp.async.mbarrier.arrive` without `.noinc` on a barrier that counts no further.
    #[error("pending count of an mbarrier above {MAX_COUNT}")]
    PendingOverflow,
    /// Fewer arrivals expected than dropped.
    #[error("{count} arrivals dropped from an mbarrier that expects {expected}")]
    Drop {
        /// Arrivals dropped.
        count: u32,
        /// Arrivals expected in each phase.
        expected: u32,
    },
    /// The transaction count left its range.
    #[error("transaction count {found} of an mbarrier, expected -{MAX_COUNT} to {MAX_COUNT}")]
    Transactions {
        /// What it would be.
        found: i64,
    },
    /// `.noComplete` completed the phase.
    #[error("mbarrier arrival with .noComplete completes the phase")]
    Completes,
    /// A state that no arrival returned.
    #[error("{found:#018x} is no state of an mbarrier: no mbarrier.arrive returned it")]
    State {
        /// The operand.
        found: u64,
    },
}

/// A valid barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mbarrier {
    /// Arrivals that this phase still waits for.
    pub pending: u32,
    /// Arrivals of every phase to come.
    pub expected: u32,
    /// Bytes expected less bytes completed; negative while completions run ahead.
    pub transactions: i32,
    /// Parity of the phase that is not yet complete.
    pub parity: u32,
}

impl Mbarrier {
    /// `mbarrier.init`: `word` is what lies in memory before it, if anything was written there.
    ///
    /// An error when `word` is a valid barrier. The hardware does not notice; the result is undefined.
    pub fn init(word: Option<u64>, count: u32) -> Result<Self, Error> {
        if word.is_some_and(|word| Self::decode(word).is_ok()) {
            return Err(Error::AlreadyInitialized);
        }
        let expected = in_range(count)?;
        Ok(Self { pending: expected, expected, transactions: 0, parity: 0 })
    }

    /// The barrier that `word` holds.
    pub fn decode(word: u64) -> Result<Self, Error> {
        if word >> MARK_SHIFT != MARK {
            return Err(Error::NotInitialized { word });
        }
        let count = |shift: u32| (word >> shift) as u32 & MAX_COUNT;
        // The signed field is moved to the top of a word and back.
        let transactions = (word << (64 - PARITY_SHIFT)) as i64 >> (64 - PARITY_SHIFT + TRANSACTIONS_SHIFT);
        Ok(Self {
            pending: count(0),
            expected: count(EXPECTED_SHIFT),
            transactions: transactions as i32,
            parity: (word >> PARITY_SHIFT) as u32 & 1,
        })
    }

    /// The word that holds the barrier.
    pub fn encode(self) -> u64 {
        let transactions = (self.transactions as u64) & ((1 << (PARITY_SHIFT - TRANSACTIONS_SHIFT)) - 1);
        u64::from(self.pending)
            | u64::from(self.expected) << EXPECTED_SHIFT
            | transactions << TRANSACTIONS_SHIFT
            | u64::from(self.parity) << PARITY_SHIFT
            | MARK << MARK_SHIFT
    }

    /// The word that `mbarrier.inval` leaves: no barrier.
    pub fn invalid() -> u64 {
        0
    }

    /// `expect_tx`: `bytes` more are expected in this phase. Cannot complete it: the count grows.
    pub fn expect_transactions(&mut self, bytes: u32) -> Result<(), Error> {
        self.add_transactions(i64::from(bytes))
    }

    /// `complete_tx`: `bytes` have arrived. True when that completed the phase.
    pub fn complete_transactions(&mut self, bytes: u32) -> Result<bool, Error> {
        self.add_transactions(-i64::from(bytes))?;
        Ok(self.advance())
    }

    fn add_transactions(&mut self, bytes: i64) -> Result<(), Error> {
        let found = i64::from(self.transactions) + bytes;
        if found.unsigned_abs() > u64::from(MAX_COUNT) {
            return Err(Error::Transactions { found });
        }
        self.transactions = found as i32;
        Ok(())
    }

    /// `arrive` with `count`. True when that completed the phase; the state is [`Mbarrier::state`] from before.
    pub fn arrive(&mut self, count: u32) -> Result<bool, Error> {
        let count = in_range(count)?;
        if count > self.pending {
            return Err(Error::TooManyArrivals { count, pending: self.pending });
        }
        self.pending -= count;
        Ok(self.advance())
    }

    /// `arrive.noComplete` with `count`: an error when it completes the phase.
    pub fn arrive_without_completing(&mut self, count: u32) -> Result<(), Error> {
        let mut after = *self;
        if after.arrive(count)? {
            return Err(Error::Completes);
        }
        *self = after;
        Ok(())
    }

    /// `arrive_drop`: all later phases expect `count` fewer arrivals, then an arrival of `count`. True when that completed
    /// the phase. A barrier from which everyone dropped expects none and completes no more.
    pub fn arrive_drop(&mut self, count: u32) -> Result<bool, Error> {
        let mut after = *self;
        after.drop_expected(count)?;
        let completed = after.arrive(count)?;
        *self = after;
        Ok(completed)
    }

    /// `arrive_drop.noComplete`: an error when it completes the phase.
    pub fn arrive_drop_without_completing(&mut self, count: u32) -> Result<(), Error> {
        let mut after = *self;
        after.drop_expected(count)?;
        after.arrive_without_completing(count)?;
        *self = after;
        Ok(())
    }

    fn drop_expected(&mut self, count: u32) -> Result<(), Error> {
        let count = in_range(count)?;
        if count > self.expected {
            return Err(Error::Drop { count, expected: self.expected });
        }
        self.expected -= count;
        Ok(())
    }

    /// The first half of `cp.async.mbarrier.arrive` without `.noinc`: one more arrival in this phase, which the copies' end
    /// makes.
    pub fn increment_pending(&mut self) -> Result<(), Error> {
        if self.pending == MAX_COUNT {
            return Err(Error::PendingOverflow);
        }
        self.pending += 1;
        Ok(())
    }

    /// Starts the next phase when this one is complete.
    fn advance(&mut self) -> bool {
        let complete = self.pending == 0 && self.transactions == 0;
        if complete {
            self.parity ^= 1;
            self.pending = self.expected;
        }
        complete
    }

    /// `test_wait.parity`: whether the phase of this parity is complete. Only the current phase, which is not, and the one
    /// before it, which is, can be meant. The low bit counts: compilers leave others set.
    pub fn test_parity(self, parity: u32) -> Result<bool, Error> {
        Ok(self.parity != parity & 1)
    }

    /// The state that an arrival returns: taken before the arrival.
    pub fn state(self) -> u64 {
        self.encode()
    }

    /// `test_wait` with the state of an arrival: whether the phase of that arrival is complete.
    pub fn test_state(self, state: u64) -> Result<bool, Error> {
        let then = Self::decode(state).map_err(|_| Error::State { found: state })?;
        self.test_parity(then.parity)
    }

    /// `mbarrier.pending_count`: arrivals that were pending before the arrival that returned `state`.
    pub fn pending_count(state: u64) -> Result<u32, Error> {
        Ok(Self::decode(state).map_err(|_| Error::State { found: state })?.pending)
    }
}

fn in_range(count: u32) -> Result<u32, Error> {
    if (1..=MAX_COUNT).contains(&count) { Ok(count) } else { Err(Error::Count { found: count }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn barrier(count: u32) -> Mbarrier {
        Mbarrier::init(None, count).expect("a count in range")
    }

    #[test]
    fn a_fresh_barrier_answers_parity_1_and_not_parity_0() {
        let mut full = barrier(1);
        assert_eq!((full.test_parity(0), full.test_parity(1)), (Ok(false), Ok(true)));
        assert_eq!(full.arrive(1), Ok(true));
        assert_eq!((full.test_parity(0), full.test_parity(1)), (Ok(true), Ok(false)));
        assert_eq!(full.test_parity(u32::MAX), full.test_parity(1));
    }

    #[test]
    fn a_phase_waits_for_arrivals_and_bytes() {
        let mut full = barrier(2);
        full.expect_transactions(512).expect("in range");
        assert_eq!(full.arrive(2), Ok(false), "bytes are missing");
        assert_eq!(full.arrive(1), Err(Error::TooManyArrivals { count: 1, pending: 0 }));
        assert_eq!(full.complete_transactions(256), Ok(false));
        assert_eq!(full.complete_transactions(256), Ok(true));
        assert_eq!((full.pending, full.parity), (2, 1));
    }

    #[test]
    fn bytes_may_arrive_before_they_are_expected_while_an_arrival_is_pending() {
        let mut full = barrier(1);
        assert_eq!(full.complete_transactions(4096), Ok(false));
        assert_eq!(full.transactions, -4096);
        full.expect_transactions(4096).expect("in range");
        assert_eq!(full.arrive(1), Ok(true));
    }

    #[test]
    fn counts_stay_in_range() {
        assert_eq!(Mbarrier::init(None, 0), Err(Error::Count { found: 0 }));
        assert_eq!(Mbarrier::init(None, 1 << 20), Err(Error::Count { found: 1 << 20 }));
        let mut full = barrier(MAX_COUNT);
        full.expect_transactions(MAX_COUNT).expect("the largest count");
        assert_eq!(full.expect_transactions(1), Err(Error::Transactions { found: 1 << 20 }));
        assert_eq!(full.increment_pending(), Err(Error::PendingOverflow));
        assert_eq!(full.arrive(0), Err(Error::Count { found: 0 }));
        assert_eq!(
            full.complete_transactions(u32::MAX).unwrap_err(),
            Error::Transactions { found: i64::from(MAX_COUNT) - i64::from(u32::MAX) }
        );
    }

    #[test]
    fn states_tell_their_phase_and_pending_count() {
        let mut full = barrier(3);
        let state = full.state();
        full.arrive_without_completing(2).expect("one arrival stays pending");
        assert_eq!(Mbarrier::pending_count(state), Ok(3));
        assert_eq!(Mbarrier::pending_count(full.state()), Ok(1));
        assert_eq!(full.arrive_without_completing(1), Err(Error::Completes));
        assert_eq!(full.test_state(state), Ok(false));
        assert_eq!(full.arrive(1), Ok(true));
        assert_eq!(full.test_state(state), Ok(true));
        assert_eq!(full.test_state(7), Err(Error::State { found: 7 }));
    }

    #[test]
    fn dropped_arrivals_are_missing_from_later_phases() {
        let mut full = barrier(2);
        assert_eq!(full.arrive_drop(1), Ok(false));
        assert_eq!(full.arrive(1), Ok(true));
        assert_eq!((full.pending, full.expected), (1, 1));
        assert_eq!(full.arrive_drop(1), Ok(true));
        assert_eq!(full.arrive(1), Err(Error::TooManyArrivals { count: 1, pending: 0 }));
        assert_eq!(full.arrive_drop(1), Err(Error::Drop { count: 1, expected: 0 }));
    }

    #[test]
    fn memory_that_holds_no_barrier_is_told_apart() {
        assert_eq!(Mbarrier::decode(0), Err(Error::NotInitialized { word: 0 }));
        assert!(Mbarrier::decode(u64::MAX).is_err());
        let word = barrier(1).encode();
        assert_eq!(Mbarrier::init(Some(word), 1), Err(Error::AlreadyInitialized));
        assert!(Mbarrier::init(Some(Mbarrier::invalid()), 1).is_ok());
    }

    proptest! {
        #[test]
        fn words_hold_every_state(pending in 0..=MAX_COUNT, expected in 0..=MAX_COUNT, parity in 0..=1u32, bytes in -(MAX_COUNT as i32)..=MAX_COUNT as i32) {
            let barrier = Mbarrier { pending, expected, transactions: bytes, parity };
            prop_assert_eq!(Mbarrier::decode(barrier.encode()), Ok(barrier));
        }
    }
}

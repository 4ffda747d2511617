//! How much a comparison may cost.
//!
//! Every evaluator pays from one purse for what it does, by operations and by the size of the numbers; when the
//! purse is empty the answers count as not shown equal. So `10^{10^{10}}`, towers of binomials and texts of a
//! megabyte get their verdict in bounded time, the same on every machine: no clock is read.

use std::cell::Cell;

/// One unit is of the order of ten nanoseconds.
#[derive(Debug)]
pub(crate) struct Work {
    left: Cell<u64>,
    spent: Cell<u64>,
}

/// What one comparison may spend in all.
pub(crate) const ALLOWANCE: u64 = 5_000_000;

impl Work {
    pub fn new(allowance: u64) -> Self {
        Self {
            left: Cell::new(allowance),
            spent: Cell::new(0),
        }
    }

    /// Pays `units`, or `None` when they are not there.
    pub fn spend(&self, units: u64) -> Option<()> {
        self.spent.set(self.spent.get().saturating_add(units));
        match self.left.get().checked_sub(units) {
            Some(left) => {
                self.left.set(left);
                Some(())
            }
            None => {
                self.left.set(0);
                None
            }
        }
    }

    /// Pays for an operation whose cost grows with the square of a number's `bits`.
    pub fn spend_bits(&self, bits: u64) -> Option<()> {
        let words = bits / 64 + 1;
        self.spend(1 + words * words / 8)
    }

    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}

//! A finished number as decimal digits, formatted piece by piece.

use std::fmt;

/// A natural number in decimal, most significant digit first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    digits: String,
}

impl Decimal {
    pub(crate) fn from_digits(digits: String) -> Self {
        Self { digits }
    }

    /// How many decimal digits the number has; 0 has one.
    #[must_use]
    pub fn digits(&self) -> usize {
        self.digits.len()
    }

    /// The digits in pieces of `size`, the most significant first; the last may be shorter.
    ///
    /// A piece is formatted when it is asked for, so the whole number is never held twice.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn pieces(&self, size: usize) -> impl ExactSizeIterator<Item = String> + '_ {
        self.digits
            .as_bytes()
            .chunks(size)
            .map(|piece| piece.iter().map(|&digit| char::from(digit)).collect())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

//! The largest n that a deployment accepts.

use std::{fmt, str::FromStr};

/// The default for the largest n that is accepted.
const DEFAULT: u64 = 100_000_000;
/// No deployment may accept a larger n: the digits of this one fill 209 MB.
const LARGEST: u64 = 1_000_000_000;

/// The largest n that is accepted: at most 1 000 000 000, and 100 000 000 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxN(u64);

/// The text is not a valid limit for n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole number from 0 to {LARGEST}")]
pub struct InvalidMaxN;

impl MaxN {
    /// The limit as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl Default for MaxN {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl FromStr for MaxN {
    type Err = InvalidMaxN;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(n) if n <= LARGEST => Ok(Self(n)),
            _ => Err(InvalidMaxN),
        }
    }
}

impl fmt::Display for MaxN {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_up_to_a_billion() {
        assert_eq!("0".parse::<MaxN>().unwrap().get(), 0);
        assert_eq!("1000000000".parse::<MaxN>().unwrap().get(), LARGEST);
        for text in ["", "-1", "many", "1e9", "1000000001"] {
            assert_eq!(text.parse::<MaxN>(), Err(InvalidMaxN), "{text}");
        }
    }

    #[test]
    fn a_limit_reads_as_it_was_written() {
        assert_eq!("1000".parse::<MaxN>().unwrap().to_string(), "1000");
    }
}

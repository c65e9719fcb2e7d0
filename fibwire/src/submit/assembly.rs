//! Puts the parts of a long result together, in whatever order they arrive.

use std::collections::BTreeMap;

/// The parts that have arrived, by their index.
#[derive(Debug, Default)]
pub(super) struct Assembly(BTreeMap<u32, String>);

/// The parts that arrived are not the whole result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Incomplete {
    #[error("part {0} is missing")]
    MissingPart(u32),
    #[error("{arrived} of {expected} digits arrived")]
    WrongLength { arrived: u64, expected: u64 },
}

impl Assembly {
    /// Adds a part. A part that arrives twice is the same both times.
    pub(super) fn insert(&mut self, index: u32, value: String) {
        self.0.insert(index, value);
    }

    /// The result of `digits` digits that was sent in so many parts, most significant first.
    pub(super) fn complete(&self, digits: u64, parts: u32) -> Result<Vec<&str>, Incomplete> {
        let pieces = (0..parts)
            .map(|index| {
                let value = self.0.get(&index).ok_or(Incomplete::MissingPart(index))?;
                Ok(value.as_str())
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_length(&pieces, digits)?;
        Ok(pieces)
    }
}

/// Fails if the pieces do not have `digits` digits in all.
pub(super) fn check_length(pieces: &[&str], digits: u64) -> Result<(), Incomplete> {
    let arrived = pieces.iter().map(|piece| piece.len() as u64).sum();
    if arrived == digits {
        Ok(())
    } else {
        Err(Incomplete::WrongLength {
            arrived,
            expected: digits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly(parts: &[(u32, &str)]) -> Assembly {
        let mut assembly = Assembly::default();
        for (index, value) in parts {
            assembly.insert(*index, (*value).to_owned());
        }
        assembly
    }

    #[test]
    fn parts_are_put_together_by_their_index() {
        for order in [
            [(0, "12"), (1, "34"), (2, "5")],
            [(2, "5"), (0, "12"), (1, "34")],
        ] {
            let pieces = assembly(&order).complete(5, 3).unwrap().concat();
            assert_eq!(pieces, "12345");
        }
    }

    #[test]
    fn a_part_that_arrives_twice_counts_once() {
        let assembly = assembly(&[(0, "12"), (1, "34"), (0, "12"), (2, "5")]);
        assert_eq!(assembly.complete(5, 3).unwrap().concat(), "12345");
    }

    #[test]
    fn a_result_with_a_part_missing_is_incomplete() {
        let missing = |parts| assembly(parts).complete(5, 3).unwrap_err();
        assert_eq!(missing(&[(0, "12"), (2, "5")]), Incomplete::MissingPart(1));
        assert_eq!(missing(&[]), Incomplete::MissingPart(0));
    }

    #[test]
    fn a_result_with_too_few_or_too_many_digits_is_incomplete() {
        for (last, arrived) in [("", 4), ("56", 6)] {
            let assembly = assembly(&[(0, "12"), (1, "34"), (2, last)]);
            let wrong = Incomplete::WrongLength {
                arrived,
                expected: 5,
            };
            assert_eq!(assembly.complete(5, 3), Err(wrong));
        }
    }
}

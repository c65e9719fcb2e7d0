//! Puts the parts of a long result together, in whatever order they arrive.

/// The parts that have arrived.
#[derive(Debug, Default)]
pub(super) struct Assembly(Vec<Option<String>>);

/// A part or a result contradicts what arrived before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Incomplete {
    #[error("part {index} of {parts} does not fit the parts before it")]
    Mismatch { index: u32, parts: u32 },
    #[error("part {0} is missing")]
    MissingPart(usize),
    #[error("{received} of {expected} digits arrived")]
    MissingDigits { received: usize, expected: u64 },
}

impl Assembly {
    /// Adds a part. A part that arrives twice is the same both times.
    pub(super) fn insert(
        &mut self,
        index: u32,
        parts: u32,
        value: String,
    ) -> Result<(), Incomplete> {
        let mismatch = Incomplete::Mismatch { index, parts };
        if self.0.is_empty() {
            self.0.resize(parts as usize, None);
        }
        if self.0.len() != parts as usize {
            return Err(mismatch);
        }
        *self.0.get_mut(index as usize).ok_or(mismatch)? = Some(value);
        Ok(())
    }

    /// The digits of a result, most significant first. It has either a value or a number of parts.
    pub(super) fn complete(
        &mut self,
        digits: u64,
        value: Option<String>,
        parts: Option<u32>,
    ) -> Result<Vec<String>, Incomplete> {
        let count = parts.unwrap_or_default() as usize;
        for index in 0..count {
            if self.0.get(index).is_none_or(Option::is_none) {
                return Err(Incomplete::MissingPart(index));
            }
        }
        let pieces: Vec<_> = match value {
            Some(value) => vec![value],
            None => self.0.drain(..).flatten().collect(),
        };
        let received = pieces.iter().map(String::len).sum();
        if received as u64 == digits {
            Ok(pieces)
        } else {
            Err(Incomplete::MissingDigits {
                received,
                expected: digits,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembly(parts: &[(u32, &str)]) -> Assembly {
        let mut assembly = Assembly::default();
        for (index, value) in parts {
            assembly.insert(*index, 3, (*value).to_owned()).unwrap();
        }
        assembly
    }

    #[test]
    fn parts_are_put_together_by_their_index() {
        for order in [
            [(0, "12"), (1, "34"), (2, "5")],
            [(2, "5"), (0, "12"), (1, "34")],
        ] {
            let pieces = assembly(&order).complete(5, None, Some(3)).unwrap();
            assert_eq!(pieces.concat(), "12345");
        }
    }

    #[test]
    fn a_part_that_arrives_twice_counts_once() {
        let pieces = assembly(&[(0, "12"), (1, "34"), (0, "12"), (2, "5")])
            .complete(5, None, Some(3))
            .unwrap();
        assert_eq!(pieces.concat(), "12345");
    }

    #[test]
    fn a_short_result_is_its_value() {
        let pieces = Assembly::default()
            .complete(2, Some("55".into()), None)
            .unwrap();
        assert_eq!(pieces.concat(), "55");
    }

    #[test]
    fn a_result_with_a_part_missing_is_incomplete() {
        let incomplete = assembly(&[(0, "12"), (2, "5")]).complete(5, None, Some(3));
        assert_eq!(incomplete, Err(Incomplete::MissingPart(1)));
        let incomplete = Assembly::default().complete(5, None, Some(3));
        assert_eq!(incomplete, Err(Incomplete::MissingPart(0)));
    }

    #[test]
    fn a_result_with_too_few_digits_is_incomplete() {
        let incomplete = assembly(&[(0, "1"), (1, "34"), (2, "5")]).complete(5, None, Some(3));
        let missing = Incomplete::MissingDigits {
            received: 4,
            expected: 5,
        };
        assert_eq!(incomplete, Err(missing));
    }

    #[test]
    fn a_part_of_another_result_does_not_fit() {
        let mut assembly = assembly(&[(0, "12")]);
        for (index, parts) in [(3, 3), (1, 4)] {
            let mismatch = Incomplete::Mismatch { index, parts };
            assert_eq!(assembly.insert(index, parts, "1".into()), Err(mismatch));
        }
    }
}

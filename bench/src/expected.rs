//! F(n), computed independently of the code that is measured.

/// The largest n whose F(n) fits into 128 bits.
const SHORT_N: u64 = 186;
/// Two primes just below 2^61. A wrong value has the right residues modulo both with a probability
/// of about 2^-122.
const PRIMES: [u64; 2] = [(1 << 61) - 1, (1 << 61) - 31];
/// How many decimal digits are reduced at once.
const CHUNK: usize = 18;

/// F(n) itself if it is short, and otherwise its length and residues. Once a value with that length
/// and these residues has been seen, it is kept, and later ones are compared with it.
#[derive(Debug)]
pub(crate) struct Expected {
    digits: usize,
    residues: [u64; 2],
    value: Option<String>,
}

impl Expected {
    pub(crate) fn of(n: u64) -> Self {
        let value = (n <= SHORT_N).then(|| short(n).to_string());
        Self {
            digits: value.as_ref().map_or_else(|| digits(n), String::len),
            residues: PRIMES.map(|prime| residue(n, prime)),
            value,
        }
    }

    /// Whether `value` is F(n) in decimal.
    pub(crate) fn is(&mut self, value: &str) -> bool {
        if let Some(known) = &self.value {
            return known == value;
        }
        let right = self.is_in_pieces([value]);
        if right {
            self.value = Some(value.to_owned());
        }
        right
    }

    /// Whether `pieces`, the most significant first, together are F(n) in decimal.
    pub(crate) fn is_in_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a str>) -> bool {
        let mut length = 0;
        let mut residues = [0; 2];
        for piece in pieces {
            length += piece.len();
            for chunk in piece.as_bytes().chunks(CHUNK) {
                let Some((number, scale)) = number(chunk) else {
                    return false;
                };
                for (residue, prime) in residues.iter_mut().zip(PRIMES) {
                    *residue = modulo(
                        u128::from(*residue) * u128::from(scale) + u128::from(number),
                        prime,
                    );
                }
            }
        }
        length == self.digits && residues == self.residues
    }
}

/// The number that at most 18 digits stand for, and ten to the power of how many they are.
fn number(digits: &[u8]) -> Option<(u64, u64)> {
    digits
        .iter()
        .try_fold((0, 1), |(number, scale), digit| match digit {
            b'0'..=b'9' => Some((number * 10 + u64::from(digit - b'0'), scale * 10)),
            _ => None,
        })
}

fn short(n: u64) -> u128 {
    let (mut a, mut b) = (0_u128, 1_u128);
    for _ in 0..n {
        (a, b) = (b, a.wrapping_add(b));
    }
    a
}

/// How many digits F(n) has, for n > 1: as many as φⁿ/√5. For n up to 10^9 doubles are precise enough
/// unless φⁿ/√5 is within one part in ten million of a power of ten.
fn digits(n: u64) -> usize {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a length in memory, far below 2^53"
    )]
    let digits =
        (n as f64).mul_add(((1.0 + 5_f64.sqrt()) / 2.0).log10(), -5_f64.log10() / 2.0) as usize;
    digits + 1
}

/// F(n) modulo `prime`, by fast doubling: each bit of n leads from F(k) and F(k+1) to F(2k) and
/// F(2k+1), or to F(2k+1) and F(2k+2).
fn residue(n: u64, prime: u64) -> u64 {
    let times = |a: u64, b: u64| modulo(u128::from(a) * u128::from(b), prime);
    let plus = |a: u64, b: u64| modulo(u128::from(a) + u128::from(b), prime);
    let (mut a, mut b) = (0, 1);
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        let even = times(a, plus(plus(b, b), prime - a));
        let odd = plus(times(a, a), times(b, b));
        (a, b) = if n >> bit & 1 == 0 {
            (even, odd)
        } else {
            (odd, plus(even, odd))
        };
    }
    a
}

fn modulo(number: u128, prime: u64) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "smaller than the prime")]
    let residue = (number % u128::from(prime)) as u64;
    residue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_residues(n: u64) -> Expected {
        Expected {
            digits: digits(n),
            residues: PRIMES.map(|prime| residue(n, prime)),
            value: None,
        }
    }

    #[test]
    fn short_values_follow_the_definition() {
        for (n, value) in [
            (0, "0"),
            (1, "1"),
            (2, "1"),
            (10, "55"),
            (90, "2880067194370816120"),
            (186, "332825110087067562321196029789634457848"),
        ] {
            assert!(Expected::of(n).is(value), "{n}");
        }
    }

    #[test]
    fn length_and_residues_accept_every_value_of_the_definition() {
        for n in 2..=SHORT_N {
            assert!(by_residues(n).is(&short(n).to_string()), "{n}");
        }
    }

    #[test]
    fn a_wrong_value_is_not_accepted() {
        let right = short(90).to_string();
        let mut wrong = vec![
            String::new(),
            right.replace('2', "3"),
            format!("0{right}"),
            format!("{right}0"),
            right[1..].to_owned(),
        ];
        wrong.push(right.replacen('8', "-", 1));
        for wrong in &wrong {
            assert!(!Expected::of(90).is(wrong), "{wrong}");
            assert!(!by_residues(90).is(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_arrive_in_pieces() {
        let value = short(186).to_string();
        for length in [1, 7, 18, 39] {
            let pieces = value.as_bytes().chunks(length);
            let pieces = pieces.map(|piece| std::str::from_utf8(piece).unwrap());
            assert!(by_residues(186).is_in_pieces(pieces), "{length}");
        }
    }
}

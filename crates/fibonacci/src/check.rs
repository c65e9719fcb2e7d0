//! A finished value modulo two primes, against F(n) modulo the same.

use std::sync::Mutex;

use crate::{Error, crew::Crew, transform::Base};

/// Two primes just below 2^[`BITS`].
pub(crate) const PRIMES: [u64; 2] = [(1 << BITS) - 1, (1 << BITS) - 31];

const BITS: u32 = 61;

/// Terms that are summed before they are reduced: 2^6 products of 60 and of 61 bits have 127.
const TERMS: usize = 64;

/// Blocks of [`TERMS`] in one job, as a power of 2.
const BLOCKS_LOG2: usize = 9;

/// F(n) modulo each of [`PRIMES`], by doubling.
pub(crate) fn expected(n: u64) -> [u64; 2] {
    PRIMES.map(|p| {
        let (mut f, mut next) = (0, 1);
        for bit in (0..u64::BITS - n.leading_zeros()).rev() {
            let even = product(f, (2 * next + p - f) % p, p);
            let odd = (product(f, f, p) + product(next, next, p)) % p;
            (f, next) = if n >> bit & 1 == 0 {
                (even, odd)
            } else {
                (odd, (even + odd) % p)
            };
        }
        f
    })
}

/// The cost of [`residues`].
pub(crate) fn cost(digits: usize) -> u64 {
    2 * digits as u64
}

/// A number of canonical digits, the least significant first, modulo each of [`PRIMES`].
pub(crate) fn residues(digits: &[i32], base: Base, crew: &mut Crew<'_>) -> Result<[u64; 2], Error> {
    // Digits of one term, which has 60 bits at most.
    let joined = 18 / base.width as usize;
    let term_base = 10_u64.pow(base.width * (18 / base.width));
    let powers = PRIMES.map(|p| {
        let mut powers = [1; TERMS + 1];
        for i in 1..=TERMS {
            powers[i] = product(powers[i - 1], term_base % p, p);
        }
        powers
    });
    let job_len = (joined * TERMS) << BLOCKS_LOG2;
    let parts: Vec<_> = digits
        .chunks(job_len)
        .map(|digits| (digits, Mutex::new([0; 2])))
        .collect();
    crew.share(parts.len(), |job, worker| {
        let (digits, result) = &parts[job];
        let part = match joined {
            3 => part::<3>(digits, base, &powers),
            _ => part::<4>(digits, base, &powers),
        };
        *result.lock().unwrap_or_else(|error| error.into_inner()) = part;
        worker.done(cost(digits.len()));
    })?;
    let mut residues = [0; 2];
    let job_factors: [u64; 2] = std::array::from_fn(|i| {
        (0..BLOCKS_LOG2).fold(powers[i][TERMS], |power, _| {
            product(power, power, PRIMES[i])
        })
    });
    for (_, part) in parts.into_iter().rev() {
        let part = part.into_inner().unwrap_or_else(|error| error.into_inner());
        for i in 0..2 {
            let p = PRIMES[i];
            residues[i] = (product(residues[i], job_factors[i], p) + part[i]) % p;
        }
    }
    Ok(residues)
}

fn part<const JOINED: usize>(
    digits: &[i32],
    base: Base,
    powers: &[[u64; TERMS + 1]; 2],
) -> [u64; 2] {
    let base = u64::from(base.value.unsigned_abs());
    let (mut residues, mut weights) = ([0; 2], [1; 2]);
    for block in digits.chunks(JOINED * TERMS) {
        let mut sums = [0_u128; 2];
        let (terms, rest) = block.as_chunks::<JOINED>();
        let mut last = [0; JOINED];
        last[..rest.len()].copy_from_slice(rest);
        for ((term, first), second) in terms.iter().zip(&powers[0]).zip(&powers[1]) {
            let joined = join(term, base);
            sums[0] += joined * u128::from(*first);
            sums[1] += joined * u128::from(*second);
        }
        let joined = join(&last, base);
        sums[0] += joined * u128::from(powers[0][terms.len()]);
        sums[1] += joined * u128::from(powers[1][terms.len()]);
        for i in 0..2 {
            let p = PRIMES[i];
            residues[i] = (residues[i] + product(reduced(sums[i], p), weights[i], p)) % p;
            weights[i] = product(weights[i], powers[i][TERMS], p);
        }
    }
    residues
}

#[inline(always)]
fn join<const JOINED: usize>(digits: &[i32; JOINED], base: u64) -> u128 {
    let mut joined = 0;
    for digit in digits.iter().rev() {
        joined = joined * base + u64::from(digit.cast_unsigned());
    }
    u128::from(joined)
}

fn product(a: u64, b: u64, p: u64) -> u64 {
    reduced(u128::from(a) * u128::from(b), p)
}

/// A value below 2^127 modulo one of [`PRIMES`].
fn reduced(mut value: u128, p: u64) -> u64 {
    // 2^61 is congruent to the small number that p lacks of it, at most 31: from 127 bits to 71,
    // to 62, and to at most 2^61 + 31.
    let lacking = u128::from((1 << BITS) - p);
    for _ in 0..3 {
        value = (value & ((1 << BITS) - 1)) + (value >> BITS) * lacking;
    }
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    if value >= p { value - p } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduction_is_the_remainder() {
        for p in PRIMES {
            for bits in 0..127 {
                for value in [
                    (1 << bits) - 1,
                    1 << bits,
                    (1 << bits) + 12_345,
                    u128::from(p) << bits.min(65),
                ] {
                    assert_eq!(
                        u128::from(reduced(value, p)),
                        value % u128::from(p),
                        "{value}"
                    );
                }
            }
            assert_eq!(
                reduced((1 << 127) - 1, p),
                u64::try_from(((1 << 127) - 1) % u128::from(p)).unwrap()
            );
        }
    }

    #[test]
    fn residues_of_a_long_number_are_those_of_its_digits_one_by_one() {
        for width in [4, 5, 6] {
            let base = Base::new(width);
            for len in [1, 2, 3, 63, 64, 65, 191, 192, 193, 1000, 300_000] {
                let digits: Vec<i32> = (0..len)
                    .map(|i| (i % 9_999 * 7919 + 1) % base.value)
                    .collect();
                let mut progress = |_| std::ops::ControlFlow::Continue(());
                let mut crew = Crew::new(2, 1, &mut progress);
                let expected = PRIMES.map(|p| {
                    digits.iter().rev().fold(0, |sum, &digit| {
                        (product(sum, u64::from(base.value.unsigned_abs()), p)
                            + u64::from(digit.cast_unsigned()))
                            % p
                    })
                });
                assert_eq!(
                    residues(&digits, base, &mut crew),
                    Ok(expected),
                    "{len} in {base:?}"
                );
            }
        }
    }

    #[test]
    fn fibonacci_numbers_modulo_the_primes_are_those_of_addition() {
        let mut pair = [[0, 1]; 2];
        for n in 0..1000 {
            assert_eq!(expected(n), [pair[0][0], pair[1][0]], "F({n})");
            for (pair, p) in pair.iter_mut().zip(PRIMES) {
                *pair = [pair[1], (pair[0] + pair[1]) % p];
            }
        }
    }
}

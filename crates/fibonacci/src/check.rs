//! The check of a finished value: its residues modulo two primes, and those that F(n) must have. It
//! does not decide what happens if they differ.

use crate::{error::Error, executor::Executor, transform::Base};

/// Two primes just below 2^[`BITS`].
pub(crate) const PRIMES: [u64; 2] = [(1 << BITS) - 1, (1 << BITS) - 31];

const BITS: u32 = 61;

/// How many terms are summed before the sum is reduced. A term is the product of a number of 60 bits
/// and one of 61 bits, so a sum of 2^6 terms has at most 127 bits.
const TERMS: usize = 64;

/// The binary logarithm of the number of blocks in one task. A block has [`TERMS`] terms.
const BLOCKS_LOG2: usize = 9;

/// F(n) modulo each of [`PRIMES`], computed by doubling.
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

/// The residues of a number modulo each of [`PRIMES`]. Its digits are canonical, the least
/// significant first.
pub(crate) fn residues(
    digits: &[i32],
    base: Base,
    executor: &mut Executor<'_, '_>,
) -> Result<[u64; 2], Error> {
    // Several digits are joined into one term of at most 18 decimal digits, which has 60 bits.
    let joined = 18 / base.width as usize;
    let term_base = 10_u64.pow(base.width * (18 / base.width));
    let powers = PRIMES.map(|p| {
        let mut powers = [1; TERMS + 1];
        for i in 1..=TERMS {
            powers[i] = product(powers[i - 1], term_base % p, p);
        }
        powers
    });
    let task_len = (joined * TERMS) << BLOCKS_LOG2;
    let mut parts = vec![[0; 2]; digits.len().div_ceil(task_len)];
    let tasks = digits.chunks(task_len).zip(&mut parts).collect();
    executor.for_each(tasks, |(digits, part), progress| {
        *part = match joined {
            3 => part_residues::<3>(digits, base, &powers),
            _ => part_residues::<4>(digits, base, &powers),
        };
        progress.add(cost(digits.len()));
    })?;
    let mut residues = [0; 2];
    let task_factors: [u64; 2] = std::array::from_fn(|i| {
        (0..BLOCKS_LOG2).fold(powers[i][TERMS], |power, _| {
            product(power, power, PRIMES[i])
        })
    });
    for part in parts.into_iter().rev() {
        for i in 0..2 {
            let p = PRIMES[i];
            residues[i] = (product(residues[i], task_factors[i], p) + part[i]) % p;
        }
    }
    Ok(residues)
}

/// The residues of the number that the digits of one task make up. `powers` are those of the base of
/// the terms, modulo each prime.
fn part_residues<const JOINED: usize>(
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

/// The number that these digits make up.
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
    // 2^61 is congruent to its difference from p, which is at most 31. Each round makes use of it:
    // 127 bits become at most 71, then 62, and then the value is at most 2^61 + 31.
    let difference = u128::from((1 << BITS) - p);
    for _ in 0..3 {
        value = (value & ((1 << BITS) - 1)) + (value >> BITS) * difference;
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "at most 2^61 + 31, as computed above"
    )]
    let value = value as u64;
    if value >= p { value - p } else { value }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, ops::ControlFlow};

    use super::*;
    use crate::executor;

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
    fn residues_of_a_long_number_agree_with_adding_digit_by_digit() {
        let mut rng = fastrand::Rng::with_seed(1);
        for width in [4, 5, 6] {
            let base = Base::new(width);
            for len in [1, 2, 3, 63, 64, 65, 191, 192, 193, 1000, 300_000] {
                let digits: Vec<i32> = (0..len).map(|_| rng.i32(0..base.value)).collect();
                let mut progress = |_| ControlFlow::Continue(());
                let threads = NonZeroUsize::new(2).unwrap();
                let residues = executor::run(threads, 1, &mut progress, |executor| {
                    residues(&digits, base, executor)
                });
                let expected = PRIMES.map(|p| {
                    digits.iter().rev().fold(0, |sum, &digit| {
                        (product(sum, u64::from(base.value.unsigned_abs()), p)
                            + u64::from(digit.cast_unsigned()))
                            % p
                    })
                });
                assert_eq!(residues, Ok(expected), "{len} in {base:?}");
            }
        }
    }

    #[test]
    fn expected_residues_agree_with_adding_neighbours() {
        let mut pair = [[0, 1]; 2];
        for n in 0..1000 {
            assert_eq!(expected(n), [pair[0][0], pair[1][0]], "F({n})");
            for (pair, p) in pair.iter_mut().zip(PRIMES) {
                *pair = [pair[1], (pair[0] + pair[1]) % p];
            }
        }
    }
}

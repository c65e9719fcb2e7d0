//! A finished value modulo two primes, against F(n) modulo the same.

use std::sync::Mutex;

use crate::{Error, crew::Crew, transform::Base};

/// Two primes below 2^61.
pub(crate) const PRIMES: [u64; 2] = [(1 << 61) - 1, (1 << 61) - 31];

/// Terms that are summed before they are reduced: 2^6 products of 60 and of 61 bits have 127.
const TERMS: usize = 64;

/// Blocks of [`TERMS`] in one job.
const BLOCKS: usize = 512;

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
    let term_base = 10_u64.pow(base.width * 18_u32.checked_div(base.width).unwrap_or(1));
    let powers = PRIMES.map(|p| {
        let mut powers = [1; TERMS + 1];
        for i in 1..=TERMS {
            powers[i] = product(powers[i - 1], term_base % p, p);
        }
        powers
    });
    let job_len = joined * TERMS * BLOCKS;
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
        // Whether to go on is asked after each job anyway.
        if worker.done(cost(digits.len())).is_break() {}
    })?;
    let mut residues = [0; 2];
    let job_factors: [u64; 2] = std::array::from_fn(|i| {
        (0..BLOCKS).fold(1, |power, _| product(power, powers[i][TERMS], PRIMES[i]))
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
    let mut residues = [0; 2];
    for block in digits.chunks(JOINED * TERMS).rev() {
        let mut sums = [0_u128; 2];
        let (terms, rest) = block.as_chunks::<JOINED>();
        let mut last = [0; JOINED];
        last[..rest.len()].copy_from_slice(rest);
        for (i, term) in terms.iter().chain([&last]).enumerate() {
            let joined = term.iter().rev().fold(0, |sum, &digit| {
                sum * base + u64::from(digit.unsigned_abs())
            });
            sums[0] += u128::from(joined) * u128::from(powers[0][i]);
            sums[1] += u128::from(joined) * u128::from(powers[1][i]);
        }
        for i in 0..2 {
            let p = PRIMES[i];
            residues[i] = (product(residues[i], powers[i][TERMS], p) + reduced(sums[i], p)) % p;
        }
    }
    residues
}

fn product(a: u64, b: u64, p: u64) -> u64 {
    reduced(u128::from(a) * u128::from(b), p)
}

fn reduced(value: u128, p: u64) -> u64 {
    u64::try_from(value % u128::from(p)).unwrap_or(u64::MAX)
}

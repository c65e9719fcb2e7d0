//! Computes F(N) for random N until the time is over: `fuzz SECONDS [SEED]`.
//!
//! Each value is compared with binary doubling where that is quick, with its preview, and modulo a
//! prime that the computation does not use; pieces of a random size are joined, and some runs are
//! cancelled at a random fraction. The number of threads is random, too. A failure prints the seed
//! and N.

use std::{
    env,
    error::Error,
    io::{Write, stdout},
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant, SystemTime},
};

use fibonacci::{Error::Cancelled, PREVIEW_DIGITS, compute, preview};
use num_bigint::BigUint;

const LARGEST: u64 = 30_000_000;
const LARGEST_IN_BINARY: u64 = 200_000;
const PRIME: u64 = 998_244_353;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u64>());
    let time = Duration::from_secs(args.next().ok_or("SECONDS are missing")??);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = args.next().unwrap_or(Ok(clock.as_secs()))?;
    let mut random = Random(seed);
    let (start, mut count, mut digits) = (Instant::now(), 0_u64, 0);
    writeln!(stdout(), "seed {seed}")?;
    while start.elapsed() < time {
        // As many N of each length in bits.
        let bits = random.below(u64::from(LARGEST.ilog2()) + 2);
        let n = random.below(1 << bits).min(LARGEST);
        let checked = panic::catch_unwind(AssertUnwindSafe(|| check(n, &mut random)));
        match checked {
            Ok(length) => digits += length,
            Err(_) => return Err(format!("seed {seed}: F({n}) failed").into()),
        }
        count += 1;
    }
    writeln!(stdout(), "{count} numbers, {digits} digits")?;
    Ok(())
}

fn check(n: u64, random: &mut Random) -> usize {
    let threads = 1 + usize::try_from(random.below(4)).unwrap_or(0);
    if random.below(8) == 0 {
        let limit = random.below(100) as f64 / 100.0;
        let result = compute(n, threads, &mut |fraction| {
            if fraction >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(result, Err(Cancelled));
    }
    let mut last = 0.0;
    let number = compute(n, threads, &mut |fraction| {
        assert!((last..=1.0).contains(&fraction), "{last} before {fraction}");
        last = fraction;
        ControlFlow::Continue(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let text = number.to_string();
    assert_eq!(number.digits(), text.len());
    let preview = preview(n);
    let shown = text.len().min(PREVIEW_DIGITS);
    assert_eq!(preview.digits, text.len() as u64);
    assert_eq!(preview.first, text[..shown]);
    assert_eq!(preview.last, text[text.len() - shown..]);
    let size = 1 + usize::try_from(random.below(text.len() as u64)).unwrap_or(0);
    let size = size.max(text.len() / 1000);
    assert!(number.pieces(size).collect::<String>() == text);
    let residue = text
        .bytes()
        .fold(0, |sum, digit| (sum * 10 + u64::from(digit - b'0')) % PRIME);
    assert_eq!(residue, by_matrix(n));
    if n <= LARGEST_IN_BINARY {
        assert_eq!(text, in_binary(n).to_string());
    }
    text.len()
}

/// F(n) modulo [`PRIME`] by powers of the matrix (1 1; 1 0).
fn by_matrix(n: u64) -> u64 {
    type Matrix = [u64; 4];
    fn product([a, b, c, d]: Matrix, [e, f, g, h]: Matrix) -> Matrix {
        [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h].map(|entry| entry % PRIME)
    }
    let (mut power, mut square, mut rest) = ([1, 0, 0, 1], [1, 1, 1, 0], n);
    while rest > 0 {
        if rest & 1 == 1 {
            power = product(power, square);
        }
        square = product(square, square);
        rest >>= 1;
    }
    power[1]
}

fn in_binary(n: u64) -> BigUint {
    let (mut f, mut next) = (BigUint::ZERO, BigUint::from(1_u8));
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        let even = &f * ((&next << 1_u8) - &f);
        let odd = &f * &f + &next * &next;
        (f, next) = if n >> bit & 1 == 0 {
            (even, odd)
        } else {
            let sum = &even + &odd;
            (odd, sum)
        };
    }
    f
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound.max(1)
    }
}

//! Computes F(N) for random N until the time is over: `fuzz SECONDS [SEED]`. It measures nothing.
//!
//! Each value is compared with its preview, with the result modulo a prime that the computation does
//! not use, and, if N is small enough, with binary doubling. Its pieces of a random size are joined
//! and compared with it. The number of threads is random, and some runs are cancelled at a random
//! fraction. A failure prints the seed and N.

use std::{
    env,
    error::Error,
    io::{Write, stdout},
    num::NonZeroUsize,
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;
use fibonacci::{Error::Cancelled, Options, PREVIEW_DIGITS, preview};
use num_bigint::BigUint;

const LARGEST: u64 = 30_000_000;
const LARGEST_IN_BINARY: u64 = 200_000;
const PRIME: u64 = 998_244_353;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u64>());
    let time = Duration::from_secs(args.next().ok_or("SECONDS are missing")??);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seed = args.next().unwrap_or(Ok(clock.as_secs()))?;
    let mut rng = Rng::with_seed(seed);
    let (start, mut count, mut digits) = (Instant::now(), 0_u64, 0);
    writeln!(stdout(), "seed {seed}")?;
    while start.elapsed() < time {
        // Choose the length in bits first, so that small and large N are equally likely.
        let bits = rng.u32(..LARGEST.ilog2() + 2);
        let n = rng.u64(..1 << bits).min(LARGEST);
        let checked = panic::catch_unwind(AssertUnwindSafe(|| check(n, &mut rng)));
        match checked {
            Ok(length) => digits += length,
            Err(_) => return Err(format!("seed {seed}: F({n}) failed").into()),
        }
        count += 1;
    }
    writeln!(stdout(), "{count} numbers, {digits} digits")?;
    Ok(())
}

/// Returns the number of digits of F(n). Panics if anything is wrong with it.
fn check(n: u64, rng: &mut Rng) -> usize {
    let threads = NonZeroUsize::MIN.saturating_add(rng.usize(..4));
    if rng.u8(..8) == 0 {
        let limit = rng.f64();
        let options = Options::new().threads(threads).on_progress(|fraction| {
            if fraction >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(options.compute(n), Err(Cancelled));
    }
    let mut last = 0.0;
    let options = Options::new().threads(threads).on_progress(|fraction| {
        assert!((last..=1.0).contains(&fraction), "{last} before {fraction}");
        last = fraction;
        ControlFlow::Continue(())
    });
    let number = options.compute(n).unwrap_or_else(|error| panic!("{error}"));
    let text = number.to_string();
    assert_eq!(number.digits(), text.len());
    let preview = preview(n);
    let shown = text.len().min(PREVIEW_DIGITS);
    assert_eq!(preview.digits, text.len() as u64);
    assert_eq!(preview.first, text[..shown]);
    assert_eq!(preview.last, text[text.len() - shown..]);
    // A million pieces of a few digits would take most of the time.
    let size = rng.usize(1..=text.len()).max(text.len() / 1000);
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

/// F(n) modulo [`PRIME`], from a power of the matrix (1 1; 1 0).
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

/// F(n), computed by doubling in binary.
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

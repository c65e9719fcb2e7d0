//! The length and both ends of F(N), computed without F(N) itself.

use crate::natural::{LIMB_DIGITS, Natural};

/// How many digits [`preview`] gives at each end.
pub const PREVIEW_DIGITS: usize = 20;

/// The length and both ends of a number. If it has at most [`PREVIEW_DIGITS`] digits, each end is
/// the whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How many decimal digits the number has.
    pub digits: u64,
    /// The first [`PREVIEW_DIGITS`] digits, or all of them.
    pub first: String,
    /// The last [`PREVIEW_DIGITS`] digits, or all of them.
    pub last: String,
}

/// The length, the first and the last [`PREVIEW_DIGITS`] digits of F(`n`), exactly, within 0.1 ms
/// for any `n`.
///
/// The last digits come from doubling modulo 10^20. For the first digits, the pair (F(k-1), F(k)) is
/// doubled with
///
/// ```text
/// F(2k-1) = F(k-1)^2 + F(k)^2,   F(2k) = F(k) (2 F(k-1) + F(k)),   F(2k+1) = F(2k-1) + F(2k)
/// ```
///
/// on mantissas of W limbs in base 10^18. What does not fit into W limbs is cut off, never rounded
/// up. The formulas only add and multiply natural numbers, so a cut can only make later values too
/// small, and the error is bounded: one cut takes at most e = 10^(18 - 18W) of the larger number of
/// the pair, relatively, and at most 2e of the smaller, which is at least half of the larger. So a
/// relative error of d before a step is at most 2d + 2e after it. Starting from 0, the at most 64
/// steps of a 64-bit `n` lead to less than 2^65 e < 10^20 e. A mantissa is below 10^(18W), so
/// F(`n`) lies between the mantissa and the mantissa + 10^38. If these two have the same length and
/// the same first 20 digits, those are the digits of F(`n`). If not, the computation is repeated
/// with mantissas of twice the length.
#[must_use]
pub fn preview(n: u64) -> Preview {
    let last = last_digits(n);
    // At least 73 digits, of which 38 are in doubt.
    let mut limbs = 5;
    loop {
        if let Some((digits, first)) = leading(n, limbs) {
            let last = if digits <= PREVIEW_DIGITS as u64 {
                first.clone()
            } else {
                format!("{last:020}")
            };
            return Preview {
                digits,
                first,
                last,
            };
        }
        limbs *= 2;
    }
}

const HALF: u128 = 10_u128.pow(10);

/// F(n) modulo 10^20.
fn last_digits(n: u64) -> u128 {
    const MODULUS: u128 = HALF * HALF;
    let (mut before, mut current) = (1, 0);
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        let odd = (product(before, before) + product(current, current)) % MODULUS;
        let even = product(current, (2 * before + current) % MODULUS);
        (before, current) = if n >> bit & 1 == 0 {
            (odd, even)
        } else {
            (even, (odd + even) % MODULUS)
        };
    }
    current
}

/// The product of two numbers below 10^20, modulo 10^20.
fn product(a: u128, b: u128) -> u128 {
    let (a_high, a_low) = (a / HALF, a % HALF);
    let (b_high, b_low) = (b / HALF, b % HALF);
    (a_low * b_low + (a_high * b_low + a_low * b_high) % HALF * HALF) % (HALF * HALF)
}

/// The length and the first digits of F(n), if mantissas of so many limbs determine them.
fn leading(n: u64, limbs: usize) -> Option<(u64, String)> {
    let mut pair = Pair {
        before: Natural::from_limb(1),
        current: Natural::from_limb(0),
        exponent: 0,
    };
    let mut cut = false;
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        pair = pair.doubled(n >> bit & 1 == 1);
        cut |= pair.cut_to(limbs);
    }
    let low = pair.current.to_string();
    let digits = low.len() as u64 + pair.exponent * u64::from(LIMB_DIGITS);
    let first = low[..low.len().min(PREVIEW_DIGITS)].to_owned();
    if cut {
        // 10^38 is 100 in the third limb.
        let high = pair.current.add_at(2, 100).to_string();
        if high.len() != low.len() || !high.starts_with(&first) {
            return None;
        }
    }
    Some((digits, first))
}

/// F(k-1) and F(k), or what is left of them after cuts, each as a mantissa times
/// 10^(18 * exponent).
struct Pair {
    before: Natural,
    current: Natural,
    exponent: u64,
}

impl Pair {
    /// The pair at 2k, or at 2k+1.
    fn doubled(&self, odd: bool) -> Self {
        let Self {
            before, current, ..
        } = self;
        let squares = before
            .product(before)
            .add_scaled(&current.product(current), 1);
        let even = current.product(&current.add_scaled(before, 2));
        let (before, current) = if odd {
            let sum = even.add_scaled(&squares, 1);
            (even, sum)
        } else {
            (squares, even)
        };
        Self {
            before,
            current,
            exponent: 2 * self.exponent,
        }
    }

    /// Cuts off low limbs until the larger number has at most `limbs` of them. Says whether it had
    /// more.
    fn cut_to(&mut self, limbs: usize) -> bool {
        let surplus = self.current.limbs().len().saturating_sub(limbs);
        self.current.drop_low_limbs(surplus);
        self.before.drop_low_limbs(surplus);
        self.exponent += surplus as u64;
        surplus > 0
    }
}

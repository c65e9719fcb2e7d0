//! The length and the ends of F(N), without F(N).

/// How many digits [`preview`] gives at each end.
pub const PREVIEW_DIGITS: usize = 20;

/// The length and the ends of a number; both ends are the whole number where it is no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How many decimal digits the number has.
    pub digits: u64,
    /// The first [`PREVIEW_DIGITS`] digits, or all of them.
    pub first: String,
    /// The last [`PREVIEW_DIGITS`] digits, or all of them.
    pub last: String,
}

/// The length, the first and the last [`PREVIEW_DIGITS`] digits of F(`n`), exactly, in some tens of
/// microseconds for any `n`.
///
/// The last digits come from doubling modulo 10^20. For the first, the pair (F(k-1), F(k)) is
/// doubled with
///
/// ```text
/// F(2k-1) = F(k-1)^2 + F(k)^2,   F(2k) = F(k) (2 F(k-1) + F(k)),   F(2k+1) = F(2k-1) + F(2k)
/// ```
///
/// on mantissas of W limbs in base 10^9 that are cut off, never rounded up. The formulas only add
/// and multiply natural numbers, so what is cut off makes every later value too small, and by how
/// much is bounded: one cut takes at most e = 10^(9 - 9W) of the larger of the pair and at most 2e
/// of the smaller, which is at least half of it, so a relative error of d before a step is at most
/// 2d + 2e after it. From 0 that makes less than 2^65 e < 10^20 e after the at most 64 steps of a
/// 64-bit `n`. A mantissa is below 10^(9W), so F(`n`) lies between it and it + 10^30. Where the two
/// begin with the same 20 digits and are of one length, these are the digits of F(`n`); where not,
/// the mantissa is made twice as long, until they do.
#[must_use]
pub fn preview(n: u64) -> Preview {
    let last = last_digits(n);
    let mut limbs = 8;
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

/// The length and the first digits of F(n), if mantissas of so many limbs decide them.
fn leading(n: u64, limbs: usize) -> Option<(u64, String)> {
    let mut pair = Pair {
        before: vec![1],
        current: vec![0],
        exponent: 0,
    };
    let mut cut = false;
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        pair = pair.doubled(n >> bit & 1 == 1);
        cut |= pair.cut_to(limbs);
    }
    let low = digits_of(&pair.current);
    let digits = low.len() as u64 + pair.exponent * LIMB_DIGITS;
    let first = low[..low.len().min(PREVIEW_DIGITS)].to_owned();
    if cut {
        // 10^30 is 1000 in the fourth limb.
        let mut high = pair.current;
        let mut carry = 1000;
        for limb in high.iter_mut().skip(3) {
            carry += *limb;
            *limb = carry % LIMB;
            carry /= LIMB;
        }
        let high = digits_of(&high);
        if carry != 0 || high.len() != low.len() || !high.starts_with(&first) {
            return None;
        }
    }
    Some((digits, first))
}

const LIMB: u64 = 1_000_000_000;
const LIMB_DIGITS: u64 = 9;

/// F(k-1) and F(k) as limbs, the least significant first, times 10^9 to the exponent.
struct Pair {
    before: Vec<u64>,
    current: Vec<u64>,
    exponent: u64,
}

impl Pair {
    /// The pair at 2k, or at 2k+1.
    fn doubled(&self, odd: bool) -> Self {
        let mut square = vec![0; 2 * self.current.len() + 1];
        add_product(&mut square, &self.before, &self.before);
        add_product(&mut square, &self.current, &self.current);
        let mut factor = self.current.clone();
        factor.push(0);
        add(&mut factor, &self.before);
        add(&mut factor, &self.before);
        let mut even = vec![0; 2 * self.current.len() + 1];
        add_product(&mut even, &self.current, &factor);
        let (before, current) = if odd {
            let mut sum = even.clone();
            add(&mut sum, &square);
            (even, sum)
        } else {
            (square, even)
        };
        Self {
            before,
            current,
            exponent: 2 * self.exponent,
        }
    }

    /// Drops low limbs until the larger number has no more than so many; says whether any was lost.
    fn cut_to(&mut self, limbs: usize) -> bool {
        trim(&mut self.before);
        trim(&mut self.current);
        let surplus = self.current.len().saturating_sub(limbs);
        self.current.drain(..surplus);
        self.before.drain(..surplus.min(self.before.len()));
        self.exponent += surplus as u64;
        surplus > 0
    }
}

fn trim(number: &mut Vec<u64>) {
    while number.last() == Some(&0) {
        number.pop();
    }
}

/// Adds a * b to a sum with room for it.
fn add_product(sum: &mut [u64], a: &[u64], b: &[u64]) {
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0;
        let (row, rest) = sum[i..].split_at_mut(b.len());
        for (limb, &y) in row.iter_mut().zip(b) {
            carry += *limb + x * y;
            *limb = carry % LIMB;
            carry /= LIMB;
        }
        add(rest, &[carry]);
    }
}

/// Adds a number to a sum with room for it.
fn add(sum: &mut [u64], number: &[u64]) {
    let mut carry = 0;
    for (i, limb) in sum.iter_mut().enumerate() {
        if i >= number.len() && carry == 0 {
            break;
        }
        carry += *limb + number.get(i).copied().unwrap_or(0);
        *limb = carry % LIMB;
        carry /= LIMB;
    }
}

fn digits_of(limbs: &[u64]) -> String {
    let mut limbs = limbs.iter().rev().skip_while(|&&limb| limb == 0);
    let mut digits = limbs.next().unwrap_or(&0).to_string();
    for limb in limbs {
        digits.push_str(&format!("{limb:09}"));
    }
    digits
}

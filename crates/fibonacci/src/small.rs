//! F(n) and L(n) for small n: by addition in 128 bits, and by doubling with schoolbook products.

use crate::{
    buffer::Buffer,
    decimal::Decimal,
    natural::{LIMB_DIGITS, Natural},
};

/// The largest n whose F(n) fits into 128 bits.
pub(crate) const LARGEST_NATIVE: u64 = 186;

/// F(n) for n up to [`LARGEST_NATIVE`].
pub(crate) fn native(n: u64) -> Decimal {
    let (mut current, mut next) = (0_u128, 1_u128);
    for _ in 0..n {
        // The last sum, which is not used, may not fit.
        (current, next) = (next, current.wrapping_add(next));
    }
    decimal(&Natural::new(current))
}

/// F(n) for n of at least 1.
pub(crate) fn fibonacci(n: u64) -> Decimal {
    let (f, l) = pair(n / 2);
    if n.is_multiple_of(2) {
        return decimal(&f.product(&l));
    }
    // F(2k+1) = F(k) L(k+1) + (-1)^k
    let product = f.product(&l.add_scaled(&f, 5).half());
    decimal(&if (n / 2).is_multiple_of(2) {
        product.add_at(0, 1)
    } else {
        product.subtract(1)
    })
}

/// F(n) and L(n).
pub(crate) fn pair(n: u64) -> (Natural, Natural) {
    /// The doubling starts below this index, where each number of a pair fits into one limb.
    const LARGEST_FIRST: u64 = 80;
    let shift = (u64::BITS - (n / LARGEST_FIRST).leading_zeros()).min(63);
    let mut k = n >> shift;
    let (mut f, mut next) = (0_u64, 1_u64);
    for _ in 0..k {
        (f, next) = (next, f + next);
    }
    let mut pair = (Natural::from_limb(f), Natural::from_limb(2 * next - f));
    for bit in (0..shift).rev() {
        let (f, l) = pair;
        let square = l.product(&l);
        // L(2k) = L(k)^2 - 2 (-1)^k
        pair = (
            f.product(&l),
            if k.is_multiple_of(2) {
                square.subtract(2)
            } else {
                square.add_at(0, 2)
            },
        );
        k *= 2;
        if n >> bit & 1 == 1 {
            let (f, l) = pair;
            pair = (l.add_scaled(&f, 1).half(), l.add_scaled(&f, 5).half());
            k += 1;
        }
    }
    pair
}

fn decimal(number: &Natural) -> Decimal {
    const HALF: u64 = 1_000_000_000;
    let limbs = number.limbs();
    let mut halves = Buffer::zeroed(2 * limbs.len().max(1));
    for (halves, limb) in halves.as_chunks_mut::<2>().0.iter_mut().zip(limbs) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "half of the 18 digits of a limb is a number below 10^9"
        )]
        let split = [limb % HALF, limb / HALF].map(|half| half as i32);
        *halves = split;
    }
    Decimal::new(halves, LIMB_DIGITS / 2)
}

/// Writes a number as balanced digits in base 10^width. The digits must have room for it.
pub(crate) fn write_balanced(number: &Natural, width: u32, digits: &mut [i32]) {
    let base = 10_i32.pow(width);
    let divisor = u128::from(base.unsigned_abs());
    // Decimal digits that were read from the limbs and are still to be written.
    let (mut rest, mut held) = (0_u128, 0);
    let mut carry = 0;
    let mut limbs = number.limbs().iter();
    for digit in digits {
        if held < width
            && let Some(&limb) = limbs.next()
        {
            rest += u128::from(limb) * 10_u128.pow(held);
            held += LIMB_DIGITS;
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a remainder of a division by the base, which fits into 32 bits"
        )]
        let canonical = (rest % divisor) as i32 + carry;
        rest /= divisor;
        held = held.saturating_sub(width);
        carry = i32::from(canonical > base / 2);
        *digit = canonical - carry * base;
    }
}

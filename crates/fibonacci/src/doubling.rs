//! F(N) by fast doubling on binary big integers, converted at the end.

use std::ops::ControlFlow;

use num_bigint::BigUint;

use crate::{Decimal, Error};

pub(crate) fn compute(
    n: u64,
    _threads: usize,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Decimal, Error> {
    let (mut f, mut next) = (BigUint::ZERO, BigUint::from(1_u8));
    let bits = u64::BITS - n.leading_zeros();
    for bit in (0..bits).rev() {
        // F(2k) = F(k) (2 F(k+1) - F(k)) and F(2k+1) = F(k)^2 + F(k+1)^2
        let even = &f * ((&next << 1_u8) - &f);
        let odd = &f * &f + &next * &next;
        (f, next) = if n >> bit & 1 == 0 {
            (even, odd)
        } else {
            let sum = &even + &odd;
            (odd, sum)
        };
        // The number doubles in length with each bit, and a product costs a bit more than that.
        if progress(0.25_f64.powi(i32::try_from(bit).unwrap_or(i32::MAX))).is_break() {
            return Err(Error::Cancelled);
        }
    }
    Ok(Decimal::from_digits(f.to_string()))
}

pub(crate) fn memory_needed(n: u64) -> u64 {
    // Five numbers of n log2(phi) / 8 bytes while the last products are formed, and the digits.
    n.saturating_mul(3) / 4
}

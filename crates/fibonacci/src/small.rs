//! F(n) and L(n) where they are short: in 128 bits, and by schoolbook products in base 10^18.

use crate::{Decimal, buffer::Buffer};

/// The largest n whose F(n) has 128 bits.
pub(crate) const LARGEST_NATIVE: u64 = 186;

const BASE: u64 = 1_000_000_000_000_000_000;

/// F(n) for n up to [`LARGEST_NATIVE`].
pub(crate) fn native(n: u64) -> Decimal {
    let (mut current, mut next) = (0_u128, 1_u128);
    for _ in 0..n {
        (current, next) = (next, current.wrapping_add(next));
    }
    let mut limbs = Vec::with_capacity(3);
    while current > 0 {
        limbs.push(low_part(current % u128::from(BASE)));
        current /= u128::from(BASE);
    }
    decimal(&limbs)
}

/// F(n) for n from 1 on.
pub(crate) fn fibonacci(n: u64) -> Decimal {
    let (f, l) = pair(n / 2);
    let even = (n / 2).is_multiple_of(2);
    if n.is_multiple_of(2) {
        return decimal(&product(&f, &l));
    }
    // F(2k+1) = F(k) L(k+1) + (-1)^k
    let mut value = product(&f, &half_sum(&f, &l, 5));
    if even {
        add(&mut value, 1);
    } else {
        subtract(&mut value, 1);
    }
    decimal(&value)
}

/// F(n) and L(n) in base 10^18, the least significant limb first.
pub(crate) fn pair(n: u64) -> (Vec<u64>, Vec<u64>) {
    const NATIVE: u64 = 80;
    let shift = (u64::BITS - (n / NATIVE).leading_zeros()).min(63);
    let mut k = n >> shift;
    let (mut f, mut next) = (0_u64, 1_u64);
    for _ in 0..k {
        (f, next) = (next, f + next);
    }
    let mut pair = (vec![f], vec![2 * next - f]);
    for bit in (0..shift).rev() {
        let (f, l) = &pair;
        let (f, mut l) = (product(f, l), product(l, l));
        // L(2k) = L(k)^2 - 2 (-1)^k
        if k.is_multiple_of(2) {
            subtract(&mut l, 2);
        } else {
            add(&mut l, 2);
        }
        k *= 2;
        pair = (f, l);
        if n >> bit & 1 == 1 {
            let (f, l) = &pair;
            pair = (half_sum(f, l, 1), half_sum(f, l, 5));
            k += 1;
        }
    }
    pair
}

fn product(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut result = Vec::with_capacity(a.len() + b.len());
    let mut carry = 0_u128;
    for k in 0..a.len() + b.len() {
        let first = (k + 1).saturating_sub(b.len());
        let last = (k + 1).min(a.len());
        let mut sum = carry;
        if first < last {
            // At most 300 products below 10^36 and a carry fit into 128 bits.
            for (x, y) in a[first..last]
                .iter()
                .zip(b[k + 1 - last..=k - first].iter().rev())
            {
                sum += u128::from(*x) * u128::from(*y);
            }
        }
        carry = sum / u128::from(BASE);
        result.push(low_part(sum % u128::from(BASE)));
    }
    trim(&mut result);
    result
}

/// (factor f + l) / 2, which is a whole number.
fn half_sum(f: &[u64], l: &[u64], factor: u64) -> Vec<u64> {
    let mut result = Vec::with_capacity(l.len() + 1);
    let mut carry = 0;
    for i in 0..=l.len() {
        let part = |number: &[u64]| number.get(i).copied().unwrap_or(0);
        let sum = factor * part(f) + part(l) + carry;
        carry = sum / BASE;
        result.push(sum % BASE);
    }
    let mut odd = 0;
    for limb in result.iter_mut().rev() {
        let sum = *limb + odd * BASE;
        *limb = sum / 2;
        odd = sum % 2;
    }
    trim(&mut result);
    result
}

fn add(number: &mut Vec<u64>, value: u64) {
    let mut carry = value;
    for limb in number.iter_mut() {
        *limb += carry;
        if *limb < BASE {
            return;
        }
        *limb -= BASE;
        carry = 1;
    }
    number.push(carry);
}

/// The number must be at least the value.
fn subtract(number: &mut Vec<u64>, value: u64) {
    let mut borrow = value;
    for limb in number.iter_mut() {
        if *limb >= borrow {
            *limb -= borrow;
            break;
        }
        *limb += BASE - borrow;
        borrow = 1;
    }
    trim(number);
}

fn trim(number: &mut Vec<u64>) {
    while number.last() == Some(&0) {
        number.pop();
    }
}

fn low_part(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn decimal(limbs: &[u64]) -> Decimal {
    let mut halves = Buffer::zeroed(2 * limbs.len().max(1));
    for (halves, limb) in halves.as_chunks_mut::<2>().0.iter_mut().zip(limbs) {
        const HALF: u64 = 1_000_000_000;
        *halves = [limb % HALF, limb / HALF].map(|half| i32::try_from(half).unwrap_or(i32::MAX));
    }
    Decimal::new(halves, 9)
}

/// Writes a number as balanced digits in base 10^width; there must be room for them.
pub(crate) fn write_balanced(number: &[u64], width: u32, digits: &mut [i32]) {
    let base = 10_u128.pow(width);
    let (mut rest, mut held, mut carry) = (0_u128, 0, 0);
    let mut limbs = number.iter();
    for digit in digits {
        if held < width
            && let Some(&limb) = limbs.next()
        {
            rest += u128::from(limb) * 10_u128.pow(held);
            held += 18;
        }
        let canonical = i32::try_from(rest % base).unwrap_or(i32::MAX) + carry;
        rest /= base;
        held = held.saturating_sub(width);
        let base = i32::try_from(base).unwrap_or(i32::MAX);
        carry = i32::from(canonical > base / 2);
        *digit = canonical - carry * base;
    }
}

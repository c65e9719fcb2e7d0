//! Natural numbers of a few hundred limbs, multiplied digit by digit as at school. Long numbers are
//! the business of `transform`.

use std::fmt;

/// Decimal digits in one limb.
pub(crate) const LIMB_DIGITS: u32 = 18;

const BASE: u64 = 10_u64.pow(LIMB_DIGITS);

/// The most limbs that the shorter factor of a product may have: so many products of two limbs, and
/// a carry, fit into 128 bits.
const MAX_FACTOR_LIMBS: usize = 300;

/// A natural number of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Natural {
    /// In base 10^18, the least significant limb first. The last limb is not 0, so the number 0 has
    /// no limbs.
    limbs: Vec<u64>,
}

impl Natural {
    pub(crate) fn new(mut value: u128) -> Self {
        let mut limbs = Vec::with_capacity(3);
        while value > 0 {
            let (quotient, limb) = divide(value);
            limbs.push(limb);
            value = quotient;
        }
        Self { limbs }
    }

    /// A number below 10^18. It needs no division, unlike [`Natural::new`].
    pub(crate) fn from_limb(limb: u64) -> Self {
        debug_assert!(limb < BASE);
        Self::trimmed(vec![limb])
    }

    /// In base 10^18, the least significant limb first. The number 0 has no limbs.
    pub(crate) fn limbs(&self) -> &[u64] {
        &self.limbs
    }

    pub(crate) fn product(&self, other: &Self) -> Self {
        let (a, b) = (&self.limbs, &other.limbs);
        assert!(a.len().min(b.len()) <= MAX_FACTOR_LIMBS, "a sum overflows");
        let mut limbs = Vec::with_capacity(a.len() + b.len());
        let mut carry = 0_u128;
        for k in 0..a.len() + b.len() {
            let first = (k + 1).saturating_sub(b.len());
            let last = (k + 1).min(a.len());
            let mut sum = carry;
            if first < last {
                for (x, y) in a[first..last]
                    .iter()
                    .zip(b[k + 1 - last..=k - first].iter().rev())
                {
                    sum += u128::from(*x) * u128::from(*y);
                }
            }
            let (quotient, limb) = divide(sum);
            carry = quotient;
            limbs.push(limb);
        }
        Self::trimmed(limbs)
    }

    /// self + other * factor, where the factor is at most 8 so that a sum fits into 64 bits.
    pub(crate) fn add_scaled(&self, other: &Self, factor: u64) -> Self {
        debug_assert!(factor <= 8);
        let len = self.limbs.len().max(other.limbs.len());
        let limb = |number: &Self, i| number.limbs.get(i).copied().unwrap_or(0);
        let mut limbs = Vec::with_capacity(len + 1);
        let mut carry = 0;
        for i in 0..len {
            let sum = limb(self, i) + factor * limb(other, i) + carry;
            carry = sum / BASE;
            limbs.push(sum % BASE);
        }
        limbs.push(carry);
        Self::trimmed(limbs)
    }

    /// Half of the number, rounded down.
    pub(crate) fn half(mut self) -> Self {
        let mut odd = 0;
        for limb in self.limbs.iter_mut().rev() {
            let sum = *limb + odd * BASE;
            *limb = sum / 2;
            odd = sum % 2;
        }
        Self::trimmed(self.limbs)
    }

    /// self + value * 10^(18 * at), where `at` is the index of one of the limbs or their number,
    /// and the value is below 10^18.
    pub(crate) fn add_at(mut self, at: usize, value: u64) -> Self {
        debug_assert!(value < BASE && at <= self.limbs.len());
        let mut carry = value;
        for limb in &mut self.limbs[at..] {
            *limb += carry;
            if *limb < BASE {
                return self;
            }
            *limb -= BASE;
            carry = 1;
        }
        self.limbs.push(carry);
        Self::trimmed(self.limbs)
    }

    /// self - value, where the value is at most the number and below 10^18.
    pub(crate) fn subtract(mut self, value: u64) -> Self {
        let mut borrow = value;
        for limb in &mut self.limbs {
            if *limb >= borrow {
                *limb -= borrow;
                break;
            }
            *limb += BASE - borrow;
            borrow = 1;
        }
        Self::trimmed(self.limbs)
    }

    /// Drops the `count` least significant limbs: divides by 10^(18 * count) and rounds down.
    pub(crate) fn drop_low_limbs(&mut self, count: usize) {
        self.limbs.drain(..count.min(self.limbs.len()));
    }

    fn trimmed(mut limbs: Vec<u64>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self { limbs }
    }
}

impl fmt::Display for Natural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.limbs.iter().rev();
        write!(f, "{}", limbs.next().unwrap_or(&0))?;
        limbs.try_for_each(|limb| write!(f, "{limb:018}"))
    }
}

/// The quotient and the remainder of a division by the base.
#[inline(always)]
fn divide(value: u128) -> (u128, u64) {
    let quotient = value / u128::from(BASE);
    // Without a second division of 128 bits, which is slow.
    let remainder = value - quotient * u128::from(BASE);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a remainder is below the base, which fits into 64 bits"
    )]
    (quotient, remainder as u64)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;

    fn random(rng: &mut fastrand::Rng, limbs: usize) -> Natural {
        // Limbs at both ends of their range, where carries and borrows run on.
        let limb = |rng: &mut fastrand::Rng| match rng.u8(..4) {
            0 => 0,
            1 => BASE - 1,
            _ => rng.u64(..BASE),
        };
        Natural::trimmed((0..limbs).map(|_| limb(rng)).collect())
    }

    fn big(number: &Natural) -> BigUint {
        number.to_string().parse().unwrap()
    }

    #[test]
    fn arithmetic_agrees_with_another_library() {
        let mut rng = fastrand::Rng::with_seed(1);
        let limb = BigUint::from(BASE);
        for _ in 0..500 {
            let (len, other_len) = (rng.usize(..40), rng.usize(..40));
            let (a, b) = (random(&mut rng, len), random(&mut rng, other_len));
            let (x, y) = (big(&a), big(&b));
            assert_eq!(big(&a.product(&b)), &x * &y);
            assert_eq!(big(&a.add_scaled(&b, 5)), &x + 5_u8 * &y);
            assert_eq!(big(&a.clone().half()), &x / 2_u8);
            let at = rng.usize(..=a.limbs.len());
            let value = rng.u64(..BASE);
            let sum = &x + value * limb.pow(u32::try_from(at).unwrap());
            assert_eq!(big(&a.clone().add_at(at, value)), sum);
            let sum = a.clone().add_at(0, value);
            assert_eq!(sum.subtract(value), a);
            let count = rng.usize(..40);
            let mut rest = a.clone();
            rest.drop_low_limbs(count);
            assert_eq!(big(&rest), &x / limb.pow(u32::try_from(count).unwrap()));
        }
    }

    #[test]
    fn the_longest_factors_of_the_largest_limbs_do_not_overflow() {
        let nines = Natural::trimmed(vec![BASE - 1; MAX_FACTOR_LIMBS]);
        assert_eq!(big(&nines.product(&nines)), big(&nines).pow(2));
    }

    #[test]
    fn a_number_of_128_bits_is_written_as_it_is() {
        for value in [0, 1, u128::from(BASE) - 1, u128::from(BASE), u128::MAX] {
            assert_eq!(Natural::new(value).to_string(), value.to_string());
        }
    }
}

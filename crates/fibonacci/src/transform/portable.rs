//! Four doubles without vector instructions, for any processor.

use super::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Portable([f64; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn load(from: &[f64; 4]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; 4]) {
        *to = self.0;
    }

    #[inline(always)]
    unsafe fn stream(self, to: &mut [f64; 4]) {
        self.store(to);
    }

    #[inline(always)]
    fn finish_streams() {}

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        c.sub(self.mul(b))
    }

    #[inline(always)]
    fn mul_sub(self, b: Self, c: Self) -> Self {
        self.mul(b).sub(c)
    }

    #[inline(always)]
    fn max_abs(self, other: Self) -> Self {
        self.zip(other, |a, b| a.max(b.abs()))
    }

    #[inline(always)]
    fn transpose(rows: [Self; 4]) -> [Self; 4] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| rows[j].0[i])))
    }

    #[inline(always)]
    fn from_integers(from: [i32; 4]) -> Self {
        Self(from.map(f64::from))
    }

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the trait demands whole numbers that fit into 32 bits"
    )]
    fn transposed_integers(columns: [Self; 4]) -> [[i32; 4]; 4] {
        Self::transpose(columns).map(|row| row.0.map(|value| value as i32))
    }
}

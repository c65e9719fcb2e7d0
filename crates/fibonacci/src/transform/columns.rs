//! The transforms of some columns: from digits to the array, and from the array back to digits. The
//! rows between them are in `row`.

use super::{
    base::Form,
    butterfly::{self, Complex},
    lanes::{Group, Kernel, Lanes},
    plan::{Plan, STREAMED_LEN},
};
use crate::buffer::Disjoint;

/// Transforms `4 * width` columns of digits, and writes them to the array.
pub(super) struct ColumnsForward<'a> {
    pub(super) plan: &'a Plan,
    pub(super) digits: &'a [i32],
    pub(super) array: &'a Disjoint<'a, Group>,
    /// The first group of columns.
    pub(super) first: usize,
    /// How many groups of columns.
    pub(super) width: usize,
    /// Room for these columns.
    pub(super) scratch: &'a mut [Group],
}

impl Kernel for ColumnsForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { plan, width, .. } = self;
        for (row, groups) in self.scratch.chunks_exact_mut(width).enumerate() {
            let start = (row * plan.columns + 4 * self.first).min(self.digits.len());
            let end = (start + 4 * width).min(self.digits.len());
            let digits = &self.digits[start..end];
            let (whole, rest) = digits.as_chunks::<4>();
            for (group, &digits) in groups.iter_mut().zip(whole) {
                L::from_integers(digits).store(&mut group.re);
                group.im = [0.0; 4];
            }
            if whole.len() < width {
                let mut last = [0; 4];
                last[..rest.len()].copy_from_slice(rest);
                groups[whole.len()..].fill(Group::ZERO);
                L::from_integers(last).store(&mut groups[whole.len()].re);
            }
        }
        for level in &plan.levels {
            let block = self.scratch.len() / level.twiddles.len();
            for (block, twiddle) in self.scratch.chunks_exact_mut(block).zip(&level.twiddles) {
                butterfly::forward::<L>(level.radix, block, twiddle);
            }
        }
        for (row, groups) in self.scratch.chunks_exact(width).enumerate() {
            // SAFETY: no two tasks have a group of columns in common.
            let to = unsafe { self.array.part(row * plan.stride() + self.first, width) };
            if plan.len() < STREAMED_LEN {
                for (to, from) in to.iter_mut().zip(groups) {
                    Complex::<L>::load(from).store(to);
                }
            } else {
                for (to, from) in to.iter_mut().zip(groups) {
                    // SAFETY: `finish_streams` is called below, before the array is lent again.
                    unsafe { Complex::<L>::load(from).stream(to) };
                }
            }
        }
        L::finish_streams();
    }
}

/// Transforms `4 * width` columns of the array back, and writes them as digits: a carry goes from
/// each column to the next one.
pub(super) struct ColumnsBack<'a> {
    pub(super) plan: &'a Plan,
    pub(super) base: f64,
    pub(super) form: Form,
    pub(super) digits: &'a Disjoint<'a, i32>,
    pub(super) array: &'a Disjoint<'a, Group>,
    /// The first group of columns.
    pub(super) first: usize,
    /// How many groups of columns.
    pub(super) width: usize,
    /// Room for these columns, with the number of rows rounded up to a multiple of 4.
    pub(super) scratch: &'a mut [Group],
    /// The carries into the first of these columns, which the carries out of the last one replace.
    /// Each group has those of four rows.
    pub(super) carries: &'a mut [Group],
}

impl Kernel for ColumnsBack<'_> {
    /// The largest distance of a coefficient from a whole number.
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let Self { plan, width, .. } = self;
        let used = &mut self.scratch[..plan.rows * width];
        for (row, groups) in used.chunks_exact_mut(width).enumerate() {
            // SAFETY: no two tasks have a group of columns in common.
            let from = unsafe { self.array.part(row * plan.stride() + self.first, width) };
            for (to, from) in groups.iter_mut().zip(from) {
                Complex::<L>::load(from).store(to);
            }
        }
        for level in plan.levels.iter().rev() {
            let block = used.len() / level.twiddles.len();
            for (block, twiddle) in used.chunks_exact_mut(block).zip(&level.twiddles) {
                butterfly::back::<L>(level.radix, block, twiddle);
            }
        }
        let scale = 1.0 / plan.len() as f64;
        let mut carrier = Carrier::<L>::new(self.base, scale, self.form);
        for (quad, rows) in self.scratch.chunks_exact(4 * width).enumerate() {
            let carry = &mut self.carries[quad];
            let mut carried = Complex::<L>::load(carry);
            for group in 0..width {
                let columns = Complex::transpose([
                    Complex::<L>::load(&rows[group]),
                    Complex::<L>::load(&rows[width + group]),
                    Complex::<L>::load(&rows[2 * width + group]),
                    Complex::<L>::load(&rows[3 * width + group]),
                ]);
                let mut re = [carried.re; 4];
                let mut im = [carried.im; 4];
                for i in 0..4 {
                    (re[i], carried.re) = carrier.digit(columns[i].re, carried.re);
                    (im[i], carried.im) = carrier.digit(columns[i].im, carried.im);
                }
                let (re, im) = (L::transposed_integers(re), L::transposed_integers(im));
                for row in 0..plan.rows.saturating_sub(4 * quad).min(4) {
                    let at = (4 * quad + row) * plan.columns + 4 * (self.first + group);
                    // SAFETY: no two tasks have a group of columns in common.
                    unsafe { self.digits.part(at, 4) }.copy_from_slice(&re[row]);
                    let at = at + plan.len();
                    // SAFETY: as above, in the other half of the digits.
                    unsafe { self.digits.part(at, 4) }.copy_from_slice(&im[row]);
                }
            }
            carried.store(carry);
        }
        carrier.error()
    }
}

/// Turns coefficients into digits and carries, in four rows at once.
struct Carrier<L> {
    base: L,
    inverse: L,
    /// Added to a quotient before it is rounded: 0 to round to the nearest, and nearly -1/2 to round
    /// down.
    bias: L,
    scale: L,
    /// Adding this number and subtracting it again rounds to a whole number.
    rounder: L,
    /// The largest distance so far of a coefficient from a whole number.
    error: L,
}

impl<L: Lanes> Carrier<L> {
    #[inline(always)]
    fn new(base: f64, scale: f64, form: Form) -> Self {
        let bias = match form {
            Form::Balanced => 0.0,
            // Quotients are multiples of 1/base. Half of that above -1/2, none of them is near the
            // point where rounding changes, so an inexact quotient is still rounded correctly.
            Form::Canonical => 0.5 / base - 0.5,
        };
        Self {
            base: L::splat(base),
            inverse: L::splat(1.0 / base),
            bias: L::splat(bias),
            scale: L::splat(scale),
            rounder: L::splat(1.5 * (1_u64 << 52) as f64),
            error: L::splat(0.0),
        }
    }

    #[inline(always)]
    fn digit(&mut self, coefficient: L, carried: L) -> (L, L) {
        let whole = coefficient
            .mul_add(self.scale, self.rounder)
            .sub(self.rounder);
        let distance = coefficient.mul_sub(self.scale, whole);
        self.error = self.error.max_abs(distance);
        let sum = whole.add(carried);
        let quotient = sum.mul_add(self.inverse, self.bias);
        let quotient = quotient.add(self.rounder).sub(self.rounder);
        (quotient.neg_mul_add(self.base, sum), quotient)
    }

    #[inline(always)]
    fn error(&self) -> f64 {
        let mut lanes = [0.0; 4];
        self.error.store(&mut lanes);
        lanes.into_iter().fold(0.0, f64::max)
    }
}

//! Products of long numbers by floating-point transforms of complex length.
//!
//! The digits of a number, at most m of them, are the real coefficients of a polynomial, and a
//! product of two has at most 2m. A real polynomial modulo x^2m + 1 is determined by its residue
//! modulo x^m - i, whose coefficient j is a_j + i a_(j+m) (the "right-angle" convolution): so one
//! complex transform of length m multiplies them, and the product needs no pairing of
//! coefficients, hence no particular order.
//!
//! m = rows * columns. Transforming all columns writes the polynomial modulo y^columns - s for each
//! of the `rows` roots s of i, one to a row (a tree of [`butterfly`] blocks); in a row, y is
//! replaced by a root of s times z, which leaves z^columns - 1, the same tree for every row.
//! Columns are handled a few at a time, in a copy that stays in the cache, and a row is
//! transformed, multiplied and transformed back while it is there. So the whole array is read and
//! written three times for a product (Bailey 1990).
//!
//! Carries are propagated while the columns are still in the cache, along all rows side by side;
//! what leaves a row on its right is added to the next one when all are done.
#![allow(
    unsafe_code,
    reason = "SIMD instructions, and several threads that write parts of one array"
)]

mod butterfly;
mod columns;
mod lanes;
mod plan;
mod row;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use self::{
    columns::{ColumnsBack, ColumnsForward},
    lanes::Group,
    row::Row,
};
use crate::{
    Error,
    buffer::{Buffer, Shared, Zero},
    crew::Crew,
};

pub(crate) use self::{
    lanes::{Instructions, Kernel, Lanes},
    plan::{Memory, Plan, SHARED_LEN},
};

// SAFETY: doubles.
unsafe impl Zero for Group {
    const ZERO: Self = Self::ZERO;
}

/// What a product is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    /// Decimal digits in one of the base.
    pub(crate) width: u32,
    /// 10 to the width.
    pub(crate) value: i32,
}

impl Base {
    pub(crate) fn new(width: u32) -> Self {
        Self {
            width,
            value: 10_i32.pow(width),
        }
    }
}

/// How the digits of a product are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digits {
    /// From -base/2 to base/2, some beyond by little.
    Balanced,
    /// From 0 to base - 1.
    Canonical,
}

/// Memory for the largest of several products, used by each.
pub(crate) struct Arrays {
    f: Buffer<Group>,
    l: Buffer<Group>,
}

impl Arrays {
    pub(crate) fn new(groups: usize) -> Self {
        Self {
            f: Buffer::zeroed(groups),
            l: Buffer::zeroed(groups),
        }
    }

    /// The cost of [`Arrays::touch`].
    pub(crate) fn touch_cost(groups: usize) -> u64 {
        2 * Buffer::<Group>::touch_cost(groups)
    }

    pub(crate) fn touch(&mut self, crew: &mut Crew<'_>) -> Result<(), Error> {
        self.f.touch(crew)?;
        self.l.touch(crew)
    }

    fn shared(&mut self) -> [Shared<'_, Group>; 2] {
        [self.f.shared(), self.l.shared()]
    }
}

/// A transformer of digits: the plan, the memory and the crew for one product or two.
pub(crate) struct Multiplier<'a, 'b> {
    pub(crate) plan: &'a Plan,
    pub(crate) base: Base,
    pub(crate) instructions: Instructions,
    pub(crate) arrays: &'a mut Arrays,
    pub(crate) crew: &'a mut Crew<'b>,
}

impl Multiplier<'_, '_> {
    /// Replaces the digits of f by those of f * l, and those of l by those of l * l, all balanced.
    ///
    /// `len` is the number of digits that both have at most. Both must have room for twice the
    /// plan's length and one. Gives the largest distance of a coefficient from a whole number.
    pub(crate) fn product_and_square(
        &mut self,
        f: &mut Buffer<i32>,
        l: &mut Buffer<i32>,
        len: usize,
    ) -> Result<f64, Error> {
        self.columns_forward([&f[..len], &l[..len]])?;
        self.rows(true)?;
        self.columns_back([f, l], Digits::Balanced)
    }

    /// Replaces the digits of f by those of f * l, canonical. As
    /// [`Multiplier::product_and_square`] otherwise.
    pub(crate) fn product(
        &mut self,
        f: &mut Buffer<i32>,
        l: &[i32],
        len: usize,
    ) -> Result<f64, Error> {
        self.columns_forward([&f[..len], &l[..len]])?;
        self.rows(false)?;
        self.columns_back([f], Digits::Canonical)
    }

    fn columns_forward(&mut self, numbers: [&[i32]; 2]) -> Result<(), Error> {
        let (plan, instructions) = (self.plan, self.instructions);
        let arrays = self.arrays.shared();
        let width = plan.width();
        let tasks = plan.columns / 4 / width;
        let (jobs, per_job) = plan.jobs(tasks, self.crew.threads());
        let cost = plan.costs().0 / tasks as u64;
        self.crew.share(numbers.len() * jobs, |job, worker| {
            let (number, job) = (job / jobs, job % jobs);
            let mut scratch = Buffer::zeroed(plan.rows * width);
            for task in job * per_job..tasks.min((job + 1) * per_job) {
                instructions.run(ColumnsForward {
                    plan,
                    digits: numbers[number],
                    array: &arrays[number],
                    first: task * width,
                    width,
                    scratch: &mut scratch,
                });
                if !worker.done(cost) {
                    break;
                }
            }
        })
    }

    fn rows(&mut self, square: bool) -> Result<(), Error> {
        let (plan, instructions) = (self.plan, self.instructions);
        let [f, l] = self.arrays.shared();
        let (jobs, per_job) = plan.jobs(plan.rows, self.crew.threads());
        let transforms = if square { 4 } else { 3 };
        let cost = transforms * plan.costs().1 / plan.rows as u64;
        self.crew.share(jobs, |job, worker| {
            let mut twist = Buffer::zeroed(plan.columns / 4);
            for row in job * per_job..plan.rows.min((job + 1) * per_job) {
                let (start, len) = (row * plan.stride(), plan.columns / 4);
                instructions.run(Row {
                    plan,
                    leaf: plan.leaves[row],
                    // SAFETY: each row is handled by one job, once.
                    f: unsafe { f.part(start, len) },
                    // SAFETY: as above.
                    l: unsafe { l.part(start, len) },
                    square,
                    twist: &mut twist,
                });
                if !worker.done(cost) {
                    break;
                }
            }
        })
    }

    /// The first number from the first array, and so on.
    fn columns_back<const NUMBERS: usize>(
        &mut self,
        mut numbers: [&mut Buffer<i32>; NUMBERS],
        form: Digits,
    ) -> Result<f64, Error> {
        let (plan, instructions, base) = (self.plan, self.instructions, self.base);
        let arrays = self.arrays.shared();
        let width = plan.width();
        let tasks = plan.columns / 4 / width;
        // Carries go along a segment of columns, and from one to the next when all are done.
        let (segments, per_segment) = plan.jobs(tasks, self.crew.threads());
        let cost = plan.costs().0 / tasks as u64;
        let quads = plan.rows.div_ceil(4);
        let mut carries = Buffer::zeroed(NUMBERS * segments * quads);
        let error_bits = AtomicU64::new(0);
        {
            let digits = numbers.each_mut().map(|number| number.shared());
            let carries = carries.shared();
            self.crew.share(NUMBERS * segments, |job, worker| {
                let (number, segment) = (job / segments, job % segments);
                let mut scratch = Buffer::zeroed(4 * quads * width);
                // SAFETY: each job has its own.
                let carries = unsafe { carries.part(job * quads, quads) };
                for task in segment * per_segment..tasks.min((segment + 1) * per_segment) {
                    let error = instructions.run(ColumnsBack {
                        plan,
                        base: f64::from(base.value),
                        form,
                        digits: &digits[number],
                        array: &arrays[number],
                        first: task * width,
                        width,
                        scratch: &mut scratch,
                        carries,
                    });
                    // Bits of doubles that are not negative are ordered as they are.
                    error_bits.fetch_max(error.to_bits(), Relaxed);
                    if !worker.done(cost) {
                        break;
                    }
                }
            })?;
        }
        for (digits, carries) in numbers
            .iter_mut()
            .zip(carries.chunks_exact(segments * quads))
        {
            digits[2 * plan.len()] = 0;
            for row in 0..plan.rows {
                for (segment, carries) in carries.chunks_exact(quads).enumerate() {
                    let end = tasks.min((segment + 1) * per_segment) * width * 4;
                    let at = row * plan.columns + end;
                    let Group { re, im } = carries[row / 4];
                    for (at, carry) in [(at, re[row % 4]), (plan.len() + at, im[row % 4])] {
                        #[allow(
                            clippy::cast_possible_truncation,
                            reason = "a whole number below 2^53, and if not, the value is checked"
                        )]
                        add_at(digits, at, carry as i64, base, form);
                    }
                }
            }
        }
        Ok(f64::from_bits(error_bits.into_inner()))
    }
}

/// Adds to the digit at an index, and carries on as far as need be.
pub(crate) fn add_at(digits: &mut [i32], at: usize, value: i64, base: Base, form: Digits) {
    let base = i64::from(base.value);
    let lowest = match form {
        Digits::Balanced => base / 2,
        Digits::Canonical => 0,
    };
    let mut carry = value;
    for digit in digits.iter_mut().skip(at) {
        if carry == 0 {
            break;
        }
        let sum = i64::from(*digit) + carry + lowest;
        carry = sum.div_euclid(base);
        #[allow(clippy::cast_possible_truncation, reason = "within the base")]
        let rest = (sum.rem_euclid(base) - lowest) as i32;
        *digit = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn base() -> Base {
        Base::new(5)
    }

    fn random_digits(len: usize, seed: u64) -> Vec<i32> {
        let mut state = seed;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                i32::try_from((state >> 33) % 100_001).unwrap() - 50_000
            })
            .collect()
    }

    /// The canonical digits of a product whose value is not negative.
    fn schoolbook(a: &[i32], b: &[i32], len: usize) -> Vec<i32> {
        let mut sums = vec![0_i64; len];
        for (i, &x) in a.iter().enumerate() {
            for (j, &y) in b.iter().enumerate() {
                sums[i + j] += i64::from(x) * i64::from(y);
            }
        }
        canonical(&sums)
    }

    fn canonical(digits: &[i64]) -> Vec<i32> {
        let mut carry = 0;
        let result = digits
            .iter()
            .map(|digit| {
                let sum = digit + carry;
                carry = sum.div_euclid(100_000);
                i32::try_from(sum.rem_euclid(100_000)).unwrap()
            })
            .collect();
        assert_eq!(carry, 0);
        result
    }

    fn instructions() -> Vec<Instructions> {
        let mut kinds = vec![Instructions::Portable, Instructions::best()];
        kinds.dedup();
        kinds
    }

    #[test]
    fn products_of_every_shape_are_those_of_schoolbook() {
        for instructions in instructions() {
            for digits in [
                3, 50, 64, 65, 130, 190, 300, 500, 580, 900, 1025, 1700, 9000,
            ] {
                for threads in [1, 3] {
                    let plan = Plan::new(digits, None);
                    let (mut a, mut b) = (random_digits(digits, 1), random_digits(digits, 2));
                    (a[digits - 1], b[digits - 1]) = (1, 49_999);
                    let room = 2 * plan.len() + 1;
                    let (mut f, mut l) = (Buffer::zeroed(room), Buffer::zeroed(room));
                    f[..digits].copy_from_slice(&a);
                    l[..digits].copy_from_slice(&b);
                    let mut progress = |_| ControlFlow::Continue(());
                    let mut multiplier = Multiplier {
                        plan: &plan,
                        base: base(),
                        instructions,
                        arrays: &mut Arrays::new(plan.groups()),
                        crew: &mut Crew::new(threads, 1, &mut progress),
                    };
                    let wide = |digits: &[i32]| -> Vec<_> {
                        canonical(&digits.iter().map(|&digit| digit.into()).collect::<Vec<_>>())
                    };
                    let about = format!("{digits} digits, {instructions:?}, {threads} threads");
                    let error = multiplier.product(&mut f, &l, digits).unwrap();
                    assert!(error < 0.01, "{about}: {error}");
                    assert_eq!(f[..], schoolbook(&a, &b, room), "{about}");
                    f.fill(0);
                    f[..digits].copy_from_slice(&a);
                    let error = multiplier
                        .product_and_square(&mut f, &mut l, digits)
                        .unwrap();
                    assert!(error < 0.01, "{about}: {error}");
                    assert_eq!(wide(&f), schoolbook(&a, &b, room), "{about}");
                    assert_eq!(wide(&l), schoolbook(&b, &b, room), "{about}");
                }
            }
        }
    }

    #[test]
    fn carries_from_the_right_edge_of_a_row_go_on() {
        let mut digits = [99_999, 99_999, 99_999, 7];
        add_at(&mut digits, 1, 1, base(), Digits::Canonical);
        assert_eq!(digits, [99_999, 0, 0, 8]);
        add_at(&mut digits, 1, -1, base(), Digits::Canonical);
        assert_eq!(digits, [99_999, 99_999, 99_999, 7]);
        let mut digits = [0, 49_999, 49_999, 7];
        add_at(&mut digits, 1, 12_345_600_001, base(), Digits::Balanced);
        assert_eq!(digits, [0, -50_000, -26_544, 9]);
    }
}

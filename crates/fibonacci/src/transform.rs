//! Products of long numbers, by complex floating-point transforms. Short numbers are multiplied in
//! `natural`.
//!
//! The digits of a number, at most m of them, are the real coefficients of a polynomial, and a
//! product of two such numbers has at most 2m digits. A real polynomial modulo x^2m + 1 is
//! determined by its residue modulo x^m - i, whose coefficient j is a_j + i a_(j+m) (the
//! "right-angle" convolution). So one complex transform of length m multiplies two numbers. Its
//! coefficients need not be paired, hence they may come in any order.
//!
//! m = rows * columns. Transforming all columns reduces the polynomial modulo y^columns - s for each
//! of the `rows` roots s of i (a tree of [`butterfly`] blocks); row by row, these residues belong to
//! the roots. Within a row, y is replaced by a root of s times z. The modulus becomes z^columns - 1,
//! so every row has the same tree. Columns are transformed a few at a time, in a copy that stays in
//! the cache, and a row is transformed, multiplied and transformed back while it is in the cache.
//! So a product reads and writes the whole array three times (Bailey 1990).
//!
//! Carries are propagated while the columns are still in the cache, along all rows at the same time.
//! At the end, the carry out of each row is added to the next row.
#![allow(
    unsafe_code,
    reason = "SIMD instructions, and several threads that write parts of one array"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod base;
mod butterfly;
mod columns;
mod instructions;
mod lanes;
mod plan;
mod portable;
mod row;

use std::ops::Range;

use self::{
    columns::{ColumnsBack, ColumnsForward},
    lanes::Group,
    row::Row,
};
use crate::{
    buffer::{Buffer, Disjoint, Zero},
    error::Error,
    executor::Executor,
};

pub(crate) use self::{
    base::{Base, Form, add_at},
    instructions::Instructions,
    lanes::{Kernel, Lanes},
    plan::{Memory, Plan, THREADED_LEN},
};

// SAFETY: doubles whose bits are all zero are 0.0, and the alignment is that of a cache line.
unsafe impl Zero for Group {
    const ZERO: Self = Self::ZERO;
}

/// The two arrays of a product. One pair serves all products of a computation, if it is large enough
/// for the longest of them.
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

    /// Writes to every page of both arrays.
    pub(crate) fn touch(&mut self, executor: &mut Executor<'_, '_>) -> Result<(), Error> {
        self.f.touch(executor)?;
        self.l.touch(executor)
    }

    fn disjoint(&mut self) -> [Disjoint<'_, Group>; 2] {
        [self.f.disjoint(), self.l.disjoint()]
    }
}

/// Multiplies numbers of a certain length, in memory and on threads that it borrows.
pub(crate) struct Multiplier<'a, 'b, 'c> {
    pub(crate) plan: &'a Plan,
    pub(crate) base: Base,
    pub(crate) instructions: Instructions,
    pub(crate) arrays: &'a mut Arrays,
    pub(crate) executor: &'a mut Executor<'b, 'c>,
}

impl Multiplier<'_, '_, '_> {
    /// Replaces the digits of f by those of f * l, and those of l by those of l * l. The results are
    /// balanced.
    ///
    /// Both numbers have at most `len` digits, and room for twice the plan's length and one more.
    /// Returns the largest distance of a coefficient from a whole number.
    pub(crate) fn product_and_square(
        &mut self,
        f: &mut Buffer<i32>,
        l: &mut Buffer<i32>,
        len: usize,
    ) -> Result<f64, Error> {
        self.columns_forward([&f[..len], &l[..len]])?;
        self.rows(true)?;
        self.columns_back([f, l], Form::Balanced)
    }

    /// Replaces the digits of f by those of f * l, which are canonical. Otherwise it is like
    /// [`Multiplier::product_and_square`].
    pub(crate) fn product(
        &mut self,
        f: &mut Buffer<i32>,
        l: &[i32],
        len: usize,
    ) -> Result<f64, Error> {
        self.columns_forward([&f[..len], &l[..len]])?;
        self.rows(false)?;
        self.columns_back([f], Form::Canonical)
    }

    /// Transforms the columns of the numbers, the first number into the first array and so on.
    fn columns_forward(&mut self, numbers: [&[i32]; 2]) -> Result<(), Error> {
        let (plan, instructions) = (self.plan, self.instructions);
        let arrays = self.arrays.disjoint();
        let width = plan.width();
        let tasks = plan.columns / 4 / width;
        let cost = plan.costs().0 / tasks as u64;
        let batches = batches(tasks, plan.batch_len(tasks, self.executor.threads()));
        let batches = numbers
            .iter()
            .zip(&arrays)
            .flat_map(|number| batches.clone().map(move |batch| (number, batch)))
            .collect();
        self.executor
            .for_each(batches, |((digits, array), tasks), progress| {
                let mut scratch = Buffer::zeroed(plan.rows * width);
                for task in tasks {
                    instructions.run(ColumnsForward {
                        plan,
                        digits,
                        array,
                        first: task * width,
                        width,
                        scratch: &mut scratch,
                    });
                    progress.add(cost);
                    if progress.is_cancelled() {
                        break;
                    }
                }
            })
    }

    /// Multiplies the rows of the arrays.
    fn rows(&mut self, square: bool) -> Result<(), Error> {
        let (plan, instructions) = (self.plan, self.instructions);
        let transforms = if square { 4 } else { 3 };
        let cost = transforms * plan.costs().1 / plan.rows as u64;
        let batch_len = plan.batch_len(plan.rows, self.executor.threads());
        let (f, l) = (&mut self.arrays.f, &mut self.arrays.l);
        let batches = plan
            .leaves
            .chunks(batch_len)
            .zip(f[..plan.groups()].chunks_mut(batch_len * plan.stride()))
            .zip(l[..plan.groups()].chunks_mut(batch_len * plan.stride()))
            .collect();
        self.executor
            .for_each(batches, |((leaves, f), l), progress| {
                let row_len = plan.columns / 4;
                let mut twist = Buffer::zeroed(row_len);
                let rows = f
                    .chunks_exact_mut(plan.stride())
                    .zip(l.chunks_exact_mut(plan.stride()));
                for (&leaf, (f, l)) in leaves.iter().zip(rows) {
                    instructions.run(Row {
                        plan,
                        leaf,
                        f: &mut f[..row_len],
                        l: &mut l[..row_len],
                        square,
                        twist: &mut twist,
                    });
                    progress.add(cost);
                    if progress.is_cancelled() {
                        break;
                    }
                }
            })
    }

    /// Transforms the columns back, the first array into the first number and so on.
    fn columns_back<const NUMBERS: usize>(
        &mut self,
        mut numbers: [&mut Buffer<i32>; NUMBERS],
        form: Form,
    ) -> Result<f64, Error> {
        let (plan, instructions, base) = (self.plan, self.instructions, self.base);
        let arrays = self.arrays.disjoint();
        let width = plan.width();
        let tasks = plan.columns / 4 / width;
        let cost = plan.costs().0 / tasks as u64;
        let quads = plan.rows.div_ceil(4);
        let batches = batches(tasks, plan.batch_len(tasks, self.executor.threads()));
        let mut carries = Buffer::zeroed(NUMBERS * batches.len() * quads);
        let mut errors = vec![0.0_f64; NUMBERS * batches.len()];
        {
            let digits = numbers.each_mut().map(|number| number.disjoint());
            let batches = digits
                .iter()
                .zip(&arrays)
                .flat_map(|number| batches.clone().map(move |batch| (number, batch)))
                .zip(carries.chunks_exact_mut(quads))
                .zip(&mut errors)
                .collect();
            self.executor.for_each(
                batches,
                |((((digits, array), tasks), carries), largest_error), progress| {
                    let mut scratch = Buffer::zeroed(4 * quads * width);
                    for task in tasks {
                        let error = instructions.run(ColumnsBack {
                            plan,
                            base: f64::from(base.value),
                            form,
                            digits,
                            array,
                            first: task * width,
                            width,
                            scratch: &mut scratch,
                            carries,
                        });
                        *largest_error = largest_error.max(error);
                        progress.add(cost);
                        if progress.is_cancelled() {
                            break;
                        }
                    }
                },
            )?;
        }
        // A batch begins without a carry. So add here what the batch before it carried.
        for (digits, carries) in numbers
            .iter_mut()
            .zip(carries.chunks_exact(batches.len() * quads))
        {
            digits[2 * plan.len()] = 0;
            for row in 0..plan.rows {
                for (batch, carries) in batches.clone().zip(carries.chunks_exact(quads)) {
                    let at = row * plan.columns + batch.end * width * 4;
                    let Group { re, im } = carries[row / 4];
                    for (at, carry) in [(at, re[row % 4]), (plan.len() + at, im[row % 4])] {
                        #[allow(
                            clippy::cast_possible_truncation,
                            reason = "a whole number below 2^53; if a defect makes it anything \
                                      else, the check of the finished value finds it"
                        )]
                        add_at(digits, at, carry as i64, base, form);
                    }
                }
            }
        }
        Ok(errors.into_iter().fold(0.0, f64::max))
    }
}

/// Consecutive tasks that share their scratch memory and hand on their carries.
fn batches(tasks: usize, batch_len: usize) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
    (0..tasks)
        .step_by(batch_len)
        .map(move |start| start..tasks.min(start + batch_len))
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, ops::ControlFlow};

    use super::*;
    use crate::executor;

    fn base() -> Base {
        Base::new(5)
    }

    fn random_digits(len: usize, rng: &mut fastrand::Rng) -> Vec<i32> {
        (0..len).map(|_| rng.i32(-50_000..=50_000)).collect()
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

    #[test]
    fn products_of_every_shape_agree_with_schoolbook_products() {
        let mut rng = fastrand::Rng::with_seed(1);
        for instructions in Instructions::all() {
            for digits in [
                3, 50, 64, 65, 130, 190, 300, 500, 580, 900, 1025, 1700, 9000,
            ] {
                for threads in [1, 3].map(|threads| NonZeroUsize::new(threads).unwrap()) {
                    let plan = Plan::new(digits, None);
                    let (mut a, mut b) = (
                        random_digits(digits, &mut rng),
                        random_digits(digits, &mut rng),
                    );
                    (a[digits - 1], b[digits - 1]) = (1, 49_999);
                    let room = 2 * plan.len() + 1;
                    let (mut f, mut l) = (Buffer::zeroed(room), Buffer::zeroed(room));
                    f[..digits].copy_from_slice(&a);
                    l[..digits].copy_from_slice(&b);
                    let wide = |digits: &[i32]| -> Vec<_> {
                        canonical(&digits.iter().map(|&digit| digit.into()).collect::<Vec<_>>())
                    };
                    let about = format!("{digits} digits, {instructions:?}, {threads} threads");
                    let mut progress = |_| ControlFlow::Continue(());
                    executor::run(threads, 1, &mut progress, |executor| {
                        let mut multiplier = Multiplier {
                            plan: &plan,
                            base: base(),
                            instructions,
                            arrays: &mut Arrays::new(plan.groups()),
                            executor,
                        };
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
                        Ok(())
                    })
                    .unwrap();
                }
            }
        }
    }
}

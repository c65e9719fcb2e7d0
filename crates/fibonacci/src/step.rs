//! The step from F(k) and L(k) to F(k+1) = (F(k) + L(k)) / 2 and L(k+1) = (5 F(k) + L(k)) / 2, in
//! balanced digits. Doubling k is the business of `doubling`.
//!
//! The base is even. So whether halving a digit adds half the base to the digit below depends on that
//! digit alone, and so does what a halved digit carries to the digit above. There is no chain of
//! carries, and the parts of a number depend on each other only through the digits at their edges.

use crate::{
    error::Error,
    executor::Executor,
    transform::{Base, Instructions, Kernel, Lanes},
};

/// How many digits one task handles.
const PART_LEN: usize = 1 << 17;

/// How many digits are handled at a time, so that they stay in the first-level cache.
const BLOCK_LEN: usize = 256;

/// The cost of [`step_on`] for so many digits.
pub(crate) fn step_cost(len: usize) -> u64 {
    len as u64
}

/// Replaces the digits of L(k) by those of L(k+1) and, if `BOTH`, those of F(k) by those of F(k+1).
///
/// Both numbers have at most `len` digits, and zeros above them.
pub(crate) fn step_on<const BOTH: bool>(
    f: &mut [i32],
    l: &mut [i32],
    len: usize,
    base: Base,
    instructions: Instructions,
    executor: &mut Executor<'_, '_>,
) -> Result<(), Error> {
    let len = len.min(f.len() - 1).min(l.len() - 1);
    let edges: Vec<_> = (0..len)
        .step_by(PART_LEN)
        .map(|start| {
            let below = match start.checked_sub(1) {
                Some(i) => Carries::of(f[i], l[i], f[start] + l[start], base),
                None => Carries { f: 0, l: 0 },
            };
            let end = len.min(start + PART_LEN);
            (below, f[end] + l[end])
        })
        .collect();
    let parts = f[..len]
        .chunks_mut(PART_LEN)
        .zip(l[..len].chunks_mut(PART_LEN))
        .zip(edges)
        .map(|((f, l), (below, above))| Part::<BOTH> {
            f,
            l,
            below,
            above,
            base,
        })
        .collect();
    executor.for_each(parts, |part, progress| {
        let cost = step_cost(part.f.len());
        instructions.run(part);
        progress.add(cost);
    })
}

/// The carries of a digit of F(k+1) and of one of L(k+1) to the digits above them.
#[derive(Debug, Clone, Copy)]
struct Carries {
    f: i32,
    l: i32,
}

impl Carries {
    /// Computes them from the digits of F(k) and L(k), and the sum of the two digits above these.
    fn of(f: i32, l: i32, above: i32, base: Base) -> Self {
        Self {
            f: carry(halved(f + l, above, base), base),
            l: carry(halved(5 * f + l, above, base), base),
        }
    }
}

/// Half of a sum of digits, rounded down, plus half the base if the sum above it is odd.
#[inline(always)]
fn halved(sum: i32, above: i32, base: Base) -> i32 {
    (sum >> 1) + (-(above & 1) & (base.value / 2))
}

/// The carry of a digit whose absolute value is at most twice the base.
#[inline(always)]
fn carry(digit: i32, base: Base) -> i32 {
    let half = base.value / 2;
    let over = i32::from(digit > half) + i32::from(digit > half + base.value);
    let under = i32::from(digit < -half) + i32::from(digit < -half - base.value);
    over - under
}

/// The step for some of the digits.
struct Part<'a, const BOTH: bool> {
    f: &'a mut [i32],
    l: &'a mut [i32],
    /// The carry from the digits below this part.
    below: Carries,
    /// The sum of the two digits above this part.
    above: i32,
    base: Base,
}

impl<const BOTH: bool> Kernel for Part<'_, BOTH> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // In each of these loops, no digit depends on the one before, so the compiler vectorizes them.
        let Self { f, l, base, .. } = self;
        let mut below = self.below;
        let mut sums = [0; BLOCK_LEN + 1];
        let (mut carries_f, mut carries_l) = ([0; BLOCK_LEN + 1], [0; BLOCK_LEN + 1]);
        let mut start = 0;
        while start < f.len() {
            let end = f.len().min(start + BLOCK_LEN);
            let len = end - start;
            let above = if end < f.len() {
                f[end] + l[end]
            } else {
                self.above
            };
            let (f, l) = (&mut f[start..end], &mut l[start..end]);
            for i in 0..len {
                sums[i] = f[i] + l[i];
            }
            sums[len] = above;
            (carries_f[0], carries_l[0]) = (below.f, below.l);
            for i in 0..len {
                let digit = halved(sums[i] + 4 * f[i], sums[i + 1], base);
                carries_l[i + 1] = carry(digit, base);
                l[i] = digit - carries_l[i + 1] * base.value;
            }
            for i in 0..len {
                l[i] += carries_l[i];
            }
            if BOTH {
                for i in 0..len {
                    let digit = halved(sums[i], sums[i + 1], base);
                    carries_f[i + 1] = carry(digit, base);
                    f[i] = digit - carries_f[i + 1] * base.value;
                }
                for i in 0..len {
                    f[i] += carries_f[i];
                }
            }
            below = Carries {
                f: carries_f[len],
                l: carries_l[len],
            };
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, ops::ControlFlow};

    use super::*;
    use crate::executor;

    #[test]
    fn a_step_in_parts_satisfies_its_definition() {
        const LEN: usize = 300_000;
        let mut rng = fastrand::Rng::with_seed(1);
        for (width, instructions) in [4, 5, 6].into_iter().flat_map(|width| {
            Instructions::all()
                .into_iter()
                .map(move |kind| (width, kind))
        }) {
            let base = Base::new(width);
            let half = base.value / 2;
            // Many digits are at the bounds, so that halves and carries cross the edges.
            let mut digits = || -> Vec<i32> {
                let digit = |_| match rng.u8(..4) {
                    0 => half,
                    1 => -half,
                    _ => rng.i32(-half..=half),
                };
                (0..LEN).map(digit).chain([0]).collect()
            };
            let (old_f, mut old_l) = (digits(), digits());
            // The step divides by 2, so both numbers must be even or both odd.
            old_l[0] = old_f[0];
            let (mut f, mut l) = (old_f.clone(), old_l.clone());
            let mut progress = |_| ControlFlow::Continue(());
            let threads = NonZeroUsize::new(3).unwrap();
            executor::run(threads, 1, &mut progress, |executor| {
                step_on::<true>(&mut f, &mut l, LEN, base, instructions, executor)
            })
            .unwrap();
            // Twice the new number minus the old numbers is 0, up to what the topmost digit carries.
            for (new, factor) in [(&f, 1), (&l, 5)] {
                let mut carry = 0;
                for i in 0..LEN {
                    let difference = 2 * new[i] - factor * old_f[i] - old_l[i] + carry;
                    assert_eq!(difference % base.value, 0, "digit {i} in {base:?}");
                    carry = difference / base.value;
                }
                assert!(new.iter().all(|digit| digit.abs() <= half + 3), "{base:?}");
            }
        }
    }
}

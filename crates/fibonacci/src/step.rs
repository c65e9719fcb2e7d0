//! From F(k) and L(k) to F(k+1) = (F(k) + L(k)) / 2 and L(k+1) = (5 F(k) + L(k)) / 2, in balanced
//! digits.
//!
//! The base is even, so whether a digit leaves a half to the one below it can be seen from that
//! digit alone, and the same for what it carries to the one above it once the half is in. So there
//! is no chain of carries, and parts of the numbers need of each other only what is at their edges.

use std::sync::{Mutex, PoisonError};

use crate::{
    Error,
    crew::Crew,
    transform::{Base, Instructions, Kernel, Lanes},
};

/// Digits in one job.
const PART: usize = 1 << 17;

/// Digits that are held in registers and the first cache while they are worked on.
const BLOCK: usize = 256;

/// The cost of [`step_on`] for so many digits.
pub(crate) fn step_cost(len: usize) -> u64 {
    len as u64
}

/// Replaces the digits of L(k) by those of L(k+1) and, for a PAIR, of F(k) by F(k+1).
///
/// Both have at most `len` digits, and zeros above.
pub(crate) fn step_on<const PAIR: bool>(
    f: &mut [i32],
    l: &mut [i32],
    len: usize,
    base: Base,
    instructions: Instructions,
    crew: &mut Crew<'_>,
) -> Result<(), Error> {
    let len = len.min(f.len() - 1).min(l.len() - 1);
    let edges: Vec<_> = (0..len)
        .step_by(PART)
        .map(|start| {
            let below = match start.checked_sub(1) {
                Some(i) => Carries::of(f[i], l[i], f[start] + l[start], base),
                None => Carries { f: 0, l: 0 },
            };
            let end = len.min(start + PART);
            (below, f[end] + l[end])
        })
        .collect();
    let parts: Vec<_> = f[..len]
        .chunks_mut(PART)
        .zip(l[..len].chunks_mut(PART))
        .map(Mutex::new)
        .collect();
    crew.share(parts.len(), |job, worker| {
        let mut part = parts[job].lock().unwrap_or_else(PoisonError::into_inner);
        let (f, l) = &mut *part;
        let (below, above) = edges[job];
        let cost = step_cost(f.len());
        instructions.run(Part::<PAIR> {
            f,
            l,
            below,
            above,
            base,
        });
        worker.done(cost);
    })
}

/// What a digit of F(k+1) and of L(k+1) carries to the one above.
#[derive(Debug, Clone, Copy)]
struct Carries {
    f: i32,
    l: i32,
}

impl Carries {
    /// From the digits of F(k) and L(k), and the sum of the two above them.
    fn of(f: i32, l: i32, above: i32, base: Base) -> Self {
        Self {
            f: carry(halved(f + l, above, base), base),
            l: carry(halved(5 * f + l, above, base), base),
        }
    }
}

/// Half of a sum of digits, with what is lent by the sum above it.
#[inline(always)]
fn halved(sum: i32, above: i32, base: Base) -> i32 {
    (sum >> 1) + (-(above & 1) & (base.value / 2))
}

/// At most twice the base must remain.
#[inline(always)]
fn carry(digit: i32, base: Base) -> i32 {
    let half = base.value / 2;
    let over = i32::from(digit > half) + i32::from(digit > half + base.value);
    let under = i32::from(digit < -half) + i32::from(digit < -half - base.value);
    over - under
}

struct Part<'a, const PAIR: bool> {
    f: &'a mut [i32],
    l: &'a mut [i32],
    below: Carries,
    /// The sum of the two digits above.
    above: i32,
    base: Base,
}

impl<const PAIR: bool> Kernel for Part<'_, PAIR> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // Loops without a chain from one digit to the next, so that the compiler makes vectors.
        let Self { f, l, base, .. } = self;
        let mut below = self.below;
        let mut sums = [0; BLOCK + 1];
        let (mut carries_f, mut carries_l) = ([0; BLOCK + 1], [0; BLOCK + 1]);
        let mut start = 0;
        while start < f.len() {
            let end = f.len().min(start + BLOCK);
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
            if PAIR {
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
    use std::ops::ControlFlow;

    use super::*;

    #[test]
    fn a_step_in_parts_is_the_step_in_one_go() {
        const LEN: usize = 300_000;
        for (width, instructions) in [4, 5, 6].into_iter().flat_map(|width| {
            [Instructions::Portable, Instructions::best()].map(|kind| (width, kind))
        }) {
            let base = Base::new(width);
            let half = base.value / 2;
            // Digits from one bound to the other, so that halves and carries cross the edges.
            let digits = |factor: usize| -> Vec<i32> {
                (0..=LEN)
                    .map(|i| match i {
                        LEN => 0,
                        _ => {
                            i32::try_from(i * factor % 1_000_003).unwrap() % (half + 1)
                                * if i % 3 == 0 { -1 } else { 1 }
                        }
                    })
                    .collect()
            };
            let (old_f, old_l) = (digits(7919), digits(104_729));
            let (mut f, mut l) = (old_f.clone(), old_l.clone());
            let mut progress = |_| ControlFlow::Continue(());
            let mut crew = Crew::new(3, 1, &mut progress);
            step_on::<true>(&mut f, &mut l, LEN, base, instructions, &mut crew).unwrap();
            // Twice the new digits less the old ones must carry to nothing.
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

//! F(n) for any n: by doubling pairs of a Fibonacci and a Lucas number, whose products `transform`
//! computes.
//!
//! F(2k) = F(k) L(k), L(2k) = L(k)^2 - 2 (-1)^k. If the next bit of n is 1, one step on follows:
//! F(k+1) = (F(k) + L(k)) / 2, L(k+1) = (5 F(k) + L(k)) / 2. The last doubling needs only one
//! product, which for an odd n is that of F(2k+1) = F(k) L(k+1) + (-1)^k.

use std::{num::NonZeroUsize, ops::ControlFlow};

use crate::{
    buffer::Buffer,
    check,
    decimal::Decimal,
    error::Error,
    executor::{self, Executor},
    small,
    step::{step_cost, step_on},
    transform::{Arrays, Base, Form, Instructions, Memory, Multiplier, Plan, THREADED_LEN, add_at},
};

/// The largest n for which schoolbook products are faster than transforms.
const LARGEST_SCHOOLBOOK: u64 = 16_000;

/// The transforms start from a pair whose index is less than this. Schoolbook products compute it.
const FIRST_PAIR: u64 = 4_000;

/// The bases to try, in this order. Each is given by the decimal digits of one digit and by the
/// largest n for which its products are accurate enough: their coefficients are within 0.15 of a
/// whole number.
const WIDTHS: [(u32, u64); 3] = [(6, 10_000_000), (5, 2_000_000_000), (4, u64::MAX)];

/// How far a coefficient may be from a whole number. From 1/2 on, it could be rounded wrongly.
const LARGEST_ERROR: f64 = 0.25;

/// log10 of the golden ratio, rounded up.
const DIGITS_PER_INDEX: f64 = 0.208_987_640_249_979;

/// How to compute, apart from the progress callback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    threads: NonZeroUsize,
    instructions: Instructions,
    #[cfg(test)]
    fault: Option<tests::Fault>,
}

impl Settings {
    pub(crate) fn new(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            instructions: Instructions::detect(),
            #[cfg(test)]
            fault: None,
        }
    }
}

pub(crate) fn compute(
    n: u64,
    settings: Settings,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Decimal, Error> {
    if n <= LARGEST_SCHOOLBOOK {
        let value = if n <= small::LARGEST_NATIVE {
            small::native(n)
        } else {
            small::fibonacci(n)
        };
        return match progress(1.0) {
            ControlFlow::Continue(()) => Ok(value),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
    }
    // A second attempt starts from 0, but what is reported must not fall.
    let mut reported = 0.0;
    for (width, largest) in WIDTHS {
        if n > largest {
            continue;
        }
        let mut rising = |fraction: f64| {
            reported = fraction.max(reported);
            progress(reported)
        };
        if let Some(value) = attempt(n, Base::new(width), settings, &mut rising)? {
            // The last step of progress may be missing.
            if reported < 1.0 && progress(1.0).is_break() {
                return Err(Error::Cancelled);
            }
            return Ok(value);
        }
    }
    Err(Error::Inexact)
}

/// Computes F(n) in one base. Returns `None` if the value is not exact.
fn attempt(
    n: u64,
    base: Base,
    settings: Settings,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Option<Decimal>, Error> {
    let attempt = Attempt::new(n, base, settings);
    executor::run(attempt.threads(), attempt.cost(), progress, |executor| {
        attempt.run(executor)
    })
}

/// The memory that [`compute`] needs at its peak, in bytes.
pub(crate) fn memory_needed(n: u64) -> u64 {
    // The memory of any process, and everything here that does not grow with n.
    const REST: u128 = 3 << 20;
    let width = WIDTHS.iter().find(|(_, largest)| n <= *largest);
    let base = Base::new(width.map_or(1, |&(width, _)| width));
    let last = Memory::of(len(index(n, 0), base));
    let before = Memory::of(len(index(n, 1), base));
    let digits = 4 * (2 * last.len + last.len.max(2 * before.len));
    let needed = REST + digits + 2 * last.array;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "limited to what fits, which is more than any machine has"
    )]
    let needed = needed.min(u64::MAX.into()) as u64;
    needed
}

/// An attempt to compute F(n) in one base.
struct Attempt {
    n: u64,
    base: Base,
    settings: Settings,
    /// How many bits of n follow those of the first pair's index.
    shift: u32,
    /// A plan for each of these bits, the most significant first.
    plans: Vec<Plan>,
    room: Room,
}

impl Attempt {
    fn new(n: u64, base: Base, settings: Settings) -> Self {
        let shift = u64::BITS - (n / FIRST_PAIR).leading_zeros();
        let mut plans: Vec<Plan> = Vec::new();
        for bit in (0..shift).rev() {
            plans.push(Plan::new(len(index(n, bit), base), plans.last()));
        }
        let room = Room::of(&plans);
        Self {
            n,
            base,
            settings,
            shift,
            plans,
            room,
        }
    }

    /// The cost of [`Attempt::run`].
    fn cost(&self) -> u64 {
        let mut total = Buffer::<i32>::touch_cost(self.room.f)
            + Buffer::<i32>::touch_cost(self.room.l)
            + Arrays::touch_cost(self.room.groups)
            + check::cost(self.room.f);
        for (bit, plan) in (0..self.shift).rev().zip(&self.plans) {
            let transforms = if bit > 0 { 4 } else { 3 };
            let (columns, rows) = plan.costs();
            total += transforms * (columns + rows);
            if self.n >> bit & 1 == 1 {
                total += step_cost(plan.len() << bit.min(1));
            }
        }
        total
    }

    /// How many threads are worth using.
    fn threads(&self) -> NonZeroUsize {
        match self.plans.last() {
            Some(last) if last.len() >= THREADED_LEN => self.settings.threads,
            _ => NonZeroUsize::MIN,
        }
    }

    /// Returns the value, or `None` if it is not exact.
    fn run(self, executor: &mut Executor<'_, '_>) -> Result<Option<Decimal>, Error> {
        let base = self.base;
        let mut f = Buffer::zeroed(self.room.f);
        let mut l = Buffer::zeroed(self.room.l);
        let mut arrays = Arrays::new(self.room.groups);
        f.touch(executor)?;
        l.touch(executor)?;
        arrays.touch(executor)?;
        let first = self.n >> self.shift;
        {
            let (first_f, first_l) = small::pair(first);
            small::write_balanced(&first_f, base.width, &mut f[..len(first, base)]);
            small::write_balanced(&first_l, base.width, &mut l[..len(first, base)]);
        }
        let mut k = first;
        for (bit, plan) in (0..self.shift).rev().zip(&self.plans) {
            let (last, odd) = (bit == 0, self.n >> bit & 1 == 1);
            let sign = if k.is_multiple_of(2) { 1 } else { -1 };
            let mut multiplier = Multiplier {
                plan,
                base,
                instructions: self.settings.instructions,
                arrays: &mut arrays,
                executor,
            };
            let error = if last {
                if odd {
                    step_on::<false>(
                        &mut f,
                        &mut l,
                        len(k + 1, base),
                        multiplier.base,
                        multiplier.instructions,
                        multiplier.executor,
                    )?;
                }
                let error = multiplier.product(&mut f, &l, len(k + u64::from(odd), base))?;
                if odd {
                    add_at(&mut f, 0, sign, base, Form::Canonical);
                }
                error
            } else {
                let error = multiplier.product_and_square(&mut f, &mut l, len(k, base))?;
                l[0] -= if sign > 0 { 2 } else { -2 };
                if odd {
                    step_on::<true>(
                        &mut f,
                        &mut l,
                        len(2 * k + 1, base),
                        multiplier.base,
                        multiplier.instructions,
                        multiplier.executor,
                    )?;
                }
                error
            };
            #[cfg(test)]
            let error = match self.settings.fault {
                Some(fault) => fault.inject(base, k == first, &mut f, error),
                None => error,
            };
            if error > LARGEST_ERROR {
                return Ok(None);
            }
            k = 2 * k + u64::from(odd);
        }
        drop((arrays, l));
        let len = (len(self.n, base) + 1).min(f.len());
        let residues = check::residues(&f[..len], base, executor)?;
        if residues != check::expected(self.n) {
            return Ok(None);
        }
        Ok(Some(Decimal::new(f, base.width)))
    }
}

/// How long the arrays must be.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Digits of F.
    f: usize,
    /// Digits of L, which the last doubling does not replace.
    l: usize,
    /// Groups of the arrays of the transforms.
    groups: usize,
}

impl Room {
    fn of(plans: &[Plan]) -> Self {
        let most = |plans: &[Plan]| plans.iter().map(Plan::len).max().unwrap_or(0);
        let all = most(plans);
        Self {
            f: 2 * all + 1,
            l: (2 * most(&plans[..plans.len() - 1])).max(all) + 1,
            groups: plans.iter().map(Plan::groups).max().unwrap_or(0),
        }
    }
}

/// The largest index of the two factors of the doubling for this bit of n.
fn index(n: u64, bit: u32) -> u64 {
    let k = n >> bit >> 1;
    // For the last bit of an odd n, L(k+1) is a factor.
    if bit == 0 { k + (n & 1) } else { k }
}

/// An upper bound for the number of digits of F(k) and L(k), also of balanced digits.
fn len(k: u64, base: Base) -> usize {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "if the length exceeds the address space, the arrays cannot be allocated anyway"
    )]
    let digits = (k as f64 * DIGITS_PER_INDEX) as usize + 1;
    digits.div_ceil(base.width as usize) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u64 = 123_456;

    /// The part of an attempt to spoil.
    #[derive(Debug, Clone, Copy)]
    pub(super) enum Fault {
        /// A digit after the first product, in the base of this width.
        Digit(u32),
        /// The distance of a coefficient from a whole number, in the base of this width.
        Rounding(u32),
        /// A digit after the first product, in every base.
        EveryBase,
    }

    impl Fault {
        /// Spoils a product, and returns the error to go on with.
        pub(super) fn inject(self, base: Base, first: bool, f: &mut [i32], error: f64) -> f64 {
            match self {
                Self::Rounding(width) if width == base.width => return 0.5,
                Self::Digit(width) if width == base.width && first => f[0] += 1,
                Self::EveryBase if first => f[0] += 1,
                _ => {}
            }
            error
        }
    }

    fn settings() -> Settings {
        Settings::new(NonZeroUsize::MIN)
    }

    fn value(n: u64, settings: Settings) -> Decimal {
        compute(n, settings, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn a_wrong_digit_or_an_inexact_product_leads_to_a_smaller_base() {
        let right = value(N, settings());
        assert_eq!(right.width(), 6);
        for (fault, width) in [
            (Fault::Digit(6), 5),
            (Fault::Rounding(6), 5),
            (Fault::Digit(5), 6),
        ] {
            let mut reported = Vec::new();
            let settings = Settings {
                fault: Some(fault),
                ..settings()
            };
            let again = compute(N, settings, &mut |fraction| {
                reported.push(fraction);
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(again.width(), width, "{fault:?}");
            assert_eq!(again, right, "{fault:?}");
            assert!(reported.is_sorted(), "{fault:?}: {reported:?}");
        }
    }

    #[test]
    fn a_value_that_no_base_gives_exactly_is_an_error() {
        let settings = Settings {
            fault: Some(Fault::EveryBase),
            ..settings()
        };
        let error = compute(N, settings, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error, Error::Inexact);
    }

    #[test]
    fn all_instructions_and_numbers_of_threads_give_the_same_value() {
        for n in [20_000, 20_001, 99_999, 1_000_001, 1_234_567] {
            let right = value(n, settings());
            for instructions in Instructions::all() {
                for threads in [1, 2, 3, 8].map(|threads| NonZeroUsize::new(threads).unwrap()) {
                    let settings = Settings {
                        threads,
                        instructions,
                        ..settings()
                    };
                    assert!(value(n, settings) == right, "F({n}) with {settings:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_base_is_exact_up_to_its_largest_n() {
        for n in [8_388_607, 9_999_999, 10_000_000] {
            assert_eq!(value(n, settings()).width(), 6, "F({n})");
        }
        assert_eq!(value(10_000_001, settings()).width(), 5);
    }

    #[test]
    fn transforms_and_schoolbook_products_agree() {
        for n in 4001..4200 {
            let mut progress = |_| ControlFlow::Continue(());
            for width in [4, 5, 6] {
                let value = attempt(n, Base::new(width), settings(), &mut progress);
                let value = value.unwrap().unwrap();
                assert_eq!(value, small::fibonacci(n), "F({n}) in base 10^{width}");
            }
        }
    }
}

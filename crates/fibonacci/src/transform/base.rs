//! How a long number is written as digits: in which base, and from which range the digits are.

/// The base of the digits, a power of 10.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    /// How many decimal digits one digit in this base stands for.
    pub(crate) width: u32,
    /// 10 to the power of the width.
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

/// The range of the digits of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// From -base/2 to base/2. A few digits may exceed this slightly.
    Balanced,
    /// From 0 to base - 1.
    Canonical,
}

/// Adds to the digit at an index, and carries on as far as necessary.
pub(crate) fn add_at(digits: &mut [i32], at: usize, value: i64, base: Base, form: Form) {
    let base = i64::from(base.value);
    let lowest = match form {
        Form::Balanced => base / 2,
        Form::Canonical => 0,
    };
    let mut carry = value;
    for digit in digits.iter_mut().skip(at) {
        if carry == 0 {
            break;
        }
        let sum = i64::from(*digit) + carry + lowest;
        carry = sum.div_euclid(base);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the result is within the base, which fits into 32 bits"
        )]
        let rest = (sum.rem_euclid(base) - lowest) as i32;
        *digit = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_carries_as_far_as_necessary() {
        let base = Base::new(5);
        let mut digits = [99_999, 99_999, 99_999, 7];
        add_at(&mut digits, 1, 1, base, Form::Canonical);
        assert_eq!(digits, [99_999, 0, 0, 8]);
        add_at(&mut digits, 1, -1, base, Form::Canonical);
        assert_eq!(digits, [99_999, 99_999, 99_999, 7]);
        let mut digits = [0, 49_999, 49_999, 7];
        add_at(&mut digits, 1, 12_345_600_001, base, Form::Balanced);
        assert_eq!(digits, [0, -50_000, -26_544, 9]);
    }
}

//! A finished number, formatted as decimal digits piece by piece. It has no arithmetic.

use std::fmt;

use crate::buffer::Buffer;

/// A natural number that formats itself in decimal, most significant digit first.
#[derive(Clone)]
pub struct Decimal {
    /// In base 10^width, the least significant limb first.
    limbs: Buffer<i32>,
    /// How many of the limbs belong to the number. The others are 0.
    len: usize,
    width: usize,
    digits: usize,
}

impl Decimal {
    /// A number in base 10^width, where the width is 4, 5, 6 or 9. The least significant limb comes
    /// first, no limb is negative, and the last limbs may be 0.
    pub(crate) fn new(limbs: Buffer<i32>, width: u32) -> Self {
        let len = limbs
            .iter()
            .rposition(|&limb| limb != 0)
            .map_or(1, |last| last + 1);
        let width = width as usize;
        let top = limbs[len - 1].checked_ilog10().unwrap_or(0) as usize + 1;
        Self {
            limbs,
            len,
            width,
            digits: (len - 1) * width + top,
        }
    }

    #[cfg(test)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// How many decimal digits the number has. The number 0 has one.
    #[must_use]
    pub fn digits(&self) -> usize {
        self.digits
    }

    /// The digits in pieces of `size` digits, the most significant piece first. The last piece may
    /// be shorter.
    ///
    /// The iterator formats each piece only when it yields it.
    ///
    /// # Panics
    ///
    /// Panics if `size` is 0.
    pub fn pieces(&self, size: usize) -> impl ExactSizeIterator<Item = String> + '_ {
        assert!(size > 0, "a piece has at least one digit");
        (0..self.digits.div_ceil(size))
            .map(move |piece| self.format(piece * size, size.min(self.digits - piece * size)))
    }

    /// `len` digits from the index `start` on, where the most significant digit has the index 0.
    fn format(&self, start: usize, len: usize) -> String {
        // From here on, count the leading zeros of the most significant limb as digits too.
        let start = start + self.len * self.width - self.digits;
        let (first, end) = (start / self.width, (start + len).div_ceil(self.width));
        let limbs = &self.limbs[self.len - end..self.len - first];
        let mut text = vec![b'0'; limbs.len() * self.width];
        match self.width {
            4 => write::<4>(limbs, &mut text),
            5 => write::<5>(limbs, &mut text),
            6 => write::<6>(limbs, &mut text),
            _ => write::<9>(limbs, &mut text),
        }
        let skipped = start - first * self.width;
        text.drain(..skipped);
        text.truncate(len);
        String::from_utf8(text).expect("digits are ASCII")
    }
}

/// The three digits of every number below 1000.
static THREE_DIGITS: [[u8; 3]; 1000] = {
    let mut table = [[b'0'; 3]; 1000];
    let mut i: u16 = 0;
    while i < 1000 {
        let [high, middle, low] = [i / 100, i / 10 % 10, i % 10];
        table[i as usize] = [
            b'0' + high.to_le_bytes()[0],
            b'0' + middle.to_le_bytes()[0],
            b'0' + low.to_le_bytes()[0],
        ];
        i += 1;
    }
    table
};

/// Writes the digits of the limbs, the last limb first.
fn write<const WIDTH: usize>(limbs: &[i32], text: &mut [u8]) {
    for (text, &limb) in text
        .as_chunks_mut::<WIDTH>()
        .0
        .iter_mut()
        .zip(limbs.iter().rev())
    {
        let mut rest = limb.unsigned_abs() as usize;
        let mut end = WIDTH;
        while end > 3 {
            text[end - 3..end].copy_from_slice(&THREE_DIGITS[rest % 1000]);
            rest /= 1000;
            end -= 3;
        }
        text[..end].copy_from_slice(&THREE_DIGITS[rest % 1000][3 - end..]);
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        const PIECE: usize = 4096;
        self.digits == other.digits && self.pieces(PIECE).eq(other.pieces(PIECE))
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PIECE: usize = 1 << 16;
        self.pieces(PIECE).try_for_each(|piece| f.write_str(&piece))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({self})")
    }
}

//! The small transforms that make up a large one, whose order `columns` and `row` decide.
//!
//! A block is a polynomial modulo x^L - r, where r is on the unit circle. A butterfly of radix p
//! reduces it modulo x^(L/p) - s for each of the p roots s of r, in place: the p legs of the block
//! become the residues. A block is characterized by its r alone, so there are a few constants for
//! each block and none for each coefficient. The inverse butterfly returns p times the block.
//!
//! A factor c + is is stored as c and t = s/c, so that multiplying by it and adding takes two FMAs
//! for each part (Linzer and Feig 1993). It does not matter that t may be huge, since only the
//! product c t is added to anything.

use std::f64::consts::TAU;

use super::lanes::{Group, Lanes};

/// e^(2 pi i turns / of), accurate to about half a unit in the last place.
pub(super) fn root_of_unity(turns: i64, of: i64) -> (f64, f64) {
    let turns = turns.rem_euclid(of);
    // Whole eighths of a turn, and the rest, which is at most a sixteenth of a turn either way.
    let eighths = (8 * turns + of / 2) / of;
    let rest = 8 * turns - eighths * of;
    let (sin, cos) = (TAU * (rest as f64 / (8 * of) as f64)).sin_cos();
    let half = std::f64::consts::FRAC_1_SQRT_2;
    match eighths {
        0 | 8 => (cos, sin),
        1 => ((cos - sin) * half, (cos + sin) * half),
        2 => (-sin, cos),
        3 => ((-cos - sin) * half, (cos - sin) * half),
        4 => (-cos, -sin),
        5 => ((sin - cos) * half, (-cos - sin) * half),
        6 => (sin, -cos),
        _ => ((cos + sin) * half, (sin - cos) * half),
    }
}

/// The order of the residues of radix 4: the first two belong to the same square root of r.
const ORDER_4: [i64; 4] = [0, 2, 1, 3];

/// The r = e^(2 pi i turns / of) of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// At most half of `of`, in either direction.
    turns: i64,
    of: i64,
}

impl Node {
    pub(super) fn new(turns: i64, of: i64) -> Self {
        let turns = turns.rem_euclid(of);
        let turns = if 2 * turns > of { turns - of } else { turns };
        Self { turns, of }
    }

    /// The numerator and the denominator of the fraction of a turn.
    pub(super) fn turns(self) -> (i64, i64) {
        (self.turns, self.of)
    }

    /// The nodes into which a butterfly splits this one, in the order of the legs.
    pub(super) fn children(self, radix: usize) -> impl Iterator<Item = Self> {
        (0_i64..)
            .zip(0..radix)
            .map(move |(root, leg)| match radix {
                4 => ORDER_4[leg],
                _ => root,
            })
            .map(move |root| {
                let radix = radix as i64;
                Self::new(self.turns + root * self.of, self.of * radix)
            })
    }

    /// The constants of a butterfly of this radix.
    pub(super) fn twiddle(self, radix: usize) -> Twiddle {
        let root = |power: i64, of: i64| root_of_unity(power * self.turns, of * self.of);
        match radix {
            2 => {
                let (c, t) = cosine_and_tangent(root(1, 2));
                Twiddle([c, t, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            }
            4 => {
                let (c1, t1) = cosine_and_tangent(root(1, 2));
                let (c2, t2) = cosine_and_tangent(root(1, 4));
                Twiddle([c1, t1, c2, t2, 0.0, 0.0, 0.0, 0.0])
            }
            3 => {
                let (a, b) = (root(1, 3), root(2, 3));
                Twiddle([a.0, a.1, b.0, b.1, 0.0, 0.0, 0.0, 0.0])
            }
            _ => {
                let (a, b, c, d) = (root(1, 5), root(2, 5), root(3, 5), root(4, 5));
                Twiddle([a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1])
            }
        }
    }
}

fn cosine_and_tangent((c, s): (f64, f64)) -> (f64, f64) {
    // It replaces 0: small enough to vanish next to 1, yet possible to divide by.
    const NOTHING: f64 = 1.0 / (1_u64 << 60) as f64;
    let c = if c == 0.0 { NOTHING } else { c };
    (c, s / c)
}

/// The constants of a block for [`forward`] and [`back`]. For radix 2 and 4, they are the cosines and
/// tangents of the square root and the fourth root of r; for 3 and 5, the powers of the cube root or
/// the fifth root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twiddle(pub(super) [f64; 8]);

/// Four complex numbers, one in each lane.
#[derive(Clone, Copy)]
pub(super) struct Complex<L> {
    pub(super) re: L,
    pub(super) im: L,
}

impl<L: Lanes> Complex<L> {
    #[inline(always)]
    pub(super) fn load(from: &Group) -> Self {
        Self {
            re: L::load(&from.re),
            im: L::load(&from.im),
        }
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut Group) {
        self.re.store(&mut to.re);
        self.im.store(&mut to.im);
    }

    /// Like `store`, but bypasses the caches.
    ///
    /// # Safety
    ///
    /// As for [`Lanes::stream`].
    #[inline(always)]
    pub(super) unsafe fn stream(self, to: &mut Group) {
        // SAFETY: the caller's promise covers both.
        unsafe {
            self.re.stream(&mut to.re);
            self.im.stream(&mut to.im);
        }
    }

    #[inline(always)]
    pub(super) fn splat((re, im): (f64, f64)) -> Self {
        Self {
            re: L::splat(re),
            im: L::splat(im),
        }
    }

    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Self {
        Self {
            re: self.re.add(other.re),
            im: self.im.add(other.im),
        }
    }

    #[inline(always)]
    pub(super) fn sub(self, other: Self) -> Self {
        Self {
            re: self.re.sub(other.re),
            im: self.im.sub(other.im),
        }
    }

    #[inline(always)]
    pub(super) fn mul(self, other: Self) -> Self {
        Self {
            re: self.re.mul_sub(other.re, self.im.mul(other.im)),
            im: self.re.mul_add(other.im, self.im.mul(other.re)),
        }
    }

    /// self times the conjugate of `other`
    #[inline(always)]
    pub(super) fn mul_conjugate(self, other: Self) -> Self {
        Self {
            re: self.re.mul_add(other.re, self.im.mul(other.im)),
            im: self.im.mul_sub(other.re, self.re.mul(other.im)),
        }
    }

    #[inline(always)]
    fn scale(self, by: L) -> Self {
        Self {
            re: self.re.mul(by),
            im: self.im.mul(by),
        }
    }

    /// self + other * by
    #[inline(always)]
    fn add_scaled(self, other: Self, by: L) -> Self {
        Self {
            re: other.re.mul_add(by, self.re),
            im: other.im.mul_add(by, self.im),
        }
    }

    /// self - other * by
    #[inline(always)]
    fn sub_scaled(self, other: Self, by: L) -> Self {
        Self {
            re: other.re.neg_mul_add(by, self.re),
            im: other.im.neg_mul_add(by, self.im),
        }
    }

    /// self + i * other * by
    #[inline(always)]
    fn add_scaled_i(self, other: Self, by: L) -> Self {
        Self {
            re: other.im.neg_mul_add(by, self.re),
            im: other.re.mul_add(by, self.im),
        }
    }

    /// self - i * other * by
    #[inline(always)]
    fn sub_scaled_i(self, other: Self, by: L) -> Self {
        Self {
            re: other.im.mul_add(by, self.re),
            im: other.re.neg_mul_add(by, self.im),
        }
    }

    /// self (1 + i t)
    #[inline(always)]
    fn turn(self, t: L) -> Self {
        Self {
            re: self.im.neg_mul_add(t, self.re),
            im: self.re.mul_add(t, self.im),
        }
    }

    /// self (1 - i t)
    #[inline(always)]
    fn turn_back(self, t: L) -> Self {
        Self {
            re: self.im.mul_add(t, self.re),
            im: self.re.neg_mul_add(t, self.im),
        }
    }

    /// self + i other
    #[inline(always)]
    fn add_i(self, other: Self) -> Self {
        Self {
            re: self.re.sub(other.im),
            im: self.im.add(other.re),
        }
    }

    /// self - i other
    #[inline(always)]
    fn sub_i(self, other: Self) -> Self {
        Self {
            re: self.re.add(other.im),
            im: self.im.sub(other.re),
        }
    }

    #[inline(always)]
    pub(super) fn transpose([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        let re = L::transpose([a.re, b.re, c.re, d.re]);
        let im = L::transpose([a.im, b.im, c.im, d.im]);
        [
            Self::from_parts(re[0], im[0]),
            Self::from_parts(re[1], im[1]),
            Self::from_parts(re[2], im[2]),
            Self::from_parts(re[3], im[3]),
        ]
    }

    #[inline(always)]
    fn from_parts(re: L, im: L) -> Self {
        Self { re, im }
    }
}

/// The butterfly of radix 4 for an r whose square root is c1 (1 + i t1) and whose fourth root is
/// c2 (1 + i t2).
#[inline(always)]
pub(super) fn forward_4<L: Lanes>(
    [a0, a1, a2, a3]: [Complex<L>; 4],
    [c1, t1, c2, t2]: [L; 4],
) -> [Complex<L>; 4] {
    let (p2, p3) = (a2.turn(t1), a3.turn(t1));
    let (b0, b2) = (a0.add_scaled(p2, c1), a0.sub_scaled(p2, c1));
    let (b1, b3) = (a1.add_scaled(p3, c1), a1.sub_scaled(p3, c1));
    let (p1, p3) = (b1.turn(t2), b3.turn(t2));
    [
        b0.add_scaled(p1, c2),
        b0.sub_scaled(p1, c2),
        b2.add_scaled_i(p3, c2),
        b2.sub_scaled_i(p3, c2),
    ]
}

/// Four times the inverse of [`forward_4`].
#[inline(always)]
pub(super) fn back_4<L: Lanes>(
    [x0, x1, x2, x3]: [Complex<L>; 4],
    [c1, t1, c2, t2]: [L; 4],
) -> [Complex<L>; 4] {
    let (b0, b2) = (x0.add(x1), x2.add(x3));
    let (d, e) = (x0.sub(x1), x3.sub(x2));
    // b1 and b3 lack their factor c2. b3 is x2 - x3 times -i and the conjugate of 1 + i t2.
    let b1 = d.turn_back(t2);
    let b3 = Complex {
        re: e.re.mul_sub(t2, e.im),
        im: e.im.mul_add(t2, e.re),
    };
    [
        b0.add(b2),
        b1.add(b3).scale(c2),
        b0.sub(b2).turn_back(t1).scale(c1),
        b1.sub(b3).turn_back(t1).scale(c1.mul(c2)),
    ]
}

/// The butterfly of radix 4 for r = 1.
#[inline(always)]
pub(super) fn forward_4_of_one<L: Lanes>([a0, a1, a2, a3]: [Complex<L>; 4]) -> [Complex<L>; 4] {
    let (b0, b2) = (a0.add(a2), a0.sub(a2));
    let (b1, b3) = (a1.add(a3), a1.sub(a3));
    [b0.add(b1), b0.sub(b1), b2.add_i(b3), b2.sub_i(b3)]
}

/// Four times the inverse of [`forward_4_of_one`].
#[inline(always)]
pub(super) fn back_4_of_one<L: Lanes>([x0, x1, x2, x3]: [Complex<L>; 4]) -> [Complex<L>; 4] {
    let (b0, b1) = (x0.add(x1), x0.sub(x1));
    let (b2, d) = (x2.add(x3), x2.sub(x3));
    // b3 = -i d
    [b0.add(b2), b1.sub_i(d), b0.sub(b2), b1.add_i(d)]
}

/// The sums over k of a_k e^(2 pi i jk / 3), for j = 0, 1, 2.
#[inline(always)]
fn dft_3<L: Lanes>([a0, a1, a2]: [Complex<L>; 3]) -> [Complex<L>; 3] {
    let (sum, difference) = (a1.add(a2), a1.sub(a2));
    let middle = a0.add_scaled(sum, L::splat(-0.5));
    let sin = L::splat(0.866_025_403_784_438_6);
    [
        a0.add(sum),
        middle.add_scaled_i(difference, sin),
        middle.sub_scaled_i(difference, sin),
    ]
}

/// The sums over k of a_k e^(2 pi i jk / 5), for j = 0 to 4.
#[inline(always)]
fn dft_5<L: Lanes>([a0, a1, a2, a3, a4]: [Complex<L>; 5]) -> [Complex<L>; 5] {
    let (cos_1, cos_2) = (
        L::splat(0.309_016_994_374_947_45),
        L::splat(-0.809_016_994_374_947_5),
    );
    let (sin_1, sin_2) = (
        L::splat(0.951_056_516_295_153_5),
        L::splat(0.587_785_252_292_473_1),
    );
    let (sum_1, difference_1) = (a1.add(a4), a1.sub(a4));
    let (sum_2, difference_2) = (a2.add(a3), a2.sub(a3));
    let even_1 = a0.add_scaled(sum_1, cos_1).add_scaled(sum_2, cos_2);
    let even_2 = a0.add_scaled(sum_1, cos_2).add_scaled(sum_2, cos_1);
    let odd_1 = difference_1.scale(sin_1).add_scaled(difference_2, sin_2);
    let odd_2 = difference_1.scale(sin_2).sub_scaled(difference_2, sin_1);
    [
        a0.add(sum_1).add(sum_2),
        even_1.add_i(odd_1),
        even_2.add_i(odd_2),
        even_2.sub_i(odd_2),
        even_1.sub_i(odd_1),
    ]
}

/// An operation on the legs of a block, on one [`Group`] of each at a time. It is a trait and not a
/// closure, because closures are not always inlined.
pub(super) trait Butterfly<L: Lanes, const LEGS: usize> {
    fn apply(&self, legs: [Complex<L>; LEGS]) -> [Complex<L>; LEGS];
}

/// The [`Butterfly`] with these factors.
pub(super) struct Forward<F>(pub(super) F);
/// The inverse of the [`Butterfly`] with these factors, times the radix.
pub(super) struct Back<F>(pub(super) F);

/// The factors of radix 4, each broadcast to all lanes.
pub(super) type Factors<L> = [L; 4];

impl<L: Lanes> Butterfly<L, 2> for Forward<[L; 2]> {
    #[inline(always)]
    fn apply(&self, [a0, a1]: [Complex<L>; 2]) -> [Complex<L>; 2] {
        let [c, t] = self.0;
        let p = a1.turn(t);
        [a0.add_scaled(p, c), a0.sub_scaled(p, c)]
    }
}

impl<L: Lanes> Butterfly<L, 2> for Back<[L; 2]> {
    #[inline(always)]
    fn apply(&self, [x0, x1]: [Complex<L>; 2]) -> [Complex<L>; 2] {
        let [c, t] = self.0;
        [x0.add(x1), x0.sub(x1).turn_back(t).scale(c)]
    }
}

impl<L: Lanes> Butterfly<L, 3> for Forward<[Complex<L>; 2]> {
    #[inline(always)]
    fn apply(&self, [a, b, c]: [Complex<L>; 3]) -> [Complex<L>; 3] {
        dft_3([a, b.mul(self.0[0]), c.mul(self.0[1])])
    }
}

impl<L: Lanes> Butterfly<L, 3> for Back<[Complex<L>; 2]> {
    #[inline(always)]
    fn apply(&self, [x, y, z]: [Complex<L>; 3]) -> [Complex<L>; 3] {
        let [a, b, c] = dft_3([x, z, y]);
        [a, b.mul_conjugate(self.0[0]), c.mul_conjugate(self.0[1])]
    }
}

impl<L: Lanes> Butterfly<L, 4> for Forward<Factors<L>> {
    #[inline(always)]
    fn apply(&self, legs: [Complex<L>; 4]) -> [Complex<L>; 4] {
        forward_4(legs, self.0)
    }
}

impl<L: Lanes> Butterfly<L, 4> for Back<Factors<L>> {
    #[inline(always)]
    fn apply(&self, residues: [Complex<L>; 4]) -> [Complex<L>; 4] {
        back_4(residues, self.0)
    }
}

impl<L: Lanes> Butterfly<L, 5> for Forward<[Complex<L>; 4]> {
    #[inline(always)]
    fn apply(&self, [a, b, c, d, e]: [Complex<L>; 5]) -> [Complex<L>; 5] {
        let f = self.0;
        dft_5([a, b.mul(f[0]), c.mul(f[1]), d.mul(f[2]), e.mul(f[3])])
    }
}

impl<L: Lanes> Butterfly<L, 5> for Back<[Complex<L>; 4]> {
    #[inline(always)]
    fn apply(&self, [v, w, x, y, z]: [Complex<L>; 5]) -> [Complex<L>; 5] {
        let f = self.0;
        let [a, b, c, d, e] = dft_5([v, z, y, x, w]);
        [
            a,
            b.mul_conjugate(f[0]),
            c.mul_conjugate(f[1]),
            d.mul_conjugate(f[2]),
            e.mul_conjugate(f[3]),
        ]
    }
}

/// Splits a block into its residues.
#[inline(always)]
pub(super) fn forward<L: Lanes>(radix: usize, block: &mut [Group], twiddle: &Twiddle) {
    match radix {
        2 => each_2::<L>(block, &Forward(twiddle.two())),
        3 => each_3::<L>(block, &Forward(twiddle.three())),
        4 => each_4::<L>(block, &Forward(twiddle.four())),
        _ => each_5::<L>(block, &Forward(twiddle.five())),
    }
}

/// Turns the residues of a block back into `radix` times the block.
#[inline(always)]
pub(super) fn back<L: Lanes>(radix: usize, block: &mut [Group], twiddle: &Twiddle) {
    match radix {
        2 => each_2::<L>(block, &Back(twiddle.two())),
        3 => each_3::<L>(block, &Back(twiddle.three())),
        4 => each_4::<L>(block, &Back(twiddle.four())),
        _ => each_5::<L>(block, &Back(twiddle.five())),
    }
}

impl Twiddle {
    #[inline(always)]
    fn two<L: Lanes>(&self) -> [L; 2] {
        [L::splat(self.0[0]), L::splat(self.0[1])]
    }

    #[inline(always)]
    fn three<L: Lanes>(&self) -> [Complex<L>; 2] {
        [self.power(0), self.power(1)]
    }

    #[inline(always)]
    fn four<L: Lanes>(&self) -> Factors<L> {
        let w = &self.0;
        [
            L::splat(w[0]),
            L::splat(w[1]),
            L::splat(w[2]),
            L::splat(w[3]),
        ]
    }

    #[inline(always)]
    fn five<L: Lanes>(&self) -> [Complex<L>; 4] {
        [self.power(0), self.power(1), self.power(2), self.power(3)]
    }

    #[inline(always)]
    fn power<L: Lanes>(&self, i: usize) -> Complex<L> {
        Complex::splat((self.0[2 * i], self.0[2 * i + 1]))
    }
}

#[inline(always)]
fn each_2<L: Lanes>(block: &mut [Group], f: &impl Butterfly<L, 2>) {
    let (a, b) = block.split_at_mut(block.len() / 2);
    for (a, b) in a.iter_mut().zip(b) {
        let [x, y] = f.apply([Complex::load(a), Complex::load(b)]);
        x.store(a);
        y.store(b);
    }
}

#[inline(always)]
fn each_3<L: Lanes>(block: &mut [Group], f: &impl Butterfly<L, 3>) {
    let leg = block.len() / 3;
    let (a, rest) = block.split_at_mut(leg);
    let (b, c) = rest.split_at_mut(leg);
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        let [x, y, z] = f.apply([Complex::load(a), Complex::load(b), Complex::load(c)]);
        x.store(a);
        y.store(b);
        z.store(c);
    }
}

/// Applies f to the four legs of a block.
#[inline(always)]
pub(super) fn each_4<L: Lanes>(block: &mut [Group], f: &impl Butterfly<L, 4>) {
    let leg = block.len() / 4;
    let (front, rear) = block.split_at_mut(2 * leg);
    let (a, b) = front.split_at_mut(leg);
    let (c, d) = rear.split_at_mut(leg);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let legs = [
            Complex::load(a),
            Complex::load(b),
            Complex::load(c),
            Complex::load(d),
        ];
        let [w, x, y, z] = f.apply(legs);
        w.store(a);
        x.store(b);
        y.store(c);
        z.store(d);
    }
}

#[inline(always)]
fn each_5<L: Lanes>(block: &mut [Group], f: &impl Butterfly<L, 5>) {
    let leg = block.len() / 5;
    let (a, rest) = block.split_at_mut(leg);
    let (b, rest) = rest.split_at_mut(leg);
    let (c, rest) = rest.split_at_mut(leg);
    let (d, e) = rest.split_at_mut(leg);
    for ((((a, b), c), d), e) in a.iter_mut().zip(b).zip(c).zip(d).zip(e) {
        let legs = [
            Complex::load(a),
            Complex::load(b),
            Complex::load(c),
            Complex::load(d),
            Complex::load(e),
        ];
        let [v, w, x, y, z] = f.apply(legs);
        v.store(a);
        w.store(b);
        x.store(c);
        y.store(d);
        z.store(e);
    }
}

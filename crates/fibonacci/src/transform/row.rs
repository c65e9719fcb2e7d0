//! The product of a row of both arrays: transformed, multiplied and transformed back. The columns are
//! transformed before and after it, in `columns`.

use super::{
    butterfly::{self, Back, Complex, Forward, Node},
    lanes::{Group, Kernel, Lanes},
    plan::{Plan, Roots, RowTree},
};

/// Transforms a row of each array, replaces f by f * l, and transforms the products back.
pub(super) struct Row<'a> {
    pub(super) plan: &'a Plan,
    /// The root that belongs to the row.
    pub(super) leaf: Node,
    pub(super) f: &'a mut [Group],
    pub(super) l: &'a mut [Group],
    /// Whether l becomes l * l. If not, its contents are lost.
    pub(super) square: bool,
    /// Room for the powers of the root.
    pub(super) twist: &'a mut [Group],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let tree = &self.plan.row_tree;
        fill_twist::<L>(self.twist, &self.plan.roots, self.leaf);
        row_forward::<L>(self.f, self.twist, tree);
        row_forward::<L>(self.l, self.twist, tree);
        let blocks = self.f.as_chunks_mut::<4>().0.iter_mut();
        let blocks = blocks.zip(self.l.as_chunks_mut::<4>().0);
        if self.square {
            for ((f, l), factors) in blocks.zip(&tree.twiddles) {
                let factors = load_factors::<L>(factors);
                let (x, y) = (last_forward(f, factors), last_forward(l, factors));
                first_back(products(x, y), factors, f);
                first_back(products(y, y), factors, l);
            }
        } else {
            for ((f, l), factors) in blocks.zip(&tree.twiddles) {
                let factors = load_factors::<L>(factors);
                let (x, y) = (last_forward(f, factors), last_forward(l, factors));
                first_back(products(x, y), factors, f);
            }
        }
        row_back::<L>(self.f, self.twist, tree);
        if self.square {
            row_back::<L>(self.l, self.twist, tree);
        }
    }
}

/// Computes the powers of the row's root, by which its coefficients are multiplied.
#[inline(always)]
fn fill_twist<L: Lanes>(twist: &mut [Group], roots: &Roots, leaf: Node) {
    const FINE: usize = 8;
    let power = leaf.turns().0;
    let mut fine = [Group::ZERO; FINE];
    let mut exponent = 0;
    for group in &mut fine {
        for lane in 0..4 {
            (group.re[lane], group.im[lane]) = roots.get(exponent);
            exponent += power;
        }
    }
    let step = exponent;
    let mut exponent = 0;
    for groups in twist.chunks_mut(FINE) {
        let coarse = Complex::<L>::splat(roots.get(exponent));
        for (group, fine) in groups.iter_mut().zip(&fine) {
            Complex::<L>::load(fine).mul(coarse).store(group);
        }
        exponent += step;
    }
}

/// Does all levels of the transform but the last one, whose blocks are single groups.
#[inline(always)]
fn row_forward<L: Lanes>(row: &mut [Group], twist: &[Group], tree: &RowTree) {
    let leg = row.len() / 4;
    let (front, rear) = row.split_at_mut(2 * leg);
    let ((a, b), (c, d)) = (front.split_at_mut(leg), rear.split_at_mut(leg));
    let (front, rear) = twist.split_at(2 * leg);
    let ((t, u), (v, w)) = (front.split_at(leg), rear.split_at(leg));
    for (((((((a, b), c), d), t), u), v), w) in a
        .iter_mut()
        .zip(b)
        .zip(c)
        .zip(d)
        .zip(t)
        .zip(u)
        .zip(v)
        .zip(w)
    {
        let legs = [
            Complex::<L>::load(a).mul(Complex::load(t)),
            Complex::<L>::load(b).mul(Complex::load(u)),
            Complex::<L>::load(c).mul(Complex::load(v)),
            Complex::<L>::load(d).mul(Complex::load(w)),
        ];
        let [w, x, y, z] = butterfly::forward_4_of_one(legs);
        w.store(a);
        x.store(b);
        y.store(c);
        z.store(d);
    }
    // One quarter at a time, since a quarter fits into the first-level cache.
    for (quarter, row) in row.chunks_exact_mut(leg).enumerate() {
        let mut blocks = 1;
        while leg / blocks >= 4 {
            for (b, block) in row.chunks_exact_mut(leg / blocks).enumerate() {
                let factors = tree.block::<L>(quarter * blocks + b);
                butterfly::each_4::<L>(block, &Forward(factors));
            }
            blocks *= 4;
        }
    }
}

/// Does the last level of four blocks. The four lanes of a result belong to the four blocks.
#[inline(always)]
fn last_forward<L: Lanes>(blocks: &[Group; 4], factors: [L; 4]) -> [Complex<L>; 4] {
    butterfly::forward_4(Complex::transpose(load_4(blocks)), factors)
}

/// Undoes [`last_forward`].
#[inline(always)]
fn first_back<L: Lanes>(residues: [Complex<L>; 4], factors: [L; 4], blocks: &mut [Group; 4]) {
    store_4(
        Complex::transpose(butterfly::back_4(residues, factors)),
        blocks,
    );
}

#[inline(always)]
fn products<L: Lanes>(x: [Complex<L>; 4], y: [Complex<L>; 4]) -> [Complex<L>; 4] {
    let [a, b, c, d] = x;
    [a.mul(y[0]), b.mul(y[1]), c.mul(y[2]), d.mul(y[3])]
}

/// Undoes [`row_forward`].
#[inline(always)]
fn row_back<L: Lanes>(row: &mut [Group], twist: &[Group], tree: &RowTree) {
    let leg = row.len() / 4;
    for (quarter, row) in row.chunks_exact_mut(leg).enumerate() {
        let mut blocks = leg / 4;
        while blocks >= 1 {
            for (b, block) in row.chunks_exact_mut(leg / blocks).enumerate() {
                let factors = tree.block::<L>(quarter * blocks + b);
                butterfly::each_4::<L>(block, &Back(factors));
            }
            blocks /= 4;
        }
    }
    let (front, rear) = row.split_at_mut(2 * leg);
    let ((a, b), (c, d)) = (front.split_at_mut(leg), rear.split_at_mut(leg));
    let (front, rear) = twist.split_at(2 * leg);
    let ((t, u), (v, w)) = (front.split_at(leg), rear.split_at(leg));
    for (((((((a, b), c), d), t), u), v), w) in a
        .iter_mut()
        .zip(b)
        .zip(c)
        .zip(d)
        .zip(t)
        .zip(u)
        .zip(v)
        .zip(w)
    {
        let residues = [
            Complex::<L>::load(a),
            Complex::load(b),
            Complex::load(c),
            Complex::load(d),
        ];
        let [p, q, r, s] = butterfly::back_4_of_one(residues);
        p.mul_conjugate(Complex::load(t)).store(a);
        q.mul_conjugate(Complex::load(u)).store(b);
        r.mul_conjugate(Complex::load(v)).store(c);
        s.mul_conjugate(Complex::load(w)).store(d);
    }
}

#[inline(always)]
fn load_4<L: Lanes>(groups: &[Group; 4]) -> [Complex<L>; 4] {
    let [a, b, c, d] = groups;
    [
        Complex::load(a),
        Complex::load(b),
        Complex::load(c),
        Complex::load(d),
    ]
}

#[inline(always)]
fn store_4<L: Lanes>([w, x, y, z]: [Complex<L>; 4], groups: &mut [Group; 4]) {
    let [a, b, c, d] = groups;
    w.store(a);
    x.store(b);
    y.store(c);
    z.store(d);
}

#[inline(always)]
fn load_factors<L: Lanes>([c1, t1, c2, t2]: &[[f64; 4]; 4]) -> [L; 4] {
    [L::load(c1), L::load(t1), L::load(c2), L::load(t2)]
}

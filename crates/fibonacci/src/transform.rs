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
mod lanes;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use self::{
    butterfly::{Back, Complex, Forward, Node, Twiddle, root_of_unity},
    lanes::Group,
};
use crate::{
    Error,
    buffer::{Buffer, Shared, Zero},
    crew::Crew,
};

pub(crate) use self::lanes::{Instructions, Kernel, Lanes};

// SAFETY: doubles.
unsafe impl Zero for Group {
    const ZERO: Self = Self::ZERO;
}

/// Groups between two rows, beside those of a row, so that a column is not in one cache set.
const PADDING: usize = 2;

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

/// The shape of a transform, and its constants.
pub(crate) struct Plan {
    rows: usize,
    columns: usize,
    levels: Vec<Level>,
    /// The root s of each row, in their order.
    leaves: Vec<Node>,
    row_tree: Arc<RowTree>,
    roots: Roots,
}

struct Level {
    radix: usize,
    twiddles: Vec<Twiddle>,
}

impl Plan {
    /// A shape for numbers of at most so many digits; constants are taken over from another plan
    /// where they are the same.
    pub(crate) fn new(digits: usize, other: Option<&Self>) -> Self {
        let (rows, columns) = shape(digits);
        let mut nodes = vec![Node::new(1, 4)];
        let mut levels = Vec::new();
        for radix in radices(rows) {
            levels.push(Level {
                radix,
                twiddles: nodes.iter().map(|node| node.twiddle(radix)).collect(),
            });
            nodes = nodes.iter().flat_map(|node| node.children(radix)).collect();
        }
        Self {
            rows,
            columns,
            levels,
            leaves: nodes,
            row_tree: match other {
                Some(other) if other.columns == columns => Arc::clone(&other.row_tree),
                _ => Arc::new(RowTree::new(columns)),
            },
            roots: Roots::new(4 * rows * columns),
        }
    }

    /// The length m; the product has twice as many digits.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// How many [`Group`]s an array for it has.
    pub(crate) fn groups(&self) -> usize {
        self.rows * self.stride()
    }

    fn stride(&self) -> usize {
        self.columns / 4 + PADDING
    }

    /// Groups of columns that are handled at a time.
    fn width(&self) -> usize {
        (COLUMNS_BYTES / size_of::<Group>() / self.rows)
            .next_power_of_two()
            .clamp(1, 4)
            .min(self.columns / 4)
    }

    /// Into how many jobs so many tasks are best divided, and how many tasks are in each.
    fn jobs(&self, tasks: usize, threads: usize) -> (usize, usize) {
        let jobs = match threads {
            1 => 1,
            _ if self.len() < SHARED_LEN => 1,
            _ => tasks.min(4 * threads),
        };
        let per_job = tasks.div_ceil(jobs);
        (tasks.div_ceil(per_job), per_job)
    }

    /// The cost of a transform of all columns, and of all rows: about one for each butterfly pass.
    pub(crate) fn costs(&self) -> (u64, u64) {
        let levels = |n: usize| u64::from(n.ilog2()) + 4;
        let len = self.len() as u64;
        (len * levels(self.rows), len * levels(self.columns))
    }
}

/// The length from which on sharing the work is worth waking the other threads.
pub(crate) const SHARED_LEN: usize = 1 << 15;

/// The length from which on an array does not stay in any cache until its rows are read, so that
/// writing its columns past the caches saves reading it first.
const STREAMED_LEN: usize = 1 << 20;

/// What a [`Plan`] would take, without making it.
pub(crate) struct Memory {
    /// The plan's length.
    pub(crate) len: u128,
    /// Bytes of an array for it.
    pub(crate) array: u128,
}

impl Memory {
    pub(crate) fn of(digits: usize) -> Self {
        let (rows, columns) = shape(digits);
        let groups = rows as u128 * (columns / 4 + PADDING) as u128;
        Self {
            len: rows as u128 * columns as u128,
            array: groups * size_of::<Group>() as u128,
        }
    }
}

const COLUMNS_BYTES: usize = 160 << 10;

/// Rows and columns with room for so many digits.
fn shape(digits: usize) -> (usize, usize) {
    let columns = match digits {
        0..0x2000 => 64,
        0x2000..0x2_0000 => 256,
        0x2_0000..0x10_0000 => 1024,
        _ => 4096,
    };
    let rows = digits.div_ceil(columns).max(1);
    let rows = [1, 3, 5, 9, 15, 25, 27, 45, 75, 81, 125, 135]
        .map(|odd: usize| odd * rows.div_ceil(odd).next_power_of_two())
        .into_iter()
        .min()
        .unwrap_or(rows);
    (rows, columns)
}

/// The radices whose product is the number of rows.
fn radices(mut rows: usize) -> Vec<usize> {
    let mut radices = Vec::new();
    for radix in [5, 3] {
        while rows.is_multiple_of(radix) {
            radices.push(radix);
            rows /= radix;
        }
    }
    if rows.ilog2() % 2 == 1 {
        radices.push(2);
        rows /= 2;
    }
    radices.extend((0..rows.ilog2() / 2).map(|_| 4));
    radices
}

/// The constants of a row's tree; four blocks side by side, since the last level needs them so.
struct RowTree {
    /// Of block b the lane b % 4 of element b / 4: the first four of its [`Twiddle`].
    twiddles: Vec<[[f64; 4]; 4]>,
}

impl RowTree {
    fn new(columns: usize) -> Self {
        let mut nodes = vec![Node::new(0, 1)];
        while nodes.len() < columns / 4 {
            nodes = nodes.iter().flat_map(|node| node.children(4)).collect();
        }
        // Block b of any level has the same root, so the last level's constants serve all.
        let twiddles = nodes
            .chunks_exact(4)
            .map(|four| {
                let four: Vec<_> = four.iter().map(|node| node.twiddle(4).0).collect();
                std::array::from_fn(|i| std::array::from_fn(|lane| four[lane][i]))
            })
            .collect();
        Self { twiddles }
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize) -> [L; 4] {
        let four = &self.twiddles[block / 4];
        let lane = block % 4;
        [
            L::splat(four[0][lane]),
            L::splat(four[1][lane]),
            L::splat(four[2][lane]),
            L::splat(four[3][lane]),
        ]
    }
}

/// All roots of unity of one order, each as a product of two that are kept.
struct Roots {
    order: i64,
    shift: u32,
    low: Vec<(f64, f64)>,
    high: Vec<(f64, f64)>,
}

impl Roots {
    fn new(order: usize) -> Self {
        let shift = order.ilog2().div_ceil(2);
        let order = i64::try_from(order).unwrap_or(i64::MAX);
        let low = (0..1 << shift).map(|i| root_of_unity(i, order)).collect();
        let high = (0..=order >> shift)
            .map(|i| root_of_unity(i << shift, order))
            .collect();
        Self {
            order,
            shift,
            low,
            high,
        }
    }

    fn get(&self, power: i64) -> (f64, f64) {
        let power = usize::try_from(power.rem_euclid(self.order)).unwrap_or(0);
        let (a, b) = (
            self.high[power >> self.shift],
            self.low[power & ((1 << self.shift) - 1)],
        );
        (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
    }
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

/// Transforms `4 * width` columns of digits into the array.
struct ColumnsForward<'a> {
    plan: &'a Plan,
    digits: &'a [i32],
    array: &'a Shared<'a, Group>,
    first: usize,
    width: usize,
    scratch: &'a mut [Group],
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
            // SAFETY: each group of columns is handled by one job, once.
            let to = unsafe { self.array.part(row * plan.stride() + self.first, width) };
            if plan.len() < STREAMED_LEN {
                for (to, from) in to.iter_mut().zip(groups) {
                    Complex::<L>::load(from).store(to);
                }
            } else {
                for (to, from) in to.iter_mut().zip(groups) {
                    Complex::<L>::load(from).stream(to);
                }
            }
        }
        L::finish_streams();
    }
}

/// Transforms a row of each array, multiplies them, and transforms the products back.
struct Row<'a> {
    plan: &'a Plan,
    leaf: Node,
    f: &'a mut [Group],
    l: &'a mut [Group],
    square: bool,
    twist: &'a mut [Group],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let tree = &self.plan.row_tree;
        fill_twist::<L>(self.twist, &self.plan.roots, self.leaf);
        row_forward::<L>(self.f, self.twist, tree);
        row_forward::<L>(self.l, self.twist, tree);
        for (f, l) in self.f.iter_mut().zip(self.l.iter_mut()) {
            let (x, y) = (Complex::<L>::load(f), Complex::<L>::load(l));
            x.mul(y).store(f);
            if self.square {
                y.mul(y).store(l);
            }
        }
        row_back::<L>(self.f, self.twist, tree);
        if self.square {
            row_back::<L>(self.l, self.twist, tree);
        }
    }
}

/// The powers of the row's root by which its coefficients are multiplied.
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
    // A quarter at a time, which fits into the first cache.
    for (quarter, row) in row.chunks_exact_mut(leg).enumerate() {
        let mut blocks = 1;
        while leg / blocks >= 4 {
            for (b, block) in row.chunks_exact_mut(leg / blocks).enumerate() {
                let factors = tree.block::<L>(quarter * blocks + b);
                butterfly::each_4::<L>(block, &Forward(factors));
            }
            blocks *= 4;
        }
        let tree = &tree.twiddles[quarter * leg / 4..][..leg.div_ceil(4)];
        for (groups, factors) in row.as_chunks_mut::<4>().0.iter_mut().zip(tree) {
            let legs = Complex::transpose(load_4::<L>(groups));
            let residues = butterfly::forward_4(legs, load_factors(factors));
            store_4(residues, groups);
        }
    }
}

#[inline(always)]
fn row_back<L: Lanes>(row: &mut [Group], twist: &[Group], tree: &RowTree) {
    let leg = row.len() / 4;
    for (quarter, row) in row.chunks_exact_mut(leg).enumerate() {
        let twiddles = &tree.twiddles[quarter * leg / 4..][..leg.div_ceil(4)];
        for (groups, factors) in row.as_chunks_mut::<4>().0.iter_mut().zip(twiddles) {
            let legs = butterfly::back_4(load_4::<L>(groups), load_factors(factors));
            store_4(Complex::transpose(legs), groups);
        }
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

/// Transforms `4 * width` columns of the array back, and carries along them.
struct ColumnsBack<'a> {
    plan: &'a Plan,
    base: f64,
    form: Digits,
    digits: &'a Shared<'a, i32>,
    array: &'a Shared<'a, Group>,
    first: usize,
    width: usize,
    scratch: &'a mut [Group],
    /// What goes into the next column, for four rows in each group.
    carries: &'a mut [Group],
}

impl Kernel for ColumnsBack<'_> {
    /// The largest distance of a coefficient from a whole number.
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let Self { plan, width, .. } = self;
        let used = &mut self.scratch[..plan.rows * width];
        for (row, groups) in used.chunks_exact_mut(width).enumerate() {
            // SAFETY: each group of columns is handled by one job, once.
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
                    // SAFETY: each group of columns is handled by one job, once.
                    unsafe { self.digits.part(at, 4) }.copy_from_slice(&re[row]);
                    let at = at + plan.len();
                    // SAFETY: as above; this is the other half of the digits.
                    unsafe { self.digits.part(at, 4) }.copy_from_slice(&im[row]);
                }
            }
            carried.store(carry);
        }
        carrier.error()
    }
}

/// Coefficients in, digits and carries out, in four rows at once.
struct Carrier<L> {
    base: L,
    inverse: L,
    /// Added to a quotient before it is rounded: 0, or what turns rounding into rounding down.
    bias: L,
    scale: L,
    /// Adding this and taking it away again rounds to a whole number.
    rounder: L,
    error: L,
}

impl<L: Lanes> Carrier<L> {
    #[inline(always)]
    fn new(base: f64, scale: f64, form: Digits) -> Self {
        let bias = match form {
            Digits::Balanced => 0.0,
            // Half a digit more than -1/2, so that neither a multiple of the base nor what is just
            // below it is near the edge.
            Digits::Canonical => 0.5 / base - 0.5,
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

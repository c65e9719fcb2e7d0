//! The shape of a transform and the constants that come with it.

use std::sync::Arc;

use super::{
    butterfly::{Node, Twiddle, root_of_unity},
    lanes::{Group, Lanes},
};

/// Groups between two rows, beside those of a row, so that a column is not in one cache set.
const PADDING: usize = 2;

/// The shape of a transform, and its constants.
pub(crate) struct Plan {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) levels: Vec<Level>,
    /// The root s of each row, in their order.
    pub(super) leaves: Vec<Node>,
    pub(super) row_tree: Arc<RowTree>,
    pub(super) roots: Roots,
}

pub(super) struct Level {
    pub(super) radix: usize,
    pub(super) twiddles: Vec<Twiddle>,
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

    pub(super) fn stride(&self) -> usize {
        self.columns / 4 + PADDING
    }

    /// Groups of columns that are handled at a time.
    pub(super) fn width(&self) -> usize {
        (COLUMNS_BYTES / size_of::<Group>() / self.rows)
            .next_power_of_two()
            .clamp(1, 4)
            .min(self.columns / 4)
    }

    /// Into how many jobs so many tasks are best divided, and how many tasks are in each.
    pub(super) fn jobs(&self, tasks: usize, threads: usize) -> (usize, usize) {
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
pub(super) const STREAMED_LEN: usize = 1 << 20;

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
pub(super) struct RowTree {
    /// Of block b the lane b % 4 of element b / 4: the first four of its [`Twiddle`].
    pub(super) twiddles: Vec<[[f64; 4]; 4]>,
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
    pub(super) fn block<L: Lanes>(&self, block: usize) -> [L; 4] {
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
pub(super) struct Roots {
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

    pub(super) fn get(&self, power: i64) -> (f64, f64) {
        let power = usize::try_from(power.rem_euclid(self.order)).unwrap_or(0);
        let (a, b) = (
            self.high[power >> self.shift],
            self.low[power & ((1 << self.shift) - 1)],
        );
        (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
    }
}

//! The shape of a transform and the constants that belong to it, without the transform itself.

use std::sync::Arc;

use super::{
    butterfly::{Node, Twiddle, root_of_unity},
    lanes::{Group, Lanes},
};

/// Unused groups between two rows. Without them, all groups of a column would compete for the same
/// set of the cache.
const PADDING: usize = 2;

/// The shape of a transform, and its constants.
pub(crate) struct Plan {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) levels: Vec<Level>,
    /// The root s of each row, in the order of the rows.
    pub(super) leaves: Vec<Node>,
    pub(super) row_tree: Arc<RowTree>,
    pub(super) roots: Roots,
}

/// One level of the tree of butterflies that transforms the columns.
pub(super) struct Level {
    pub(super) radix: usize,
    /// One for each block.
    pub(super) twiddles: Vec<Twiddle>,
}

impl Plan {
    /// A plan for numbers of at most `digits` digits. It takes over the constants of another plan
    /// that are the same.
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

    /// The length m of the transform. A product has at most 2m digits.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// How many [`Group`]s an array for this plan has.
    pub(crate) fn groups(&self) -> usize {
        self.rows * self.stride()
    }

    /// How many [`Group`]s there are from the start of one row to that of the next.
    pub(super) fn stride(&self) -> usize {
        self.columns / 4 + PADDING
    }

    /// How many groups of columns a task transforms at the same time.
    pub(super) fn width(&self) -> usize {
        (COLUMNS_BYTES / size_of::<Group>() / self.rows)
            .next_power_of_two()
            .clamp(1, 4)
            .min(self.columns / 4)
    }

    /// How many of so many tasks to run in one batch, on so many threads.
    pub(super) fn batch_len(&self, tasks: usize, threads: usize) -> usize {
        let batches = match threads {
            1 => 1,
            _ if self.len() < THREADED_LEN => 1,
            _ => tasks.min(4 * threads),
        };
        tasks.div_ceil(batches)
    }

    /// The costs of transforming all columns and all rows: about 1 for each coefficient and level.
    pub(crate) fn costs(&self) -> (u64, u64) {
        let levels = |n: usize| u64::from(n.ilog2()) + 4;
        let len = self.len() as u64;
        (len * levels(self.rows), len * levels(self.columns))
    }
}

/// The length of a plan from which on several threads save more time than waking them takes.
pub(crate) const THREADED_LEN: usize = 1 << 15;

/// The length of a plan from which on an array is too large to stay in a cache until its rows are
/// read. Columns are then written past the caches, which saves reading the memory first.
pub(super) const STREAMED_LEN: usize = 1 << 20;

/// How much memory a [`Plan`] would use, computed without creating it.
pub(crate) struct Memory {
    /// The plan's length.
    pub(crate) len: u128,
    /// Bytes of an array for the plan.
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

/// The most bytes that the columns of one task should take, so that they stay in the cache.
const COLUMNS_BYTES: usize = 160 << 10;

/// The numbers of rows and columns whose product is at least the number of digits.
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

/// The constants of the tree of butterflies that transforms a row. Those of four blocks are next to
/// each other, because the last level transforms four blocks at once.
pub(super) struct RowTree {
    /// The first four numbers of the [`Twiddle`] of block b are in lane b % 4 of element b / 4.
    pub(super) twiddles: Vec<[[f64; 4]; 4]>,
}

impl RowTree {
    fn new(columns: usize) -> Self {
        let mut nodes = vec![Node::new(0, 1)];
        while nodes.len() < columns / 4 {
            nodes = nodes.iter().flat_map(|node| node.children(4)).collect();
        }
        // Block b has the same root on every level, so the constants of the last level serve all.
        let twiddles = nodes
            .chunks_exact(4)
            .map(|four| {
                let four: Vec<_> = four.iter().map(|node| node.twiddle(4).0).collect();
                std::array::from_fn(|i| std::array::from_fn(|lane| four[lane][i]))
            })
            .collect();
        Self { twiddles }
    }

    /// The constants of a block, each broadcast to all lanes.
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

/// All roots of unity of one order. Each is computed as the product of two that are stored.
pub(super) struct Roots {
    order: i64,
    /// The bits of a power that select one of the low roots.
    shift: u32,
    low: Vec<(f64, f64)>,
    high: Vec<(f64, f64)>,
}

impl Roots {
    fn new(order: usize) -> Self {
        let shift = order.ilog2().div_ceil(2);
        let order = i64::try_from(order).expect("a multiple of a length in memory");
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

    /// e^(2 pi i power / order)
    pub(super) fn get(&self, power: i64) -> (f64, f64) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 up to the order, which was a usize"
        )]
        let power = power.rem_euclid(self.order) as usize;
        let (a, b) = (
            self.high[power >> self.shift],
            self.low[power & ((1 << self.shift) - 1)],
        );
        (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
    }
}

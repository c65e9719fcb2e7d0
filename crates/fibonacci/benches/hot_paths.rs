//! Benchmarks of the public functions, so that a regression shows from one commit to the next. The
//! comparison with other libraries is in `bench/compute.py` of the repository.

use std::num::NonZeroUsize;

use divan::{Bencher, bench, black_box};
use fibonacci::{Options, fibonacci, preview};

/// How many digits are formatted at a time.
const PIECE_DIGITS: usize = 1 << 16;

fn main() {
    divan::main();
}

/// Plain integers up to 186, schoolbook products up to 16 000, transforms from there.
#[bench(args = [100, 1000, 10_000, 20_000, 100_000, 1_000_000], max_time = 1)]
fn one_thread(n: u64) {
    black_box(fibonacci(black_box(n)));
}

#[bench(args = [1_000_000, 10_000_000], max_time = 1)]
fn two_threads(n: u64) {
    let threads = NonZeroUsize::new(2).expect("two are not zero");
    let number = Options::new().threads(threads).compute(black_box(n));
    black_box(number).expect("a value that passes its check");
}

#[bench(args = [100, 100_000, 1_000_000], max_time = 1)]
fn format(bencher: Bencher<'_, '_>, n: u64) {
    let number = fibonacci(n);
    bencher.bench_local(|| {
        number.pieces(PIECE_DIGITS).for_each(|piece| {
            black_box(piece);
        });
    });
}

#[bench(args = [100, 100_000_000, u64::MAX])]
fn ends(n: u64) {
    black_box(preview(black_box(n)));
}

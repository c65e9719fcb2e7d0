//! Times F(N) and prints two numbers of seconds: `seconds N [THREADS [RUNS]]`. It checks nothing.
//!
//! The first is the time to compute the number, the second the time to format all its digits in
//! pieces of 64 Ki digits. Each is the shortest of all runs.

use std::{
    env,
    error::Error,
    hint::black_box,
    io::{Write, stdout},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use fibonacci::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u64>());
    let n = args.next().ok_or("N is missing")??;
    let threads: usize = args.next().unwrap_or(Ok(1))?.try_into()?;
    let threads = NonZeroUsize::new(threads).ok_or("THREADS must be at least 1")?;
    let runs = args.next().unwrap_or(Ok(1))?.max(1);
    let (mut computed, mut formatted) = (Duration::MAX, Duration::MAX);
    for _ in 0..runs {
        let start = Instant::now();
        let number = Options::new().threads(threads).compute(black_box(n))?;
        computed = computed.min(start.elapsed());
        let start = Instant::now();
        number.pieces(1 << 16).for_each(|piece| {
            black_box(piece);
        });
        formatted = formatted.min(start.elapsed());
    }
    writeln!(
        stdout(),
        "{:.9} {:.9}",
        computed.as_secs_f64(),
        formatted.as_secs_f64()
    )?;
    Ok(())
}

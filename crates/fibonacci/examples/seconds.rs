//! Prints the seconds that F(N) takes, digits included: `seconds N [THREADS [RUNS]]`.
//!
//! The least of the runs, and the time of formatting all digits into pieces of 64 KiB.

use std::{
    env,
    error::Error,
    hint::black_box,
    io::{Write, stdout},
    ops::ControlFlow,
    time::{Duration, Instant},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u64>());
    let n = args.next().ok_or("N is missing")??;
    let threads = args.next().unwrap_or(Ok(1))?.try_into()?;
    let runs = args.next().unwrap_or(Ok(1))?.max(1);
    let (mut computed, mut formatted) = (Duration::MAX, Duration::MAX);
    for _ in 0..runs {
        let start = Instant::now();
        let number = fibonacci::compute(black_box(n), threads, &mut |_| ControlFlow::Continue(()))?;
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

//! The time that messages carry.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time in microseconds since the Unix epoch.
///
/// # Panics
///
/// If the system's clock is set to a time before 1970.
#[must_use]
pub fn unix_us() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock shows a time after 1970");
    u64::try_from(since_epoch.as_micros()).expect("64 bits last for 580 000 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_systems() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(u128::from(unix_us()) >= before.as_micros());
    }
}

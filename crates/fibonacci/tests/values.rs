//! Compares F(N) and its preview with golden values from two other libraries, and tests identities
//! that they must satisfy. Progress and cancellation are tested in `progress.rs`.

use std::time::Instant;

use fibonacci::{PREVIEW_DIGITS, fibonacci, memory_needed, preview};
use num_bigint::BigUint;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// `golden/generate.py` wrote this file, whose first line names the columns.
const GOLDEN: &str = include_str!("golden/fibonacci.tsv");

struct Golden {
    n: u64,
    digits: usize,
    sha256: &'static str,
    value: Option<&'static str>,
}

fn golden() -> impl Iterator<Item = Golden> {
    GOLDEN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [n, digits, sha256, value] = columns[..] else {
                panic!("a line of the golden file has four columns: {line}")
            };
            Golden {
                n: n.parse().expect("N is a number"),
                digits: digits.parse().expect("a length is a number"),
                sha256,
                value: (value != "-").then_some(value),
            }
        })
}

fn natural(n: u64) -> BigUint {
    fibonacci(n)
        .to_string()
        .parse()
        .expect("digits are a number")
}

fn sha256(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_golden_value_is_computed_digit_for_digit() {
    for golden in golden() {
        let number = fibonacci(golden.n);
        let text = number.to_string();
        assert_eq!(number.digits(), golden.digits, "F({})", golden.n);
        assert_eq!(sha256(&text), golden.sha256, "F({})", golden.n);
        if let Some(value) = golden.value {
            assert_eq!(text, value, "F({})", golden.n);
        }
    }
}

#[test]
fn the_first_three_hundred_are_the_sums_of_their_predecessors() {
    let (mut current, mut next) = (BigUint::ZERO, BigUint::from(1_u8));
    for n in 0..300 {
        assert_eq!(fibonacci(n).to_string(), current.to_string(), "F({n})");
        let sum = &current + &next;
        (current, next) = (next, sum);
    }
}

#[test]
fn joined_pieces_are_the_number() {
    for n in [0, 10, 100, 1000, 12_345, 100_000] {
        let number = fibonacci(n);
        let text = number.to_string();
        for size in [1, 2, 4, 5, 7, 9, 64, 1000, 100_000] {
            let pieces: Vec<String> = number.pieces(size).collect();
            assert_eq!(number.pieces(size).len(), pieces.len(), "F({n}) by {size}");
            assert_eq!(pieces.len(), text.len().div_ceil(size), "F({n}) by {size}");
            assert!(
                pieces[..pieces.len() - 1]
                    .iter()
                    .all(|piece| piece.len() == size),
                "F({n}) by {size}: only the last piece may be shorter"
            );
            assert_eq!(pieces.concat(), text, "F({n}) by {size}");
        }
    }
}

#[test]
fn a_preview_has_the_length_and_the_ends_of_the_number() {
    for n in (0..3000).chain([4096, 9999, 10_000, 50_000, 100_000, 654_321]) {
        let text = fibonacci(n).to_string();
        let shown = text.len().min(PREVIEW_DIGITS);
        let preview = preview(n);
        assert_eq!(preview.digits, text.len() as u64, "F({n})");
        assert_eq!(preview.first, text[..shown], "F({n})");
        assert_eq!(preview.last, text[text.len() - shown..], "F({n})");
    }
}

#[test]
fn a_preview_of_a_number_too_large_to_compute_is_exact() {
    // The lengths and first digits come from 400 digits of N log10(phi) - log10(5) / 2 in Python's
    // decimal module, the last digits from doubling modulo 10^20 in Python's integers.
    let expected = [
        (
            100_000_000,
            20_898_764,
            "47371034734563369625",
            "06082642167760546875",
        ),
        (
            1_000_000_000,
            208_987_640,
            "79523178745546834678",
            "03172326981560546875",
        ),
        (
            1_000_000_000_007,
            208_987_640_252,
            "12364092595233488087",
            "12119375938476562513",
        ),
        (
            999_999_999_999_999_999,
            208_987_640_249_978_734,
            "16247982656473051903",
            "16023715972900390626",
        ),
        (
            1_000_000_000_000_000_000,
            208_987_640_249_978_734,
            "26289788186792204674",
            "41183788299560546875",
        ),
        (
            9_223_372_036_854_775_808,
            1_927_570_757_129_919_482,
            "22356146964997755118",
            "28743962677220871621",
        ),
        (
            18_446_744_073_709_551_615,
            3_855_141_514_259_838_963,
            "69070289095496942236",
            "66019507593362999010",
        ),
    ];
    for (n, digits, first, last) in expected {
        let preview = preview(n);
        assert_eq!(preview.digits, digits, "F({n})");
        assert_eq!(preview.first, first, "F({n})");
        assert_eq!(preview.last, last, "F({n})");
    }
}

#[test]
fn a_preview_takes_less_than_a_tenth_of_a_millisecond() {
    let quickest = (0..100)
        .map(|i| {
            let start = Instant::now();
            std::hint::black_box(preview(std::hint::black_box(1_000_000_000_000_000_000 - i)));
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(quickest.as_micros() < 100, "{quickest:?}");
}

#[test]
fn memory_needed_never_falls_with_n() {
    let needed: Vec<u64> = (0..64).map(|bit| memory_needed(1 << bit)).collect();
    assert!(needed.is_sorted(), "{needed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn the_addition_formula_holds(m in 1_u64..50_000, n in 1_u64..50_000) {
        let right = natural(m) * natural(n + 1) + natural(m - 1) * natural(n);
        prop_assert_eq!(natural(m + n), right);
    }

    #[test]
    fn cassinis_identity_holds(n in 1_u64..100_000) {
        let (square, product) = (natural(n).pow(2), natural(n - 1) * natural(n + 1));
        if n % 2 == 1 {
            prop_assert_eq!(product + 1_u8, square);
        } else {
            prop_assert_eq!(product, square + 1_u8);
        }
    }
}

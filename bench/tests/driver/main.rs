//! The driver against a server that does its work, and against one that does not.

mod stage;

use bench::{Args, Fault, Faults};
use clap::Parser;

use stage::{Mischief, Stage};

/// What `bench` says to these arguments.
fn bench(arguments: &[&str]) -> anyhow::Result<String> {
    let args = Args::try_parse_from([&["bench"], arguments].concat()).expect("right usage");
    let mut out = Vec::new();
    bench::run(args, &mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

/// What was wrong with a load of a few jobs on a server that is up to `mischief`.
fn faults(mischief: Mischief) -> Vec<(Fault, u64)> {
    let stage = Stage::with(mischief);
    let arguments = ["--in-flight=4", "--jobs=20", "--patience=1"];
    let error =
        bench(&[&["load", "--url", &stage.url] as &[_], &arguments].concat()).expect_err("faults");
    let Faults(faults) = error.downcast().expect("faults");
    faults.into_iter().collect()
}

#[test]
fn a_load_on_a_good_server_is_measured() {
    let stage = Stage::start();
    for sockets in ["one", "private", "private=8"] {
        let arguments = [
            "--url",
            &stage.url,
            "--in-flight=8",
            "--jobs=200",
            "--sockets",
        ];
        let said = bench(&[&["load"], &arguments as &[_], &[sockets]].concat()).unwrap();
        assert!(said.starts_with("200 jobs in "), "{said}");
    }
}

#[test]
fn a_load_may_ask_for_a_number_without_a_short_check() {
    let stage = Stage::start();
    let said = bench(&["load", "--url", &stage.url, "--jobs=20", "--n=5000"]).unwrap();
    assert!(said.starts_with("20 jobs in "), "{said}");
}

#[test]
fn a_row_has_as_many_cells_as_its_table() {
    let stage = Stage::start();
    let arguments = ["--url", &stage.url, "--seconds=1", "--row", "in a test"];
    let said = bench(&[&["load"], &arguments as &[_]].concat()).unwrap();
    assert!(said.starts_with("| in a test | "), "{said}");
    assert_eq!(said.matches('|').count(), 10, "{said}");
}

#[test]
fn every_fault_is_found_and_counted() {
    for (mischief, fault) in [
        (Mischief::WrongValue, Fault::WrongValue),
        (Mischief::Loses, Fault::Missing),
        (Mischief::Repeats, Fault::Repeated),
        (Mischief::Invents, Fault::Unknown),
        (Mischief::Fails, Fault::Failed),
        (Mischief::Babbles, Fault::NotUnderstood),
        (Mischief::Refuses, Fault::Refused(503)),
        (Mischief::Renames, Fault::OtherId),
    ] {
        assert_eq!(faults(mischief), [(fault, 1)], "{mischief:?}");
    }
}

#[test]
fn a_server_without_mischief_has_no_faults() {
    let stage = Stage::with(Mischief::None);
    bench(&["load", "--url", &stage.url, "--jobs=20"]).unwrap();
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    assert!(bench(&["load", "--url", "http://127.0.0.1:1"]).is_err());
}

#[test]
fn idle_sockets_are_weighed_and_found_alive() {
    let stage = Stage::start();
    let pid = std::process::id().to_string();
    let said = bench(&["idle", "--url", &stage.url, "--sockets=100", "--pid", &pid]).unwrap();
    assert!(said.contains("100 sockets"), "{said}");
}

#[test]
fn a_long_number_comes_whole_with_small_jobs_beside() {
    let stage = Stage::start();
    let arguments = ["--url", &stage.url, "--n=6000000", "--runs=2", "--beside"];
    let said = bench(&[&["large"], &arguments as &[_]].concat()).unwrap();
    assert!(said.contains("small jobs beside"), "{said}");
}

#[test]
fn a_disk_is_timed_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let said = bench(&["fsync", dir.path().to_str().unwrap(), "--writes=10"]).unwrap();
    assert!(said.starts_with("p50 "), "{said}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

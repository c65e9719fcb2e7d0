//! The driver against a real server in this process, and against a fake one that injects a fault.

mod log;
mod stage;

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use bench::{Args, Fault, Faults, Finding, Findings};
use clap::Parser;
use serde_json::Value;
use uuid::Uuid;

use log::Flaw;
use stage::{Mischief, Stage};

/// Runs `bench` with these arguments and returns its report.
fn bench(arguments: &[&str]) -> anyhow::Result<Value> {
    let args = Args::try_parse_from([&["bench"], arguments].concat()).expect("valid arguments");
    let mut out = Vec::new();
    bench::run(args, &mut out)?;
    Ok(serde_json::from_slice(&out).expect("one JSON object"))
}

/// The faults that a load of a few jobs finds in a server that does `mischief`.
fn faults(mischief: Mischief) -> Vec<(Fault, u64)> {
    let stage = Stage::with(mischief);
    let arguments = ["--in-flight=4", "--jobs=20", "--patience=1"];
    let error =
        bench(&[&["load", "--url", &stage.url] as &[_], &arguments].concat()).expect_err("faults");
    let Faults(faults) = error.downcast().expect("faults");
    faults.into_iter().collect()
}

/// Checks that these figures of the report are numbers above zero.
fn assert_positive(report: &Value, keys: &[&str]) {
    for key in keys {
        assert!(report[key].as_f64() > Some(0.0), "{key} in {report}");
    }
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
        let report = bench(&[&["load"], &arguments as &[_], &[sockets]].concat()).unwrap();
        assert_eq!(
            (&report["n"], &report["in_flight"]),
            (&90.into(), &8.into())
        );
        assert_eq!(report["jobs"], 200, "{report}");
        assert_positive(
            &report,
            &[
                "elapsed_s",
                "jobs_per_second",
                "p50_us",
                "p90_us",
                "p99_us",
                "p99_9_us",
                "max_us",
            ],
        );
    }
}

#[test]
fn a_load_may_ask_for_a_number_of_more_than_128_bits() {
    let stage = Stage::start();
    let report = bench(&["load", "--url", &stage.url, "--jobs=20", "--n=5000"]).unwrap();
    assert_eq!(report["jobs"], 20, "{report}");
}

#[test]
fn a_load_may_be_limited_by_time() {
    let stage = Stage::start();
    let report = bench(&["load", "--url", &stage.url, "--seconds=1"]).unwrap();
    assert!(report["elapsed_s"].as_f64() >= Some(1.0), "{report}");
}

#[test]
fn what_a_job_costs_the_server_is_reported_when_asked_for() {
    let stage = Stage::start();
    let load = ["load", "--url", &stage.url, "--jobs=2000"];
    let report = bench(&load).unwrap();
    assert!(report["server_cpu_us_per_job"].is_null(), "{report}");
    assert!(report["syncs_per_job"].is_null(), "{report}");

    let pid = std::process::id().to_string();
    let report = bench(&[&load as &[_], &["--pid", &pid, "--disk", "/proc"]].concat()).unwrap();
    assert_positive(&report, &["server_cpu_us_per_job", "driver_cpu_us_per_job"]);
    assert!(
        report["syncs_per_job"].is_null(),
        "/proc is on no disk, but {report}"
    );
}

#[test]
fn each_mischief_is_found_and_counted() {
    for (mischief, fault) in [
        (Mischief::WrongValue, Fault::WrongValue),
        (Mischief::Loses, Fault::Missing),
        (Mischief::Repeats, Fault::Repeated),
        (Mischief::Invents, Fault::UnknownJob),
        (Mischief::Fails, Fault::Failed),
        (Mischief::Babbles, Fault::Malformed),
        (Mischief::Refuses, Fault::Refused(503)),
        (Mischief::AnswersWrongId, Fault::WrongId),
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
fn idle_sockets_are_measured_and_found_open() {
    let stage = Stage::start();
    let pid = std::process::id().to_string();
    let report = bench(&["idle", "--url", &stage.url, "--sockets=100", "--pid", &pid]).unwrap();
    assert_eq!(report["sockets"], 100);
    assert_positive(
        &report,
        &[
            "opened_in_us",
            "broadcast_in_us",
            "server_kb_without_sockets",
        ],
    );
    for key in [
        "server_kb_per_socket",
        "server_kb_per_socket_after_broadcast",
    ] {
        assert!(report[key].is_number(), "{key} in {report}");
    }
}

#[test]
fn a_long_number_arrives_whole_while_small_jobs_are_in_flight() {
    let stage = Stage::start();
    let arguments = [
        "--url",
        &stage.url,
        "--n=6000000",
        "--runs=2",
        "--with-small-jobs",
    ];
    let report = bench(&[&["large"], &arguments as &[_]].concat()).unwrap();
    assert_eq!(
        (&report["n"], &report["runs"]),
        (&6_000_000.into(), &2.into())
    );
    assert_positive(&report, &["best_us", "best_computing_us", "median_us"]);
    assert_positive(
        &report["small_jobs"],
        &["count", "p50_us", "p99_us", "max_us"],
    );
}

#[test]
fn a_number_in_one_message_is_measured_too() {
    let stage = Stage::start();
    let report = bench(&["large", "--url", &stage.url, "--n=90", "--runs=1"]).unwrap();
    assert_positive(&report, &["best_us", "median_us"]);
    assert!(report["small_jobs"].is_null(), "{report}");
}

#[test]
fn a_disk_is_measured_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let report = bench(&["fsync", dir.path().to_str().unwrap(), "--writes=10"]).unwrap();
    assert_eq!(report["writes"], 10);
    assert_positive(&report, &["p50_us", "p99_us"]);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

/// Audits the server for two seconds. Returns the report, and what was found.
fn audit(stage: &Stage, arguments: &[&str]) -> (Value, Vec<Finding>) {
    let always = ["bench", "audit", "--url", &stage.url, "--seconds=2"];
    let args = Args::try_parse_from([&always, arguments].concat()).expect("valid arguments");
    let mut out = Vec::new();
    let found = match bench::run(args, &mut out) {
        Ok(()) => Vec::new(),
        Err(error) => {
            let Findings(found) = error.downcast().expect("findings");
            found.into_keys().collect()
        }
    };
    let out = String::from_utf8(out).expect("text");
    let report = out.lines().last().expect("a report");
    (serde_json::from_str(report).expect("JSON"), found)
}

/// Audits a server with `flaw`, with 200 jobs from three private clients and a public one.
fn audit_with(flaw: Flaw) -> (Value, Vec<Finding>) {
    let clients = ["--private=3", "--public=1", "--long-every=60"];
    let waits = ["--patience=2", "--quiet=0"];
    audit(&Stage::with_log(flaw), &[&clients as &[_], &waits].concat())
}

#[test]
fn an_audit_of_a_good_server_accounts_for_every_job() {
    let (report, found) = audit(&Stage::start(), &["--long-every=1", "--quiet=0"]);
    assert_eq!(found, [], "{report}");
    for key in ["jobs", "accepted", "done"] {
        assert_eq!(report[key], 200, "{key} in {report}");
    }
    assert_eq!(report["long_jobs"], 1, "{report}");
    assert_positive(&report["ended_after"], &["p50_us", "max_us"]);
    assert_positive(&report["long_ended_after"], &["max_us"]);
    let slots = report["timeline"].as_array().expect("slots").iter();
    let jobs: u64 = slots.filter_map(|slot| slot["jobs"].as_u64()).sum();
    assert_eq!(jobs, 199, "small jobs in {report}");
}

#[test]
fn an_audit_finds_every_flaw() {
    for (flaw, finding) in [
        (Flaw::Loses, Finding::Lost),
        (Flaw::Repeats, Finding::Twice),
        (Flaw::RepeatsLate, Finding::Twice),
        (Flaw::ForgetsIds, Finding::Twice),
        (Flaw::WrongValue, Finding::Wrong),
        (Flaw::WrongN, Finding::Wrong),
        (Flaw::Renames, Finding::Wrong),
        (Flaw::Invents, Finding::Wrong),
        (Flaw::Leaks, Finding::Wrong),
        (Flaw::BeginsAtSince, Finding::Wrong),
        (Flaw::Babbles, Finding::Wrong),
        (Flaw::LosesPart, Finding::Wrong),
        (Flaw::SkipsOnce, Finding::Missed),
        (Flaw::RepeatsPart, Finding::RepeatedPart),
        (Flaw::Gap, Finding::Gap),
    ] {
        let (report, found) = audit_with(flaw);
        assert_eq!(found, [finding], "{flaw:?}: {report}");
    }
}

#[test]
fn an_audit_finds_that_a_job_is_never_accepted() {
    let (report, found) = audit_with(Flaw::RefusesForGood);
    assert_eq!(found, [Finding::Wrong, Finding::Unaccepted], "{report}");
}

#[test]
fn an_audit_forgives_what_a_client_can_mend() {
    for flaw in [
        Flaw::None,
        Flaw::Parts,
        Flaw::Refuses,
        Flaw::RefusesButKeeps,
        Flaw::HangsUpButKeeps,
        Flaw::ClosesSockets,
    ] {
        let (report, found) = audit_with(flaw);
        assert_eq!(found, [], "{flaw:?}: {report}");
        assert_eq!(
            (&report["accepted"], &report["done"]),
            (&200.into(), &200.into()),
            "{flaw:?}: {report}"
        );
    }
}

#[test]
fn an_audit_counts_jobs_that_ended_without_a_value() {
    let (report, found) = audit_with(Flaw::Fails);
    assert_eq!(found, [], "{report}");
    assert_eq!(
        (&report["done"], &report["failed"]),
        (&199.into(), &1.into()),
        "{report}"
    );
    assert_eq!(report["reasons"]["tired"], 1, "{report}");
}

#[test]
fn the_figures_include_the_wait_of_jobs_that_are_due_while_the_server_stalls() {
    let arguments = ["--private=1", "--public=0", "--long-every=60", "--quiet=0"];
    let (report, found) = audit(&Stage::with_log(Flaw::Stalls), &arguments);
    assert_eq!(found, [], "{report}");
    // The server stalls for about the first of two seconds, so a quarter of all jobs wait for over half a
    // second, although only one POST took that long.
    assert!(
        report["accepted_after"]["p90_us"].as_f64() > Some(5e5),
        "{report}"
    );
}

#[test]
fn a_new_client_tells_when_a_server_answers_again() {
    let stage = Stage::start();
    let report = bench(&["recover", "--url", &stage.url]).unwrap();
    assert_positive(
        &report,
        &["recovered_us", "accepted_us", "ended_us", "clients"],
    );
    assert!(bench(&["recover", "--url", "http://127.0.0.1:1", "--within=1"]).is_err());
}

/// The report of 20 sockets that stayed for a second, in which 40 public jobs were posted.
fn crowd(stage: &Stage) -> Value {
    /// Posts the jobs as soon as the first line is written, which says that the sockets are open.
    struct Out<'a>(Vec<u8>, Option<&'a Stage>);
    impl Write for Out<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            if let Some(stage) = self.1.take() {
                (0..40).for_each(|_| post(stage));
            }
            Ok(())
        }
    }
    let arguments = [
        "bench",
        "crowd",
        "--url",
        &stage.url,
        "--sockets=20",
        "--seconds=1",
    ];
    let args = Args::try_parse_from(arguments).expect("valid arguments");
    let mut out = Out(Vec::new(), Some(stage));
    bench::run(args, &mut out).expect("a report");
    let out = String::from_utf8(out.0).expect("text");
    let [gathered, report] = out.lines().collect::<Vec<_>>()[..] else {
        panic!("two lines, not {out}");
    };
    assert!(gathered.contains(r#""event":"gathered""#), "{gathered}");
    serde_json::from_str(report).expect("JSON")
}

fn post(stage: &Stage) {
    let host = stage.url.strip_prefix("http://").expect("a URL");
    let body = format!(r#"{{"n":1,"id":"{}"}}"#, Uuid::now_v7());
    let mut stream = TcpStream::connect(host).expect("a connection");
    write!(
        stream,
        "POST /fib HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[test]
fn a_crowd_on_a_good_server_receives_the_same_and_nobody_leaves() {
    let report = crowd(&Stage::start());
    for (key, expected) in [("ends", 20 * 41), ("missed", 0), ("unread", 0)] {
        assert_eq!(report[key], expected, "{key} in {report}");
    }
    assert_eq!(report["reopened_by_second"], Value::Array(Vec::new()));
}

#[test]
fn a_crowd_may_receive_the_last_job_before_its_202() {
    let report = crowd(&Stage::with_log(Flaw::AnswersAfterEnd));
    assert_eq!(report["ends"], 20 * 41, "{report}");
}

#[test]
fn a_crowd_whose_sockets_are_closed_comes_back_and_misses_nothing() {
    let report = crowd(&Stage::with_log(Flaw::ClosesSockets));
    for (key, expected) in [("ends", 20 * 41), ("missed", 0), ("unread", 0)] {
        assert_eq!(report[key], expected, "{key} in {report}");
    }
    let seconds = report["reopened_by_second"].as_array().expect("counts");
    let reopened: u64 = seconds.iter().filter_map(Value::as_u64).sum();
    assert_eq!(reopened, 20, "{report}");
}

#[test]
fn a_crowd_finds_what_one_socket_missed() {
    let report = crowd(&Stage::with_log(Flaw::SkipsOnce));
    assert_eq!(report["missed"], 1, "{report}");
}

"""Unused and forbidden dependencies are found."""

from pathlib import Path

from dependencies import FORBIDDEN, forbidden, unused


def test_a_dependency_that_no_code_names_is_unused(tmp_path: Path) -> None:
    package = tmp_path / "crate"
    (package / "src").mkdir(parents=True)
    (package / "tests").mkdir()
    (package / "Cargo.toml").write_text("""
[dependencies]
serde-json.workspace = true
only-in-tests = "1"
only-in-a-comment = "1"

[dev-dependencies]
tested = "1"
forgotten = "1"
""")
    (package / "src/lib.rs").write_text("// only_in_a_comment\nuse serde_json::Value;\n")
    (package / "tests/all.rs").write_text("use only_in_tests::X;\nuse tested::Y;\n")
    assert list(unused(package)) == [
        "crate: only-in-tests is in [dependencies] and is not used",
        "crate: only-in-a-comment is in [dependencies] and is not used",
        "crate: forgotten is in [dev-dependencies] and is not used",
    ]


def test_a_forbidden_crate_is_found_by_its_whole_name() -> None:
    tree = "protocol v0.1.0 (/crates/protocol)\nserde v1.0.228\ntokio v1.54.1\ntokio-util v0.7.20"
    assert forbidden(tree, FORBIDDEN["protocol", "normal"]) == ["tokio v1.54.1"]


def test_a_role_that_web_does_not_have_is_forbidden() -> None:
    tree = 'web v0.1.0 (/services/web)\nqueue feature "submitter"\nqueue feature "worker"\nqueue feature "jetstream"'
    assert forbidden(tree, FORBIDDEN["web", "normal,features"]) == ['queue feature "worker"']

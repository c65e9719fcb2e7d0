"""Promises without a test, and tests that do not exist, are found."""

from pathlib import Path

from promises import complaints

DOCUMENT = """# Promises

**Invariant:** nothing is lost, on any
kind of queue. Tested by [`nothing_is_lost`](tests/all.rs) and [`a_job_has_one_end`](tests/all.rs).

**Invariant:** nothing happens twice.

| threat | protection | tested by |
|---|---|---|
| a stranger | a wall | [`test_a_wall`](tests/test_all.py) |
| a friend | `none` | see above |
| an expert | a rule | [`no_sleep`](rules.toml), [`no_wait`](rules.toml) |

| what | why |
|---|---|
| not a promise | it names nothing |
"""


def test_promises_without_a_test_and_tests_that_do_not_exist_are_found(tmp_path: Path) -> None:
    document = tmp_path / "PROMISES.md"
    document.write_text(DOCUMENT, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    # The second test is made by a macro.
    code = "async fn nothing_is_lost() {}\nmacro! {\n    a_job_has_one_end(stage) {\n}}\n"
    (tmp_path / "tests/all.rs").write_text(code, encoding="utf-8")
    (tmp_path / "tests/test_all.py").write_text("def test_a_wall_of_stone() -> None: ...\n", encoding="utf-8")
    (tmp_path / "rules.toml").write_text("no_sleep = true\n", encoding="utf-8")
    assert list(complaints(document)) == [
        "PROMISES.md names no test of: **Invariant:** nothing happens twice.",
        "PROMISES.md: there is no test_a_wall in tests/test_all.py",
        "PROMISES.md names no test of: | a friend | `none` | see above |",
        "PROMISES.md: there is no no_wait in rules.toml",
    ]

"""Import cycles are found whether a file names another by `use`, by path or through a re-export."""

from pathlib import Path

import pytest
from import_cycles import cycles, imports, leaves, load, main


def crate(top: Path, files: dict[str, str]) -> Path:
    (top / "Cargo.toml").write_text("[package]\n")
    for name, code in files.items():
        file = top / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return top


def found(top: Path) -> list[set[str]]:
    root = top / "src/lib.rs"
    return [{file.name for file in cycle} for cycle in cycles(imports(load(root, root.parent)))]


@pytest.mark.parametrize(
    "back",
    [
        "use crate::a::A;",
        "use super::a::A;",
        "use crate::{b, a::{self, A as Other}};",
        "pub(crate) use crate::a::*;",
        "fn f() -> super::a::A { todo!() }",
        "fn f() { use crate::a::A; }",
        "mod inner { use super::super::a::A; }",
        "use crate::A;",
    ],
)
def test_two_files_that_name_each_other_are_a_cycle(tmp_path: Path, back: str) -> None:
    lib = "mod a;\nmod b;\npub use a::A;\n"
    top = crate(tmp_path, {"lib.rs": lib, "a.rs": "use crate::b::B; pub struct A;", "b.rs": f"pub struct B; {back}"})
    assert found(top) == [{"a.rs", "b.rs"}]
    assert main(top) == 1


def test_a_cycle_may_lead_through_many_files_and_folders(tmp_path: Path) -> None:
    files = {
        "lib.rs": "mod a; mod c;",
        "a.rs": "mod b; pub(crate) use b::B;",
        "a/b.rs": "use crate::c::C; pub(crate) struct B;",
        "c.rs": "use crate::a; pub(crate) struct C; fn f(b: a::B) {}",
    }
    assert found(crate(tmp_path, files)) == [{"a.rs", "b.rs", "c.rs"}]


def test_a_parent_and_a_child_that_use_each_other_are_a_cycle(tmp_path: Path) -> None:
    files = {"lib.rs": "mod a; pub struct Error; fn f() { a::g() }", "a.rs": "use crate::Error; pub(crate) fn g() {}"}
    assert found(crate(tmp_path, files)) == [{"lib.rs", "a.rs"}]


@pytest.mark.parametrize(
    "a",
    [
        "use std::fmt; use serde::Serialize;",
        "// use crate::b::B;",
        "/* use crate::b::B; */",
        'const S: &str = "use crate::b::B;";',
        'const S: &str = r#"crate::b::B"#;',
        "mod b { pub struct B; } use b::B;",
        "use self::A as Own; pub struct A; #[cfg(test)] mod tests { use super::*; }",
        "use crate::C;",
    ],
)
def test_what_does_not_import_b_closes_no_cycle(tmp_path: Path, a: str) -> None:
    lib = "mod a; mod b; mod c; pub use b::B; pub use c::C;"
    files = {"lib.rs": lib, "a.rs": a, "b.rs": "use crate::a::A; pub struct B;", "c.rs": "pub struct C;"}
    top = crate(tmp_path, files)
    assert found(top) == []
    assert main(top) == 0


def test_a_use_tree_is_split_into_paths_and_names() -> None:
    assert dict(leaves("crate::{a::{self, B}, c::D as E, f::*}")) == {
        ("crate", "a"): "a",
        ("crate", "a", "B"): "B",
        ("crate", "c", "D"): "E",
        ("crate", "f"): "f",
    }


def test_a_place_without_crates_is_an_error(tmp_path: Path) -> None:
    assert main(tmp_path) == 1

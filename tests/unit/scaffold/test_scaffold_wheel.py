from __future__ import annotations

import shutil
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from etl_cli.scaffold.origin import find_origin
from etl_cli.scaffold.wheel import Wheel, WheelError, own_wheel, pack


@pytest.fixture(scope="session")
def built(checkout: Path) -> Wheel:
    return own_wheel(find_origin(checkout / "etl_cli"))


def names(wheel: Wheel) -> set[str]:
    with zipfile.ZipFile(BytesIO(wheel.content)) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_the_same_checkout_gives_the_same_bytes_wherever_it_lies(checkout: Path, built: Wheel, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other)
    for path in other.rglob("*.py"):
        path.touch()
        path.chmod(0o600)
    (other / "etl_cli" / "__pycache__").mkdir(exist_ok=True)
    (other / "etl_cli" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert own_wheel(find_origin(other / "etl_cli")) == built


def test_an_edit_gives_other_bytes(checkout: Path, built: Wheel, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other)
    (other / "templates" / "pipeline" / "etl.py.j2").write_text("# changed\n")
    assert own_wheel(find_origin(other / "etl_cli")).content != built.content


def test_it_carries_the_templates_and_the_pins_so_that_it_can_generate(built: Wheel, checkout: Path) -> None:
    expected = {f"etl_cli/templates/pipeline/{path.name}" for path in (checkout / "templates" / "pipeline").iterdir()}
    assert expected | {"etl_cli/templates/constraints.txt", "etl_cli/scaffold/generate.py"} <= names(built)
    assert not any("__pycache__" in name for name in names(built))


def test_it_holds_nothing_of_the_machine_that_built_it(built: Wheel, checkout: Path) -> None:
    assert str(checkout).encode() not in built.content
    assert built.name == "etl_cli-0.1.0-py3-none-any.whl"


def test_a_checkout_that_cannot_be_built_is_one_clear_line(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(checkout, other)
    (other / "README.md").unlink()
    with pytest.raises(WheelError, match="cannot be built") as raised:
        own_wheel(find_origin(other / "etl_cli"))
    assert len(str(raised.value).splitlines()) == 1


def test_a_checkout_without_hatchling_says_what_to_install(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hatchling.builders.wheel", None)
    with pytest.raises(WheelError, match="pip install hatchling"):
        own_wheel(find_origin(checkout / "etl_cli"))


def test_a_package_that_was_merely_copied_says_how_to_install_it(checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout / "etl_cli", tmp_path / "etl_cli")
    shutil.copytree(checkout / "templates", tmp_path / "etl_cli" / "templates")
    with pytest.raises(WheelError, match="install etl-cli again"):
        own_wheel(find_origin(tmp_path / "etl_cli"))


def test_the_order_of_the_entries_does_not_matter() -> None:
    entries = {
        "x-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "x/b.py": b"b",
        "x-1.dist-info/METADATA": b"Name: x\n",
        "x/a.py": b"a",
    }
    wheel = pack(entries)
    assert wheel.name == "x-1-py3-none-any.whl"
    assert wheel == pack(dict(reversed(entries.items())))

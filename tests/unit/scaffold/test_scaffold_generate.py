"""What `generate` does to a directory: new, partial, edited, copied, forced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import UsageError
from etl_cli.scaffold import Action, Outcome
from etl_cli.scaffold.wheel import Wheel

Make = Callable[..., Outcome]
Snapshot = Callable[[], dict[str, tuple[bytes, int]]]


def actions(outcome: Outcome) -> dict[str, Action]:
    return {change.path: change.action for change in outcome.changes}


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    assert error.value.exit_code == 2
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_env_is_readable_by_its_owner_alone(make: Make) -> None:
    assert (make().directory / ".env").stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_pipeline_is_left_behind(make: Make, root: Path) -> None:
    make()
    assert [path.name for path in root.iterdir()] == ["pipelines"]
    assert [path.name for path in (root / "pipelines").iterdir()] == ["orders"]


@pytest.mark.parametrize("force", [False, True])
def test_a_dry_run_writes_nothing_and_tells_what_would_happen(force: bool, make: Make, snapshot: Snapshot) -> None:
    would = make(dry_run=True, force=force)
    assert snapshot() == {}
    assert actions(would) == actions(make(force=force))
    assert would.dry_run


def test_a_dry_run_over_an_edited_pipeline_writes_nothing(make: Make, snapshot: Snapshot) -> None:
    directory = make().directory
    (directory / "etl.py").write_text("# mine\n")
    before = snapshot()
    would = make(dry_run=True, force=True)
    assert snapshot() == before
    assert actions(would)["etl.py"] is Action.OVERWRITE
    assert actions(would)["etl.py.bak"] is Action.BACKUP


def test_a_name_that_exists_is_one_clear_line_and_changes_nothing(make: Make, snapshot: Snapshot) -> None:
    make()
    before = snapshot()
    with pytest.raises(UsageError) as raised:
        make()
    assert "pipeline orders exists" in one_line(raised)
    assert "--force" in one_line(raised)
    assert snapshot() == before


@pytest.mark.parametrize("tables", [(), ("dbo.orders",)])
def test_the_same_answers_again_are_identical(tables: tuple[str, ...], make: Make, snapshot: Snapshot) -> None:
    make(tables=tables)
    before = snapshot()
    again = make(tables=tables, force=True)
    assert set(actions(again).values()) == {Action.IDENTICAL}
    assert snapshot() == before


def test_made_again_it_keeps_its_id_and_its_tables(make: Make) -> None:
    first = make(tables=("dbo.orders",))
    again = make(force=True)
    assert again.answers.id == first.answers.id
    assert again.answers.tables == ("dbo.orders",)
    changed = make(tables=("dbo.customers",), force=True)
    assert changed.answers.id == first.answers.id
    assert [table.source for table in load_config(changed.directory, {}).tables] == ["dbo.customers"]


def test_what_nobody_edited_is_updated_without_a_copy(make: Make) -> None:
    directory = make(tables=("dbo.orders",)).directory
    outcome = make(tables=("dbo.customers",), force=True)
    assert actions(outcome)["config.yaml"] is Action.UPDATE
    assert not list(directory.glob("*.bak*"))


def test_the_id_in_config_yaml_is_the_one_that_counts(make: Make) -> None:
    outcome = make()
    config = outcome.directory / "config.yaml"
    config.write_text(config.read_text().replace(outcome.answers.id, "0badcafe"))
    assert make(force=True).answers.id == "0badcafe"


def test_force_overwrites_an_edited_file_and_keeps_a_copy(make: Make) -> None:
    directory = make().directory
    (directory / "etl.py").write_text("# mine\n")
    outcome = make(force=True)
    assert "Pipeline.load" in (directory / "etl.py").read_text()
    assert (directory / "etl.py.bak").read_text() == "# mine\n"
    assert outcome.notes == ("etl.py is written anew; what it held is kept in etl.py.bak",)


def test_force_never_loses_secrets_silently_not_even_the_second_time(make: Make) -> None:
    directory = make().directory
    for secret in ("first", "second"):
        (directory / ".env").write_text(f"SINK_DB_PASSWORD={secret}\n")
        outcome = make(force=True)
        assert any(".env is written anew" in note for note in outcome.notes)
    kept = {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in directory.glob(".env.bak*")}
    assert kept == {
        ".env.bak": ("SINK_DB_PASSWORD=first\n", 0o600),
        ".env.bak1": ("SINK_DB_PASSWORD=second\n", 0o600),
    }


def test_the_copies_of_secrets_are_neither_committed_nor_sent_to_docker(make: Make) -> None:
    directory = make().directory
    for name in (".gitignore", ".dockerignore"):
        assert {".env", "*.bak", "*.bak[0-9]*"} <= set((directory / name).read_text().split())


def test_a_clone_without_env_and_vendor_is_completed_and_keeps_every_edit(make: Make) -> None:
    first = make(tables=("dbo.orders",))
    directory = first.directory
    (directory / ".env").unlink()
    (directory / "vendor" / "etl_cli-0.1.0-py3-none-any.whl").unlink()
    (directory / "vendor").rmdir()
    (directory / "etl.py").write_text("# mine\n")
    outcome = make()
    assert actions(outcome)[".env"] is Action.CREATE
    assert actions(outcome)["vendor/etl_cli-0.1.0-py3-none-any.whl"] is Action.CREATE
    assert actions(outcome)["etl.py"] is Action.CONFLICT
    assert (directory / "etl.py").read_text() == "# mine\n"
    assert (directory / ".env").stat().st_mode & 0o777 == 0o600
    assert load_config(directory, {}).id == first.answers.id


def test_completing_a_pipeline_keeps_its_secrets(make: Make) -> None:
    directory = make().directory
    (directory / ".env").write_text("SINK_DB_PASSWORD=secret\n")
    (directory / "README.md").unlink()
    assert actions(make())[".env"] is Action.KEEP
    assert (directory / ".env").read_text() == "SINK_DB_PASSWORD=secret\n"


def test_a_pipeline_without_its_record_is_known_by_its_config(make: Make) -> None:
    first = make(tables=("dbo.orders",))
    (first.directory / ".etl-cli.json").unlink()
    outcome = make()
    assert (outcome.answers.id, outcome.answers.tables) == (first.answers.id, ("dbo.orders",))
    assert json.loads((first.directory / ".etl-cli.json").read_text())["id"] == first.answers.id


def test_a_broken_record_makes_edited_files_conflicts_and_loses_nothing(make: Make) -> None:
    first = make(tables=("dbo.orders",))
    (first.directory / ".etl-cli.json").write_text("<<<<<<< HEAD\n")
    (first.directory / ".env").unlink()
    outcome = make()
    assert outcome.answers.id == first.answers.id
    assert actions(outcome)[".etl-cli.json"] is Action.UPDATE


def test_tables_for_a_pipeline_that_exists_are_not_dropped_silently(make: Make) -> None:
    directory = make(tables=("dbo.orders",)).directory
    (directory / ".env").unlink()
    with pytest.raises(UsageError) as raised:
        make(tables=("dbo.customers",))
    assert "edit `tables` in pipelines/orders/config.yaml" in one_line(raised)


def test_a_directory_copied_from_another_pipeline_gets_an_id_of_its_own(make: Make, root: Path) -> None:
    first = make()
    first.directory.rename(root / "pipelines" / "copied")
    with pytest.raises(UsageError) as raised:
        make("copied")
    assert "is a copy of the pipeline orders" in one_line(raised)
    assert make("copied", force=True).answers.id != first.answers.id


def test_a_directory_of_something_else_is_left_alone(make: Make, root: Path, snapshot: Snapshot) -> None:
    (root / "pipelines" / "orders").mkdir(parents=True)
    (root / "pipelines" / "orders" / ".env").write_text("SINK_DB_PASSWORD=secret\n")
    before = snapshot()
    with pytest.raises(UsageError) as raised:
        make()
    assert "is not a pipeline that generate made" in one_line(raised)
    assert snapshot() == before


def test_force_writes_into_a_directory_of_something_else_and_keeps_what_was_there(make: Make, root: Path) -> None:
    directory = root / "pipelines" / "orders"
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("mine")
    (directory / "config.yaml").write_text("mine: too\n")
    make(force=True)
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "config.yaml.bak").read_text() == "mine: too\n"
    load_config(directory, {})


def test_an_empty_directory_counts_as_none(make: Make, root: Path) -> None:
    (root / "pipelines" / "orders").mkdir(parents=True)
    assert set(actions(make()).values()) == {Action.CREATE}


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_name_that_is_no_directory_is_refused(kind: str, make: Make, root: Path) -> None:
    (root / "pipelines").mkdir()
    path = root / "pipelines" / "orders"
    path.write_text("") if kind == "file" else path.symlink_to("gone")
    with pytest.raises(UsageError) as raised:
        make(force=True)
    assert "is not a directory" in one_line(raised)


def test_a_directory_where_a_file_should_be_is_refused(make: Make) -> None:
    directory = make().directory
    (directory / "etl.py").unlink()
    (directory / "etl.py").mkdir()
    with pytest.raises(UsageError, match="is a directory and should be a file"):
        make(force=True)


def test_a_link_to_secrets_elsewhere_stays_a_link(make: Make, root: Path) -> None:
    directory = make().directory
    (root / "secrets").write_text("SINK_DB_PASSWORD=secret\n")
    (directory / ".env").unlink()
    (directory / ".env").symlink_to(root / "secrets")
    assert actions(make(force=True))[".env"] is Action.KEEP
    assert (directory / ".env").is_symlink()
    assert (root / "secrets").read_text() == "SINK_DB_PASSWORD=secret\n"


def test_loose_permissions_of_the_secrets_are_mended(make: Make) -> None:
    directory = make().directory
    (directory / ".env").chmod(0o644)
    make(force=True)
    assert (directory / ".env").stat().st_mode & 0o777 == 0o600


def test_a_newer_wheel_replaces_the_old_one_by_force(make: Make) -> None:
    directory = make().directory
    outcome = make(force=True, wheel=Wheel("etl_cli-0.1.0-py3-none-any.whl", b"newer"))
    assert actions(outcome)["vendor/etl_cli-0.1.0-py3-none-any.whl"] is Action.UPDATE
    assert (directory / "vendor" / "etl_cli-0.1.0-py3-none-any.whl").read_bytes() == b"newer"


def test_edited_requirements_that_lack_the_wheel_are_told(make: Make) -> None:
    directory = make().directory
    (directory / "requirements.txt").write_text("./vendor/etl_cli-0.0.9-py3-none-any.whl\npolars==1\n")
    (directory / ".env").unlink()
    notes = make().notes
    assert notes == ("requirements.txt was edited and is kept: name ./vendor/etl_cli-0.1.0-py3-none-any.whl in it",)


def test_the_upgrade_that_the_readme_describes_keeps_every_edit(make: Make) -> None:
    directory = make().directory
    (directory / "etl.py").write_text("# mine\n")
    (directory / "vendor" / "etl_cli-0.1.0-py3-none-any.whl").unlink()
    make(wheel=Wheel("etl_cli-0.2.0-py3-none-any.whl", b"newer"))
    assert "./vendor/etl_cli-0.2.0-py3-none-any.whl" in (directory / "requirements.txt").read_text()
    assert (directory / "etl.py").read_text() == "# mine\n"


def test_the_record_holds_answers_and_digests_but_nothing_of_the_secrets(make: Make) -> None:
    outcome = make(tables=("dbo.orders",))
    record = json.loads((outcome.directory / ".etl-cli.json").read_text())
    assert record["name"] == "orders"
    assert record["id"] == outcome.answers.id
    assert record["tables"] == ["dbo.orders"]
    assert record["version"] == outcome.answers.version
    assert "etl.py" in record["files"]
    assert not {".env", "vendor/etl_cli-0.1.0-py3-none-any.whl"} & set(record["files"])


def test_a_pipeline_of_a_team_s_template_is_not_made_again_from_another(make: Make, tmp_path: Path) -> None:
    template = tmp_path / "team"
    template.mkdir()
    (template / "etl.py.j2").write_text("# {{ name }}\n")
    (template / "config.yaml.j2").write_text('name: {{ name }}\nid: "{{ id }}"\n')
    make(template=template)
    with pytest.raises(UsageError) as raised:
        make(force=True)
    assert "made from the template team" in one_line(raised)
    assert set(actions(make(force=True, template=template)).values()) == {Action.IDENTICAL}


def test_a_built_in_pipeline_is_not_made_again_from_a_team_s_template(make: Make, tmp_path: Path) -> None:
    make()
    template = tmp_path / "pipeline"
    template.mkdir()
    with pytest.raises(UsageError) as raised:
        make(force=True, template=template)
    assert one_line(raised).endswith("not pipeline: leave out --template")


def test_a_template_may_not_write_the_record(make: Make, tmp_path: Path) -> None:
    for name in ("etl.py", "config.yaml", ".etl-cli.json"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"holds \.etl-cli\.json"):
        make(template=tmp_path)

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from etl_cli.runtime.config import load_config
from etl_cli.runtime.config.model import Config
from etl_cli.scaffold import Answers, Outcome
from etl_cli.scaffold.origin import find_origin
from etl_cli.scaffold.render import RenderError, render

Make = Callable[..., Outcome]


def team_template(directory: Path, **files: str) -> Path:
    for name, text in {"etl.py.j2": "", "config.yaml.j2": "name: {{ name }}\n", **files}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def rendered(template: Path) -> dict[str, bytes]:
    builtin = find_origin().templates / "pipeline"
    files = render(Answers("my-orders", id="0badcafe"), template, builtin, {"pins": ("a==1",), "wheel": "w.whl"})
    return {path: file.content for path, file in files.items()}


def test_a_pipeline_has_all_its_files(make: Make) -> None:
    directory = make().directory
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert files == {
        "etl.py", "config.yaml", ".env", ".env.template", "Dockerfile", ".dockerignore", ".gitignore",
        "requirements.txt", "README.md", ".etl-cli.json", "vendor/etl_cli-0.1.0-py3-none-any.whl",
    }  # fmt: skip


def test_etl_py_is_read_at_a_glance_and_valid_even_with_a_dash_in_the_name(make: Make) -> None:
    text = (make("my-orders").directory / "etl.py").read_text()
    assert len(text.splitlines()) <= 25
    assert "Pipeline.load(__file__)" in ast.unparse(ast.parse(text))


def test_etl_py_passes_ruff(make: Make) -> None:
    settings = find_origin().templates.parent / "pyproject.toml"
    etl_py = make("my-orders").directory / "etl.py"
    for verb in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *verb, "--config", str(settings), "--no-cache", str(etl_py)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_etl_py_passes_mypy_strict(make: Make, tmp_path: Path) -> None:
    etl_py = make("my-orders").directory / "etl.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}/mypy"]
    checkout = find_origin().templates.parent
    done = subprocess.run([*command, str(etl_py)], capture_output=True, text=True, check=False, cwd=checkout)
    assert done.returncode == 0, done.stdout


def test_config_yaml_is_valid_with_the_environment_that_comes_with_it(make: Make) -> None:
    outcome = make("my-orders", ("dbo.orders", "sales.*", "dbo.Order Details"))
    config = load_config(outcome.directory, {})
    assert (config.name, config.id) == ("my-orders", outcome.answers.id)
    assert [table.source for table in config.tables] == ["dbo.orders", "sales.*", "dbo.Order Details"]
    assert [shard.port for shard in config.source.shards] == [1433, 1434, 1435, 1436]
    assert config.source.trust_server_certificate
    assert config.source.password is not None
    assert config.source.password.get_secret_value() == "YourStrong@Passw0rd"


def test_config_yaml_spells_the_defaults_as_they_are(make: Make) -> None:
    outcome = make()
    written = load_config(outcome.directory, {})
    minimal = Config.model_validate(
        {
            "name": "orders",
            "id": outcome.answers.id,
            "source": {"database": "sourcedb", "shards": [{"name": "s", "host": "h"}]},
            "sink": {"user": "u", "database": "sinkdb"},
            "tables": [{"source": "dbo.customers"}],
        }
    )
    own = {"id", "schedule", "source", "sink", "tables"}
    assert written.model_dump(exclude=own) == minimal.model_dump(exclude=own)
    assert written.tables[0] == minimal.tables[0]
    given = {"user", "password", "database", "shards", "trust_server_certificate"}
    assert written.source.model_dump(exclude=given) == minimal.source.model_dump(exclude=given)
    assert written.sink.model_dump(exclude=given) == minimal.sink.model_dump(exclude=given)


def test_config_yaml_names_every_key_that_there_is(make: Make) -> None:
    text = (make().directory / "config.yaml").read_text()
    sections = [Config, *(field.annotation for field in Config.model_fields.values())]
    names = {
        field.alias or name
        for section in sections
        if isinstance(section, type) and hasattr(section, "model_fields")
        for name, field in section.model_fields.items()
    }
    assert not {name for name in names if f"{name}:" not in text}


@pytest.mark.parametrize("own_id", ["00001234", "12345678", "1234e567", "0badcafe"])
def test_an_id_that_yaml_could_read_as_a_number_stays_text(own_id: str) -> None:
    template = find_origin().templates / "pipeline"
    files = render(Answers("orders", id=own_id), template, template, {"pins": (), "wheel": "w.whl"})
    assert yaml.safe_load(files["config.yaml"].content)["id"] == own_id


def test_without_tables_it_shows_the_shop_of_the_sandbox(make: Make) -> None:
    tables = load_config(make().directory, {}).tables
    assert [table.source for table in tables] == ["dbo.customers", "dbo.orders", "dbo.order_lines", "dbo.events"]
    assert {table.mode for table in tables} == {"replace"}


def test_hosts_and_ports_follow_the_environment_alone(make: Make) -> None:
    ports = {"SHARD1_PORT": "11433", "SINK_DB_PORT": "15432", "SOURCE_DB_HOST": "db.example"}
    config = load_config(make().directory, ports)
    assert config.source.shards[0].port == 11433
    assert {shard.host for shard in config.source.shards} == {"db.example"}
    assert config.sink.port == 15432


def test_the_env_template_has_the_same_keys_and_no_passwords(make: Make) -> None:
    directory = make().directory
    values, template = dotenv_values(directory / ".env"), dotenv_values(directory / ".env.template")
    assert list(values) == list(template)
    assert values == {
        "SOURCE_DB_HOST": "localhost",
        "SOURCE_DB_USER": "sa",
        "SOURCE_DB_PASSWORD": "YourStrong@Passw0rd",
        "SOURCE_DB_NAME": "sourcedb",
        "SOURCE_DB_TRUST_CERTIFICATE": "true",
        "SINK_DB_HOST": "localhost",
        "SINK_DB_USER": "etl_user",
        "SINK_DB_PASSWORD": "etl_password",
        "SINK_DB_NAME": "sinkdb",
    }
    assert not any(value for key, value in template.items() if key.endswith("PASSWORD"))
    for path in directory.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert b"YourStrong@Passw0rd" not in path.read_bytes()


def test_requirements_are_exact_and_name_the_wheel_by_a_relative_path(make: Make) -> None:
    lines = (make().directory / "requirements.txt").read_text().splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    assert entries[0] == "./vendor/etl_cli-0.1.0-py3-none-any.whl"
    assert len(entries) > 30
    assert all(entry.count("==") == 1 for entry in entries[1:])


def test_a_team_s_template_gets_the_same_answers_and_keeps_its_other_files(tmp_path: Path) -> None:
    template = team_template(
        tmp_path,
        **{
            "sql/{report}.sql": "select '{{ name }}'",
            "docs/on call.md.j2": "{{ name }} {{ id }} {{ wheel }} {{ pins }}",
        },
    )
    (tmp_path / "logo.bin").write_bytes(b"\x00\xff{{ name }}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("not part of the template")
    files = rendered(template)
    assert files["sql/{report}.sql"] == b"select '{{ name }}'"
    assert files["docs/on call.md"] == b"my-orders 0badcafe w.whl ('a==1',)"
    assert files["logo.bin"] == b"\x00\xff{{ name }}"
    assert set(files) == {"etl.py", "config.yaml", "sql/{report}.sql", "docs/on call.md", "logo.bin"}


def test_a_team_s_template_can_build_on_the_built_in_one(tmp_path: Path) -> None:
    template = team_template(tmp_path, **{"Dockerfile.j2": '{% include "builtin/Dockerfile.j2" %}# ours\n'})
    assert rendered(template)["Dockerfile"].endswith(b'"run"]\n# ours\n')


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt.j2": "{{ nmae }}"}, "'nmae' is undefined: a template knows id, name, pins"),
        ({"a.txt.j2": "one\n{{ name"}, "a.txt.j2:2: "),
        ({"a.txt.j2": "{% if nmae %}{% endif %}"}, "'nmae' is undefined"),
        ({"a.txt.j2": "", "a.txt": ""}, "both a.txt and a.txt.j2"),
        ({"a.txt.j2": '{% include "gone.j2" %}'}, "gone.j2"),
    ],
)
def test_a_bad_template_is_one_clear_line_and_exit_code_2(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(RenderError) as raised:
        rendered(team_template(tmp_path, **files))
    assert message in str(raised.value)
    assert raised.value.exit_code == 2
    assert len(str(raised.value).splitlines()) == 1


def test_a_template_without_etl_py_or_without_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="does not exist"):
        rendered(tmp_path / "gone")
    (tmp_path / "config.yaml").write_text("name: x")
    with pytest.raises(RenderError, match=r"has no etl\.py"):
        rendered(tmp_path)

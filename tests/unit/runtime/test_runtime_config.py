"""config.yaml and .env: what is read, what is refused, and that every refusal says where and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.errors import ConfigError

MINIMAL = """\
name: orders
id: 7f3a9c1e
source:
  user: reader
  password: ${SOURCE_DB_PASSWORD:-source-secret}
  database: sourcedb
  shards:
    - {name: shard1, host: one}
sink:
  user: writer
  password: ${SINK_DB_PASSWORD:-sink-secret}
  database: sinkdb
"""
NO_VARIABLES: Mapping[str, str] = {}

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load(more YAML, env file, environment, instead of MINIMAL)."""

    def load(
        more: str = "", env: str | None = None, environment: Mapping[str, str] = NO_VARIABLES, text: str = MINIMAL
    ) -> Config:
        (tmp_path / "config.yaml").write_text(text + more, encoding="utf-8")
        if env is not None:
            (tmp_path / ".env").write_text(env, encoding="utf-8")
        return load_config(tmp_path, environment)

    return load


def refusal(load: Load, *arguments: str, **options: object) -> str:
    """The text of the error, without the file's directory."""
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **options)
    assert caught.value.exit_code == 2
    return re.sub(r"\S*/(config\.yaml|\.env)", r"\1", str(caught.value))


# what is read


def test_the_smallest_configuration_has_the_documented_defaults(load: Load) -> None:
    config = load("tables: [{source: dbo.orders}]\n")
    table = config.tables[0]
    assert (config.timezone, config.catchup, config.overlap, config.schedule) == ("UTC", "latest", "skip", None)
    assert (config.stop_grace, config.stall_timeout, config.resume_within) == (20, 600, 86400)
    assert (config.error_handling.max_retries, config.error_handling.max_retry_delay) == (3, 900)
    assert (config.connection.retries, config.connection.timeout) == (3, 15)
    assert (config.source.encrypt, config.source.trust_server_certificate, config.source.isolation) == (
        True,
        False,
        "auto",
    )
    assert (config.sink.host, config.sink.port, config.sink.schema_, config.sink.sslmode) == (
        "localhost",
        5432,
        "public",
        "prefer",
    )
    assert (table.mode, table.names, table.apply, table.shard_column) == ("replace", "fold", "auto", "shard")
    assert (table.chunk_rows, table.chunk_bytes, table.validate_, table.allow_empty) == (
        100_000,
        64_000_000,
        "counts",
        False,
    )


def test_defaults_hold_for_every_table_and_give_way_to_its_own_keys(load: Load) -> None:
    config = load(
        "defaults: {chunk_rows: 5, validate: none, schema: freeze}\n"
        "tables: [{source: dbo.a}, {source: dbo.b, chunk_rows: 7}]\n"
    )
    assert [(t.chunk_rows, t.validate_, t.schema_) for t in config.tables] == [
        (5, "none", "freeze"),
        (7, "none", "freeze"),
    ]


@pytest.mark.parametrize("written", ['"12345678"', "12345678", "00000000", '"00000017"', "1234e567", "89abcdef"])
def test_an_id_is_text_whatever_yaml_takes_it_for(load: Load, written: str) -> None:
    assert load(text=MINIMAL.replace("7f3a9c1e", written)).id == written.strip('"')


@pytest.mark.parametrize("written", ["00000017", "01234567", "0b101010"])
def test_an_id_of_octal_or_binary_digits_stays_itself(load: Load, written: str) -> None:
    assert load(text=MINIMAL.replace("7f3a9c1e", written)).id == written


def test_one_name_may_stand_for_a_list_of_one(load: Load) -> None:
    table = load("tables: [{source: dbo.orders, key: id, columns: [id, total]}]\n").tables[0]
    assert (table.key, table.columns) == (["id"], ["id", "total"])


def test_lookback_is_a_duration_or_a_whole_number(load: Load) -> None:
    config = load("tables: [{source: dbo.a, lookback: 15m}, {source: dbo.b, lookback: 1000}]\n")
    assert [table.lookback for table in config.tables] == [900.0, 1000]


def test_a_date_without_quotes_is_an_instant(load: Load) -> None:
    config = load("start_at: 2026-01-31\nend_at: 2026-02-01 06:00:00\n")
    assert (config.start_at, config.end_at) == ("2026-01-31", "2026-02-01T06:00:00")


def test_numbers_and_truth_values_may_come_from_variables(load: Load) -> None:
    text = MINIMAL.replace("database: sinkdb", "database: sinkdb\n  port: ${PORT}").replace(
        "host: one}", 'host: one, port: "${SHARD_PORT:-1444}"}'
    )
    config = load(
        "fail_fast: ${FAST}\nmax_resumptions: ${N:-7}\njitter: ${JITTER}\n",
        environment={"PORT": "5433", "FAST": "false", "JITTER": "90s"},
        text=text,
    )
    assert (config.sink.port, config.source.shards[0].port) == (5433, 1444)
    assert (config.fail_fast, config.max_resumptions, config.jitter) == (False, 7, 90)


def test_anchors_and_merge_keys_work(load: Load) -> None:
    config = load("tables:\n  - &first {source: dbo.a, chunk_rows: 5}\n  - {<<: *first, source: dbo.b}\n")
    assert [(t.source, t.chunk_rows) for t in config.tables] == [("dbo.a", 5), ("dbo.b", 5)]


def test_the_key_on_and_the_shard_no_are_no_truth_values(load: Load) -> None:
    text = MINIMAL.replace("name: shard1", "name: NO")
    config = load("alerts: {on: [failure]}\nfail_fast: false\n", text=text)
    assert (config.alerts.on, config.source.shards[0].name, config.fail_fast) == (["failure"], "NO", False)


def test_the_documented_key_alerts_on_needs_no_quotes(load: Load) -> None:
    assert load("alerts: {urls: [], on: [failure, recovery]}\n").alerts.on == ["failure", "recovery"]


def test_a_configuration_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().name = "other"  # type: ignore[misc]


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_config(tmp_path, {}).name == "orders"


# .env and the environment


def test_env_gives_variables_and_the_process_overrules_it(load: Load) -> None:
    text = MINIMAL.replace("reader", "${A}").replace("writer", "${B}")
    config = load(text=text, env="A=from file\nB=from file\n", environment={"B": "from process"})
    assert (config.source.user, config.sink.user) == ("from file", "from process")


def test_the_own_environment_is_used_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_TEST_USER", "from process")
    (tmp_path / "config.yaml").write_text(MINIMAL.replace("reader", "${ETL_TEST_USER}"))
    assert load_config(tmp_path).source.user == "from process"


def test_env_values_are_taken_literally(load: Load) -> None:
    env = "SINK_DB_PASSWORD='a$b${c}#d \"e\"'\nSOURCE_DB_PASSWORD=plain$HOME\nexport OTHER=1\n# comment\n"
    config = load(env=env, environment={"HOME": "/root"})
    assert config.sink.password == SecretStr('a$b${c}#d "e"')
    assert config.source.password == SecretStr("plain$HOME")


def test_under_systemd_the_credential_stands_in_for_env(load: Load, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "env").write_text("A=from credential\n")
    text = MINIMAL.replace("reader", "${A}")
    config = load(text=text, env="A=from file\n", environment={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert config.source.user == "from credential"


def test_credentials_without_env_leave_the_file_in_force(load: Load, tmp_path: Path) -> None:
    text = MINIMAL.replace("reader", "${A}")
    config = load(text=text, env="A=from file\n", environment={"CREDENTIALS_DIRECTORY": str(tmp_path / "none")})
    assert config.source.user == "from file"


def test_env_may_begin_with_a_byte_order_mark(load: Load) -> None:
    assert load(text=MINIMAL.replace("reader", "${A}"), env="\ufeffA=user\n").source.user == "user"


def test_env_in_another_encoding_is_refused_by_name(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("A=grün\n".encode("latin-1"))
    assert ".env" in refusal(load)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_env_that_may_not_be_read_is_refused_by_name(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".env").chmod(0)
    assert ".env cannot be read" in refusal(load)


# what is refused


def test_an_unset_variable_names_the_key_the_variable_and_the_line(load: Load) -> None:
    text = MINIMAL.replace("user: writer", "user: ${SINK_DB_USER}")
    assert refusal(load, text=text) == (
        "config.yaml: line 10: sink.user: variable SINK_DB_USER is not set; set it in .env or in the environment"
    )


def test_an_unset_variable_in_a_list_names_its_place(load: Load) -> None:
    text = MINIMAL.replace("host: one", "host: '${HOST}'")
    assert "line 8: source.shards[0].host: variable HOST is not set" in refusal(load, text=text)


def test_all_unset_variables_are_told_at_once(load: Load) -> None:
    text = MINIMAL.replace("reader", "${A}").replace("writer", "${B:?ask the DBA}")
    told = refusal(load, text=text)
    assert told.splitlines()[0] == "config.yaml: 2 problems"
    assert "line 4: source.user: variable A is not set" in told
    assert "line 10: sink.user: variable B is not set: ask the DBA" in told


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("scedule: '@daily'\n", "line 13: scedule: unknown key; did you mean schedule?"),
        ("parallelism: {shard: 4}\n", "line 13: parallelism.shard: unknown key; did you mean shards?"),
        ("health:\n  listn: null\n", "line 14: health.listn: unknown key; did you mean listen?"),
        ("tables:\n  - source: dbo.a\n    modus: x\n", "line 15: tables[0].modus: unknown key; did you mean mode?"),
        ("schedule:\n  - {at: '@daily', fulll: true}\n", "schedule[0].fulll: unknown key; did you mean full?"),
        ("history: {zzz: 1}\n", "line 13: history.zzz: unknown key; known here are keep"),
    ],
)
def test_an_unknown_key_names_its_line_and_the_nearest_key(load: Load, more: str, expected: str) -> None:
    assert expected in refusal(load, more)


def test_an_unknown_key_of_a_shard_is_named(load: Load) -> None:
    text = MINIMAL.replace("host: one", "host: one, prt: 5")
    assert "line 8: source.shards[0].prt: unknown key; did you mean port?" in refusal(load, text=text)


def test_an_unknown_key_in_defaults_is_told_once_and_where_it_stands(load: Load) -> None:
    told = refusal(load, "defaults:\n  chunk_row: 5\ntables:\n  - source: dbo.a\n  - source: dbo.b\n")
    assert told == "config.yaml: line 14: defaults.chunk_row: unknown key; did you mean chunk_rows?"


def test_an_unknown_key_in_defaults_is_refused_without_tables_too(load: Load) -> None:
    assert "chunk_row" in refusal(load, "defaults: {chunk_row: 5}\n")


def test_the_python_name_of_a_key_is_no_key(load: Load) -> None:
    assert "unknown key" in refusal(load, text=MINIMAL.replace("database: sinkdb", "database: sinkdb\n  schema_: x"))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("stop_grace: fast\n", "line 13: stop_grace: 'fast' is not a duration such as 30s, 15m or 1h30m"),
        ("jitter: -5s\n", "line 13: jitter: '-5s' is not a duration"),
        ("max_resumptions: many\n", "line 13: max_resumptions: Input should be a valid integer"),
        ("max_resumptions: -1\n", "line 13: max_resumptions: Input should be greater than or equal to 0"),
        ("catchup: some\n", "line 13: catchup: Input should be 'none', 'latest' or 'all'"),
        ("fail_fast: maybe\n", "line 13: fail_fast: Input should be a valid boolean"),
        ("logging: {max_bytes: 10 M}\n", "line 13: logging.max_bytes: '10 M' is not a size such as 64MB"),
        ("timezone: Mars/Olympus\n", "line 13: timezone: 'Mars/Olympus' is not a time zone; use a name such as Europe"),
        ("timezone: ../etc/passwd\n", "line 13: timezone: '../etc/passwd' is not a time zone"),
        ("schedule: daily\n", "line 13: schedule: 'daily' is not a cron expression"),
        ("schedule: [{at: '@often'}]\n", "line 13: schedule[0].at: '@often' is not a schedule; known are @yearly"),
        ("start_at: tomorrow\n", "line 13: start_at: 'tomorrow' is not a time such as 2026-01-31"),
        ("tables: {source: dbo.a}\n", "line 13: tables: Input should be a valid list"),
        ("tables: [dbo.a]\n", "line 13: tables[0]: "),
        ("tables: [{target: x}]\n", "tables[0].source: is missing; add it"),
        ("tables: [{source: dbo.a, mode: upsert}]\n", "tables[0]: mode upsert needs a cursor: name the column"),
        ("tables: [{source: dbo.*, target: x}]\n", "tables[0]: a pattern has no target"),
        ("tables: [{source: dbo.a, exclude: [dbo.b]}]\n", "tables[0]: exclude stands beside a pattern only"),
        ("tables: [{source: dbo.a, key: []}]\n", "tables[0].key: Value should have at least 1 item"),
        ("tables: [{source: dbo.a, chunk_rows: 0}]\n", "tables[0].chunk_rows: Input should be greater than or equal"),
        ("tables: [{source: dbo.a, lookback: soon}]\n", "tables[0].lookback: 'soon' is not a duration"),
        ("health: {listen: nowhere}\n", "line 13: health.listen: String should match pattern"),
    ],
)
def test_a_wrong_value_names_its_line_its_key_and_what_is_wanted(load: Load, more: str, expected: str) -> None:
    assert expected in refusal(load, more)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("7f3a9c1e", "7F3A9C1E", "line 2: id: String should match pattern"),
        ("7f3a9c1e", "123456789", "line 2: id: String should match pattern"),
        ("7f3a9c1e", "true", "line 2: id: Input should be a valid string"),
        ("name: orders", "name: Orders!", "line 1: name: String should match pattern"),
        ("name: orders\n", "", "name: is missing; add it"),
        ("  database: sinkdb\n", "", "sink.database: is missing; add it"),
        ("host: one", "host: one, port: 0", "line 8: source.shards[0].port: Input should be greater than or equal"),
        ("host: one", "host: one, port: 65536", "line 8: source.shards[0].port: Input should be less than or equal"),
        ("name: shard1", "name: shard 1", "line 8: source.shards[0].name: String should match pattern"),
        ("- {name: shard1, host: one}", "[]", "source.shards: List should have at least 1 item"),
        ("  database: sinkdb", "  database: sinkdb\n  sslmode: maybe", "line 13: sink.sslmode: Input should be 'dis"),
    ],
)
def test_a_wrong_value_of_the_required_part_names_its_key(load: Load, old: str, new: str, expected: str) -> None:
    assert expected in refusal(load, text=MINIMAL.replace(old, new))


def test_two_shards_of_one_name_are_refused(load: Load) -> None:
    text = MINIMAL.replace("    - {", "    - {name: shard1, host: two}\n    - {")
    assert "line 7: source.shards: two shards have the name shard1; names must be unique" in refusal(load, text=text)


def test_several_problems_are_told_at_once_in_the_order_of_the_file(load: Load) -> None:
    told = refusal(load, "overlap: maybe\ncatchup: some\nfoo: 1\n", text=MINIMAL.replace("7f3a9c1e", "xyz"))
    lines = told.splitlines()
    assert lines[0] == "config.yaml: 4 problems"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 2", "line 13", "line 14", "line 15"]


@pytest.mark.parametrize("start", ["2026-99-99", "2026-01-31banana", "2026-01-31 25:00"])
def test_an_instant_that_does_not_exist_is_refused(load: Load, start: str) -> None:
    assert "start_at" in refusal(load, f"start_at: '{start}'\n")


@pytest.mark.parametrize(
    "more", ["name: a\n", "tables: [{source: a, source: b}]\n", "history:\n  keep: 1d\n  keep: 2d\n"]
)
def test_a_key_that_stands_twice_is_refused_with_the_line_of_the_second(load: Load, more: str) -> None:
    told = refusal(load, more)
    key = re.search(r"key '(\w+)' stands twice", told)
    assert key is not None
    assert f"config.yaml:{13 + more.count(chr(10)) - 1}: not valid YAML" in told


def test_a_merged_key_that_is_overridden_does_not_stand_twice(load: Load) -> None:
    more = """\
params:
  deep:
    base: &base {keep: 1d}
    longer: &longer {<<: *base, keep: 2d}
history: {<<: *longer}
"""
    assert load(more).history.keep == 2 * 86400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "config.yaml holds no keys"),
        ("# only a comment\n", "config.yaml holds no keys"),
        ("- a\n- b\n", "config.yaml holds no keys"),
        ("name: [unclosed\n", "config.yaml:2: not valid YAML"),
        ("name: a\n\tid: b\n", "config.yaml:2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: not valid YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "config.yaml:1: not valid YAML"),
        ("a: *nowhere\n", "config.yaml:1: not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_or_holds_no_keys_is_refused_with_its_line(load: Load, text: str, expected: str) -> None:
    assert expected in refusal(load, text=text)


def test_a_list_as_a_key_is_refused(load: Load) -> None:
    assert "not valid YAML" in refusal(load, "? [a, b]\n: 1\n")


def test_a_number_as_a_key_is_refused(load: Load) -> None:
    assert "config.yaml" in refusal(load, "5: 1\n")


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.yaml does not exist: make the pipeline with: etl-cli generate"):
        load_config(tmp_path, {})


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"name: gr\xfcn\n")
    with pytest.raises(ConfigError, match="must be a readable UTF-8 file"):
        load_config(tmp_path, {})


# secrets

SECRETS = "alerts: {urls: ['slack://token-secret']}\n"


@pytest.mark.parametrize("show", [repr, str, lambda c: c.model_dump_json(), lambda c: repr(c.model_dump())])
def test_no_secret_shows_in_a_configuration(load: Load, show: Callable[[Config], str]) -> None:
    text = MINIMAL.replace("host: one", "host: one, password: shard-secret")
    shown = show(load(SECRETS, text=text))
    assert "-secret" not in shown


def test_no_secret_shows_in_an_error(load: Load) -> None:
    text = MINIMAL.replace("reader", "reader\n  trust_server_certificate: maybe").replace("shard1", "shard 1")
    text = text.replace("${SINK_DB_PASSWORD:-sink-secret}", "[sink-secret]")
    told = refusal(load, "alerts: {urls: [[slack-secret]]}\n", text=text)
    assert "5 problems" not in told
    assert "secret" not in told
    assert "sink.password: Input should be a valid string" in told


def test_no_secret_shows_in_the_error_of_a_broken_reference(load: Load) -> None:
    text = MINIMAL.replace("${SINK_DB_PASSWORD:-sink-secret}", "'pa${ss-secret'")
    told = refusal(load, text=text)
    assert "sink.password" in told
    assert "secret" not in told


@pytest.mark.parametrize("section", ["source", "sink"])
def test_no_secret_shows_in_the_options(load: Load, section: str) -> None:
    text = MINIMAL.replace(f"{section}:\n", f"{section}:\n  options: {{sslpassword: key-secret}}\n")
    assert "key-secret" not in repr(load(text=text))


# modes


def table(**keys: object) -> str:
    """A table's entry; truth values as YAML writes them."""
    told = ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items())
    return f"tables: [{{source: dbo.a, {told}}}]\n"


@pytest.mark.parametrize("key", ["soft_delete", "track_changes"])
@pytest.mark.parametrize("mode", ["sync", "changes"])
def test_deletes_are_marked_and_changes_recorded_in_the_modes_that_see_them(load: Load, mode: str, key: str) -> None:
    (found,) = load(table(mode=mode, **{key: True})).tables
    assert getattr(found, key) is True


@pytest.mark.parametrize("key", ["soft_delete", "track_changes"])
@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_modes_that_see_no_deletes_can_neither_mark_nor_record_them(load: Load, mode: str, key: str) -> None:
    told = refusal(load, table(mode=mode, cursor="id", **{key: True}))
    assert told.endswith(f"tables[0]: {key} goes with the modes that see deletes: use mode: sync or changes")
    assert load(table(mode=mode, cursor="id", **{key: False})).tables[0].mode == mode


def test_the_defaults_may_mark_deletes_where_every_table_sees_them(load: Load) -> None:
    defaults = "defaults: {mode: sync, soft_delete: true}\n"
    assert load(defaults + "tables: [{source: dbo.a}]\n").tables[0].soft_delete
    told = refusal(load, defaults + "tables: [{source: dbo.a}, {source: dbo.b, mode: replace}]\n")
    assert "tables[1]: soft_delete goes with the modes that see deletes" in told


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_mode_that_moves_along_a_cursor_has_none_by_itself(load: Load, mode: str) -> None:
    told = refusal(load, table(mode=mode))
    assert told.endswith(f"tables[0]: mode {mode} needs a cursor: name the column that grows, e.g. cursor: updated_at")


@pytest.mark.parametrize(
    ("written", "lookback"), [("0s", 0), ("5m", 300), ("1h30m", 5400), ("500", 500), ("2d", 172_800), ("1.5s", 1.5)]
)
def test_a_lookback_is_a_duration_or_a_number(load: Load, written: str, lookback: float) -> None:
    assert load(table(mode="upsert", cursor="c", lookback=written)).tables[0].lookback == lookback


@pytest.mark.parametrize("written", ["-5", "soon", "true", "-5m", "[]"])
def test_another_lookback_is_refused(load: Load, written: str) -> None:
    assert "tables[0].lookback" in refusal(load, table(mode="upsert", cursor="c", lookback=written))

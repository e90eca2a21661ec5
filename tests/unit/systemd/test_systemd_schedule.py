"""Words of an operator, and the one key of config.yaml that they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.errors import ConfigError, EtlError, UsageError
from etl_cli.systemd.config_edit import with_schedule
from etl_cli.systemd.config_file import change_schedule
from etl_cli.systemd.schedule_words import schedule_of

CONFIG = """# what a person wrote
name: orders   # its name
id: "7f3a9c1e"
schedule: "@daily"              # cron | @hourly

timezone: UTC
source: {user: sa, password: x, database: d, shards: [{name: s1, host: h}]}
sink: {user: e, password: x, database: d}
# the end
"""


@pytest.mark.parametrize(
    ("words", "schedule"),
    [
        ("daily 00:00", "0 0 * * *"),
        ("daily 23:59", "59 23 * * *"),
        ("hourly", "0 * * * *"),
        ("hourly 2", "0 */2 * * *"),
        ("hourly 5", "@every 5h"),
        ("weekly mon 00:00", "0 0 * * MON"),
        ("weekly Sunday 6:05", "5 6 * * SUN"),
        ("monthly 1 00:00", "0 0 1 * *"),
        ("cron 0 */2 * * *", "0 */2 * * *"),
        ("cron @hourly", "@hourly"),
        ("every 15m", "@every 15m"),
        ("remove", None),
    ],
)
def test_words_become_a_schedule(words: str, schedule: str | None) -> None:
    assert schedule_of(words.split()) == schedule
    assert schedule_of(["cron", "0 */2 * * *"]) == "0 */2 * * *"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("daily 25:00", "'25:00' is not a time of day: write it as HH:MM"),
        ("daily 12", "'12' is not a time of day"),
        ("weekly foo 00:00", "'foo' is not a day of the week: use one of mon"),
        ("monthly 32 00:00", "'32' is not a day of the month"),
        ("hourly 24", "'24' is not a number of hours"),
        ("hourly ²", "is not a number of hours"),
        ("cron a b", "is not a cron expression"),
        ("every soon", "is not a duration"),
        ("every 0s", "shortest interval"),
        ("fortnightly", "'fortnightly' is not a schedule: use: daily 00:00"),
        ("weekly", "use it as: weekly mon 00:00"),
        ("remove all", "is not a schedule"),
    ],
)
def test_a_wrong_word_is_told_with_the_form(words: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        schedule_of(words.split())
    assert told in str(raised.value)


def test_comments_order_and_columns_stay() -> None:
    changed = with_schedule(CONFIG, "0 2 * * *")
    assert changed == CONFIG.replace('"@daily"              #', '"0 2 * * *"           #')
    assert with_schedule(changed, "@daily") == CONFIG


def test_a_schedule_is_removed_by_null() -> None:
    assert "schedule: null                  # cron | @hourly\n" in with_schedule(CONFIG, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("schedule:\n", 'schedule: "X"\n'),
        ("schedule: # none\n", 'schedule: "X" # none\n'),
        ("schedule: ~\n", 'schedule: "X"\n'),
        ("schedule: 0 2 * * *   # at two\n", 'schedule: "X"         # at two\n'),
        ("'schedule': '@daily'\n", "'schedule': \"X\"\n"),
        ('schedule: "@daily" # a\r\ntimezone: UTC\r\n', 'schedule: "X"      # a\r\ntimezone: UTC\r\n'),
        ("schedule: [{at: '@daily'}, {at: '@hourly'}]\n", 'schedule: "X"\n'),
        ("schedule: >-\n  @daily\ntimezone: UTC\n", 'schedule: "X"\ntimezone: UTC\n'),
        (
            "schedule: # two\n  # gone\n  - at: '@daily'  # too\n    full: true\n\n# stays\ntimezone: UTC\n",
            'schedule: "X" # two\n\n# stays\ntimezone: UTC\n',
        ),
        ("schedule:\n- at: '@daily'\n- {at: '@hourly'}\ntimezone: UTC\n", 'schedule: "X"\ntimezone: UTC\n'),
        ("schedule: '@daily'", 'schedule: "X"'),
    ],
)
def test_every_way_to_write_it(before: str, after: str) -> None:
    assert with_schedule("name: x\n" + before, "X") == "name: x\n" + after


def test_a_missing_key_is_put_behind_the_id() -> None:
    without = CONFIG.replace('schedule: "@daily"              # cron | @hourly\n', "")
    expected = without.replace('id: "7f3a9c1e"\n', 'id: "7f3a9c1e"\nschedule: "@hourly"\n')
    assert with_schedule(without, "@hourly") == expected


@pytest.mark.parametrize(
    "text", ["a: &x '@daily'\nschedule: *x\n", "schedule: &x '@daily'\nb: *x\n", "{a: 1}\n", "- a\n", "a: [\n"]
)
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        with_schedule(text, "@daily")


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(st.characters(codec="ascii"), max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    before=st.dictionaries(st.text("abcdef", min_size=1, max_size=5), VALUES, max_size=4),
    old=VALUES,
    after=st.dictionaries(st.text("uvwxyz", min_size=1, max_size=5), VALUES, max_size=4),
    flow=st.booleans(),
    new=st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=20)),
)
def test_only_that_key_changes(
    before: dict[str, Any], old: Any, after: dict[str, Any], flow: bool, new: str | None
) -> None:
    head, tail = (
        yaml.safe_dump({"name": "x", **part} if part is before else part) if part or part is before else ""
        for part in (before, after)
    )
    middle = yaml.safe_dump({"schedule": old}, default_flow_style=flow, width=20)
    middle = middle.strip()[1:-1] + "\n" if flow else middle
    text = f"# first\n{head}# above\n{middle}# below\n{tail}# last\n"
    if flow and yaml.safe_load(text) is None:
        return
    changed = with_schedule(text, new)
    assert yaml.safe_load(changed) == {**yaml.safe_load(text), "schedule": new}
    assert changed.startswith(f"# first\n{head}# above\n")
    assert changed.endswith(f"# below\n{tail}# last\n")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "config.yaml").chmod(0o640)
    return tmp_path


def test_the_file_is_replaced_with_its_mode_and_nothing_beside_it(directory: Path) -> None:
    config = change_schedule(directory, "0 2 * * *")
    file = directory / "config.yaml"
    assert config.schedule == "0 2 * * *"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in directory.iterdir()] == ["config.yaml"]


def test_a_link_stays_a_link(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "orders.yaml"
    (directory / "config.yaml").rename(elsewhere)
    (directory / "config.yaml").symlink_to(elsewhere)
    change_schedule(directory, "@hourly")
    assert (directory / "config.yaml").is_symlink()
    assert '"@hourly"' in elsewhere.read_text()


def test_a_file_that_is_wrong_elsewhere_is_left_as_it_is(directory: Path) -> None:
    file = directory / "config.yaml"
    file.write_text(CONFIG + "tabels: []\n")
    with pytest.raises(EtlError) as raised:
        change_schedule(directory, "@hourly")
    assert str(directory) in str(raised.value)
    assert "nothing was changed" in str(raised.value)
    assert file.read_text() == CONFIG + "tabels: []\n"

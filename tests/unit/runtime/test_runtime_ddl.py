"""The text of CREATE TABLE and its company; that Postgres takes it is tested with a Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_cli.runtime.sink.ddl import add_key, comments, create_table, key_name, script
from etl_cli.runtime.sink.shadow import Shadow, shadow_of
from tests.support.plans import column_plan, table_plan

PLAN = table_plan(
    [column_plan("id", "integer", nullable=False), column_plan('a "b"', "text", comment="it's \\ here")],
    ["id", "shard"],
    shard_column="shard",
    comment="orders of all shards",
)


def test_the_target_is_created_without_its_key() -> None:
    assert create_table(PLAN, "public", "orders") == (
        'CREATE TABLE "public"."orders" (\n'
        '    "id" integer NOT NULL,\n'
        '    "a ""b""" text,\n'
        '    "shard" text NOT NULL\n'
        ")"
    )


def test_a_shadows_constraints_are_named_after_the_target() -> None:
    text = create_table(PLAN, "etl", "orders__etl_1_0")
    assert '"id" integer CONSTRAINT "orders_id_not_null" NOT NULL' in text
    assert '"shard" text CONSTRAINT "orders_shard_not_null" NOT NULL' in text


def test_a_column_of_the_key_is_not_null_whatever_the_source_says() -> None:
    plan = table_plan([column_plan("id", "integer", nullable=True)], ["id"])
    assert '"id" integer NOT NULL' in create_table(plan, "public", "orders")


def test_the_key_is_added_in_its_order() -> None:
    assert add_key(PLAN, "public", "orders", "orders_pkey") == (
        'ALTER TABLE "public"."orders" ADD CONSTRAINT "orders_pkey" PRIMARY KEY ("id", "shard")'
    )
    assert add_key(replace(PLAN, key=()), "public", "orders", "orders_pkey") is None


def test_comments_are_literals() -> None:
    assert comments(PLAN, "public", "orders") == [
        'COMMENT ON TABLE "public"."orders" IS \'orders of all shards\'',
        'COMMENT ON COLUMN "public"."orders"."a ""b""" IS E\'it\'\'s \\\\ here\'',
    ]


def test_the_script_holds_all_statements() -> None:
    text = script(PLAN)
    assert [line.split('"')[0].strip() for line in text.split(";\n")] == [
        "CREATE TABLE",
        "ALTER TABLE",
        "COMMENT ON TABLE",
        "COMMENT ON COLUMN",
        "",
    ]


@pytest.mark.parametrize("name", ["orders", "x" * 63, "ä" * 31 + "x", "東" * 21])
def test_no_name_that_is_made_is_longer_than_63_bytes(name: str) -> None:
    plan = table_plan({"id": "integer"}, ["id"], target=name)
    shadow = shadow_of(plan, "swap", 123456, 17)
    for made in (key_name(plan), shadow.name, shadow.key_name):
        assert len(made.encode()) <= 63


def test_the_shadow_of_a_difference_is_kept_out_of_sight() -> None:
    assert shadow_of(PLAN, "difference", 7, 2) == Shadow("etl", "orders__etl_7_2")
    assert shadow_of(PLAN, "swap", 7, 2) == shadow_of(PLAN, "create", 7, 2) == Shadow("public", "orders__etl_7_2")


def test_the_keys_of_two_shadows_never_have_one_name() -> None:
    plan = table_plan({"id": "integer"}, ["id"], target="x" * 63)
    names = {shadow_of(plan, "swap", run, number).key_name for run in (12, 13) for number in (0, 1)}
    assert len(names) == 4


def test_the_not_null_constraints_of_a_table_never_have_one_name() -> None:
    plan = table_plan({"id": "integer", "code": "text"}, ["id", "code"], target="x" * 63)
    text = create_table(plan, "etl", "shadow")
    names = [line.split('"')[3] for line in text.splitlines() if "CONSTRAINT" in line]
    assert len(set(names)) == 2

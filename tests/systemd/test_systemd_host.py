"""What `setup-dev.sh --prod` makes of a host, save the environment, whose installation is that of a checkout."""

from __future__ import annotations

from tests.systemd.machine import REPOSITORY, Machine

SETUP = f"""
set -euo pipefail
source {REPOSITORY}/scripts/setup-dev.sh
PROD_USER=etl-test PROD_HOME=/var/lib/etl-test
ensure_user
ensure_directory root etl-test 0750 /etc/etl-test /etc/etl-test/pipelines
ensure_directory etl-test etl-test 0750 /var/lib/etl-test /var/log/etl-test
"""


def test_the_user_and_the_directories_are_made_once_and_kept(machine: Machine) -> None:
    machine.check("bash", "-c", SETUP)
    for path, rights in {
        "/etc/etl-test": "root:etl-test:750",
        "/etc/etl-test/pipelines": "root:etl-test:750",
        "/var/lib/etl-test": "etl-test:etl-test:750",
        "/var/log/etl-test": "etl-test:etl-test:750",
    }.items():
        assert machine.check("stat", "-c", "%U:%G:%a", path).strip() == rights
    account = machine.check("getent", "passwd", "etl-test").strip().split(":")
    assert account[5:] == ["/var/lib/etl-test", "/usr/sbin/nologin"]
    assert int(account[2]) < 1000
    assert machine.check("bash", "-c", SETUP) == "", "a second time nothing is to do"

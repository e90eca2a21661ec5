"""`etl-cli sandbox up | status | down | seed`."""

from pathlib import Path
from typing import Annotated

import typer

from etl_cli.runtime.command_line import AsJson, Debug, errors_as_lines, print_json

app = typer.Typer(
    help="Four SQL Server stand-ins and a Postgres, for trying out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Place = Annotated[
    Path | None, typer.Option("--directory", help="Where it lives; .sandbox beside pipelines/ by default.")
]


@app.command()
def up(
    port_base: Annotated[int, typer.Option(help="First of the four ports of the stand-ins.")] = 1433,
    sink_port: Annotated[int, typer.Option(help="Port of the Postgres.")] = 5432,
    directory: Place = None,
    debug: Debug = False,
) -> None:
    """Start the sandbox, seeded with a small shop."""
    with errors_as_lines(debug):
        from etl_cli.sandbox.sandbox import PASSWORD, USER, Sandbox

        sandbox = Sandbox(_directory(directory), port_base, sink_port)
        sandbox.up()
        _print_status(sandbox.status())
        postgres = sandbox.postgres
        print(f"source login {USER} / {PASSWORD}, sink login {postgres.user} / {postgres.password}")
        print("The sources are stand-ins that speak SQL Server's protocol: for trying out and tests only.")
        if sandbox.environment():
            print("A pipeline finds these ports with:")
            print("  export " + " ".join(f"{name}={value}" for name, value in sandbox.environment().items()))


@app.command()
def status(directory: Place = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show which of its servers run; exit 1 when one does not."""
    with errors_as_lines(debug):
        from dataclasses import asdict

        from etl_cli.sandbox.sandbox import open_sandbox

        services = open_sandbox(_directory(directory)).status()
        if as_json:
            print_json([asdict(service) for service in services])
        else:
            _print_status(services)
        if not all(service.running for service in services):
            raise typer.Exit(1)


@app.command()
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove its data as well.")] = False,
    directory: Place = None,
    debug: Debug = False,
) -> None:
    """Stop the sandbox."""
    with errors_as_lines(debug):
        from etl_cli.sandbox.sandbox import open_sandbox

        open_sandbox(_directory(directory)).down(purge=purge)
        print("stopped" + (" and removed" if purge else "; the data of its Postgres stays, --purge removes it"))


@app.command()
def seed(
    source: Annotated[str, typer.Option(help="Servers to fill: host:port,host:port,...")],
    user: Annotated[str, typer.Option(envvar="SOURCE_DB_USER", help="Their login.")] = "sa",
    password: Annotated[
        str, typer.Option(envvar="SOURCE_DB_PASSWORD", help="Its password; better given by the variable.")
    ] = "YourStrong@Passw0rd",
    debug: Debug = False,
) -> None:
    """Fill real SQL Servers with the same shop. Tables of its names are replaced."""
    with errors_as_lines(debug):
        from etl_cli.sandbox.sandbox import parse_addresses, seed_server

        for number, (host, port) in enumerate(parse_addresses(source), start=1):
            seed_server(host, port, number, user=user, password=password)
            print(f"shard{number} {host}:{port}: seeded")


def _directory(given: Path | None) -> Path:
    from etl_cli.runtime.locate import find_home

    return given or (find_home() or Path.cwd()) / ".sandbox"


def _print_status(services: list) -> None:  # type: ignore[type-arg]  # Service is imported late
    for service in services:
        state = f"running, pid {service.pid}" if service.running else "stopped"
        print(f"{service.name:10} {service.address:18} {state}")

"""`monitor-pipelines`: how all pipelines of this host are."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from etl_cli.cli.host import errors_of_host
from etl_cli.cli.short_lived import run_short_lived
from etl_cli.runtime.command_line import AsJson, Debug, console, print_json

if TYPE_CHECKING:
    from etl_cli.monitor.look import Look

PROGRAM = "monitor-pipelines"
WATCH_S = 5.0
SHORTEST_WATCH_S = 1.0


def with_seconds(arguments: list[str]) -> list[str]:
    """The arguments, with WATCH_S behind a `--watch` that no number follows."""
    given: list[str] = []
    for position, argument in enumerate(arguments):
        given.append(argument)
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        if argument == "--watch" and not following[:1].isdigit():
            given.append(str(WATCH_S))
    return given


app = typer.Typer(
    help="How all pipelines of this host are: health and why, last and next run, rows, errors, CPU, memory, restarts.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def look(
    context: typer.Context,
    watch: Annotated[
        float | None, typer.Option("--watch", metavar="[SECONDS]", help="Look again and again, every 5 s by default.")
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="Services of this user.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="What the timer does: write down and tell what has changed.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """How all pipelines of this host are; exit code 1 where one needs somebody."""
    if context.invoked_subcommand:
        return
    with errors_of_host(PROGRAM, debug):
        _refuse_contradictions(watch, as_json=as_json, record=record)
        if record:
            _record()
        elif watch is not None:
            from etl_cli.cli.monitor_show import watch_looks

            watch_looks(console(), lambda: _looks(user), watch)
            raise typer.Exit(130)
        else:
            _show(*_looks(user), as_json=as_json)


@app.command("install-timer")
def install_timer(
    force: Annotated[
        bool, typer.Option("--force", help="Write the units anew, even if they were edited by hand.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Look every minute from now on: /var/log/etl/monitor.log, and alerts on change."""
    with errors_of_host(PROGRAM, debug):
        from etl_cli.monitor import timer
        from etl_cli.runtime.locate import all_pipelines

        print("\n".join(timer.install_timer(*all_pipelines(), force=force)))


@app.command("remove-timer")
def remove_timer(debug: Debug = False) -> None:
    """Look no more; the log stays."""
    with errors_of_host(PROGRAM, debug):
        from etl_cli.monitor import timer

        print("\n".join(timer.remove_timer()))


def _looks(user: bool) -> tuple[list["Look"], list[str]]:
    from etl_cli.monitor.look import look_at
    from etl_cli.runtime.locate import all_pipelines
    from etl_cli.systemd.overview import now_utc

    return look_at(all_pipelines()[1], user=user, now=now_utc())


def _show(looks: list["Look"], problems: list[str], *, as_json: bool) -> None:
    from etl_cli.cli.monitor_show import looks_data, looks_text
    from etl_cli.systemd.overview import now_utc

    if as_json:
        print_json(looks_data(looks, problems))
    else:
        terminal = console()
        terminal.print(looks_text(terminal, looks, problems, now_utc()))
    if not all(look.health.is_well for look in looks):
        raise typer.Exit(1)


def _record() -> None:
    from etl_cli.monitor.record import record
    from etl_cli.runtime.locate import all_pipelines
    from etl_cli.systemd.overview import now_utc

    if not record(all_pipelines()[1], now=now_utc()):
        raise typer.Exit(1)


def _refuse_contradictions(watch: float | None, *, as_json: bool, record: bool) -> None:
    from etl_cli.runtime.errors import UsageError

    if (watch is not None) + as_json + record > 1:
        raise UsageError("--watch, --json and --record exclude each other", "give one of them")
    if watch is None:
        return
    if watch < SHORTEST_WATCH_S:
        raise UsageError(f"--watch {watch:g} is too often", f"give {SHORTEST_WATCH_S:g} second or more")
    if not console().is_terminal:
        raise UsageError("--watch needs a terminal", "without one use --json, or no option, as often as you like")


def main() -> None:
    """Entry point of the command `monitor-pipelines`."""
    run_short_lived(app, PROGRAM, with_seconds(sys.argv[1:]))


if __name__ == "__main__":
    main()

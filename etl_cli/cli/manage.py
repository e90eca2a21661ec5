"""`manage-pipeline`: a pipeline as a service of this host."""

from typing import Annotated

import typer

from etl_cli.cli import manage_runs
from etl_cli.cli.host import errors_of_host, pipeline_of_host, service_of_host
from etl_cli.cli.manage_runs import PROGRAM
from etl_cli.cli.short_lived import run_short_lived
from etl_cli.runtime.command_line import AsJson, Debug, Name, Yes, confirm, console, print_json

app = typer.Typer(
    help="Pipelines as services of this host: start, stop, look, schedule.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

User = Annotated[bool, typer.Option("--user", help="A service of this user, without root.")]
Force = Annotated[bool, typer.Option("--force", help="Write the unit anew, even if it was edited by hand.")]


@app.command("list")
def list_(user: User = False, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show every pipeline: state, last run, rows, next run."""
    with errors_of_host(PROGRAM, debug):
        from etl_cli.cli.manage_show import overview_data, print_overviews
        from etl_cli.runtime.locate import all_pipelines
        from etl_cli.systemd.overview import list_pipelines, now_utc

        _, directories = all_pipelines()
        overviews = list_pipelines(directories, user=user, now=now_utc())
        if as_json:
            print_json([overview_data(overview) for overview in overviews])
        else:
            print_overviews(console(), overviews)


@app.command()
def info(name: Name, user: User = False, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show all about a pipeline: service, schedule, last run and its tables."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.cli.manage_show import detail_data, print_detail
        from etl_cli.systemd.overview import now_utc, show_pipeline

        detail = show_pipeline(directory, user=user, now=now_utc())
        if as_json:
            print_json(detail_data(detail))
        else:
            print_detail(console(), detail)


@app.command()
def start(name: Name, user: User = False, force: Force = False, debug: Debug = False) -> None:
    """Install the service, start it, and have it start at boot."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.systemd import service

        _say(service.start(its, force=force))


@app.command()
def stop(
    name: Name,
    disable: Annotated[bool, typer.Option("--disable", help="For good, not until the next boot.")] = False,
    user: User = False,
    debug: Debug = False,
) -> None:
    """Stop the service; a run under way is interrupted and goes on at the next start."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.systemd import service

        _say(service.stop(its, disable=disable))


@app.command()
def restart(name: Name, user: User = False, force: Force = False, debug: Debug = False) -> None:
    """Stop and start the service: it takes a changed .env, etl.py and unit."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.systemd import service

        _say(service.restart(its, force=force))


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="The last so many; 50 by default.")] = None,
    since: Annotated[str | None, typer.Option(help="From a time on: '2026-01-31 06:00', '1 hour ago', today.")] = None,
    level: Annotated[str | None, typer.Option(help="Only this and worse: debug, info, warning, error.")] = None,
    user: User = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
    debug: Debug = False,
) -> None:
    """Show what the service has logged."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.cli.manage_show import print_entry
        from etl_cli.systemd import journal

        wanted = lines if lines is not None or since else 50
        for entry in journal.entries(its.unit, its.scope, lines=wanted, since=since, level=level, follow=follow):
            print_entry(entry, as_json=as_json)


@app.command()
def unit(name: Name, user: User = False, as_json: AsJson = False, debug: Debug = False) -> None:
    """Print the unit that `start` would install."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.runtime.config import load_config
        from etl_cli.systemd import service

        text = service.planned_unit(its, load_config(its.directory))
        if as_json:
            print_json({"unit": its.unit, "file": str(its.systemctl.directory / its.unit), "text": text})
        else:
            print(text, end="")


@app.command()
def schedule(
    name: Name,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WHEN",
            help='daily 00:00 | hourly 2 | weekly mon 00:00 | monthly 1 00:00 | cron "0 */2 * * *" | every 15m | '
            "remove | show",
        ),
    ],
    user: User = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Change when the pipeline runs, in config.yaml and in the running service; or show it."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.cli.manage_show import print_schedule, schedule_data
        from etl_cli.runtime.config import load_config
        from etl_cli.systemd import service
        from etl_cli.systemd.config_file import change_schedule
        from etl_cli.systemd.overview import next_runs, now_utc
        from etl_cli.systemd.schedule_words import schedule_of

        shows = words == ["show"]
        config = load_config(directory) if shows else change_schedule(directory, schedule_of(words))
        said = "" if shows else service.reload(service.named_service(directory, user=user))
        due = next_runs(config, now_utc(), 3)
        if as_json:
            print_json(schedule_data(config, due, said))
        else:
            print_schedule(config, due, said)


@app.command("test-alert")
def try_alerts(name: Name, as_json: AsJson = False, debug: Debug = False) -> None:
    """Send a test alert to every URL of alerts.urls, and say which took it."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.cli.manage_show import print_deliveries
        from etl_cli.monitor.trial import send_test_alert

        deliveries = send_test_alert(directory)
        if as_json:
            print_json([{"url": one.where, "taken": not one.problem, "problem": one.problem} for one in deliveries])
        else:
            print_deliveries(deliveries)
        if any(one.problem for one in deliveries):
            raise typer.Exit(1)


@app.command()
def delete(
    name: Name,
    purge: Annotated[
        bool, typer.Option("--purge", help="The directory, its logs and its state on this host as well.")
    ] = False,
    yes: Yes = False,
    user: User = False,
    debug: Debug = False,
) -> None:
    """Remove the service; the pipeline's directory stays, and the data in the sink always."""
    with service_of_host(PROGRAM, name, debug, user=user) as its:
        from etl_cli.systemd import service

        what = f"the service {its.unit}" + (f" and {its.directory} with everything in it" if purge else "")
        confirm(f"Remove {what}?", yes)
        _say(service.delete(its, purge=purge))


app.add_typer(manage_runs.app)


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line)


def main() -> None:
    """Entry point of the command `manage-pipeline`."""
    run_short_lived(app, PROGRAM)


if __name__ == "__main__":
    main()

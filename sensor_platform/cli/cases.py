"""`sensor-platform routes test`: golden payloads beside the route file, judged by it; new ones come from the field."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_routes, command_settings
from sensor_platform.cli.field import before_it, from_dead_letter, from_staged, message_from

if TYPE_CHECKING:
    from sensor_platform.pipeline.cases import Verdict
    from sensor_platform.routes.model import Routes
    from sensor_platform.settings import Settings


@click.command()
@click.argument("name", required=False)
@click.option("--routes", "file", type=click.Path(path_type=Path), help="Instead of the route file in use.")
@click.option("--cases", type=click.Path(path_type=Path), help="Instead of the folder testcases beside the route file.")
@from_staged
@from_dead_letter
@json_option
def test(
    *,
    name: str | None,
    file: Path | None,
    cases: Path | None,
    staged: str | None,
    dead_letter: int | None,
    as_json: bool,
) -> None:
    """Run the cases, or those below NAME, against the route file; exit 1 when one does not hold.

    A case is a folder: message.json (or .txt, .csv; .hex for bytes), case.json with topic and received_at, and
    expected.json or error.txt; what was received before it and says what it means stands in case.json. With
    --from-staged or --from-dead-letter a new one is written, called NAME: with what the message becomes today, to be
    read, and mended where that is wrong.
    """
    from sensor_platform.routes.cases import CASES_FOLDER
    from sensor_platform.routes.place import route_file

    settings = command_settings()
    settings = settings.model_copy(update={"routes_file": file}) if file else settings
    routes = command_routes(settings)
    root = cases or (route_file(settings) or Path("routes.yaml")).parent / CASES_FOLDER
    if staged is not None or dead_letter is not None:
        if staged is not None and dead_letter is not None:
            raise click.UsageError("say either --from-staged or --from-dead-letter")
        _write(root, name, routes, settings, staged=staged, dead_letter=dead_letter, as_json=as_json)
    else:
        _run(root, name, routes, settings, as_json=as_json)


def _run(root: Path, name: str | None, routes: "Routes", settings: "Settings", *, as_json: bool) -> None:
    from sensor_platform.cli.output import emit_json
    from sensor_platform.errors import SensorPlatformError
    from sensor_platform.pipeline.cases import judge
    from sensor_platform.routes.cases import find_cases, read_case

    folders = [folder for folder in find_cases(root) if name is None or folder.is_relative_to(root / name)]
    if not folders:
        raise SensorPlatformError(f"{root / (name or '')}: there is no case: a folder with message.json, case.json …")
    size = settings.mqtt.max_payload_bytes
    verdicts = [judge(read_case(folder, root=root), routes, max_payload_bytes=size) for folder in folders]
    failed = sum(not verdict.ok for verdict in verdicts)
    if as_json:
        described = [{"name": each.name, "ok": each.ok, "diff": list(each.diff)} for each in verdicts]
        emit_json({"cases": described, "passed": len(verdicts) - failed, "failed": failed})
    else:
        _print(verdicts)
        click.echo(f"{len(verdicts) - failed} of {len(verdicts)} cases hold.", err=True)
    if failed:
        raise SystemExit(1)


def _print(verdicts: "list[Verdict]") -> None:
    for verdict in verdicts:
        click.echo(f"{'ok    ' if verdict.ok else 'FAILED'}  {verdict.name}")
        for line in verdict.diff:
            click.echo(f"        {line}")


def _write(
    root: Path,
    name: str | None,
    routes: "Routes",
    settings: "Settings",
    *,
    staged: str | None,
    dead_letter: int | None,
    as_json: bool,
) -> None:
    from sensor_platform.cli.output import emit_json
    from sensor_platform.errors import SensorPlatformError
    from sensor_platform.pipeline.cases import became_of, case_message_of
    from sensor_platform.pipeline.explain import explain
    from sensor_platform.routes.cases import write_case

    folder = root / (name or (f"dead-letter-{dead_letter}" if staged is None else staged.replace(":", "-")))
    if not folder.resolve().is_relative_to(root.resolve()):
        raise click.UsageError(f"NAME: {name} leads out of {root}")
    message = message_from(staged, dead_letter)
    size = settings.mqtt.max_payload_bytes
    before = before_it(message, routes, size)
    became = became_of(explain(message, routes, max_payload_bytes=size, before=before))
    try:
        write_case(folder, case_message_of(message), became=became, before=list(map(case_message_of, before)))
    except UnicodeDecodeError as err:
        raise SensorPlatformError(f"the topic {message.topic!r} is not UTF-8: a case cannot hold it") from err
    except FileExistsError as err:
        raise SensorPlatformError(f"{folder}: there is such a case already: give another NAME") from err
    if as_json:
        emit_json({"case": str(folder), "before": len(before), **became})
    else:
        readings, refused = len(became["readings"]), len(became["refused"])
        after = f", after {len(before)} that say what it means" if before else ""
        click.echo(
            f"{folder}: written{after}, with {readings} readings and {refused} refused, as of today. Read it.", err=True
        )

"""``multiverse keys import``: how does a class list become keys or invite links, and where do they go?

Keys are shown once, so the file that takes them is made before they are: a disk that is full or a file that is there
already stops the command while nothing is lost.
"""

from __future__ import annotations

import csv
import io
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import Steps, print_json, print_verbatim
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.key_options import JsonOption, given
from app.cli.key_table import KEYS_PATH, fetch_keys
from app.cli.key_terms import IMPORT_OPTIONS, terms_of
from app.cli.option_sets import taking
from app.cli.plain_words import file_words
from app.services.core.errors import GatewayError
from app.services.registry.people.importing import choose, harmless_cell, people_of_csv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from app.cli.gateway_client import GatewayClient

__all__ = ["IMPORT_EPILOG", "import_keys"]

IMPORT_EPILOG: Final = f"""\b
The first row names the columns: name, person, email, in any order; one of them is enough.

\b
Examples:
  multiverse keys import class.csv --group physics-101 --expires 2027-02-28 --output keys.csv
  multiverse keys import class.csv --group physics-101 --invites --output links.csv
  multiverse keys import class.csv --group physics-101 --dry-run

{EXIT_CODES_HELP}"""
MAX_FILE_BYTES: Final = 900_000
"""What fits into one request with room for the rest."""
COLUMNS: Final = ("line", "name", "person", "email", "key", "link")
UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
LEFT_OUT_SHOWN: Final = 20


@taking(IMPORT_OPTIONS, "terms")
def import_keys(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The list: CSV with commas, semicolons or tabs.")],
    *,
    invites: Annotated[bool, typer.Option("--invites", help="Make links by which each fetches a key.")] = False,
    invite_days: Annotated[int | None, typer.Option(metavar="DAYS", min=1, max=90, help="How long links work.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the keys go; must not exist. Left out: stdout.")
    ] = None,
    terms: dict[str, Any],
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out who has a key there already, or stands there twice.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would get a key; make none.")] = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, or an invite link, for each person of a class list: for all of them or for none."""
    text = read_list(file)
    body = {"csv": text, "as": "invites" if invites else "keys", "skip_existing": skip_existing}
    body |= given(invite_days=invite_days) | terms_of(terms, datetime.now(UTC))
    with connect(gateway, key) as client:
        if dry_run:
            print_plan(plan(client, text, terms.get("group")), as_json=as_json)
            return
        with output_file(output) as written:
            with Steps().step(f"Making {body['as']} for {file.name}"):
                answer = client.request("POST", f"{KEYS_PATH}/import", json=body)
            if written is not None:
                save(written, sheet(answer["made"]))
    _tell(answer, output, as_json=as_json)


def read_list(file: Path) -> str:
    """Read a list in UTF-8, or in UTF-16 as some spreadsheets write it.

    Raises:
        CommandFailed: it can't be read, is too large, or is written otherwise.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"The list can't be read: {file_words(error)}.", code=ExitCode.USAGE) from error
    if len(content) > MAX_FILE_BYTES:
        message = f"{file} has more than {MAX_FILE_BYTES:,} bytes."
        raise CommandFailed(message, fix="Leave out columns that are not needed, or import it in parts.")
    try:
        return content.decode("utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        fix = "Save it as 'CSV UTF-8' and try again."
        raise CommandFailed(f"{file} is not written in UTF-8.", fix=fix, code=ExitCode.USAGE) from error


@contextmanager
def output_file(path: Path | None) -> Iterator[TextIO | None]:
    """Make the file that takes the keys, for its owner alone; it goes again if there are none to be taken.

    Raises:
        CommandFailed: it is there already, or can't be made or written.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise CommandFailed(f"{path} is there already.", fix="Name another file: keys are not written over.") from error
    except OSError as error:
        raise CommandFailed(f"The keys can't be written: {file_words(error)}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            yield opened
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def save(written: TextIO, text: str) -> None:
    """Have the keys on the disk.

    Raises:
        CommandFailed: it takes them no more; they were printed, for they exist and cannot be shown again.
    """
    try:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    except OSError as error:
        print_verbatim(text.rstrip("\n"))
        message = f"The keys can't be written: {file_words(error)}. They stand above."
        raise CommandFailed(message, fix="Copy them from there now: they cannot be shown again.") from error


def sheet(made: Sequence[Mapping[str, Any]]) -> str:
    """Write what was made as CSV that no spreadsheet computes anything from."""
    columns = [name for name in COLUMNS if any(one.get(name) for one in made)]
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([harmless_cell(str(one.get(name) or "")) for name in columns] for one in made)
    return page.getvalue()


def plan(client: GatewayClient, text: str, group: str | None) -> dict[str, Any]:
    """Say who would get a key: the list is read here, by the gateway's own rules.

    Raises:
        CommandFailed: a line is not good.
    """
    keys = fetch_keys(client, {"group": group} if group else {})
    holders = {
        str(key["person"] or key["name"])
        for key in keys
        if key["state"] in {"active", "unclaimed"} and bool(key.get("group")) == bool(group)
    }
    try:
        chosen, left_out = choose(people_of_csv(text), holders, "there", skip_existing=True)
    except GatewayError as error:
        raise CommandFailed(error.message) from error
    return {
        "people": [{"line": one.line, "person": one.person, "name": one.name, "email": one.email} for one in chosen],
        "left_out": [{"line": one.line, "person": one.person, "reason": one.reason} for one in left_out],
    }


def print_plan(planned: dict[str, Any], *, as_json: bool) -> None:
    """Show who would get a key, and who would not."""
    if as_json:
        print_json({**planned, "dry_run": True})
        return
    for one in planned["people"]:
        print_verbatim(
            f"line {one['line']}: {one['name']}" + (f" ({one['person']})" if one["person"] != one["name"] else "")
        )
    for line in _left_out_lines(planned["left_out"]):
        print_verbatim(line)
    print_verbatim(f"{len(planned['people'])} would get a key; nothing was made.")


def _tell(answer: dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    """Print what was made where no file took it, and say on stderr how many there are."""
    if as_json:
        kept = [{**one, "key": None, "link": None} for one in answer["made"]]
        print_json(answer if output is None else {**answer, "made": kept})
        return
    if output is None:
        print_verbatim(sheet(answer["made"]).rstrip("\n"))
    steps = Steps()
    for line in _left_out_lines(answer["left_out"]):
        steps.say(line)
    count = len(answer["made"])
    what = f"{count:,} {'invite link' if answer['as'] == 'invites' else 'key'}{'' if count == 1 else 's'}"
    where = f" They are in {output}: keep it safe, they cannot be shown again." if output else ""
    steps.say(f"Made {what}.{where}")


def _left_out_lines(left_out: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in left_out[:LEFT_OUT_SHOWN]:
        yield f"left out: line {one['line']}: {one['person']} {one['reason']}"
    if len(left_out) > LEFT_OUT_SHOWN:
        yield f"left out: {len(left_out) - LEFT_OUT_SHOWN} more"

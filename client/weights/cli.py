"""``wardround hospital weights``: files of weights that studies begin with. Heavy imports are local to the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home

app = typer.Typer(help="Files of weights that studies begin with.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(envvar="WARDROUND_HOME", help="The hospital's home folder.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A safetensors file.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Keep a file of weights here under its SHA-256: studies that name it may begin with it.

    A hospital takes such a file from its own people and from nobody else. Nothing leaves this machine.
    """
    import hashlib

    from wardround.client.home import open_home
    from wardround.common.weights import tensors

    at = open_home(home)
    try:
        content = file.read_bytes()
    except OSError as error:
        what = f"The file cannot be read: {error.strerror or type(error).__name__}."
        raise WardroundError("WR-1506", what, fix="Give a file that this account may read.") from error
    tensors(content, lambda _: False)
    at.keep_weights(content)
    row = _row(at, hashlib.sha256(content).hexdigest())
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    typer.echo(f"Kept, {row['bytes']:,} bytes. Its SHA-256: {row['sha256']}")
    typer.echo(_named_by(row))


@app.command("list")
def list_weights(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the files of weights that are kept here, and the proposed studies that begin with them."""
    from wardround.client.home import open_home
    from wardround.client.weights.kept import kept_weights

    at = open_home(home)
    rows = [_row(at, digest) for digest in kept_weights(at)]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['sha256']}  {row['bytes']:,} bytes")
        typer.echo(f"  {_named_by(row)}")
    if not rows:
        typer.echo("No file of weights is kept here: wardround hospital weights add FILE")


@app.command()
def remove(
    sha256: Annotated[str, typer.Argument(help="SHA-256 of the file, or its first 8 digits or more.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Remove a file of weights from here: studies that begin with it cannot run here any more."""
    from wardround.client.home import open_home
    from wardround.client.weights.kept import find_weights, forget_weights

    at = open_home(home)
    digest = find_weights(at, sha256)
    row = {"sha256": digest, "studies": _studies(at, digest)}
    forget_weights(at, digest)
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else f"Removed {digest}. {_named_by(row)}")


def _row(home: Home, digest: str) -> dict[str, Any]:
    return {"sha256": digest, "bytes": len(home.weights(digest)), "studies": _studies(home, digest)}


def _studies(home: Home, digest: str) -> list[dict[str, str]]:
    """Proposed studies that begin with a file; none before a roster was accepted."""
    from wardround.client.proposals import kept_proposals

    found = []
    try:
        for kept in kept_proposals(home):
            study = None if kept.proposal is None else kept.proposal.read_study()
            if study is not None and study.model.init == digest:
                found.append({"study": study.id, "name": study.name})
    except WardroundError:
        return found
    return found


def _named_by(row: dict[str, Any]) -> str:
    names = [f"{study['name']} ({study['study'].removeprefix('sha256:')[:12]})" for study in row["studies"]]
    return f"Studies that begin with it: {', '.join(names)}." if names else "No proposed study begins with it."

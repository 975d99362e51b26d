"""``wardround coordinator``: what a consortium's coordinator runs. Heavy imports are local to the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.common.errors import WardroundError
from wardround.server.options import DirOption, JsonFlag, opened
from wardround.server.runs import cli as runs

if TYPE_CHECKING:
    from wardround.common.study import Study

app = typer.Typer(help="What a coordinator runs: invite hospitals, propose studies, run them.", no_args_is_help=True)
sites_app = typer.Typer(help="The hospitals of the consortium.", no_args_is_help=True)
app.add_typer(sites_app, name="sites")


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the consortium; it is in every certificate and never changes.")],
    address: Annotated[str, typer.Option(help="host:port under which hospitals reach the gateway.")],
    folder: DirOption,
    listen: Annotated[
        str | None, typer.Option(help="host:port on which the gateway listens; default: the port of --address.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--also", help="Another host name or address of the gateway; may be repeated.")
    ] = None,
    database: Annotated[
        str, typer.Option(help="postgresql://… instead of the SQLite file in the folder.", show_default=False)
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make a new consortium: its folder, its keys, its database."""
    from wardround.common.crypto.signing import fingerprint
    from wardround.server.consortium import create_consortium

    with create_consortium(
        folder, name, address, listen=listen, database=database, names=tuple(names or ())
    ) as consortium:
        public = consortium.authority.public
    if as_json:
        _print_json({"consortium": name, "authority": public.hex(), "fingerprint": fingerprint(public)})
        return
    typer.echo(f"The consortium {name} is made. Its authority's fingerprint, for hospitals to compare:")
    typer.echo(f"  {fingerprint(public)}")
    typer.echo("Back up the folder now: whoever loses authority.key starts a new consortium.")


@app.command()
def invite(
    site: Annotated[str, typer.Argument(help="The name that the hospital will have in studies.")],
    folder: DirOption,
    label: Annotated[str, typer.Option(help="What people call the hospital.")] = "",
    days: Annotated[int, typer.Option(min=1, max=365, help="How long the code is valid.")] = 7,
    again: Annotated[bool, typer.Option("--again", help="A member joins again, with new keys.")] = False,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="End the code instead; a name that never joined is free again.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make an invite code for one hospital, to be used once; it ends codes that the hospital had before."""
    from wardround.server.consortium.showing import day
    from wardround.server.store.opening import clock

    now = clock()
    if withdraw:
        with opened(folder) as consortium:
            free = consortium.withdraw_invite(site, now=now)
        words = f"The invite of {site} is withdrawn." + (" Its name is free again." if free else "")
        typer.echo(json.dumps({"site": site, "forgotten": free}) if as_json else words)
        return
    with opened(folder) as consortium:
        code = consortium.invite(site, label, days, now=now, again=again)
    until = now + days * 86_400
    if as_json:
        _print_json({"site": site, "code": code.text(), "until": until})
        return
    typer.echo(f"Send this code to {site} as a file or in an encrypted mail, for nobody else; until {day(until)}:")
    typer.echo(code.text())
    typer.echo(f"There: wardround hospital join - --site {site}, which asks for the code")


@sites_app.command("list")
def sites(folder: DirOption, as_json: JsonFlag = False) -> None:
    """List the hospitals: state, keys, certificates, and when each was last heard."""
    from wardround.server.consortium.showing import show_sites, site_facts

    with opened(folder) as consortium:
        facts = site_facts(consortium)
        roster = consortium.store.newest_roster()
    if as_json:
        _print_json(
            {
                "roster": roster and roster.roster.version,
                "fingerprint": roster and roster.roster.fingerprint,
                "sites": facts,
            }
        )
    else:
        show_sites(facts, roster)


@sites_app.command("add")
def add(
    request: Annotated[Path, typer.Argument(help="The hospital's request, as wardround hospital join wrote it.")],
    out: Annotated[Path, typer.Option(help="The admission to write, for the hospital.")],
    folder: DirOption,
    again: Annotated[bool, typer.Option("--again", help="A member joins again, with new keys.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Admit a hospital by files: read its request, write its admission. Compare the fingerprint by telephone."""
    from wardround.common.crypto.signing import fingerprint
    from wardround.server.consortium.showing import write_answer
    from wardround.server.store.opening import clock

    with opened(folder) as consortium:
        admission = consortium.admit_file(request, now=clock(), again=again)
    write_answer(out, admission.canonical())
    key = fingerprint(admission.roster.roster.public_key(admission.site))
    if as_json:
        _print_json({"site": admission.site, "fingerprint": key, "roster": admission.roster.roster.version})
        return
    typer.echo(f"{admission.site} is a member. Fingerprint of its key, to be compared with the hospital by telephone:")
    typer.echo(f"  {key}")
    typer.echo(f"Its admission: {out}; there: wardround hospital join --admission FILE")


@app.command()
def revoke(
    site: Annotated[str, typer.Argument(help="The hospital.")],
    folder: DirOption,
    reason: Annotated[str, typer.Option(help="Why; kept with the site.")],
    as_json: JsonFlag = False,
) -> None:
    """Revoke a hospital: its certificates are refused at once, and a new roster is without it.

    Private runs under way that it takes part in cannot go on, also not when it is back; they are named.
    """
    from wardround.common.ids import SiteId
    from wardround.server.runs.orders import needing
    from wardround.server.store.opening import clock

    with opened(folder) as consortium:
        roster = consortium.revoke(site, reason, now=clock())
        under_way = needing(consortium, SiteId(site))
    version = roster and roster.roster.version
    if as_json:
        _print_json({"site": site, "roster": version, "runs": under_way})
        return
    if roster is not None and not roster.roster.members:
        typer.echo(f"{site} is revoked. Version {version} of the roster has no members.")
    elif roster is not None:
        typer.echo(f"{site} is revoked. Version {version} of the roster is without it; the others have to accept it.")
    else:
        typer.echo(f"{site} is revoked.")
    for words in under_way.values():
        typer.echo(words)


@app.command()
def propose(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    folder: DirOption,
    by: Annotated[str, typer.Option(help="The person who asks, and for whom; hospitals read it.")],
    why: Annotated[str, typer.Option(help="What it is for, in plain words; hospitals read it.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask the hospitals of a study to take part. Each decides for itself."""
    from wardround.server.store.opening import clock

    chosen = _read_study(study)
    with opened(folder) as consortium:
        consortium.propose(chosen, by, why, now=clock())
    if as_json:
        _print_json({"study": chosen.id, "sites": list(chosen.sites)})
    else:
        typer.echo(f"Proposed to {', '.join(chosen.sites)}: {chosen.name}\n{chosen.id}")


@app.command()
def withdraw(
    study: Annotated[str, typer.Argument(help="Name or hash of the proposed study.")],
    folder: DirOption,
    by: Annotated[str, typer.Option(help="The person who withdraws it; hospitals read it.")],
    why: Annotated[str, typer.Option(help="Why, in plain words; hospitals read it.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Withdraw a study that was not started: nobody can approve or start it any more, and hospitals are told."""
    from wardround.server.runs.orders import find_study
    from wardround.server.store.opening import clock

    with opened(folder) as consortium:
        row = find_study(consortium.store, study)
        consortium.withdraw(row.id, by, why, now=clock())
    if as_json:
        _print_json({"study": row.id, "withdrawn": True})
    else:
        typer.echo(f"Withdrawn: {row.name}\n{row.id}")


@app.command()
def studies(folder: DirOption, as_json: JsonFlag = False) -> None:
    """List the studies, what each hospital decided, and their runs."""
    from wardround.server.consortium.showing import show_studies, study_facts

    with opened(folder) as consortium:
        facts = study_facts(consortium)
    if as_json:
        _print_json(facts)
    else:
        show_studies(facts)


@app.command()
def export(
    folder: DirOption,
    out: Annotated[Path | None, typer.Option(help="The file to write; default: print it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write all that the coordinator knows but keys as one JSON document: for auditors, and for other programs."""
    from wardround.server.consortium.export import exported
    from wardround.server.consortium.showing import write_answer

    with opened(folder) as consortium:
        document = exported(consortium)
    if out is None:
        _print_json(document)
        return
    write_answer(out, json.dumps(document, ensure_ascii=False, indent=1).encode())
    if as_json:
        _print_json({"export": str(out)})
    else:
        typer.echo(f"Export: {out}")


runs.mount(app)


def _read_study(path: Path) -> Study:
    """A study file; what a scenario says about virtual hospitals is not part of the study."""
    from wardround.common.study import build_study, parse_toml

    try:
        fields = parse_toml(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise WardroundError("WR-1001", f"The study {path.name!r} cannot be read: {reason}.") from error
    return build_study({key: value for key, value in fields.items() if key not in {"simulation", "faults"}})


def _print_json(document: dict[str, Any] | list[dict[str, Any]]) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False))

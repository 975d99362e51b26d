"""From a scenario to ordinary data sets on disk, one for every virtual hospital.

A virtual hospital then reads its manifest as a real one does: there is one data path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.simulations.sites.divide import divide
from wardround.simulations.sites.folder import make_once

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.data.manifest import Manifest
    from wardround.common.study import Task
    from wardround.simulations.scenario import Scenario, VirtualSite
    from wardround.simulations.sites.phantom import Phantom
    from wardround.simulations.sites.source import Source

EDITION = 1
"""Raised whenever the same scenario would give other files: what was made before is made again."""


@dataclass(frozen=True, slots=True)
class SiteSource:
    """Where a virtual hospital's data set is.

    Attributes:
        manifest: Its manifest.
        root: The data folder that the manifest's paths start from.
    """

    manifest: Path
    root: Path


def materialise(scenario: Scenario, data_root: Path | None, out: Path) -> dict[SiteId, SiteSource]:
    """Write the data set of every virtual hospital below ``out``.

    Hospitals without a virtual scanner use the images where they are, and only a manifest is
    written. With a scanner, and for phantoms, table, images and masks are written too. A second
    call with the same scenario and table reuses what is there; what was interrupted is done again.

    Args:
        scenario: The scenario.
        data_root: The folder that ``simulation.source.table.file`` starts from; None when the user
            gave none, which is enough for phantoms.
        out: The run's folder for sites; ``out/<site>`` is replaced when it was made from something else.

    Raises:
        WardroundError: WR-1010 to WR-1014, and WR-1103 to WR-1105 for the table.
    """
    source = scenario.simulation.source
    if source is None:
        return _drawn(scenario, out)
    folder = _source_folder(source, data_root)
    sites = scenario.simulation.sites
    manifests = divide(source, folder, sites)
    table = hashlib.sha256((folder / manifests[scenario.sites[0]].table.file).read_bytes()).hexdigest()
    by_name = {SiteId(site.name): site for site in sites}
    return {name: _cut(by_name[name], manifests[name], folder, table, out) for name in scenario.sites}


def _source_folder(source: Source, data_root: Path | None) -> Path:
    if data_root is None:
        raise WardroundError("WR-1011", "This scenario uses images on disk, and no data folder was given.")
    if not (data_root / source.table.file).is_file():
        raise WardroundError("WR-1011", f"The data folder has no file {source.table.file}.")
    return data_root / source.folder


def _cut(site: VirtualSite, manifest: Manifest, root: Path, table: str, out: Path) -> SiteSource:
    """The part of the source that is this hospital's, through its scanner if it has one."""
    from wardround.simulations.sites.rescan import inputs, rescan
    from wardround.simulations.sites.write import write_manifest

    folder = out / site.name
    made_from = [EDITION, site.model_dump(mode="json"), manifest.model_dump(mode="json"), table]
    scanner = site.scanner
    if scanner is None:
        make_once(folder, made_from, lambda draft: write_manifest(draft / "manifest.toml", manifest))
        return SiteSource(folder / "manifest.toml", root)
    made_from.append(inputs(manifest, root))
    make_once(folder, made_from, lambda draft: rescan(manifest, root, scanner, draft))
    return SiteSource(folder / "manifest.toml", folder)


def _drawn(scenario: Scenario, out: Path) -> dict[SiteId, SiteSource]:
    phantom = scenario.simulation.phantom
    if phantom is None:
        raise ValueError("a simulation has a source or a phantom")
    drawn = {name: _draw_site(scenario.site(name), phantom, scenario.study.task, out) for name in scenario.sites}
    return {name: SiteSource(folder / "manifest.toml", folder) for name, folder in drawn.items()}


def _draw_site(site: VirtualSite, phantom: Phantom, task: Task, out: Path) -> Path:
    from wardround.simulations.sites.draw import draw

    parts = [part.model_dump(mode="json") for part in (site, phantom, task)]
    make_once(out / site.name, [EDITION, *parts], lambda draft: draw(phantom, site, task, draft))
    return out / site.name

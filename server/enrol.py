"""Which hospital is behind which Flower node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire.messages import Hello, HelloReply
from wardround.server.exchange import ask, expect_introduction

if TYPE_CHECKING:
    from flwr.serverapp import Grid


def connected_sites(grid: Grid) -> dict[SiteId, int]:
    """Ask every node of the grid which site it is.

    Returns:
        Each site's Flower node id.

    Raises:
        WardroundError: WR-1306, two nodes say that they are the same site.
    """
    nodes = {SiteId(str(node)): node for node in grid.get_node_ids()}
    sites: dict[SiteId, int] = {}
    for answer in ask(grid, "query.hello", dict.fromkeys(nodes, Hello()), nodes, group="0"):
        site = expect_introduction(answer, HelloReply).site
        if site in sites:
            raise WardroundError("WR-1306", f"Two nodes say that they are site {site}.")
        sites[site] = nodes[answer.site]
    return sites

"""Which hospital is behind which Flower node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire.messages import Hello, HelloReply
from wardround.server.exchange import ask, expect_introduction
from wardround.server.surroundings import surroundings_of

if TYPE_CHECKING:
    from flwr.serverapp import Grid


def connected_sites(grid: Grid) -> dict[SiteId, int]:
    """Which node stands for which site: the runtime knows, or every node is asked.

    Returns:
        Each site's Flower node id.

    Raises:
        WardroundError: WR-1306, two nodes say that they are the same site.
    """
    known = surroundings_of(grid).sites
    if known is not None:
        return dict(known)
    nodes = {SiteId(str(node)): node for node in grid.get_node_ids()}
    sites: dict[SiteId, int] = {}
    for answer in ask(grid, "query.hello", dict.fromkeys(nodes, Hello()), nodes, group="0"):
        site = expect_introduction(answer, HelloReply).site
        if site in sites:
            raise WardroundError("WR-1306", f"Two nodes say that they are site {site}.")
        sites[site] = nodes[answer.site]
    return sites

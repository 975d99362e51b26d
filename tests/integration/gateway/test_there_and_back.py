"""A message from a real grid through a real SuperLink and the gateway to an agent, and its answer back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from fakes.callers import Shown, call
from fakes.federated import echo
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from wardround.client.membership import site_credentials
from wardround.common.wire.federation import GREET, PROTOCOLS, Greet, Welcome
from wardround.server.gateway import Gateway

if TYPE_CHECKING:
    from fakes.federated import Federated


def test_another_gateway_finds_the_nodes_of_a_superlink_that_runs(stand: Federated) -> None:
    home = stand.join("north")
    before = stand.gateway.nodes()
    other = Gateway(stand.consortium, stand.superlink, stand.replies, listen="127.0.0.1:0")
    other.start()
    try:
        assert other.nodes() == before
        address = f"localhost:{other.port}"
        shown = site_credentials(home)
        body = Greet(release="0.1.0", protocols=PROTOCOLS, roster=0).canonical()
        answer = call(address, shown[2], Shown(shown[0], shown[1]), GREET, body)
        assert Welcome.from_canonical(answer).node_id == before["north"]
    finally:
        other.stop()


def test_a_message_goes_there_and_its_answer_comes_back(stand: Federated) -> None:
    home = stand.join("north")
    connection, link = stand.link(home)
    grid = stand.grid()
    vector = np.arange(3_000_000, dtype=np.float32)
    content = RecordDict({"model": ArrayRecord({"v": Array(vector)}), "round": ConfigRecord({"number": 7})})
    node = stand.gateway.nodes()["north"]

    with echo(connection, link):
        sent = grid.push_messages([grid.create_message(content, "train", node, "7")])
        replies = []
        while not replies:
            replies = list(grid.pull_messages(sent))

    assert [reply.metadata.src_node_id for reply in replies] == [node]
    assert np.array_equal(replies[0].content["model"]["v"].numpy(), vector)
    assert replies[0].content["round"]["number"] == 7
    assert stand.replies.seen[-1] == ("north", node)
    grid.finish(completed=True)
    link.close()
    connection.close()

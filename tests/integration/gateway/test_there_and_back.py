"""A message from a real grid through a real SuperLink and the gateway to an agent, and its answer back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from fakes.federated import echo
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

if TYPE_CHECKING:
    from fakes.federated import Federated


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

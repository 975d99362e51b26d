"""Whether a study can be carried out at all, before anybody is asked to take part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common import weights
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study


def check_buildable(study: Study, folder: Path) -> None:
    """Build the study's model, with the file of weights that it begins with, and the encoding of its secure sum.

    Whether its gradients are those of single patients is not looked at here: hospitals do, before they spend anything.

    Args:
        study: The study.
        folder: Where the coordinator keeps files of weights.

    Raises:
        WardroundError: WR-12xx, the model or the file cannot be used; WR-1002 or WR-1805, no secure sum can be made of
            the study.
    """
    from wardround.common.models.catalogue import initial_model
    from wardround.common.models.state import state_arrays
    from wardround.common.rounds.encodings import training_encoding
    from wardround.common.vector import Layout

    def read(digest: str) -> bytes:
        try:
            content = (folder / weights.file_name(digest)).read_bytes()
        except FileNotFoundError:
            fix = f"Put the file into {folder} as {weights.file_name(digest)}."
            what = "The study begins with a file of weights that the coordinator does not have."
            raise WardroundError("WR-1208", what, fix=fix) from None
        except OSError as error:
            raise weights.unreadable(digest, "the coordinator", error) from error
        return weights.verified(content, digest)

    model = initial_model(study, seed=0, weights=read)
    layout = Layout.of(state_arrays(model, study.model.travels))
    if study.private:
        training_encoding(study, layout)

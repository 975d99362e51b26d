"""Label-skewed partition: each class is divided among sites by a Dirichlet draw.

Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification, arXiv:1909.06335, with patients instead of images:

1. patients are grouped by class;
2. for each class, proportions over sites are drawn from a symmetric Dirichlet(alpha);
3. the class's patients, in hashed order, are cut at the running sum of its proportions.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.partition.by_share import by_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.common.ids import SiteId

_SMALLEST = 1e-12
"""A proportion can underflow to 0 for small alpha; by_share asks for shares above 0."""


def dirichlet(classes: Mapping[str, str], sites: Sequence[SiteId], *, alpha: float, seed: int = 0) -> dict[str, SiteId]:
    """Give every patient to one site, classes skewed between sites.

    Args:
        classes: The class of every patient.
        sites: The sites; some may end up with few patients, or none, when ``alpha`` is small.
        alpha: Concentration, above 0: large is alike at all sites, small puts classes at few sites.
        seed: Salt of the draw and of the patients' order.

    Returns:
        The site of every patient.

    Raises:
        ValueError: No site, or ``alpha`` not above 0.
    """
    if not sites or alpha <= 0:
        raise ValueError("dirichlet needs a site and alpha above 0")
    groups: defaultdict[str, list[str]] = defaultdict(list)  # step 1
    for patient, name in classes.items():
        groups[name].append(patient)
    rng = np.random.default_rng(seed)
    assigned: dict[str, SiteId] = {}
    for name in sorted(groups):
        proportions = np.maximum(rng.dirichlet(np.full(len(sites), alpha)), _SMALLEST)  # step 2
        shares = dict(zip(sites, map(float, proportions), strict=True))
        assigned.update(by_share(groups[name], shares, seed=seed))  # step 3
    return assigned

"""Attacks on what leaves a hospital under differential privacy, and how far each of them got.

1. :mod:`.toys`          small studies that take over the promise of the study under attack
2. :mod:`.release`       what a coordinator that lies gets to see: the noisy sums of the production code
3. :mod:`.canaries`, :mod:`.membership`, :mod:`.inversion`, :mod:`.imprint`   the attacks
4. :mod:`.bounds`        from what an attack found out to a lower bound on epsilon
5. :mod:`.suite`         all of them, each with its control without noise
"""

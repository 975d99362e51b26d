"""The privacy ledger: what every study run costs the hospital's patients, kept by the hospital.

What holds at every moment, whatever crashes (``tests/property/ledger``):

1. **Paid before done.** A step of training happens only after :meth:`Ledger.spend` has returned, and what it returned
   for is on disk by then.
2. **One budget a patient.** Costs belong to patient keys. Data sets, studies, runs and coordinators are names.
3. **Never beyond the limit.** For every patient, what is spent and what is reserved stay together within the limit of a
   named admin. The check is the maximum over patients; only disjoint sets of patients have budgets of their own.
4. **Nothing comes back.** A round that began stays spent; settling frees only rounds that never began; withdrawal
   refunds nothing; what a backup lacks counts as the worst that it can have been.
5. **Events, not balances.** The file holds what happened (:mod:`.events`), chained by digests and only ever added to
   (:mod:`.store`). What is spent, reserved and allowed is a pure function of it (:mod:`.state`, :mod:`.cost`).
6. **Validate, record, apply** (:mod:`.ledger`): a refusal changes nothing, and nothing counts before it is durable.
7. **An edited, cut or older file is refused** (:mod:`.place`), the last of them for certain only with a witness outside
   this host (:mod:`wardround.common.privacy.witness`).
"""

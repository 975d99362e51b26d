"""How training went: loss and validation metric by round, with the spread over sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.ticker import MaxNLocator

from wardround.simulations.report.figures.style import Picture, arm_colour, canvas, png, site_colour, site_dashes
from wardround.simulations.report.names import CENTRALISED, FEDERATED, WITHOUT, arm_name, metric_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.results import Round

    Series = npt.NDArray[np.float64]


MEAN: Final = "mean"
"""Stands for all hospitals where single ones are not known; no hospital may be called so."""

_READ = "Shaded: from the worst to the best hospital (federated); thin lines: the hospitals one by one. "


def draw(run: RunFolder) -> list[Picture]:
    """One figure, or none when no round was recorded."""
    arms = [arm for arm in run.results.arms if arm in (FEDERATED, CENTRALISED)]
    arms = arms or [arm for arm in run.results.arms if arm.startswith(WITHOUT)][:4]
    rounds = {arm: [row for row in run.results.rounds if row.arm == arm] for arm in arms}
    rounds = {arm: rows for arm, rows in rounds.items() if rows}
    if not any(_losses(row) for rows in rounds.values() for row in rows):
        return _training_loss(run, rounds)
    name = metric_name(run.lookup.main_metric)
    figure, (left, right) = canvas(3.4, columns=2)
    _panel(left, run, rounds, _losses, "Loss")
    _panel(right, run, rounds, _metrics, name)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, ncols=6, loc="outside upper center")
    left.set_title("Validation loss")
    right.set_title(f"Validation {name}")
    if not right.lines:
        _say(right, "not sent: not paid for" if run.study.privacy else "not known in private mode")
    return [
        Picture(
            "rounds",
            "How training went",
            "By round, on validation patients. Thick lines: mean over the hospitals. "
            f"{_how_to_read(run, rounds)}"
            f"Several seeds or folds are averaged. {_same_work(run)}",
            f"Curves of validation loss and validation {name} over the rounds for {', '.join(map(arm_name, rounds))}.",
            png(figure),
        )
    ]


def _losses(row: Round) -> dict[str, float]:
    """By hospital, or in private mode the mean alone."""
    return row.validation_loss if row.validation_mean is None else {MEAN: row.validation_mean.loss}


def _metrics(row: Round) -> dict[str, float | None]:
    """By hospital; private mode has none, because it is undefined at some hospitals."""
    return row.validation_metric


def _same_work(run: RunFolder) -> str:
    what = "taken the same number of steps" if run.study.privacy else "seen the same number of training images"
    return f"Every model has {what} at the same round."


def _say(ax: Axes, words: str) -> None:
    """Words instead of curves."""
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)
    ax.set_xticks([])
    ax.set_yticks([])


def _how_to_read(run: RunFolder, rounds: dict[str, list[Round]]) -> str:
    federated = rounds.get(FEDERATED, [])
    if run.study.privacy is not None:
        return (
            "What validation patients paid for is one sum of their losses over all hospitals, with noise; nothing else "
            "about them is known to anybody. "
        )
    if any(row.validation_mean is not None for row in federated):
        return (
            "The federation is private: what single hospitals found is known to nobody else, and of all of them "
            "together the mean loss alone. "
        )
    return _READ if federated else ""


def _training_loss(run: RunFolder, rounds: dict[str, list[Round]]) -> list[Picture]:
    """The figure of a study without validation patients; none when there is no training loss either."""
    known = {arm: [row for row in rows if row.train_loss is not None] for arm, rows in rounds.items()}
    known = {arm: rows for arm, rows in known.items() if rows}
    if not known:
        return []
    figure, (ax,) = canvas(3.2, width=6.0)
    _panel(ax, run, known, lambda row: {"training": row.train_loss}, "Loss")
    ax.set_title("Training loss")
    ax.legend()
    return [
        Picture(
            "rounds",
            "How training went",
            "Mean loss of the training images, by round; this study keeps no patients for validation. Several seeds or "
            "folds are averaged.",
            f"Curves of the training loss over the rounds for {', '.join(map(arm_name, known))}.",
            png(figure),
        )
    ]


def _panel(
    ax: Axes,
    run: RunFolder,
    rounds: dict[str, list[Round]],
    read: Callable[[Round], dict[str, float] | dict[str, float | None]],
    label: str,
) -> None:
    sites = run.lookup.test_sites
    for arm, rows in rounds.items():
        numbers, by_site = _by_site(rows, read, sites)
        if not by_site:
            continue
        values = np.stack(list(by_site.values()))
        known = ~np.isnan(values).all(axis=0)
        if arm == FEDERATED and MEAN not in by_site:
            ax.fill_between(numbers[known], *_band(values[:, known]), color=arm_colour(arm), alpha=0.13, linewidth=0)
            for site, series in by_site.items():
                style, colour = site_dashes(site, sites), site_colour(site, sites)
                seen = ~np.isnan(series)  # not every round is validated
                ax.plot(numbers[seen], series[seen], linewidth=0.9, label=site, color=colour, linestyle=style)
        mean = np.nanmean(values[:, known], axis=0)
        colour = arm_colour(arm)
        if arm.startswith(WITHOUT):
            colour = site_colour(arm.removeprefix(WITHOUT), sites)
        ax.plot(numbers[known], mean, color=colour, linewidth=2.4, label=arm_name(arm))
    ax.set_xlabel("Round")
    ax.set_ylabel(label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=True)


def _by_site(
    rows: Sequence[Round], read: Callable[[Round], dict[str, float] | dict[str, float | None]], sites: Sequence[str]
) -> tuple[Series, dict[str, Series]]:
    """Round numbers and, by site, the mean over seeds and folds in each round; NaN where there is none."""
    numbers = sorted({row.round for row in rows})
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        for site, value in read(row).items():
            if value is not None:
                found.setdefault(site, {}).setdefault(row.round, []).append(value)
    series = {
        site: np.array([np.mean(values[number]) if number in values else np.nan for number in numbers])
        for site, values in sorted(found.items(), key=lambda item: _place(item[0], sites))
    }
    return np.array(numbers, dtype=np.float64), series


def _place(site: str, sites: Sequence[str]) -> int:
    return sites.index(site) if site in sites else len(sites)


def _band(values: Series) -> tuple[Series, Series]:
    return np.nanmin(values, axis=0), np.nanmax(values, axis=0)

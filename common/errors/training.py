"""WR-12xx: models and local training."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1201",
        "unknown model",
        "The study names a model that is neither in the catalogue nor in an installed package of models. A study "
        "carries no code, so every site must have the model installed before it can take part.",
        "Use one of the models that the message lists, or install the package that brings the model.",
    ),
    ErrorPage(
        "WR-1202",
        "model parameters do not fit",
        "A parameter of the model is unknown or out of range, or the model cannot do the study's task at the "
        "study's input size.",
        "Correct [model.parameters] or [input] as the message says; deploy/docs/models.md lists every parameter.",
    ),
    ErrorPage(
        "WR-1203",
        "training diverged",
        "The training loss or the model's output became infinite or not a number, so the model is of no use and is "
        "neither sent nor scored.",
        "Lower training.learning_rate, or raise training.batch_size, and start the study again.",
    ),
    ErrorPage(
        "WR-1204",
        "batch of one image with batch normalisation",
        "Batch normalisation has no statistics over a single image, and this site has only one to train on in this "
        "round.",
        "Use fewer rounds (training.rounds), or a model with group normalisation: [model.parameters] norm = 'group'.",
    ),
    ErrorPage(
        "WR-1205",
        "model state does not fit the model",
        "The received or stored arrays differ in name or shape from those of the model that the study describes.",
        "Use a model that was trained with this study's [model], [task] and [input] sections.",
    ),
    ErrorPage(
        "WR-1206",
        "optimizer state does not fit the model",
        "The optimizer state that this site kept from the round before belongs to another model or optimizer.",
        "Remove the study's stored optimizer state at this site; training then starts with a fresh optimizer.",
    ),
    ErrorPage(
        "WR-1207",
        "installed model cannot be used",
        "A package announces a model under the entry point group wardround.models, but what it announces cannot be "
        "imported, is not a model entry, or takes the name of another model.",
        "Update or remove the package that the message names.",
    ),
    ErrorPage(
        "WR-1208",
        "file of initial weights cannot be used",
        "The study begins with the weights of a file that it names by its SHA-256. The file is not where it is looked "
        "for, has another SHA-256, or is no safetensors file of finite float32 tensors. A hospital takes it from its "
        "own home and from nobody else.",
        "At a hospital: wardround hospital weights add FILE, with the file that the study names. For wardround"
        " simulate, name it with --init FILE or put it into the folder models of the data folder, under its SHA-256; a"
        " coordinator has it in the folder weights.",
    ),
    ErrorPage(
        "WR-1209",
        "initial weights do not fit the model",
        "The file of initial weights has to hold every tensor of the study's model in its shape, and no other: a "
        "tensor that was left out or left over would silently make another model of it.",
        "Name in model.fresh what has to be drawn anew, such as a head for other labels; otherwise use the [model], "
        "[task] and [input] that the file was trained with. Under a promise batch normalisation becomes group "
        "normalisation: train the file with group normalisation.",
    ),
    ErrorPage(
        "WR-1210",
        "part to train does not exist",
        "model.trained or model.fresh names the beginning of no parameter of the model, or nothing that can be trained "
        "is left. A misspelt name would otherwise silently freeze what was to be trained.",
        "Use names of the model's parameters as the message lists them; whole parts between dots count.",
    ),
)

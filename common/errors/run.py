"""WR-15xx: run folders, saved models and reports."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1501",
        "run folder already holds another run",
        "The output folder is not empty and was not made by the same study, seeds and folds. Results are "
        "never overwritten.",
        "Give another --out, or continue the old run with wardround simulate --resume FOLDER.",
    ),
    ErrorPage(
        "WR-1502",
        "run folder cannot be used",
        "The folder is not a wardround run, or a file of it is missing or damaged.",
        "Give the folder that simulate wrote (it holds study.json and settings.json).",
    ),
    ErrorPage(
        "WR-1503",
        "saved model cannot be used",
        "The model folder is incomplete, or its weights do not match their recorded hash or layout.",
        "Give the model folder of a finished run (it holds model.safetensors, layout.json and study.json).",
    ),
    ErrorPage(
        "WR-1504",
        "virtual hospital failed",
        "A worker process of the simulation ended without an answer, usually because memory ran out.",
        "Run again with --resume RUN and fewer --workers; finished arms are kept.",
    ),
    ErrorPage(
        "WR-1505",
        "run folder is in use",
        "Another process works in this run folder. Two at a time would mix their results.",
        "Wait until the other process has ended, or give another --out.",
    ),
    ErrorPage(
        "WR-1506",
        "file cannot be read or written",
        "The operating system refused to read or write a file outside the data sets, usually because the disk is full "
        "or the folder is read-only.",
        "Look at the free space and at whether this account may write there; a file that a command would make is named "
        "elsewhere with --out. A simulation goes on with --resume RUN, an agent by itself.",
    ),
    ErrorPage(
        "WR-1507",
        "data changed since the run began",
        "Tables, images or masks are not those that the finished arms of this run were trained and scored on. Results "
        "of different data are never put together.",
        "Restore the data and go on with --resume, or start a new run with another --out.",
    ),
    ErrorPage(
        "WR-1508",
        "interrupted",
        "The run was stopped from the keyboard. Finished arms are kept; the others go on after their last "
        "round, or are trained anew where only that gives the model of a run that was not interrupted.",
        "Go on with wardround simulate --resume RUN.",
    ),
    ErrorPage(
        "WR-1520",
        "unknown benchmark",
        "The name after wardround bench is not that of a benchmark.",
        "Give one of the names that the message lists.",
    ),
    ErrorPage(
        "WR-1521",
        "measured process failed",
        "A benchmark runs what it measures in processes of its own, and one of them ended without an answer. The "
        "message ends with the last line that it printed.",
        "Free memory and processors and run the benchmark again; a peer that cannot start here can be uninstalled.",
    ),
    ErrorPage(
        "WR-1522",
        "unknown attack",
        "The name after wardround attack, or after --case, is not that of an attack, or an attack is not carried out "
        "with so many sites.",
        "Give one of the names, or numbers of sites, that the message lists.",
    ),
    ErrorPage(
        "WR-1523",
        "process of a federation on this machine failed",
        "The demonstration of real processes, or the benchmark of them, started coordinator and hospitals here; one "
        "of them ended by itself, or what it should do did not come about in time. The message ends with the last line "
        "that it printed.",
        "Its whole output is in the folder log of the run; free memory and processors and run it again.",
    ),
    ErrorPage(
        "WR-1550",
        "run folder is not complete",
        "A report is made from study.json, settings.json, results.json and cases.csv, and one of them is missing "
        "or cannot be read. results.json is written last, so a run that was interrupted has none yet.",
        "Give the folder of a finished run, or finish it with simulate --resume RUN.",
    ),
    ErrorPage(
        "WR-1551",
        "file of a run folder is damaged",
        "A file of the run folder does not have the form in which a run writes it: it was edited, cut short, or "
        "comes from another version.",
        "Restore the file that the message names from a copy, or run the study again.",
    ),
)

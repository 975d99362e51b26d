"""WR-11xx: manifests, tables, images."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1101",
        "manifest cannot be read",
        "The manifest file is missing, is not readable, or is not valid TOML in UTF-8.",
        "Check the path and the TOML syntax; deploy/docs/data.md shows complete manifests.",
    ),
    ErrorPage(
        "WR-1102",
        "manifest is not valid",
        "A field is unknown, missing, of the wrong type or out of range. Nothing is guessed: a misspelt field would "
        "otherwise silently leave its default in force.",
        "Correct the fields that the message lists; deploy/docs/data.md describes every field.",
    ),
    ErrorPage(
        "WR-1103",
        "table cannot be read",
        "The table that the manifest names is missing, outside the data folder, not UTF-8, or a row has another "
        "number of fields than the header.",
        "Check table.file and table.separator in the manifest, and save the table as UTF-8 CSV or as Parquet.",
    ),
    ErrorPage(
        "WR-1104",
        "table lacks a column",
        "The manifest names a column that the table does not have.",
        "Correct the column names in the manifest, where upper and lower case count, or its table.separator.",
    ),
    ErrorPage(
        "WR-1105",
        "data set is empty",
        "The table has no rows, or table.where leaves none.",
        "Check table.where: values are compared as text, letter by letter.",
    ),
    ErrorPage(
        "WR-1106",
        "data set has problems of several kinds",
        "Rows of the table cannot be used, for more than one reason. Every problem is listed in the file that the "
        "message names; that file may hold patient data and belongs to the hospital.",
        "Open the problems file, correct or remove the rows that it lists, and run the check again.",
    ),
    ErrorPage(
        "WR-1107",
        "image or mask is missing or unreadable",
        "A file named by the table does not exist, is not a regular file, is damaged, or is not of the format that "
        "the manifest declares.",
        "Restore the files of the listed rows, or remove those rows from the table.",
    ),
    ErrorPage(
        "WR-1108",
        "path leaves the data folder",
        "A path of the table is absolute, contains '..' or a backslash, or leads out of the data folder through a "
        "link. Only files below the data folder are ever opened.",
        "Write paths relative to the data folder, and copy or mount the files there.",
    ),
    ErrorPage(
        "WR-1109",
        "images of one sample do not lie on one grid",
        "A mask, or a further channel, has another shape, orientation or position than the first channel of its row.",
        "Resample the mask or channel onto the grid of the first channel and export it again.",
    ),
    ErrorPage(
        "WR-1110",
        "label is outside the classes",
        "A value of the target column, or of a mask, is not among target.classes of the manifest, or a mask holds "
        "values that are not whole numbers.",
        'Add the value to target.classes (an empty name, "", means background or negative), or correct the rows.',
    ),
    ErrorPage(
        "WR-1111",
        "image has values that are not numbers",
        "An image contains NaN or infinite values. They would spread through the whole model.",
        "Export the images of the listed rows again, or remove those rows.",
    ),
    ErrorPage(
        "WR-1112",
        "image has a form that is not supported",
        "The file can be read but is, for example, a colour image, an animation, four-dimensional, or without an "
        "orientation.",
        "Export one greyscale image, or one three-dimensional volume with its orientation, per file.",
    ),
    ErrorPage(
        "WR-1113",
        "image is too large",
        "The header declares more pixels or voxels than wardround opens, or the file is larger than its header says. "
        "Such files can exhaust the memory of the machine.",
        "Check the listed rows; export smaller images if they are genuine.",
    ),
    ErrorPage(
        "WR-1114",
        "sample appears twice",
        "Two rows name the same image. Counted twice, it would weigh double and could reach two parts of the split.",
        "Keep one row per image.",
    ),
    ErrorPage(
        "WR-1115",
        "field of the table is empty or has the wrong type",
        "A patient identifier, a path or a needed number is empty, or is not a number, or is not among the categories.",
        "Complete or correct the listed rows, or remove them; numbers have a decimal point, not a comma.",
    ),
    ErrorPage(
        "WR-1116",
        "study and data do not fit",
        "The study asks for channels, a task, labels, dimensions or a voxel spacing that the manifest does not offer.",
        "Choose the manifest made for this study, or map its columns and classes to the names of the study.",
    ),
    ErrorPage(
        "WR-1117",
        "too few patients",
        "A part of the patient-level split (training, validation or test) would have fewer patients at a training "
        "site than split.min_patients. A model must not be chosen or judged on so few.",
        "Add patients, change the fractions of the split, use fewer folds, or take the site out of study.sites so "
        "that it only tests.",
    ),
    ErrorPage(
        "WR-1118",
        "patient at two sites or in two data sets",
        "The same patient identifier appears at more than one site, so that a test patient of one could be a training "
        "patient of another.",
        "Remove the patient from all sites but one, or make identifiers that differ if they are different people.",
    ),
    ErrorPage(
        "WR-1119",
        "no site has a class",
        "No training site has a single patient of one of the classes, so that nothing can be learned about it.",
        "Remove the label from the study, or add a site that has it.",
    ),
    ErrorPage(
        "WR-1120",
        "patient in two parts of the split",
        "A patient is in more than one of the training, validation and test parts, so that the test would be biased.",
        "Make the parts with wardround's own split, which keeps each patient together.",
    ),
    ErrorPage(
        "WR-1121",
        "image does not fit the model's input",
        'With input.fit = "pad" an image is never cut, and one is larger than input.size.',
        'Enlarge input.size in the study, or set input.fit = "resize".',
    ),
    ErrorPage(
        "WR-1122",
        "cache of prepared images cannot be written",
        "The cache folder is not writable or its disk is full.",
        "Free some space, or name another cache folder; the data folder itself can stay read-only.",
    ),
    ErrorPage(
        "WR-1123",
        "image is constant",
        "All pixels of an image have one value: it shows nothing, and its normalisation is undefined.",
        "Remove the listed rows, or export their images again.",
    ),
)

"""COVID-CXNet's figures 2 and 3 for any X-ray: what each enhancement makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel, schema
from jaxcxr.data import preprocessing, xray_files
from jaxcxr.errors import InputError
from jaxcxr.report import contrast_figures, plots
from jaxcxr.storage.names import PictureNames, csv_line, on_disk, printable
from jaxcxr.storage.run_folder import RunFolder

FOLDER, FAILED = "enhance", "failed.csv"
SIDE = 320  # pixels at which COVID-CXNet enhances


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=enhance --config.predict.inputs=...`.

    Writes `enhance/<id>_figure2.png` and `_figure3.png` of each file.

    `enhance/failed.csv` lists the files that could not be used, with the reason.

    Raises:
        InputError: no files are named, or, after the others are done, some could not be used.
    """
    if not config.predict.inputs:
        raise InputError("predict.inputs is empty: name a file, a folder or a pattern of X-rays")
    plain = preprocessing.Preprocessing(
        image_size=SIDE, equalise=False, gamma=1.0, resize=config.data.resize
    )
    failed: dict[str, str] = {}
    figures = {"_figure2.png": contrast_figures.figure2, "_figure3.png": contrast_figures.figure3}
    names = PictureNames(tuple(figures), reserved=(FAILED,))
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        listed = xray_files.find(config.predict.inputs, leave_out=workdir / FOLDER)
        inputs = listed.files
        for file in tqdm(inputs, desc="enhance", unit="image", disable=not parallel.is_main()):
            try:
                pixels = xray_files.read_file(file).pixels
                image = np.asarray(preprocessing.prepare(pixels, None, plain, name=file.name).image)
                stem = on_disk(names.stem(file.id))
                for suffix, draw in figures.items():
                    folder.write_bytes(f"{FOLDER}/{stem}{suffix}", plots.to_png(draw(image)))
            except Exception as error:
                failed[file.id] = xray_files.reason(file.name, error)
        lines = [csv_line(row) for row in (("file", "reason"), *failed.items())]
        folder.write_text(f"{FOLDER}/{FAILED}", "".join(lines))
    if parallel.is_main():
        for text, ids in listed.passed_over.items():
            shown = ", ".join(map(printable, ids[:3])) + ", ..." * (len(ids) > 3)
            print(f"{text}: {len(ids)} ({shown})")
        print(
            f"wrote two figures of each of {len(inputs) - len(failed)} X-rays to {workdir / FOLDER}"
        )
    if failed:
        raise InputError(
            f"{len(failed)} of {len(inputs)} files could not be used, listed with the reason in "
            f"{workdir / FOLDER / FAILED}: "
            f"{'; '.join([*failed.values()][:3])}{'; ...' * (len(failed) > 3)}"
        )

"""COVID-CXNet's figures 2 and 3 for any X-ray: what each enhancement makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel
from jaxcxr.artifacts import RunFolder
from jaxcxr.data import preprocessing, xray_files
from jaxcxr.report import contrast, plots
from jaxcxr.types import InputError

FOLDER = "enhance"
SIDE = 320  # pixels at which COVID-CXNet enhances


def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=enhance --config.predict.inputs=...`: `enhance/<id>_figure2.png` and `_figure3.png` of each file.

    Raises:
      InputError: no files are named, or, after the others are done, some could not be read.
    """
    if not config.predict.inputs:
        raise InputError("predict.inputs is empty: name a file, a folder or a pattern of X-rays")
    plain = preprocessing.Preprocessing(image_size=SIDE, equalise=False, gamma=1.0, resize=config.data.resize)
    failed = []
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        found = xray_files.find(config.predict.inputs, leave_out=workdir / FOLDER)
        for file in tqdm(found, desc="enhance", unit="image", disable=not parallel.is_main()):
            try:
                pixels = xray_files.read_file(file).pixels
            except InputError as error:
                failed.append(str(error))
                continue
            image = np.asarray(preprocessing.prepare(pixels, None, plain, name=file.id).image)
            for name, draw in (("figure2", contrast.figure2), ("figure3", contrast.figure3)):
                folder.write_bytes(f"{FOLDER}/{file.id}_{name}.png", plots.to_png(draw(image)))
    if parallel.is_main():
        print(f"wrote two figures of each of {len(found) - len(failed)} X-rays to {workdir / FOLDER}")
    if failed:
        raise InputError(f"{len(failed)} of {len(found)} files could not be used: {'; '.join(failed[:3])}")

"""A network of named findings, such as CheXNet, as a classifier without fine-tuning.

COVID-CXNet 4.2 and 5.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, parallel, schema, weights
from jaxcxr.errors import InputError
from jaxcxr.inference.programs import predict_rows
from jaxcxr.metrics.ranking import roc_auc
from jaxcxr.report import plots
from jaxcxr.report.finding_bars import findings as draw_findings
from jaxcxr.storage.names import csv_line
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import input_sampler, is_classifier
from jaxcxr.tasks.network import Network
from jaxcxr.training.prepare import prepare
from jaxcxr.weights.finding_scores import pneumonia_score

NOTE = "Research use only. Not for diagnosis."


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=probe` with the weights that `model.pretrained` names.

    Head and all; nothing is trained.

    Writes `probe.csv` (every test image's findings and score), `probe.json` and `plots/probe.png`,
    the findings of one image of each class (figure 14); prints the area under the ROC curve of the
    last class by the score.
    """
    if not is_classifier(config) or not config.model.pretrained:
        raise InputError(
            "the probe needs a classifier's config and the weights it reads, such as "
            "model.pretrained=densenet121.chexnet"
        )
    with weights.from_config(config.model.pretrained):
        source = weights.find(config.model.pretrained)
        weights.check(source)
    labels = (source.entry.labels if source.entry else ()) or weights.catalog.CHESTXRAY14
    p = config.probe
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        experiment = prepare(config)
        rows, index = experiment.examples, experiment.splits["test"]
        probabilities = _probabilities(config, experiment.arrays, index, source, labels)
        score = np.asarray(
            pneumonia_score(
                probabilities, labels, findings=tuple(p.findings), combination=p.combination
            )
        )
        positive = rows.labels[index] == len(rows.classes) - 1
        area = roc_auc(positive, score)
        lines = [csv_line(["id", "label", *labels, "score", "note"])]
        for n, i in enumerate(index):
            values = [f"{value:.6f}" for value in (*probabilities[n], score[n])]
            lines.append(csv_line([str(rows.ids[i]), rows.classes[rows.labels[i]], *values, NOTE]))
        folder.write_text("probe.csv", "".join(lines))
        folder.write_json(
            "probe.json",
            {
                "note": NOTE,
                "weights": config.model.pretrained,
                "findings": list(p.findings),
                "combination": p.combination,
                "class": rows.classes[-1],
                "images": len(index),
                "roc_auc": None if np.isnan(area) else area,
            },
        )
        first = [int(np.flatnonzero(rows.labels[index] == c)[0]) for c in range(len(rows.classes))]
        shown = {
            f"{rows.ids[index[n]]}, {rows.classes[c]}": probabilities[n]
            for c, n in enumerate(first)
        }
        figure = draw_findings(
            shown, labels, highlight=tuple(p.findings), title=f"{config.model.pretrained}: findings"
        )
        folder.write_bytes("plots/probe.png", plots.to_png(figure))
    if parallel.is_main():
        how = (
            p.findings[0] if len(p.findings) == 1 else f"{p.combination} of {', '.join(p.findings)}"
        )
        print(
            f"ROC-AUC of {rows.classes[-1]} by {how}: {area:.4f} on {len(index)} test images, not "
            "fine-tuned"
        )
        print(f"wrote {workdir / 'probe.csv'} and plots/probe.png. {NOTE}")


def _probabilities(
    config: ConfigDict,
    arrays: Mapping[str, Any],
    index: np.ndarray,
    source: weights.Source,
    labels: tuple[str, ...],
) -> np.ndarray:
    """[N, findings] of these rows."""
    own = config.copy_and_resolve_references()
    # As many logits as findings.
    own.data.classes, own.data.targets, own.model.outputs = labels, (), "softmax"
    network, sampler = Network(own, axis_name=None), input_sampler.build(own)
    with weights.from_config(source.name):
        loaded = weights.load(source, network.init(0), arch=config.model.name, new_head=False)

    def predict(variables: Any, batch: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
        pixels = sampler.draw(batch, key, count=1, train=False)[:, 0]
        logits = network.logits(variables, pixels)
        return {"findings": jax.nn.sigmoid(logits), "weight": batch["weight"]}

    batches = data.eval_batches(
        {name: arrays[name] for name in sampler.inputs},
        index,
        batch_size=config.evaluate.batch_size,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
    program, key = parallel.spmd_predict(predict), jax.random.key(config.seed)
    parts = []
    with tqdm(total=len(index), desc="probe", unit="image", disable=not parallel.is_main()) as bar:
        for part in predict_rows(program, parallel.place(loaded.variables), batches, key):
            parts.append(part["findings"])
            bar.update(len(parts[-1]))
    return np.concatenate(parts)

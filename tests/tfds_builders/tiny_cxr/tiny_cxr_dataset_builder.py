"""The least that a builder says: a folder of pictures, one patient each."""

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import choices, rejection, xray_builder


class Builder(xray_builder.XrayBuilder):
    """Pictures of tiny/; option `only`: 'all' | 'none' of them."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = choices.all_configs({"only": ("all", "none")})
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Expected under the manual folder:\n  tiny/\n    0.png, ..."
    HOMEPAGE = "https://tiny.example"
    MASKS = ("mask_lung",)
    OWN_TEXTS = ("scanner",)

    def select(self, dl_manager):
        files = sorted((self.manual_root(dl_manager, "tiny") / "tiny").glob("*.png"))
        rejected = rejection.Rejected()
        if self.options["only"] == "none":
            rejected.add(rejection.Reason("unwanted"), [path.name for path in files])
            files = []
        return xray_builder.Selection(
            images=files,
            count=len(files),
            rejected=rejected,
            notices=["read twice"],
            unknown_findings={"odd", "a"},
            known_findings=("known",),
            more={"scanners": 1},
        )

    def examples(self, images):
        for path in images:
            yield xray_builder.Example(
                id=f"tiny-{path.stem}",
                image=path.read_bytes(),
                patient_id=path.stem,
                strict_patient_id="one",
                label="normal",
                finding="No finding",
                view="PA",
                source="tiny",
                age_group="adult",
                masks={"mask_lung": np.eye(3, dtype=bool)},
                own_texts={"scanner": "a"},
            )

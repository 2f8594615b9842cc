"""A TFDS builder of tiny images: 8 patients of one or two images, from memory or manual_dir."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

CLASSES = ("normal", "covid19")


@dataclasses.dataclass
class FakeConfig(tfds.core.BuilderConfig):
    patients: int = 8
    from_manual_dir: bool = False
    prefix: str = "fake"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_of(patient: int, number: int) -> np.ndarray:
    return np.random.default_rng([patient, number]).integers(0, 256, (48, 64), np.uint8)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Labels alternate by patient; the last patient has a finding that is no class."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "put fake/labels.txt there"

    @classmethod
    def configure(cls, *, patients=8, from_manual_dir=False, prefix="fake"):
        name = f"n{patients}_{'manual' if from_manual_dir else 'drawn'}_{prefix}"
        return FakeConfig(
            name=name, patients=patients, from_manual_dir=from_manual_dir, prefix=prefix
        )

    def _info(self):
        image = tfds.features.Image(shape=(None, None, None))
        mask = tfds.features.Image(shape=(None, None, 1))
        texts = ("id", "patient_id", "strict_patient_id", "label", "finding", "view", "source")
        texts = {name: tfds.features.Text() for name in (*texts, "age_group")}
        masks = {f"mask_{name}": mask for name in ("lung", "heart")}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"image": image, **masks, **texts}),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config
        labels = [CLASSES[patient % 2] for patient in range(config.patients - 1)] + [""]
        if config.from_manual_dir:
            file = Path(dl_manager.manual_dir) / "fake" / "labels.txt"
            if not file.exists():
                raise FileNotFoundError(f"{file} is missing: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
            labels = [label.strip() for label in file.read_text().splitlines()]
        self.info.metadata.update(rejected={"lateral": 3, "missing file": 0})
        return {"main": self._generate_examples(labels, config.prefix)}

    def _generate_examples(self, labels, prefix):
        lung = np.zeros((48, 64), np.uint8)
        lung[8:40, 8:56] = 255
        heart = np.zeros((48, 64), np.uint8)
        heart[20:40, 24:40] = 255
        heart[40:44, 24:40] = 127
        for patient, label in enumerate(labels):
            for number in range(1 + patient % 2):
                name = f"{prefix}-p{patient}_{number}"
                yield (
                    name,
                    {
                        "image": io.BytesIO(png(image_of(patient, number))),
                        "mask_lung": io.BytesIO(png(lung)),
                        "mask_heart": io.BytesIO(png(heart)),
                        "id": name,
                        "patient_id": f"{prefix}-p{patient}",
                        "strict_patient_id": f"{prefix}-p{patient // 2}",
                        "label": label,
                        "finding": label or "Lipoid",
                        "view": "PA",
                        "source": prefix,
                        "age_group": "adult",
                    },
                )

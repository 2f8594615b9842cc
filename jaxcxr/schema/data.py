"""The fields of every data section: images, classes, preprocessing."""

from __future__ import annotations

from jaxcxr.schema.field import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SEED_RANGE, Field, Section

PHANTOM_CLASSES = ("normal", "consolidation", "interstitial", "ground_glass")

_OPTIONS = Section(
    {
        "phantom_cxr": Section(
            {
                "size": Field(128, "side of the square pictures, pixels", within=COUNT),
                "patients": Field(120, "each has 1 to 3 images", within=COUNT),
                "seed": Field(0, "other seeds draw other patients", within=SEED_RANGE),
                "confounder": Field(
                    0.0,
                    "probability that the marker in the corner tells the class",
                    within=FRACTION,
                ),
            }
        ),
        "ccx": Section(
            {
                "pneumocystis": Field(
                    "bacterial",
                    "bacterial is published; it is a fungus, and fungal leaves it out",
                    values=("bacterial", "fungal"),
                ),
                "findings": Field(
                    "published",
                    "findings with a class; extended: all bacteria and viruses with a name",
                    values=("published", "extended"),
                ),
            }
        ),
        "kcx": Section({}),
        "montgomery_shenzhen": Section({}),
        "jsrt_scr": Section({}, is_open=True),  # png_polarity
        "nih_cxr14": Section(
            {
                "cap": Field(
                    "pneumonia",
                    "findings that count as pneumonia",
                    values=("pneumonia", "consolidation", "pneumonia_like"),
                ),
                "list": Field("all", "NIH's list of images", values=("all", "train_val", "test")),
            }
        ),
        "covid_cxnet": Section(
            {
                "no_findings": Field(
                    "left_out",
                    "X-rays of COVID-19 patients that show nothing",
                    values=("left_out", "covid19"),
                )
            }
        ),
        "hannover": Section(
            {
                "before_admission": Field(
                    "left_out",
                    "X-rays of 7 days or more before admission; published: COVID-CXNet's way",
                    values=("left_out", "guideline", "published"),
                )
            }
        ),
        "actualmed": Section(
            {"no_finding": Field("normal", "COVID-19 excluded", values=("normal", "left_out"))}
        ),
        "figure1": Section({}),
        "qatar_radiography": Section(
            {
                "lung_opacity": Field(
                    "left_out",
                    "class: the fourth one, of 2021",
                    values=("left_out", "class"),
                ),
                "masks": Field(
                    "none",
                    "lung: only images of the classes that have masks, with these",
                    values=("none", "lung"),
                ),
            }
        ),
        "v7_darwin": Section(
            {
                "missing_images": Field(
                    "error", "annotations without a picture", values=("error", "left_out")
                ),
                "licences": Field(
                    "any",
                    "of the pictures; open: those that allow changes and commercial use (KCX, and "
                    "CCX's rows of CC BY)",
                    values=("any", "open"),
                ),
            }
        ),
    },
    "per builder, the arguments of its `configure`",
    compiled=False,
    is_open=True,  # to the user's own builders
)

DATA = Section(
    {
        "builders": Field(("tfds_builders.phantom_cxr",), "pooled in this order"),
        "options": _OPTIONS,
        "data_dir": Field(
            "",
            "prepared data sets; '' = $TFDS_DATA_DIR or ~/tensorflow_datasets",
            identity=False,
        ),
        "manual_dir": Field("", "the folder of data sets downloaded by hand", identity=False),
        "classes": Field(
            PHANTOM_CLASSES,
            "the class table, in the order of the logits; () for segmentation",
        ),
        "relabel": Field(
            (),
            '"label=class", from a builder\'s label to a class; "label=" excludes its images',
        ),
        "targets": Field(
            (),
            '"class=target": the class that this run learns, applied after the split; "class=" '
            "excludes its images from the run; () learns all classes unchanged. For the levels of "
            "a hierarchy, which have a common split.",
        ),
        "sources": Field(
            (),
            "Images of these sources alone, such as montgomery of montgomery_shenzhen; () = all.",
        ),
        "patient_key": Field(
            "patient_id",
            "whose images are kept together; strict_patient_id: KCX's, FLANNEL's merged numbers",
            values=("patient_id", "strict_patient_id"),
        ),
        "limit": Field(
            0,
            "largest number of images, from a seeded sample of patients; 0 = all",
            within=NOT_NEGATIVE,
        ),
        "max_dropped": Field(
            0.2,
            "Largest fraction of a data set's images at fault (no file, no mask, an unknown view); "
            "images that a study excludes on purpose, such as lateral views, do not count.",
            identity=False,
            within=FRACTION,
        ),
        "max_bad_images": Field(
            0, "largest number of unreadable images, which are excluded", within=NOT_NEGATIVE
        ),
        "image_size": Field(
            128, "side after resizing, pixels; aspect not kept, as published", within=COUNT
        ),
        "equalise": Field(True, "histogram equalisation (paper 2.1)"),
        "gamma": Field(1.0, "exponent after equalisation; 0.5 for segmentation", within=POSITIVE),
        "enhance": Field(
            (),
            "Further enhancement at that size, one channel each, in this order. () leaves the one "
            "grey channel.",
            values=("original", "equalise", "adaptive", "local", "clahe", "beasf"),
        ),
        "resize": Field(
            "bilinear",
            "bilinear: Pillow's; bicubic: Pillow's, FLANNEL's; opencv_cubic: COVID-CXNet's, "
            "aliases when shrinking",
            values=("bilinear", "bicubic", "opencv_cubic"),
        ),
        "form": Field(
            "sound",
            "Of resize=opencv_cubic, match, beasf and JSRT's equalisation; published: with the "
            "faults of the published code (jaxcxr.data.contrast, jaxcxr.ops.enhance).",
            values=("sound", "published"),
        ),
        "match": Field(
            "none",
            "first: histograms are matched to that of the first image by id (COVID-CXNet)",
            values=("none", "first"),
        ),
        "lungs": Field(
            "whole",
            "box: crop around the lungs (COVID-CXNet); pixels: zero outside them. As controls, "
            "removed: zero inside them; shape: white lungs on black. By `masks`.",
            values=("whole", "box", "pixels", "removed", "shape"),
        ),
        "lung_margin": Field(
            0,
            "Around the box of lungs that were grown by 6: pixels of an image of 320 (its demo: "
            "10).",
            within=NOT_NEGATIVE,
        ),
        "cut": Field(
            (0, 0, 0, 0),
            "Pixels off the resized image: top, left, bottom, right (V7 diagnosis: 10, 10, 0, 10).",
            within=NOT_NEGATIVE,
            items=4,
        ),
    },
    "images, classes, preprocessing",
)

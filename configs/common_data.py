"""The fields of every data section: images, classes, preprocessing."""

from ml_collections import ConfigDict

PHANTOM_CLASSES = ("normal", "consolidation", "interstitial", "ground_glass")
CLASSES = ("covid19", "viral", "bacterial", "normal")  # FLANNEL's order


def data_section() -> ConfigDict:
    d = ConfigDict()
    d.builders = ("tfds_builders.phantom_cxr",)  # pooled in this order
    d.options = ConfigDict()  # per builder, the arguments of its `configure`
    d.options.phantom_cxr = ConfigDict(dict(size=128, patients=120, seed=0, confounder=0.0))
    # CCX. pneumocystis: bacterial (published; it is a fungus) | fungal (left out). findings:
    # published | extended.
    d.options.ccx = ConfigDict(dict(pneumocystis="bacterial", findings="published"))
    d.options.kcx = ConfigDict()
    d.options.montgomery_shenzhen = ConfigDict()
    d.options.jsrt_scr = ConfigDict()
    # cap, findings that count as pneumonia: pneumonia | consolidation | pneumonia_like. list: all |
    # train_val | test.
    d.options.nih_cxr14 = ConfigDict(dict(cap="pneumonia", list="all"))
    # X-rays of COVID-19 patients that show nothing: left_out | covid19
    d.options.covid_cxnet = ConfigDict(dict(no_findings="left_out"))
    # X-rays of 7 days or more before admission: left_out | guideline | published (COVID-CXNet's)
    d.options.hannover = ConfigDict(dict(before_admission="left_out"))
    # COVID-19 excluded: normal | left_out
    d.options.actualmed = ConfigDict(dict(no_finding="normal"))
    d.options.figure1 = ConfigDict()
    # lung_opacity: left_out | class (the fourth one, of 2021). masks: none | lung, of the classes
    # that have them
    d.options.qatar_radiography = ConfigDict(dict(lung_opacity="left_out", masks="none"))
    # Annotations without a picture: error | left_out.
    d.options.v7_darwin = ConfigDict(dict(missing_images="error"))
    d.data_dir = ""  # prepared data sets; '' = $TFDS_DATA_DIR or ~/tensorflow_datasets
    d.manual_dir = ""  # the folder of data sets downloaded by hand
    d.classes = PHANTOM_CLASSES  # the class table, in the order of the logits; () for segmentation
    # "label=class", from a builder's label to a class; "label=" excludes its images
    d.relabel = ()
    # "class=target": the class that this run learns, applied after the split; "class=" excludes its
    # images from the run; () learns all classes unchanged. For the levels of a hierarchy, which
    # have a common split.
    d.targets = ()
    d.patient_key = "patient_id"  # patient_id | strict_patient_id (KCX: FLANNEL's merged numbers)
    d.limit = 0  # largest number of images, from a seeded sample of patients; 0 = all
    # Largest fraction of a data set's images at fault (no file, no mask, an unknown view); images
    # that a study excludes on purpose, such as lateral views, do not count.
    d.max_dropped = 0.2
    d.max_bad_images = 0  # largest number of unreadable images, which are excluded
    d.image_size = 128  # side after resizing, pixels; aspect not kept, as published
    d.equalise = True  # histogram equalisation (paper 2.1)
    d.gamma = 1.0  # exponent after equalisation; 0.5 for segmentation
    # Further enhancement at that size, one channel each, in this order: original | equalise |
    # adaptive | local | clahe | beasf. () leaves the one grey channel.
    d.enhance = ()
    # bilinear (Pillow's) | opencv_cubic (COVID-CXNet; aliases when shrinking)
    d.resize = "bilinear"
    # none | first: histograms are matched to that of the first image by id (COVID-CXNet)
    d.match = "none"
    # whole | box (crop around the lungs, COVID-CXNet) | pixels (zero outside them); by `masks`
    d.lungs = "whole"
    # Around the box of lungs that were grown by 6: pixels of an image of 320 (its demo: 10).
    d.lung_margin = 0
    # Pixels off the resized image: top, left, bottom, right (V7 diagnosis: 10, 10, 0, 10).
    d.cut = (0, 0, 0, 0)
    return d


def real_classes(d: ConfigDict) -> None:
    """CCX and KCX, the papers' four classes."""
    d.builders = ("tfds_builders.ccx", "tfds_builders.kcx")
    d.classes = CLASSES
    # KCX numbers are ambiguous: merging patients is safe, splitting them leaks
    d.patient_key = "strict_patient_id"

"""The explorer of chapter 11: a box over points shows their images, or says that it is empty."""

import json
import re
from copy import deepcopy

import pytest
import vl_convert

from memhelpers import lab
from memhelpers.page import figures
from memhelpers.runs import records
from tests import chapters
from tools import judging

(PATH,) = [path for path in chapters.CHAPTERS if path.stem == "11-loss-trajectories"]


@pytest.fixture(scope="module")
def spec():
    """The chart of the recorded quick run."""
    space = judging.definitions(PATH)
    tables = records.load(PATH.stem, "quick-digits").tables
    return space["explorer"](lab.Run("This page: digits", tables)).specs[0]


def drawn(spec, box):
    """The texts of the chart, and how many images it shows, with a box."""
    moved = deepcopy(spec)
    (brush,) = [one for one in moved["params"] if one["name"] == "brush"]
    if box is None:
        del brush["value"]
    else:
        brush["value"] = box
    svg = vl_convert.vegalite_to_svg(json.dumps(figures._static(moved, 720)))
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg), len(re.findall("<image ", svg))


def test_the_box_shows_as_many_images_as_it_says(spec):
    texts, images = drawn(spec, {"x": [0, 3.5], "y": [0, 0.25]})
    (said,) = [text for text in texts if "images in the box" in text]
    assert images > 3
    assert re.match(rf"(The first {images} of \d+|{images}) images in the box, \d+ with", said)


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ({"x": [0.1, 0.2], "y": [0, 0.1]}, "No image in this box: move it over some points."),
        (None, "Drag a box over points to see their images."),
    ],
)
def test_a_box_over_nothing_says_what_to_do(spec, box, sentence):
    texts, images = drawn(spec, box)
    assert sentence in texts
    assert images == 0

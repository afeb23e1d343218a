import numpy as np
import pytest

from data.loading.crops import read_crop, to_input
from pipeline.errors import TableError


def test_the_centre_fraction_keeps_the_middle_of_the_crop():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 200, 3))
    assert (to_input(ramp, 100, 0.5)[:, 0, 0] == np.arange(50, 150)).all()
    assert to_input(ramp, 128).shape == (128, 128, 3)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_crop_that_cannot_be_read_is_an_error_and_never_a_black_picture(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(TableError, match="make extract"):
        read_crop(tmp_path / "a.png")

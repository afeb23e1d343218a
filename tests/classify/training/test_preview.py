import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from classify.models.network import FaceNet
from classify.training import preview
from classify.training.dataset import parts_of
from classify.training.train import parse, train
from data.loading.options import AugmentOptions
from data.loading.pack import Pack

FLAGS = ["--backbone", "resnet10t", "--weights", "none", "--size", "32", "--device", "cpu", "--batch", "16",
         "--epochs", "1", "--precision", "fp32", "--cutout", ".5", "--jpeg", "20", "--downscale", ".3"]


def test_the_sheet_shows_what_training_gives_the_network(demo_run, tmp_path, monkeypatch):
    given, features = [], FaceNet.features
    monkeypatch.setattr(FaceNet, "features", lambda self, pictures: (given.append(pictures.detach().clone()),
                                                                     features(self, pictures))[1])
    out, model, training, options, running = parse(["--out", str(demo_run), *FLAGS])
    train(out, model, training, options, running, tmp_path)
    table, _ = parts_of(out, training)
    fed = torch.cat([pictures for pictures in given if pictures.dtype == torch.float32])[:len(table)]  # first the epoch
    pack = Pack(out, model.size, model.centre)
    rows = np.array([0, 5, len(table) - 1])
    for shown in preview.seen(pack.pictures, pack.numbers(table["crop"]), table["label"].to_numpy(), rows,
                              options, training.seed, epoch=0):
        assert min(float((fed - torch.from_numpy(shown)).abs().amax((1, 2, 3)).min()), 99) < 1e-3


def test_the_rows_are_of_distinct_videos_and_both_classes():
    videos = np.array([f"{n // 3}.mp4" for n in range(60)])
    labels = (np.arange(60) // 3 % 4 != 0).astype(int)  # 5 real videos, 15 fakes
    rows = preview.chosen(videos, labels, seed=0)
    assert labels[rows].tolist() == [0] * 4 + [1] * 4 and len(set(videos[rows])) == 8
    assert preview.chosen(videos[:3], labels[:3], seed=0).shape == (1,)


def test_the_command_writes_the_sheet_with_the_recipes_options(demo_run, capsys):
    assert preview.main(["--out", str(demo_run), "--recipe", "small-cnn", "--jpeg", "20"]) == 0
    sheet = cv2.imread(str(demo_run / "augment.png"))
    videos = pd.read_csv(demo_run / "split.csv").query("part == 'train'")["label"].value_counts()
    n = [min(preview.ROWS, int(videos[label])) for label in (0, 1)]
    assert f"{n[0]} reals and {n[1]} fakes" in capsys.readouterr().out
    side, gap = 4 * 32, preview.GAP_PX  # 32 px is enlarged by a whole number to at least 112
    assert sheet.shape[1] == 5 * preview.TEXT_PX + 8 * (side + gap)
    assert sheet.shape[0] % preview.LINE_PX == sum(n) * (side + gap) % preview.LINE_PX


def test_plain_columns_are_the_packed_crops_where_nothing_is_varied(demo_run):
    still = AugmentOptions(rotate=0, shift=0, flip=False)
    pack = Pack(demo_run, 32, 1.0)
    shown = preview.seen(pack.pictures, np.arange(len(pack.pictures)), np.zeros(len(pack.pictures)),
                         np.array([2, 4]), still, seed=0, epoch=3)
    assert shown == pytest.approx(pack.pictures[[2, 4]].transpose(0, 3, 1, 2), abs=.05)

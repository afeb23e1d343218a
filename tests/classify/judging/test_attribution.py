"""Heat maps of networks whose answer is known."""
import numpy as np
import pytest
import torch

from classify.judging.attribution import coloured, heat_maps, most
from classify.judging.gradients import LEAST_PLACES, pick_layer
from classify.models.network import Ensemble, build
from classify.models.options import ModelOptions

SIZE = 32


class Corner(torch.nn.Module):
    """A network by hand: one convolution that passes brightness on, and a head that sees the upper left quarter only,
    in which light is fake in the outer half and real in the inner."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1, bias=False))
        torch.nn.init.constant_(self.body[0].weight, 1 / 765)
        self.register_buffer("mean", torch.zeros(1))
        self.look = torch.zeros(SIZE, SIZE)
        self.look[:8, :8] = 1.0
        self.look[8:16, 8:16] = -1.0

    def forward(self, pictures):
        return (self.body(pictures)[:, 0] * self.look).sum((1, 2))


def noise(n=1, seed=0):
    return np.random.default_rng(seed).integers(50, 200, (n, SIZE, SIZE, 3), dtype=np.uint8)


def test_the_map_is_hot_where_the_network_looks_and_nowhere_else():
    pictures = noise(3)
    maps = heat_maps(Corner(), pictures)
    assert maps.shape == (3, SIZE, SIZE) and maps.dtype == np.float32
    assert (maps[:, :8, :8] > 0).all() and (maps[:, 8:16, 8:16] < 0).all()
    rest = maps.copy()
    rest[:, :8, :8] = rest[:, 8:16, 8:16] = 0
    assert (rest == 0).all()
    logits = Corner()(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    assert maps.sum((1, 2)) == pytest.approx(logits.tolist(), rel=1e-4)  # of a linear network: all


def test_the_map_changes_with_what_is_looked_at_and_not_with_the_background():
    picture, other_face, other_background = noise(), noise(), noise()
    other_face[:, :8, :8] = noise(seed=1)[:, :8, :8]
    other_background[:, 16:] = noise(seed=1)[:, 16:]
    maps = [heat_maps(Corner(), p) for p in (picture, other_face, other_background)]
    assert not np.array_equal(maps[0], maps[1]) and np.array_equal(maps[0], maps[2])


# A network with strides, a plain one, channels last, tokens with a class token, and the project's own.
@pytest.mark.parametrize("backbone, size", [("small-cnn", 32), ("tf_efficientnet_lite0", 128), ("mobilenetv2_100", 96),
                                            ("resnet18", 128), ("convnext_atto", 64), ("vit_tiny_patch16_224", 224),
                                            ("swin_tiny_patch4_window7_224", 224)])
def test_every_kind_of_backbone_has_a_map_that_is_not_empty_or_all_alike(backbone, size):
    torch.manual_seed(0)
    net, _ = build(ModelOptions(backbone=backbone, weights="none", size=size))
    picture = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    maps = heat_maps(net.eval(), picture)
    assert maps.shape == (2, size, size) and np.isfinite(maps).all()
    assert maps.std() > 0 and not np.array_equal(maps[0], maps[1])


def test_the_layer_is_the_deepest_with_enough_places():
    net, _ = build(ModelOptions(backbone="resnet18", weights="none", size=128))
    assert pick_layer(net.body, 128) is net.body.layer3 and 128 // 16 >= LEAST_PLACES
    assert pick_layer(net.body, 224) is net.body.layer4


def test_an_ensemble_s_map_is_the_mean_each_on_its_part():
    torch.manual_seed(0)
    cards = [build(ModelOptions(backbone="small-cnn", weights="none", size=SIZE, centre=centre))[1]
             for centre in (1.0, .5)]
    net = Ensemble(cards).eval()
    picture = noise()
    whole = heat_maps(net.members[0], picture)
    both = heat_maps(net, picture)
    assert np.allclose(both[:, :8], whole[:, :8] / 2, atol=1e-7)   # outside of the second's part
    assert not np.allclose(both[:, 8:24, 8:24], whole[:, 8:24, 8:24] / 2, atol=1e-9)


def test_a_network_without_places_has_no_map():
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, 1))
            self.register_buffer("mean", torch.zeros(1))

        def forward(self, pictures):
            return self.body(pictures).flatten()

    assert heat_maps(Flat(), noise()) is None and most(None) == 0
    assert heat_maps(torch.nn.Identity(), noise()) is None  # Keras' has no backbone of torch


def test_the_scores_do_not_change_by_looking():
    torch.manual_seed(0)
    net, _ = build(ModelOptions(backbone="small-cnn", weights="none", size=SIZE))
    batch = torch.from_numpy(noise()).permute(0, 3, 1, 2)
    before = net.eval()(batch)
    heat_maps(net, noise())
    assert torch.equal(net(batch), before) and all(p.grad is None for p in net.parameters())


def test_orange_is_towards_fake_blue_towards_real_and_grey_is_neither():
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[:8], heat[-8:] = 1, -1
    shown = coloured(noise()[0], heat, most(heat)).astype(int)
    assert (shown[2, :, 0] > shown[2, :, 2] + 50).all() and (shown[-3, :, 2] > shown[-3, :, 0] + 50).all()
    assert (np.ptp(shown[SIZE // 2], axis=1) == 0).all()

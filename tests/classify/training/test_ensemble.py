import pytest
import torch

from classify.evaluation.options import ScoreOptions
from classify.models.network import Ensemble, build, load_checkpoint, save_checkpoint, scores_of
from classify.models.options import ModelOptions
from classify.training import ensemble as command
from classify.training.ensemble import ensemble
from pipeline.errors import CheckpointError, SplitError
from tests.cards import JUDGING

HERE = ScoreOptions(device="cpu")


def member(path, run, size, seed, **changes):
    """An untrained network with the card of the demo run's."""
    torch.manual_seed(seed)
    net, part = build(ModelOptions(backbone="resnet10t", weights="none", size=size))
    torch.nn.init.normal_(net.head[-1].weight)
    _, card = load_checkpoint(run / "model" / "model.safetensors")
    save_checkpoint(path, net, {**card, **part, **changes})
    return path


def test_the_logit_is_the_mean_of_the_members_each_at_its_own_size():
    nets = [build(ModelOptions(backbone="resnet10t", weights="none", size=size)) for size in (32, 64)]
    for net, _ in nets:
        torch.nn.init.normal_(net.head[-1].weight)
    both = Ensemble([card for _, card in nets]).eval()
    for ours, (net, _) in zip(both.members, nets):
        ours.load_state_dict(net.eval().state_dict())
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    small = torch.nn.functional.interpolate(pictures.float(), (32, 32), mode="bilinear", antialias=True)
    with torch.inference_mode():
        assert torch.allclose(both(pictures), (nets[0][0](small) + nets[1][0](pictures)) / 2, atol=1e-5)


def test_an_ensemble_is_one_file_that_judges_with_choices_of_its_own(demo_run, demo_corpus, tmp_path, capsys):
    from classify import video

    models = [member(tmp_path / f"{size}.safetensors", demo_run, size, size) for size in (32, 64)]
    assert command.main([*map(str, models), "--out", str(demo_run), "--device", "cpu"]) == 0
    path = demo_run / "model" / "ensemble.safetensors"
    net, card = load_checkpoint(path)
    assert card["size_px"] == 64 and card["chosen_on"]["n_videos"] > 0 and 0 < card["threshold"] < 1
    assert card["training"]["members"] == [load_checkpoint(model)[1]["model_id"] for model in models]
    assert scores_of(net, torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2,)
    clip = sorted((demo_corpus / "Celeb-real").iterdir())[0]
    assert video.main([str(clip), "--model", str(path), "--device", "cpu"]) == 0
    assert "a face in" in capsys.readouterr().out
    path.unlink()


def test_an_ensemble_is_no_member_of_another(tmp_path):
    net, card = build(ModelOptions(backbone="resnet10t", weights="none", size=32))
    both = tmp_path / "both.safetensors"
    save_checkpoint(both, Ensemble([card, card]), {"members": [card, card], "backbone": "ensemble", "size_px": 32,
                                                   **JUDGING})
    with pytest.raises(CheckpointError, match="both.safetensors is an ensemble: name its members"):
        ensemble([both, both], tmp_path, HERE)


def test_members_of_other_splits_or_crops_and_lone_ones_are_refused(demo_run, tmp_path):
    one = member(tmp_path / "a.safetensors", demo_run, 32, 0)
    with pytest.raises(CheckpointError, match="at least two"):
        ensemble([one], demo_run, HERE)
    with pytest.raises(SplitError, match="another split"):
        ensemble([one, member(tmp_path / "b.safetensors", demo_run, 32, 1, split_hash="other")], demo_run, HERE)
    with pytest.raises(SplitError, match="other options"):
        ensemble([one, member(tmp_path / "c.safetensors", demo_run, 32, 1, faces={"margin": 2.0})], demo_run, HERE)


def test_an_ensemble_can_be_trained_on_as_one_network(demo_run, tmp_path):
    import shutil

    from classify import train
    from classify.models.network import Ensemble, read_card

    out = tmp_path / "out"
    shutil.copytree(demo_run, out, ignore=shutil.ignore_patterns("model", "report", "packed"))
    members = [member(tmp_path / f"{seed}.safetensors", demo_run, 32, seed) for seed in (0, 1)]
    ensemble(members, demo_run, HERE)
    begin = demo_run / "model" / "ensemble.safetensors"
    before = load_checkpoint(begin)[0].state_dict()
    assert train.main(["--out", str(out), "--begin", str(begin), "--epochs", "1", "--device", "cpu"]) == 0
    after, card = load_checkpoint(out / "model" / "model.safetensors")
    assert isinstance(after, Ensemble) and len(card["members"]) == 2
    assert card["continued"]["from"] == read_card(begin)["model_id"]
    now = after.state_dict()
    learned = {name.split(".")[1] for name in now if not torch.equal(now[name], before[name])}
    assert learned == {"0", "1"}  # both members

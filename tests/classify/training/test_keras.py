"""Training on TensorFlow and judging `.keras` files. TensorFlow itself runs in processes of its own."""
import json
import os
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision  # noqa: F401  before anything can import TensorFlow

from classify.evaluation.options import ScoreOptions
from classify.models.network import load_checkpoint, read_card
from classify.models.options import ModelOptions
from classify.training import keras_state
from classify.training.recipes import TrainOptions
from data.loading.options import AugmentOptions
from pipeline.errors import CheckpointError, OptionsError, WeightsError
from tests.cards import JUDGING
from tests.crops import write_noise_crops

keras = pytest.mark.skipif(not util.find_spec("keras"), reason="keras is not installed: make setup EXTRAS=keras")
tensorflow = pytest.mark.skipif(not util.find_spec("tensorflow"),
                                reason="TensorFlow is not installed: make setup EXTRAS=tensorflow")
FLAGS = ["--backbone", "mobilenetv2_100", "--weights", "none", "--size", "32", "--batch", "16", "--lr", "1e-3",
         "--device", "cpu", "--patience", "0"]


@pytest.fixture
def out(tmp_path):
    """OUT with noise crops: 6 + 18 training, 4 + 4 validation videos."""
    return write_noise_crops(tmp_path, n_train=24, n_real=6, n_val=8)


def run_training(out, *flags):
    """The command in a process of its own. Returns (status, stdout, stderr)."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "classify.train", "--out", str(out), "--framework",
                           "tensorflow", *flags],
                          capture_output=True, text=True, cwd=Path(__file__).parents[3])
    return done.returncode, done.stdout, done.stderr


def build(**options):
    """(keras, model, card) on torch."""
    from classify.models import keras

    on_torch = keras.keras_on("torch")
    return on_torch, *keras.build(on_torch, ModelOptions(**{
        "backbone": "mobilenetv2_100", "weights": "none", "size": 32, **options}))


def pictures(n=3, size=32):
    return np.random.default_rng(1).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def lively(on_torch, model):
    """The model with scores that depend on the picture: untrained, they hardly do. Batch norm gets the statistics of a
    batch, the head weights of spread 1."""
    body = next(layer for layer in model.layers if hasattr(layer, "layers"))
    norms = [layer for layer in body.layers if isinstance(layer, on_torch.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    with torch.no_grad():
        model(pictures(8).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.9
    rng = np.random.default_rng(2)
    model.get_layer("logit").set_weights([rng.normal(0, 1, w.shape) for w in model.get_layer("logit").get_weights()])
    return model


@pytest.fixture
def saved(tmp_path):
    """A saved model with random weights and its path."""
    from classify.models.keras import save_checkpoint

    on_torch, model, card = build()
    path = tmp_path / "x.keras"
    choices = {**JUDGING, "split_hash": "abc"}
    save_checkpoint(path, lively(on_torch, model), {**card, **choices})
    return path, model


def test_the_batches_are_those_of_the_torch_side(out, monkeypatch):
    from classify.training import module, train
    from classify.training.dataset import material
    from classify.training.keras import learning_batches
    from data.loading.batches import EpochOrder

    augmentation = AugmentOptions(zoom=.1, colour=.2, cutout=.2, downscale=.5, jpeg=50)
    training = TrainOptions(epochs=2, patience=0, seed=3)
    seen, augment, labels = [], module.augment, []
    monkeypatch.setattr(module, "augment", lambda *given: seen.append(augment(*given)) or seen[-1])
    loss = module.Learner._loss
    monkeypatch.setattr(module.Learner, "_loss", lambda self, logits, given: (
        labels.append(given) if self.training else None, loss(self, logits, given))[1])
    train.train(out, ModelOptions(backbone="resnet10t", weights="none", size=32), training, augmentation,
                ScoreOptions(device="cpu", batch=16))
    crops = material(out, 32, 1.0, training)
    order = EpochOrder(crops.train["label"].to_numpy(), 16, training.seed)
    ours = [batch for epoch in range(2) for batch in learning_batches(crops, order, augmentation, epoch)]
    assert len(ours) == len(seen) == len(labels) == 2 * 5
    for (here, truth), there, label in zip(ours, seen, labels):
        assert here.dtype == np.float32 and np.array_equal(here, there.permute(0, 2, 3, 1).numpy())
        assert np.array_equal(truth, label.numpy())


def test_the_learning_rate_is_that_of_the_torch_side():
    from classify.training.module import PLATEAU

    options = TrainOptions(epochs=12, lr=1e-3, head_epochs=3, fine_lr=1e-4, plateau=True)
    losses = [1.0, 2.0, 3.0, 0.9, 0.89999, 0.91, 0.8, 0.9, 0.9, 0.9, 0.9]
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=options.lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
    history = []
    for epoch, loss in enumerate(losses):
        if epoch == options.head_epochs:
            optimizer.param_groups[0]["lr"] = options.fine_lr
        assert keras_state.learning_rate(history, options) == pytest.approx(optimizer.param_groups[0]["lr"]), epoch
        history.append({"val_loss": loss})
        schedule.step(loss)
    assert optimizer.param_groups[0]["lr"] < options.fine_lr / 20


def test_patience_counts_from_the_best_epoch_after_the_frozen_ones():
    options = TrainOptions(epochs=20, head_epochs=3, patience=2)
    history = []
    for auc in (.9, .5, .5, .6, .7, .6, .65):
        assert not keras_state.finished(history, options)
        history.append({"val_video_auc": auc, "val_loss": 1.0})
    assert keras_state.finished(history, options) and keras_state.best_of(history) == 1


def test_the_validation_row_is_that_of_the_torch_side(out):
    from classify.training.module import Learner

    rows = pd.DataFrame({"video_id": list("aabbcc"), "label": [0, 0, 1, 1, 0, 0]})
    logits = np.array([-1, .5, 2, 1, 3, -.2], np.float32)
    learner = Learner(torch.nn.Identity(), (0.75, 1.5), rows, TrainOptions(smoothing=.1), AugmentOptions(), out / "x")
    learner._val = [(torch.tensor(logits), torch.tensor(rows["label"]), torch.arange(6))]
    learner.log = learner.log_dict = lambda *args, **kwargs: None
    learner._trainer = type("One", (), {"world_size": 1})()
    learner.on_validation_epoch_end()
    row = keras_state.history_row(logits, rows, np.array([0.75, 1.5]), .1)
    assert row == pytest.approx(learner._row, rel=1e-5) and list(row) == list(learner._row)


@keras
def test_a_saved_model_gives_the_same_scores_and_its_card_is_the_whole_card(saved):
    from classify.models.keras import logits_of
    from classify.models.network import scores_of

    path, model = saved
    net, card = load_checkpoint(path)
    nchw = torch.from_numpy(pictures()).permute(0, 3, 1, 2)
    logits = logits_of(model, pictures())
    assert np.ptp(logits) > 1e-3
    assert net(nchw).detach().numpy() == pytest.approx(logits, abs=1e-3)
    assert scores_of(net, nchw).numpy() == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
    assert card == read_card(path) and card["label_map"] == {"real": 0, "fake": 1} and card["threshold"] == 0.5
    assert next(net.parameters()).device.type == "cpu"


@keras
def test_the_sheet_of_a_keras_model_says_that_it_has_no_heat_map(saved, demo_corpus):
    from classify.judging.evidence import gather
    from classify.judging.judge import Judge
    from classify.judging.sheet.page import render
    from classify.models.keras import card_path
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import FaceOptions
    from pipeline.options import as_record

    card = json.loads(card_path(saved[0]).read_text())
    crops = {"faces": as_record(FaceOptions()), "frames": as_record(FrameOptions())}
    card_path(saved[0]).write_text(json.dumps({**card, **crops}))
    found = gather(Judge(saved[0], "cpu"), next(demo_corpus.glob("Celeb-real/*.mp4")))
    assert found.verdict.score is not None and all(face.heat is None for _, faces in found.shown for face in faces)
    page = render(found)
    assert "There is no heat map:" in page and ".keras" in page and "right what moved" not in page
    assert page.count('alt="Face ') == len(found.verdict.frames)


@keras
def test_a_file_alone_takes_rgb_and_gives_p_fake(saved):
    from classify.models.keras import keras_on, logits_of

    path, model = saved
    alone = keras_on("torch").models.load_model(path, safe_mode=True)
    assert alone.predict_on_batch(pictures())[:, 0] == pytest.approx(
        1 / (1 + np.exp(-logits_of(model, pictures()))), abs=1e-5)


@keras
def test_a_changed_file_a_missing_card_and_a_changed_network_are_errors(saved):
    path, _ = saved
    card = json.loads(path.with_name("x.keras.json").read_text())
    path.with_name("x.keras.json").write_text(json.dumps({**card, "probe": [7.0, 7.0]}))
    with pytest.raises(CheckpointError, match="gives other scores"):
        load_checkpoint(path)
    path.with_name("x.keras.json").write_text(json.dumps({**card, "format": 1}))
    with pytest.raises(CheckpointError, match="has format 1"):
        load_checkpoint(path)
    path.with_name("x.keras.json").write_text(json.dumps(card))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CheckpointError, match="is not the file that"):
        load_checkpoint(path)
    path.with_name("x.keras.json").unlink()
    with pytest.raises(CheckpointError, match="needs its card"):
        load_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="no model at"):
        read_card(path)


@keras
def test_a_file_that_holds_code_is_refused(saved, tmp_path):
    import hashlib

    path, _ = saved
    on_torch, _, _ = build()
    layers = on_torch.layers
    evil = on_torch.Sequential([on_torch.Input((32, 32, 3)), layers.Lambda(lambda x: x), layers.Flatten(),
                                layers.Dense(1, name="logit")])
    evil.save(path)
    card = path.with_name("x.keras.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": digest}))
    with pytest.raises(CheckpointError, match="cannot be read by Keras"):
        load_checkpoint(path)


@keras
@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2_100", "efficientnet_b0", "tf_efficientnetv2_b0"])
def test_the_network_does_what_keras_says_to_do_before_it(backbone):
    from classify.models.keras import NETWORKS, logits_of

    on_torch, model, _ = build(backbone=backbone)
    lively(on_torch, model)
    prepared = getattr(on_torch.applications, NETWORKS[backbone][0]).preprocess_input(pictures().astype(np.float32))
    features = model.get_layer(backbone).predict_on_batch(prepared)
    kernel, bias = model.get_layer("logit").get_weights()
    assert np.ptp(logits_of(model, pictures())) > 1e-2
    assert logits_of(model, pictures()) == pytest.approx((features @ kernel + bias)[:, 0], abs=1e-3)


@keras
def test_efficientnet_from_a_file_is_the_network_that_keras_downloads(tmp_path, monkeypatch):
    from classify.models.keras import keras_on

    keras_on("torch").utils.set_random_seed(3)  # some random weights magnify roundings a hundredfold
    on_torch, model, _ = build(backbone="efficientnet_b0")
    body = model.get_layer("efficientnet_b0")
    norm = next(layer for layer in body.layers if isinstance(layer, on_torch.layers.Normalization))
    mean, variance = np.array([.485, .456, .406]), np.array([.229, .224, .225])
    norm.set_weights([w.reshape(old.shape) for w, old in zip((mean, variance), norm.get_weights())]
                     + norm.get_weights()[2:])
    lively(on_torch, model)
    file = tmp_path / "notop.weights.h5"
    body.save_weights(file)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *args, **kwargs: str(file))
    theirs = on_torch.applications.EfficientNetB0(include_top=False, weights="imagenet", pooling="avg",
                                                  input_shape=(32, 32, 3))
    assert any(layer.name.startswith("rescaling_") for layer in theirs.layers)
    _, ours, _ = build(backbone="efficientnet_b0", weights=str(file))
    rgb = pictures().astype(np.float32)
    divided = np.asarray(on_torch.ops.convert_to_numpy(ours.get_layer("second_division")(rgb)))
    seen, undivided = (ours.get_layer("efficientnet_b0").predict_on_batch(x) for x in (divided, rgb))
    expected = theirs.predict_on_batch(rgb)
    # What counts is that the step is there.
    off, off_without = (np.abs(x - expected).mean() / np.ptp(expected) for x in (seen, undivided))
    assert off < 0.02 and off_without > 10 * off


@keras
def test_imagenet_weights_without_a_network_name_the_file_to_supply(monkeypatch):
    def offline(name, origin, **kwargs):
        raise Exception(f"URL fetch failure on {origin}: None -- Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(WeightsError, match=r"download https://\S+resnet50\S+notop.h5 and pass WEIGHTS=that file"):
        build(backbone="resnet50", weights="imagenet")


@keras
def test_weights_come_from_a_keras_file_or_an_h5_file_that_fits(saved, tmp_path):
    path, model = saved
    wanted = model.get_layer("mobilenetv2_100").get_weights()
    model.get_layer("mobilenetv2_100").save_weights(tmp_path / "body.weights.h5")
    for file in (path, tmp_path / "body.weights.h5"):
        got = build(weights=str(file))[1].get_layer("mobilenetv2_100").get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))
    for wrong, said in ((str(tmp_path / "no.h5"), "no such file"), (__file__, "give a .keras")):
        with pytest.raises(WeightsError, match=said):
            build(weights=wrong)
    for file in (path, tmp_path / "body.weights.h5"):
        with pytest.raises(WeightsError, match="does not fit resnet50"):
            build(backbone="resnet50", weights=str(file))


@keras
@pytest.mark.parametrize("options, said", [({"backbone": "vit_base_patch16_224"}, "only resnet50, mobilenetv2_100"),
                                           ({"spectrum": True}, "SPECTRUM"),
                                           ({"methods": True}, "METHODS"), ({"size": 16}, "SIZE=16")])
def test_what_keras_does_not_have_is_refused(options, said):
    with pytest.raises(OptionsError, match=said):
        build(**options)


@pytest.mark.parametrize("option", [{"ema": .9}, {"begin": "x.keras"}, {"cosine": True}, {"precision": "bf16"}])
def test_an_option_that_only_torch_has_is_refused_and_not_ignored(out, option):
    from classify.training.keras import train

    with pytest.raises(OptionsError, match=f"{next(iter(option)).upper()}.* is not there on TensorFlow"):
        train(out, ModelOptions(), TrainOptions(**option), AugmentOptions(), ScoreOptions())


def test_without_tensorflow_or_keras_one_line_names_the_extra(monkeypatch):
    from classify.models.keras import keras_on
    from classify.training.keras import start

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(OptionsError, match="TensorFlow is not installed: `make setup EXTRAS=tensorflow`"):
        start("auto", 0)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(CheckpointError, match="is not installed: `make setup EXTRAS=keras`"):
        keras_on("torch")


def test_torch_training_leaves_a_tensorflow_beside_it_alone(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise RuntimeError('TensorFlow was imported')")
    script = ("import sys; from pathlib import Path; from classify.training.module import trainer; "
              "from classify.training.recipes import TrainOptions; "
              "trainer(Path(sys.argv[1]), 'cpu', TrainOptions())[1].logger.experiment.add_scalar('x', 1.0, 0)")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(tmp_path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=Path(__file__).parents[3])
    assert done.returncode == 0 and any(tmp_path.glob("events.out*")), done.stderr


@keras
def test_a_keras_file_is_no_member_of_an_ensemble_and_no_beginning_on_torch(saved, out):
    from classify.training.ensemble import ensemble
    from classify.training.train import train

    with pytest.raises(CheckpointError, match="x.keras is Keras' network"):
        ensemble([saved[0]] * 2, out, ScoreOptions(device="cpu"))
    with pytest.raises(CheckpointError, match="x.keras is Keras' network"):
        train(out, ModelOptions(), TrainOptions(begin=str(saved[0])), AugmentOptions(), ScoreOptions(device="cpu"))


def test_a_run_with_other_options_is_not_resumed(tmp_path):
    assert keras_state.open_run(tmp_path, {"lr": .1}, False) is None
    state = keras_state.State([{"epoch": 1, "val_video_auc": None}], [np.ones(3)], [np.zeros(2)], [np.full(1, 7.0)])
    keras_state.save_state(tmp_path, state)
    again = keras_state.open_run(tmp_path, {"lr": .1}, True)
    assert again.history == state.history
    assert all(np.array_equal(a, b) for ours, theirs in zip(again[1:], state[1:]) for a, b in zip(ours, theirs))
    with pytest.raises(CheckpointError, match="had lr 0.1"):
        keras_state.open_run(tmp_path, {"lr": .2}, True)


@tensorflow
@pytest.mark.slow
def test_an_epoch_on_tensorflow_is_judged_from_the_command_line(demo_run, demo_corpus, tmp_path, capsys):
    from classify import score, video
    from classify.models.network import scores_of

    out = tmp_path / "out"
    shutil.copytree(demo_run, out)
    shutil.rmtree(out / "model")
    status, said, errors = run_training(out, "--backbone", "mobilenetv2_100", "--weights", "none", "--size", "64",
                                        "--epochs", "1", "--device", "cpu", "--lr", "1e-3")
    assert status == 0 and "train: mobilenetv2_100-keras-" in said, errors
    model = out / "model" / "model.keras"
    assert list(pd.read_csv(out / "model" / "epochs.csv")) == list(pd.read_csv(demo_run / "model" / "epochs.csv"))
    ours, theirs = read_card(model), read_card(demo_run / "model" / "model.safetensors")
    assert set(theirs) - set(ours) <= {"mean", "std", "continued"}
    assert {k: ours[k] for k in ("faces", "frames", "split_hash", "label_map")} == {
        k: theirs[k] for k in ("faces", "frames", "split_hash", "label_map")}

    clip = str(next(demo_corpus.glob("Celeb-real/*.mp4")))
    assert video.main([clip, "--model", str(model), "--json", "--device", "cpu"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["model"] == ours["model_id"] and 0 <= verdict["score"] <= 1 and len(verdict["frames"]) >= 3
    assert score.main(["--out", str(out), "--device", "cpu"]) == 0
    assert json.loads((out / "scores" / "run.json").read_text()) == ours

    crops = pictures(4, 64)
    np.save(tmp_path / "crops.npy", crops)
    script = ("import keras, numpy, sys; m = keras.models.load_model(sys.argv[1]); "
              "numpy.save(sys.argv[3], m.predict(numpy.load(sys.argv[2]), verbose=0))")
    subprocess.run([sys.executable, "-c", script, str(model), str(tmp_path / "crops.npy"), str(tmp_path / "tf.npy")],
                   check=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, capture_output=True)
    on_torch = scores_of(load_checkpoint(model)[0], torch.from_numpy(crops).permute(0, 3, 1, 2)).numpy()
    assert on_torch == pytest.approx(np.load(tmp_path / "tf.npy")[:, 0], abs=1e-3)


@tensorflow
@pytest.mark.slow
def test_a_difference_that_is_there_is_learned_on_tensorflow(out):
    status, _, errors = run_training(out, *FLAGS, "--backbone", "resnet50", "--epochs", "6")
    epochs = pd.read_csv(out / "model" / "epochs.csv")
    assert status == 0 and epochs["val_video_auc"].max() == 1.0, errors
    assert epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0]


@tensorflow
@pytest.mark.slow
def test_a_run_resumed_on_tensorflow_is_the_undisturbed_run(out):
    flags = [*FLAGS, "--head-epochs", "1", "--unfreeze", "30", "--dropout", ".2", "--plateau"]
    model = out / "model" / "model.keras"
    assert run_training(out, *flags, "--epochs", "3")[0] == 0
    undisturbed = read_card(model)["model_id"], (out / "model" / "epochs.csv").read_bytes()
    assert run_training(out, *flags, "--epochs", "2")[0] == 0
    status, _, errors = run_training(out, *flags, "--epochs", "3", "--resume")
    assert status == 0 and "no interrupted run" not in errors
    assert (read_card(model)["model_id"], (out / "model" / "epochs.csv").read_bytes()) == undisturbed

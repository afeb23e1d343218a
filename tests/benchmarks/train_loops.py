"""What `make bench-train` compares: the loops, and the rate that the machine can reach.

Each loop is called with a number of steps and returns the wall seconds that they took.
"""
from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from classify.models.network import build
from classify.models.options import ModelOptions
from classify.training.module import uses_bf16
from classify.training.recipes import TrainOptions
from data.loading.augment import augment, draws
from data.loading.batches import Batches
from data.loading.options import AugmentOptions
from pipeline.workers import cpu_count

AHEAD_S = 2  # in which the workers of the usual loop fill their queue


@dataclass(frozen=True)
class Bench:
    """What all loops share."""

    model: ModelOptions
    training: TrainOptions
    batch: int
    device: str

    @property
    def bf16(self) -> bool:
        return uses_bf16(self.device.partition(":")[0], self.training.precision)

    def autocast(self) -> Any:
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16) if self.bf16 else nullcontext()

    def seconds(self, work: Callable[[], Any], times: int = 1) -> float:
        """Wall seconds of doing `work` so many times, with the device's queue empty before and after."""
        self.wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)


def flops_of_step(bench: Bench) -> int:
    """Floating point operations of one step's forward and backward pass; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    net = build(bench.model)[0]
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, 3, bench.model.size, bench.model.size)).sum().backward()
    return counter.get_total_flops() * bench.batch // 2


def machine_rates(bench: Bench) -> dict[str, Callable[[], float]]:
    """Measurements of FLOP/s, forward and backward: of a 3 x 3 convolution as in ResNets, and of a matrix product."""
    kind = torch.bfloat16 if bench.bf16 else torch.float32
    big = 1 if bench.device == "cpu" else 8

    def of(plain: torch.nn.Module, drawn: torch.Tensor, forward_flops: float) -> Callable[[], float]:
        layer, given = plain.to(bench.device, kind), drawn.to(bench.device, kind).requires_grad_()

        def rate() -> float:
            times = 2 if bench.device == "cpu" else 20

            def work() -> None:
                for _ in range(times):
                    layer(given).sum().backward()

            work()
            return 3 * forward_flops * times / bench.seconds(work)

        return rate

    def conv(channels: int, side: int, kernel: int) -> Callable[[], float]:
        layer = torch.nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        given = torch.randn(32 * big, channels, side, side).contiguous(memory_format=torch.channels_last)
        return of(layer.to(memory_format=torch.channels_last), given,
                  2 * 32 * big * side * side * channels * channels * kernel * kernel)

    wide = 2048 * big
    product = of(torch.nn.Linear(wide, wide, bias=False), torch.randn(wide, wide), 2 * wide ** 3)
    return {"convolution": conv(256, 16, 3), "matrix product": product}


class Bare:
    """Our step without Lightning: the same network, batches, augmentation, loss and optimiser."""

    def __init__(self, bench: Bench, batches: Batches):
        self.bench, self.augmentation = bench, AugmentOptions()
        self.net = build(bench.model)[0].to(bench.device).train()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=bench.training.lr)
        self.batches = iter(batches)

    def __call__(self, steps: int) -> float:
        return self.bench.seconds(self._step, steps)

    def _step(self) -> None:
        batch = next(self.batches)
        pictures, labels = batch.pictures.to(self.bench.device), batch.labels.to(self.bench.device)
        drawn = draws(batch.keys.tolist(), self.bench.training.seed, 0)
        with self.bench.autocast():
            logits = self.net(augment(pictures, self.augmentation, drawn))
            loss = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class FromPng:
    """The usual loop: PNG files through a DataLoader with PIL and torchvision. alike: our precision, channels-last."""

    def __init__(self, bench: Bench, folder: Path, alike: bool):
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import v2

        varied = v2.Compose([v2.Resize((bench.model.size, bench.model.size)), v2.RandomAffine(15, (.1, .1)),
                             v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32)])
        self.bench, self.alike, self.files = bench, alike, ImageFolder(str(folder), varied)
        self.net = build(bench.model)[0].to(bench.device).train()
        if not alike:  # FaceNet would make its pictures channels-last
            self.net = self.net.to(memory_format=torch.contiguous_format)
            self.net.features = self._features  # type: ignore[method-assign]
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=bench.training.lr)

    def _features(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.net.body((pictures - self.net.mean) / self.net.std)

    def __call__(self, steps: int) -> float:
        """Workers start anew in each turn, so as not to work in the others'; the clock starts when they are ahead."""
        workers = cpu_count()
        n = self.bench.batch * (steps + 1 + 2 * workers)  # as many as a queue holds are left, so that they keep working
        order = torch.utils.data.RandomSampler(self.files, replacement=True, num_samples=n)
        loader = iter(torch.utils.data.DataLoader(self.files, self.bench.batch, sampler=order, num_workers=workers))
        self._step(*next(loader))
        time.sleep(AHEAD_S)
        return self.bench.seconds(lambda: self._step(*next(loader)), steps)

    def _step(self, pictures: torch.Tensor, labels: torch.Tensor) -> None:
        pictures, labels = pictures.to(self.bench.device), labels.to(self.bench.device)
        with self.bench.autocast() if self.alike else nullcontext():
            logits = self.net(pictures)
            loss = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class Keras:
    """tests/benchmarks/train_keras.py in its own process, or why it is not there."""

    def __init__(self, bench: Bench, folder: Path, python: str = sys.executable):
        command = [python, str(Path(__file__).with_name("train_keras.py")), str(folder), str(bench.model.size),
                   str(bench.batch), "bf16" if bench.bf16 else "fp32"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        while self._line() != "ready":
            pass

    def __call__(self, steps: int) -> float:
        assert self.process.stdin
        print(steps, file=self.process.stdin, flush=True)
        while not (line := self._line()).replace(".", "").replace("e-", "").isdigit():
            pass
        return float(line)

    def _line(self) -> str:
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"the Keras process ended with status {self.process.wait()}")
        return line.strip()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

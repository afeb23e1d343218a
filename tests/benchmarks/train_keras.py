"""The usual Keras loop on crops as PNG, in a process of its own: TensorFlow and torch do not share one.

Started by tests/benchmarks/train_loops.py as a script: train_keras.py FOLDER SIZE BATCH bf16|fp32. Each line on
stdin, a number
of steps, is answered with the seconds that they took.
"""
from __future__ import annotations

import sys
import time


def main() -> int:
    folder, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    from tensorflow import keras
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    if sys.argv[4] == "bf16":  # as ours is measured
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    body = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3))
    model = keras.Sequential([body, keras.layers.Dense(1, activation="sigmoid", dtype="float32")])
    model.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy")
    varied = ImageDataGenerator(rotation_range=15, width_shift_range=.1, height_shift_range=.1, horizontal_flip=True,
                                rescale=1 / 255)
    pictures = varied.flow_from_directory(folder, (size, size), batch_size=batch, class_mode="binary")
    model.train_on_batch(*next(pictures))
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            model.train_on_batch(*next(pictures))
        print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Rates out of the Keras module, by its `LearningRateSchedule` and its callback."""

import numpy as np

from tests.conformance.replays.torch import load_module


def replay(text, schedule, steps):
    rates = load_module(text)["Schedule"]()
    return rates(np.arange(steps)).tolist()


def react(text, document, values):
    import keras

    callback = load_module(text)["ReduceOnPlateau"]()
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate=0.5), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {document.body.monitor: value})
        rates.append(model.optimizer.learning_rate.value.item())
    return rates

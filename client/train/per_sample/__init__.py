"""One gradient per patient from one backward pass: what the patient-level clipping needs.

``layers`` says what a layer must bring, ``convolution``, ``dense``, ``norms`` and ``attention``
bring it, ``check`` refuses models that have others, ``recorder`` takes the gradients and
``preflight`` holds them against plain automatic differentiation.
"""

from wardround.client.train.per_sample import convolution, dense, norms
from wardround.client.train.per_sample.check import check_model
from wardround.client.train.per_sample.layers import Layer, SimpleLayer, Sink, Step, register_layer
from wardround.client.train.per_sample.recorder import PerSample

__all__ = ["Layer", "PerSample", "SimpleLayer", "Sink", "Step", "check_model", "register_layer"]
_ = convolution, dense, norms

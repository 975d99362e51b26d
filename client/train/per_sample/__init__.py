"""One gradient per patient from one backward pass: what the patient-level clipping needs.

``layers`` says what a layer must bring; ``convolution`` (with ``weights``), ``standardised``, ``dense``,
``norms``, ``pooling`` and ``attention`` bring it; ``contributions`` and ``products`` are how gradients are kept;
``check`` refuses models that have other layers; ``recorder`` takes the gradients and ``preflight`` holds them against
plain automatic differentiation.
"""

from wardround.client.train.per_sample import attention, convolution, dense, norms, pooling, standardised
from wardround.client.train.per_sample.check import check_model
from wardround.client.train.per_sample.layers import Layer, SimpleLayer, Sink, Step, register_layer
from wardround.client.train.per_sample.preflight import preflight
from wardround.client.train.per_sample.recorder import PerSample

__all__ = ["Layer", "PerSample", "SimpleLayer", "Sink", "Step", "check_model", "preflight", "register_layer"]
_ = attention, convolution, dense, norms, pooling, standardised  # they announce their layers

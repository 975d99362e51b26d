"""The app of Flower's side of ``bench deployment``, copied into the bundle that ``flwr run`` hands on."""

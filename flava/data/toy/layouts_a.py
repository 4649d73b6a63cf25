"""Official layouts of Food101, CIFAR, Cars, Aircraft, DTD, Pets, Caltech101, Flowers and STL10."""

from __future__ import annotations

from flava.data.toy.layouts import Layout

LAYOUTS: dict[str, Layout] = {}

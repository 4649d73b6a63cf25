"""Official layouts of EuroSAT, GTSRB, KITTI, PCam, UCF101, CLEVR, FER2013, SUN397 and others."""

from __future__ import annotations

from flava.data.toy.layouts import Layout

LAYOUTS: dict[str, Layout] = {}

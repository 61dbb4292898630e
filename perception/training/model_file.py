"""A network and its weights as one ONNX file that other people's tools can run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import load_file

from perception.errors import DriveError, WeightsError
from perception.files import replaced_when_done
from perception.models.street_backbones import DEFAULT_BACKBONE, BackboneName, architecture_of, backbone_of
from perception.models.street_fold import folded_arrays
from perception.models.street_layout import (
    BOX_STRIDES,
    CUE_SCALE_PX,
    DENSE_STRIDE,
    DEPTH_FOCAL_PX,
    EMBEDDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SEMANTIC_STRIDE,
    SOLID_CUES,
)
from perception.models.weights import WeightsManifest, load_manifest, shipped_folder, verify
from perception.training.data import camvid_samples, kitti_object_samples, read_image
from perception.training.export import write_graph
from perception.training.parity import HeadParity, OnnxStreet, load_deployed, parity
from perception.training.validation import validate

__all__ = ["ExportReport", "export_model", "write_model"]

_MADE_UP_IMAGES = 3
_SIDE_STEP_PX = 32


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How an exported file agrees with the weights that it was made from.

    Attributes:
        heads: largest difference per head.
        before: figures of the trained network on the data given, by name; empty without data.
        after: of the exported one.
    """

    heads: list[HeadParity]
    before: dict[str, float]
    after: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"heads": [asdict(head) for head in self.heads], "before": self.before, "after": self.after}


def export_model(weights: str, file: Path, images: Path | None, data: Path | None, limit: int) -> ExportReport:
    """Writes the file, unless what it computes differs from what was trained.

    Args:
        weights: a name or a file beside its manifest.
        file: to write, ``.onnx``.
        images: folder of pictures to compare on; None makes some up.
        data: folder with ``camvid`` and ``kitti_object`` (either may be missing) for figures, or None.
        limit: pictures taken of each.

    Raises:
        WeightsError: the weights are missing or damaged, or the exported network disagrees with them.
        DriveError: a folder holds no pictures.
    """
    manifest = load_manifest(weights)
    verify(manifest, architecture_of(backbone_of(manifest.architecture, manifest.path)))
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced_when_done(file) as aside:
        write_model(manifest, aside)
        trained, exported = load_deployed(manifest), OnnxStreet(aside)
        heads = parity(trained, exported, _pictures(images, limit, manifest))
        apart = [head for head in heads if not head.agrees]
        if apart:
            worst = max(apart, key=lambda head: head.largest_difference / max(head.largest_value, 1e-6))
            raise WeightsError(
                f"{file}: the exported network disagrees with {manifest.path}: {worst.head} by "
                f"{worst.largest_difference:.3g} of {worst.largest_value:.3g}; nothing was written"
            )
        before, after = {}, {}
        if data is not None:
            sets = _labelled(data, limit)
            before, after = (_figures(network, sets) for network in (_Batched(trained), exported))
    return ExportReport(heads, before, after)


def write_model(manifest: WeightsManifest, file: Path) -> None:
    """The graph of the architecture with the weights inside, batch norms folded, and what its outputs mean."""
    backbone = backbone_of(manifest.architecture, manifest.path)
    model = _graph(backbone)
    _finish_outputs(model.graph)
    state = {name: np.asarray(value, np.float32) for name, value in load_file(manifest.path).items()}
    try:
        arrays = folded_arrays(state, backbone)
    except KeyError as error:
        raise WeightsError(f"{manifest.path}: found no {error}; expected weights of {manifest.architecture}") from None
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if tensor.name not in arrays:
                raise WeightsError(
                    f"{manifest.path}: found no {tensor.name}; expected weights of {manifest.architecture}"
                )
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(arrays[tensor.name]), tensor.name))
    meaning = {
        "architecture": manifest.architecture,
        "weights_sha256": manifest.sha256,
        "licence": manifest.licence,
        "object_classes": manifest.object_classes,
        "semantic_classes": manifest.semantic_classes,
        "solid_cues": SOLID_CUES,
        "embedding": EMBEDDING,
        "box_strides": BOX_STRIDES,
        "semantic_stride": SEMANTIC_STRIDE,
        "dense_stride": DENSE_STRIDE,
        "cue_scale_px": CUE_SCALE_PX,
        "depth_focal_px": DEPTH_FOCAL_PX,
        "mean_rgb": IMAGENET_MEAN,
        "deviation_rgb": IMAGENET_STD,
    }
    for key, value in meaning.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def _graph(backbone: BackboneName) -> onnx.ModelProto:
    """The graph that ships, or for other backbones one made for the occasion: none need lie beside the weights."""
    if backbone == DEFAULT_BACKBONE:
        return onnx.load(str(shipped_folder() / f"{architecture_of(backbone)}.onnx"), load_external_data=False)
    with TemporaryDirectory() as folder:
        return onnx.load(str(write_graph(Path(folder), backbone)), load_external_data=False)


def _finish_outputs(graph: onnx.GraphProto) -> None:
    """Gives the outputs the shapes of ``DeployedStreet``: no axis of images, semantic classes at their own stride."""
    for output in graph.output:
        given = f"{output.name}_cells"
        for node in graph.node:
            node.output[:] = [given if name == output.name else name for name in node.output]
        if output.name == "semantic":
            places = helper.make_node(
                "DepthToSpace", [given], [f"{given}_placed"], blocksize=DENSE_STRIDE // SEMANTIC_STRIDE, mode="CRD"
            )
            graph.node.append(places)
            given = f"{given}_placed"
        if "squeezed_axis" not in {tensor.name for tensor in graph.initializer}:
            graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "squeezed_axis"))
        graph.node.append(helper.make_node("Squeeze", [given, "squeezed_axis"], [output.name]))
        shape = output.type.tensor_type.shape
        del shape.dim[0]
        for axis, dim in enumerate(shape.dim):
            dim.dim_param = f"{output.name}_{axis}"


class _Batched:
    """The deployed network with the axis of images that validation expects."""

    def __init__(self, network: Any):
        self._network = network

    def __call__(self, image: Any) -> tuple[Any, Any, Any]:
        boxes, semantic, dense = self._network(image)
        return boxes[None], semantic[None], dense[None]

    def eval(self) -> _Batched:
        return self


def _pictures(folder: Path | None, limit: int, manifest: WeightsManifest) -> list[npt.NDArray[np.uint8]]:
    if folder is None:
        rng = np.random.default_rng(0)
        size = (manifest.input["width_px"], manifest.input["height_px"])
        coarse = rng.integers(0, 255, (_MADE_UP_IMAGES, 17, 53, 3), np.uint8)
        return [np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8) for image in coarse]
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in (".jpg", ".jpeg", ".png")][:limit]
    if not files:
        raise DriveError(f"{folder}: expected a folder of images, but found none")
    pictures = []
    for file in files:
        image = read_image(file)
        size = tuple(max(1, round(side / _SIDE_STEP_PX)) * _SIDE_STEP_PX for side in image.shape[1::-1])
        pictures.append(np.asarray(cv2.resize(image, size), np.uint8))
    return pictures


def _labelled(data: Path, limit: int) -> dict[str, list[Any]]:
    sets: dict[str, list[Any]] = {"camvid": [], "kitti": [], "sim": []}
    if (data / "camvid" / "val").is_dir():
        sets["camvid"] = list(camvid_samples(data / "camvid", "val", None))[:limit]
    kitti = data / "kitti_object" / "training"
    if kitti.is_dir():
        sets["kitti"] = list(kitti_object_samples(kitti, None, 0, held_out=False))[:limit]
    if not any(sets.values()):
        raise DriveError(f"{data}: expected camvid/val or kitti_object/training, but found neither")
    return sets


def _figures(network: Any, sets: dict[str, list[Any]]) -> dict[str, float]:
    return {name: float(value) for name, value in validate(network, **sets).items()}

"""The class lists that every stage shares, and their mapping to other people's lists.

``OBJECT_CLASSES`` index ``Detections.class_ids`` and ``Tracks.class_ids``. ``SEMANTIC_CLASSES`` index
``SemanticMap.class_ids``: the 19 Cityscapes training classes in their published order, then lane marking; 255 is void.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_TO_SEMANTIC",
    "COCO_TO_OBJECT",
    "KITTI_NAME_OF_OBJECT",
    "OBJECT_CLASSES",
    "OBJECT_COLOURS_RGB",
    "OBJECT_OF_KITTI_NAME",
    "SEMANTIC_CLASSES",
    "SEMANTIC_COLOURS_RGB",
    "SEMANTIC_OF_OBJECT",
    "VOID_ID",
    "semantic_to_camvid",
]

VOID_ID = 255

OBJECT_CLASSES = (
    "car", "van", "truck", "bus", "tram", "motorcycle", "bicycle", "pedestrian", "cyclist",
    "traffic_light", "traffic_sign",
)  # fmt: skip

SEMANTIC_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "lane marking",
)  # fmt: skip

# the first 19 are the published Cityscapes colours
SEMANTIC_COLOURS_RGB: npt.NDArray[np.uint8] = np.array(
    [
        [128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153], [153, 153, 153],
        [250, 170, 30], [220, 220, 0], [107, 142, 35], [152, 251, 152], [70, 130, 180], [220, 20, 60], [255, 0, 0],
        [0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100], [0, 0, 230], [119, 11, 32], [255, 255, 255],
    ],
    dtype=np.uint8,
)  # fmt: skip

OBJECT_COLOURS_RGB: npt.NDArray[np.uint8] = np.array(
    [
        [66, 165, 245], [38, 198, 218], [255, 167, 38], [255, 112, 67], [171, 71, 188], [92, 107, 192],
        [141, 110, 99], [239, 83, 80], [236, 64, 122], [255, 238, 88], [156, 204, 101],
    ],
    dtype=np.uint8,
)  # fmt: skip

# The semantic class that an object's pixels carry; a cyclist's are "rider".
SEMANTIC_OF_OBJECT: dict[str, str] = {
    "car": "car", "van": "car", "truck": "truck", "bus": "bus", "tram": "train", "motorcycle": "motorcycle",
    "bicycle": "bicycle", "pedestrian": "person", "cyclist": "rider", "traffic_light": "traffic light",
    "traffic_sign": "traffic sign",
}  # fmt: skip

# KITTI has no bus, motorcycle, bicycle, light or sign; its own labels put such objects under Misc.
KITTI_NAME_OF_OBJECT: dict[str, str] = {
    "car": "Car", "van": "Van", "truck": "Truck", "bus": "Misc", "tram": "Tram", "motorcycle": "Misc",
    "bicycle": "Misc", "pedestrian": "Pedestrian", "cyclist": "Cyclist", "traffic_light": "Misc",
    "traffic_sign": "Misc",
}  # fmt: skip

OBJECT_OF_KITTI_NAME: dict[str, str] = {
    "Car": "car", "Van": "van", "Truck": "truck", "Pedestrian": "pedestrian", "Person_sitting": "pedestrian",
    "Person": "pedestrian", "Cyclist": "cyclist", "Tram": "tram",
}  # fmt: skip

# COCO's 80 contiguous class ids that matter on a road
COCO_TO_OBJECT: dict[int, str] = {
    0: "pedestrian", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 6: "tram", 7: "truck", 9: "traffic_light",
    11: "traffic_sign",
}  # fmt: skip

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

CAMVID_TO_SEMANTIC: npt.NDArray[np.uint8] = np.array(
    [SEMANTIC_CLASSES.index(name) for name in (
        "sky", "building", "pole", "road", "sidewalk", "vegetation", "traffic sign", "fence", "car", "person", "rider",
    )],
    dtype=np.uint8,
)  # fmt: skip

# Cityscapes classes that CamVid's 11-class form folds into a neighbour
_CAMVID_OF_SEMANTIC: dict[str, str] = {
    "road": "road", "sidewalk": "pavement", "building": "building", "wall": "building", "fence": "fence",
    "pole": "pole", "traffic light": "sign", "traffic sign": "sign", "vegetation": "tree", "terrain": "tree",
    "sky": "sky", "person": "pedestrian", "rider": "bicyclist", "car": "car", "truck": "car", "bus": "car",
    "train": "car", "motorcycle": "bicyclist", "bicycle": "bicyclist", "lane marking": "road",
}  # fmt: skip


def semantic_to_camvid(class_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Maps semantic ids of any shape to CamVid's 11 class ids; void stays 11, CamVid's own void.

    >>> semantic_to_camvid(np.array([0, 10, 255], dtype=np.uint8))
    array([ 3,  0, 11], dtype=uint8)
    """
    table = np.full(256, len(CAMVID_CLASSES), dtype=np.uint8)
    for semantic_id, name in enumerate(SEMANTIC_CLASSES):
        table[semantic_id] = CAMVID_CLASSES.index(_CAMVID_OF_SEMANTIC[name])
    return table[class_ids]

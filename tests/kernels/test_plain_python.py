"""Every kernel file runs as plain Python, too: a debugger steps into it, and the oracles still agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# one or two small oracles a file; none that imports torch
ORACLES = [
    "test_assignment.py::test_optimum_is_scipys[5-5-uniform]",
    "test_assignment.py::test_optimum_is_scipys[7-1-tied]",
    "test_assignment.py::test_gated_optimum_leaves_pairs_that_cost_more_than_none",
    "test_assignment.py::test_auction_is_exact_for_whole_costs_and_bounded_for_others",
    "test_box_kernels.py::test_overlaps_are_symmetric_bounded_and_unmoved_by_shifts",
    "test_box_kernels.py::test_bad_boxes_are_refused_by_row",
    "test_box_kernels.py::test_rotated_giou_and_diou_agree_with_shapely",
    "test_grid.py",
    "test_kalman.py::test_linear_filters_agree_with_the_matrices",
    "test_kalman.py::test_turn_jacobian_is_the_derivative",
    "test_kalman.py::test_smoother_is_the_least_squares_solution",
    "test_masks.py::test_overlap_of_runs_is_overlap_of_pixels",
    "test_masks.py::test_outlines_are_opencvs[0]",
    "test_nms.py::test_nms_agrees_with_a_plain_loop",
    "test_nms.py::test_soft_nms_agrees_with_the_paper_step_by_step",
    "test_nms.py::test_fused_boxes_are_weighted_means",
    "test_points.py::test_points_in_boxes_by_half_planes",
    "test_points.py::test_voxels_group_by_floor",
    "test_projection.py::test_nearest_point_wins_each_pixel",
]


def test_kernels_are_plain_python_without_compilation() -> None:
    folder = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--no-header", *ORACLES],
        cwd=folder,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert " passed" in run.stdout

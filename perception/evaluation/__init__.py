"""Numbers that the official tools would give, as pure functions of arrays.

The way of an evaluation: ``readers_*`` and ``kitti_rows`` turn files into columns and refuse what breaks the rules;
a module per task (``detection``, ``tracking…``, ``segmentation``, ``panoptic``, ``instances``, ``depth``, ``odometry``,
``map_layers``, ``latency``, ``coco``) scores them into a report with flat ``metrics``; ``samples`` keeps the parts from
which ``compare`` resamples; ``pages`` draws a report.
"""

"""Makes the sinks of a run."""

from __future__ import annotations

from collections.abc import Callable

from perception.sinks.guard import GuardedSinks
from perception.sinks.kitti import KittiSink
from perception.sinks.latency import LatencySink
from perception.sinks.mots import MotsSink
from perception.sinks.pictures import PicturesSink
from perception.sinks.poses import PosesSink
from perception.sinks.render import Painter
from perception.sinks.report import ReportSink
from perception.sinks.run_record import RunRecord
from perception.sinks.sink import RunContext, Sink
from perception.sinks.tables import FramesTable, TracksTable
from perception.sinks.video import VideoSink
from perception.sinks.viewer import ViewerSink

__all__ = ["make_sinks"]


def make_sinks(context: RunContext) -> GuardedSinks:
    """Every sink that the configuration asks for, ready to write into ``context.out``.

    A sink that cannot even begin is left out, with its reason in ``errors``.

    Raises:
        OutputError: run.json cannot be written.
    """
    config = context.config
    painter = Painter(
        context.drive.name, config.video.height_px, context.deadline_ms, context.drive.frame_count, context.map_view
    )
    makers: dict[str, Callable[[], Sink]] = {
        KittiSink.name: lambda: KittiSink(context),
        TracksTable.name: lambda: TracksTable(context),
        FramesTable.name: lambda: FramesTable(context),
        PosesSink.name: lambda: PosesSink(context),
        LatencySink.name: lambda: LatencySink(context),
    }
    if config.save.semantic or config.save.instance or config.save.depth:
        makers[PicturesSink.name] = lambda: PicturesSink(context)
    if config.save.mots:
        makers[MotsSink.name] = lambda: MotsSink(context)
    if context.show:
        makers[ViewerSink.name] = lambda: ViewerSink(painter, context.drive.name)
    if config.video.enabled:
        makers[VideoSink.name] = lambda: VideoSink(context, painter)
    if config.report.enabled:
        makers[ReportSink.name] = lambda: ReportSink(context, painter)
    painted = context.show or config.video.enabled or config.report.enabled
    return GuardedSinks(makers, RunRecord(context), painter.capture if painted else None)

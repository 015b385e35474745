"""The file that describes a queue of a cluster."""

from pathlib import Path
from typing import Annotated, Any

from simulator.ground.reading import read_text
from simulator.ground.spec import ConfigError, Field, Spec
from simulator.study_file.checked_yaml import parse_yaml, validated


class ClusterSpec(Spec):
    """Workers from a job queue: a class of dask-jobqueue and its options."""

    class_: Annotated[str, Field(alias="class", pattern=r"^\w+Cluster$")] = Field(
        description="SLURMCluster, PBSCluster, SGECluster, LSFCluster ... of dask-jobqueue, or LocalCluster"
    )
    jobs: Annotated[int, Field(ge=1, le=100_000)] = Field(description="jobs to keep in the queue or running")
    options: dict[str, Any] = Field(default_factory=dict, description="options of that class")


def load_cluster(path: str | Path) -> ClusterSpec:
    """Read and validate a cluster file.

    Raises
    ------
    ConfigError : every problem at once, each with file, line and key.
    """
    file = Path(path)
    raw, lines = parse_yaml(
        read_text(file, "--cluster takes a file such as those in configs/clusters", ConfigError), str(file)
    )
    return validated(ClusterSpec, raw, lines, str(file))

"""PyDoseRT (Umea University and partners, MIT): pencil kernels (Nyholm 2006, doi:10.1016/j.radonc.2006.02.002) on PyTorch.

Each pencil meets the radiological depth of its own ray. One floating-point type is used throughout, the grid is padded to the
cylinder that turns within it, and every group of segments has an engine of its own.
"""

import json
import math
import warnings
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType
from typing import Any, Final

import numpy as np

from simulator.case.geometry import Volume
from simulator.case.treatment_beams import TreatmentBeam
from simulator.ground.reading import read_text, reading
from simulator.ground.spec import ConfigError
from simulator.plan.engine.segments import MachineSpeeds, Segments

VERSION: Final = "1.5.0"
_INSTALL: Final = (
    'install it with `python -m pip install -c constraints.txt ".[engine]"` (6 GB with PyTorch), or take the planning '
    "system's dose as it is: `plan: {model: rtdose}`"
)
_KERNEL: Final = 51
_AT_ONCE: Final = 4
_FIELD_MM: Final = 400
_WATER_MM: Final = 200.0
_PATIENT: Final = 0.05
_PRESET_MV: Final = 10.0
_SAME_MM: Final = 0.01
_REMEDY: Final = "see docs/how-to/engine.md for how a machine file is made"


class PyDoseRT:
    """The engine with the data of a machine: one of its presets, or a JSON file of one's own.

    Raises
    ------
    ConfigError : it is not installed in the version that this adapter knows, or there are no such data.
    """

    def __init__(self, machine: str) -> None:
        self._library, self._torch = _libraries()
        self._machine = machine
        self._config = self._read()
        self._calibrations: dict[tuple[float, ...], Any] = {}

    def _read(self) -> Any:
        presets = self._library.data.machine_config.list_machine_presets()
        if not self._machine.endswith(".json") and self._machine not in presets:
            raise ConfigError(
                f"plan.machine: {self._machine!r} is no preset of pydosert ({', '.join(presets)}) and no JSON file; {_REMEDY}"
            )
        if self._machine.endswith(".json"):
            with reading(f"plan.machine: {self._machine}", _REMEDY, ConfigError):
                json.loads(read_text(self._machine, _REMEDY, ConfigError))
        with reading(f"plan.machine: {self._machine}", _REMEDY, ConfigError):
            return self._library.MachineConfig(preset=self._machine)

    @property
    def speeds(self) -> MachineSpeeds:
        """How fast the machine delivers."""
        config = self._config
        return MachineSpeeds(config.maximum_dose_rate, config.maximum_gantry_angle_speed, config.maximum_leaf_speed)

    def check(self, beams: Sequence[TreatmentBeam]) -> None:
        """Refuse beams that the machine or the engine does not know.

        Raises
        ------
        ConfigError : why, and what to do.
        """
        edges_mm = np.cumsum([-_FIELD_MM / 2, *(self._config.leaf_widths or [])])
        for beam in beams:
            where = f"beam {beam.name!r}"
            if len(edges_mm) != len(beam.leaf_edges_mm) or np.abs(edges_mm - beam.leaf_edges_mm).max() > _SAME_MM:
                raise ConfigError(
                    f"plan.machine: {self._machine} has {len(edges_mm) - 1} leaf pairs, of other widths than the "
                    f"{len(beam.leaf_edges_mm) - 1} of {where} of the RTPLAN or as many; {_REMEDY}"
                )
            if not self._machine.endswith(".json") and beam.energy_mv != _PRESET_MV:
                raise ConfigError(
                    f"plan.machine: {self._machine} is a beam of {_PRESET_MV:g} MV, {where} of the RTPLAN has "
                    f"{beam.energy_mv:g} MV; {_REMEDY}"
                )
            if np.any(beam.couch_deg % 360):
                raise ConfigError(f"plan.engine: {where} of the RTPLAN turns the couch, which pydosert does not know")
        if len({beam.energy_mv for beam in beams}) > 1:
            raise ConfigError(
                "plan.engine: the beams of the RTPLAN have several energies, a machine has one; take model: rtdose"
            )

    def dose_gy(self, density: Volume, group: Segments) -> np.ndarray:
        """Dose float32 (z, y, x) in Gy of one fraction at the nodes of a density (relative to water)."""
        torch, grid = self._torch, density.grid
        loaders = self._library.data.loaders
        step = tuple(grid.spacing_mm[::-1])
        centre = tuple((group.beam.isocentre_mm - np.array(grid.origin_mm))[::-1].tolist())
        radius_mm = loaders.body_cylinder_radius_mm(np.where(density.values > _PATIENT, 0, -1000), step, centre)
        values = torch.from_numpy(np.ascontiguousarray(density.values, np.float32))
        padded, centre, cut = loaders.pad_to_cylinder(values, step, centre, radius_mm, 0.0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                total = sum(
                    self._some(padded, step, centre, group[first : first + _AT_ONCE])
                    for first in range(0, len(group.seconds), _AT_ONCE)
                )
        finally:
            torch.set_num_threads(threads)
        return np.asarray(loaders.crop_from_cylinder(total, cut).numpy(), np.float32)

    def _some(self, padded: Any, step: tuple[float, ...], centre: tuple[float, ...], some: Segments) -> Any:
        """Dose of a few segments, as memory allows no more at once."""
        beams = self._library.BeamSequence(
            mus=self._numbers(some.monitor_units),
            leaf_positions=self._numbers(some.leaves_mm),
            jaw_positions=self._numbers(some.jaws_mm),
            gantry_angles=self._numbers(np.radians(some.gantry_deg % 360)),
            collimator_angles=self._numbers(np.radians(some.collimator_deg)),
            field_size=(_FIELD_MM, _FIELD_MM),
            iso_center=centre,
            sid=some.beam.source_mm,
        )
        engine = self._engine(self._calibrated(step), step, padded.shape, beams)
        return engine.compute_dose(beams, density_image=padded)[0]

    def _calibrated(self, step: tuple[float, ...]) -> Any:
        """The machine, giving 1 Gy by its calibration units 10 cm deep in water on a grid of some spacing."""
        if step not in self._calibrations:
            config, shape = self._config.model_copy(), tuple(math.ceil(_WATER_MM / s) for s in step)
            self._engine(config, step, shape, None).calibrate(verbose=False)
            self._calibrations[step] = config
        return self._calibrations[step]

    def _engine(self, config: Any, step: tuple[float, ...], shape: tuple[int, ...], beams: Any) -> Any:
        return self._library.PencilDepthEngine(
            machine_config=config,
            kernel_size=_KERNEL,
            dose_grid_spacing=step,
            dose_grid_shape=tuple(shape),
            beam_template=beams,
            device="cpu",
            dtype=self._torch.float32,
            conv_backend="fft",
        )

    def _numbers(self, values: np.ndarray) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        found = metadata.version("pydosert")
    except metadata.PackageNotFoundError:
        raise ConfigError(f"plan.engine: pydosert is not installed; {_INSTALL}") from None
    if found != VERSION:
        raise ConfigError(f"plan.engine: pydosert {found} is installed, {VERSION} is wanted; {_INSTALL}")
    import pydosert
    import pydosert.data.loaders
    import pydosert.data.machine_config
    import torch

    return pydosert, torch

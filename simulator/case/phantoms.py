"""Analytic phantoms: anatomies of plausible size around one node, with TG-263 names.

The node's centre is the origin. An organ whose distance is a parameter is pushed along a fixed direction until its surface
lies that far from the node's. Organ sizes follow the reference adult (ICRP 89) and the usual dimensions of radiological
anatomy; they are rounded, and where a number is a judgement the class says so. Densities are relative to water: soft tissue
1, lung 0.26, airway lumen 0.05, vertebra and femur 1.2.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from scipy.optimize import brentq

from simulator.case.anatomy import Case
from simulator.case.geometry import Grid, Volume
from simulator.case.shapes import (
    Ball,
    Difference,
    Ellipsoid,
    EllipticColumn,
    Shape,
    Tube,
    Union,
    moved,
    surface_distance_mm,
)
from simulator.case.structures import Role, Structure
from simulator.ground.spec import Field, PositionMm3, Spec

LUNG_DENSITY = 0.26
_LUMEN_DENSITY, _BONE_DENSITY, _AIR_DENSITY = 0.05, 1.2, 0.001
_WALL_MM = 2.0
_GAP_MM = 0.5

NodeDiameter = Annotated[float, Field(ge=6, le=60)]
Distance = Annotated[float, Field(ge=1, le=60)]
GridStep = Annotated[float, Field(ge=1, le=5)]


class Node(Spec):
    """A further node, a ball."""

    centre_mm: PositionMm3 = Field(
        description="its centre from that of the phantom's node (LR, AP, SI) in mm, LPS signs"
    )
    diameter_mm: NodeDiameter = Field(20.0, description="its diameter in mm")

    @property
    def ball(self) -> Ball:
        """Its shape."""
        x, y, z = self.centre_mm
        return Ball((x, y, z), self.diameter_mm / 2)


Nodes = Annotated[
    dict[str, Node],
    Field(description="further nodes by name, which organs make room for; `targets` says which are treated"),
]


def _case(
    name: str,
    target: str,
    organs: dict[str, Shape],
    densities: dict[str, tuple[Shape, float]],
    grid_mm: float,
    nodes: dict[str, Node],
) -> Case:
    """A case from shapes: the target first, `External` last; densities are painted in order over water."""
    balls = {key: node.ball for key, node in nodes.items()}
    organs = {target: organs[target]} | balls | {k: _beside(v, balls) for k, v in organs.items() if k != target}
    densities = densities | {key: (ball, 1.0) for key, ball in balls.items()}
    body = organs["External"]
    lower, upper = body.bounds_mm
    grid = Grid.covering(lower - 2 * grid_mm, upper + 2 * grid_mm, grid_mm)
    density = np.full(grid.shape, _AIR_DENSITY, np.float32)
    for shape, value in ((body, 1.0), *densities.values()):
        share = shape.occupancy(grid)
        density += share * (value - density)
    structures = {}
    for organ, shape in organs.items():
        role: Role = "target" if organ == target else "external" if organ == "External" else "oar"
        structures[organ] = Structure(organ, role, shape)
    return Case(name, structures, target, Volume(grid, density), provenance={"case": f"analytic phantom {name!r}"})


def _beside(organ: Shape, balls: dict[str, Ball]) -> Shape:
    """An organ without what nodes take of it; the body holds them."""
    lower, upper = organ.bounds_mm
    met = [
        ball
        for ball in balls.values()
        if not isinstance(organ, EllipticColumn)
        and np.all(ball.bounds_mm[1] > lower)
        and np.all(ball.bounds_mm[0] < upper)
    ]
    return Difference(organ, tuple(met), _GAP_MM) if met else organ


def _at_distance(make: Callable[[float], Shape], target: Shape, distance_mm: float, farthest_mm: float) -> Shape:
    """The member of a family of shapes, ordered by a shift in mm, whose surface lies `distance_mm` from the target's."""
    shift = brentq(lambda s: _gap(make(s), target) - distance_mm, 0.0, farthest_mm, xtol=0.02)
    return make(shift)


def _gap(shape: Shape, target: Shape) -> float:
    """Distance in mm between surfaces, negative where the shapes overlap."""
    return surface_distance_mm(target, shape, 0.75)


class BallOrgan(Spec):
    """A ball beside the spherical target, to its left: its doses have a closed form."""

    radius_mm: Annotated[float, Field(ge=2, le=60)] = Field(description="radius of the organ in mm")
    gap_mm: Annotated[float, Field(ge=0, le=60)] = Field(
        description="from the target's centre to the organ's surface in mm"
    )

    @property
    def ball(self) -> Ball:
        """The organ."""
        return Ball((self.gap_mm + self.radius_mm, 0.0, 0.0), self.radius_mm)


class SpherePhantom(Spec):
    """A spherical target in a cube of water, and balls as organs beside it: the ground-truth case."""

    phantom: Literal["sphere"] = Field("sphere", description="kind of phantom")
    target: str = Field("GTV", description="name of the target structure")
    radius_mm: Annotated[float, Field(ge=2, le=60)] = Field(15.0, description="radius of the target in mm")
    organs: dict[str, BallOrgan] = Field(default_factory=dict, description="balls as organs at risk, by name")
    nodes: Nodes = Field(default_factory=dict)
    grid_mm: GridStep = Field(2.0, description="spacing of the density grid and of a gridded dose in mm")

    def build(self) -> Case:
        """The case."""
        far_mm = [o.gap_mm + 2 * o.radius_mm for o in self.organs.values()]
        far_mm += [max(map(abs, node.centre_mm)) + node.diameter_mm / 2 for node in self.nodes.values()]
        half = max([self.radius_mm, *far_mm]) + 60
        ball = Ball((0.0, 0.0, 0.0), self.radius_mm)
        body = EllipticColumn((0.0, 0.0, 0.0), (half, half), half)
        organs = {name: organ.ball for name, organ in self.organs.items()}
        return _case(
            "sphere", self.target, {self.target: ball, **organs, "External": body}, {}, self.grid_mm, self.nodes
        )


class MediastinalPhantom(Spec):
    """A subcarinal (station 7) node between the main bronchi, the oesophagus behind and the left atrium in front.

    Thorax 330 x 220 mm; spinal cord 10 mm wide behind a vertebral body 28 mm deep; oesophagus 16 mm
    wide; trachea and main bronchi 18 and 14 mm outside; heart with pericardium about 700 cc; descending and ascending aorta
    24-30 mm, pulmonary trunk 26 mm; lungs about 4 l together; chest wall the outer 25 mm of the cage. Distances of the
    touching organs (2-5 mm) are judgements: a subcarinal node abuts bronchi, oesophagus and left atrium.
    """

    phantom: Literal["mediastinal"] = Field("mediastinal", description="kind of phantom")
    target: str = Field("GTV", description="name of the target structure")
    node_diameter_mm: NodeDiameter = Field(20.0, description="diameter of the node in mm")
    esophagus_distance_mm: Distance = Field(4.0, description="node to oesophagus, surface to surface, in mm")
    bronchi_distance_mm: Distance = Field(4.0, description="node to proximal bronchial tree, surface to surface, in mm")
    heart_distance_mm: Distance = Field(6.0, description="node to heart, surface to surface, in mm")
    cord_distance_mm: Distance = Field(52.0, description="node to spinal cord, surface to surface, in mm")
    nodes: Nodes = Field(default_factory=dict)
    grid_mm: GridStep = Field(3.0, description="spacing of the density grid in mm")

    def build(self) -> Case:
        """The case."""
        r = self.node_diameter_mm / 2
        node = Ball((0.0, 0.0, 0.0), r)
        top, bottom = 130.0, -130.0
        cord_y = r + self.cord_distance_mm + 5
        cord = Tube(((0, cord_y, bottom), (0, cord_y, top)), 5.0)
        esophagus = _at_distance(
            lambda s: Tube(moved([(4, 0, bottom), (8, 0, 0), (2, 0, top)], (0, s, 0)), 8.0),
            node, self.esophagus_distance_mm, 120.0,
        )  # fmt: skip

        def airways(height: float) -> Shape:
            carina = (0.0, -4.0, height)
            right = (-42.0, -2.0, height - 24)
            left = (48.0, 4.0, height - 28)
            return Union((Tube((carina, (0, -6, height + 20)), 9.0), Tube((right, carina, left), 7.0)))

        bronchi = _at_distance(airways, node, self.bronchi_distance_mm, 150.0)
        carina_z = float(bronchi.bounds_mm[1][2]) - 29.0
        trachea = Difference(Tube(((0, -6, carina_z + 20), (0, -14, top)), 9.0), (bronchi,), _GAP_MM)
        heart_direction = np.array([0.25, -0.72, -0.65])

        def heart_at(shift: float) -> Shape:
            x, y, z = (float(v) for v in heart_direction * shift)
            return Ellipsoid((x, y, z), (56.0, 46.0, 60.0))

        airway_and_gullet = (node, bronchi, esophagus)
        heart = Difference(_at_distance(heart_at, node, self.heart_distance_mm, 200.0), airway_and_gullet, _GAP_MM)
        vessels = Union(
            (
                Tube(((30, cord_y - 28, bottom), (30, cord_y - 28, 75)), 12.0),
                Tube(((30, cord_y - 28, 75), (16, 5, 92), (-12, -42, 78), (-14, -45, 35)), 14.0),
                Tube(((20, -52, 30), (22, -34, 44), (-40, -22, 40)), 11.0),
                Tube(((-34, -36, 15), (-32, -34, 110)), 9.0),
            )
        )
        great_vessels = Difference(vessels, (*airway_and_gullet, trachea, heart), _GAP_MM)
        spine = Tube(((0, cord_y - 22, bottom), (0, cord_y - 22, top)), 14.0)
        middle = (Ellipsoid((6, -12, 0), (48, 86, 160)), heart.shape, *vessels.shapes, bronchi, spine)
        lungs = Union(tuple(Difference(Ellipsoid((x, 0, 0), (58, 78, 118)), middle, 1.0) for x in (82.0, -82.0)))
        body = EllipticColumn((0, 0, 0), (170, 115), 140)
        cage = EllipticColumn((0, 0, 0), (163, 108), 125)
        chest_wall = Difference(cage, (EllipticColumn((0, 0, 0), (146, 88), 126),))
        organs: dict[str, Shape] = {
            self.target: node,
            "SpinalCord": cord,
            "Esophagus": esophagus,
            "BronchialTree_Prox": bronchi,
            "Trachea": trachea,
            "Heart": heart,
            "GreatVes": great_vessels,
            "Lungs": lungs,
            "ChestWall": chest_wall,
            "External": body,
        }
        lumen = Union((Tube(((0, -6, carina_z + 20), (0, -14, top)), 9.0 - _WALL_MM), _lumen(carina_z)))
        densities = {
            "spine": (spine, _BONE_DENSITY),
            "lungs": (organs["Lungs"], LUNG_DENSITY),
            "lumen": (lumen, _LUMEN_DENSITY),
        }
        return _case("mediastinal", self.target, organs, densities, self.grid_mm, self.nodes)


def _lumen(carina_z: float) -> Shape:
    carina, right, left = (0, -4, carina_z), (-42, -2, carina_z - 24), (48, 4, carina_z - 28)
    return Union((Tube((carina, (0, -6, carina_z + 20)), 9.0 - _WALL_MM), Tube((right, carina, left), 7.0 - _WALL_MM)))


class AbdominalPhantom(Spec):
    """A left para-aortic node at L2/L3 between aorta and left kidney, duodenum and small bowel in front.

    Abdomen 340 x 230 mm; liver about 1500 cc, kidneys about 155 cc, stomach about 280 cc, duodenum 24 mm wide, small bowel
    loops 26 mm, colon 40 mm, aorta 20 mm, cord 10 mm, bladder about 180 cc. In one abdominal CT a 2 cm node fits 18 mm from
    small bowel, 20 mm from the left kidney, 21 mm from the aorta and 24 mm from the duodenum; bowel and duodenum are
    nearer by default, as these are the cases that need a decision (judgement).
    """

    phantom: Literal["abdominal"] = Field("abdominal", description="kind of phantom")
    target: str = Field("GTV", description="name of the target structure")
    node_diameter_mm: NodeDiameter = Field(20.0, description="diameter of the node in mm")
    duodenum_distance_mm: Distance = Field(8.0, description="node to duodenum, surface to surface, in mm")
    bowel_distance_mm: Distance = Field(12.0, description="node to small bowel, surface to surface, in mm")
    kidney_distance_mm: Distance = Field(20.0, description="node to left kidney, surface to surface, in mm")
    nodes: Nodes = Field(default_factory=dict)
    grid_mm: GridStep = Field(3.0, description="spacing of the density grid in mm")

    def build(self) -> Case:
        """The case."""
        r = self.node_diameter_mm / 2
        node = Ball((0.0, 0.0, 0.0), r)
        middle_x = -(r + 26)
        top, bottom = 150.0, -215.0
        aorta = Tube(((middle_x + 12, 4, top), (middle_x + 12, 4, -70)), 10.0)
        cava = Tube(((middle_x - 18, 0, top), (middle_x - 18, 0, -70)), 11.0)
        spine = Tube(((middle_x, 36, bottom), (middle_x, 36, top)), 21.0)
        cord = Tube(((middle_x, 68, bottom + 60), (middle_x, 68, top)), 5.0)
        kidney_way = np.array([0.86, 0.5, 0.05])

        def kidney_at(shift: float) -> Shape:
            x, y, z = (float(v) for v in kidney_way * shift)
            return Ellipsoid((x, y, z), (28, 24, 56))

        kidney_left = _at_distance(kidney_at, node, self.kidney_distance_mm, 150.0)
        kx, ky, kz = (float(v) for v in np.mean(kidney_left.bounds_mm, axis=0))
        kidney_right = Ellipsoid((2 * middle_x - kx, ky, kz - 15), (28, 24, 56))
        loop = [
            (-80, -30, 62),
            (-100, -24, 40),
            (-102, -20, 0),
            (-85, -16, -14),
            (-38, -12, -10),
            (10, -8, 4),
            (26, -10, 24),
        ]
        retroperitoneum = (node, aorta, cava, spine, kidney_right, kidney_left)
        duodenum = Difference(
            _at_distance(lambda s: Tube(moved(loop, (0, -s, 0)), 12.0), node, self.duodenum_distance_mm, 100.0),
            retroperitoneum, _GAP_MM,
        )  # fmt: skip
        loops = [
            (45, -6, 35),
            (52, -10, -25),
            (10, -30, -45),
            (60, -40, -65),
            (-10, -45, -80),
            (50, -35, -105),
            (-30, -40, -110),
        ]
        higher = [(-60, -40, -90), (-80, -45, -60), (-40, -60, -55), (20, -62, -30), (40, -66, 10)]
        bowel_small = Difference(
            _at_distance(
                lambda s: Union((Tube(moved(loops, (0.5 * s - 40, -s, 0)), 13.0), Tube(moved(higher, (0, -s, 0)), 13.0))),
                node, self.bowel_distance_mm, 100.0,
            ),
            (*retroperitoneum, duodenum), _GAP_MM,
        )  # fmt: skip
        liver = Difference(Ellipsoid((-108, -28, 92), (72, 70, 76)), (*retroperitoneum, duodenum), 1.0)
        stomach = Difference(
            Ellipsoid((42, -58, 92), (44, 33, 48)), (*retroperitoneum, duodenum, bowel_small, liver), 1.0
        )
        colon = Union(
            (
                Tube(((98, 12, -150), (100, 18, 30), (92, -8, 88)), 19.0),
                Tube(((-165, 0, -120), (-160, 0, -20)), 21.0),
            )
        )
        bowel_large = Difference(colon, (*retroperitoneum, duodenum, bowel_small, stomach, liver), 1.0)
        bladder = Ellipsoid((middle_x, -38, -178), (40, 33, 32))
        body = EllipticColumn((middle_x, -10, -32), (172, 118), 188)
        organs: dict[str, Shape] = {
            self.target: node,
            "SpinalCord": cord,
            "Duodenum": duodenum,
            "Bowel_Small": bowel_small,
            "Bowel_Large": bowel_large,
            "Stomach": stomach,
            "Liver": liver,
            "Kidney_L": kidney_left,
            "Kidney_R": kidney_right,
            "GreatVes": Union((aorta, cava)),
            "Bladder": bladder,
            "External": body,
        }
        return _case("abdominal", self.target, organs, {"spine": (spine, _BONE_DENSITY)}, self.grid_mm, self.nodes)


class PelvicPhantom(Spec):
    """A left external iliac node beside the bladder, bowel above and the sacral plexus behind.

    Pelvis 360 x 230 mm; bladder about 220 cc, rectum 30 mm and sigmoid 28 mm wide, small bowel loops 26 mm, cauda equina 14 mm,
    nerve roots of the sacral plexus 8 mm, femoral heads 46 mm. Distances are judgements: external iliac nodes lie on the pelvic
    wall within a centimetre of the bladder, and bowel loops reach them.
    """

    phantom: Literal["pelvic"] = Field("pelvic", description="kind of phantom")
    target: str = Field("GTV", description="name of the target structure")
    node_diameter_mm: NodeDiameter = Field(16.0, description="diameter of the node in mm")
    bladder_distance_mm: Distance = Field(8.0, description="node to bladder, surface to surface, in mm")
    bowel_distance_mm: Distance = Field(8.0, description="node to small bowel, surface to surface, in mm")
    plexus_distance_mm: Distance = Field(25.0, description="node to left sacral plexus, surface to surface, in mm")
    nodes: Nodes = Field(default_factory=dict)
    grid_mm: GridStep = Field(3.0, description="spacing of the density grid in mm")

    def build(self) -> Case:
        """The case."""
        node = Ball((0.0, 0.0, 0.0), self.node_diameter_mm / 2)
        middle_x = -62.0
        sacrum = Tube(((middle_x, 62, 130), (middle_x, 66, 60), (middle_x, 82, 10), (middle_x, 78, -25)), 16.0)
        cauda = Tube(((middle_x, 88, 130), (middle_x, 92, 60)), 7.0)
        heads = {
            name: Ball((middle_x + x, 8.0, -62.0), 23.0)
            for name, x in (("Femur_Head_L", 88.0), ("Femur_Head_R", -88.0))
        }

        def bladder_at(shift: float) -> Shape:
            return Ellipsoid((-shift, -6.0, -26.0), (42.0, 36.0, 35.0))

        bladder = _at_distance(bladder_at, node, self.bladder_distance_mm, 150.0)
        roots = [(-40, 0, 58), (-14, -6, 28), (6, -4, 0), (10, 2, -28)]
        plexus_left = _at_distance(lambda s: Tube(moved(roots, (0, s, 0)), 4.0), node, self.plexus_distance_mm, 100.0)
        (ymin, ymax) = (float(b[1]) for b in plexus_left.bounds_mm)
        back = (ymin + ymax) / 2 + 2
        plexus_right = Tube(moved([(2 * middle_x - x, y, z) for x, y, z in roots], (0, back, 0)), 4.0)
        rectum = Difference(
            Tube(((middle_x, 40, -85), (middle_x, 48, -40), (middle_x, 50, 5)), 15.0), (bladder, sacrum), 1.0
        )
        bends = [(0, 48, 12), (18, 28, 34), (2, 10, 52), (40, 26, 72), (84, 22, 105)]
        sigmoid = Difference(
            Tube(moved(bends, (middle_x, 0, 0)), 14.0), (bladder, rectum, sacrum, plexus_left, node), 1.0
        )
        loops = [
            (-8, -6, 4),
            (-30, -20, 22),
            (-90, -28, 24),
            (-110, -10, 44),
            (-50, -36, 52),
            (-8, -20, 60),
            (-70, -40, 84),
        ]
        bowel_small = Difference(
            _at_distance(lambda s: Tube(moved(loops, (0, -0.3 * s, s)), 13.0), node, self.bowel_distance_mm, 120.0),
            (bladder, sigmoid, rectum), 1.0,
        )  # fmt: skip
        body = EllipticColumn((middle_x, 2, 15), (182, 118), 130)
        organs: dict[str, Shape] = {
            self.target: node,
            "Bladder": bladder,
            "Rectum": rectum,
            "Bowel_Large": sigmoid,
            "Bowel_Small": bowel_small,
            "CaudaEquina": cauda,
            "SacralPlex_L": plexus_left,
            "SacralPlex_R": plexus_right,
            "Femur_Head_L": heads["Femur_Head_L"],
            "Femur_Head_R": heads["Femur_Head_R"],
            "External": body,
        }
        bone = Union((sacrum, *heads.values()))
        return _case("pelvic", self.target, organs, {"bone": (bone, _BONE_DENSITY)}, self.grid_mm, self.nodes)

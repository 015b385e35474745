"""What is simulated beyond a dose that arrives all at once and stays where it is."""

from typing import Annotated, Literal

from simulator.ground.spec import Field, Spec


class Simulate(Spec):
    """Interplay, where breathing meets the part of the plan that is being delivered, and what rests on approximations."""

    interplay: bool | Literal["auto", "screen"] = Field(
        "auto",
        description="`screen`: some courses with and without interplay, side by side, say what it does; `true`: metrics of the "
        "targets and the nearest organs are those of the parts, the rest stays blurred (docs/how-to/interplay.md); `auto`: a "
        "screen where anything breathes, parts of the plan are known, and the study is no sweep and has 1000 courses or more",
    )
    instant_s: Annotated[float, Field(ge=0.1, le=10)] = Field(
        1.0, description="longest time between instants of the beam in s where parts are met"
    )
    organs: Annotated[int, Field(ge=0, le=20)] = Field(
        2, description="organs at risk that meet the parts beside the targets: those nearest to them"
    )
    pairs: Annotated[int, Field(ge=10, le=2000)] = Field(
        40, description="courses of the screen, each simulated both ways"
    )
    model_error: bool = Field(
        False,
        description="how much of each goal's probability rests on approximations (static dose cloud, dose grid, cells, "
        "instants), for the recommended strategy or the nearest miss; some minutes",
    )
    recomputed_courses: Annotated[int, Field(ge=0, le=200)] = Field(
        20,
        description="with model_error: courses whose plan is recomputed at every fraction, to see how well the change of dose "
        "is fitted",
    )

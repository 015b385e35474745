"""What of a delivery is simulated beyond a dose that arrives all at once."""

from typing import Annotated, Literal

from simulator.spec import Field, Spec


class Simulate(Spec):
    """Interplay: breathing meets the part of the plan that is being delivered."""

    interplay: bool | Literal["screen"] = Field(
        False,
        description="`screen`: some courses with and without interplay, side by side, say what it does; `true`: metrics of the "
        "targets and the nearest organs are those of the parts, the rest stays blurred (docs/how-to/interplay.md)",
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

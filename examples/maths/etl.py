"""maths: a graph of steps that hand their results on; nothing is copied."""

import math
import random

from pydantic import BaseModel, Field

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)


class Params(BaseModel):
    """The parameters of a run; what does not fit is refused before anything runs."""

    upto: int = Field(ge=1, le=10_000)
    tolerance: float


@pipeline.step(model=Params)
def numbers(params):
    return list(range(1, params.upto + 1))


@pipeline.step
def total(numbers):  # comes after `numbers`, since it takes its result
    return sum(numbers)


@pipeline.step
def cubes(numbers):  # runs beside `total`
    return sum(n**3 for n in numbers)


@pipeline.step
def nicomachus(run, total, cubes):  # waits for both
    if cubes != total**2:
        raise ValueError(f"{cubes} is not {total} squared")
    run.log(f"the sum of the cubes, {cubes}, is the square of the sum, {total}")
    return {"sum": total, "cubes": cubes}


@pipeline.step(when=lambda total: total % 2 == 0)
def half(total):  # is skipped where the sum is odd
    return total // 2


@pipeline.step(model=Params, retries=12, retry_delay="100ms")
def pi(run, params):  # throws darts, again until it comes near enough
    hits = sum(math.hypot(random.random(), random.random()) < 1 for _ in range(1_000))
    found = 4 * hits / 1_000
    if abs(found - math.pi) > params.tolerance:
        raise ValueError(f"{found} is not near enough to pi")
    run.log(f"pi is about {found}")
    return found


if __name__ == "__main__":
    pipeline.main()

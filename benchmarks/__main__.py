"""The command line: `python -m benchmarks` with `store`, `cache` or `flow`."""

import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence

from attrs import evolve

from benchmarks import cache, store
from benchmarks.flow.parts import PARTS
from benchmarks.flow.parts import measure as measure_parts
from benchmarks.flow.plan import QUICK
from benchmarks.flow.plan import Plan as FlowPlan
from benchmarks.report import Figure, as_json, as_table


def counts(text: str) -> tuple[int, ...]:
    """Return the numbers in `text`, which stand between commas."""
    numbers = tuple(int(part.replace("_", "")) for part in text.split(","))
    if min(numbers) < 1:
        raise ArgumentTypeError("at least 1")
    return numbers


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of the flow benchmark in `text`, which stand between commas."""
    names = tuple(text.split(","))
    if unknown := set(names).difference(PARTS):
        raise ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return names


def parser() -> ArgumentParser:
    """Return what reads the command line."""
    result = ArgumentParser(prog="python -m benchmarks", description="Measure what buddyproxy costs on this machine.")
    benchmarks = result.add_subparsers(dest="benchmark", required=True)
    add_store(benchmarks.add_parser("store", help="the store: hits from the disk, stores, opening, being killed"))
    add_flow(benchmarks.add_parser("flow", help="passing through: streams, collapsing, memory, slow origins (Linux)"))
    add_cache(benchmarks.add_parser("cache", help="the core: deciding about a request"))
    for each in benchmarks.choices.values():
        each.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def add_store(command: ArgumentParser) -> None:
    """Add what can be said of the store's benchmark."""
    default = store.Plan()
    command.add_argument(
        "--entries",
        type=counts,
        default=default.entries,
        metavar="N,N",
        help="how many responses the files have (10000,1000000)",
    )
    command.add_argument("--stores", type=int, default=default.stores, help="how many responses are stored (20000)")
    command.add_argument("--rounds", type=int, default=default.rounds, help="rounds, of which the median counts (5)")
    command.add_argument("--kills", type=int, default=default.kills, help="how often a writer is killed (30)")
    add_directory(command)
    command.set_defaults(measure=measure_store)


def add_flow(command: ArgumentParser) -> None:
    """Add what can be said of the flow's benchmark."""
    command.add_argument("--rounds", type=int, help="rounds, of which the median counts (5)")
    command.add_argument(
        "--parts", type=parts, default=tuple(PARTS), metavar="NAME,NAME", help=f"some of {','.join(PARTS)}"
    )
    command.add_argument("--quick", action="store_true", help="very little of each, to see that it can be measured")
    add_directory(command)
    command.set_defaults(measure=measure_flow)


def add_cache(command: ArgumentParser) -> None:
    """Add what can be said of the core's benchmark."""
    command.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (7)")
    command.add_argument("--count", type=int, default=20_000, help="requests in each (20000)")
    command.set_defaults(measure=lambda given: cache.measure(given.rounds, given.count))


def add_directory(command: ArgumentParser) -> None:
    """Add where files may be put."""
    command.add_argument("--directory", help="where to make a temporary directory (the system's)")


def measure_store(given: Namespace) -> list[Figure]:
    """Return the figures of the store."""
    return store.measure(store.Plan(given.entries, given.stores, given.rounds, given.kills, given.directory))


def measure_flow(given: Namespace) -> list[Figure]:
    """Return the figures of the flow."""
    plan = evolve(QUICK if given.quick else FlowPlan(), directory=given.directory)
    return measure_parts(plan if given.rounds is None else evolve(plan, rounds=given.rounds), given.parts)


def main() -> None:
    """Measure, and print the figures; progress goes to standard error."""
    # To end in good order, with what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = parser().parse_args()
    figures: Sequence[Figure] = given.measure(given)
    print(as_json(figures) if given.json else as_table(figures))


if __name__ == "__main__":
    main()

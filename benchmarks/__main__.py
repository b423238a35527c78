"""The command line: `python -m benchmarks store`, `python -m benchmarks cache`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from benchmarks import cache, store
from benchmarks.report import Figure, as_json, as_table


def counts(text: str) -> tuple[int, ...]:
    """Return the numbers in `text`, which stand between commas."""
    numbers = tuple(int(part.replace("_", "")) for part in text.split(","))
    if min(numbers) < 1:
        raise ArgumentTypeError("at least 1")
    return numbers


def parser() -> ArgumentParser:
    """Return what reads the command line."""
    result = ArgumentParser(prog="python -m benchmarks", description="Measure what buddyproxy costs on this machine.")
    benchmarks = result.add_subparsers(dest="benchmark", required=True)
    _describe_store(benchmarks.add_parser("store", help="the store: hits from the disk, stores, opening, being killed"))
    _describe_cache(benchmarks.add_parser("cache", help="the core: deciding about a request"))
    for benchmark in benchmarks.choices.values():
        benchmark.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def main() -> None:
    """Measure, and print the figures; progress goes to standard error."""
    given = parser().parse_args()
    figures: list[Figure] = given.measure(given)
    print(as_json(figures) if given.json else as_table(figures))


def _describe_store(described: ArgumentParser) -> None:
    default = store.Plan()
    described.add_argument(
        "--entries",
        type=counts,
        default=default.entries,
        metavar="N,N",
        help="how many responses the files have (10000,1000000)",
    )
    described.add_argument("--stores", type=int, default=default.stores, help="how many responses are stored (20000)")
    described.add_argument("--rounds", type=int, default=default.rounds, help="rounds, of which the median counts (5)")
    described.add_argument("--kills", type=int, default=default.kills, help="how often a writer is killed (30)")
    described.add_argument("--directory", help="where to make a temporary directory (the system's)")
    described.set_defaults(measure=_measure_store)


def _measure_store(given: Namespace) -> list[Figure]:
    return store.measure(store.Plan(given.entries, given.stores, given.rounds, given.kills, given.directory))


def _describe_cache(described: ArgumentParser) -> None:
    described.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (7)")
    described.add_argument("--count", type=int, default=20_000, help="requests in each (20000)")
    described.set_defaults(measure=lambda given: cache.measure(given.rounds, given.count))


if __name__ == "__main__":
    main()

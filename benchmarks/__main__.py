"""The command line: `python -m benchmarks store`."""

from argparse import ArgumentParser, ArgumentTypeError

from benchmarks.report import as_json, as_table
from benchmarks.store import Plan, measure


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
    store = benchmarks.add_parser("store", help="the store: hits from the disk, stores, opening, being killed")
    default = Plan()
    store.add_argument(
        "--entries",
        type=counts,
        default=default.entries,
        metavar="N,N",
        help="how many responses the files have (10000,1000000)",
    )
    store.add_argument("--stores", type=int, default=default.stores, help="how many responses are stored (20000)")
    store.add_argument("--rounds", type=int, default=default.rounds, help="rounds, of which the median counts (5)")
    store.add_argument("--kills", type=int, default=default.kills, help="how often a writer is killed (30)")
    store.add_argument("--directory", help="where to make a temporary directory (the system's)")
    store.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return result


def main() -> None:
    """Measure, and print the figures; progress goes to standard error."""
    given = parser().parse_args()
    figures = measure(Plan(given.entries, given.stores, given.rounds, given.kills, given.directory))
    print(as_json(figures) if given.json else as_table(figures))


if __name__ == "__main__":
    main()

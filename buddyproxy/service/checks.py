"""What a configuration needs of this machine: files that can be read, endpoints there are, a key where one is due."""

from buddyproxy.config import Config, check_files, read_key
from buddyproxy.errors import Problem
from buddyproxy.service.listening import addresses_of, has_key


def check(config: Config) -> list[Problem]:
    """Return all that keeps `config` from working here; the schema has been checked before."""
    problems = check_files(config)
    # What cannot be read need not be read.
    unread = {problem.path for problem in problems}
    return [*problems, *_endpoint_problems(config), *_key_problems(config, unread)]


def _endpoint_problems(config: Config) -> list[Problem]:
    problems = []
    for number, address in enumerate(addresses_of(config)):
        path = f"server.endpoints[{number}]" if config.server.endpoints else "server.port"
        try:
            # No reactor is needed to see whether the string makes an endpoint.
            address.endpoint(None)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
        else:
            if address.wide and not has_key(config) and not config.server.allow_open:
                problems.append(Problem(path, _OPEN.format(address=address.given)))
    return problems


_OPEN = (
    "{address} is reached from other machines, and anyone there could use the APIs behind this proxy; "
    "set security.secure_key, or allow it with --allow-open (server.allow_open = true)"
)


def _key_problems(config: Config, unread: set[str]) -> list[Problem]:
    security = config.security
    if security.require_secure_key and not has_key(config):
        return [Problem("security.require_secure_key", "a key is required and none is given; set security.secure_key")]
    path = "security.secure_key_file"
    if security.secure_key_file is not None and path not in unread:
        try:
            read_key(security.secure_key_file)
        except (OSError, ValueError) as error:
            return [Problem(path, f"holds no key that will do: {_reason(error)}")]
    return []


def _reason(error: OSError | ValueError) -> str:
    # A UnicodeDecodeError would show what is in the file.
    return "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)

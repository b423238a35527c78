"""The service's parts that a subprocess shows badly: addresses, checks, the gate from settings, tasks that fail."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from buddyproxy.config import Config
from buddyproxy.errors import CacheError, ConfigurationError
from buddyproxy.message import Request
from buddyproxy.service import ProxyService, StartUpError
from buddyproxy.service.assembly import gate_of, open_storage
from buddyproxy.service.listening import Address, addresses_of, reaches_out, url_of
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.tiered import REFRESH_EVERY, TieredStorage
from tests.support.memory import Connection, parse, spell

KEY = "correct-horse-battery-staple"


@implementer(IListeningPort)
class Port:
    """A port that is open at an address."""

    def __init__(self, address: object) -> None:
        self._address = address

    def startListening(self) -> None:
        """Do nothing."""

    def stopListening(self) -> None:
        """Do nothing."""

    def getHost(self) -> Any:
        """Return where it is open."""
        return self._address


class ListeningTests(SynchronousTestCase):
    """Where to listen, and who can reach it."""

    def test_completed(self) -> None:
        """An endpoint without an interface is loopback's, with room for a burst; others stay as they are."""
        backlog = "backlog=4096"
        cases = {
            "8080": f"tcp:8080:interface=127.0.0.1:{backlog}",
            "tcp:8080": f"tcp:8080:interface=127.0.0.1:{backlog}",
            "tcp:0:backlog=5": "tcp:0:backlog=5:interface=127.0.0.1",
            "tcp6:8080": rf"tcp6:8080:interface=\:\:1:{backlog}",
            "ssl:443:privateKey=k.pem": f"ssl:443:privateKey=k.pem:interface=127.0.0.1:{backlog}",
            "tls:certs:443": "tls:certs:443:interface=127.0.0.1",
            "tcp:80:interface=0.0.0.0": f"tcp:80:interface=0.0.0.0:{backlog}",
            "unix:/run/x.sock": "unix:/run/x.sock",
            "systemd:domain=INET:index=0": "systemd:domain=INET:index=0",
        }
        for given, expected in cases.items():
            self.assertEqual(Address.parse(given).description, expected)

    def test_wide(self) -> None:
        """An interface other than loopback's is wide, in whatever way it is written."""
        cases = {
            "8080": False,
            "tcp:80:interface=127.0.0.1": False,
            "tcp:80:interface=127.9.9.9": False,
            r"tcp:80:interface=\:\:1": False,
            "tcp:80:interface=localhost": False,
            "tcp:80:interface=0.0.0.0": True,
            r"tcp:80:interface=\:\:": True,
            "ssl:443:privateKey=k.pem:interface=10.0.0.1": True,
            "unix:/run/x.sock": False,
        }
        for given, expected in cases.items():
            self.assertEqual(Address.parse(given).wide, expected, given)

    def test_host_and_port(self) -> None:
        """Without endpoints, `server.host` and `server.port` say where."""
        for host, expected in (("127.0.0.1", "127.0.0.1"), ("::1", r"\:\:1")):
            config = Config.from_mapping({"server": {"host": host, "port": 99}})
            [address] = addresses_of(config)
            self.assertEqual(address.description, f"tcp:99:interface={expected}:backlog=4096")

    def test_open_ports(self) -> None:
        """An open port tells who reaches it, and the address to give to programs here."""
        cases = [
            (IPv4Address("TCP", "127.0.0.1", 80), False, "http://127.0.0.1:80"),
            (IPv4Address("TCP", "0.0.0.0", 80), True, "http://127.0.0.1:80"),
            (IPv4Address("TCP", "10.0.0.1", 80), True, "http://10.0.0.1:80"),
            (IPv6Address("TCP", "::", 80), True, "http://[::1]:80"),
            (IPv6Address("TCP", "::1", 80), False, "http://[::1]:80"),
            (UNIXAddress("/run/x.sock"), False, "unix:/run/x.sock"),
        ]
        for address, out, url in cases:
            self.assertEqual((reaches_out(Port(address)), url_of(Port(address), False)), (out, url))


class ServiceTests(SynchronousTestCase):
    """The service, on a reactor in memory."""

    def service(self, **settings: Any) -> ProxyService:
        """Return a service that keeps nothing on disk."""
        self.reactor: Any = MemoryReactorClock()
        self.reactor.callWhenRunning = lambda function: function()
        # The reactor in memory says of every port that it is open to all.
        given = {"cache": {"database_path": ":memory:"}, "server": {"allow_open": True}, **settings}
        return ProxyService(Config.from_mapping(given), self.reactor)

    def test_every_problem_on_construction(self) -> None:
        """A configuration that cannot work here is refused whole."""
        settings = {
            "server": {"endpoints": ["nonsense:1", "tcp:1:interface=0.0.0.0"]},
            "security": {"require_secure_key": True, "secure_key_file": None},
            "domain_mappings": {"a": {"upstream": "https://a.example", "ca_file": "/no/such/file"}},
        }
        with self.assertRaises(ConfigurationError) as caught:
            self.service(**settings)
        paths = [problem.path for problem in caught.exception.problems]
        expected = [
            "domain_mappings.a.ca_file",
            "server.endpoints[0]",
            "server.endpoints[1]",
            "security.require_secure_key",
        ]
        self.assertEqual(paths, expected)

    def test_wide_with_a_key_or_on_purpose(self) -> None:
        """A wider interface opens with a key, or where that was said."""
        wide = {"endpoints": ["tcp:1:interface=0.0.0.0"]}
        self.service(server=wide, security={"secure_key": KEY})
        self.service(server={**wide, "allow_open": True})

    def test_inherited_port_that_reaches_out(self) -> None:
        """A port that turns out to be wide ends start-up without a key: its endpoint string could not tell."""
        service = self.service(server={})
        with self.assertRaises(StartUpError) as caught:
            service._opened(Port(IPv4Address("TCP", "0.0.0.0", 80)), Address.parse("systemd:domain=INET:index=0"))
        self.assertIn("systemd:domain=INET:index=0 is reached from other machines", str(caught.exception))

    def test_endpoint_that_fails_late(self) -> None:
        """An endpoint that takes its time, and then fails, ends the process."""
        service = self.service()
        stops: list[str] = []
        self.reactor.stop = lambda: stops.append("stopped")
        service._failed_late(Failure(StartUpError("cannot listen on slow:1: why")))
        self.assertEqual(stops, ["stopped"])

    def test_start_up_error_is_both(self) -> None:
        """It ends a foreground process with its words alone, and is an error to those who catch errors."""
        self.assertTrue(issubclass(StartUpError, SystemExit) and issubclass(StartUpError, Exception))
        self.assertEqual(StartUpError("why").code, "why")

    def test_listens_once(self) -> None:
        """With or without a privileged phase, each port is opened once; stopping closes it, and it may start again."""
        service = self.service()
        service.privilegedStartService()
        service.startService()
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.successResultOf(service.stopService())
        service.startService()
        self.assertEqual(len(self.reactor.tcpServers), 2)
        self.successResultOf(service.stopService())

    def connection(self, service: ProxyService) -> Connection:
        """Return a caller's connection to a service."""
        return Connection(service._site)

    def test_serves_again_after_a_stop(self) -> None:
        """Idle connections are closed by a stop; a service started again serves on connections that stay open."""
        service = self.service()
        service.startService()
        idle = self.connection(service)
        self.successResultOf(service.stopService())
        self.assertFalse(idle.transport.connected)
        service.startService()
        service._site.startFactory()
        again = self.connection(service)
        again.send(spell("GET", "/"))
        self.assertIsNone(parse(again.received)["Connection"])
        again.leave()
        self.successResultOf(service.stopService())
        service._site.stopFactory()

    def test_stopped_twice(self) -> None:
        """Everybody who asks for the end hears of it."""
        service = self.service()
        service.startService()
        connection = self.connection(service)
        connection.send(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        waiting = [service.stopService(), service.stopService()]
        for stopping in waiting:
            self.assertNoResult(stopping)
        connection.send(b"345")
        for stopping in waiting:
            self.successResultOf(stopping)
        self.assertEqual(parse(connection.received)["Connection"], "close")

    def test_key_file_that_will_not_do(self) -> None:
        """An empty key would open the gate to everybody: a key file is held to what a key is held to."""
        with TemporaryDirectory() as directory:
            file = Path(directory, "key")
            for content in (b"", b"\n", b"short", b"\xff" * 20, b"with white space in it"):
                file.write_bytes(content)
                with self.assertRaises(ConfigurationError) as caught:
                    self.service(security={"secure_key_file": str(file)})
                [problem] = caught.exception.problems
                self.assertEqual(problem.path, "security.secure_key_file")
                self.assertNotIn("short", problem.message)

    def test_second_port_that_is_taken(self) -> None:
        """Where one port cannot be opened none is left open, and another try begins anew."""
        service = self.service(server={"endpoints": ["tcp:1", "tcp:2"], "allow_open": True})
        listen, refused = self.reactor.listenTCP, [2]

        def listen_or_not(port: int, *arguments: Any, **options: Any) -> Any:
            if port in refused:
                raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))
            return listen(port, *arguments, **options)

        self.reactor.listenTCP = listen_or_not
        self.assertRaises(StartUpError, service.startService)
        self.assertEqual(service.urls, [])
        refused.clear()
        service.startService()
        self.assertEqual(len(service.urls), 2)
        self.successResultOf(service.stopService())

    def test_stopped_before_it_served(self) -> None:
        """A service whose ports are open but which never served stops all the same."""
        service = self.service()
        service.privilegedStartService()
        self.successResultOf(service.stopService())

    def test_cleaning_goes_on(self) -> None:
        """A store that cannot be cleaned is reported, and cleaned the next time."""
        service = self.service(cache={"database_path": ":memory:", "cleanup_interval_hours": 1})
        service.startService()
        assert service._running is not None
        cleaned: list[float] = []
        failures: list[Exception] = [CacheError("the disk is full"), ZeroDivisionError("a defect")]

        class Failing(MemoryStorage):
            async def remove_expired(self, now: float) -> int:
                cleaned.append(now)
                if failures:
                    raise failures.pop(0)
                return 1

        storage = Failing(1000, 10)
        for _ in range(3):
            self.successResultOf(Deferred.fromCoroutine(service._clean(storage)))
        self.assertEqual(len(cleaned), 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.successResultOf(service.stopService())

    def test_backing_up_goes_on(self) -> None:
        """A store is backed up at each interval, and at the start where the last one is that long ago."""
        failures: list[Exception] = [CacheError("the disk is full"), ZeroDivisionError("a defect")]

        class Disk:
            age = 7200.0
            made = 0

            def backup_age(self) -> float:
                return self.age

            async def back_up(self) -> None:
                self.made += 1
                if failures:
                    raise failures.pop(0)

        service = self.service(cache={"database_path": ":memory:", "backup_interval_hours": 2})
        disk: Any = Disk()
        backing_up = service._start_backing_up(disk)
        assert backing_up is not None
        self.assertEqual(disk.made, 1)
        for expected in (2, 3):
            self.reactor.advance(7200)
            self.assertEqual(disk.made, expected)
        backing_up.stop()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        disk.age = 7199.0
        backing_up = service._start_backing_up(disk)
        assert backing_up is not None
        self.assertEqual(disk.made, 3)
        backing_up.stop()

    def test_refreshing_goes_on(self) -> None:
        """Memory over a file is told each second what others removed, whatever became of it the last time."""
        failures: list[Exception] = [CacheError("the disk is full"), ZeroDivisionError("a defect")]

        class Storage(TieredStorage):
            refreshed = 0

            async def refresh(self) -> None:
                self.refreshed += 1
                if failures:
                    raise failures.pop(0)

        disk: Any = object()
        storage = Storage(MemoryStorage(1000, 10), disk)
        refreshing = self.service()._start_refreshing(storage)
        assert refreshing is not None
        for expected in (1, 2, 3):
            self.reactor.advance(REFRESH_EVERY)
            self.assertEqual(storage.refreshed, expected)
        refreshing.stop()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.service()._start_refreshing(storage.memory))

    def test_nothing_to_back_up(self) -> None:
        """What is kept in memory alone is not backed up, nor what nobody asked to have backed up."""
        self.assertIsNone(self.service(cache={"backup_interval_hours": 2})._start_backing_up(None))
        disk: Any = object()
        self.assertIsNone(self.service()._start_backing_up(disk))

    def test_log_file_that_cannot_be(self) -> None:
        """A log file that cannot be opened ends start-up."""
        service = self.service(logging={"enable_file": True, "file_path": "/proc/no/such.log"})
        with self.assertRaises(StartUpError):
            service.startService()


class StorageTests(SynchronousTestCase):
    """The store as the configuration asks for it."""

    def test_durability(self) -> None:
        """Every store is committed by itself where the configuration says so."""
        for durability, each in (("group", False), ("each", True)):
            with TemporaryDirectory() as directory:
                path = str(Path(directory, "cache.sqlite"))
                settings = Config.from_mapping({"cache": {"durability": durability, "database_path": path}}).cache
                storage = open_storage(settings, MemoryReactorClock())
                assert isinstance(storage, TieredStorage)
                assert isinstance(storage.disk, SqliteStorage)
                self.assertEqual(storage.disk.each, each)
                self.successResultOf(Deferred.fromCoroutine(storage.close()))


class GateTests(SynchronousTestCase):
    """The gate, from the settings."""

    def test_keys_from_everywhere(self) -> None:
        """A key may stand in the configuration or in a file, and keys may have names."""
        with TemporaryDirectory() as directory:
            file = Path(directory, "key")
            file.write_text(f"{KEY}-file\n")
            settings = {
                "secure_key_file": str(file),
                "keys": {"ci": {"key": f"{KEY}-ci"}},
                "key_position": "path_prefix",
            }
            gate = gate_of(Config.from_mapping({"security": settings}).security)
        for key in (f"{KEY}-file", f"{KEY}-ci"):
            self.assertEqual(gate.admit(Request(b"GET", f"/{key}/a".encode())).request.target, b"/a")
        self.assertEqual(gate.positions, {"path_prefix"})

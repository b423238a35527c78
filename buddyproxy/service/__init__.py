"""The proxy as an `IService`: it listens, serves, cleans up now and then, and ends in good order."""

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from buddyproxy import __version__
from buddyproxy.config import Config, not_in_force
from buddyproxy.errors import CacheError, ConfigurationError
from buddyproxy.metrics import Metrics, counted
from buddyproxy.service.assembly import Assembly, Reactor, disk_of, gate_of, open_storage
from buddyproxy.service.checks import check
from buddyproxy.service.listening import Address, addresses_of, has_key, reaches_out, url_of
from buddyproxy.service.logs import RotatedLog, least_level
from buddyproxy.storage import Storage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.tiered import REFRESH_EVERY, TieredStorage
from buddyproxy.upstream import Upstream
from buddyproxy.web.site import ProxySite

_log = Logger(namespace="buddyproxy")


class StartUpError(SystemExit, Exception):
    """Start-up cannot go on.

    Being a `SystemExit` it ends a process in the foreground with its message as the only line and status 1; being an
    `Exception` it is what a daemon's parent is told by twistd, which then removes the PID file.
    """


@define
class _Running:
    """What exists only between start and stop."""

    storage: Storage
    upstream: Upstream
    cleaning: LoopingCall
    backing_up: LoopingCall | None
    refreshing: LoopingCall | None
    log_file: RotatedLog | None


class ProxyService(Service):
    """Serves one configuration.

    Raises `ConfigurationError` on construction, with every problem, where `config` cannot work on this machine.
    """

    def __init__(self, config: Config, reactor: Reactor) -> None:
        problems = check(config)
        if problems:
            raise ConfigurationError(problems)
        self.setName("buddyproxy")
        self._config = config
        self._reactor = reactor
        self._ports: list[tuple[IListeningPort, Address]] = []
        self._listening = False
        self._running: _Running | None = None
        self.metrics = Metrics(least_level(config.logging))
        self._site = ProxySite(Resource(), reactor, config.server.max_request_body)

    @property
    def urls(self) -> list[str]:
        """The addresses that programs on this machine may use."""
        return [url_of(port, address.secure) for port, address in self._ports]

    def privilegedStartService(self) -> None:
        """Open the ports, while we may open any. Raises `StartUpError` where one cannot be opened."""
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """Begin to serve. Raises `StartUpError` where the store or the log file cannot be opened."""
        super().startService()
        # `twist` starts a service without its privileged phase.
        self._listen()
        self._running = self._open()
        self._reactor.callWhenRunning(self._announce)

    def stopService(self) -> "Deferred[None]":
        """Accept no more, let requests in progress finish, write out what is to be kept."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Wait no longer: break off the requests in progress."""
        if aborted := self._site.abort():
            _log.warn("{connections} broken off", connections=counted(aborted, "connection"))

    def _listen(self) -> None:
        if self._listening:
            return
        for address in addresses_of(self._config):
            opening = address.endpoint(self._reactor).listen(self._site)
            opening.addCallbacks(self._opened, self._not_opened, callbackArgs=(address,), errbackArgs=(address,))
            refusals: list[Failure] = []
            # Those that come with Twisted open at once; one that takes its time can only end what has begun.
            opening.addErrback(refusals.append if opening.called else self._failed_late)
            for refusal in refusals:
                self._close_ports()
                refusal.raiseException()
        self._listening = True

    def _opened(self, port: IListeningPort, address: Address) -> None:
        self._ports.append((port, address))
        if reaches_out(port) and not (has_key(self._config) or self._config.server.allow_open):
            raise StartUpError(f"{address.given} is reached from other machines: set a key, or --allow-open")

    def _not_opened(self, failure: Failure, address: Address) -> None:
        error = failure.value
        reason = error.socketError if isinstance(error, CannotListenError) else error
        text = getattr(reason, "strerror", None) or str(reason)
        raise StartUpError(f"cannot listen on {address.given}: {text}") from error

    def _failed_late(self, failure: Failure) -> None:
        _log.critical("{reason}", reason=failure.getErrorMessage())
        self._reactor.stop()

    def _open(self) -> _Running:
        try:
            gate = gate_of(self._config.security)
            log_file = RotatedLog(self._config.logging) if self._config.logging.enable_file else None
            storage = open_storage(self._config.cache, self._reactor)
        except (OSError, ValueError, CacheError) as error:
            self._close_ports()
            raise StartUpError(str(error)) from error
        if log_file is not None:
            globalLogPublisher.addObserver(log_file)
        upstream = Upstream(self._reactor)
        self._site.resource = Assembly(self._config, gate, storage, upstream, self.metrics, self._reactor).resource()
        cleaning = LoopingCall(lambda: Deferred.fromCoroutine(self._clean(storage)))
        cleaning.clock = self._reactor
        cleaning.start(self._config.cache.cleanup_interval_hours * 3600)
        backing_up = self._start_backing_up(disk_of(storage))
        return _Running(storage, upstream, cleaning, backing_up, self._start_refreshing(storage), log_file)

    def _start_backing_up(self, disk: SqliteStorage | None) -> LoopingCall | None:
        interval = self._config.cache.backup_interval_hours * 3600
        if disk is None or not interval:
            return None
        backing_up = LoopingCall(lambda: Deferred.fromCoroutine(self._back_up(disk)))
        backing_up.clock = self._reactor
        # Not at every start, where these come often.
        backing_up.start(interval, now=disk.backup_age() >= interval)
        return backing_up

    def _start_refreshing(self, storage: Storage) -> LoopingCall | None:
        if not isinstance(storage, TieredStorage):
            return None
        refreshing = LoopingCall(lambda: Deferred.fromCoroutine(self._refresh(storage)))
        refreshing.clock = self._reactor
        refreshing.start(REFRESH_EVERY, now=False)
        return refreshing

    def _announce(self) -> None:
        if not self._ports:
            return  # stopped before the reactor ran
        _log.info("buddyproxy {version} listens on {urls}", version=__version__, urls=", ".join(self.urls))
        if any(reaches_out(port) for port, _ in self._ports):
            _log.info("other machines can reach it")
        mappings = self._config.mappings
        for name, mapping in mappings.items():
            path = "/" if self._config.origin else f"/{name}"
            _log.info("{path} leads to {upstream}", path=path, upstream=mapping.upstream)
        if not mappings:
            _log.info("no mapping leads anywhere yet: add one with --map NAME=URL; {urls} says how", urls=self.urls[0])
        _log.info("responses are kept in {path}", path=self._config.cache.database_path or ":memory:")
        if idle := not_in_force(self._config):
            _log.warn("read and checked, but without effect in this version: {settings}", settings=", ".join(idle))

    async def _clean(self, storage: Storage) -> None:
        """Remove what is of no more use. It reports its own failures, so that one bad run does not end the loop."""
        try:
            removed = await storage.remove_expired(self._reactor.seconds())
        except CacheError as error:
            _log.warn("the store could not be cleaned: {error}", error=error)
        except Exception:  # noqa: BLE001 - the outermost boundary of a looping call
            _log.failure("the store could not be cleaned, which is a defect in buddyproxy")
        else:
            if removed:
                _log.info("{responses} removed that had expired", responses=counted(removed, "stored response"))

    async def _back_up(self, disk: SqliteStorage) -> None:
        """Copy the store's file. It reports its own failures, so that one bad run does not end the loop."""
        try:
            await disk.back_up()
        except CacheError as error:
            _log.warn("the store could not be backed up: {error}", error=error)
        except Exception:  # noqa: BLE001 - the outermost boundary of a looping call
            _log.failure("the store could not be backed up, which is a defect in buddyproxy")

    async def _refresh(self, storage: TieredStorage) -> None:
        """Have memory let go of what other processes removed. It reports its own failures, to go on after them."""
        try:
            await storage.refresh()
        except CacheError as error:
            # Whoever needs the file will say more of it, and not every second.
            _log.debug("the store's file could not be asked for removals: {error}", error=error)
        except Exception:  # noqa: BLE001 - the outermost boundary of a looping call
            _log.failure("the store could not be asked for removals, which is a defect in buddyproxy")

    async def _stop(self) -> None:
        await self._close_ports()
        await self._drain()
        running, self._running = self._running, None
        if running is None:
            return
        running.cleaning.stop()
        if running.backing_up is not None:
            running.backing_up.stop()
        if running.refreshing is not None:
            running.refreshing.stop()
        await running.upstream.close()
        await running.storage.close()
        if running.log_file is not None:
            globalLogPublisher.removeObserver(running.log_file)
            running.log_file.close()

    def _close_ports(self) -> "Deferred[list[object]]":
        ports, self._ports, self._listening = self._ports, [], False
        return gatherResults([maybeDeferred(port.stopListening) for port, _ in ports])

    async def _drain(self) -> None:
        seconds = self._config.server.shutdown_timeout
        if count := self._site.in_progress:
            requests = counted(count, "request")
            _log.info("waiting up to {seconds:g} s for {requests} in progress", seconds=seconds, requests=requests)
        timer = self._reactor.callLater(seconds, self.hurry)
        await self._site.drain()
        if timer.active():
            timer.cancel()

"""The real thing: `twistd` as a process of its own, in front of a real HTTPS origin, asked by real clients."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from buddyproxy import __version__
from tests.support.certificates import Authority
from tests.support.processes import Program, api_origin, python, start

CURL = shutil.which("curl") or "curl"

COMPLETION = """
import json, sys
from openai import OpenAI

client = OpenAI(api_key="sk-test-0123456789", base_url=sys.argv[1], max_retries=0)
for _ in range(2):
    completion = client.chat.completions.create(
        model="model-1", messages=[{"role": "user", "content": "Why is the sky blue?"}]
    )
    print(json.dumps([completion.id, completion.choices[0].message.content]))
"""

STREAM = """
import json, sys
from openai import OpenAI

client = OpenAI(api_key="sk-test-0123456789", base_url=sys.argv[1], max_retries=0)
for _ in range(2):
    stream = client.chat.completions.create(
        model="model-1", messages=[{"role": "user", "content": "Why is the sky blue?"}], stream=True,
        **json.loads(sys.argv[2]),
    )
    print(json.dumps([event.model_dump() for event in stream]))
"""


RUNNERS = {
    "twistd": ["twistd", "--nodaemon", "--pidfile=", "buddyproxy"],
    "twist": ["twist", "--log-format=json", "buddyproxy"],
    "daemon": ["twistd", "buddyproxy"],
}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        number: int = listening.getsockname()[1]
        return number


def end_process(descriptor: int) -> None:
    """End the process behind a process descriptor, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


@frozen
class Got:
    """What curl got: the status line, the fields by lower-case name, the content."""

    status: int
    fields: dict[str, str]
    body: str


class ProcessTestCase(TestCase):
    """An HTTPS origin with a certificate of a test authority, and a proxy that is told of it by `ca_file`."""

    timeout = 120

    def setUp(self) -> None:
        """Make a directory for everything, and a certificate authority."""
        directory = TemporaryDirectory(prefix="buddyproxy-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(self.directory)
        self.cache = self.directory / "xdg-cache" / "buddyproxy" / "cache.sqlite"

    def run_(self, program: Program) -> Program:
        """Have `program` ended with the test."""
        self.addCleanup(program.end)
        return program

    async def start_origin(self) -> int:
        """Start the origin, and return its port."""
        self.origin = await api_origin(self.authority.issue("localhost").pem_file)
        self.addCleanup(self.origin.end)
        return self.origin.port

    def configure(self, port: int, **settings: Any) -> None:
        """Write a configuration file with the mapping `api`, where the proxy looks for one."""
        mapping = {"upstream": f"https://localhost:{port}/v1", "ca_file": "ca.pem", **settings.pop("api", {})}
        root = {"upstream": f"https://localhost:{port}", "ca_file": "ca.pem"}
        document = {"domain_mappings": {"api": mapping, "root": root}, **settings}
        (self.directory / "buddyproxy.json").write_text(json.dumps(document))

    def proxy(self, *options: str, runner: str = "twistd") -> Program:
        """Start the proxy."""
        script, *own = RUNNERS[runner]
        command = [sys.executable, str(Path(sys.executable).with_name(script)), *own, *options]
        home = {"XDG_CACHE_HOME": str(self.directory / "xdg-cache"), "XDG_CONFIG_HOME": str(self.directory / "none")}
        return self.run_(start(*command, directory=self.directory, environment=home))

    async def serving(self, *options: str, runner: str = "twistd") -> tuple[Program, str]:
        """Start the proxy on a free port, and return it with its address once it serves."""
        config = ("--config", "buddyproxy.json") if (self.directory / "buddyproxy.json").exists() else ()
        program = self.proxy("--port", "tcp:0", *config, *options, runner=runner)
        await program.wait_for("listens on ")
        url = re.search(r"http://127\.0\.0\.1:\d+", program.said)
        assert url is not None, program.said
        return program, url[0]

    def curling(self, *arguments: str) -> Program:
        """Start curl."""
        return self.run_(start(CURL, "-sSN", "--noproxy", "*", "--max-time", "30", *arguments))

    async def curl(self, *arguments: str) -> Got:
        """Ask with curl, and return what it got."""
        program = self.curling("-i", *arguments)
        self.assertEqual(await program.exit_code(), 0, program.said)
        head, _, body = program.stdout.partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Got(int(status.split()[1]), fields, body)

    async def end(self, program: Program) -> None:
        """End `program` in good order."""
        program.signal("TERM")
        self.assertEqual(await program.exit_code(), 0, program.said)


class EndToEndTests(ProcessTestCase):
    """What callers and origins see."""

    async def test_miss_hit_restart_hit(self) -> None:
        """The second identical request is answered from the store, also after a restart; the origin saw one."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        first, second = await self.curl(f"{url}/api/models"), await self.curl(f"{url}/api/models")
        await self.end(program)
        program, url = await self.serving()
        third = await self.curl(f"{url}/api/models")
        seen = [(got.status, got.fields["x-cache"], got.body) for got in (first, second, third)]
        self.assertEqual(seen, [(200, "MISS", first.body), (200, "HIT", first.body), (200, "HIT", first.body)])
        self.assertIn("model-1", first.body)
        self.assertEqual(first.fields["cache-status"].split("; ")[:2], ["buddyproxy", "fwd=uri-miss"])
        self.assertEqual(json.loads((await self.curl(f"{url}/root/count")).body)["/v1/models"], 1)
        self.assertIn("GET api /v1/models 200 hit", program.said)

    async def test_terminated_with_a_request_in_progress(self) -> None:
        """SIGTERM stops accepting, lets the request in progress finish, and ends with status 0."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        slow = self.curling(f"{url}/root/slow")
        await slow.wait_for("begun")
        program.signal("TERM")
        await program.wait_for("waiting up to 30 s for 1 request")
        refused = self.curling(f"{url}/api/models")
        self.assertEqual(await refused.exit_code(), 7, refused.said)
        origin = f"https://localhost:{port}"
        await self.curl("--cacert", self.authority.ca_file, "-X", "POST", f"{origin}/finish")
        self.assertEqual((await slow.exit_code(), slow.stdout), (0, "begun\nfinished\n"))
        self.assertEqual(await program.exit_code(), 0, program.said)

    async def test_terminated_and_out_of_patience(self) -> None:
        """After `shutdown_timeout`, or at a second signal, requests in progress are broken off; the status is 0."""
        for settings, signals in (({"shutdown_timeout": 0.1}, 1), ({"shutdown_timeout": 60}, 2)):
            port = await self.start_origin()
            self.configure(port, server=settings)
            program, url = await self.serving()
            slow = self.curling(f"{url}/root/slow")
            await slow.wait_for("begun")
            program.signal("TERM")
            await program.wait_for("waiting up to")
            if signals == 2:
                program.signal("TERM")
            self.assertEqual(await program.exit_code(), 0, program.said)
            self.assertIn("1 connection broken off", program.said)
            self.assertNotEqual(await slow.exit_code(), 0)

    async def test_terminated_with_an_answer_unsent(self) -> None:
        """What a slow reader has not taken yet is sent before the end."""
        (self.directory / "large").write_bytes(b"x" * 8_000_000)
        files = self.run_(python("-m", "http.server", "--bind", "127.0.0.1", "0", directory=self.directory))
        await files.wait_for("Serving HTTP on")
        port = files.said.partition(" port ")[2].split()[0]
        self.configure(1, domain_mappings={"files": {"upstream": f"http://127.0.0.1:{port}"}})
        program, url = await self.serving()
        self.assertEqual(await self.curling("-o", "/dev/null", f"{url}/files/large").exit_code(), 0)
        taken = self.directory / "taken"
        slow = self.curling("--limit-rate", "4M", "-o", str(taken), f"{url}/files/large")
        await program.wait_for("200 hit")
        program.signal("TERM")
        self.assertEqual(await program.exit_code(), 0, program.said)
        self.assertEqual((await slow.exit_code(), taken.stat().st_size), (0, 8_000_000))

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it in good order too, by the signal, as a shell expects."""
        self.configure(1)
        program, _ = await self.serving()
        program.signal("INT")
        self.assertEqual(await program.exit_code(), -signal.SIGINT, program.said)
        self.assertNotIn("Traceback", program.said)

    async def test_openai_client(self) -> None:
        """The `openai` package, its base URL changed and nothing else: two completions, one upstream call."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        client = self.run_(python("-c", COMPLETION, f"{url}/api", environment={"NO_PROXY": "*"}))
        self.assertEqual(await client.exit_code(deadline=60), 0, client.said)
        first, second = client.stdout.splitlines()
        self.assertEqual(first, second)
        self.assertIn("Why is the sky blue?", first)
        self.assertEqual(json.loads((await self.curl(f"{url}/root/count")).body)["/v1/chat/completions"], 1)
        await self.end(program)
        self.assertNotIn("sk-test", program.said)
        self.assertNotIn(b"sk-test", self.cache.read_bytes())

    async def test_openai_client_streaming(self) -> None:
        """The same with streams: the same events, of one upstream call, also after a restart and at another pace."""
        port = await self.start_origin()
        for replay in ("instant", "recorded", "200/s"):
            self.configure(port, api={"replay": replay, "store_unless": ['choices[*].finish_reason = "length"']})
            program, url = await self.serving()
            first, second = await self.stream(url, {})
            self.assertEqual(first, second)
            self.assertEqual(len(first), 6)
            text = "".join(event["choices"][0]["delta"]["content"] or "" for event in first)
            self.assertEqual(text, "Answer 1 to: Why is the sky blue?")
            count = await self.curl("-H", "Cache-Control: no-store", f"{url}/root/count")
            self.assertEqual(json.loads(count.body)["/v1/chat/completions"], 1)
            await self.end(program)

    async def test_openai_client_cut_short(self) -> None:
        """A stream that says it was cut short is asked for again, where the configuration wants no such answers."""
        port = await self.start_origin()
        self.configure(port, api={"store_unless": ['choices[*].finish_reason = "length"']})
        _, url = await self.serving()
        first, second = await self.stream(url, {"max_tokens": 4})
        self.assertEqual([events[-1]["choices"][0]["finish_reason"] for events in (first, second)], ["length"] * 2)
        self.assertNotEqual(first, second)

    async def stream(self, url: str, options: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Return the events of two streams that the `openai` package asked for, one after the other."""
        client = self.run_(python("-c", STREAM, f"{url}/api", json.dumps(options), environment={"NO_PROXY": "*"}))
        self.assertEqual(await client.exit_code(deadline=60), 0, client.said)
        return [json.loads(line) for line in client.stdout.splitlines()]

    async def test_callers_do_not_share(self) -> None:
        """Another caller's key gets an answer of its own."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        words = []
        for key in ("one", "two", "one"):
            got = await self.curl("-H", f"Authorization: Bearer {key}", f"{url}/api/models")
            words.append(got.fields["x-cache"])
        self.assertEqual(words, ["MISS", "MISS", "HIT"])

    async def test_forwarded_to_the_byte(self) -> None:
        """The origin gets target, fields and content as they were sent; the caller gets the origin's bytes."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        # Two of a sort, in this order, and a target that any library would tidy.
        target = "/root/echo?a=%2F&b=|{}&&c"
        fields = (
            "-H",
            "X-Two: 1",
            "-H",
            "X-Two: 2",
            "-H",
            "Accept-Encoding: br;q=0.5",
            "-H",
            "X-Forwarded-For: 1.2.3.4",
        )
        got = await self.curl("-g", "-X", "PATCH", "--data-binary", "\x01 content", *fields, f"{url}{target}")
        echo = json.loads(got.body)
        self.assertEqual((echo["method"], echo["target"]), ("PATCH", "/echo?a=%2F&b=|{}&&c"))
        self.assertEqual(echo["body"], "\x01 content")
        sent = [(name.lower(), value) for name, value in echo["headers"]]
        self.assertEqual([value for name, value in sent if name == "x-two"], ["1", "2"])
        values = dict(sent)
        self.assertEqual(values["host"], f"localhost:{port}")
        self.assertEqual((values["via"], values["accept-encoding"]), ("1.1 buddyproxy", "br;q=0.5"))
        self.assertNotIn("x-forwarded-for", values)

    async def test_path_to_the_byte(self) -> None:
        """Double slashes, dots, an encoded slash and an empty query arrive as they were written."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        for target in ("//a%2Fb/../c/./", "/a;b=1?", "/%7e%zz"):
            await self.curl("-g", "--path-as-is", "-X", "PUT", f"{url}/root{target}")
            seen = json.loads((await self.curl("-H", "Cache-Control: no-store", f"{url}/root/requests")).body)
            self.assertEqual(seen[-1]["target"], target)

    async def test_redirects_and_coding_are_the_callers(self) -> None:
        """No redirect is followed, but leads back here; gzip stays gzip, with its name."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        redirect = await self.curl(f"{url}/root/redirect")
        self.assertEqual((redirect.status, redirect.fields["location"]), (302, "/root/echo"))
        zipped = await self.curl("--compressed", f"{url}/root/gzip")
        self.assertEqual((zipped.fields["content-encoding"], json.loads(zipped.body)), ("gzip", {"compressed": True}))

    async def test_no_cookie_for_another(self) -> None:
        """A cookie set for one caller is not sent for another."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        got = await self.curl(f"{url}/root/set-cookie")
        self.assertIn("session=1", got.fields["set-cookie"])
        echo = json.loads((await self.curl(f"{url}/root/echo")).body)
        self.assertNotIn("cookie", [name.lower() for name, _ in echo["headers"]])

    async def test_certificate_of_a_stranger(self) -> None:
        """An origin whose certificate nobody vouches for gets no request: 502, and why."""
        port = await self.start_origin()
        (self.directory / "other").mkdir()
        Authority(self.directory / "other")
        self.configure(port, api={"ca_file": "other/ca.pem"})
        _, url = await self.serving()
        got = await self.curl(f"{url}/api/models")
        self.assertEqual((got.status, json.loads(got.body)["error"]["code"]), (502, "upstream-failed"))
        self.assertIn("certificate verify failed", json.loads(got.body)["error"]["message"])
        self.assertEqual(json.loads((await self.curl(f"{url}/root/count")).body), {})

    async def test_origin_refuses_or_hangs(self) -> None:
        """An origin that refuses gives 502, one that hangs 504 at the configured time; neither is stored."""
        refusing, hanging = free_port(), socket.create_server(("127.0.0.1", 0))
        self.addCleanup(hanging.close)
        origin = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        mappings = {
            "refusing": {"upstream": f"http://127.0.0.1:{refusing}"},
            "hanging": {"upstream": origin, "timeouts": {"first_byte": 0.2}},
        }
        self.configure(1, domain_mappings=mappings)
        program, url = await self.serving()
        for name, status, code in (("refusing", 502, "upstream-failed"), ("hanging", 504, "upstream-timeout")):
            for _ in range(2):
                got = await self.curl(f"{url}/{name}/a")
                self.assertEqual((got.status, json.loads(got.body)["error"]["code"]), (status, code))
                self.assertEqual(got.fields["x-cache"], "MISS")
        await self.end(program)
        with closing(sqlite3.connect(self.cache)) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM cache_entries").fetchone(), (0,))

    async def test_origin_breaks_off(self) -> None:
        """An answer that breaks off never looks complete, and is not stored."""
        port = await self.start_origin()
        self.configure(port)
        _, url = await self.serving()
        slow = self.curling(f"{url}/root/slow")
        await slow.wait_for("begun")
        await self.origin.end()
        self.assertEqual(await slow.exit_code(), 18, slow.said)
        self.assertEqual((await self.curl(f"{url}/root/slow")).status, 502)

    async def test_no_mapping(self) -> None:
        """Without a mapping it starts, says how to add one, and says the same at `/`."""
        program, url = await self.serving()
        await program.wait_for("--map NAME=URL")
        got = await self.curl(f"{url}/")
        self.assertEqual(got.status, 200)
        self.assertIn("--map openai=https://api.openai.com/v1", got.body)
        self.assertEqual((await self.curl(f"{url}/openai/models")).status, 404)

    async def test_one_origin_at_the_root(self) -> None:
        """With `--origin`, every path is the origin's."""
        port = await self.start_origin()
        origin = {"upstream": "http://localhost", "ca_file": "ca.pem"}
        (self.directory / "buddyproxy.json").write_text(json.dumps({"origin": origin}))
        _, url = await self.serving("--origin", f"https://localhost:{port}/v1")
        self.assertIn("model-1", (await self.curl(f"{url}/models")).body)
        self.assertEqual((await self.curl(f"{url}/models")).fields["x-cache"], "HIT")
        self.assertIn('"ok"', (await self.curl(f"{url}/.buddyproxy/health")).body)

    async def test_twist_logs_json(self) -> None:
        """Under `twist --log-format=json`, the line of a request is an event with the same fields."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving(runner="twist")
        await self.curl(f"{url}/api/models?key=secret")
        await program.wait_for("uri-miss")
        await self.end(program)
        events = [json.loads(event) for event in program.said.replace("\x1e", "").splitlines() if event.startswith("{")]
        [event] = [event for event in events if "outcome" in event]
        expected = {"method": "GET", "mapping": "api", "path": "/v1/models", "status": 200, "outcome": "uri-miss"}
        self.assertEqual({name: event[name] for name in expected}, expected)
        self.assertGreater(event["milliseconds"], 0)
        self.assertNotIn("secret", program.said)

    async def test_log_file(self) -> None:
        """A log file of its own is written as configured, and rotated by size."""
        port = await self.start_origin()
        logging = {"enable_file": True, "file_path": "logs/proxy.log", "format": "json", "max_file_size": 2000}
        self.configure(port, logging=logging)
        program, url = await self.serving()
        await self.curl(*[f"{url}/api/models?n={number}" for number in range(10)])
        await self.end(program)
        files = sorted((self.directory / "logs").iterdir())
        self.assertGreater(len(files), 1)
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        self.assertEqual([line["mapping"] for line in lines if "outcome" in line], ["api"] * 10)
        self.assertEqual({file.stat().st_mode & 0o777 for file in files}, {0o600})

    async def test_daemon(self) -> None:
        """As a daemon it writes a log and a PID file, serves, and ends by SIGTERM, removing the PID file."""
        port = await self.start_origin()
        self.configure(port)
        number = free_port()
        program = self.proxy("--port", f"tcp:{number}", "--config", "buddyproxy.json", runner="daemon")
        self.assertEqual(await program.exit_code(), 0, program.said)
        pid_file = self.directory / "twistd.pid"
        pid = int(pid_file.read_text())
        descriptor = os.pidfd_open(pid)
        self.addCleanup(end_process, descriptor)
        retrying = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
        self.assertEqual((await self.curl(*retrying, f"http://127.0.0.1:{number}/api/models")).status, 200)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        ended, _, _ = await deferToThread(select.select, [descriptor], [], [], 30)
        self.assertEqual(ended, [descriptor])
        self.assertFalse(pid_file.exists())
        self.assertIn("GET api /v1/models 200 uri-miss", (self.directory / "twistd.log").read_text())

    async def test_tls_and_unix_endpoints(self) -> None:
        """It listens on several endpoints at once: TLS, and a Unix socket."""
        port = await self.start_origin()
        self.configure(port)
        shown = self.authority.issue("localhost").pem_file
        path = self.directory / "proxy.sock"
        program, _ = await self.serving("--port", f"ssl:0:privateKey={shown}:certKey={shown}", "--port", f"unix:{path}")
        got = await self.curl("--unix-socket", str(path), "http://localhost/api/models")
        self.assertEqual(got.status, 200)
        secure = re.search(r"https://127\.0\.0\.1:(\d+)", program.said)
        assert secure is not None
        ca = ("--cacert", self.authority.ca_file)
        got = await self.curl(*ca, "--http1.1", f"https://localhost:{secure[1]}/api/models")
        self.assertEqual((got.status, got.fields["x-cache"]), (200, "HIT"))


class CommandLineTests(ProcessTestCase):
    """What the command line says, and how it ends."""

    async def said(self, *options: str, status: int = 0, runner: str = "twistd") -> str:
        """Return what the proxy said, which ended by itself with `status`."""
        program = self.proxy(*options, runner=runner)
        self.assertEqual(await program.exit_code(), status, program.said)
        self.assertNotIn("Traceback", program.said)
        return program.said

    async def test_version_and_help(self) -> None:
        """`--version` and `--help` say what they should, and end well."""
        self.assertEqual(await self.said("--version"), f"buddyproxy {__version__}\n")
        said = await self.said("--help")
        options = (
            "port",
            "config",
            "map",
            "origin",
            "cache",
            "ttl",
            "mode",
            "allow-open",
            "clear-cache",
            "check-config",
            "check-url",
        )
        for option in options:
            self.assertRegex(said, rf"--{option}[ =]\S* *\S", option)

    async def test_port_taken(self) -> None:
        """A port that is taken ends start-up with one clear line and status 1, however it was started."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = f"tcp:{taken.getsockname()[1]}"
            for runner in RUNNERS:
                said = await self.said("--port", port, status=1, runner=runner)
                self.assertIn(f"cannot listen on {port}", said, runner)
                self.assertEqual(said.lower().count("address already in use"), 1, said)
        self.assertFalse((self.directory / "twistd.pid").exists())
        self.assertFalse(self.cache.exists())

    async def test_every_problem_at_once(self) -> None:
        """Bad options and a bad configuration file: every problem with its path or option, and status 1."""
        (self.directory / "buddyproxy.toml").write_text(
            "[cache]\ndefualt_ttl = 5\n[domain_mappings.one]\nupstream = 'ftp://x'\nca_file = 'missing.pem'\n"
        )
        options = ("--ttl", "soon", "--mode", "best", "--map", "two", "--map", "three=nowhere", "--port", "tcp:x")
        expected = [
            "cache.defualt_ttl: unknown key; did you mean",
            "domain_mappings.one.upstream: not an absolute http(s) URL",
            "--ttl: ",
            "--mode: ",
            "--map: expected NAME=URL",
            "--map three: not an absolute http(s) URL",
        ]
        for runner in ("twistd", "twist"):
            for check in ((), ("--check-config",)):
                said = await self.said(*options, *check, status=1, runner=runner)
                for problem in expected:
                    self.assertIn(f"buddyproxy: {problem}", said)

    async def test_files_and_endpoints_are_checked(self) -> None:
        """What the configuration names on this machine is looked at before anything starts."""
        cases = [
            (("--config", "missing.toml"), "missing.toml: cannot be read: No such file or directory"),
            (("--port", "carrier-pigeon:7"), "--port: carrier-pigeon:7: "),
            (("--port", "ssl:1:privateKey=missing.pem"), "--port: ssl:1:privateKey=missing.pem"),
            (("--port", "tcp:0:interface=0.0.0.0"), "is reached from other machines"),
            (("--prot", "8080"), "did you mean --port?"),
            (("--map",), "option --map requires argument"),
            (("surplus",), "unexpected argument 'surplus'"),
        ]
        for options, expected in cases:
            self.assertIn(expected, await self.said(*options, status=1))
        (self.directory / "bad.toml").write_text("[cache\n")
        self.assertRegex(await self.said("--config", "bad.toml", status=1), r"bad\.toml: .*line 1")

    async def test_check_config(self) -> None:
        """A good configuration is said to be good, with what it amounts to and what has no effect yet."""
        (self.directory / "buddyproxy.toml").write_text(
            "[domain_mappings.one]\nupstream = 'https://one.example/v1'\nrules = [{ path = '/*' }, { path = '/a' }]\n"
            "[throttling]\nmax_wait = 9\n"
        )
        said = await self.said("--check-config", "--map", "two=https://two.example")
        self.assertRegex(said, r"the configuration is good: 2 mappings, .*buddyproxy\.toml\n")
        self.assertIn("  one: https://one.example/v1\n", said)
        self.assertIn("note: throttling.max_wait is read and checked, but without effect", said)
        self.assertIn("note: domain_mappings.one.rules[1] never holds: domain_mappings.one.rules[0] comes first", said)
        self.assertFalse(self.cache.exists())

    async def test_check_url(self) -> None:
        """`--check-url` says which rule a URL meets and what holds there; one that leads nowhere is a mistake."""
        (self.directory / "buddyproxy.toml").write_text(
            "[domain_mappings.one]\nupstream = 'https://one.example/v1'\n"
            "rules = [{ path = '/live/*', methods = [] }, { path = '/models*', ttl = '1h' }]\n"
        )
        said = await self.said("--check-url", "http://127.0.0.1:8080/one/models?x=1")
        self.assertTrue(said.startswith("mapping: one\norigin: https://one.example/v1/models?x=1\n"), said)
        self.assertIn('rule: rules[1], path = "/models*"\n', said)
        self.assertIn("lifetime: as the origin says; where it does not, 1h\n", said)
        said = await self.said("--check-config", "--check-url", "/one/live/a")
        self.assertIn("the configuration is good", said)
        self.assertIn("methods: none", said)
        said = await self.said("--check-url", "/two/models", status=1)
        self.assertIn("buddyproxy: --check-url: no mapping has", said)
        self.assertFalse(self.cache.exists())

    async def test_clear_cache(self) -> None:
        """`--clear-cache` removes everything, says how many, and ends."""
        self.assertIn(f"there is no file {self.cache}: nothing to remove", await self.said("--clear-cache"))
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        await self.curl(*[f"{url}/api/models?n={number}" for number in range(3)])
        await self.end(program)
        self.assertIn("removed 3 stored responses", await self.said("--clear-cache"))
        _, url = await self.serving()
        self.assertEqual((await self.curl(f"{url}/api/models?n=1")).fields["x-cache"], "MISS")

    async def test_damaged_store(self) -> None:
        """A cache file that is no database is moved aside with what belongs to it, and service goes on."""
        self.cache.parent.mkdir(parents=True)
        for suffix in ("", "-wal", "-shm"):
            self.cache.with_name(self.cache.name + suffix).write_bytes(b"this is not a database" * 100)
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        words = [(await self.curl(f"{url}/api/models")).fields["x-cache"] for _ in range(2)]
        self.assertEqual(words, ["MISS", "HIT"])
        await self.end(program)
        self.assertEqual(program.said.count("damaged"), program.said.count("damaged-") + 1, program.said)
        aside = sorted(path.name for path in self.cache.parent.iterdir() if "damaged-" in path.name)
        self.assertEqual(len(aside), 3, aside)

    async def test_clearing_what_is_no_store(self) -> None:
        """`--clear-cache` leaves a file that is no store as it is, and says so."""
        notes = self.directory / "notes.txt"
        notes.write_text("my notes")
        self.assertIn(f"{notes}: ", await self.said("--clear-cache", "--cache", str(notes), status=1))
        self.assertEqual(notes.read_text(), "my notes")
        self.assertEqual([path.name for path in self.directory.iterdir() if "notes" in path.name], ["notes.txt"])

    async def test_store_that_cannot_be(self) -> None:
        """A cache path that cannot be used ends start-up with one clear line."""
        said = await self.said("--port", "tcp:0", "--cache", str(self.directory), status=1)
        self.assertIn(f"{self.directory}: the store ", said)

    async def test_memory_only(self) -> None:
        """With `--cache :memory:` nothing is written, and hits are hits."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving("--cache", ":memory:")
        words = [(await self.curl(f"{url}/api/models")).fields["x-cache"] for _ in range(2)]
        self.assertEqual(words, ["MISS", "HIT"])
        await self.end(program)
        self.assertFalse(self.cache.exists())

    async def test_expired_responses_are_removed(self) -> None:
        """What has expired is removed from the file, by the cleaning that runs at start and then by the hour."""
        port = await self.start_origin()
        self.configure(port)
        program, url = await self.serving()
        await self.curl(f"{url}/api/models")
        await self.end(program)
        with closing(sqlite3.connect(self.cache)) as database:
            database.execute("UPDATE cache_entries SET remove_after = 1.0")
            database.commit()
        program, _ = await self.serving()
        await program.wait_for("1 stored response removed that had expired")

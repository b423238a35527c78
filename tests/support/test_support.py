"""What tests stand on, stands."""

import json
import tempfile
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import TestCase

from tests.support.certificates import Authority
from tests.support.processes import api_origin, python, twistd

CLIENT = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="x", max_retries=0)
print([model.id for model in client.models.list()])
asked = {"model": "model-1", "messages": [{"role": "user", "content": "hello"}]}
print(client.chat.completions.create(**asked).choices[0].message.content)
stream = client.chat.completions.create(**asked, stream=True)
print([chunk.choices[0].delta.content for chunk in stream])
"""

FETCH = """
import json, sys, urllib.request
for line in sys.stdin:
    with urllib.request.urlopen(sys.argv[1] + line.strip()) as answer:
        print(json.dumps([answer.status, answer.headers.items(), answer.read().decode("latin-1")]), flush=True)
"""


class ApiOriginTests(TestCase):
    """The stand-in API."""

    timeout = 60

    async def test_openai(self) -> None:
        """The `openai` package takes it for real."""
        api = await api_origin()
        self.addCleanup(api.end)
        client = python("-c", CLIENT, f"http://127.0.0.1:{api.port}/v1")
        self.addCleanup(client.end)
        self.assertEqual(await client.exit_code(deadline=40), 0, client.said)
        self.assertEqual(
            client.stdout.splitlines(),
            ["['model-1']", "Answer 1 to: hello", "['', 'Answer ', '2 ', 'to: ', 'hello', None]"],
        )

    async def test_tls(self) -> None:
        """With a certificate it speaks TLS; it tells what it was asked; it ends with its standard input."""
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(rmtree, directory)
        authority = Authority(directory)
        api = await api_origin(authority.issue("localhost").pem_file)
        self.addCleanup(api.end)
        where = f"https://localhost:{api.port}"
        client = python("-c", FETCH, where, environment={"SSL_CERT_FILE": authority.ca_file})
        self.addCleanup(client.end)
        paths = ("/v1/models?cache_control=no-store", "/echo?a=%2F//", "/slow?seconds=0", "/redirect", "/count")
        client.transport.write("".join(f"{path}\n" for path in paths).encode())
        client.close_stdin()
        self.assertEqual(await client.exit_code(), 0, client.said)
        answers = [json.loads(line) for line in client.stdout.splitlines()]
        self.assertIn(["Cache-Control", "no-store"], answers[0][1])
        echo = json.loads(answers[1][2])
        self.assertEqual((echo["method"], echo["target"], echo["body"]), ("GET", "/echo?a=%2F//", ""))
        self.assertIn(["Accept-Encoding", "identity"], echo["headers"])
        self.assertEqual(answers[2][2], "begun\nfinished\n")
        self.assertEqual(json.loads(answers[4][2]), {"/v1/models": 1, "/echo": 2, "/slow": 1, "/redirect": 1})
        api.program.close_stdin()
        self.assertEqual(await api.program.exit_code(), 0, api.program.said)


class ProgramTests(TestCase):
    """Programs run by tests."""

    timeout = 60

    async def test_ended(self) -> None:
        """The code a program returned; waiting for what it can no longer say is a failure, not a wait."""
        program = python("-c", "import sys; print('hello'); sys.exit(3)")
        await program.wait_for("hello")
        self.assertEqual(await program.exit_code(), 3)
        with self.assertRaisesRegex(AssertionError, "ended with 3"):
            await program.wait_for("goodbye")
        program.signal("TERM")
        await program.end()

    async def test_deadline(self) -> None:
        """What is not said in time is a failure, with what was said instead."""
        program = python("-c", "import sys; print('hello'); sys.stdin.read()")
        self.addCleanup(program.end)
        await program.wait_for("hello")
        with self.assertRaisesRegex(AssertionError, "'goodbye' was not said within 0.01 s:\nhello"):
            await program.wait_for("goodbye", deadline=0.01)

    async def test_signal(self) -> None:
        """A program ended by a signal."""
        program = twistd("web", "--port", "tcp:0:interface=127.0.0.1")
        self.addCleanup(program.end)
        await program.wait_for("starting on")
        program.signal("TERM")
        self.assertEqual(await program.exit_code(), -15)

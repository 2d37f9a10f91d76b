"""Singularity Python: its client's calls, in a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.callers.engines.conftest import owned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

# It prints one JSON object, the last line.
CALLS = """
import json, os, sys
from spython.main import Client
import spython.utils

name = sys.argv[1]
found = {"version": [Client.version(), spython.utils.get_singularity_version()]}
image = found["pulled"] = Client.pull(f"docker://{name}", pull_folder=os.getcwd())
found["executed"] = Client.execute(
    image, ["sh", "-c", "echo a  b; ls /mnt; touch made; echo $IMAGE$HOSTS"],
    options=["--cleanenv"], bind="data:/mnt", nv=True)
found["failed"] = Client.execute(image, ["sh", "-c", "exit 7"], return_result=True)
found["ran"] = Client.run(image, ["echo", "ran"])
found["by name"] = Client.run(f"docker://{name}", ["echo", "ran"])
found["inspected"] = Client.inspect(image, quiet=True)
instance = Client.instance(image, name="web", options=["--contain"])
found["in an instance"] = Client.execute(instance, ["echo", "here"])
found["instances"] = [one.name for one in Client.instances()]
instance.stop()
found["then"] = [one.name for one in Client.instances(quiet=True) or []]
with open("a.def", "w") as file:
    file.write(f"Bootstrap: docker\\nFrom: {name}\\n%post\\necho built >/built\\n")
found["built"] = Client.build(recipe="a.def", image=os.path.abspath("b.sif"), sudo=False)
found["of the built"] = Client.execute("b.sif", ["cat", "/built"])
found["exported"] = Client.export(image)
print()
print(json.dumps(found))
"""


def test_the_client(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/input").touch()
    (tmp_path / "calls.py").write_text(CALLS)
    line = ["python", "calls.py", site.small]
    done = site.run("spython", *line, cwd=tmp_path, env={"HOSTS": "host's"})
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(" 1.4.5" in f" {text.rpartition(' ')[2]}" for text in found["version"])
    assert found["pulled"] == str(tmp_path / "small:1.sif")
    assert {"a b", "input", "is here"} <= set("".join(found["executed"]).splitlines())
    assert owned(tmp_path / "made") == ""
    assert found["failed"]["return_code"] == 7
    assert "".join(found["ran"]).strip().endswith("ran")
    assert "".join(found["by name"]).strip().endswith("ran")
    attributes = found["inspected"]["attributes"]
    assert attributes["labels"]["org.label-schema.schema-version"] == "1.0"
    assert "".join(found["in an instance"]) == "here\n"
    assert (found["instances"], found["then"]) == (["web"], [])
    assert "".join(found["of the built"]) == "built\n"
    assert (tmp_path / "b.sif").stat().st_mode & 0o777 == 0o755

"""Run the security checks: the tests that SECURITY.md names, pip-audit and bandit.

pip-audit asks PyPI for known vulnerabilities. A package that it cannot look up, as without a
network, is no failure: how many were looked up is printed. A known vulnerability is one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = re.compile(r"(?:\||,) `(tests/[^`]+)`(?= \||,)")


def main() -> int:
    tests = TEST.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    options = ("-q", "-p", "no:benchmark", "--numprocesses", "auto", "--dist", "loadfile")
    pytest = _run("pytest", *options, *tests).returncode
    bandit = _run("bandit", "-q", "-r", "agentkit", "-c", "pyproject.toml").returncode
    return max(pytest, bandit, _audit())


def _audit() -> int:
    """Print known vulnerabilities of the pinned packages, and how many could be looked up."""
    options = ("-r", "constraints.txt", "--no-deps", "--disable-pip", "--format", "json")
    done = _run("pip_audit", "--progress-spinner", "off", *options, capture_output=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"pip-audit gave no report: {done.stderr.strip()[-500:]}")
        return 0
    found = 0
    for package in packages:
        for fault in package.get("vulns", ()):
            found = 1
            print(f"{package['name']} {package['version']}: {fault['id']}, {fault['fix_versions']}")
    known = sum("vulns" in package for package in packages)
    print(f"pip-audit: {known} of {len(packages)} packages were looked up")
    return found


def _run(module: str, *arguments: str, **options: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, check=False, **options)


if __name__ == "__main__":
    sys.exit(main())

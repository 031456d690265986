"""What must be made before drivers run: node modules, compiled programs."""

import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
OUT = HERE.parent.parent / "build" / "drivers"
NODE = HERE / "node"
JDBC = "/usr/share/java/postgresql.jar"
AT_ONCE = 2
_npm_lock = threading.Lock()


def command(driver):
    """The words that start it."""
    return [str(word).format(here=HERE, out=OUT, jdbc=JDBC) for word in driver.command]


def make(drivers):
    """Makes what they need, some of it at the same time; driver -> what went wrong."""
    OUT.mkdir(parents=True, exist_ok=True)
    steps = list(dict.fromkeys(step for driver in drivers for step in driver.needs))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = dict(zip(steps, threads.map(lambda step: STEPS[step[0]](*step[1:]), steps)))
    return {driver.name: made[step] for driver in drivers for step in driver.needs if made[step]}


def fresh(target, *sources):
    return target.exists() and all(target.stat().st_mtime > source.stat().st_mtime for source in sources)


def call(*words, cwd=None, env=None, seconds=400):
    """The last lines of its output when it fails."""
    if not shutil.which(str(words[0])):
        return f"{words[0]} is not installed"
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )
    return "" if done.returncode == 0 else f"{words[0]}: {(done.stdout + done.stderr).strip()[-1500:]}"


def npm():
    with _npm_lock:
        if fresh(NODE / "node_modules" / ".package-lock.json", NODE / "package-lock.json"):
            return ""
        return call("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=NODE)


def prisma():
    """The generator asks for an engine that the generated client does without; any program passes for it."""
    generated = NODE / "generated" / "prisma" / "schema.prisma"
    trouble = npm()
    if trouble or fresh(generated, NODE / "prisma" / "schema.prisma", NODE / "package-lock.json"):
        return trouble
    return call(
        *("env", "PRISMA_SCHEMA_ENGINE_BINARY=/bin/true", "CHECKPOINT_DISABLE=1", "PRISMA_HIDE_UPDATE_MESSAGE=1"),
        *("DATABASE_URL=postgres://unused", NODE / "node_modules/.bin/prisma", "generate"),
        *("--schema", NODE / "prisma" / "schema.prisma"),
    )


def go_environment():
    """Debian's packages are a GOPATH."""
    return ["env", "GO111MODULE=off", "GOPATH=/usr/share/gocode", "GOFLAGS=-p=2", f"GOCACHE={OUT / 'go-cache'}"]


def go(name):
    """The driver's own file and the contract make one program."""
    target, sources = OUT / name, [HERE / "go" / "contract.go", HERE / "go" / f"{name}.go"]
    if fresh(target, *sources):
        return ""
    return call(*go_environment(), "go", "build", "-o", target, *sources)


def go_suite(name, package):
    """A package's own tests as a program; Go knows itself what is new."""
    return call(*go_environment(), "go", "test", "-c", "-o", OUT / f"{name}.test", package)


def rust(name):
    """Debian's cargo, and Debian's packages instead of crates.io; the lock file stays out of the tree."""
    sources, crates = OUT / "rust", Path("/usr/share/cargo/registry")
    shutil.copytree(HERE / "rust", sources, dirs_exist_ok=True)
    found = sorted(path.name for path in crates.glob("tokio-postgres-[0-9]*"))
    settings = {
        "PATH": "/usr/bin:/bin",
        "CARGO_HOME": str(OUT / "cargo-home"),
        "TOKIO_POSTGRES_VERSION": found[-1].removeprefix("tokio-postgres-") if found else "?",
    }
    trouble = call("/usr/bin/cargo", "build", "--offline", "--jobs=2", cwd=sources, env=settings)
    if not trouble:
        shutil.copy(sources / "target" / "debug" / name, OUT / name)
    return trouble


def java(name):
    target, source = OUT / f"{name}.class", HERE / "java" / f"{name}.java"
    return "" if fresh(target, source) else call("javac", "-cp", JDBC, "-d", OUT, source)


def cpp(name, source, *flags):
    target, sources = OUT / name, [HERE / "cpp" / source, HERE / "cpp" / "contract.h"]
    if fresh(target, *sources):
        return ""
    options = ["-std=c++17", "-O1", "-w", "-pthread", "-I/usr/include/postgresql"]
    return call("g++", *options, "-o", target, sources[0], *flags)


STEPS = {"npm": npm, "prisma": prisma, "go": go, "go_suite": go_suite, "rust": rust, "java": java, "cpp": cpp}

"""The shim in programs that have nothing to do with a GPU, and the library as a file.

Run with the built library and simulated driver: hygiene.py OUT SIM_OUT. Only the
standard library is needed. Each check is a function whose docstring says what holds.
"""

# ruff: noqa: S603, S607 -- it starts compilers and test programs, from PATH, on purpose

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

OUT, SIM = (Path(argument).resolve() for argument in sys.argv[1:3])
LIBRARY = OUT / "libvgpu.so"
SOURCE = Path(__file__).resolve().parent.parent / "src"
OLDEST_GLIBC = (2, 17)


class FailedError(Exception):
    """What was expected and what was found."""


def expect(condition: bool, message: str) -> None:
    """Raises FailedError unless the condition holds."""
    if not condition:
        raise FailedError(message)


def environment(slice_directory: Path | None = None, **more: str) -> dict[str, str]:
    """A plain environment with the shim preloaded."""
    base = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(LIBRARY), **more}
    return base | ({"VGPU_DIR": str(slice_directory)} if slice_directory else {})


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs to the end, within a minute."""
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def compile_c(directory: Path, name: str, text: str, *flags: str) -> Path:
    """A small program, compiled without the shim."""
    source, program = directory / f"{name}.c", directory / name
    source.write_text(text)
    subprocess.run(["gcc", "-O1", "-o", str(program), str(source), *flags], check=True)
    return program


def quiet_programs(directory: Path) -> None:
    """Shell, interpreter, compiler and threads run as ever, and say nothing more."""
    threaded = compile_c(directory, "threaded", THREADED, "-pthread")
    (directory / "hello.c").write_text("int main(void) { return 7; }")
    cases = [
        (["bash", "-c", "echo one; (echo two) | cat; exec echo three"], "one\ntwo\nthree\n"),
        (
            [sys.executable, "-S", "-c", "import ctypes, threading; print(ctypes.CDLL(None).getpid() > 0)"],
            "True\n",
        ),
        (["gcc", "-O2", "-c", str(directory / "hello.c"), "-o", str(directory / "hello.o")], ""),
        ([str(threaded)], "8 threads\n"),
    ]
    for command, output in cases:
        found = run(command, environment(directory))
        expect(found.returncode == 0, f"{command[0]}: exit {found.returncode}, {found.stderr}")
        expect(
            (found.stdout, found.stderr) == (output, ""), f"{command[0]}: {found.stdout!r} {found.stderr!r}"
        )


THREADED = """
#include <pthread.h>
#include <stdio.h>
static int count;
static void *one(void *unused) { __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED); return unused; }
int main(void) {
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, one, NULL);
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
  printf("%d threads\\n", count);
}
"""

WATCHED = """
import os
links = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]
ours = [link for link in links if os.path.exists(link) and 'usage' in os.readlink(link)]
maps = open('/proc/self/maps').read()
print(len(os.listdir('/proc/self/task')), len(ours), 'accounts' in maps, 'libcuda' in maps)
"""


def untouched_process(directory: Path) -> None:
    """A process that never touches CUDA has no thread, no file and no page of ours."""
    (directory / "required").touch()  # even where limits are missing and must not be
    found = run([sys.executable, "-S", "-c", WATCHED], environment(directory))
    expect(found.stderr == "", found.stderr)
    expect(found.stdout.split() == ["1", "0", "False", "False"], f"threads, files, mapped: {found.stdout}")
    expect(sorted(p.name for p in directory.iterdir()) == ["required"], "a file was made")


def static_program(directory: Path) -> None:
    """A static program, which no preload reaches, runs as ever."""
    program = compile_c(
        directory, "static", '#include <stdio.h>\nint main(void) { puts("static"); }', "-static"
    )
    found = run([str(program)], environment(directory))
    expect((found.returncode, found.stdout, found.stderr) == (0, "static\n", ""), str(found))


def no_driver(directory: Path) -> None:
    """Where there is no driver, its functions answer NOT_FOUND and nothing crashes."""
    text = "int cuInit(unsigned); int cuMemAlloc_v2(void *, unsigned long);\n#include <stdio.h>\n"
    text += 'int main(void) { void *p; printf("%d %d\\n", cuInit(0), cuMemAlloc_v2(&p, 1)); }'
    program = compile_c(directory, "nodriver", text, str(LIBRARY), "-Wl,--allow-shlib-undefined")
    found = run([str(program)], environment(LD_LIBRARY_PATH=str(OUT)))
    expect(found.stdout == "500 500\n", f"{found.stdout!r} {found.stderr!r}")


def drop_in(directory: Path) -> None:
    """Standing in the driver's place the shim finds the real one under driver/."""
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        (directory / "driver").mkdir(exist_ok=True)
        shutil.copy(SIM / name, directory / "driver" / name)
        (directory / "front").mkdir(exist_ok=True)
        shutil.copy(LIBRARY, directory / "front" / name)
    program = compile_c(directory, "dropin", DROP_IN, "-ldl")
    env = environment(directory, LD_LIBRARY_PATH=str(directory / "front"))
    del env["LD_PRELOAD"]
    found = run([str(program)], env | {"VGPU_SIM_STATE": str(directory / "sim")})
    expect(found.stdout == "0 1 front\n", f"{found.stdout!r} {found.stderr!r}")


DROP_IN = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(void) {
  void *handle = dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW); /* a preload would miss this */
  int count = 0;
  Dl_info info;
  int (*init)(unsigned) = handle ? (int (*)(unsigned))dlsym(handle, "cuInit") : 0;
  int (*ask)(int *) = handle ? (int (*)(int *))dlsym(handle, "cuDeviceGetCount") : 0;
  if (!init || !ask) { puts(dlerror()); return 1; }
  int result = init(0);
  ask(&count);
  dladdr((void *)init, &info);
  printf("%d %d %s\\n", result, count, strstr(info.dli_fname, "front") ? "front" : info.dli_fname);
}
"""


def another_interposer(directory: Path) -> None:
    """Another preloaded library that looks for the next dlsym and the next driver call finds them."""
    text = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int puts(const char *text) {
  int (*next)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "puts");
  return next == puts || !next ? -1 : next(text) + 1;
}
"""
    other = compile_c(directory, "other.so", text, "-shared", "-fPIC", "-ldl")
    program = compile_c(
        directory, "puts", '#include <stdio.h>\nint main(void) { return puts("x") <= 1; }', "-fno-builtin"
    )
    for order in (f"{LIBRARY} {other}", f"{other} {LIBRARY}"):
        found = run([str(program)], environment() | {"LD_PRELOAD": order})
        expect((found.returncode, found.stdout) == (0, "x\n"), f"{order}: {found}")


def dynamic_symbols(library: Path) -> tuple[set[str], set[str]]:
    """What a library exports, and the versions of glibc that it asks for."""
    listing = subprocess.run(["nm", "-D", str(library)], check=True, capture_output=True, text=True).stdout
    exported = set(re.findall(r" [TWVDRB] (\w+)", listing))
    return exported, set(re.findall(r"@GLIBC_([\d.]+)", listing))


def exported_symbols(_: Path) -> None:
    """The library exports the driver's names, dlsym and vgpu_ ones, and nothing else."""
    lists = (SOURCE / "hooks.def").read_text() + (SOURCE / "passthrough.def").read_text()
    named = set(re.findall(r"^(?:CUDA|NVML|PASS)\((\w+)", lists, re.MULTILINE))
    exported, _versions = dynamic_symbols(LIBRARY)
    expect(not named - exported, f"not exported: {sorted(named - exported)}")
    strange = {name for name in exported - named if not name.startswith("vgpu_")} - {"dlsym"}
    expect(not strange, f"exported for no reason: {sorted(strange)}")


def drivers_names(_: Path) -> None:
    """Whatever the simulated driver exports has its place in the shim."""
    exported, _versions = dynamic_symbols(LIBRARY)
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        driver = {symbol for symbol in dynamic_symbols(SIM / name)[0] if symbol.startswith(("cu", "nvml"))}
        expect(
            not driver - exported, f"{name}: a program could pass us by through {sorted(driver - exported)}"
        )


def old_systems(_: Path) -> None:
    """The library asks for nothing newer than glibc 2.17."""
    _exported, versions = dynamic_symbols(LIBRARY)
    newer = {v for v in versions if tuple(map(int, v.split("."))) > OLDEST_GLIBC}
    expect(not newer, f"asks for glibc {sorted(newer)}")


def little_thread_storage(_: Path) -> None:
    """The library needs less than 1 KiB of static thread-local storage: it may be opened late."""
    listing = subprocess.run(
        ["readelf", "-lW", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    size = int(re.findall(r"TLS\s+\S+ \S+ \S+ \S+ (0x[0-9a-f]+)", listing)[0], 16)
    expect(size < 1024, f"needs {size} bytes")


CHECKS: list[Callable[[Path], None]] = [
    quiet_programs,
    untouched_process,
    static_program,
    no_driver,
    drop_in,
    another_interposer,
    exported_symbols,
    drivers_names,
    old_systems,
    little_thread_storage,
]


def main() -> int:
    """Runs all checks; 1 when any failed."""
    failed = 0
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as directory:
            try:
                check(Path(directory))
            except (FailedError, subprocess.SubprocessError) as error:
                failed = 1
                sys.stdout.write(f"FAIL {check.__doc__}\n     {error}\n")
            else:
                sys.stdout.write(f"ok   {check.__doc__}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())

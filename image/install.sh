#!/bin/sh
# Installs what the image holds into a directory; run from the repository's root. The Dockerfile and the test bed do.
#
#   image/install.sh dependencies DIR   a virtual environment with the pinned dependencies, beside it DIR.build
#   image/install.sh platform DIR       the platform and its shim into that; asks no package index
set -eu
step=${1:?"expected dependencies or platform, found nothing"}
directory=${2:?"expected a directory, found nothing"}
export PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python=$directory/bin/python

# Compiled once, checked never: the image is read-only, and the same files come out of every build.
compile() {
  "$python" -m compileall -q --invalidation-mode unchecked-hash "$@" >/dev/null || true
}

packages() {
  "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

case $step in
dependencies)
  python3 -m venv "$directory"
  python3 - >"$directory/requirements.txt" <<'EOF'
import pathlib, tomllib
print("\n".join(tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["dependencies"]))
EOF
  "$python" -m pip install --quiet --no-compile --requirement "$directory/requirements.txt"
  "$python" -m pip install --quiet --no-compile --target "$directory.build" hatchling
  compile "$(packages)"
  ;;
platform)
  make -s -C shim lib PYTHON=python3
  make -s core/vgpu/placement/_kernel.so
  PYTHONPATH=$directory.build "$python" -m pip install --quiet --no-compile --no-index --no-build-isolation --no-deps .
  cp build/shim/libvgpu.so "$(packages)/vgpu_shim/"
  compile "$(packages)"/vgpu*
  "$python" -m pip uninstall --quiet --yes setuptools pip # a virtual environment brought them, nothing here needs them
  ;;
*)
  echo "expected dependencies or platform, found $step" >&2
  exit 2
  ;;
esac

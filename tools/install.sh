#!/bin/sh
# Makes the virtual environment: install.sh PYTHON VENV [test]
# Missing Debian packages are named, and installed when this runs as root.
set -eu
python=$1 venv=$2 extra=${3:-}

"$python" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 10):
    sys.exit(f"install: found Python {sys.version.split()[0]} at {sys.executable}; expected 3.10 or later (make PYTHON=python3.12)")
PY

# library file and the Debian package that holds it; open3d needs all but the third, OpenCV the second to fifth
missing=$("$python" - <<'PY'
import ctypes
needed = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libX11.so.6": "libx11-6",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}
packages = []
for library, package in needed.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        packages.append(package)
try:
    import ensurepip
except ImportError:
    packages.append("python3-venv")
print(" ".join(packages))
PY
)
if [ -n "$extra" ] && ! command -v chromium >/dev/null 2>&1; then
    browser=chromium
else
    browser=
fi
if [ -n "$missing$browser" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "install: installing the missing Debian packages: $missing $browser"
        apt-get update -qq
        if [ -n "$missing" ]; then
            # shellcheck disable=SC2086
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
        fi
        if [ -n "$browser" ]; then
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
                echo "install: chromium could not be installed; the test of the report page will be skipped"
        fi
    elif [ -n "$missing" ]; then
        echo "install: missing Debian packages; please run: sudo apt-get install $missing" >&2
        exit 1
    else
        echo "install: no chromium; the test of the report page will be skipped (sudo apt-get install chromium)"
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip 2>/dev/null || true
if [ -n "$extra" ]; then target=".[$extra]"; else target="."; fi
echo "install: installing $target into $venv (torch is large: a few minutes on a slow line)"
"$venv/bin/python" -m pip install --quiet --editable "$target"
echo "install: compiling the kernels once"
"$venv/bin/python" -m perception.kernels

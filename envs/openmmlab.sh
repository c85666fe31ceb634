#!/usr/bin/env bash
# Makes an environment in which this checkout's sr3d, MinkowskiEngine and mmdet3d work together, on
# a CPU: envs/openmmlab.sh [FOLDER], by default .venv-openmmlab. PYTHON names another Python 3.11.
#
# MinkowskiEngine and mmcv have no wheels for any Python that sr3d supports. They are compiled once,
# in about 6 and 15 minutes on two cores, and kept for the next environment. To resume an interrupted
# call, call the script again. The file .complete marks a complete environment.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
venv=$(realpath -m "${1:-.venv-openmmlab}")
python=${PYTHON:-python3}
torch=2.13.0
# A wheel works only with the version of PyTorch against which it was compiled.
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/sr3d/wheels/torch-$torch

need() { # SENTENCE COMMAND...: say it and stop, unless the command succeeds
    local sentence=$1
    shift
    "$@" >/dev/null 2>&1 || { echo "envs/openmmlab.sh: $sentence" >&2; exit 1; }
}

includes() { c++ -E -x c++ "-I$1" - <<<"#include <$2>"; }

need "'$python' is not Python 3.11, the only one that can build MinkowskiEngine and run sr3d: PYTHON=python3.11 envs/openmmlab.sh" \
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
need "'$python' cannot make environments; on Debian and Ubuntu: apt install python3.11-venv" \
    "$python" -c 'import ensurepip, venv'
need "no C++ compiler; on Debian and Ubuntu: apt install g++" command -v c++
need "no header files of Python; on Debian and Ubuntu: apt install python3.11-dev" \
    includes "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')" Python.h
need "no header files of OpenBLAS; on Debian and Ubuntu: apt install libopenblas-dev" \
    includes . cblas.h

rm -f "$venv/.complete"
test -x "$venv/bin/pip" || "$python" -m venv "$venv"
need "$venv is an environment of another Python; remove it, or name another folder" \
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

echo "Installing PyTorch, mmdet3d and the rest into $venv"
pip install "torch==$torch" numpy==1.26.4
pip install --no-deps --requirement "$here/openmmlab.txt"

wheel() { # NAME VERSION: compile aside, then move into the cache, unless it is there; install
    local name=$1 version=$2 aside
    if ! compgen -G "$wheels/$name-$version-*.whl" >/dev/null; then
        echo "Compiling $name $version; this takes a while, once"
        mkdir -p "$wheels"
        aside=$(mktemp -d "$wheels/.$name.XXXXXX")
        # shellcheck disable=SC2064 # now: the folder has a name here and nowhere else
        trap "rm -rf '$aside'" EXIT
        # Without a GPU in sight both build for processors alone. MinkowskiEngine's set-up calls
        # `pip uninstall MinkowskiEngine`: let it be this environment's pip.
        CUDA_VISIBLE_DEVICES='' FORCE_CUDA=0 MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)} \
            PATH=$venv/bin:$PATH pip wheel --no-deps --no-build-isolation --wheel-dir "$aside" \
            "$name==$version"
        mv "$aside"/*.whl "$wheels"
        rmdir "$aside"
    fi
    pip install --no-deps "$wheels/$name-$version"-*.whl
}

wheel MinkowskiEngine 0.5.4
wheel mmcv 2.1.0
pip install --no-deps --editable "$here/.."

# MinkowskiEngine needs collections.Sequence, which Python 3.10 removed.
echo 'import collections, collections.abc; collections.Sequence = collections.abc.Sequence' \
    >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/minkowski.pth"

(cd / && "$venv/bin/python" -c 'import MinkowskiEngine, mmcv.ops, mmdet3d.apis, sr3d')
touch "$venv/.complete"
echo "$venv is complete: sr3d, MinkowskiEngine 0.5.4, mmcv 2.1.0, mmdet3d 1.4.0"

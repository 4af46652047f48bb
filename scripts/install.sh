# Sourced by scripts/demo and scripts/test: makes .venv and installs the project with the given extras.
# A second call with nothing changed does nothing.

install_project() {
    local extras="$1" python="${PYTHON:-python3}" wanted stamp
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "Python 3.11 or newer is needed; '$python' is $("$python" --version 2>&1). Set PYTHON=/path/to/python." >&2
        return 1
    fi
    wanted="$("$python" -c 'import hashlib,sys; print(hashlib.sha256(b"".join(open(f,"rb").read() for f in sys.argv[1:])).hexdigest())' pyproject.toml constraints.txt)"
    stamp=".venv/installed-${extras//,/-}"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return 0; fi
    echo "Installing into .venv (the first time takes some minutes) ..."
    # Where making it was interrupted it may have Python and no pip.
    .venv/bin/python -m pip --version > /dev/null 2>&1 || "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
    echo "$wanted" > "$stamp"
}

#!/bin/sh
# Host Factory's requestMachines. Made by `hfcore init` from the file of this name in the hfcore package.
# The folders hold only where Host Factory's environment (HF_PROVIDER_*) names none.
PYTHON=@PYTHON@
[ -n "${HFCORE_CONF_DIR:-}" ] || HFCORE_CONF_DIR=@CONF_DIR@
[ -n "${HFCORE_WORK_DIR:-}" ] || HFCORE_WORK_DIR=@WORK_DIR@
[ -n "${HFCORE_LOG_DIR:-}" ] || HFCORE_LOG_DIR=@LOG_DIR@
[ -n "${HFCORE_PROVIDER:-}" ] || HFCORE_PROVIDER=@PROVIDER@
export HFCORE_CONF_DIR HFCORE_WORK_DIR HFCORE_LOG_DIR HFCORE_PROVIDER
if [ ! -x "$PYTHON" ]; then
    echo '{"message": "HF1101: the Python that this script names is gone: install hfcore, remove the script, run hfcore init again"}'
    exit 1
fi
# What is meant for another Python, or would make this one talk, is not for this one.
unset PYTHONHOME PYTHONINSPECT PYTHONVERBOSE PYTHONDEBUG PYTHONMALLOCSTATS PYTHONPROFILEIMPORTTIME PYTHONHASHSEED
unset PYTHONDUMPREFS PYTHONDEVMODE PYTHONTRACEMALLOC PYTHONSTARTUP PYTHONWARNINGS
# -P: a file in the current folder must never stand in for a module.
exec "$PYTHON" -P -m hfcore hostfactory requestMachines "$@"

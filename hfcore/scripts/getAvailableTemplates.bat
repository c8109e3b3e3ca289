@echo off
rem Host Factory's getAvailableTemplates. Made by `hfcore init` from the file of this name in the hfcore package.
rem The folders hold only where Host Factory's environment (HF_PROVIDER_*) names none.
setlocal DisableDelayedExpansion
set "PYTHON=@PYTHON@"
if not defined HFCORE_CONF_DIR set "HFCORE_CONF_DIR=@CONF_DIR@"
if not defined HFCORE_WORK_DIR set "HFCORE_WORK_DIR=@WORK_DIR@"
if not defined HFCORE_LOG_DIR set "HFCORE_LOG_DIR=@LOG_DIR@"
if not defined HFCORE_PROVIDER set "HFCORE_PROVIDER=@PROVIDER@"
if not exist "%PYTHON%" (
    echo {"message": "HF1101: the Python that this script names is gone: install hfcore, remove the script, run hfcore init again"}
    exit /b 1
)
rem -P: a file in the current folder must never stand in for a module.
"%PYTHON%" -P -m hfcore hostfactory getAvailableTemplates %*
exit /b %ERRORLEVEL%

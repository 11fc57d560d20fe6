# Lethe. `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test attack lint screens bench docs lock clean
PY := .venv/bin/python
export PYGAME_HIDE_SUPPORT_PROMPT := 1

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.ready-demo ## install what is needed, then run the kiosk (a window, or played by a script without one)
	$(PY) -m kiosk demo $(ARGS)

test: .venv/.ready-tests ## install what is needed, then run every check and every test
	$(MAKE) --no-print-directory lint
	@echo "== The tests: some minutes; the stories on real processes are slow and come one by one."
	PYTHONWARNINGS=error $(PY) -m pytest -n 4 --dist worksteal $(ARGS)

attack: .venv/.ready-tests ## kill, tamper, pry and fuzz: what shows the promises under attack (minutes; ARGS=-k crash: one part)
	PYTHONWARNINGS=error $(PY) -m pytest -n 4 --dist worksteal tests/attack $(ARGS)

lint: .venv/.ready-dev ## formatting, lint and types only
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

screens: .venv/.ready-demo ## draw every screen to build/screens and the contact sheet of the docs
	$(PY) -m kiosk.touchui.gallery build/screens --sheet docs/screens.png

bench: .venv/.ready-demo ## measure, as ratios to a reference in the same run (ARGS=seal: one part)
	$(PY) -m benchmarks $(ARGS)

docs: .venv/.ready-demo ## draw docs/workflow.md from the state table
	$(PY) -m kiosk.workflow.drawing > docs/workflow.md

lock: .venv/.ready-tests ## write constraints.txt from what is installed now
	$(PY) -m pip freeze --exclude-editable > constraints.txt

clean: ## remove what was installed and built
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.ready-demo: pyproject.toml constraints.txt scripts/setup.sh
	scripts/setup.sh demo

.venv/.ready-dev: .venv/.ready-demo
	scripts/setup.sh dev

.venv/.ready-tests: .venv/.ready-dev tests/peers/fhir_server/package-lock.json tests/peers/oauth/package-lock.json
	scripts/setup.sh tests

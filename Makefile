# Everything a fresh clone needs is python3 (3.10 or newer) and make.
#   make demo        install, make a small data set, train, evaluate, play a video
#   make film        the film of the README, with the network that make demo trained
#   make test        install with the test extra, run the whole suite
#   make test-fast   the same without the slow tests
#   make docs        the documentation as a site, in site/
# VENV=path puts the environment elsewhere, PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

DATA := data/toy
OUTPUT := output/toy
# Of one clip; the toy network runs from 2.3M to 46M multiply-adds.
BUDGETS := 50M 15M 5M

.PHONY: venv venv-test demo film test test-fast docs lint clean
.DELETE_ON_ERROR:

# Stamps, so that nothing is installed twice; a changed setup.py installs again.
venv: $(VENV)/.installed
venv-test: $(VENV)/.installed-test

$(RUN):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py | $(RUN)
	@echo "installing into $(VENV): a few minutes, PyTorch is large"
	$(RUN) -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-test: setup.py | $(RUN)
	@echo "installing into $(VENV): a few minutes, PyTorch is large"
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@ $(VENV)/.installed

# The data set is written once, training resumes where it stopped. The video's class is
# "moves right" (its number modulo 8 is the line in classes.txt).
demo: venv
	$(RUN) tools/toy_dataset.py --output $(DATA)
	$(RUN) tools/run_net.py --cfg configs/Toy/X3D_mutual.yaml \
		DATA.PATH_TO_DATA_DIR $(DATA) OUTPUT_DIR $(OUTPUT)
	$(RUN) tools/demo.py --run $(OUTPUT) --video $(DATA)/val/00001.mp4 \
		$(addprefix --budget ,$(BUDGETS)) --output $(OUTPUT)/demo

# docs/adaptation.gif: a film of changing motions, under a budget that rises and falls.
film: venv
	$(RUN) tools/toy_dataset.py --film $(OUTPUT)/adaptation.mp4 \
		--motions right,clockwise,clockwise,up --seed 6
	$(RUN) tools/demo.py --run $(OUTPUT) --source $(OUTPUT)/adaptation.mp4 --stride 0.25 \
		--budget-script docs/adaptation_budget.txt --output $(OUTPUT)/demo \
		--gif $(OUTPUT)/demo/adaptation.gif --gif-mb 2

# Two files at a time, a thread each: the networks are too small for more. Where a test ends its
# process, the run names it and ends: it would only do the same again.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0 --durations 40

test: venv-test
	$(PYTEST)

test-fast: venv-test
	$(PYTEST) -m "not slow"

docs: venv-test
	$(RUN) -m mkdocs build --quiet --strict

lint: venv-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) $(DATA) $(OUTPUT) build *.egg-info

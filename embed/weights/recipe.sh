#!/bin/sh
# Trains the bundled model: recipe.sh IMAGES TEACHER CLASS_NAMES. It goes on where it stopped.
set -eu
images=$1 teacher=$2 class_names=$3

distill() {
	"$BIN/whymatch" train "$images/caltech101" "$images/grocery" "$images/clothing" --resume \
		--loss distillation --teacher "$teacher" --teacher-padding tensorflow --class-names "$class_names" \
		--batch-size 96 --smallest-part 0.1 --light 0.3 --mix 0.6 "$@"
}

# Small views first, which are quick; then larger ones, at a lower rate.
distill --scratch regnet_x_200mf --size-px 96 --teacher-size-px 128 --steps 6000 --learning-rate 2e-3 --output build/model/small
distill --model build/model/small/model.safetensors --size-px 160 --teacher-size-px 160 --model-size-px 192 --steps 1500 \
	--learning-rate 1e-3 --output build/model/large
cp build/model/large/model.safetensors embed/weights/bundled.safetensors

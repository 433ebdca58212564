#!/bin/sh
# Trains the bundled model: recipe.sh IMAGES TEACHER CLASS_NAMES. It goes on where it stopped.
set -eu
images=$1 teacher=$2 class_names=$3

distill() {
	"$BIN/whymatch" train "$images/caltech101" "$images/grocery" "$images/clothing" --resume \
		--loss distillation --teacher "$teacher" --teacher-padding tensorflow --class-names "$class_names" \
		--teacher-memory build/model/teacher --parts-per-image 6 --batch-size 96 "$@"
}

# Small views first, which are quick; then larger ones, at a lower rate.
distill --scratch regnet_x_200mf --size-px 96 --steps 4000 --learning-rate 2e-3 --warmup-steps 200 --output build/model/small
distill --model build/model/small/model.safetensors --size-px 160 --model-size-px 192 --steps 1000 --learning-rate 1e-3 \
	--output build/model/large
cp build/model/large/model.safetensors embed/weights/bundled.safetensors

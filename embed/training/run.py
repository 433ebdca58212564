"""One training run: the loop, its checkpoints, and resuming after a kill."""

import json
import math
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from whymatch.embed.errors import TrainingFailed
from whymatch.embed.model_file import ModelFacts, write_model_file
from whymatch.embed.networks import Network
from whymatch.embed.progress import Progress
from whymatch.embed.training.batches import Batches, View
from whymatch.embed.training.interrupts import interrupt_held
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.objectives import Objective

MODEL, STATE, SETTINGS = "model.safetensors", "state.pt", "settings.json"
LONGEST_GRADIENT = 5.0
"""A longer one is shortened, so that one odd batch cannot carry the weights away."""


@dataclass(frozen=True)
class Schedule:
    """How long a run goes on, and how fast it learns."""

    steps: int
    learning_rate: float
    """Its height after the warm-up; it falls to 0 along a cosine."""
    warmup_steps: int = 100
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Pace:
    """How a run goes, since its last report."""

    loss: float
    """The mean over the steps."""
    images_per_s: float
    left_s: float
    """Seconds to the end at that speed."""


@dataclass(eq=False)
class Run:
    """A training run in a folder of its own."""

    folder: Path
    network: Network
    facts: ModelFacts
    """What the model files say beside the weights."""
    learner: Learner
    objective: Objective
    batches: Batches
    schedule: Schedule
    settings: Mapping[str, Any]
    """All that determines the outcome, ready for JSON; a run resumes only with the same."""
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    save_every: int = 200
    """Steps between two states that a killed run goes on from."""
    checkpoints: tuple[int, ...] = ()
    """After how many steps a model file is written, beside the one at the end."""
    in_a_byte: tuple[str, ...] = ()
    """Tensors of the model file that take a byte for each number, not two."""
    _optimizer: torch.optim.Optimizer = field(init=False)

    def train(self, report: Callable[[Progress[Pace]], None], *, resume: bool = False) -> Path:
        """Train to the end and return the model file.

        An interrupt (Ctrl-C) ends it after the step that runs, whose state is saved; a second one ends it at once.

        resume: go on from the state in `folder`, if there is one.

        Raises:
            TrainingFailed: there is a run already, it had other settings, the loss is no number, or the disk is full.
        """
        start = self._begin(resume)
        clock = _Clock(start, self.schedule.steps, report)
        with interrupt_held() as interrupted:
            for step, views in enumerate(self.batches.from_step(start, self.schedule.steps), start):
                if step > start and (interrupted.is_set() or step % self.save_every == 0):
                    self._save_state(step)
                if interrupted.is_set():
                    raise KeyboardInterrupt
                loss = self._step(step, views)
                clock.tick(step + 1, loss, len(views))
        return self._write_model(self.folder / MODEL, self.schedule.steps)

    def _step(self, step: int, views: list[View]) -> float:
        """Learn from a batch and return the loss."""
        torch.manual_seed(self.seed * 1_000_003 + step)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self._halved):
            loss = self.objective.loss(self.learner, views)
        self._require_number(loss, "loss", step)
        self._descend(loss, step)
        if step + 1 in self.checkpoints:
            self._write_model(self.folder / f"step-{step + 1}.safetensors", step + 1)
        return float(loss.detach())

    @property
    def _halved(self) -> bool:
        return self.precision == "bfloat16"

    def _begin(self, resume: bool) -> int:
        """Prepare the folder and the network; return the first step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_settings(resume)
        for module in (self.learner, self.objective):
            module.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._optimizer = _optimizer(self.learner, self.objective, self.schedule)
        return self._load_state() if (self.folder / STATE).exists() else 0

    def _check_settings(self, resume: bool) -> None:
        path = self.folder / SETTINGS
        text = json.dumps(self.settings, indent=1, sort_keys=True)
        if not path.exists():
            path.write_text(text)
            return
        if not resume:
            raise TrainingFailed(f"{self.folder} holds a run; go on with --resume, or choose another --output")
        old = json.loads(path.read_text())
        changed = [name for name in {**old, **self.settings} if old.get(name) != json.loads(text).get(name)]
        if changed:
            raise TrainingFailed(
                f"the run in {self.folder} had other settings ({', '.join(sorted(changed))}; see {path}); resume it "
                "with the same, or choose another --output"
            )

    def _descend(self, loss: torch.Tensor, step: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(step) * group["pace"]
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        length = nn.utils.clip_grad_norm_(self.learner.parameters(), LONGEST_GRADIENT)
        self._require_number(length, "gradient", step)
        self._optimizer.step()

    def _require_number(self, value: torch.Tensor, what: str, step: int) -> None:
        if not torch.isfinite(value):
            kept = "the state of an earlier step is kept" if (self.folder / STATE).exists() else "nothing was saved yet"
            raise TrainingFailed(
                f"the {what} of step {step} is {float(value.detach())}; {kept}. Try again in another --output with a "
                f"lower --learning-rate than {self.schedule.learning_rate}"
            )

    def _save_state(self, step: int) -> None:
        state = {
            "step": step,
            "learner": self.learner.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        path = self.folder / STATE
        unfinished = path.with_suffix(".unfinished")
        try:
            torch.save(state, unfinished)
            unfinished.replace(path)
        except (OSError, RuntimeError) as err:  # torch reports a full disk as a RuntimeError
            raise TrainingFailed(
                f"the state of step {step} cannot be saved ({err}); free some space, then --resume"
            ) from err

    def _load_state(self) -> int:
        path = self.folder / STATE
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.learner.load_state_dict(state["learner"])
            self.objective.load_state_dict(state["objective"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as err:
            raise TrainingFailed(f"{path} cannot be read ({err}); remove it to begin again") from err
        return int(state["step"])

    def _write_model(self, path: Path, step: int) -> Path:
        facts = replace(self.facts, training={**self.settings, "step": step})
        try:
            write_model_file(path, facts, self.network.module.state_dict(), in_a_byte=self.in_a_byte)
        except (OSError, RuntimeError) as err:
            raise TrainingFailed(f"{path} cannot be written ({err}); free some space, then --resume") from err
        return path


class _Clock:
    """Reports a run's progress now and then, and at its end."""

    EVERY_S = 10.0

    def __init__(self, step: int, steps: int, report: Callable[[Progress[Pace]], None]) -> None:
        self._steps = steps
        self._report = report
        self._since = (time.perf_counter(), step)
        self._losses: list[float] = []
        self._images = 0

    def tick(self, step: int, loss: float, images: int) -> None:
        self._losses.append(loss)
        self._images += images
        started, first = self._since
        seconds = time.perf_counter() - started
        if seconds < self.EVERY_S and step < self._steps:
            return
        pace = seconds / (step - first)
        mean = sum(self._losses) / len(self._losses)
        found = Pace(mean, self._images / seconds, pace * (self._steps - step))
        self._report(Progress("steps", step, self._steps, found))
        self._since, self._losses, self._images = (time.perf_counter(), step), [], 0


def _optimizer(learner: Learner, objective: Objective, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; normalizations and biases, which a smaller weight does not make simpler, are not decayed."""
    learned = list(learner.parameters())
    groups = [
        {"params": [each for each in learned if each.ndim > 1], "weight_decay": schedule.weight_decay, "pace": 1.0},
        {"params": [each for each in learned if each.ndim <= 1], "weight_decay": 0.0, "pace": 1.0},
        {"params": list(objective.parameters()), "weight_decay": 0.0, "pace": objective.pace},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.learning_rate)

"""ENAS (Pham et al., 2018, sec. 2.2): a supernet's shared weights and its controller, trained in turn.

An epoch: the weights ω learn from every training batch, each on a child that the controller draws (SGD by the recipe);
then the controller's θ learns by REINFORCE, its reward the child's accuracy on a validation batch. At its end children are
drawn, each is scored on the whole validation split with shared weights, and the best is the architecture found.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from raynas.data.augment import augmentation
from raynas.data.batches import Batches
from raynas.data.store import Shared
from raynas.models.controller import Policy, Squash
from raynas.objectives import Diverged
from raynas.oneshot.families import family_of
from raynas.rng import seed_at, stream
from raynas.settings import Settings, check
from raynas.space import Space, read
from raynas.train.checkpoint import CheckpointError, has_checkpoint, load_checkpoint, save_checkpoint
from raynas.train.fit import EVALUATION_BATCH, Progress, autocast, hits, loss_of, make_optimizer
from raynas.train.network import batches
from raynas.train.recipe import Recipe, recipe_for
from raynas.train.share import Share

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share01 = Annotated[float, Field(ge=0, lt=1)]
METRICS = (
    "train_loss", "train_accuracy", "val_accuracy", "val_mean", "reward", "baseline", "entropy", "lr_last", "images_per_s",
)  # fmt: skip


class Enas(Settings):
    """What a search in one supernet is told; the defaults are the authors' for micro cells on CIFAR-10. `space` is that of
    the architectures. Any field but `space` and `name` can be a parameter of the experiment's space."""

    name: Literal["enas"] = "enas"
    space: str | dict[str, Any]
    layers: Count = 6
    channels: Count = 20
    reductions: Literal[2, 3] = 2
    stem_stride: Literal[1, 2] = 1
    dropout: Share01 = 0.1
    controller_lr: Positive = 0.0035
    hidden: Count = 64
    temperature: Positive | None = None
    tanh_constant: Positive | None = None  # of the logits; null: 1.1 for cells, 1.5 for macro networks
    updates: Annotated[int, Field(ge=0)] = 30  # of the controller, an epoch; 0: children stay random
    aggregate: Count = 10  # children an update
    entropy_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    skip_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8
    baseline_decay: Share01 = 0.99
    candidates: Count = 10  # children that are scored at an epoch's end


def options_for(given: dict[str, Any], config: dict[str, Any]) -> Enas:
    """The experiment's `oneshot` with what a trial's config says of it."""
    said = {name: value for name, value in config.items() if name in Enas.model_fields}
    return check(Enas, {**given, **said}, "oneshot")


class Pair:
    """Two optimizers as one, for checkpoints."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer):
        self.first, self.second = first, second
        self.param_groups = [*first.param_groups, *second.param_groups]
        self.split = sum(len(group["params"]) for group in first.param_groups)

    def state_dict(self) -> dict[str, Any]:
        mine, other = self.first.state_dict()["state"], self.second.state_dict()["state"]
        return {
            "state": {**mine, **{self.split + number: values for number, values in other.items()}},
            "param_groups": [],
        }

    def load_state_dict(self, given: dict[str, Any]) -> None:
        state = given["state"]
        first = {number: values for number, values in state.items() if number < self.split}
        second = {number - self.split: values for number, values in state.items() if number >= self.split}
        for optimizer, part in ((self.first, first), (self.second, second)):
            optimizer.load_state_dict({"state": part, "param_groups": optimizer.state_dict()["param_groups"]})


class Search(nn.Module):
    """The supernet and the controller of one search, and what an epoch does with them."""

    def __init__(self, space: Space, options: Enas, recipe: Recipe, shape: tuple[int, int, int], classes: int):
        super().__init__()
        self.space, self.options, self.recipe = space, options, recipe
        self.family = family_of(space)
        self.supernet = self.family.supernet(
            space, shape, classes, **{name: getattr(options, name) for name in self.family.options}
        )
        squash = Squash(options.temperature, options.tanh_constant or self.family.tanh_constant)
        self.controller: Policy = self.family.controller(space, squash, options.hidden)

    def optimizers(self) -> Pair:
        """The recipe's for the weights; for the controller the authors' Adam, which keeps no first moment."""
        omega = make_optimizer(self.supernet, self.recipe)
        if isinstance(omega, torch.optim.SGD):  # the fused kernel wants all momenta or none, and paths have some
            for parameter in self.supernet.parameters():
                omega.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        theta = torch.optim.Adam(self.controller.parameters(), self.options.controller_lr, betas=(0.0, 0.999), eps=1e-3)
        return Pair(omega, theta)

    def draw(self, uniforms: Any) -> tuple[Tensor, list[Any]]:
        """(B, decisions) numbers from [0, 1) -> the choices (B, decisions) and the children they name."""
        device = next(self.controller.parameters()).device
        choices = self.controller.sample(torch.as_tensor(uniforms, device=device))
        return choices, [self.family.child(self.space, row) for row in choices.tolist()]

    # -- the weights -----------------------------------------------------------------------------------------------

    def train_weights(
        self, train: Batches, optimizer: torch.optim.Optimizer, epoch: int, seed: int
    ) -> dict[str, float]:
        """One pass over the training images, every batch on a child of its own."""
        recipe, began = self.recipe, time.perf_counter()
        augment = None if recipe.augment == "none" else augmentation(recipe.augment)
        steps, lr, total, seen = train.steps(recipe.batch_size), 0.0, torch.zeros(2, device=train.device), 0
        _, children = self.draw(stream(seed, 3, epoch).random((steps, self.controller.decisions)))
        self.supernet.train()
        torch.manual_seed(seed_at(seed, epoch, 2))  # dropout draws from the global generator
        for step, (images, labels) in enumerate(train.epoch(recipe.batch_size, seed, epoch, augment)):
            lr = recipe.lr_at(epoch * steps + step, recipe.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with autocast(recipe, images.device, self.supernet):
                logits = self.supernet(images, children[step])
            loss = loss_of(logits.float(), labels, recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(self.supernet.parameters(), recipe.clip)
            optimizer.step()
            with torch.no_grad():
                total += torch.stack((loss.detach() * len(labels), hits(logits, labels).float()))
            seen += len(labels)
        loss, accuracy = (total / seen).tolist()
        speed = seen / (time.perf_counter() - began)
        return {"train_loss": loss, "train_accuracy": accuracy, "lr_last": lr, "images_per_s": speed}

    # -- the controller --------------------------------------------------------------------------------------------

    def train_controller(
        self, validation: Batches, optimizer: torch.optim.Optimizer, epoch: int, seed: int, baseline: float
    ) -> dict[str, float]:
        """`updates` steps of REINFORCE, each on `aggregate` children; a child's reward is its accuracy on the next batch of
        shuffled validation images and a share of its entropy, its baseline their moving average."""
        options, rewards, entropies = self.options, [], []
        numbers = stream(seed, 4, epoch)
        rounds = self._shuffled(validation, epoch, seed)
        for _ in range(options.updates):
            choices, children = self.draw(numbers.random((options.aggregate, self.controller.decisions)))
            right = torch.stack([self._accuracy(*next(rounds), child) for child in children])
            walk = self.controller.walk(choices)
            log_probs, entropy = walk.log_prob(), walk.entropy().detach()
            advantages = []
            for reward in (right + options.entropy_weight * entropy).tolist():
                baseline += (1 - options.baseline_decay) * (reward - baseline)
                advantages.append(reward - baseline)
            loss = -(log_probs * torch.tensor(advantages, device=log_probs.device)).mean()
            if walk.penalty is not None:
                loss = loss + options.skip_weight * walk.penalty.mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rewards.append(right.mean().item())
            entropies.append(entropy.mean().item())
        mean = [sum(values) / len(values) if values else 0.0 for values in (rewards, entropies)]
        return {"reward": mean[0], "entropy": mean[1], "baseline": baseline}

    def _shuffled(self, data: Batches, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end; every image once before any comes twice."""
        turn = 0
        while True:
            yield from data.epoch(self.recipe.batch_size, seed_at(seed, 5, epoch), turn)
            turn += 1

    @torch.no_grad()
    def _accuracy(self, images: Tensor, labels: Tensor, child: Any) -> Tensor:
        self.supernet.eval()  # no dropout; normalisation is by the batch all the same
        with autocast(self.recipe, images.device, self.supernet):
            return hits(self.supernet(images, child).float(), labels) / len(labels)

    # -- what was found --------------------------------------------------------------------------------------------

    def best_child(self, validation: Batches, epoch: int, seed: int) -> dict[str, Any]:
        """The best of `candidates` children on the whole validation split: `val_accuracy`, the mean of all, `found_...`."""
        _, children = self.draw(stream(seed, 6, epoch).random((self.options.candidates, self.controller.decisions)))
        scores, size = [], EVALUATION_BATCH + (len(validation) % EVALUATION_BATCH == 1)  # one image has no statistics
        for child in children:
            parts = [self._accuracy(*batch, child) * len(batch[1]) for batch in validation.in_order(size)]
            scores.append((torch.stack(parts).sum() / len(validation)).item())
        best = max(range(len(scores)), key=scores.__getitem__)
        found = {f"{FOUND}{name}": value for name, value in self.supernet.architecture(children[best]).items()}  # type: ignore[operator]
        return {"val_accuracy": scores[best], "val_mean": sum(scores) / len(scores), **found}


FOUND = "found_"  # columns with what a search found, one a parameter of its space
ONESHOT = ("enas",)


@dataclass(frozen=True)
class EnasTraining:
    """One trial is one search: its config holds hyperparameters of the search, its last report the architecture found."""

    data: Shared
    training: dict[str, Any]
    oneshot: dict[str, Any]
    save_every_s: float = 5.0
    may_run_ahead: ClassVar[bool] = False

    def __call__(self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share) -> Iterator[dict[str, Any]]:
        """METRICS an epoch and what was found, from `checkpoint` on when it holds one: bit-identical on CPU to a search
        that was never interrupted."""
        device = share.device()
        train, validation = batches(self.data, device)
        recipe, options = recipe_for(self.training, config), options_for(self.oneshot, config)
        search, progress = self._start(recipe, options, checkpoint, seed, device)
        optimizers = progress.optimizer
        assert isinstance(optimizers, Pair)
        if progress.epoch > 0:
            yield self._report(progress, recipe)
        saved = time.monotonic()
        devices = [device] if device.type == "cuda" else []
        while progress.epoch < recipe.epochs:
            epoch, baseline = progress.epoch, progress.metrics.get("baseline", 0.0)
            with torch.random.fork_rng(devices=devices):
                metrics = search.train_weights(train, optimizers.first, epoch, seed)
                if not torch.isfinite(torch.tensor(metrics["train_loss"])):
                    raise Diverged(f"the training loss is {metrics['train_loss']} in epoch {epoch + 1}")
                metrics |= search.train_controller(validation, optimizers.second, epoch, seed, baseline)
                progress.metrics = {**metrics, **search.best_child(validation, epoch, seed)}
            progress.epoch = epoch + 1
            if progress.epoch == recipe.epochs or time.monotonic() - saved >= self.save_every_s:
                save_checkpoint(checkpoint, search, progress)
                saved = time.monotonic()
            yield self._report(progress, recipe)

    def _start(
        self, recipe: Recipe, options: Enas, checkpoint: Path, seed: int, device: torch.device
    ) -> tuple[Search, Progress]:
        def fresh() -> tuple[Search, Pair]:
            torch.manual_seed(seed_at(seed, 0))
            made = Search(
                read(options.space), options, recipe, self.data.dataset.input_shape, self.data.dataset.classes
            )
            made = made.to(device).to(memory_format=torch.channels_last)
            return made, made.optimizers()

        search, optimizers = fresh()
        if has_checkpoint(checkpoint):
            try:
                return search, load_checkpoint(checkpoint, search, optimizers)  # type: ignore[arg-type]
            except CheckpointError:  # damaged: searching again beats failing
                search, optimizers = fresh()
        return search, Progress(optimizer=optimizers)  # type: ignore[arg-type]

    @staticmethod
    def _report(progress: Progress, recipe: Recipe) -> dict[str, Any]:
        return {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}

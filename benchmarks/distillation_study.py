"""Distil, train, calibrate, score: the cells of one image set, as rows of JSON.

    python -m benchmarks.distillation_study convnet3-fashion-mnist --cells dc-ipc1,dc-ipc1+mdt --seeds 5 --nets 5

A row is one network of one distilled set. For each calibration source it has, for mask ratios 0 to .9 and the exact
and the legacy fit, the temperature, the ECE on the calibration data and the scores on the test images; which ratio to
take is decided by whoever reads the rows. Cells that differ only in ``+mdt`` are made together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.study_files import StudyFiles
from benchmarks.study_full import EPOCHS, FULL, full_of
from benchmarks.study_options import arguments_of, check, network

RATIOS = tuple(round(0.1 * k, 1) for k in range(10))
MDT = 0.3
SOURCES = ("distilled", "real-matched", "real")
RANKED = 1000  # images of a set at most: the spectrum of more takes minutes of the host, for every network


def parse_cell(text: str) -> tuple[str, int, float, str]:
    """(backbone, images a class, MDT ratio, training loss) of ``dsa-ipc10+mdt``, ``dc-ipc1+mdt0.1+mixup`` or
    ``full+mixup``, which has no number of images (0).
    """
    import re

    trained = rf"(?:([a-z]+)-ipc(\d+)(\+mdt([\d.]+)?)?|{FULL})"
    match = re.fullmatch(trained + r"(?:\+(smooth|focal|mixup|cutmix|cutout))?", text)
    if match is None:
        spelling = f"backbone-ipcN[+mdt[ratio]] or {FULL}, [+smooth|focal|mixup|cutmix|cutout]"
        raise SystemExit(f"error: --cells: {text!r} is not spelled {spelling}")
    ratio = float(match[4] or MDT) if match[3] else 0.0
    return match[1] or FULL, int(match[2] or 0), ratio, match[5] or "ce"


def calibration_pixels(splits: Any, distilled: Any, nets: int, device: str) -> Iterator[tuple[str, Any, Any]]:
    """(source, pixels [1 or nets in all, n, ...], labels [n]) of every calibration source; matched ones by set, where
    as many images are held out.
    """
    import torch

    from compressors.distillation.images import Images
    from compressors.distillation.streams import stream

    yield "distilled", distilled.pixels.repeat_interleave(nets, 0), distilled.labels
    held = splits["held-out"]
    pixels, labels = torch.tensor(held.pixels, device=device), torch.tensor(held.labels, device=device)
    classes = int(distilled.labels.max()) + 1
    ipc, every = len(distilled.labels) // classes, Images(pixels, labels, classes)
    if ipc <= min(every.counts):
        index = every.draw(ipc, [stream(run.seed, "matched", device) for run in distilled.runs]).flatten(1)
        yield "real-matched", pixels[index].repeat_interleave(nets, 0), labels[index[0]]
    else:
        print(f"real-matched is left out: {min(every.counts)} images a class are held out, not {ipc}", flush=True)
    yield "real", pixels[None], labels


def predictions(parameters: Any, pixels: Any, shape: Any, cells: int = 25 * 200) -> Any:
    """Logits, a few images at a time: all networks' activations have to fit."""
    from compressors.distillation.training import predict

    wide = pixels[0] if pixels.shape[0] == 1 else pixels
    return predict(parameters, wide, shape, max(1, cells // len(parameters)))


def fits(
    look: Callable[[Any], Any], pixels: Any, labels: Any, test: Any, answers: Any, seeds: Any, ratios: Any
) -> dict[str, Any]:
    """{fit: {"T": [ratios, nets], "clamped", "calibration_ece": [...], "test": [ratios, nets, columns]}}.

    ``look(pixels)`` are the logits ``[nets, n, classes]`` of the networks whose ``test`` logits are given; ``seeds``
    those of their distilled sets, which have masks of their own.
    """
    import torch

    from benchmarks.confidence_scores import calibration_error, losses, scores
    from compressors.confidence.masked import Mask, masked
    from compressors.confidence.temperature import bisect, secant
    from compressors.distillation.streams import stream

    device = pixels.device
    plain, nets = look(pixels), len(test)
    found: dict[str, Any] = {
        name: {"T": [], "clamped": [], "calibration_ece": [], "test": []} for name in ("exact", "legacy")
    }
    random = {seed: stream(seed, "mts", device) for seed in seeds}
    for ratio in ratios:
        given = plain
        if ratio:
            own = {seed: masked(torch.ones_like(pixels[0]), Mask(ratio), g)[0] for seed, g in random.items()}
            given = look(pixels * torch.stack([own[seed] for seed in seeds]))
        for name, fit in (("exact", bisect), ("legacy", secant)):
            result = fit(losses(given, labels), (nets,))
            t = torch.tensor(result.value, device=device)
            confidence, guess = (plain.double() / t[:, None, None]).softmax(-1).max(-1)
            into = found[name]
            into["T"].append(result.value.tolist())
            into["clamped"].append(result.clamped.tolist())
            into["calibration_ece"].append(calibration_error(confidence, guess == labels, 10, "left").tolist())
            into["test"].append(scores(test, answers, t).tolist())
    return found


def study(
    distilled: Any, shape: Any, splits: Any, recipe: Any, nets: int, device: str, label: str, image_set: Any,
    learned: tuple[Any, Any] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of all runs of one backbone and number of images. ``learned``: what trains the networks, if not these."""
    import torch

    from benchmarks.confidence_scores import COLUMNS, binned, losses, scores
    from benchmarks.study_looks import looks, spectrum
    from compressors.confidence.temperature import bisect
    from compressors.distillation import fused
    from compressors.distillation.training import Trainer

    start = time.perf_counter()
    seeds = [1000 * run.seed + k for run in distilled.runs for k in range(nets)]
    pixels = distilled.pixels.repeat_interleave(nets, 0)
    taught = (learned[0].expand(len(seeds), -1, -1, -1, -1), learned[1]) if learned else (pixels, distilled.labels)
    parameters = Trainer(shape, *taught, seeds, recipe).run()
    if parameters.is_cuda:
        torch.cuda.synchronize()  # else the seconds would be those of launching
    trained = time.perf_counter() - start
    answers = torch.tensor(splits["test"].labels, device=device)
    test = predictions(parameters, torch.tensor(splits["test"].pixels, device=device)[None], shape)
    ones = torch.ones(len(seeds), device=device)
    plain = scores(test, answers, ones)
    best = bisect(losses(test, answers), (len(seeds),))
    oracle = scores(test, answers, torch.tensor(best.value, device=device))
    largest, bins = test.double().max(-1).values, binned(test, answers).tolist()
    owners = [run.seed for run in distilled.runs for _ in range(nets)]
    sources = {
        name: fits(
            lambda images: predictions(parameters, images, shape), given, labels, test, answers, owners,
            (0.0,) if name == "real" else RATIOS,
        )
        for name, given, labels in calibration_pixels(splits, distilled, nets, device)
    }  # fmt: skip
    ranks, inner_ranks = [None] * len(distilled.runs), [None] * len(seeds)
    if 2 < distilled.pixels.shape[1] <= RANKED:
        ranks = spectrum(distilled.pixels).tolist()
        inner_ranks = spectrum(fused.features(parameters, pixels, shape)).tolist()
    seen = looks(parameters, shape, splits, image_set, sources["distilled"]["exact"], distilled, test, answers)
    rows = []
    for k in range(len(seeds)):
        run = distilled.runs[k // nets]
        rows.append({
            "cell": label, "backbone": distilled.backbone, "mdt": run.mdt, "seed": run.seed, "net": k % nets,
            "ipc": distilled.extra.get("ipc", len(distilled.labels) // shape.classes), "share": distilled.share,
            "loss": recipe.loss, "epochs": recipe.epochs,
            "columns": list(COLUMNS), "none": plain[k].tolist(), "oracle": oracle[k].tolist(),
            "oracle_T": float(best.value[k]), "max_logit": [float(largest[k].mean()), float(largest[k].std())],
            "rank_images": ranks[k // nets], "rank_features": inner_ranks[k], "looks": seen[k], "bins": bins[k],
            "sources": {
                name: {fit: {key: [row[k] for row in value] for key, value in by.items()} for fit, by in found.items()}
                for name, found in sources.items()
            },
        })  # fmt: skip
    spent = time.perf_counter() - start
    print(f"{label}: accuracy {100 * float(plain[:, 0].mean()):.2f}, ECE {100 * float(plain[:, 4].mean()):.2f}; "
          f"{trained:.1f} s to train, {spent:.1f} s with scores", flush=True)  # fmt: skip
    return rows


def run_group(backbone: str, ipc: int, cells: list[tuple[float, str, str]], splits: Any, options: Any) -> None:
    """Distils the cells of one backbone and number of images, and writes their images, then rows cell by cell."""
    from benchmarks.study_files import of
    from compressors.distillation.convnet import Shape
    from compressors.distillation.schedules import COLOR, DIGITS
    from compressors.distillation.training import Recipe
    from fixtures.images import image_model

    model = image_model(options.model)
    known = model.images
    shape = Shape(known.channels, known.size, known.classes, model.width, model.depth)
    strategies = COLOR if known.mirrored else DIGITS
    learned = None
    if backbone == FULL:
        files, made, learned = full_of(shape, splits, options)
    else:
        files, made = images_of(backbone, ipc, list(dict.fromkeys(r for r, _, _ in cells)), shape, splits, options)
    rows = files.rows(made)
    for ratio, loss, text in cells:
        augmented = options.recipe == "augmented" or (not options.recipe and backbone not in ("dc", "random", FULL))
        epochs = options.epochs or (EPOCHS if backbone == FULL else 1000 if augmented else 300)
        recipe = Recipe(epochs, loss=loss, strategies=strategies if augmented else ())
        here = [row for row in rows if (row["cell"], row["epochs"]) == (text, epochs)]
        if len(here) == options.seeds * options.nets:
            print(f"{text}: {len(here)} rows are there", flush=True)
            continue
        rows = [row for row in rows if row not in here]
        device = made.pixels.device.type
        rows += study(of(made, ratio), shape, splits, recipe, options.nets, device, text, known, learned)
        files.write(made, rows)


def images_of(
    backbone: str, ipc: int, ratios: list[float], shape: Any, splits: Any, options: Any
) -> tuple[StudyFiles, Any]:
    """The files of a group and its distilled images: those that are there, or made now and kept at once."""
    import torch

    from compressors.distillation.backbones import distil
    from compressors.distillation.images import Images
    from compressors.distillation.masking import Run
    from compressors.distillation.schedules import COLOR, DIGITS, PUBLISHED, Budget
    from fixtures.image_runner import code_hash
    from fixtures.images import image_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs = [Run(seed, ratio) for ratio in ratios for seed in seeds]
    budget = Budget(round(options.share * PUBLISHED.get(backbone, 0)), options.real)
    half, graphs = device == "cuda" and not options.no_half, not options.no_graphs
    # Named after masks only where all have them: cells with and without do not take each other's place.
    name, seed = f"{backbone}-ipc{ipc}" + "-mdt" * all(ratios), f"s{options.first_seed}"
    facts = {
        "model": options.model, "classes": shape.classes, "ipc": ipc, "runs": [[run.seed, run.mdt] for run in runs],
        "iterations": budget.iterations, "real": budget.batch_real, "half": half, "device": device,
        "torch": torch.__version__, "code": code_hash(),
    }  # fmt: skip
    plain = StudyFiles(options.out / f"{name}-{seed}", facts)
    files = StudyFiles(options.out / f"{name}-{options.recipe}-{seed}", facts) if options.recipe else plain
    start = time.perf_counter()
    for there in (files, plain):  # networks trained in another way learn the same images
        if (found := there.kept(backbone, runs, device)) is not None:
            print(f"{backbone}-ipc{ipc}: {len(runs)} sets are there", flush=True)
            if there is not files:
                files.keep(found)
            return files, found

    def progress(done: int, of: int) -> None:
        if done % max(1, of // 10) == 0:
            print(f"{backbone}-ipc{ipc}: {done} of {of} iterations, {time.perf_counter() - start:.1f} s", flush=True)

    pixels, labels = (torch.tensor(array, device=device) for array in (splits["train"].pixels, splits["train"].labels))
    images = Images(pixels, labels, shape.classes)
    strategies = COLOR if image_model(options.model).images.mirrored else DIGITS
    made = distil(backbone, shape, images, ipc, runs, budget, strategies, half, graphs, progress)
    spent = f"{budget.iterations} iterations ({made.share or 0:.1%} of the published) in {made.seconds:.1f} s"
    print(f"{backbone}-ipc{ipc}: {len(runs)} sets, {spent}", flush=True)
    files.keep(made)
    return files, made


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with what was asked for and is not there."""
    from compressors.distillation.images import DistillationError
    from fixtures.images import ImageError

    try:
        return run_study(arguments_of(arguments, __doc__))
    except (DistillationError, ImageError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run_study(options: Any) -> int:
    """All cells, those with one backbone and number of images together."""
    import torch

    from fixtures.images import load_images

    torch.set_float32_matmul_precision("high")  # TF32, as torch's convolutions use by default
    torch.backends.cudnn.benchmark = True
    splits = load_images(network(options.model).images.name, options.folder)
    check(options, splits)
    together: dict[tuple[str, int], list[tuple[float, str, str]]] = {}
    for text in options.cells.split(","):
        backbone, ipc, ratio, loss = parse_cell(text)
        together.setdefault((backbone, ipc), []).append((ratio, loss, text))
    for (backbone, ipc), cells in together.items():
        run_group(backbone, ipc, cells, splits, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

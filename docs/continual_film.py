"""Makes docs/continual.gif: one stream under a budget of multiply-adds a second, in both forms.

python tools/toy_dataset.py --film output/adaptation.mp4 \
    --motions right,clockwise,clockwise,up --seed 6
python docs/continual_film.py --run output/toy     (evaluated with TABLE.CONTINUAL True)

Both give an answer for every frame that the network takes. The clip-wise form computes a whole
clip for each, so that the same budget buys it a smaller sub-network.
"""

import argparse
import threading
from pathlib import Path

import matplotlib
import numpy as np

from mutualvideo import AdaptiveRecognizer
from mutualvideo.budget import Budget
from mutualvideo.media.instants import Instants
from mutualvideo.play.capture import open_source
from mutualvideo.play.film import film, write_gif
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime.clip_window import ClipWindow

HERE = Path(__file__).parent
FORMS = ("clip by clip", "every frame once")
_FPS = 10


def answers(run, video, script):
    """``[(seconds, frame, budget, {form: (answer, sub-network, multiply-adds) or None}), ...]``."""
    recognizers = [AdaptiveRecognizer(run, mode=mode) for mode in ("clip", "continual")]
    clips, frames = recognizers
    frame_s, found = frames.frames.frame_s, []
    with open_source(video) as source:
        window, instants = ClipWindow(clips.cfg.DATA, source.fps), Instants(frame_s, live=False)
        for time_s, frame in source.frames(window.add, threading.Event()):
            for instant_s, on_screen in instants.until(time_s, frame):
                budget = script.entries[script.index(instant_s)][1]
                frames.set_budget(budget)
                # A prediction a frame: what a second may cost over how many there are in it.
                clips.set_budget(Budget("macs", budget.value * frame_s))
                of_clip = clips.predict(window.clip()) if window.full else None
                both = of_clip, frames.predict(on_screen)
                shown = [one and (one.labels[0], one.subnet, one.macs / frame_s) for one in both]
                found.append((instant_s, on_screen, budget, dict(zip(FORMS, shown, strict=True))))
    return found


def draw(found, path, mp4):
    """The film of both forms, and the GIF of it."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(6, 4.4), dpi=80, constrained_layout=True)
    pictures = figure.subplot_mosaic([[*FORMS], ["cost", "cost"]], height_ratios=(3, 2))
    times, limits = [f[0] for f in found], [f[2].value / 1e6 for f in found]
    with film(mp4, _FPS) as writer:
        for number in range(round(times[-1] * _FPS)):
            now_s = number / _FPS
            done = [one for one in found if one[0] <= now_s]
            for axes in pictures.values():
                axes.clear()
            for form in FORMS:
                axes, answer = pictures[form], done[-1][3][form]
                axes.imshow(done[-1][1], interpolation="nearest")
                axes.set_axis_off()
                text = "waiting for a clip" if answer is None else f"{answer[0]}\n{answer[1]}"
                axes.set_title(f"{form}\n{text}", fontsize=11)
            axes = pictures["cost"]
            axes.step(times, limits, where="post", color="tab:orange", label="budget")
            for form, colour in zip(FORMS, ("tab:gray", "tab:blue"), strict=True):
                points = [(one[0], one[3][form][2] / 1e6) for one in done if one[3][form]]
                if points:
                    axes.step(*zip(*points, strict=True), where="post", color=colour, label=form)
            axes.set(xlim=(0, times[-1]), ylim=(0, 1.4 * max(limits)), xlabel="seconds")
            axes.set_ylabel("M multiply-adds a second")
            axes.legend(loc="upper center", fontsize=8, ncols=3)
            figure.canvas.draw()
            writer.write(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy(), now_s)
    write_gif(mp4, path, 2_000_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="output/toy", help="OUTPUT_DIR")
    parser.add_argument("--source", default="output/adaptation.mp4", help="the video")
    parser.add_argument("--script", default=HERE / "continual_budget.txt", help="SECONDS BUDGET")
    parser.add_argument("--output", default=HERE / "continual.gif")
    parser.add_argument("--mp4", default="output/continual.mp4", help="the film before it is a GIF")
    args = parser.parse_args()
    draw(answers(args.run, args.source, BudgetScript.read(args.script)), args.output, args.mp4)


if __name__ == "__main__":
    main()

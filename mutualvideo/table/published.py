"""Published curves to compare with: (GMACs of one clip, top-1 in percent) on Kinetics-400.

Read off the authors' figures to 0.05 GMACs and 0.03 points: MutualNet, arXiv 2105.07085, and A3D,
arXiv 2011.12384. X3D-M with ten views a video.
"""

from mutualvideo.errors import InputError

CURVES = {
    "slow": ("MutualNet, Slow 8x8", [
        (54.5, 75.55), (41.7, 75.18), (29.3, 74.60), (22.5, 74.26), (16.6, 73.97), (10.4, 72.95),
        (7.3, 72.28), (4.4, 70.72), (2.67, 68.65),
    ]),
    "slow-separate": ("Slow 8x8, trained separately", [(13.6, 70.1), (27.3, 72.6), (54.5, 74.8)]),
    "slowfast": ("MutualNet, SlowFast 4x16", [
        (36.1, 75.68), (27.6, 75.21), (22.15, 75.13), (17.4, 74.87), (14.7, 74.61), (12.4, 74.29),
        (10.2, 73.51), (8.86, 72.42), (8.29, 71.31), (7.62, 71.03),
    ]),
    "slowfast-separate": ("SlowFast 4x16, trained separately", [(21.8, 73.5), (36.1, 75.6)]),
    "x3d": ("MutualNet, X3D-M", [
        (4.73, 75.08), (3.85, 74.93), (2.96, 74.20), (1.78, 72.69), (1.22, 71.71), (0.99, 70.91),
        (0.73, 70.14), (0.59, 69.33), (0.51, 68.0), (0.41, 67.3), (0.35, 66.15),
    ]),
    "x3d-separate": ("X3D, trained separately", [(4.73, 73.7), (1.96, 71.4), (0.60, 66.0)]),
}  # fmt: skip


def published_curve(name):
    """``(title, [(GMACs, top-1), ...])`` of one of ``CURVES``; InputError if there is none."""
    if name not in CURVES:
        raise InputError(f"overlay {name!r}: choose from {', '.join(CURVES)}")
    return CURVES[name]

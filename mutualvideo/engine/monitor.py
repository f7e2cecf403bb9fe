"""Validation while training goes on."""

from mutualvideo.data.loader import build_loader
from mutualvideo.evaluation.evaluate import calibrate_from, evaluate
from mutualvideo.run.log import log_json_stats
from mutualvideo.slim import set_subnet
from mutualvideo.subnet import Subnet


class Monitor:
    """Accuracy of the full and the cheapest trained sub-network while training goes on.

    ``epochs``: of the whole run.
    """

    def __init__(self, cfg, context, sampler, epochs):
        self.cfg, self.context, self._epochs = cfg, context, epochs
        self.subnets = [sampler.full]
        if sampler.mode == "mutual":
            frames = min(sampler.frames, default=None)
            self.subnets.append(Subnet(cfg.MUTUAL.WIDTH_RANGE[0], frames, min(sampler.sizes)))

    def run(self, model, epoch, scalars):
        """Tells what they score.

        Returns:
            (the mean of their merits, ``[(role, merit), ...]``), in percent.
        """
        cfg, context = self.cfg, self.context
        shards = (context.rank, context.world_size)
        calibrate_from(build_loader(cfg, "calibration", *shards), model, self.subnets, cfg, context)
        found = evaluate(model, self.subnets, build_loader(cfg, "val", *shards), cfg, context)
        set_subnet(model, self.subnets[0])
        roles = zip(("full", "narrowest"), self.subnets, strict=False)
        validated = [(role, found.merit(subnet)) for role, subnet in roles]
        score = sum(map(found.merit, found.accuracies)) / len(found.accuracies)
        if not context.is_main:
            return score, validated
        for subnet, accuracy in found.accuracies.items():
            mean_ap = found.averages[subnet].mean_ap
            log_json_stats(
                {
                    "_type": "val_epoch",
                    "epoch": f"{epoch}/{self._epochs}",
                    "subnet": str(subnet),
                    "top1_err": 100 - accuracy.top1,
                    "top5_err": 100 - accuracy.top5,
                    **({} if mean_ap is None else {"map": mean_ap}),
                }
            )
            scalars.add({f"val/top1_{subnet}": accuracy.top1}, epoch)
            if mean_ap is not None:
                scalars.add({f"val/map_{subnet}": mean_ap}, epoch)
        return score, validated

"""Validation while training goes on."""

from mutualvideo.engine.tasks import task_of
from mutualvideo.run.log import log_json_stats
from mutualvideo.slim import set_subnet
from mutualvideo.subnet import Subnet


class Monitor:
    """Accuracy, or average precision, of the full and the cheapest trained sub-network.

    ``epochs``: of the whole run.
    """

    def __init__(self, cfg, context, sampler, epochs):
        self.cfg, self.context, self._epochs = cfg, context, epochs
        self.subnets = [sampler.full]
        if sampler.mode == "mutual":
            frames = min(sampler.frames, default=None)
            self.subnets.append(Subnet(cfg.MUTUAL.WIDTH_RANGE[0], frames, min(sampler.sizes)))
        elif sampler.mode == "width_only":
            full = sampler.full
            self.subnets.append(Subnet(cfg.MUTUAL.WIDTH_RANGE[0], full.frames, full.size))

    def run(self, model, epoch, scalars):
        """Tells what they score.

        Returns:
            (the mean of their merits, ``[(role, merit), ...]``), in percent.
        """
        found = task_of(self.cfg).validate(self.cfg, self.context, model, self.subnets)
        set_subnet(model, self.subnets[0])
        roles = zip(("full", "narrowest"), self.subnets, strict=False)
        validated = [(role, found[subnet][0]) for role, subnet in roles]
        score = sum(merit for merit, _, _ in found.values()) / len(found)
        if not self.context.is_main:
            return score, validated
        for subnet, (_, stats, scalars_of) in found.items():
            about = {"_type": "val_epoch", "epoch": f"{epoch}/{self._epochs}"}
            log_json_stats({**about, "subnet": str(subnet), **stats})
            scalars.add({f"val/{name}_{subnet}": v for name, v in scalars_of.items()}, epoch)
        return score, validated

"""The picture size of a detector, which follows the sub-network."""

from torchvision.models.detection.transform import GeneralizedRCNNTransform


class SlimTransform(GeneralizedRCNNTransform):
    """torchvision's transform of pictures and boxes, at the size of the current sub-network.

    A detector's transform becomes one by exchanging its class, as layers become their twins, and
    reads the same shared state. At the full network's size, and where only a width was set, it is
    the transform that it was. At another size the shorter side gets ``size`` pixels and the limit
    of the longer one, or SSD's fixed height and width, become smaller in proportion.

    Attributes:
        slim: the :class:`~mutualvideo.slim.state.SlimState` of the detector.
    """

    slim = None

    @property
    def min_size(self):
        return (self.slim.subnet.size,) if self._is_other() else self.__dict__["min_size"]

    @min_size.setter
    def min_size(self, value):
        self.__dict__["min_size"] = value

    @property
    def max_size(self):
        return self._in_proportion(self.__dict__["max_size"])

    @max_size.setter
    def max_size(self, value):
        self.__dict__["max_size"] = value

    @property
    def fixed_size(self):
        own = self.__dict__["fixed_size"]
        return own and tuple(self._in_proportion(side) for side in own)

    @fixed_size.setter
    def fixed_size(self, value):
        self.__dict__["fixed_size"] = value

    def _is_other(self):
        return self.slim.subnet is not None and self.slim.subnet.size != self.slim.full.size

    def _in_proportion(self, pixels):
        if not self._is_other():
            return pixels
        return round(pixels * self.slim.subnet.size / self.slim.full.size)

    def to_static(self):
        """Becomes torchvision's own class again, at the size that it has now."""
        sizes = {name: getattr(self, name) for name in ("min_size", "max_size", "fixed_size")}
        self.__dict__.update(sizes)
        del self.__dict__["slim"]
        self.__class__ = GeneralizedRCNNTransform

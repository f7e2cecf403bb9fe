"""What a service has done so far."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceStats:
    """What a service has done so far, counts of requests.

    Args:
        waiting: accepted and not taken up yet.
        answered: with scores; of these
        late: after their deadline, and
        shed: by a cheaper sub-network than wanted.
        failed: answered with an exception.
        cancelled: given up before they were taken up, by the caller or on closing.
        refused: never accepted as there was no room.
        batches: calls of the network that answered.
    """

    waiting: int
    answered: int
    late: int
    shed: int
    failed: int
    cancelled: int
    refused: int
    batches: int

"""What can be served and where it runs: a file per noun."""

from fleet.models.neuron import Device, Neuron
from fleet.models.profile import Profile
from fleet.models.replica import Replica

__all__ = ["Device", "Neuron", "Profile", "Replica"]

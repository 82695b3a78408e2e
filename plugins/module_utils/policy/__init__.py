"""From a site's specs to the objects that make a gateway do what they say. Pure: no network, no clock."""

from .chain import CHAIN
from .desired import Policy, desired_objects, policy_at, with_keys
from .objects import NAMESPACE, Object
from .plugin import PolicyError

__all__ = [
    "CHAIN",
    "NAMESPACE",
    "Object",
    "Policy",
    "PolicyError",
    "desired_objects",
    "policy_at",
    "with_keys",
]

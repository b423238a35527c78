"""The configuration: one schema of frozen classes, read from files and mappings, checked as a whole.

`Config.from_mapping` makes a `Config` of a mapping and tells everything wrong with it at once; `load` and `merge` get
that mapping together. At the bottom of the layers: nothing here knows what the settings are for.
"""

from buddyproxy.config.conditions import Condition, parse_condition
from buddyproxy.config.files import FILE_NAME, check_files, default_cache_path, discover, load, merge, read_key
from buddyproxy.config.force import NOT_YET_IN_FORCE, never_met, not_in_force
from buddyproxy.config.quantities import format_duration, parse_duration, parse_size
from buddyproxy.config.schema import (
    ORIGIN,
    AdminSettings,
    BreakerSettings,
    CacheSettings,
    Caching,
    Callbacks,
    Config,
    DomainMapping,
    HeaderChanges,
    KeyParts,
    LoggingSettings,
    NamedKey,
    Rule,
    SecuritySettings,
    ServerSettings,
    ThrottlingSettings,
    Timeouts,
)
from buddyproxy.config.values import Callback

__all__ = [
    "FILE_NAME",
    "NOT_YET_IN_FORCE",
    "ORIGIN",
    "AdminSettings",
    "BreakerSettings",
    "CacheSettings",
    "Caching",
    "Callback",
    "Callbacks",
    "Condition",
    "Config",
    "DomainMapping",
    "HeaderChanges",
    "KeyParts",
    "LoggingSettings",
    "NamedKey",
    "Rule",
    "SecuritySettings",
    "ServerSettings",
    "ThrottlingSettings",
    "Timeouts",
    "check_files",
    "default_cache_path",
    "discover",
    "format_duration",
    "load",
    "merge",
    "never_met",
    "not_in_force",
    "parse_condition",
    "parse_duration",
    "parse_size",
    "read_key",
]

"""The one vocabulary of things that go wrong. Knows nothing of Kubernetes, hosts or kinds; every floor of the house may import it.

A code is a condition's reason, an event's reason and the CLI's hint, so it is a CamelCase word that a person can search for.
Adapters translate foreign exceptions into these at the border; nothing above them catches anything else.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """What went wrong, as one searchable word; alphabetical. Each has a heading in docs/reference/errors.md."""

    AlreadyExists = "AlreadyExists"
    AnsibleFailed = "AnsibleFailed"
    AnsibleTimeout = "AnsibleTimeout"
    ArtifactMissing = "ArtifactMissing"
    ArtifactMismatch = "ArtifactMismatch"
    AssetUnavailable = "AssetUnavailable"
    BudgetDenied = "BudgetDenied"
    CanarySick = "CanarySick"
    CatalogueInvalid = "CatalogueInvalid"
    CertificateUntrusted = "CertificateUntrusted"
    ClusterConflict = "ClusterConflict"
    Conflict = "Conflict"
    DeletionProtected = "DeletionProtected"
    DrainCancelled = "DrainCancelled"
    DrainOverdue = "DrainOverdue"
    EffectRefused = "EffectRefused"
    EtcdMembersEven = "EtcdMembersEven"
    EtcdRefused = "EtcdRefused"
    FlagOwned = "FlagOwned"
    FlagUnknown = "FlagUnknown"
    FlagUnknownComponent = "FlagUnknownComponent"
    Forbidden = "Forbidden"
    GrantInvalid = "GrantInvalid"
    GrantPending = "GrantPending"
    HostClaimed = "HostClaimed"
    HostDiskFull = "HostDiskFull"
    HostDuplicate = "HostDuplicate"
    HostKeyChanged = "HostKeyChanged"
    HostKeyMissing = "HostKeyMissing"
    HostNoSudo = "HostNoSudo"
    HostNotSsh = "HostNotSsh"
    HostRefused = "HostRefused"
    HostTimeout = "HostTimeout"
    HostUnresolved = "HostUnresolved"
    Internal = "Internal"
    InvalidObject = "InvalidObject"
    KeysLost = "KeysLost"
    LabFailed = "LabFailed"
    LeaseLost = "LeaseLost"
    LedgerUnreadable = "LedgerUnreadable"
    NetworkOverlap = "NetworkOverlap"
    NotFound = "NotFound"
    PackageMissing = "PackageMissing"
    PackageConflict = "PackageConflict"
    PortTaken = "PortTaken"
    SecretInvalid = "SecretInvalid"
    SecretMissing = "SecretMissing"
    SelectorEmpty = "SelectorEmpty"
    TemplateInvalid = "TemplateInvalid"
    Timeout = "Timeout"
    TooManyRequests = "TooManyRequests"
    Unauthorized = "Unauthorized"
    ManyUnreachable = "ManyUnreachable"
    Unreachable = "Unreachable"
    UpdateStopped = "UpdateStopped"
    UpgradeOverdue = "UpgradeOverdue"
    UpgradeRefused = "UpgradeRefused"
    Usage = "Usage"
    VersionBad = "VersionBad"
    WatchExpired = "WatchExpired"


class KokError(Exception):
    """One failure, told so that a person can act: `message` says what and why, `hint` the next step (a command where there is one)."""

    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")

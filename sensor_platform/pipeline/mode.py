"""New or again. Apart from `process`, so that naming a mode does not import what decodes."""

from enum import StrEnum


class Mode(StrEnum):
    """Whether micro-batches that are in the ledger are left alone, or made again."""

    NEW = "new"
    AGAIN = "again"

"""What every section of the settings is: frozen, and built by the names of its fields or of their variables."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Unknown names are refused."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")

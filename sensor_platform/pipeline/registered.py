"""What the registry makes of decoded readings, for who explains one message: units, calibrations, limits."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.pipeline.calibration import Calibration
from sensor_platform.pipeline.catalogue import Catalogue
from sensor_platform.pipeline.decode import DecodedMessages
from sensor_platform.pipeline.keys import Keys
from sensor_platform.pipeline.prepare import validate_in_series
from sensor_platform.routes.model import Routes
from sensor_platform.validation.readings import Validated


class Registered:
    """Judges readings as a load does, with what stands in the database; nothing is registered."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __call__(self, decoded: DecodedMessages, messages: pa.Table, routes: Routes) -> Validated:
        """As `explain` asks it; the readings have a column `calibration`, None where none holds."""
        source_of = np.zeros(len(messages), np.int64)
        accepted, keys, refusals = validate_in_series(decoded, messages, source_of, routes, self.catalogue)
        held = pd.Series(list(self._held(accepted, keys)), index=accepted.index, dtype=object)
        return Validated(accepted.assign(calibration=held), refusals)

    def _held(self, accepted: pd.DataFrame, keys: Keys) -> Iterator[Calibration | None]:
        known = self.catalogue.look_up(keys.keys)
        for place, time in zip(keys.of.tolist(), accepted["time"].tolist(), strict=True):
            series = known.get(keys.keys[place])
            own = () if series is None else series.calibrations
            yield next((one for one in own if one.start_us <= time < one.end_us), None)

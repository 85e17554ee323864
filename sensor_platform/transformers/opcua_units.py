"""Engineering units of OPC UA (EUInformation, OPC 10000-8, 5.6.4.3) as units that readings name.

The usual ids are codes of UNECE recommendation 20, of up to three characters in an Int32. A code says more surely than
its display name what is meant: `F` may be a farad. Those of the table go first; of others the display name counts.
"""

from typing import Any

from sensor_platform.transformers.numbers import is_storable

ENGINEERING_UNITS = "EngineeringUnits"
UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"

#: Code -> a spelling of `unit_spellings`; "" for a mere number.
CODES = {
    "C62": "", "P1": "%", "59": "ppm", "61": "ppb", "Q30": "pH", "2N": "dB",
    "CEL": "°C", "FAH": "°F", "KEL": "K",
    "PAL": "Pa", "A97": "hPa", "KPA": "kPa", "MPA": "MPa", "BAR": "bar", "MBR": "mbar", "PS": "psi", "ATM": "atm",
    "VLT": "V", "2Z": "mV", "KVT": "kV", "AMP": "A", "4K": "mA", "OHM": "Ω", "B49": "kΩ", "SIE": "S", "B99": "µS",
    "FAR": "farad", "COU": "coulomb",
    "WTT": "W", "KWT": "kW", "MAW": "MW", "D46": "VA", "KVA": "kVA", "D44": "var", "KVR": "kvar",
    "JOU": "J", "KJO": "kJ", "WHR": "Wh", "KWH": "kWh", "MWH": "MWh",
    "SEC": "s", "C26": "ms", "B98": "µs", "MIN": "min", "HUR": "h", "DAY": "d",
    "HTZ": "Hz", "KHZ": "kHz", "MHZ": "MHz", "RPM": "r/min",
    "MTR": "m", "KMT": "km", "CMT": "cm", "MMT": "mm", "4H": "µm", "INH": "in", "FOT": "ft",
    "MTK": "m²", "MTQ": "m³", "LTR": "l", "MLT": "ml",
    "MTS": "m/s", "KMH": "km/h", "MSK": "m/s²", "MQH": "m³/h", "MQS": "m³/s", "L2": "l/min",
    "KGM": "kg", "GRM": "g", "TNE": "t", "KGS": "kg/s", "KMQ": "kg/m³",
    "NEW": "N", "B47": "kN", "NU": "Nm", "C81": "rad", "DD": "°", "LUX": "lx",
}  # fmt: skip


def unit_of(namespace: Any, unit_id: Any, display_name: Any) -> str | None:
    """The unit of an EUInformation; None where it has none, or none that can be kept."""
    known = CODES.get(_code(unit_id)) if namespace == UNECE and type(unit_id) is int else None
    if known is not None:
        return known or None
    name = display_name.strip() if type(display_name) is str else ""
    return name if name and is_storable(name) else None


def _code(unit_id: int) -> str:
    """4408652 is 0x43454C, `CEL`."""
    return (unit_id & 0xFFFFFF).to_bytes(3, "big").lstrip(b"\0").decode("latin-1")

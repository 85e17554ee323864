"""How devices write units, and what pint calls them. One table to read and to add to; nothing is imported here.

A closed table, since pint's own symbols mislead where a plant is meant: to pint `pH` is a picohenry, `cfm` a
centifermi, `Nm` a number-metre, `C` a coulomb and `pcs` are parsecs. Its names written out (`kilowatt_hour`) are known.
"""

#: pint's expression -> spellings, letter for letter. Units in brackets of `OWN_UNITS` convert to their own kind alone.
SPELLINGS: dict[str, str] = {
    "degC": "°C degC C deg_C Celsius celsius",
    "degF": "°F degF F deg_F Fahrenheit fahrenheit",
    "kelvin": "K",
    "delta_degC": "delta_degC",
    "delta_degF": "delta_degF",
    "percent": "% pct %RH %rh %rF",
    "permille": "‰",
    "ppm": "ppm PPM",
    "ppb": "ppb PPB",
    "degree": "° deg",
    "radian": "rad",
    "second": "s sec",
    "minute": "min",
    "hour": "h hr",
    "day": "d",
    "hertz": "HZ",
    "revolution": "rev U",
    "revolution/minute": "rpm RPM r/min",
    "kilowatt_hour": "kwh KWH KWh",
    "horsepower": "hp",
    "british_thermal_unit": "BTU Btu",
    "calorie": "cal",
    "kilocalorie": "kcal",
    "hectopascal": "hpa HPA",
    "kilopascal": "KPa",
    "psi": "psi PSI",
    "standard_atmosphere": "atm",
    "torr": "torr Torr",
    "millimeter_Hg": "mmHg",
    "inch_Hg": "inHg",
    "newton*meter": "Nm",
    "pound_force": "lbf",
    "pound": "lb lbs",
    "ounce": "oz",
    "metric_ton": "t",
    "inch": 'in "',
    "foot": "ft",
    "yard": "yd",
    "mile": "mi",
    "meter": "metre metres",
    "liter": "litre litres",
    "mile/hour": "mph",
    "kilometer/hour": "kph kmh",
    "knot": "kn kt",
    "standard_gravity": "g0 gn",
    "gallon": "gal",
    "gallon/minute": "gpm GPM",
    "foot**3/minute": "cfm CFM",
    "liter/minute": "lpm LPM",
    "lux": "lux LUX",
    "ohm": "ohm Ohm",
    "kiloohm": "kohm kOhm",
    "megaohm": "Mohm MOhm",
    "gauss": "G",
    "bit": "bit",
    "byte": "byte B",
    "normal_cubic_meter": "Nm3 Nm^3",
    "dBm_level": "dBm dbm",
    "dB_level": "dB",
    "dBA_level": "dBA dB(A)",
    "pH_level": "pH",
    "voltampere": "VA",
    "voltampere_reactive": "var VAr VAR",
}

#: Symbol -> pint's name, and the prefixes that are written with it.
PREFIXED: dict[str, tuple[str, str]] = {
    "V": ("volt", "u μ m k M"),
    "A": ("ampere", "n u μ m k"),
    "W": ("watt", "u μ m k M G"),
    "Wh": ("watt_hour", "m k M G"),
    "Ah": ("ampere_hour", "m k"),
    "VA": ("voltampere", "m k M"),
    "VAh": ("voltampere*hour", "k M"),
    "var": ("voltampere_reactive", "m k M"),
    "varh": ("voltampere_reactive*hour", "k M"),
    "J": ("joule", "m k M G"),
    "Hz": ("hertz", "m k M G"),
    "Pa": ("pascal", "m h k M G"),
    "bar": ("bar", "m u μ"),
    "N": ("newton", "m k M"),
    "g": ("gram", "n u μ m k"),
    "m": ("meter", "n u μ m c d k"),
    "l": ("liter", "u μ m c d h"),
    "L": ("liter", "u μ m"),
    "s": ("second", "n u μ m"),
    "S": ("siemens", "u μ m"),
    "Ω": ("ohm", "m k M G"),
    "H": ("henry", "u μ m"),
    "T": ("tesla", "n u μ m"),
    "mol": ("mole", "u μ m k"),
    "cd": ("candela", "m"),
    "lm": ("lumen", "k"),
    "lx": ("lux", "k"),
    "Bq": ("becquerel", "k M"),
    "Sv": ("sievert", "n u μ m"),
    "rad": ("radian", "m"),
    "bit": ("bit", "k M G"),
    "B": ("byte", "k M G"),
}
#: A coulomb and a farad are known with a prefix only: alone, a `C` or `F` of a device is a temperature.
PREFIXED_ONLY: dict[str, tuple[str, str]] = {"F": ("farad", "p n u μ m"), "C": ("coulomb", "p n u μ m")}

PREFIXES = {
    "p": "pico",
    "n": "nano",
    "u": "micro",
    "μ": "micro",
    "m": "milli",
    "c": "centi",
    "d": "deci",
    "h": "hecto",
    "k": "kilo",
    "M": "mega",
    "G": "giga",
}

#: What pint has not, or what it would convert where nobody may: apparent and reactive power are not watts.
OWN_UNITS = (
    "ppb = 1e-9",
    "normal_cubic_meter = [normal_volume]",
    "dBm_level = [dBm_level]",
    "dB_level = [dB_level]",
    "dBA_level = [dBA_level]",
    "pH_level = [pH_level]",
    "voltampere = [apparent_power]",
    "voltampere_reactive = [reactive_power]",
)


def by_spelling() -> dict[str, str]:
    """Each spelling with its expression."""
    found: dict[str, str] = {}
    for symbol, (name, prefixes) in PREFIXED.items():
        found[symbol] = name
        found |= {prefix + symbol: PREFIXES[prefix] + name for prefix in prefixes.split()}
    for symbol, (name, prefixes) in PREFIXED_ONLY.items():
        found |= {prefix + symbol: PREFIXES[prefix] + name for prefix in prefixes.split()}
    for expression, spellings in SPELLINGS.items():
        found |= dict.fromkeys(spellings.split(), expression)
    return found

"""How pages write moments: the way logs do, with the zone said."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i e"
